"""What follows from a launch that failed: what is told of it, and whether its environment can still come.

A pool is an instance type in an Availability Zone, On-Demand or Spot: EC2 has capacity left in it or not.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from mayfly.contract.vocabulary import EndingCause
from mayfly.domain.records import Environment

_POOL = re.compile(r"sufficient (\S+) capacity in the Availability Zone you requested \(([a-z0-9-]+)\)")
"""As EC2 names an On-Demand pool without capacity."""
_LACKS = ("InsufficientInstanceCapacity", "UnfulfillableCapacity", "no Spot capacity")
"""Words of a failure that names none: it is of every type in its zone."""
_SPOT = "Spot"
_NO_MORE_SPOT = "MaxSpotInstanceCountExceeded"
"""EC2's word for the account's quota of Spot Instances, whatever the type or zone."""


class Wanted(Struct, frozen=True):
    """What a group may launch.

    Attributes:
        types: instance types, where the group itself says them. zones: of its subnets. missing: how many instances it
            has too few of. mixed: whether it can launch On-Demand what it gets no Spot Instances for.
    """

    types: tuple[str, ...]
    zones: tuple[str, ...]
    missing: int
    mixed: bool = False


class Shortage(Struct, frozen=True):
    """What is known after a launch that failed.

    Attributes:
        pools: all that are known to be without capacity. ends: whether there is none that its instances can come from.
        on_demand: whether what the group lacks is to be launched On-Demand, because EC2 has no Spot Instances for it.
    """

    pools: tuple[str, ...]
    ends: bool
    reason: str
    on_demand: bool = False


def decide_launch(known: Sequence[str], said: str, zone: str, wanted: Wanted) -> Shortage:
    """Decides about a launch that failed.

    Args:
        known: the pools that were without capacity before. said: what Auto Scaling says of it. zone: where, if known.
    """
    market = f"{_SPOT} " if _SPOT in said.partition(".")[0] or "no Spot capacity" in said else ""
    found = _POOL.findall(said)
    if not found and zone and any(words in said for words in _LACKS):
        found = [(kind, zone) for kind in wanted.types]
    named = [f"{market}{kind} in {where}" for kind, where in found]
    pools = tuple(dict.fromkeys([*known, *named]))
    types = wanted.types or tuple(kind for kind, _ in found)
    every = [f"{market}{kind} in {where}" for kind in types for where in wanted.zones]
    nowhere = bool(named and every) and set(every) <= set(pools)
    on_demand = bool(market) and wanted.mixed and wanted.missing > 0 and (nowhere or _NO_MORE_SPOT in said)
    if nowhere and wanted.missing > 0 and not on_demand:
        return Shortage(pools, True, f"EC2 has no capacity for {', nor for '.join(every)}: {said}")
    return Shortage(pools, False, f"no capacity for {', '.join(named)}: {said}" if named else said, on_demand)


def summary(shortage: Shortage) -> str:
    """Tells which capacity EC2 lacks, without what Auto Scaling says of it."""
    return shortage.reason.partition(": ")[0]


def of_resources(failed: Iterable[Mapping[str, Any]]) -> str:
    """Which capacity EC2 lacks for instances that a stack launches without an Auto Scaling group; "" where that is not
    why it failed. Each is of one type, in one zone: nothing else is tried for it.

    Args:
        failed: the events of the stack's resources at fault.
    """
    named = dict[str, None]()
    for event in failed:
        said = event.get("ResourceStatusReason", "")
        if event.get("ResourceType") == "AWS::EC2::Instance" and (_POOL.search(said) or any(w in said for w in _LACKS)):
            pools = [f"{kind} in {zone}" for kind, zone in _POOL.findall(said)]
            named |= dict.fromkeys(pools or [str(event.get("LogicalResourceId"))])
    return f"EC2 has no capacity for {', nor for '.join(named)}" if named else ""


def elsewhere(record: Environment | None, target: str, targets: Iterable[str], ended: Mapping[str, Any]) -> list[str]:
    """Tells where an environment may be built instead, the best first, if its creation failed because EC2 has no
    capacity for it at this target; nowhere if it failed for anything else, or somebody has ended its life.

    Args:
        ended: why its creation is over, as its execution says it.
    """
    failed = ended.get("by") == EndingCause.FAILURE and ended["error"].get("Error") == "CreationFailed"
    if not failed or record is None or record.ending or target not in record.no_capacity:
        return []
    return [each for each in targets if each not in record.no_capacity]


def with_earlier(reason: str, target: str, no_capacity: Mapping[str, str]) -> str:
    """Tells why a life has failed at a target, after what EC2 had no capacity for at those before."""
    earlier = [f"{why} ({each})" for each, why in no_capacity.items() if each != target or why not in reason]
    return "; ".join([*earlier, reason])
