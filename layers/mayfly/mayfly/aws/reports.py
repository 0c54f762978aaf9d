"""Reports, one object each: what a sweep or a retirement decided about everything it saw, and why."""

import json
from datetime import datetime
from typing import Any

from mayfly.aws.clients import controller


def keep(bucket: str, at: datetime, report: dict[str, Any], what: str = "sweeps") -> str:
    """Writes a report; returns its key, by day and time."""
    key = f"{what}/{at:%Y/%m/%d}/{at:%H%M%S}.json"
    body = json.dumps(report, indent=1).encode()
    controller("s3").put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    return key


def keep_text(bucket: str, key: str, text: str) -> str:
    """Writes something that somebody printed; returns its location."""
    controller("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/plain; charset=utf-8")
    return f"s3://{bucket}/{key}"
