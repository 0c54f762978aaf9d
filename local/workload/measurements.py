"""What CloudWatch answers of load balancers: GetMetricData, by what they have really counted. moto knows only what
somebody has put there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend

from local.workload.stacks import replace
from local.workload.traffic import PERIOD, Stat, Wire

BALANCERS = "AWS/ApplicationELB"
REQUESTS, ALWAYS = "RequestCount", "ConsumedLCUs"
REQUESTS_OF_A_UNIT = 25 * PERIOD
"""A load balancer capacity unit covers 25 new connections a second; the local cloud measures no other part of it."""


def install(wire: Wire) -> None:
    """Has metrics of load balancers come from what they measure."""
    asked = CloudWatchBackend.get_metric_data

    def get_metric_data(backend: CloudWatchBackend, queries: list[Any], **more: Any) -> list[dict[str, Any]]:
        begin, end = (int(more[name].replace(tzinfo=UTC).timestamp()) for name in ("start_time", "end_time"))
        of_balancers = [
            one for one in queries if one.get("MetricStat", {}).get("Metric", {}).get("Namespace") == BALANCERS
        ]
        others = [one for one in queries if one not in of_balancers]
        results = asked(backend, queries=others, **more) if others else []
        for query in of_balancers:
            values = _values(wire, query["MetricStat"], begin, end)
            times = sorted(values, reverse=more.get("scan_by") != "TimestampAscending")
            results.append(
                {
                    "id": query["Id"],
                    "label": query["MetricStat"]["Metric"]["MetricName"],
                    "timestamps": [datetime.fromtimestamp(at, UTC) for at in times],
                    "values": [values[at] for at in times],
                    "status_code": "Complete",
                }
            )
        return results

    replace(CloudWatchBackend, get_metric_data=get_metric_data)


def _values(wire: Wire, stat: dict[str, Any], begin: int, end: int) -> dict[int, float]:
    """The values of a load balancer's metric by the beginnings of their periods."""
    metric, seconds = stat["Metric"], int(stat["Period"])
    names = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
    found: dict[int, Stat] = {}
    for balancer in list(wire.balancers.values()):
        if balancer.name != names.get("LoadBalancer"):
            continue
        for number, period in list(balancer.periods.items()):
            at = number * PERIOD
            if not begin <= at < end:
                continue
            merged = found.setdefault(at // seconds * seconds, Stat())
            if metric["MetricName"] == ALWAYS:
                requests = period[REQUESTS].total if REQUESTS in period else 0.0
                merged.add(requests / REQUESTS_OF_A_UNIT)
            elif metric["MetricName"] in period:
                value = period[metric["MetricName"]]
                merged.total, merged.count = merged.total + value.total, merged.count + value.count
                merged.least, merged.most = min(merged.least, value.least), max(merged.most, value.most)
    return {at: value.value(stat["Stat"]) for at, value in found.items() if value.count}
