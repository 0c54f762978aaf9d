"""Groups of several instance types, on top of moto, which launches the launch template's type whatever a group's
MixedInstancesPolicy says, forgets the policy at the next update, and refuses none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import FakeAutoScalingGroup

ON_DEMAND, SPOT = "on-demand", "spot"
NO_SPOT = (
    "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request "
    "configuration. Please adjust your request and try again. Launching EC2 instance failed."
)
MOST_OVERRIDES = 40
PRIORITIZED = "capacity-optimized-prioritized"
STRATEGIES = {
    "OnDemandAllocationStrategy": ("lowest-price", "prioritized"),
    "SpotAllocationStrategy": ("lowest-price", "capacity-optimized", PRIORITIZED, "price-capacity-optimized"),
}
NUMBERS = {"OnDemandBaseCapacity": 1_000_000, "OnDemandPercentageAboveBaseCapacity": 100, "SpotInstancePools": 20}
KNOWN = STRATEGIES.keys() | NUMBERS.keys() | {"SpotMaxPrice"}
TYPE = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")

type Policy = Mapping[str, Any]


def install() -> None:
    """Have moto keep a group's policy, and refuse what Auto Scaling refuses."""
    configure, update = FakeAutoScalingGroup._set_launch_configuration, FakeAutoScalingGroup.update
    shown: Any = FakeAutoScalingGroup.launch_template

    def set_launch_configuration(
        group: FakeAutoScalingGroup, launch_config_name: str, launch_template: Any, mixed_instances_policy: Any
    ) -> None:
        if refused := refusal(mixed_instances_policy or {}):
            raise AutoscalingClientError("ValidationError", refused)
        configure(group, launch_config_name, launch_template, mixed_instances_policy)

    def keep(group: FakeAutoScalingGroup, *arguments: Any, **options: Any) -> None:
        if not (options.get("launch_template") or options.get("launch_config_name")):
            options["mixed_instances_policy"] = _changed(group, options.get("mixed_instances_policy") or {})
        update(group, *arguments, **options)

    def launch_template(group: FakeAutoScalingGroup) -> dict[str, Any] | None:
        """A group has a launch template of its own, or a policy that names one."""
        return None if group.mixed_instances_policy else shown.fget(group)

    changed: Any = FakeAutoScalingGroup
    changed._set_launch_configuration, changed.update = set_launch_configuration, keep
    changed.launch_template = property(launch_template)


def named(specification: Policy) -> dict[str, Any]:
    """A launch template's specification as it may be given again: what is shown has both its id and its name."""
    return {key: value for key, value in specification.items() if key != "LaunchTemplateName"}


def _kept(group: FakeAutoScalingGroup) -> dict[str, Any] | None:
    """A group's policy as it may be given again."""
    if not group.mixed_instances_policy:
        return None
    template = group.mixed_instances_policy["LaunchTemplate"]
    again = {**template, "LaunchTemplateSpecification": named(template["LaunchTemplateSpecification"])}
    return {**group.mixed_instances_policy, "LaunchTemplate": again}


def _changed(group: FakeAutoScalingGroup, given: Policy) -> Policy | None:
    """A group's policy after an update: what it does not say of one that is there stays as it is."""
    kept = _kept(group)
    if not kept or not given:
        return given or kept
    shares = {**(kept.get("InstancesDistribution") or {}), **(given.get("InstancesDistribution") or {})}
    return {**kept, **given, "InstancesDistribution": shares}


def refusal(policy: Policy) -> str | None:
    """Why Auto Scaling refuses a MixedInstancesPolicy."""
    if not policy:
        return None
    template = policy.get("LaunchTemplate") or {}
    if not template.get("LaunchTemplateSpecification"):
        return "Valid requests must contain a LaunchTemplateSpecification in the MixedInstancesPolicy."
    return next(_of_overrides(template.get("Overrides") or []), None) or next(
        _of_distribution(policy.get("InstancesDistribution") or {}, template.get("Overrides") or []), None
    )


def _of_overrides(overrides: list[Policy]) -> Iterator[str]:
    if len(overrides) > MOST_OVERRIDES:
        yield f"The number of launch template overrides cannot be more than {MOST_OVERRIDES}."
    for one in overrides:
        if ("InstanceType" in one) == ("InstanceRequirements" in one):
            yield "You must specify either InstanceType or InstanceRequirements in each launch template override."
        elif "InstanceType" in one and not TYPE.fullmatch(str(one["InstanceType"])):
            yield f"The following supplied instance types do not exist: [{one['InstanceType']}]."
        if str(one.get("WeightedCapacity", "1")) == "0" or not str(one.get("WeightedCapacity", "1")).isdecimal():
            yield "WeightedCapacity must be a number from 1 to 999."
    types = Counter(one["InstanceType"] for one in overrides if "InstanceType" in one)
    if twice := [kind for kind, count in types.items() if count > 1]:
        yield f"Duplicate instance types are not allowed in launch template overrides: {', '.join(twice)}."
    if len({"WeightedCapacity" in one for one in overrides}) > 1:
        yield "WeightedCapacity must be specified for all instance types, or for none."


def _of_distribution(distribution: Policy, overrides: list[Policy]) -> Iterator[str]:
    if unknown := distribution.keys() - KNOWN:
        yield f"Unknown parameter in InstancesDistribution: {', '.join(sorted(unknown))}."
    for name, known in STRATEGIES.items():
        if (given := distribution.get(name, known[0])) not in known:
            yield f"Invalid {name}: {given}. The valid values are: {', '.join(known)}."
    for name, most in NUMBERS.items():
        given = str(distribution.get(name, "1"))
        if not given.isdecimal() or int(given) > most:
            yield f"{name} must be a number from 0 to {most}."
    strategy = distribution.get("SpotAllocationStrategy", "lowest-price")
    if strategy == PRIORITIZED and not overrides:
        yield f"The {PRIORITIZED} allocation strategy needs launch template overrides in order of priority."
    if "SpotInstancePools" in distribution and strategy != "lowest-price":
        yield "SpotInstancePools can be specified only with the lowest-price Spot allocation strategy."


def kinds(policy: Policy | None, own: str) -> list[str]:
    """The instance types that a group launches by this policy, the first first; without one that of its template."""
    overrides = ((policy or {}).get("LaunchTemplate") or {}).get("Overrides") or []
    return [str(one["InstanceType"]) for one in overrides if "InstanceType" in one] or [own]


def resize(group: FakeAutoScalingGroup, capacity: int | None) -> None:
    """What moto does of a new desired capacity, but it loses an instance where a policy's shares do not divide it."""
    group.desired_capacity = int((group.min_size if capacity is None else capacity) or 0)
    lacking = group.desired_capacity - len(group.active_instances())
    if lacking > 0:
        group.replace_autoscaling_group_instances(lacking, group.get_propagated_tags())
    elif lacking < 0:
        leave = [state for state in group.instance_states if not state.protected_from_scale_in][:-lacking]
        group.ec2_backend.terminate_instances([state.instance.id for state in leave])
        group.instance_states = [state for state in group.instance_states if state not in leave]
    if group.name in group.autoscaling_backend.autoscaling_groups:
        group.autoscaling_backend.update_attached_elbs(group.name)


def markets(group: FakeAutoScalingGroup, policy: Policy | None, count: int) -> list[str]:
    """Whether each of the next so many instances is On-Demand or Spot: of a group's desired capacity its base, and of
    the others a share that is rounded up, are On-Demand."""
    distribution = (policy or {}).get("InstancesDistribution") or {}
    have = [state.instance.lifecycle for state in group.instance_states]
    wanted = max(int(group.desired_capacity or 0), len(have) + count)
    base = min(wanted, int(distribution.get("OnDemandBaseCapacity", 0)))
    share = int(distribution.get("OnDemandPercentageAboveBaseCapacity", 100))
    on_demand = base - (base - wanted) * share // 100
    lacking = max(0, on_demand - sum(lifecycle != SPOT for lifecycle in have))
    return ([ON_DEMAND] * lacking + [SPOT] * count)[:count]


def places(
    types: list[str], market: str, zones: list[tuple[str, str]], without: Callable[[str, str, str], bool]
) -> tuple[tuple[str, str, str] | None, list[tuple[str, str]]]:
    """Where the next instance is launched, as type, zone and subnet, if anywhere; before it, types and zones of which
    there are none. The zones stand in the order in which they are tried, and in each the types in theirs.

    Args:
        zones: each with its subnet. without: whether EC2 has no capacity of a market, a type and a zone.
    """
    lacking: list[tuple[str, str]] = []
    for zone, subnet in zones:
        for kind in types:
            if not without(market, kind, zone):
                return (kind, zone, subnet), lacking
            lacking.append((kind, zone))
    return None, lacking


def failures(types: list[str], market: str, lacking: list[tuple[str, str]], by_policy: bool) -> set[tuple[str, str]]:
    """What Auto Scaling says of types and zones without capacity, with the zone. Of Spot Instances it names no type,
    and says nothing of a zone in which it has got another."""
    if market == SPOT:
        zones = Counter(zone for _, zone in lacking)
        return {(NO_SPOT, zone) for zone, count in zones.items() if count == len(types)}
    return {(capacity_reason(kind, zone, by_policy), zone) for kind, zone in lacking}


def capacity_reason(instance_type: str, zone: str, mixed: bool = False) -> str:
    """How Auto Scaling says that EC2 has no more of a type in a zone."""
    lead = "Could not launch On-Demand Instances. InsufficientInstanceCapacity - " if mixed else ""
    return (
        f"{lead}We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        f"({zone}). Our system will be working on provisioning additional capacity. You can currently get "
        f"{instance_type} capacity by not specifying an Availability Zone in your request or choosing another "
        "one. Launching EC2 instance failed."
    )
