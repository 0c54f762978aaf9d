"""Reports, one object each: what a sweep or a retirement decided about everything it saw, and why."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mayfly.aws.clients import controller

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keep(bucket: str, at: datetime, run: str, report: dict[str, Any], what: str = "sweeps") -> str:
    """Writes a report; returns its key, by day and time.

    Args:
        run: id of the invocation that it is of: two that are asked for in the same second keep a report each.
    """
    key = f"{what}/{at:%Y/%m/%d}/{at:%H%M%S}-{run[:8]}.json"
    body = json.dumps(report, indent=1).encode()
    controller("s3").put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    return key


def keep_text(bucket: str, key: str, text: str) -> str:
    """Writes something that somebody printed; returns its location."""
    controller("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/plain; charset=utf-8")
    return f"s3://{bucket}/{key}"


def read(bucket: str, key: str) -> dict[str, Any] | None:
    """A report as it was written, or None where there is none (any more)."""
    s3: S3Client = controller("s3")
    try:
        report: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None
    return report
