"""Keeps announcements that no repetition would make where EventBridge takes none, until a sweep makes them."""

import hashlib
from datetime import datetime
from typing import Any

from mayfly.aws.attempts import going_on
from mayfly.aws.events import NotTaken, announce, announce_again, written
from mayfly.aws.records import Records, attr, forget_after
from mayfly.contract.fields import Announcement
from mayfly.domain.records import Unsaid
from mayfly.observability import logger
from mayfly.settings import Settings


def say(settings: Settings, message: Announcement, now: str) -> None:
    """Announces what is written down as done already, so that nobody who tries again would announce it."""
    try:
        announce(settings.facts, message)
    except NotTaken:
        logger.exception("this is announced by a sweep")
        detail = written(message)
        identity = hashlib.sha256(f"{message.event} {detail}".encode()).hexdigest()[:32]
        facts: dict[str, Any] = {"live": Unsaid.kind.value, "at": now, "event": message.event, "detail": detail}
        Records(settings.table, Unsaid).change(identity, **facts)


def make_up(settings: Settings, now: datetime) -> None:
    """Announces what was kept, the oldest first, and closes each then: after a crash in between, a sweep announces it
    again."""
    records = Records(settings.table, Unsaid)
    for kept in sorted(records.live(), key=lambda one: one.at):
        with going_on(kept.id):
            announce_again(settings.facts, kept.event, kept.detail)
            until = forget_after(now.isoformat(), settings.record_days)
            records.change(kept.id, drop=(Unsaid.live,), forget_after=until, only_if=attr(Unsaid.live).exists())
