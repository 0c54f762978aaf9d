"""DynamoDB's items, with exactly the expressions that Mayfly uses."""

import re
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from tests.model.clients import refusal

type Json = dict[str, Any]

_CALL = re.compile(r"(attribute_exists|attribute_not_exists)\((\S+)\)")
_COMPARED = re.compile(r"(size\()?([#\w]+)\)? (=|<|<=) (:\w+)")


class DynamoDB:
    """One table. `lost` says that it was deleted."""

    def __init__(self) -> None:
        self.items: dict[str, Json] = {}
        self.lost = False

    def update_item(self, _session: str, **request: Any) -> Json:
        """UpdateItem, all or nothing."""
        self._exists()
        pk = request["Key"]["pk"]["S"]
        item = self.items.get(pk, {})
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        expression = _Expression(item, names, values)
        if not expression.holds(request.get("ConditionExpression", "")):
            old = {"Item": item} if item and "ReturnValuesOnConditionCheckFailure" in request else {}
            raise refusal("ConditionalCheckFailedException", "The conditional request failed", **old)
        self.items[pk] = {"pk": {"S": pk}, **expression.updated(request["UpdateExpression"])}
        return {"Attributes": self.items[pk]}

    def get_item(self, _session: str, Key: Json, **_: Any) -> Json:  # noqa: N803
        self._exists()
        item = self.items.get(Key["pk"]["S"])
        return {"Item": item} if item else {}

    def query(self, _session: str, IndexName: str, ExpressionAttributeValues: Json, **_: Any) -> Json:  # noqa: N803
        """An index, keys only."""
        self._exists()
        (value,) = ExpressionAttributeValues.values()
        return {"Items": [{"pk": item["pk"]} for item in self.items.values() if item.get(IndexName) == value]}

    def batch_get_item(self, _session: str, RequestItems: Json) -> Json:  # noqa: N803
        self._exists()
        ((table, wanted),) = RequestItems.items()
        keys = [key["pk"]["S"] for key in wanted["Keys"]]
        return {"Responses": {table: [self.items[key] for key in keys if key in self.items]}}

    def _exists(self) -> None:
        if self.lost:
            raise refusal("ResourceNotFoundException", "Requested resource not found")


class _Expression:
    """The condition and update of one request over one item."""

    def __init__(self, item: Json, names: Json, values: Json) -> None:
        self._item, self._names, self._values = item, names, values

    def holds(self, condition: str) -> bool:
        """AND binds tighter than OR; there are no parentheses around either."""
        return not condition or any(
            all(self._true(part) for part in option.split(" AND ")) for option in condition.split(" OR ")
        )

    def _true(self, part: str) -> bool:
        if call := _CALL.fullmatch(part):
            return (self._name(call[2]) in self._item) == (call[1] == "attribute_exists")
        compared = _COMPARED.fullmatch(part)
        assert compared, part
        if self._name(compared[2]) not in self._item:
            return False
        found, bound = self._item[self._name(compared[2])], self._values[compared[4]]
        ((kind, value),), ((_, against),) = found.items(), bound.items()
        left = len(value) if compared[1] else float(value) if kind == "N" else value
        right = float(against) if compared[1] or kind == "N" else against
        return bool({"=": left == right, "<": left < right, "<=": left <= right}[compared[3]])

    def updated(self, update: str) -> Json:
        """The item after SET and REMOVE; both see it as it was before."""
        sets, _, drops = update.removeprefix("SET ").partition(" REMOVE ")
        set_to = dict(part.split(" = ", 1) for part in re.split(r", (?![^(]*\))", sets))
        changed = self._item | {self._name(name): self._value(value) for name, value in set_to.items()}
        for name in filter(None, drops.split(", ")):
            changed.pop(self._name(name), None)
        return changed

    def _value(self, text: str) -> Json:
        if text.startswith(":"):
            bound: Json = self._values[text]
            return bound
        if either := re.fullmatch(r"if_not_exists\(([#\w]+), (:\w+)\)", text):
            return self._value(either[1] if self._name(either[1]) in self._item else either[2])
        if appended := re.fullmatch(r"list_append\((.+), (:\w+)\)", text):
            return {"L": [*self._value(appended[1])["L"], *self._values[appended[2]]["L"]]}
        name = self._name(text)
        if name not in self._item:
            raise refusal("ValidationException", "The provided expression refers to an attribute that does not exist")
        found: Json = self._item[name]
        return found

    def _name(self, name: str) -> str:
        return self._names.get(name, name) if name.startswith("#") else name


def plain(item: Json) -> Json:
    """An item without its type descriptors."""
    read = TypeDeserializer().deserialize
    return {name: read(value) for name, value in item.items()}
