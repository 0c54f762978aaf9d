"""Sessions of Systems Manager: a shell on an instance, or a port of it; seen through one workload account."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mayfly.domain.timestamp import utc_text

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_LONGEST = timedelta(days=1)
"""A session lasts no longer: one that began before that is over."""


def last_used(workload: "Workload", since: datetime, now: datetime) -> Mapping[str, datetime]:
    """Tells when a session was last open on each instance, by the instance's id: now, where one still is."""
    latest: dict[str, datetime] = {}
    for session in _sessions(workload, since):
        until = session.get("EndDate") or now
        latest[session["Target"]] = max(until, latest.get(session["Target"], until))
    return {instance: at for instance, at in latest.items() if at > since}


def _sessions(workload: "Workload", since: datetime) -> Iterator[Any]:
    listed = workload.ssm.get_paginator("describe_sessions")
    after: Any = [{"key": "InvokedAfter", "value": utc_text(since - _LONGEST)}]
    for page in listed.paginate(State="Active"):
        yield from page["Sessions"]
    for page in listed.paginate(State="History", Filters=after):
        yield from (each for each in page["Sessions"] if each["Status"] != "Failed")
