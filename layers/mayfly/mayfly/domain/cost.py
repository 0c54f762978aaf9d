"""What environments cost: their instances and volumes, at list prices. An estimate for people, not a bill: traffic, NAT
gateways and whatever else a blueprint builds are not in it, and neither are discounts.

What there is to count, Mayfly writes down when it sees it: at the latest before it deletes. An environment counts from
the launch of its first instance until it was confirmed gone, whether its life went well or failed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from mayfly.domain.records import Environment

_HOURS_OF_A_MONTH = 730
"""As AWS reckons GB-months."""


class Prices(Struct, frozen=True):
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
        """Returns what these instances and their volumes cost an hour; None where a price is not known."""
        known = self.instances.get(region, {})
        if region not in self.gb_month or not types.keys() <= known.keys():
            return None
        instances = sum(known[kind] * count for kind, count in types.items())
        return instances + self.gb_month[region] * volume_gb / _HOURS_OF_A_MONTH


class Cost(Struct, frozen=True):
    """What an environment has cost.

    Attributes:
        usd: so far; None where the price of what it consists of is not known.
        usd_per_hour: what it costs now: 0 before its first instance and after its last one, while it sleeps, or where
            it is not known.
        instance_hours: of all instances together.
        rate: what it costs an hour while it runs, now or then; None where that is not known.
    """

    usd: float | None
    usd_per_hour: float
    instance_hours: float
    rate: float | None = None


def cost(record: Environment, now: datetime, prices: Prices) -> Cost:
    """Returns what an environment has cost until `now`.

    Args:
        record: of the environment. One of which no instance was seen yet has cost nothing.
    """
    types = record.instance_types
    if not types or record.launched_at is None:
        return Cost(0.0, 0.0, 0.0)
    begun = datetime.fromisoformat(record.launched_at)
    gone = datetime.fromisoformat(record.terminated_at) if record.terminated_at else None
    until = min(now, gone) if gone else now
    hours = max(0.0, (until - begun - _slept(record, until)).total_seconds() / 3600)
    rate = prices.an_hour(record.region, types, record.volume_gb)
    stands = begun <= now and (gone is None or now < gone) and record.sleep is None
    return Cost(
        None if rate is None else rate * hours,
        rate if rate and stands else 0.0,
        sum(types.values()) * hours,
        rate,
    )


def _slept(record: Environment, until: datetime) -> timedelta:
    """Tells how long it has had no instances, because it slept."""
    before = timedelta(seconds=record.slept_seconds)
    return before + (until - datetime.fromisoformat(record.sleep.since)) if record.sleep else before


class Spent(Struct, frozen=True):
    """What environments have cost together, in whole numbers, as records keep them.

    Attributes:
        environments: how many. unpriced: of them, those without a known price, which are not in the sums.
        microusd: millionths of a US dollar so far. microusd_an_hour: what they cost now.
        seconds: of all instances together. running: instances that cost now.
    """

    environments: int = 0
    unpriced: int = 0
    microusd: int = 0
    microusd_an_hour: int = 0
    seconds: int = 0
    running: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    def after(self, hours: float) -> "Spent":
        """Returns the cost some hours later, if nothing else changes."""
        more = Spent(microusd=round(self.microusd_an_hour * hours), seconds=round(self.running * hours * 3600))
        return self + more


type Bill = Mapping[tuple[str, str], Spent]
"""What was spent, by application and suite."""


def spent(records: Iterable[Environment], now: datetime, prices: Prices) -> Bill:
    """Returns what environments have cost until `now`."""
    sums: dict[tuple[str, str], Spent] = {}
    for record in records:
        key, costs = (record.application, record.suite), cost(record, now, prices)
        one = Spent(
            environments=1,
            unpriced=int(costs.usd is None),
            microusd=round((costs.usd or 0.0) * 1_000_000),
            microusd_an_hour=round(costs.usd_per_hour * 1_000_000),
            seconds=round(costs.instance_hours * 3600),
            running=sum(record.instance_types.values()) if costs.usd_per_hour else 0,
        )
        sums[key] = sums.get(key, Spent()) + one
    return sums


def together(bills: Iterable[Bill]) -> Bill:
    """Adds several bills up to one."""
    sums: dict[tuple[str, str], Spent] = {}
    for bill in bills:
        for key, one in bill.items():
            sums[key] = sums.get(key, Spent()) + one
    return sums


def by_application(bill: Bill) -> dict[str, Any]:
    """Sorts a bill by application and suite, the dearest first.

    Returns:
        `total_usd`, `usd_per_hour`, `unpriced` (how many environments have no known price and are not in the sums) and
        `applications`, each with `application`, `usd`, `usd_per_hour`, `instance_hours` and `suites` (`suite`, `usd`).
    """
    sums: dict[str, dict[str, Spent]] = {}
    for (application, suite), one in bill.items():
        sums.setdefault(application, {})[suite] = one
    applications = []
    for application, suites in sums.items():
        whole = sum(suites.values(), Spent())
        applications.append(
            {
                "application": application,
                "usd": _usd(whole.microusd),
                "usd_per_hour": _usd(whole.microusd_an_hour),
                "instance_hours": round(whole.seconds / 3600, 2),
                "suites": _dearest_first({"suite": suite, "usd": _usd(one.microusd)} for suite, one in suites.items()),
            }
        )
    every = sum(bill.values(), Spent())
    return {
        "total_usd": _usd(every.microusd),
        "usd_per_hour": _usd(every.microusd_an_hour),
        "unpriced": every.unpriced,
        "applications": _dearest_first(applications),
    }


def _usd(microusd: int) -> float:
    return round(microusd / 1_000_000, 4)


def _dearest_first(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -row["usd"])


SUITES_KEPT = 2_000
"""Of one sum: more would not fit into a record. The cheapest go together as `OTHERS` of their application."""
OTHERS = "(others)"


def kept(bill: Bill) -> dict[str, dict[str, list[int]]]:
    """Turns a bill into what a record keeps: by application and suite."""
    dearest = sorted(bill, key=lambda key: -bill[key].microusd)
    few = {(application, OTHERS): Spent() for application, _ in dearest[SUITES_KEPT:]}
    few |= {key: bill[key] for key in dearest[:SUITES_KEPT]}
    whole = together([few, *({(key[0], OTHERS): bill[key]} for key in dearest[SUITES_KEPT:])])
    said: dict[str, dict[str, list[int]]] = {}
    for (application, suite), one in whole.items():
        said.setdefault(application, {})[suite] = [*astuple(one)]
    return said


def of_kept(said: Mapping[str, Mapping[str, Iterable[int]]]) -> Bill:
    """Reads a bill from what a record keeps."""
    return {(application, suite): Spent(*one) for application, suites in said.items() for suite, one in suites.items()}
