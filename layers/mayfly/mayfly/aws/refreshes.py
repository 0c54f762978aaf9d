"""Instance refreshes: Auto Scaling replaces a group's instances, seen through one workload account."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mayfly.domain.rollout import ACTIVE

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


@dataclass(frozen=True, slots=True)
class Refresh:
    """An instance refresh as DescribeInstanceRefreshes shows it. `template` is the version that it brings."""

    id: str
    status: str
    why: str
    template: str
    started_at: datetime | None


def latest(workload: "Workload", group: str) -> Refresh | None:
    """A group's latest instance refresh; None where there was none in the last six weeks."""
    # The latest come first, and one page is enough for that.
    found = workload.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group)["InstanceRefreshes"]
    if not found:
        return None
    one: Any = found[0]
    wanted = one.get("DesiredConfiguration", {}).get("LaunchTemplate", {})
    reasons = (one.get("StatusReason"), one.get("RollbackDetails", {}).get("RollbackReason"))
    why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    return Refresh(one["InstanceRefreshId"], one["Status"], why, wanted.get("Version", ""), one.get("StartTime"))


def start(workload: "Workload", group: str, template: tuple[str, str], preferences: Mapping[str, Any]) -> str | None:
    """Has every instance of a group replaced; returns the refresh's id, or None where another one goes on.

    Args:
        template: id and version (a number) of the launch template. The group gets it when the refresh succeeds.
    """
    given: Any = preferences
    try:
        reply = workload.autoscaling.start_instance_refresh(
            AutoScalingGroupName=group,
            Strategy="Rolling",
            DesiredConfiguration={"LaunchTemplate": {"LaunchTemplateId": template[0], "Version": template[1]}},
            Preferences=given,
        )
    except workload.autoscaling.exceptions.InstanceRefreshInProgressFault:
        return None
    return reply["InstanceRefreshId"]


def go_back(workload: "Workload", group: str) -> None:
    """Has the refresh that goes on undone, or at least stopped where Auto Scaling cannot undo it. One that is over
    meanwhile, or is being undone already, is left alone."""
    errors = workload.autoscaling.exceptions
    try:
        workload.autoscaling.rollback_instance_refresh(AutoScalingGroupName=group)
    except errors.IrreversibleInstanceRefreshFault:
        workload.autoscaling.cancel_instance_refresh(AutoScalingGroupName=group)
    except errors.ActiveInstanceRefreshNotFoundFault:
        return


_SKEW = timedelta(seconds=10)
"""By how much clocks may differ, and times be cut."""


def forward(
    workload: "Workload", group: str, template: tuple[str, str], preferences: Mapping[str, Any], since: datetime
) -> Refresh | None:
    """The refresh that brings a version of the launch template, asked for once since then; None where somebody else's
    has to end first."""
    found = latest(workload, group)
    if found and _is_of(found, template[1], since):
        return found
    return latest(workload, group) if start(workload, group, template, preferences) else None


def back(
    workload: "Workload",
    group: str,
    template: tuple[str, str],
    preferences: Mapping[str, Any],
    since: datetime,
    needed: bool,
) -> Refresh | None:
    """The refresh that brings a group back to the version that it had; None where nothing is left to be done.

    What goes on is undone first. What is left then, or was left by a refresh that was cancelled, is replaced.

    Args:
        needed: whether the group is not as it was.
    """
    found = latest(workload, group)
    if found and found.status in ACTIVE:
        if found.status in ("Pending", "InProgress", "Baking") and not _is_of(found, template[1], since):
            go_back(workload, group)
    elif needed:
        start(workload, group, template, preferences)
    else:
        return None
    return latest(workload, group)


def _is_of(found: Refresh, template: str, since: datetime) -> bool:
    return found.template == template and (found.started_at is None or found.started_at >= since - _SKEW)
