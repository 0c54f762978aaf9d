"""Keeps dead letters until a person has them redriven or discarded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import asdict

from mayfly.aws import functions, reports
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.dead_letters import DeadLetter
from mayfly.contract.vocabulary import UNKNOWN, DeadLetterKind, DeadLetterStage
from mayfly.domain.records import DeadLetter as Record
from mayfly.domain.records import Entry
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mayfly.contract.requests import DeadLetterChoice

type Json = dict[str, Any]

_AT_ONCE = 16
"""Dead letters that are worked on side by side: 500 take some seconds."""


def keep(settings: Settings, letter: DeadLetter, sqs_id: str, at: datetime) -> bool:
    """Keeps a dead letter where people find it: what is in it in the reports bucket, who, what and why as its record.

    Returns:
        False where this very message of the queue is kept already.
    """
    records = Records(settings.table, Record)
    reports.overwrite(settings.reports, key_of(letter.id), asdict(letter))
    entry = Entry(utc_text(at), letter.function, letter.kind, letter.reason[:1024])
    facts: dict[str, Any] = {
        "function": letter.function,
        "event": letter.event,
        "failure": letter.kind,
        "reason": entry.why,
        "stage": DeadLetterStage.WAITING,
        "at": entry.at,
        "came_as": sqs_id,
        "times": 1,
    }
    try:
        began = records.begin(letter.id, entry, at + timedelta(days=settings.record_days), **facts)
    except Conflict as conflict:
        found: Record = conflict.found
        if found.came_as == sqs_id:
            return False
        again = facts | {"times": found.times + 1, "live": Record.kind}
        began = records.change(letter.id, entry, **again)
    if not began:
        raise RuntimeError("the table is lost: the dead letter stays in the queue")
    return True


def chosen(settings: Settings, choice: DeadLetterChoice, before: str) -> Iterator[Record]:
    """Returns the dead letters that waited at a timestamp and that somebody chose then."""
    records = Records(settings.table, Record)
    found = records.many(choice.letters) if choice.letters else records.live()
    for letter in found:
        fits = (
            letter.stage == DeadLetterStage.WAITING,
            # A request that is redelivered days later is not about what came meanwhile.
            letter.at <= before,
            choice.kind in (None, letter.failure),
            choice.function in (None, letter.function),
            (choice.reason or "") in letter.reason,
        )
        if all(fits):
            yield letter


def redrive(settings: Settings, choice: DeadLetterChoice, entry: Entry) -> Json:
    """Hands dead letters once more to the functions that they are for. Each message keeps its identity: one that was
    followed meanwhile changes nothing; one that is refused again is the same dead letter again."""

    def one(letter: Record) -> bool:
        whole = reports.read(settings.reports, key_of(letter.id))
        if refusal := _not_redriven(settings, letter, whole):
            Records(settings.table, Record).note(letter.id, Entry(entry.at, entry.who, "not redriven", refusal))
            return False
        # In this order: who dies between the two has it redriven twice, and not never.
        functions.invoke(letter.function, (whole or {})["message"])
        return _put_away(settings, letter, DeadLetterStage.REDRIVEN, entry)

    return _each(settings, choice, entry.at, one)


def discard(settings: Settings, choice: DeadLetterChoice, entry: Entry) -> Json:
    """Puts dead letters away; they are kept as long as every record."""

    def one(letter: Record) -> bool:
        return _put_away(settings, letter, DeadLetterStage.DISCARDED, entry)

    return _each(settings, choice, entry.at, one)


def _each(settings: Settings, choice: DeadLetterChoice, before: str, work: Callable[[Record], bool]) -> Json:
    """Does something to each chosen letter, each for itself; returns how many were done and how many were left.

    Raises:
        RuntimeError: some failed. They still wait, and the repeated invocation takes them.
    """

    def guarded(letter: Record) -> bool | None:
        try:
            return work(letter)
        except (ClientError, BotoCoreError):
            logger.exception("this dead letter still waits", extra={"letter": letter.id})
            return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = [*pool.map(guarded, chosen(settings, choice, before))]
    if None in results:
        raise RuntimeError(f"{results.count(None)} of {len(results)} dead letters still wait")
    return {"done": results.count(True), "left": results.count(False)}


def _not_redriven(settings: Settings, letter: Record, whole: Json | None) -> str | None:
    stack = settings.controller.split("/", 2)[2]
    if letter.failure == DeadLetterKind.UNREADABLE or letter.function == UNKNOWN:
        return "nobody knows which function it is for"
    if not letter.function.startswith(f"{stack}-"):
        return f"function: expected one of {stack}, but it is '{letter.function}'"
    return None if whole else "what was in it is not kept any more"


def _put_away(settings: Settings, letter: Record, stage: DeadLetterStage, entry: Entry) -> bool:
    """Ends a letter's waiting, unless it came back meanwhile."""
    try:
        Records(settings.table, Record).change(
            letter.id,
            entry,
            drop=(Record.live,),
            only_if=attr(Record.came_as).eq(letter.came_as) & attr(Record.stage).eq(DeadLetterStage.WAITING),
            stage=stage,
        )
    except Conflict:
        return False
    return True


def key_of(letter: str) -> str:
    """Tells where the reports bucket has what is in a letter."""
    return f"dead-letters/{letter}.json"
