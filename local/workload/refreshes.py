"""Instance refreshes of services, which moto lacks, with the rolling strategy.

A refresh replaces the instances that it found when it began. How many at a time follows from three numbers: those in
service, healthy and warmed up never fall below the healthy minimum; all together never exceed the maximum; and there
are never more new ones than the next checkpoint wants. Minimum and maximum both 100 replace one at a time: launched
first if the maximum is given, ended first if it is not. The group gets the desired configuration when the refresh has
succeeded, not before, so that a rollback returns to the configuration that the group has had all the time.

A refresh fails when one of its alarms fires, or when nothing has moved for an hour. Waiting is on the virtual clock.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.responses import ActionResult

from local.workload import mixed
from local.workload.delivery import Say, ServiceEvent
from local.workload.groups import STANDBY, Groups, Launches, Member, Service
from local.workload.stacks import TAKEN_OUT, replace
from local.workload.states import ENVIRONMENT_TAG

STALLED_SECONDS = 3600
RUNNING = ("Pending", "InProgress", "Baking", "RollbackInProgress", "Cancelling")
REFRESH = "EC2 Auto Scaling Instance Refresh"


class _InProgress(AutoscalingClientError):
    def __init__(self) -> None:
        why = "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh."
        super().__init__("InstanceRefreshInProgress", why)


class _NoneActive(AutoscalingClientError):
    def __init__(self, name: str) -> None:
        why = f"No in progress or pending Instance Refresh found for Auto Scaling group {name}"
        super().__init__("ActiveInstanceRefreshNotFound", why)


class _Irreversible(AutoscalingClientError):
    def __init__(self, why: str) -> None:
        super().__init__("IrreversibleInstanceRefresh", why)


@dataclass(eq=False)
class Refresh:
    """One instance refresh. Moments are virtual."""

    service: Service
    strategy: str
    desired: dict[str, Any]
    preferences: dict[str, Any]
    wanted: Launches  # what new instances are of
    before: Launches  # what the group was set to
    started: float
    status: str = "Pending"
    reason: str | None = None
    ended: float | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    old: set[str] = field(default_factory=set)  # instances to be replaced
    kept: set[str] = field(default_factory=set)  # instances that were there and stay
    total: int = 0  # instances to be replaced when it began
    passed: int = 0  # the last checkpoint that was reached, in per cent
    resumes: float | None = None  # while it waits at a checkpoint, or bakes
    moved: float = 0.0  # when something was replaced last
    done: int = 0
    rollback: dict[str, Any] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        return self.status in RUNNING

    @property
    def rolls_back(self) -> bool:
        return self.status == "RollbackInProgress"

    def described(self) -> dict[str, Any]:
        """As DescribeInstanceRefreshes shows it."""
        shown: dict[str, Any] = {
            "InstanceRefreshId": self.id,
            "AutoScalingGroupName": self.service.group.name,
            "Status": self.status,
            "StatusReason": self.reason,
            "StartTime": _moment(self.started),
            "EndTime": _moment(self.ended) if self.ended else None,
            "PercentageComplete": 100 if self.status == "Successful" else self.percentage,
            "InstancesToUpdate": self.rollback.get("InstancesToUpdateOnRollback", self.total - self.done),
            "Preferences": self.preferences,
            "DesiredConfiguration": self.desired or None,
            "RollbackDetails": self.rollback or None,
            "Strategy": self.strategy,
        }
        return {key: value for key, value in shown.items() if value is not None}

    @property
    def percentage(self) -> int:
        share = self.done / self.total if self.total else 1.0
        if self.rollback:  # it goes down again
            return int(self.rollback["PercentageCompleteOnRollback"] * (1 - share))
        return int(100 * share) if self.old or self.done or self.ended else 0

    def number(self, name: str, default: int) -> int:
        """A preference."""
        return int(self.preferences.get(name, default))

    @property
    def warmup(self) -> float:
        group: Any = self.service.group
        own = getattr(group, "default_instance_warmup", None)
        return self.number("InstanceWarmup", int(group.health_check_grace_period or 0 if own is None else own))

    @property
    def floor(self) -> int:
        """The fewest instances that must be in service. With all of them and no maximum, one at a time goes first."""
        floor = math.ceil(self.service.desired * self.number("MinHealthyPercentage", 90) / 100)
        all_of_them = floor >= self.service.desired and "MaxHealthyPercentage" not in self.preferences
        return self.service.desired - 1 if all_of_them else floor

    @property
    def ceiling(self) -> int:
        """The most instances that there may be; one more where there is no room between the two."""
        ceiling = self.service.desired * self.number("MaxHealthyPercentage", 100) // 100
        return max(ceiling, self.floor + 1)

    def goal(self) -> int:
        """How many new instances there may be until the next checkpoint; all of them in a rollback."""
        if self.rolls_back:
            return self.total
        ahead = [one for one in self.checkpoints if one > self.passed]
        return math.ceil(self.total * ahead[0] / 100) if ahead else self.done

    @property
    def checkpoints(self) -> list[int]:
        return [int(one) for one in self.preferences.get("CheckpointPercentages", [])] or [100]


class Refreshes:
    """All instance refreshes."""

    def __init__(self, groups: Groups, say: Say) -> None:
        self._groups, self._say = groups, say
        self._all: list[Refresh] = []

    def install(self) -> None:
        """Give moto's Auto Scaling the four calls, and move the refreshes on with the groups."""
        refreshes = self

        def start_instance_refresh(response: Any) -> ActionResult:
            refresh = refreshes.start(
                refreshes._service(response),
                response._get_param("Strategy") or "Rolling",
                response._get_param("DesiredConfiguration") or {},
                response._get_param("Preferences") or {},
            )
            return ActionResult({"InstanceRefreshId": refresh.id})

        def describe_instance_refreshes(response: Any) -> ActionResult:
            return ActionResult(refreshes._describe(response))

        def cancel_instance_refresh(response: Any) -> ActionResult:
            refresh = refreshes._active(refreshes._service(response))
            refresh.status, refresh.reason = "Cancelling", "Cancelled by user."
            return ActionResult({"InstanceRefreshId": refresh.id})

        def rollback_instance_refresh(response: Any) -> ActionResult:
            refresh = refreshes.roll_back(refreshes._service(response))
            return ActionResult({"InstanceRefreshId": refresh.id})

        replace(
            AutoScalingResponse,
            start_instance_refresh=start_instance_refresh,
            describe_instance_refreshes=describe_instance_refreshes,
            cancel_instance_refresh=cancel_instance_refresh,
            rollback_instance_refresh=rollback_instance_refresh,
        )
        self._groups.each.append(self.tick)

    def _service(self, response: Any) -> Service:
        name = response._get_param("AutoScalingGroupName")
        group = response.autoscaling_backend.autoscaling_groups.get(name)
        if group is None:
            raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return self._groups.service(group)

    def _describe(self, response: Any) -> dict[str, Any]:
        """One page, the newest first."""
        group, wanted = self._service(response).group, response._get_param("InstanceRefreshIds", [])
        found = [one for one in reversed(self._all) if one.service.group is group and (not wanted or one.id in wanted)]
        first, count = int(response._get_param("NextToken") or 0), int(response._get_param("MaxRecords") or 50)
        more = {"NextToken": str(first + count)} if len(found) > first + count else {}
        return {"InstanceRefreshes": [one.described() for one in found[first : first + count]], **more}

    def roll_back(self, service: Service) -> Refresh:
        """Begin to roll the active refresh back; raises what AWS refuses."""
        refresh = self._active(service)
        why = _irreversible(service, refresh.desired)
        if refresh.rolls_back:
            raise _NoneActive(service.group.name)
        if why:
            raise _Irreversible(f"The instance refresh cannot be rolled back: {why}")
        self._roll_back(refresh, "Rollback was started manually.", self._groups.clock.time())
        return refresh

    def start(self, service: Service, strategy: str, desired: dict[str, Any], preferences: dict[str, Any]) -> Refresh:
        """Begin a refresh; raises what AWS refuses."""
        if any(one.active and one.service.group is service.group for one in self._all):
            raise _InProgress
        preferences = _checked(preferences)
        if strategy != "Rolling":
            raise ValidationError("Only the Rolling strategy is known to the local cloud.")
        if preferences.get("AutoRollback"):
            why = _irreversible(service, desired)
            if why:
                message = f"The request isn't valid. The AutoRollback parameter cannot be set to true when {why}"
                raise ValidationError(message)
        before = service.configured
        now = self._groups.clock.time()
        wanted = _wanted(service, desired) if desired else before
        refresh = Refresh(service, strategy, desired, preferences, wanted, before, started=now, moved=now)
        self._all.append(refresh)
        return refresh

    def _active(self, service: Service) -> Refresh:
        found = [one for one in self._all if one.active and one.service.group is service.group]
        if not found:
            raise _NoneActive(service.group.name)
        return found[0]

    # ---- moving on -------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Move every refresh on as far as it can go now."""
        with self._groups.lock:
            for refresh in self._all:
                if refresh.active:
                    self._move(refresh, now)

    def _move(self, refresh: Refresh, now: float) -> None:
        if refresh.service.group.name not in refresh.service.group.autoscaling_backend.autoscaling_groups:
            self._finish(refresh, "Failed", "The Auto Scaling group was deleted.", now)
        elif refresh.status == "Pending":
            self._begin(refresh, now)
        elif refresh.status == "Cancelling":
            self._finish(refresh, "Cancelled", refresh.reason, now)
        elif not refresh.rolls_back and (firing := self._firing(refresh)):
            self._fail(refresh, f"CloudWatch alarm(s) [{', '.join(firing)}] are in the ALARM state.", now)
        elif refresh.resumes is not None:
            self._wait(refresh, now)
        else:
            self._replace(refresh, now)

    def _begin(self, refresh: Refresh, now: float) -> None:
        service = refresh.service
        refresh.old = {key for key, member in service.members.items() if self._is_replaced(refresh, member)}
        refresh.kept = set(service.members) - refresh.old
        refresh.total = len(refresh.old)
        refresh.status, refresh.moved = "InProgress", now
        service.refreshed = lambda: refresh.before if refresh.rolls_back else refresh.wanted
        self._announce(refresh, "Started")

    def _is_replaced(self, refresh: Refresh, member: Member) -> bool:
        matches = member.version == refresh.wanted.version
        matches &= member.instance.instance_type in refresh.wanted.kinds(refresh.service.group)
        if refresh.preferences.get("SkipMatching") and matches:
            return False
        if member.state.lifecycle_state == STANDBY and refresh.preferences.get("StandbyInstances") == "Ignore":
            return False
        protected = member.state.protected_from_scale_in
        return not (protected and refresh.preferences.get("ScaleInProtectedInstances") == "Ignore")

    def _replace(self, refresh: Refresh, now: float) -> None:
        """One look: end what may be ended, launch what may be launched, and see where that leads."""
        service = refresh.service
        self._end_old(refresh, now)
        present = service.present()
        left = sum(not service.members[key].leaves for key in refresh.old if key in service.members)
        extra = len(present) - service.desired
        launches = min(refresh.ceiling - len(present), refresh.goal() - self._launched(refresh), left - extra)
        service.surplus = max(0, min(extra + max(0, launches), left))
        self._count(refresh, present, left, now)
        if refresh.rolls_back:
            if not left and extra <= 0 and self._all_ready(refresh, now):
                self._finish(refresh, "RollbackSuccessful", refresh.reason, now)
        elif refresh.done >= refresh.goal() and extra <= 0:
            self._reach(refresh, now)
        if refresh.active and refresh.resumes is None and now - refresh.moved > STALLED_SECONDS:
            self._fail(refresh, "Instances could not be replaced for an hour.", now)

    def _end_old(self, refresh: Refresh, now: float) -> None:
        """End old instances as long as enough of the others are in service."""
        service = refresh.service
        present = service.present()
        ready = sum(self._ready(refresh, one, now) for one in present)
        room = len(present) - service.desired
        if room <= 0 and refresh.ceiling <= service.desired:
            room = min(refresh.goal() - self._launched(refresh) + room, ready - refresh.floor)
        zones = Counter(one.zone for one in present)
        old = [one for one in service.members.values() if one.instance.id in refresh.old and not one.leaves]
        for member in sorted(old, key=lambda one: (self._ready(refresh, one, now), -zones[one.zone])):
            in_service, standby = self._ready(refresh, member, now), not member.present
            full = room <= 0 or (in_service and ready <= refresh.floor)
            if self._is_held(refresh, member) or (full and not standby):
                continue
            self._groups.terminate(service, member, f"{TAKEN_OUT} an instance refresh.")
            refresh.moved = now
            room, ready = room - (not standby), ready - in_service

    def _is_held(self, refresh: Refresh, member: Member) -> bool:
        """Protected from scale in, or in standby, and the refresh is to wait until that ends."""
        if member.state.protected_from_scale_in:
            return bool(refresh.preferences.get("ScaleInProtectedInstances", "Wait") == "Wait")
        standby = member.state.lifecycle_state == STANDBY
        return standby and refresh.preferences.get("StandbyInstances", "Wait") == "Wait"

    def _launched(self, refresh: Refresh) -> int:
        """How many of the instances that there are were launched for this."""
        others = sum(one.instance.id not in refresh.old for one in refresh.service.present())
        return others - (refresh.service.desired - refresh.total)

    def _count(self, refresh: Refresh, present: list[Member], left: int, now: float) -> None:
        """What is replaced: gone, and another one ready in its place."""
        gone = refresh.total - left
        others = [one for one in present if one.instance.id not in refresh.old]
        ready = sum(self._ready(refresh, one, now) for one in others) - (refresh.service.desired - refresh.total)
        done = max(0, min(gone, ready))
        if done > refresh.done:
            refresh.moved = now
        refresh.done = done

    def _ready(self, refresh: Refresh, member: Member, now: float) -> bool:
        """In service, healthy and, if it is a new one, warmed up."""
        known = member.instance.id in refresh.old or member.instance.id in refresh.kept
        since = member.healthy_since
        return member.present and since is not None and now >= since + (0 if known else refresh.warmup)

    def _all_ready(self, refresh: Refresh, now: float) -> bool:
        ready = sum(self._ready(refresh, one, now) for one in refresh.service.present())
        return ready >= refresh.service.desired

    def _reach(self, refresh: Refresh, now: float) -> None:
        """The checkpoint ahead, or a later one, is reached; the last one ends the refresh."""
        percentage = 100 * refresh.done // refresh.total if refresh.total else 100
        reached = [one for one in refresh.checkpoints if one <= percentage]
        refresh.passed = max(reached, default=refresh.checkpoints[0])
        refresh.moved = now
        bake = refresh.number("BakeTime", 0)
        if refresh.passed < refresh.checkpoints[-1]:
            delay = refresh.number("CheckpointDelay", 3600)
            refresh.resumes = now + delay
            self._announce(
                refresh, "Checkpoint Reached", CheckpointPercentage=str(refresh.passed), CheckpointDelay=str(delay)
            )
        elif bake:
            refresh.status, refresh.resumes = "Baking", now + bake
            self._announce(refresh, "Started Baking")
        else:
            self._succeed(refresh, now)

    def _wait(self, refresh: Refresh, now: float) -> None:
        if refresh.resumes is None or now < refresh.resumes:
            return
        refresh.resumes, refresh.moved = None, now
        if refresh.status == "Baking":
            self._succeed(refresh, now)

    def _succeed(self, refresh: Refresh, now: float) -> None:
        if refresh.desired:
            group: Any = refresh.service.group
            wanted = _specification(refresh.desired).get("Version", "$Default")
            group.launch_template_version = group.provided_launch_template_version = wanted
            group.mixed_instances_policy = refresh.wanted.policy
        self._finish(refresh, "Successful", None, now)

    # ---- failing ---------------------------------------------------------------------------------------

    def _firing(self, refresh: Refresh) -> list[str]:
        names = (refresh.preferences.get("AlarmSpecification") or {}).get("Alarms", [])
        group = refresh.service.group
        alarms = cloudwatch_backends[group.account_id][group.region].alarms
        return [name for name in names if name in alarms and alarms[name].state_value == "ALARM"]

    def _fail(self, refresh: Refresh, why: str, now: float) -> None:
        if refresh.rolls_back:
            self._finish(refresh, "RollbackFailed", why, now)
        elif refresh.preferences.get("AutoRollback"):
            self._roll_back(refresh, f"Automatic rollback: {why}", now)
        else:
            self._finish(refresh, "Failed", why, now)

    def _roll_back(self, refresh: Refresh, why: str, now: float) -> None:
        """Turn round: what was launched is now what is replaced, by what the group is still set to."""
        service = refresh.service
        if refresh.status == "Pending":
            self._begin(refresh, now)
        untouched = {key for key in refresh.old if key in service.members and service.members[key].present}
        refresh.rollback = {
            "RollbackReason": why,
            "RollbackStartTime": _moment(now),
            "PercentageCompleteOnRollback": refresh.percentage,
            "InstancesToUpdateOnRollback": len(untouched),
        }
        refresh.status, refresh.reason, refresh.resumes, refresh.moved = "RollbackInProgress", why, None, now
        refresh.kept |= untouched
        refresh.old = {one.instance.id for one in service.present()} - refresh.kept
        refresh.total, refresh.done = len(refresh.old), 0
        service.surplus = 0  # nothing more is launched before the next look
        self._announce(refresh, "Rollback Started")

    def _finish(self, refresh: Refresh, status: str, reason: str | None, now: float) -> None:
        refresh.status, refresh.reason, refresh.ended, refresh.resumes = status, reason, now, None
        refresh.service.refreshed, refresh.service.surplus = None, 0
        self._announce(refresh, ENDS[status])

    def _announce(self, refresh: Refresh, what: str, **more: str) -> None:
        group = refresh.service.group
        tags = {tag["Key"]: tag["Value"] for tag in group.tags}
        self._say(
            ServiceEvent(
                source="aws.autoscaling",
                detail_type=f"{REFRESH} {what}",
                account=group.account_id,
                region=group.region,
                resource=group.arn,
                detail={"InstanceRefreshId": refresh.id, "AutoScalingGroupName": group.name, **more},
                status=what,
                environment=tags.get(ENVIRONMENT_TAG),
            )
        )


ENDS = {
    "Successful": "Succeeded",
    "Failed": "Failed",
    "Cancelled": "Cancelled",
    "RollbackSuccessful": "Rollback Succeeded",
    "RollbackFailed": "Rollback Failed",
}


def _specification(desired: dict[str, Any]) -> dict[str, Any]:
    """The launch template and version of a desired configuration."""
    policy = (desired.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    return dict(policy.get("LaunchTemplateSpecification") or desired.get("LaunchTemplate") or {})


def _wanted(service: Service, desired: dict[str, Any]) -> Launches:
    """What a desired configuration has launched, if AWS would take it; raises ValidationError. A launch template alone
    makes a group of several types one of a single type."""
    policy = desired.get("MixedInstancesPolicy")
    if bool(policy) == bool(desired.get("LaunchTemplate")):
        raise ValidationError("Specify either a LaunchTemplate or a MixedInstancesPolicy in the DesiredConfiguration.")
    if refused := mixed.refusal(policy or {}):
        raise ValidationError(refused)
    template: Any = service.group.ec2_launch_template
    given = _specification(desired)
    if ("LaunchTemplateId" in given) == ("LaunchTemplateName" in given):
        raise ValidationError("Valid requests must contain either launchTemplateId or LaunchTemplateName")
    if template.id not in given.values() and template.name not in given.values():
        raise ValidationError("Another launch template than the group's is not known to the local cloud.")
    number = int(template.get_version(given.get("Version", "$Default")).number)
    if not policy:
        return Launches(number, None)
    shown = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, **given}
    whole = {**policy["LaunchTemplate"], "LaunchTemplateSpecification": shown}
    return Launches(number, {**policy, "LaunchTemplate": whole})


def _irreversible(service: Service, desired: dict[str, Any]) -> str | None:
    """Why a refresh cannot be rolled back; None if it can."""
    if not desired:
        return (
            "the DesiredConfiguration parameter is empty. "
            "Set AutoRollback to false or specify a desired configuration and try again."
        )
    if str(service.group.launch_template_version).startswith("$"):
        return "the Auto Scaling group uses the $Latest or $Default version of its launch template."
    return None


def _checked(preferences: dict[str, Any]) -> dict[str, Any]:
    """The preferences, if AWS would take them; raises ValidationError."""
    checkpoints = [int(one) for one in preferences.get("CheckpointPercentages", [])]
    if checkpoints != sorted(set(checkpoints)) or any(not 1 <= one <= 100 for one in checkpoints):
        raise ValidationError("The CheckpointPercentages must be unique, in ascending order, between 1 and 100.")
    if "CheckpointDelay" in preferences and not checkpoints:
        raise ValidationError("The CheckpointDelay parameter needs the CheckpointPercentages parameter.")
    if "MaxHealthyPercentage" not in preferences:
        return preferences
    least, most = preferences.get("MinHealthyPercentage"), int(preferences["MaxHealthyPercentage"])
    if least is None or not 100 <= most <= 200 or most - int(least) > 100:
        why = "from 100 to 200, at most 100 above the MinHealthyPercentage, which must be specified with it"
        raise ValidationError(f"The MaxHealthyPercentage must be {why}.")
    return preferences


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
