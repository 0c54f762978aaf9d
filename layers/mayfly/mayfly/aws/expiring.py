"""Warnings before a deadline: to the bus, and to the owner's topic where there is one."""

import json
from datetime import datetime
from typing import Any

from mayfly.aws.clients import controller
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.lease import warnings_due
from mayfly.domain.moment import text
from mayfly.settings import Settings


def warn(here: Settings, now: datetime, record: dict[str, Any]) -> bool:
    """Warns of a deadline that comes near, once for each of the application's warnings. True where it did."""
    if record.get("ending") or record.get("stage") != "awaiting tests":
        return False
    deadline, given = datetime.fromisoformat(record["deadline"]), record.get("warned", [])
    due = warnings_due(now, deadline, record.get("warn_minutes_before", ()), given)
    if not due or now >= deadline:
        return False
    minutes = int((deadline - now).total_seconds() // 60)
    extension = {"environment": record["id"], "minutes": 60, "why": "...", "requested_by": "..."}
    detail = {
        key: record.get(key) for key in ("release", "application", "version", "suite", "owner", "deadline", "ceiling")
    }
    detail |= {"environment": record["id"], "minutes_left": minutes, "to_extend": extension}
    # Claimed first: two sweeps at once, by schedule and by hand, are to warn once.
    records, what = Records(here.table, "environment"), f"{minutes} minutes before {record['deadline']}"
    claim = "warned = :given" if given else "attribute_not_exists(warned)"
    try:
        records.change(
            record["id"],
            {"warned": [*given, *due]},
            Entry(text(now), "sweep", "warned", what),
            only_if=claim,
            bound={":given": given} if given else {},
        )
    except Conflict:
        return False
    announce(here.bus, "Environment Expiring", detail)
    if topic := record.get("owner_topic"):
        controller("sns").publish(
            TopicArn=topic, Subject=subject(record, minutes), Message=letter(here, record, extension)
        )
    return True


def subject(record: dict[str, Any], minutes: int) -> str:
    """The subject of a warning; SNS takes 100 characters."""
    return f"{record['application']} {record['suite']} ends in {minutes} min: {record['id']}"[:100]


def letter(here: Settings, record: dict[str, Any], extension: dict[str, Any]) -> str:
    """The warning itself, with how to extend."""
    return (
        f"{record['id']} ({record['application']} {record['version']}, suite {record['suite']}) is terminated at "
        f"{record['deadline']}, with all that is in it.\n\n"
        f"To keep it longer (until {record['ceiling']} at most), put on "
        f"the bus {here.bus}, as 'Environment Extension Requested':\n\n{json.dumps(extension)}\n"
    )
