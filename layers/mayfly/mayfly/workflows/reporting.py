"""Writes the reports of sweeps and retirements to S3, or keeps them in DynamoDB until S3 takes them: what has to be
done waits for neither."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws.attempts import going_on
from mayfly.aws.records import Records, forget_after
from mayfly.aws.reports import keep
from mayfly.domain.records import LateReport, Sweep
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings

_ROOM = 300_000
"""Characters of a report that a record has room for."""


def write_down(settings: Settings, report: dict[str, Any], kept: dict[str, Any], now: datetime) -> str:
    """A sweep or a retirement writes its report to S3, before it does anything; returns why S3 refused it. Then the
    report is in DynamoDB, and in the log where DynamoDB refuses it, too.

    Args:
        kept: what else belongs to the report, where there is room.
    """
    try:
        keep(settings.reports, report["key"], report | kept)
    except (ClientError, BotoCoreError) as error:
        with going_on("its report"):  # people are told by the alarm for what could not be carried out
            logger.error("S3 does not take the report", extra={"report": report})
            written = (json.dumps(each) for each in (report | kept, report))
            fitting = next((each for each in written if len(each) < _ROOM), None)
            if fitting:
                facts: dict[str, Any] = {"id": report["key"], "live": LateReport.kind.value, "report": fitting}
                until = forget_after(utc_text(now), settings.record_days)
                Records(settings.table, LateReport).change(report["key"], forget_after=until, **facts)
            raise
        return f"{type(error).__name__}: {error}"
    return ""


def write_late(settings: Settings) -> Iterator[str]:
    """Writes the reports that S3 did not take before; returns their keys. A version before kept a sweep's in its
    record."""
    with going_on("the reports of before"):
        yield from _written(settings, LateReport)
        yield from _written(settings, Sweep)


def _written(settings: Settings, kind: type[LateReport] | type[Sweep]) -> Iterator[str]:
    records: Records[LateReport | Sweep] = Records(settings.table, kind)
    for before in records.live():
        if before.report:
            keep(settings.reports, before.id, json.loads(before.report))
            yield before.id
        records.change(before.id, drop=(kind.live, kind.report))
