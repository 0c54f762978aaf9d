"""Reports, one object each: what a sweep or a retirement decided about everything it saw, and why."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mayfly.aws.clients import controller

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from mayfly.aws.clients import Workload


def key_of(at: datetime, run: str, what: str = "sweeps") -> str:
    """Where a report lies, by day and time.

    Args:
        run: id of the invocation that it is of: two that are asked for in the same second keep a report each.
    """
    return f"{what}/{at:%Y/%m/%d}/{at:%H%M%S}-{run[:8]}.json"


def keep(bucket: str, key: str, report: dict[str, Any]) -> None:
    """Writes a report."""
    body = json.dumps(report, indent=1).encode()
    controller("s3").put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def overwrite(bucket: str, key: str, said: dict[str, Any]) -> None:
    """Writes what is true now over what was true before."""
    controller("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(said).encode(), ContentType="application/json")


def keep_text(bucket: str, key: str, text: str) -> str:
    """Writes something that somebody printed; returns its location."""
    controller("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/plain; charset=utf-8")
    return f"s3://{bucket}/{key}"


def end_of(workload: "Workload", location: str, most: int) -> str:
    """The last bytes, that many at most, of a text that something left at a location of S3 in a workload account."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    found = workload.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{most}")
    return str(found["Body"].read().decode(errors="replace"))


def address(bucket: str, key: str, seconds: int) -> str:
    """Signs an address that one file can be put to for a while, by whoever knows it. It ends with this function's own
    credentials at the latest."""
    s3: S3Client = controller("s3")
    return s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds)


def read_raw(bucket: str, key: str, longest: int) -> bytes | None:
    """The first so many bytes of what somebody has put there, or None where nobody has."""
    s3: S3Client = controller("s3")
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read(longest)
    except s3.exceptions.NoSuchKey:
        return None


def read(bucket: str, key: str) -> dict[str, Any] | None:
    """A report as it was written, or None where there is none (any more)."""
    s3: S3Client = controller("s3")
    try:
        report: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None
    return report
