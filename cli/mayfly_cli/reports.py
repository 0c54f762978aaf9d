"""Reports of sweeps, as they come into their bucket."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from mayfly.aws.clients import controller

type Json = dict[str, Any]

_LOOK_BACK = timedelta(hours=1)


def keys(bucket: str, now: datetime) -> set[str]:
    """The keys of the latest reports; they sort by time."""
    pages = controller("s3").get_paginator("list_objects_v2")
    since = f"sweeps/{now - _LOOK_BACK:%Y/%m/%d/%H%M%S}"
    found = pages.paginate(Bucket=bucket, Prefix="sweeps/", StartAfter=since)
    return {each["Key"] for page in found for each in page.get("Contents", [])}


def fresh(bucket: str, now: datetime, before: set[str], mine: Callable[[str], bool]) -> Json | None:
    """The report that has come since, of the sweep that somebody asked for.

    Args:
        mine: whether who is said to have asked is they.
    """
    for key in sorted(keys(bucket, now) - before):
        report = read(bucket, key)
        if mine(report["asked_by"]):
            return report
    return None


def read(bucket: str, key: str) -> Json:
    """A report, with its key."""
    body = controller("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return dict(json.loads(body)) | {"key": key}


def latest(bucket: str, now: datetime) -> Json | None:
    """The last report; None where there was none within the hour."""
    found = sorted(keys(bucket, now))
    return read(bucket, found[-1]) if found else None
