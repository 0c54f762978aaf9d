"""DynamoDB's items, with exactly the expressions that Mayfly uses."""

import operator
import re
from collections.abc import Callable
from typing import Any, cast

from boto3.dynamodb.types import TypeDeserializer

from tests.model.clients import refusal
from tests.model.timeline import Timeline

type Json = dict[str, Any]

ITEM_BYTES = 400 * 1024
PROJECTED = {
    *("pk", "shelf", "shelved", "application", "version", "suite", "kind", "release", "owner", "account", "region"),
    *("stage",),
    *("planned_at", "deadline", "ceiling", "ending", "image", "channel", "instance_count", "instances_built"),
    *("instance_types", "volume_gb", "launched_at"),
}
"""What the index of shelves has of an item; a test of the template holds that it is the same there."""
_TOKEN = re.compile(r"[()]|<>|<=|>=|[=<>]|[#:]?[\w.#]+")
_COMPARE: dict[str, Any] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class DynamoDB:
    """One table. `lost` says that it was deleted; its indexes are `lag` seconds behind."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.items: dict[str, Json] = {}
        self._of_index = {"live": _Index("live"), "born": _Index("born")}
        self._shelves = _Index("shelf")
        self._read: dict[int, tuple[Json, dict[object, Any]]] = {}
        self.lost, self.lag = False, 0.0

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
        updated = {"pk": {"S": pk}, **expression.updated(request["UpdateExpression"])}
        if size({"M": updated}) > ITEM_BYTES:
            raise refusal("ValidationException", "Item size to update has exceeded the maximum allowed size")
        self._read.pop(id(item), None)
        self.items[pk] = updated
        self._shelves.put(pk, updated)
        if self.lag:
            self._timeline.after(self.lag, lambda: self._index(pk, updated))
        else:
            self._index(pk, updated)
        return {"Attributes": self.items[pk]}

    def get_item(self, _session: str, Key: Json, **_: Any) -> Json:  # noqa: N803
        self._exists()
        item = self.items.get(Key["pk"]["S"])
        return {"Item": item} if item else {}

    def query(self, _session: str, IndexName: str, ExpressionAttributeValues: Json, **more: Any) -> Json:  # noqa: N803
        """An index: of keys only, or the one of shelves, from its latest place or from before another one."""
        self._exists()
        if IndexName == "shelves":
            return self._shelf(ExpressionAttributeValues, more["Limit"])
        (value,) = ExpressionAttributeValues.values()
        return {"Items": [{"pk": item["pk"]} for item in self._of_index[IndexName].of(value)]}

    def _index(self, pk: str, item: Json) -> None:
        for one in self._of_index.values():
            one.put(pk, item)

    def restore(self, items: dict[str, Json]) -> None:
        """Makes the table anew, as it was at another time."""
        self.items, self.lost = dict(items), False
        for one in (*self._of_index.values(), self._shelves):
            one.clear()
            for pk, item in items.items():
                one.put(pk, item)

    def read_once[R](self, make: Callable[..., R], kind: object, item: Json) -> R:
        """What is made of an item, made once: an item that is changed is another one."""
        made = self._read.setdefault(id(item), (item, {}))[1]
        if kind not in made:
            made[kind] = make(kind, item)
        return cast(R, made[kind])

    def delete(self) -> None:
        """Deletes the table with everything in it."""
        self.restore({})
        self.lost = True

    def _shelf(self, values: Json, limit: int) -> Json:
        before = values.get(":before", {}).get("S", "~")
        found = [item for item in self._shelves.of(values[":shelf"]) if item["shelved"]["S"] < before]
        found.sort(key=lambda item: str(item["shelved"]["S"]), reverse=True)
        page = [self.read_once(_projected, "shelves", item) for item in found[:limit]]
        return {"Items": page} | ({"LastEvaluatedKey": page[-1]} if len(found) > limit else {})

    def batch_get_item(self, _session: str, RequestItems: Json) -> Json:  # noqa: N803
        self._exists()
        ((table, wanted),) = RequestItems.items()
        keys = [key["pk"]["S"] for key in wanted["Keys"]]
        return {"Responses": {table: [self.items[key] for key in keys if key in self.items]}}

    def _exists(self) -> None:
        if self.lost:
            raise refusal("ResourceNotFoundException", "Requested resource not found")


class _Index:
    """The items of a table by one attribute, in the order in which they came."""

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute
        self._place: dict[str, str] = {}
        self._items: dict[str, dict[str, Json]] = {}

    def put(self, pk: str, item: Json) -> None:
        self._items.get(self._place.pop(pk, ""), {}).pop(pk, None)
        if value := item.get(self._attribute):
            self._place[pk] = value["S"]
            self._items.setdefault(value["S"], {})[pk] = item

    def of(self, value: Json) -> list[Json]:
        """The items whose attribute has this value."""
        return [*self._items.get(value["S"], {}).values()]

    def clear(self) -> None:
        self._place.clear()
        self._items.clear()


class _Expression:
    """The condition and update of one request over one item."""

    def __init__(self, item: Json, names: Json, values: Json) -> None:
        self._item, self._names, self._values = item, names, values

    def holds(self, condition: str) -> bool:
        """A condition with its AND, OR and parentheses."""
        if not condition:
            return True
        self._left = _TOKEN.findall(condition)
        holds = self._any()
        assert not self._left, condition
        return holds

    def _any(self) -> bool:
        found = [self._all()]
        while self._left[:1] == ["OR"]:
            self._left.pop(0)
            found.append(self._all())
        return any(found)

    def _all(self) -> bool:
        found = [self._one()]
        while self._left[:1] == ["AND"]:
            self._left.pop(0)
            found.append(self._one())
        return all(found)

    def _one(self) -> bool:
        token = self._left.pop(0)
        if token == "(":
            found = self._any()
            assert self._left.pop(0) == ")"
            return found
        if token in ("attribute_exists", "attribute_not_exists"):
            return (self._path(self._in_parentheses()) is not None) == (token == "attribute_exists")
        sized = token == "size"
        found_at = self._path(self._in_parentheses() if sized else token)
        verb = self._left.pop(0)
        if verb == "IN":
            assert self._left.pop(0) == "("
            wanted = []
            while (each := self._left.pop(0)) != ")":
                wanted.append(self._values[each])
            return found_at in wanted
        bound = self._values[self._left.pop(0)]
        if found_at is None:
            return verb == "<>"
        left, right = plain({"it": found_at})["it"], plain({"it": bound})["it"]
        left = len(left) if sized else left
        return bool(_COMPARE[verb](left, right))

    def _in_parentheses(self) -> str:
        opened, name, closed = (self._left.pop(0) for _ in range(3))
        assert (opened, closed) == ("(", ")")
        return name

    def _path(self, path: str) -> Json | None:
        """What an item has at a path."""
        found: Json | None = {"M": self._item}
        for name in path.split("."):
            found = (found or {}).get("M", {}).get(self._name(name))
        return found

    def updated(self, update: str) -> Json:
        """The item after SET and REMOVE; both see it as it was before."""
        sets, _, drops = f" {update}".partition(" REMOVE ")
        parts = re.split(r", (?![^(]*\))", sets.removeprefix(" SET "))
        set_to = dict(part.split(" = ", 1) for part in parts if part)
        changed = self._item | {self._name(name): self._value(value) for name, value in set_to.items()}
        for path in filter(None, drops.split(", ")):
            *inside, last = map(self._name, path.split("."))
            for name in inside:
                changed[name] = {"M": dict(changed[name]["M"])}
            (changed[inside[0]]["M"] if inside else changed).pop(last, None)
        return changed

    def _value(self, text: str) -> Json:
        if text.startswith(":"):
            bound: Json = self._values[text]
            return bound
        if either := re.fullmatch(r"if_not_exists\(([#\w]+), (:\w+)\)", text):
            return self._value(either[1] if self._name(either[1]) in self._item else either[2])
        if appended := re.fullmatch(r"list_append\((.+), (:\w+)\)", text):
            return {"L": [*self._value(appended[1])["L"], *self._values[appended[2]]["L"]]}
        if added := re.fullmatch(r"(#\w+) \+ (:\w+)", text):
            return {"N": str(sum(int(self._value(each)["N"]) for each in added.groups()))}
        name = self._name(text)
        if name not in self._item:
            raise refusal("ValidationException", "The provided expression refers to an attribute that does not exist")
        found: Json = self._item[name]
        return found

    def _name(self, name: str) -> str:
        return self._names.get(name, name) if name.startswith("#") else name


def _projected(_: object, item: Json) -> Json:
    return {name: each for name, each in item.items() if name in PROJECTED}


def size(value: Json) -> int:
    """The bytes of a value as DynamoDB counts them, about: names and texts in UTF-8, a little for each list and map."""
    ((kind, given),) = value.items()
    match kind:
        case "M":
            return 3 + sum(1 + len(name.encode()) + size(each) for name, each in given.items())
        case "L":
            return 3 + sum(1 + size(each) for each in given)
        case "S":
            return len(given.encode())
        case "N":
            return len(given) // 2 + 2
    return 1


def plain(item: Json) -> Json:
    """An item without its type descriptors."""
    read = TypeDeserializer().deserialize
    return {name: read(value) for name, value in item.items()}
