"""Reads and writes records: one item of the table each, with its history of who, what and why.

The table is memory, not truth: what exists is what AWS says exists. So a lost table loses no termination, and neither
does a write that DynamoDB refuses.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from heapq import merge
from random import random
from time import sleep
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, ConditionBase, ConditionExpressionBuilder
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct
from msgspec.structs import asdict, replace

from mayfly.aws.clients import controller
from mayfly.contract.vocabulary import USED_BY_PEOPLE
from mayfly.domain.records import (
    KINDS,
    LINES,
    LIVE,
    Entry,
    Environment,
    Record,
    attributes,
    folded,
    keys,
    off_shelf,
    placed,
    plain,
    read,
    shelves,
)
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Facts = Mapping[str, Any]

_NOTES_KEPT = 100
"""Notes of ignored messages stop at this length of a history, so that a flood of them folds nothing that matters."""
_BATCH = 100
"""Items that one BatchGetItem takes."""
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds at most before what DynamoDB has left out is asked for again; chance shortens them, as those of boto3."""
_TRIES = 5
SLEEP: tuple[Any, ...] = (
    *(Environment.sleep, Environment.slept_seconds, Environment.override),
    *(Environment.ready_at, Environment.used_at, Environment.idle_warned_at, Environment.extensions),
)
"""What is known of the sleep and the use of what people use, beside what the shelves have of everything."""
_AT_A_TIME = 16
"""Items that are read of a shelf at once."""
_NOTHING: Facts = MappingProxyType({})


class Conflict(Exception):
    """The record was not as the change required. `found` is the record as it is, None where there is none."""

    def __init__(self, found: Any) -> None:
        super().__init__("the record is not as the change requires")
        self.found = found


class ChangedMeanwhile(Exception):
    """Somebody else changed the record that is named at the same time. Lambda repeats what raises this, and reads it
    anew."""


class LeftOut(Exception):
    """DynamoDB has left records out of its replies, however often it was asked."""


def attr(*path: Any) -> Attr:
    """Names an attribute of a DynamoDB item in a condition by a record's field, such as ``attr(Environment.deadline)``.

    A field of a part is named by its whole path. A class of records has its fields by name, and mypy knows each. One
    entry of a field that is spread over attributes is a pair: ``attr((Pool.taken, "7"))``."""
    return Attr(".".join(_key(each) for each in path))


def _key(field: Any) -> str:
    if isinstance(field, tuple):
        return f"{_key(field[0])}{field[1]}"
    return keys(field.__objclass__)[field.__name__]


EXISTS = Attr("pk").exists()
NEW = Attr("pk").not_exists()


class _Update(Struct, frozen=True):
    """What a change sets, sets once, removes, and appends to the history; by attribute."""

    facts: Facts
    once: Facts
    drop: Sequence[str]
    line: Entry | None

    def expression(self) -> tuple[str, dict[str, str], dict[str, Any]]:
        """Returns the update expression with its names and values."""
        names = {f"#{name}": name for name in (*self.facts, *self.once, *self.drop)}
        values: dict[str, Any] = {f":{name}": value for name, value in (*self.facts.items(), *self.once.items())}
        sets = [f"#{name} = :{name}" for name in self.facts]
        sets += [f"#{name} = if_not_exists(#{name}, :{name})" for name in self.once]
        if self.line:
            values |= {":line": [asdict(self.line)], ":none": []}
            sets.append("history = list_append(if_not_exists(history, :none), :line)")
        parts = (("SET", sets), ("REMOVE", [f"#{name}" for name in self.drop]))
        return " ".join(f"{verb} {', '.join(what)}" for verb, what in parts if what), names, values


class Records[R: Record]:
    """Reads and changes records of one kind. Every change is one atomic call that writes its own history."""

    def __init__(self, table: str, kind: type[R]) -> None:
        self._table, self._kind = table, kind

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        return controller("dynamodb")  # type: ignore[no-any-return]

    def _key(self, identity: str) -> dict[str, Any]:
        return {"pk": {"S": f"{self._kind.kind}#{identity}"}}

    def begin(self, identity: str, entry: Entry, keep_until: datetime, live: bool = True, **facts: Any) -> R | None:
        """Writes a record that does not exist yet.

        Args:
            live: whether its story goes on; False for what is only to be remembered.

        Raises:
            Conflict: there is one already.
        """
        born: dict[str, Any] = {"id": identity, "forget_after": int(keep_until.timestamp())}
        born |= {"live": str(self._kind.kind)} if live else {}
        born |= self._shelved(identity, entry.at, **facts) if self._kind.masses else {"born": self.born(entry.at)}
        return self.change(identity, entry, only_if=NEW, **born | facts)

    def _shelved(self, identity: str, at: str, application: str = "", **_: Any) -> dict[str, str]:
        """Returns the shelf that a new record comes on: what ends is moved from that of the living to its day's, the
        others lie at their day's from the beginning."""
        ends = self._kind is Environment
        return placed(self._kind, identity, application, at, LIVE if ends else at[:10])

    def try_begin(self, identity: str, entry: Entry, keep_until: datetime, **facts: Any) -> R | None:
        """Begins a record for those who go on without, as `try_change` does."""
        return self._trying(lambda: self.begin(identity, entry, keep_until, **facts), identity)

    def born(self, at: str) -> str:
        """Returns the attribute `born` of a record that began at this timestamp: `recent` finds it by that."""
        return f"{self._kind.kind}#{at[:10]}"

    def change(
        self,
        identity: str,
        entry: Entry | None = None,
        *,
        once: Facts = _NOTHING,
        drop: Collection[Any] = (),
        only_if: ConditionBase | None = None,
        **facts: Any,
    ) -> R | None:
        """Changes a record in one atomic call and returns all of it as it is then; None where the table is lost.

        Args:
            entry: what to append to its history. A history that is long is folded: its first line and the newest stay.
            once: fields to set unless they are there already. drop: fields to remove, as a class names them.
            only_if: what must hold, by `attr`.
            facts: fields to set. None is left out.

        Raises:
            Conflict: the condition does not hold.
        """
        gone = [_key(each) for each in drop]
        update = _Update(self._checked(facts), self._checked(once), gone, entry and entry.shortened())
        room = attr(Record.history).not_exists() | attr(Record.history).size().lt(LINES)
        try:
            return self._write(identity, update, _both(only_if, room if entry else None))
        except Conflict as conflict:
            if entry is None or conflict.found is None or len(conflict.found.history) < LINES:
                raise
        except ClientError as error:
            if not _is_too_large(error):
                raise
        return self._write_folded(identity, update, only_if)

    def try_change(self, identity: str, entry: Entry | None = None, **change: Any) -> R | None:
        """Changes a record as `change` does, for those who go on without: where DynamoDB takes no write, this is the
        record as it is, or None where that cannot be read either.

        Raises:
            Conflict: the condition does not hold.
        """
        return self._trying(lambda: self.change(identity, entry, **change), identity)

    def _trying(self, write: Callable[[], R | None], identity: str) -> R | None:
        try:
            return write()
        except (ClientError, BotoCoreError):
            logger.exception("this is not remembered", extra={"kind": self._kind.kind, "record": identity})
            metrics.add_metric(name="WritesRefused", unit="Count", value=1)
        return self.try_get(identity)

    def try_get(self, identity: str) -> R | None:
        """Returns the record as it is; None also where DynamoDB does not answer."""
        with suppress(ClientError, BotoCoreError):
            return self.get(identity)
        return None

    def _checked(self, facts: Facts) -> Facts:
        if unknown := facts.keys() - keys(self._kind).keys():
            raise TypeError(f"{self._kind.__name__} has no field {', '.join(sorted(unknown))}")
        return attributes(self._kind, facts)

    def _write(self, identity: str, update: _Update, only_if: ConditionBase | None) -> R | None:
        expression, names, values = update.expression()
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": self._key(identity),
            "UpdateExpression": expression,
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if only_if:
            built = ConditionExpressionBuilder().build_expression(only_if)
            request["ConditionExpression"] = built.condition_expression
            names |= built.attribute_name_placeholders
            values |= built.attribute_value_placeholders
        request |= {"ExpressionAttributeNames": names} if names else {}
        if values:
            request["ExpressionAttributeValues"] = {key: _to_dynamodb(value) for key, value in values.items()}
        try:
            reply = self._dynamodb.update_item(**request)
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            found: Any = error.response.get("Item")
            raise Conflict(self._read(found)) from None
        except self._dynamodb.exceptions.ResourceNotFoundException:
            # The table itself is gone. Building stops with that, ending must not.
            logger.error("the table is lost: nothing is remembered", extra={"table": self._table})
            return None
        return self._read(reply["Attributes"])

    def _write_folded(self, identity: str, update: _Update, only_if: ConditionBase | None) -> R | None:
        """Writes a change with a history that is folded. It costs a read and a write more, once in a hundred lines."""
        found = None
        for _ in range(_TRIES):
            if (found := self.get(identity)) is None:
                raise Conflict(None)
            seen = len(found.history)
            history, gone = folded((*found.history, update.line) if update.line else found.history)
            facts = {**update.facts, "history": history, "folded": found.folded + gone}
            as_seen = attr(Record.history).size().eq(seen) if seen else attr(Record.history).not_exists()
            try:
                return self._write(identity, replace(update, facts=facts, line=None), _both(only_if, as_seen))
            except Conflict as conflict:
                found = conflict.found
                if found is None or len(found.history) == seen:
                    raise
        raise Conflict(found)

    def add(self, identity: str, field: Any, count: int) -> R | None:
        """Adds to a number of a record that is there, whatever it is meanwhile; returns the record as it is then."""
        name = _key(field)
        reply = self._dynamodb.update_item(
            TableName=self._table,
            Key=self._key(identity),
            UpdateExpression=f"SET #{name} = #{name} + :count",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={f"#{name}": name},
            ExpressionAttributeValues={":count": {"N": str(count)}},
            ReturnValues="ALL_NEW",
        )
        return self._read(reply["Attributes"])

    def note(self, identity: str, entry: Entry) -> None:
        """Appends to the history what was heard and not followed. A record that is absent or full is left alone."""
        room = attr(Record.history).exists() & attr(Record.history).size().lt(_NOTES_KEPT)
        with suppress(Conflict):
            try:
                self._write(identity, _Update(_NOTHING, _NOTHING, (), entry.shortened()), room)
            except ClientError as error:
                if not _is_too_large(error):
                    raise

    def live(self, fields: Collection[Any] = (), late: bool = True) -> Iterator[R]:
        """Finds every record of this kind whose story has not ended, page by page, through the index of those.

        Yields nothing where the table is lost: a sweep then goes by tags alone.

        Args:
            fields, late: see `many`.
        """
        found = self.many(self._keys("live", str(self._kind.kind)), fields, late)
        # The index lags: what was read as it is now and says that its story has ended is not one that goes on.
        yield from (record for record in found if (fields and late) or record.live)

    def shelved(self, where: str, application: str | None = None, before: str = "", older: bool = True) -> Iterator[R]:
        """Finds the records that live, or those of a day, as far as lists show them; the latest first. It reads a few
        at a time, as far as somebody takes them; they may be a second late.

        Args:
            application: only of this one. before: from which place on, not with it; from the front where it is "".
            older: whether to look besides for what an earlier version began, which is on no shelf.
        """
        each = [self._on_shelf(one, before) for one in shelves(self._kind, where, application)]
        begun = self._unshelved(where, application) if older else iter(())
        fitting = [one for one in begun if not before or str(one.shelved) < before]
        each.append(iter(sorted(fitting, key=_place, reverse=True)))
        yield from merge(*each, key=_place, reverse=True)

    def _on_shelf(self, shelf: str, before: str) -> Iterator[R]:
        condition, values = "shelf = :shelf", {":shelf": {"S": shelf}}
        while True:
            if before:
                condition, values = "shelf = :shelf AND shelved < :before", values | {":before": {"S": before}}
            try:
                page = self._dynamodb.query(
                    TableName=self._table,
                    IndexName="shelves",
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ScanIndexForward=False,
                    Limit=_AT_A_TIME,
                )
            except self._dynamodb.exceptions.ResourceNotFoundException:
                logger.error("the table is lost: nothing is remembered", extra={"table": self._table})
                return
            yield from self._with_sleep([off_shelf(of_item(self._kind, item)) for item in page["Items"]])
            if "LastEvaluatedKey" not in page:
                return
            before = page["LastEvaluatedKey"]["shelved"]["S"]

    def _with_sleep(self, found: Sequence[R]) -> Iterator[R]:
        """Adds what is known of the sleep and the use of environments that may sleep: an index takes twenty attributes,
        and only few environments have these."""
        may_sleep = [one.id for one in found if isinstance(one, Environment) and one.suite_kind in USED_BY_PEOPLE]
        known = {one.id: one for one in self.many(may_sleep, SLEEP)} if may_sleep else {}
        for one in found:
            read = known.get(one.id)
            yield replace(one, **{each.__name__: getattr(read, each.__name__) for each in SLEEP}) if read else one

    def _unshelved(self, where: str, application: str | None) -> Iterator[R]:
        """Finds the records that an earlier version began, which knew no shelves."""
        lives = where == LIVE
        named = self._keys("live", str(self._kind.kind)) if lives else self._keys("born", self.born(where))
        for one in self.many(named):
            mine = application in (None, getattr(one, "application", None))
            if one.shelf is None and mine and (lives or not one.lives or self._kind is not Environment):
                yield off_shelf(one)

    def recent(self, now: datetime, days: int, fields: Collection[Any] = ()) -> Iterator[R]:
        """Finds every record of this kind that began today or on one of the `days` days (UTC) before, ended or not: a
        query a day, through an index that is written once a record.

        Args:
            fields: see `many`.
        """
        written = [utc_text(now - timedelta(days=day)) for day in range(days + 1)]
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

    def many(self, identities: Sequence[str], fields: Collection[Any] = (), late: bool = True) -> Iterator[R]:
        """Reads the records of these names, in any order; those that are not there are left out.

        Args:
            fields: those to read, as a class names them; all, and strongly consistent, where none is named. Naming
                them is for showing: it is half the price, and may be a second late.
            late: False where they are named only to hold less, and have to be as they are now.
        """
        how: Any = {} if fields and late else {"ConsistentRead": True}
        if fields:
            kept = {"pk", *(_key(each) for each in fields)}
            how |= {
                "ProjectionExpression": ", ".join(sorted(f"#{name}" for name in kept)),
                "ExpressionAttributeNames": {f"#{name}": name for name in kept},
            }
        for start in range(0, len(identities), _BATCH):
            keyed = [self._key(identity) for identity in identities[start : start + _BATCH]]
            yield from self._batch({self._table: {"Keys": keyed} | how})

    def _batch(self, wanted: Any) -> Iterator[R]:
        """Reads a batch. What DynamoDB leaves out of a reply, as it is asked for too much at a time, is asked for again
        after a pause, which gets longer; boto3 does so for whole calls only."""
        for pause in (*_PAUSES, None):
            reply = self._dynamodb.batch_get_item(RequestItems=wanted)
            yield from filter(None, map(self._read, reply["Responses"].get(self._table, [])))
            if not (wanted := reply.get("UnprocessedKeys")):
                return
            if pause is None:
                raise LeftOut(f"DynamoDB leaves {len(wanted[self._table]['Keys'])} records out of every reply")
            sleep(random() * pause)

    def get(self, identity: str) -> R | None:
        """Reads the record as it is now (strongly consistent); None where there is none."""
        reply = self._dynamodb.get_item(TableName=self._table, Key=self._key(identity), ConsistentRead=True)
        return self._read(reply.get("Item"))

    def _read(self, item: Mapping[str, Any] | None) -> R | None:
        return of_item(self._kind, item) if item else None


def part_of_table(table: str, fields: Collection[Any], after: str | None = None) -> tuple[list[Record], str | None]:
    """Reads up to a megabyte of the records of all kinds, in the order of their keys, and the key to go on after; None
    at the end. For what no index knows: who needs it reads the whole table.

    Args:
        fields: those to read, as classes name them. after: the key of the last record of the page before.
    """
    kept = {"pk", *(_key(each) for each in fields)}
    how: Any = {"ExclusiveStartKey": {"pk": {"S": after}}} if after else {}
    reply = controller("dynamodb").scan(
        TableName=table,
        ProjectionExpression=", ".join(sorted(f"#{name}" for name in kept)),
        ExpressionAttributeNames={f"#{name}": name for name in kept},
        **how,
    )
    named = [(item["pk"]["S"].partition("#")[0], item) for item in reply["Items"]]
    known = {str(kind): one for kind, one in KINDS.items()}
    found = [of_item(known[kind], item) for kind, item in named if kind in known]
    return found, reply.get("LastEvaluatedKey", {}).get("pk", {}).get("S")


def _place(record: Record) -> str:
    return str(record.shelved)


def of_item[R: Record](kind: type[R], item: Mapping[str, Any]) -> R:
    """Reads a record from an item of DynamoDB. An item without the attribute `id` has it in its key."""
    given = {key: _whole(_DESERIALIZE(value)) for key, value in item.items()}
    return read(kind, {"id": str(given.get("pk", "")).partition("#")[2]} | given)


def forget_after(now: str, days: int) -> int:
    """Tells when DynamoDB may drop a record, in seconds since 1970."""
    return int((datetime.fromisoformat(now) + timedelta(days=days)).timestamp())


def _both(one: ConditionBase | None, other: ConditionBase | None) -> ConditionBase | None:
    return one & other if one and other else one or other


def _is_too_large(error: ClientError) -> bool:
    """Tells whether an item would be larger than DynamoDB's 400 KB; it has no error code of its own for that."""
    said = error.response["Error"]
    return said["Code"] == "ValidationException" and "maximum allowed size" in said.get("Message", "")


_DESERIALIZE: Callable[[Any], Any] = TypeDeserializer().deserialize


def _to_dynamodb(value: Any) -> Any:
    return TypeSerializer().serialize(plain(value))


def _whole(value: Any) -> Any:
    """Numbers in records are whole; DynamoDB hands them over as Decimal, which JSON does not know."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(part) for key, part in value.items()}
    return [_whole(part) for part in value] if isinstance(value, list) else value
