"""Keeps announcements that no repetition would make, as EventBridge did not take them or an execution owes them, until
a sweep makes them."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import executions
from mayfly.aws.attempts import going_on
from mayfly.aws.events import NotTaken, announce, announce_again
from mayfly.aws.records import Records, attr, forget_after
from mayfly.contract.fields import Announcement
from mayfly.domain.records import Environment, Unsaid
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings
from mayfly.workflows import channels

_GRACE = timedelta(minutes=15)
"""In which Step Functions may not list yet what has begun."""


def say(settings: Settings, message: Announcement, now: str) -> None:
    """Announces what is written down as done already, so that nobody who tries again would announce it."""
    try:
        announce(settings.facts, message)
    except NotTaken:
        logger.exception("this is announced by a sweep")
        detail = message.written()
        identity = hashlib.sha256(f"{message.event} {detail}".encode()).hexdigest()[:32]
        facts: dict[str, Any] = {"live": Unsaid.kind.value, "at": now, "event": message.event, "detail": detail}
        Records(settings.table, Unsaid).change(identity, **facts)


def make_up(settings: Settings, now: datetime) -> None:
    """Announces what was kept, the oldest first, and closes each then: after a crash in between, a sweep announces it
    again. What an execution owes is announced when that is over, unless it has moved its channel, or its environment
    has a record: that says the rest."""
    records, long_ago = Records(settings.table, Unsaid), utc_text(now - _GRACE)
    kept = [one for one in records.live() if not one.by or one.at < long_ago]
    machines = {one.by for one in kept if one.by}
    running = set().union(*map(executions.running, machines))
    moved, lives = channels.movers(settings.table) if machines else set(), Records(settings.table, Environment)
    for one in sorted(kept, key=lambda one: one.at):
        if one.by and one.id in running:
            continue
        with going_on(one.id):
            if one.id not in moved and not (one.by == settings.environment_machine and lives.get(one.id)):
                announce_again(settings.facts, one.event, one.detail)
            until = forget_after(now.isoformat(), settings.record_days)
            records.change(one.id, drop=(Unsaid.live,), forget_after=until, only_if=attr(Unsaid.live).exists())
