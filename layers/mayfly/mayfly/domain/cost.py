"""What environments cost: their instances and volumes, at list prices. An estimate for people, not a bill: traffic, NAT
gateways and whatever else a blueprint builds are not in it, and neither are discounts.

What there is to count, Mayfly writes down when it sees it: at the latest before it deletes. An environment counts from
the launch of its first instance until it was confirmed gone, whether its life went well or failed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mayfly.domain.records import Environment

_HOURS_OF_A_MONTH = 730
"""As AWS reckons GB-months."""


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices.

    Attributes:
        as_of: the day on which they held. source: whose list. currency: of all of them.
        instances: by Region and instance type, an hour (Linux, on demand).
        gb_month: by Region, a GB-month of a gp3 volume.
        services: what Mayfly itself uses, by unit (us-east-1).
    """

    as_of: str
    source: str
    currency: str
    instances: Mapping[str, Mapping[str, float]]
    gb_month: Mapping[str, float]
    services: Mapping[str, float]

    def an_hour(self, region: str, types: Mapping[str, int], volume_gb: float) -> float | None:
        """What these instances and their volumes cost an hour; None where a price is not known."""
        known = self.instances.get(region, {})
        if region not in self.gb_month or not types.keys() <= known.keys():
            return None
        instances = sum(known[kind] * count for kind, count in types.items())
        return instances + self.gb_month[region] * volume_gb / _HOURS_OF_A_MONTH


@dataclass(frozen=True, slots=True)
class Cost:
    """What an environment has cost.

    Attributes:
        usd: so far; None where the price of what it consists of is not known.
        usd_per_hour: what it costs now: 0 before its first instance and after its last one, or where it is not known.
        instance_hours: of all instances together.
        rate: what it costs an hour while it runs, now or then; None where that is not known.
    """

    usd: float | None
    usd_per_hour: float
    instance_hours: float
    rate: float | None = None


def cost(record: Environment, now: datetime, prices: Prices) -> Cost:
    """What an environment has cost until `now`.

    Args:
        record: of the environment. One of which no instance was seen yet has cost nothing.
    """
    types = record.instance_types
    if not types or record.launched_at is None:
        return Cost(0.0, 0.0, 0.0)
    begun = datetime.fromisoformat(record.launched_at)
    gone = datetime.fromisoformat(record.terminated_at) if record.terminated_at else None
    until = min(now, gone) if gone else now
    hours = max(0.0, (until - begun).total_seconds() / 3600)
    rate = prices.an_hour(record.region, types, record.volume_gb)
    stands = begun <= now and (gone is None or now < gone)
    return Cost(
        None if rate is None else rate * hours,
        rate if rate and stands else 0.0,
        sum(types.values()) * hours,
        rate,
    )


def by_application(records: Iterable[Environment], now: datetime, prices: Prices) -> dict[str, Any]:
    """What environments have cost together, by application and suite, the dearest first.

    Returns:
        `total_usd`, `usd_per_hour`, `unpriced` (how many environments have no known price and are not in the sums) and
        `applications`, each with `application`, `usd`, `usd_per_hour`, `instance_hours` and `suites` (`suite`, `usd`).
    """
    sums: dict[str, dict[str, list[Cost]]] = {}
    for record in records:
        suites = sums.setdefault(record.application, {})
        suites.setdefault(record.suite, []).append(cost(record, now, prices))
    applications = [
        {
            "application": application,
            "usd": _usd(each for costs in suites.values() for each in costs),
            "usd_per_hour": round(sum(each.usd_per_hour for costs in suites.values() for each in costs), 4),
            "instance_hours": round(sum(each.instance_hours for costs in suites.values() for each in costs), 2),
            "suites": _dearest_first({"suite": suite, "usd": _usd(costs)} for suite, costs in suites.items()),
        }
        for application, suites in sums.items()
    ]
    every = [each for suites in sums.values() for costs in suites.values() for each in costs]
    return {
        "total_usd": _usd(every),
        "usd_per_hour": round(sum(each.usd_per_hour for each in every), 4),
        "unpriced": sum(each.usd is None for each in every),
        "applications": _dearest_first(applications),
    }


def _usd(costs: Iterable[Cost]) -> float:
    return round(sum(each.usd or 0.0 for each in costs), 4)


def _dearest_first(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -row["usd"])
