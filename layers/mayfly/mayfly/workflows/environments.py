"""Changes an environment's record and its execution together, as every event from outside has to."""

import hashlib
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from mayfly.aws import executions
from mayfly.aws.records import EXISTS, Conflict, Records, attr, forget_after
from mayfly.contract.fields import without_nulls
from mayfly.contract.orders import Order, Subject
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import Begin, EndingCause, EnvironmentStage, Wait
from mayfly.domain.capacity import with_earlier
from mayfly.domain.ending import by_failure
from mayfly.domain.records import LIVE, Ending, Entry, Environment, cut, placed
from mayfly.domain.stack import TaskResult
from mayfly.domain.teardown import Step
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings


class EndedBefore(Exception):
    """A life was ended before anything was built."""


NOT_ENDED = EXISTS & attr(Environment.ending).not_exists()


def record_named(records: Records[Environment], environment: str) -> Environment:
    """Returns the record of an environment that somebody names.

    Raises:
        Refused: there is no such environment.
    """
    if record := records.get(environment):
        return record
    raise Refused(f"environment: expected one that Mayfly built, but it is '{environment}'")


def end(records: Records[Environment], environment: str, ending: Ending, entry: Entry) -> dict[str, Any]:
    """Ends a life from outside. The first ending that reaches the record stands; a later one is only noted.

    The record is written before the execution is resumed: an ending that comes before the execution waits for one
    is found by it. A repetition resumes once more, because the first try may have died between the two.

    Returns:
        whether the ending was `recorded`, and whether an execution was `resumed`.

    Raises:
        Refused: there is no such environment.
    """
    try:
        # The stage goes with the ending: the index of lists, which shows both, is written once.
        record = records.change(
            environment, entry, ending=ending, stage=EnvironmentStage.TERMINATING, only_if=NOT_ENDED
        )
        if record is None:
            raise RuntimeError("the table is lost: nobody can be told of this ending")  # a failure keeps the message
        recorded = True
    except Conflict as conflict:
        record, recorded = conflict.found, False
        if record is None or record.ending is None:
            raise Refused(f"environment: expected one that Mayfly built, but it is '{environment}'") from None
        ignored = f"ignored: {entry.why}; it was ended already by {record.ending.by}"
        records.note(environment, Entry(entry.at, entry.who, entry.what, ignored))
    return {"recorded": recorded, "resumed": wake(record, ending)}


def wake(record: Environment, ending: Ending) -> bool:
    """Tells an execution that its environment is ended, if it still waits for what nobody needs any more: room, the
    tests, or a creation that a person wants ended. False where nobody waits.

    Not while CreateStack is on its way: nothing of the stack would be seen, and what comes of it would be left. Who
    asks for it looks here again.
    """
    if record.waiting is None:
        return False
    if record.waits_for(Wait.ROOM):
        return executions.complete_task(record.waiting.token, TaskResult("EndedBefore", ending.reason), {})
    if record.waits_for(Wait.TESTS):
        return executions.complete_task(record.waiting.token, TaskResult(None, ""), {})
    if record.waits_for(Wait.CREATION) and record.stack and ending.by == EndingCause.REQUEST:
        # What nobody wants any more need not be built to its end.
        return executions.complete_task(record.waiting.token, TaskResult("EndedBefore", ending.reason), {})
    return False


def end_again(settings: Settings, environment: str, entry: Entry, at: datetime) -> None:
    """Begins the teardown of an environment anew that was handed over to a person, with all its steps.

    Raises:
        Refused: it was not handed over, or is being ended again already.
    """
    handed_over = attr(Environment.handed_over).exists() & attr(Environment.ending).exists()
    try:
        record = Records(settings.table, Environment).change(
            environment,
            entry,
            deletions=0,
            drop=(Environment.handed_over, Environment.leak_announced, Environment.waiting),
            only_if=handed_over,
        )
    except Conflict:
        record = None
    if record is None:
        raise Refused(f"environment: expected one that was handed over to a person, but it is '{environment}'")
    known = ("release", "application", "version", "suite", "owner", "account", "region", "deadline")
    again = {name: getattr(record, name) for name in known} | {
        "environment": environment,
        "kind": record.suite_kind,
        "begin": Begin.TERMINATION.value,
        "why": entry.why,
    }
    executions.start(settings.environment_machine, f"{environment}__again-{int(at.timestamp())}", again)


def hand_over(settings: Settings, subject: Subject, why: str, now: str) -> None:
    """Leaves the rest to a person, so that no sweep begins it all again, also where the record was lost: either they
    remove what is left, and the next sweep closes the record, or what is in the way, and ask for the ending again."""
    records = Records(settings.table, Environment)
    seen = records.try_get(subject.environment)
    records.try_change(
        subject.environment,
        Entry(now, "teardown", Step.HAND_OVER.value, why),
        handed_over=cut(why, 4_000),
        drop=(Environment.leak_announced,),  # what was said before was about something else
        once=recreated(subject, now, now, settings.record_days)
        | {"stage": EnvironmentStage.TERMINATING, "ending": _of_move(seen, subject, now) or unknown_ending(now)},
    )


def _of_move(seen: Environment | None, subject: Subject, now: str) -> Ending | None:
    """Returns the ending of a life that was about to go on at another target, and cannot leave this one."""
    missing = seen.no_capacity.get(subject.target) if seen else None
    if seen is None or missing is None:
        return None
    return replace(
        by_failure("CreationFailed", with_earlier(missing, subject.target, seen.no_capacity)),
        at=now,
    )


def unknown_ending(now: str) -> Ending:
    """Returns the ending of a life whose record was lost."""
    return replace(by_failure("RecordLost", "why it ended is not known any more"), at=now)


def recreated(subject: Subject, deadline: str, now: str, days: int) -> dict[str, Any]:
    """Returns what a record that was lost begins anew with, in the midst of a life: enough for a sweep to find and
    close it.

    Args:
        deadline: as far as it is known. days: how long the record is kept past it.
    """
    return identified(subject) | {
        **placed(Environment, subject.environment, subject.application, now, LIVE),
        "id": subject.environment,
        "live": Environment.kind.value,
        "planned_at": now,
        "deadline": deadline,
        "ceiling": utc_text(subject.ceiling) if subject.ceiling else deadline,
        "forget_after": forget_after(deadline, days),
    }


def facts(record: Environment) -> dict[str, Any]:
    """Names an environment as every announcement of one does: whose life it is, and where."""
    return {
        "environment": record.id,
        "release": record.release,
        "application": record.application,
        "version": record.version,
        "suite": record.suite,
        "kind": record.suite_kind,
        "owner": record.owner,
        "account": record.account,
        "region": record.region,
    }


_IDENTIFIES = ("release", "application", "version", "suite", "owner", "account", "region")


def told_of(subject: Order | Subject) -> dict[str, Any]:
    """Names an environment, by what its execution knows of it, with its pull request."""
    said: dict[str, Any] = without_nulls(subject.only(*_IDENTIFIES, "environment", "kind", "pull_request"))
    return said


def identified(subject: Subject) -> dict[str, Any]:
    """Names an environment by its record: whose it is, and where."""
    return subject.only(*_IDENTIFIES) | {"suite_kind": subject.kind}


def digest(message: str) -> str:
    """Returns the digest of a message that extended its environment: a record has room for many."""
    return hashlib.sha256(message.encode()).hexdigest()[:12]


def was_extended_by(record: Environment, message: str) -> bool:
    """Tells whether a message has extended this environment already, however long ago."""
    return digest(message) in record.extensions or record.extended_by == message


def extend(records: Records[Environment], seen: Environment, deadline: str, message: str, entry: Entry) -> bool:
    """Moves a deadline, if it is as it was seen and the life has not been ended, and tells the execution.

    Args:
        message: which message asked for it; kept, so that a redelivery of it is known.

    Returns:
        False where somebody was faster: with an ending, or with another extension.
    """
    try:
        record = records.change(
            seen.id,
            entry,
            deadline=deadline,
            extensions=(*seen.extensions, digest(message)),
            # Of the new deadline, its owner is to be warned anew, and of what is left standing past it.
            drop=(Environment.warned, Environment.leak_announced),
            only_if=NOT_ENDED & attr(Environment.deadline).eq(seen.deadline),
        )
    except Conflict:
        return False
    if record:
        tell_extended(record)
    return True


def tell_extended(record: Environment) -> None:
    """Tells an execution that waits for the tests until when it may do so now."""
    if record.waiting and record.waits_for(Wait.TESTS):
        executions.complete_task(record.waiting.token, TaskResult("Extended", str(record.deadline)), {})
