"""Measurements of CloudWatch, seen through one workload account."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

PERIOD = 300
"""Seconds of one datapoint: CloudWatch keeps these for 63 days."""
_QUERIES = 500
"""Metrics that one call of GetMetricData takes."""


class Metric(Struct, frozen=True):
    """A metric of CloudWatch by its namespace, its name and its dimensions."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


class Measured(Struct, frozen=True):
    """When the last period ended of which there is a value, and the last one of which it is more than zero."""

    last: datetime
    above_zero: datetime | None = None


def measured(
    workload: "Workload", metrics: Sequence[Metric], since: datetime, now: datetime
) -> Mapping[Metric, Measured]:
    """Tells when each metric was measured last; those that never were are left out."""
    found: dict[Metric, Measured] = {}
    for some in batched(metrics, _QUERIES, strict=False):
        named = {f"m{number}": metric for number, metric in enumerate(some)}
        queries: Any = [{"Id": name, "MetricStat": _sum(metric)} for name, metric in named.items()]
        pages = workload.cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=since, EndTime=now, ScanBy="TimestampDescending"
        )
        for result in (each for page in pages for each in page["MetricDataResults"]):
            metric = named[result["Id"]]
            for at, value in zip(result["Timestamps"], result["Values"], strict=True):
                end = min(now, at + timedelta(seconds=PERIOD))
                known = found.get(metric, Measured(end))
                used = max(end, known.above_zero or end) if value > 0 else known.above_zero
                found[metric] = Measured(max(end, known.last), used)
    return found


def _sum(metric: Metric) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    named = {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}
    return {"Metric": named, "Period": PERIOD, "Stat": "Sum"}
