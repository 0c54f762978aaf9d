"""Warns before a deadline, by an announcement on the bus."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.announcements import EnvironmentExpiring, ToExtend
from mayfly.contract.vocabulary import EnvironmentStage
from mayfly.domain.idle import IdleDecision
from mayfly.domain.lease import warnings_due
from mayfly.domain.records import Entry, Environment
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings
from mayfly.workflows import environments


def warn(settings: Settings, now: datetime, record: Environment) -> bool:
    """Warns of a deadline that comes near, once for each of the application's warnings. True where it did."""
    if record.ending or record.stage != EnvironmentStage.AWAITING_TESTS or record.deadline is None:
        return False
    deadline, given = datetime.fromisoformat(record.deadline), record.warned
    due = warnings_due(now, deadline, record.warn_minutes_before, given)
    if not due or now >= deadline:
        return False
    minutes = int((deadline - now).total_seconds() // 60)
    # Claimed first: two sweeps at once, by schedule and by hand, are to warn once.
    records, what = Records(settings.table, Environment), f"{minutes} minutes before {record.deadline}"
    warned = attr(Environment.warned)
    claim = warned.eq(list(given)) if given else warned.not_exists()
    try:
        entry = Entry(utc_text(now), "sweep", "warned", what)
        records.change(record.id, entry, warned=(*given, *due), only_if=claim)
    except Conflict:
        return False
    try:
        announce(settings.facts, _expiring(record, deadline, minutes))
    except Exception:  # the next sweep warns
        back: dict[str, Any] = {"warned": given} if given else {"drop": (Environment.warned,)}
        records.change(record.id, only_if=warned.eq([*given, *due]), **back)
        raise
    return True


def warn_idle(settings: Settings, now: datetime, record: Environment, decision: IdleDecision) -> None:
    """Warns that an environment is ended because nobody uses it. Announced first: one that nobody was warned of is not
    ended, and two looks at once warn twice at most."""
    minutes = int((decision.at - now).total_seconds() // 60)
    announce(settings.facts, _expiring(record, decision.at, minutes, decision.reason))
    what = f"{minutes} minutes before {utc_text(decision.at)}: {decision.reason}"
    entry = Entry(utc_text(now), "idle ending", "warned", what)
    with suppress(Conflict):
        Records(settings.table, Environment).change(
            record.id, entry, idle_warned_at=utc_text(now), only_if=environments.NOT_ENDED
        )


def _expiring(record: Environment, at: datetime, minutes: int, why: str | None = None) -> EnvironmentExpiring:
    return EnvironmentExpiring(
        **environments.facts(record),
        deadline=utc_text(at),
        ceiling=str(record.ceiling),
        minutes_left=minutes,
        why=why,
        to_extend=ToExtend(environment=record.id, minutes=60, why="...", requested_by="..."),
    )
