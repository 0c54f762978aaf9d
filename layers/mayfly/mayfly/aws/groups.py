"""Groups of Auto Scaling that belong to an environment, seen through one workload account."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mayfly.aws.instances import plain
from mayfly.domain import tags
from mayfly.domain.needs import Use

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


class Group(Struct, frozen=True):
    """A group as DescribeAutoScalingGroups shows it: how many instances it has at least, wants, and has in service; the
    instance types that it names itself, the zones of its subnets, how many instances it has too few of, and which
    shares of them are On-Demand where it has a policy for that."""

    name: str
    labels: Mapping[str, str]
    least: int
    desired: int
    in_service: int
    types: tuple[str, ...]
    zones: tuple[str, ...]
    missing: int
    distribution: Mapping[str, Any]

    @property
    def on_demand_base(self) -> int:
        """How many of its instances are On-Demand before any is a Spot Instance."""
        return int(self.distribution.get("OnDemandBaseCapacity", 0))


def of_environment(workload: "Workload", environment: str) -> list[Group]:
    """Returns every group that carries the environment's tag."""
    pages = workload.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
        Filters=[{"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]}]
    )
    return [_read(group) for page in pages for group in page["AutoScalingGroups"]]


def _read(group: Mapping[str, Any]) -> Group:
    policy = group.get("MixedInstancesPolicy", {})
    overrides = policy.get("LaunchTemplate", {}).get("Overrides", [])
    members = group.get("Instances", [])
    return Group(
        group["AutoScalingGroupName"],
        plain(group.get("Tags", [])),
        group.get("MinSize", 0),
        group.get("DesiredCapacity", 0),
        sum(one["LifecycleState"] == "InService" for one in members),
        tuple(one.get("InstanceType", "any type") for one in overrides),
        tuple(dict.fromkeys(group.get("AvailabilityZones", []))),
        max(0, group.get("DesiredCapacity", 0) - len(members)),
        policy.get("InstancesDistribution", {}),
    )


def launches_from(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the launch template and its version that a group, or the refresh of one, names: by itself, or in the
    policy of several instance types."""
    mixed = shown.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    found: Mapping[str, Any] = mixed.get("LaunchTemplateSpecification") or shown.get("LaunchTemplate", {})
    return found


def capacities(workload: "Workload", environment: str) -> dict[str, tuple[int, int]]:
    """Returns the desired capacity of each group of an environment, and how many of its instances are in service."""
    return {group.name: (group.desired, group.in_service) for group in of_environment(workload, environment)}


def resize(workload: "Workload", group: str, least: int, desired: int) -> None:
    """Has Auto Scaling launch what a group lacks, or terminate what it has too many of."""
    workload.autoscaling.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=least, DesiredCapacity=desired)


def fill_on_demand(workload: "Workload", group: Group, base: int) -> None:
    """Has Auto Scaling launch so many of a group's instances On-Demand, and all others as Spot Instances: of a share
    above the base, it would replace some of those that run."""
    shares = {"OnDemandBaseCapacity": base, "OnDemandPercentageAboveBaseCapacity": 0}
    distribution: Any = {**group.distribution, **shares}
    workload.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=group.name, MixedInstancesPolicy={"InstancesDistribution": distribution}
    )


def describe(workload: "Workload", group: str) -> Group | None:
    """Returns a group as it is now; None where it is gone."""
    found = workload.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    return _read(found[0]) if found else None


def terminations(workload: "Workload", environment: str) -> list[tuple[datetime, str]]:
    """Tells when, and why, Auto Scaling took an instance of an environment's groups out of service; the latest
    first."""
    return sorted(
        (
            (activity["StartTime"], activity.get("Cause", ""))
            for group in capacities(workload, environment)
            for page in workload.autoscaling.get_paginator("describe_scaling_activities").paginate(
                AutoScalingGroupName=group
            )
            for activity in page["Activities"]
            if activity["Description"].startswith("Terminating EC2 instance")
        ),
        reverse=True,
    )


def used_groups(workload: "Workload") -> Iterator[Use]:
    """Lists Auto Scaling groups."""
    for page in workload.autoscaling.get_paginator("describe_auto_scaling_groups").paginate():
        yield from (("auto-scaling-groups", 1, group) for group in page["AutoScalingGroups"])
