"""Idle ending: an environment that nobody uses is ended before its deadline. What AWS does not say is no idleness."""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from mayfly.domain.records import Environment
from mayfly.domain.timestamp import utc_text


class IdleAction(StrEnum):
    """What is done about an environment."""

    NOTHING = "nothing"
    NOTE = "note"
    """It was used: that is remembered, so that nobody asks again too soon."""
    WARN = "warn"
    END = "end"


class IdlePolicy(Struct, frozen=True):
    """How long nobody uses an environment until it is ended, and how long before its owner is warned."""

    after: timedelta
    warning: timedelta


class Usage(Struct, frozen=True):
    """When an environment was used last, as far as AWS says; and why AWS does not say whether it was used."""

    last: datetime | None = None
    unknown: str = ""


class IdleDecision(Struct, frozen=True):
    """What is done about an environment, why, and when it ends for it."""

    action: IdleAction
    reason: str
    at: datetime


def counts_from(record: Environment) -> datetime | None:
    """Tells since when an environment may be idle, as far as its record says: since it was ready, awake again, or used.
    None where it cannot be: it sleeps, or somebody has extended it, and with that said until when it is needed."""
    if record.ready_at is None or record.sleep or record.extensions:
        return None
    return max(datetime.fromisoformat(at) for at in (record.ready_at, record.used_at) if at)


def is_due(now: datetime, since: datetime, policy: IdlePolicy) -> bool:
    """Tells whether it is worth asking AWS when it was used: before that, whatever is said changes nothing."""
    return now >= since + policy.after - policy.warning


def decide_idle(
    now: datetime, since: datetime, warned_at: datetime | None, usage: Usage, policy: IdlePolicy
) -> IdleDecision:
    """Decides whether an environment is ended because nobody uses it: never without a warning since it was used last.

    Args:
        since: see `counts_from`. warned_at: when its owner was warned last.
    """
    if usage.unknown:
        return IdleDecision(IdleAction.NOTHING, usage.unknown, now)
    # As a record keeps it, in milliseconds: what is noted already is no new use.
    if usage.last and utc_text(usage.last) > utc_text(since):
        return IdleDecision(IdleAction.NOTE, f"it was used at {utc_text(usage.last)}", usage.last)
    reason = f"no request and no session since {utc_text(since)}"
    if warned_at is None or warned_at < since:
        due = is_due(now, since, policy)
        ends = max(since + policy.after, now + policy.warning)
        return IdleDecision(IdleAction.WARN if due else IdleAction.NOTHING, reason, ends)
    ends = max(since + policy.after, warned_at + policy.warning)
    return IdleDecision(IdleAction.END if now >= ends else IdleAction.NOTHING, reason, ends)
