"""A life's record and its execution together: the two that every event from outside has to bring in line."""

from typing import Any

from mayfly.aws import executions
from mayfly.aws.records import Conflict, Entry, Records, forget_after
from mayfly.domain.stack import Answer
from mayfly.messages import Refused, Subject

_NOT_ENDED = "attribute_exists(pk) AND attribute_not_exists(ending)"


def end(records: Records, environment: str, ending: dict[str, str], entry: Entry) -> dict[str, Any]:
    """Ends a life from outside. The first ending that reaches the record stands; a later one is only noted.

    The record is written before the execution is resumed: an ending that comes before the execution waits for one
    is found by it. A repetition resumes once more, because the first try may have died between the two.

    Returns:
        whether the ending was `recorded`, and whether an execution was `resumed`.

    Raises:
        Refused: there is no such environment.
    """
    try:
        record = records.change(environment, {"ending": ending}, entry, only_if=_NOT_ENDED)
        if not record:
            raise RuntimeError("the table is lost: nobody can be told of this ending")  # a failure keeps the message
        recorded = True
    except Conflict as conflict:
        record, recorded = conflict.found, False
        if not record:
            raise Refused(f"environment: expected one that Mayfly built, but it is '{environment}'") from None
        ignored = f"ignored: {entry.why}; it was ended already by {record['ending']['by']}"
        records.note(environment, Entry(entry.at, entry.who, entry.what, ignored))
    waiting = record.get("waiting") or {}
    resumed = False
    if waiting.get("for") == "tests":
        resumed = executions.settle(waiting["token"], Answer(None, ""), {})
    elif waiting.get("for") == "creation" and ending["by"] == "request":
        # What nobody wants any more need not be built to its end.
        resumed = executions.settle(waiting["token"], Answer("EndedBefore", ending["reason"]), {})
    return {"recorded": recorded, "resumed": resumed}


def anew(subject: Subject, deadline: str, now: str, days: int) -> dict[str, Any]:
    """What a record that was lost begins anew with, in the midst of a life: enough for a sweep to find and close it.

    Args:
        deadline: as far as it is known. days: how long the record is kept past it.
    """
    kept = {"release", "application", "version", "suite", "kind", "owner", "account", "region"}
    return subject.model_dump(mode="json", include=kept) | {
        "id": subject.environment,
        "live": "environment",
        "planned_at": now,
        "deadline": deadline,
        "ceiling": deadline,
        "forget_after": forget_after(deadline, days),
    }


def extend(records: Records, environment: str, before: str, after: str, message: str, entry: Entry) -> bool:
    """Moves a deadline, if it is still `before` and the life has not been ended, and tells the execution.

    Args:
        message: which message asked for it; kept, so that a redelivery of it is known.

    Returns:
        False where somebody was faster: with an ending, or with another extension.
    """
    try:
        record = records.change(
            environment,
            {"deadline": after, "extended_by": message},
            entry,
            drop=("warned",),  # of the new deadline, its owner is to be warned anew
            only_if=f"{_NOT_ENDED} AND deadline = :before",
            bound={":before": before},
        )
    except Conflict:
        return False
    tell_extended(record)
    return True


def tell_extended(record: dict[str, Any]) -> None:
    """Tells an execution that waits for the tests until when it may do so now."""
    waiting = record.get("waiting") or {}
    if waiting.get("for") == "tests":
        executions.settle(waiting["token"], Answer("Extended", record["deadline"]), {})
