"""Gauges: how many environments are at which stage, how old the oldest is, and what they cost, for the dashboard."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from mayfly.contract.vocabulary import EnvironmentStage
from mayfly.domain.cost import by_application, spent
from mayfly.domain.records import Environment
from mayfly.observability import measure, metrics
from mayfly.prices import list_prices

STAGES = tuple(stage for stage in EnvironmentStage if stage is not EnvironmentStage.TERMINATED)
"""Those of an environment that lives. Each is told, so that a graph comes down to 0."""


def publish(records: Iterable[Environment], now: datetime) -> None:
    """Publishes what the records of all living environments say."""
    living = list(records)
    stages = Counter(record.stage for record in living)
    for stage in STAGES:
        measure("Environments", stages[stage], stage=stage)
    planned = [datetime.fromisoformat(record.planned_at) for record in living if record.planned_at]
    oldest = (now - min(planned)).total_seconds() / 3600 if planned else 0.0
    metrics.add_metric(name="OldestEnvironmentHours", unit="NoUnit", value=round(max(oldest, 0.0), 2))
    bill = by_application(spent(living, now, list_prices()))
    metrics.add_metric(name="UsdPerHour", unit="NoUnit", value=bill["usd_per_hour"])
    for row in bill["applications"]:
        measure("UsdPerHour", float(row["usd_per_hour"]), application=row["application"])
