"""Starts, cancels and looks at instance refreshes of Auto Scaling groups, through one workload account."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mayfly.aws import groups
from mayfly.domain.rollout import ACTIVE, desired

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


class Refresh(Struct, frozen=True):
    """An instance refresh as DescribeInstanceRefreshes shows it. `template` is the version that it brings."""

    id: str
    status: str
    why: str
    template: str
    started_at: datetime | None
    soak: timedelta = timedelta(0)
    """How long it stands at each checkpoint."""


class Goal(Struct, frozen=True):
    """What a group's instances are to be of: a version of its launch template, asked for since a timestamp.

    Attributes:
        but: the refresh that was cancelled for a pause: it brings nothing any more. mixed: the policy of a group of
            several instance types.
    """

    group: str
    template_id: str
    version: str
    since: datetime
    but: str = ""
    mixed: Mapping[str, Any] | None = None

    def is_brought_by(self, refresh: Refresh) -> bool:
        """Tells whether this refresh was asked for to that end."""
        late_enough = refresh.started_at is None or refresh.started_at >= self.since - _SKEW
        return refresh.template == self.version and late_enough and refresh.id != self.but


def latest(workload: "Workload", group: str) -> Refresh | None:
    """Returns a group's latest instance refresh; None where there was none in the last six weeks."""
    # The latest come first, and one page is enough for that.
    found = workload.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group)["InstanceRefreshes"]
    if not found:
        return None
    one: Any = found[0]
    wanted = groups.launches_from(one.get("DesiredConfiguration", {}))
    reasons = (one.get("StatusReason"), one.get("RollbackDetails", {}).get("RollbackReason"))
    why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    soak = timedelta(seconds=one.get("Preferences", {}).get("CheckpointDelay", 0))
    return Refresh(one["InstanceRefreshId"], one["Status"], why, wanted.get("Version", ""), one.get("StartTime"), soak)


def start(workload: "Workload", goal: Goal, preferences: Mapping[str, Any]) -> str | None:
    """Has every instance of a group replaced; returns the refresh's id, or None where another one goes on. The group
    gets what is desired when the refresh succeeds."""
    given: Any = preferences
    wanted: Any = desired(goal.template_id, goal.version, goal.mixed)
    try:
        reply = workload.autoscaling.start_instance_refresh(
            AutoScalingGroupName=goal.group,
            Strategy="Rolling",
            DesiredConfiguration=wanted,
            Preferences=given,
        )
    except workload.autoscaling.exceptions.InstanceRefreshInProgressFault:
        return None
    return reply["InstanceRefreshId"]


def failed_launches(workload: "Workload", group: str) -> Iterable[str]:
    """Tells why instances of a group did not come."""
    activities = workload.autoscaling.describe_scaling_activities(AutoScalingGroupName=group)["Activities"]
    return (
        activity.get("StatusMessage", activity["Description"])
        for activity in activities
        if activity["StatusCode"] in ("Failed", "Cancelled")
    )


def cancel(workload: "Workload", group: str) -> None:
    """Has the refresh that goes on stop where it is. One that is over meanwhile is left alone."""
    with suppress(workload.autoscaling.exceptions.ActiveInstanceRefreshNotFoundFault):
        workload.autoscaling.cancel_instance_refresh(AutoScalingGroupName=group)


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


def forward(workload: "Workload", goal: Goal, preferences: Mapping[str, Any]) -> Refresh | None:
    """Brings a version of the launch template, by one instance refresh, and returns that; None where somebody else's
    has to end first."""
    found = latest(workload, goal.group)
    if found and goal.is_brought_by(found):
        return found
    return latest(workload, goal.group) if start(workload, goal, preferences) else None


def back(workload: "Workload", goal: Goal, preferences: Mapping[str, Any], needed: bool) -> Refresh | None:
    """Brings a group back to the version that it had, and returns the refresh that does; None where nothing is left to
    be done.

    What goes on is undone first. What is left then, or was left by a refresh that was cancelled, is replaced.

    Args:
        needed: whether the group is not as it was.
    """
    found = latest(workload, goal.group)
    if found and found.status in ACTIVE:
        if found.status in ("Pending", "InProgress", "Baking") and not goal.is_brought_by(found):
            go_back(workload, goal.group)
    elif needed:
        start(workload, goal, preferences)
    else:
        return None
    return latest(workload, goal.group)
