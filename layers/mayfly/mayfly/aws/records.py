"""The records: one item an environment, one a release, each with its history of who, what and why.

The table is memory, not truth: what exists is what AWS says exists. So a lost table loses no termination.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from mayfly.aws.clients import controller
from mayfly.domain.moment import text
from mayfly.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Kind = Literal[
    "environment",
    "release",
    "bake",
    "builder",
    "command",
    "image",
    "channel",
    "family",
    "service",
    "rollout",
    "group",
    "sweep",
]
"""A builder, a command and an Auto Scaling group are known by AWS's ids, and point to their bake or service: AWS's
events name nothing else. A service is a permanent environment."""
type Facts = Mapping[str, Any]

_NOTES_KEPT = 100
"""Notes of ignored messages stop at this length of a history, so that a flood cannot fill an item (400 KB)."""

_BATCH = 100
"""Items that one BatchGetItem takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a history."""

    at: str
    who: str
    what: str
    why: str


class Conflict(Exception):
    """The record was not as the change required. `found` is the record as it is, empty where there is none."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__("the record is not as the change requires")
        self.found = found


class Records:
    """Reads and changes records of one kind. Every change is one atomic call that writes its own history."""

    def __init__(self, table: str, kind: Kind) -> None:
        self._table, self._kind = table, kind

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        return controller("dynamodb")  # type: ignore[no-any-return]

    def _key(self, identity: str) -> dict[str, Any]:
        return {"pk": {"S": f"{self._kind}#{identity}"}}

    def begin(
        self, identity: str, facts: Facts, entry: Entry, keep_until: datetime, live: bool = True
    ) -> dict[str, Any]:
        """Writes a record that does not exist yet.

        Args:
            live: whether its story goes on; False for what is only to be remembered.

        Raises:
            Conflict: there is one already.
        """
        born = {"id": identity, "born": self.born(entry.at), "forget_after": int(keep_until.timestamp())}
        born |= {"live": self._kind} if live else {}
        return self.change(identity, {**facts, **born}, entry, only_if="attribute_not_exists(pk)")

    def born(self, at: str) -> str:
        """What a record that began then has as `born`, by which it is found among the `recent` ones, ended or not."""
        return f"{self._kind}#{at[:10]}"

    def change(
        self,
        identity: str,
        facts: Facts,
        entry: Entry | None = None,
        once: Facts = MappingProxyType({}),
        drop: Collection[str] = (),
        only_if: str | None = None,
        bound: Facts = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Changes a record in one atomic call and returns all of it as it is then; {} where the table is lost.

        Args:
            facts: top-level attributes to set.
            entry: what to append to its history.
            once: attributes to set unless they are there already.
            drop: attributes to remove.
            only_if: a condition expression; `bound` holds the values it names.

        Raises:
            Conflict: the condition does not hold.
        """
        names = {f"#{name}": name for name in (*facts, *once, *drop)}
        values = {f":{name}": value for name, value in (*facts.items(), *once.items())}
        sets = [f"#{name} = :{name}" for name in facts]
        sets += [f"#{name} = if_not_exists(#{name}, :{name})" for name in once]
        if entry:
            values |= {":entry": [asdict(entry)], ":no_entry": []}
            sets.append("history = list_append(if_not_exists(history, :no_entry), :entry)")
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": self._key(identity),
            "UpdateExpression": " ".join(
                f"{verb} {', '.join(parts)}"
                for verb, parts in (("SET", sets), ("REMOVE", [f"#{name}" for name in drop]))
                if parts
            ),
            "ExpressionAttributeValues": {key: _to_dynamodb(value) for key, value in (values | dict(bound)).items()},
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        request |= {"ExpressionAttributeNames": names} if names else {}
        request |= {"ConditionExpression": only_if} if only_if else {}
        try:
            reply = self._dynamodb.update_item(**request)
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            found: Any = error.response.get("Item", {})
            raise Conflict(_from_dynamodb(found)) from None
        except self._dynamodb.exceptions.ResourceNotFoundException:
            # The table itself is gone. Building stops with that, ending must not.
            logger.error("the table is lost: nothing is remembered", extra={"table": self._table})
            return {}
        return _from_dynamodb(reply["Attributes"])

    def note(self, identity: str, entry: Entry) -> None:
        """Appends to the history what was heard and not followed. A record that is absent or full is left alone."""
        room = "attribute_exists(history) AND size(history) < :kept"
        with suppress(Conflict):
            self.change(identity, {}, entry, only_if=room, bound={":kept": _NOTES_KEPT})

    def live(self, fields: Collection[str] = ()) -> Iterator[dict[str, Any]]:
        """Every record of this kind whose story has not ended, page by page, through the index of those.

        None where the table is lost: a sweep then goes by tags alone.

        Args:
            fields: see `many`.
        """
        yield from self.many(self._keys("live", self._kind), fields)

    def recent(self, now: datetime, days: int, fields: Collection[str] = ()) -> Iterator[dict[str, Any]]:
        """Every record of this kind that began today or on one of the `days` days (UTC) before, ended or not: a query a
        day, through an index that is written once a record.

        Args:
            fields: see `many`.
        """
        written = [text(now - timedelta(days=day)) for day in range(days + 1)]
        yield from self.many([key for at in written for key in self._keys("born", self.born(at))], fields)

    def _keys(self, index: str, value: str) -> list[str]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression=f"{index} = :value",
            ExpressionAttributeValues={":value": {"S": value}},
        )
        try:
            return [item["pk"]["S"].partition("#")[2] for page in pages for item in page["Items"]]
        except self._dynamodb.exceptions.ResourceNotFoundException:
            logger.error("the table is lost: nothing is remembered", extra={"table": self._table})
            return []

    def many(self, identities: Sequence[str], fields: Collection[str] = ()) -> Iterator[dict[str, Any]]:
        """The records of these names, in any order; those that are not there are left out.

        Args:
            fields: top-level attributes to read; all of them, and strongly consistent, where none is named. Naming
                them is for showing: it is half the price, and may be a second late.
        """
        how: Any = {"ConsistentRead": True}
        if fields:
            how = {
                "ProjectionExpression": ", ".join(f"#{name}" for name in fields),
                "ExpressionAttributeNames": {f"#{name}": name for name in fields},
            }
        for start in range(0, len(identities), _BATCH):
            keys = [self._key(identity) for identity in identities[start : start + _BATCH]]
            yield from self._batch({self._table: {"Keys": keys} | how})

    def _batch(self, wanted: Any) -> Iterator[dict[str, Any]]:
        while wanted:
            reply = self._dynamodb.batch_get_item(RequestItems=wanted)
            yield from (_from_dynamodb(item) for item in reply["Responses"].get(self._table, []))
            wanted = reply.get("UnprocessedKeys")

    def get(self, identity: str) -> dict[str, Any] | None:
        """The record as it is now (strongly consistent), or None."""
        reply = self._dynamodb.get_item(TableName=self._table, Key=self._key(identity), ConsistentRead=True)
        return _from_dynamodb(reply["Item"]) if "Item" in reply else None


def forget_after(now: str, days: int) -> int:
    """When DynamoDB may drop a record, in seconds since 1970."""
    return int((datetime.fromisoformat(now) + timedelta(days=days)).timestamp())


def _to_dynamodb(value: Any) -> Any:
    return TypeSerializer().serialize(list(value) if isinstance(value, tuple) else value)


def _from_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    read = TypeDeserializer().deserialize
    return {key: _whole(read(value)) for key, value in item.items()}


def _whole(value: Any) -> Any:
    """Numbers in records are whole; DynamoDB hands them over as Decimal, which JSON does not know."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(part) for key, part in value.items()}
    return [_whole(part) for part in value] if isinstance(value, list) else value
