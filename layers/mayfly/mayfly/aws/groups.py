"""Groups of Auto Scaling that belong to an environment, seen through one workload account."""

from datetime import datetime
from typing import TYPE_CHECKING

from mayfly.domain import tags

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def capacities(workload: "Workload", environment: str) -> dict[str, tuple[int, int]]:
    """The desired capacity of each group of an environment, and how many of its instances are in service."""
    pages = workload.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
        Filters=[{"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]}]
    )
    return {
        group["AutoScalingGroupName"]: (
            group["DesiredCapacity"],
            sum(one["LifecycleState"] == "InService" for one in group["Instances"]),
        )
        for page in pages
        for group in page["AutoScalingGroups"]
    }


def terminations(workload: "Workload", environment: str) -> list[tuple[datetime, str]]:
    """When, and why, Auto Scaling took an instance of an environment's groups out of service; the latest first."""
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
