"""A permanent environment in a workload account: its stack, its launch template and its group, whose instances Auto
Scaling refreshes one by one, as AWS documents it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.model import workload_api
from tests.model.clients import refusal
from tests.model.workload import Account, Resource, Stack

type Json = dict[str, Any]
type Tell = Callable[[str, Json], None]

UPDATES = 90.0
"""Seconds that CloudFormation takes for a permanent stack."""
REPLACES = 120.0
"""Seconds from an instance's launch until the one that it replaces is gone."""
ACTIVE = ("Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress")
_MAKER = "arn:aws:sts::{account}:assumed-role/mayfly-cloudformation/AWSCloudFormation"


@dataclass
class Refresh:
    """An instance refresh. `old` are the instances that it is yet to replace."""

    id: str
    version: str
    preferences: Json
    started: float
    old: list[str]
    total: int
    status: str = "InProgress"
    why: str = ""
    told: set[int] = field(default_factory=set)
    """Checkpoints that were said to be reached."""

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


@dataclass
class Fleet:
    """One permanent environment. Versions of the launch template count from 1: each is its image and code version."""

    account: Account
    stack: Stack
    tell: Tell
    bad: set[str]
    """Images that never become healthy."""
    parameters: dict[str, str]
    template: str = ""
    """The version that the group launches."""
    request: str = ""
    """Of the stack's latest event."""
    requests: set[str] = field(default_factory=set)
    update_fails: bool = False
    """The next update of the stack."""
    versions: list[tuple[str, str]] = field(default_factory=list)
    refreshes: list[Refresh] = field(default_factory=list)

    @property
    def group(self) -> str:
        return f"{self.stack.name}-Fleet"

    @property
    def members(self) -> list[Resource]:
        return [one for one in self.account.of_stack(self.stack) if one.state == "running"]

    @property
    def latest(self) -> Refresh | None:
        return self.refreshes[-1] if self.refreshes else None

    # ---- CloudFormation

    def ask(self, request: str, parameters: dict[str, str] | None, status: str) -> None:
        """Begins a creation or an update; `parameters` as they are to be afterwards."""
        self.requests.add(request)
        self.stack.status, self.request = status, request
        fails, self.update_fails = self.update_fails, False
        self.account.timeline.after(UPDATES, lambda: self._done(request, parameters or self.parameters, fails))

    def _done(self, request: str, parameters: dict[str, str], fails: bool) -> None:
        created = self.stack.status == "CREATE_IN_PROGRESS"
        if fails and not created:
            self._turn(request, "UPDATE_ROLLBACK_COMPLETE")
            return
        before, self.parameters = self.parameters, parameters
        made = parameters["ImageId"], parameters["CodeVersion"]
        if made != (self.versions[-1] if self.versions else None):
            self.versions.append(made)
        pinned = parameters["LaunchTemplateVersion"]
        if created or pinned != before["LaunchTemplateVersion"]:  # it changes only what the template does
            self.template = pinned
        if created:
            for _ in range(int(parameters["InstanceCount"])):
                self._launch(self.template)
        self._turn(request, "CREATE_COMPLETE" if created else "UPDATE_COMPLETE")

    def _turn(self, request: str, status: str) -> None:
        self.stack.status = status
        detail = {"stack-id": self.stack.id, "status-details": {"status": status, "status-reason": ""}}
        self.tell("CloudFormation Stack Status Change", detail | {"client-request-token": request})

    # ---- Auto Scaling

    def _launch(self, version: str) -> None:
        image, _ = self.versions[int(version) - 1]
        now = self.account.timeline.now
        self.account.add("instance", self.stack.labels, self.stack.id, image=image, template=version, launched_at=now)

    def refresh(self, version: str, preferences: Json) -> Refresh:
        """Begins to replace the instances."""
        skip = preferences["SkipMatching"]
        old = [one.id for one in self.members if not skip or one.template != version]
        now, number = self.account.timeline.now, len(self.refreshes)
        one = Refresh(f"{self.group}-refresh-{number}", version, preferences, now, old, len(self.members))
        self.refreshes.append(one)
        self.account.timeline.after(REPLACES, lambda: self._step(one))
        return one

    def _step(self, one: Refresh) -> None:
        """Replaces one instance, or ends; stands for a while at each checkpoint."""
        if one.status not in ("InProgress", "RollbackInProgress"):
            return
        back = one.status == "RollbackInProgress"
        version = self.template if back else one.version
        if one.old and not back and self.versions[int(version) - 1][0] in self.bad:
            one.why = "instances failed to become healthy"
            if one.preferences["AutoRollback"]:
                self.go_back(one)
            else:
                self._end(one, "Failed", "EC2 Auto Scaling Instance Refresh Failed")
            return
        pause = REPLACES
        if one.old:
            self._launch(version)
            self.account.end(self.account.resources[one.old.pop(0)])
            pause = REPLACES if back else self._checkpoint(one)
        if one.old or pause > REPLACES:
            self.account.timeline.after(pause, lambda: self._step(one))
        elif back:
            self._end(one, "RollbackSuccessful", "EC2 Auto Scaling Instance Refresh Rollback Succeeded")
        else:
            self.template = one.version
            self._end(one, "Successful", "EC2 Auto Scaling Instance Refresh Succeeded")

    def _checkpoint(self, one: Refresh) -> float:
        percent = 100 * (one.total - len(one.old)) // max(one.total, 1)
        new = [each for each in one.preferences.get("CheckpointPercentages", ()) if each <= percent]
        if not set(new) - one.told:
            return REPLACES
        one.told |= set(new)
        self._say("EC2 Auto Scaling Instance Refresh Checkpoint Reached", one, CheckpointPercentage=str(max(new)))
        return max(REPLACES, float(one.preferences["CheckpointDelay"])) + 1

    def cancel(self, one: Refresh) -> None:
        one.status = "Cancelling"
        cancelled = "EC2 Auto Scaling Instance Refresh Cancelled"
        self.account.timeline.after(10, lambda: self._end(one, "Cancelled", cancelled))

    def go_back(self, one: Refresh) -> None:
        """Undoes a refresh: what it has launched is replaced."""
        one.status = "RollbackInProgress"
        one.old = [each.id for each in self.members if each.template != self.template]
        self.account.timeline.after(REPLACES, lambda: self._step(one))

    def _end(self, one: Refresh, status: str, event: str) -> None:
        one.status = status
        self._say(event, one)

    def _say(self, event: str, one: Refresh, **more: str) -> None:
        self.tell(event, {"InstanceRefreshId": one.id, "AutoScalingGroupName": self.group, **more})


class Fleets:
    """The permanent environments of an account, by their stacks' names."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.of: dict[str, Fleet] = {}
        self.bad: set[str] = set()

    def by(self, which: str) -> Fleet | None:
        """The one whose stack has this name or id, or whose group this name."""
        found = (one for one in self.of.values() if which in (one.stack.id, one.stack.name, one.group))
        return next(found, None)


class CloudFormation(workload_api.CloudFormation):
    """Stacks with a deadline, and permanent ones."""

    fleets: Fleets

    def create_stack(self, session: str, **request: Any) -> Json:
        if not request["EnableTerminationProtection"]:
            return super().create_stack(session, **request)
        name = request["StackName"]
        if self._account.named(name):
            raise refusal("AlreadyExistsException", f"Stack [{name}] already exists")
        labels = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        identity = f"arn:aws:cloudformation:us-east-1:{self._account.name}:stack/{name}/1"
        stack = Stack(identity, name, labels, self._account.timeline.now, born_with=dict(labels), protected=True)
        self._account.stacks[identity] = stack
        fleet = Fleet(self._account, stack, self.fleets.tell, self.fleets.bad, _parameters(request))
        self.fleets.of[name] = fleet
        fleet.ask(request["ClientRequestToken"], _parameters(request), "CREATE_IN_PROGRESS")
        return {"StackId": identity}

    def update_stack(self, _session: str, **request: Any) -> Json:
        fleet = self.fleets.by(request["StackName"])
        assert fleet
        if request["ClientRequestToken"] in fleet.requests:
            raise refusal("TokenAlreadyExistsException", request["ClientRequestToken"])
        if fleet.stack.status.endswith("_IN_PROGRESS"):
            raise refusal(
                "ValidationError", f"Stack:{fleet.stack.id} is in {fleet.stack.status} state and can not be updated."
            )
        if _parameters(request) == fleet.parameters:
            raise refusal("ValidationError", "No updates are to be performed.")
        fleet.ask(request["ClientRequestToken"], _parameters(request), "UPDATE_IN_PROGRESS")
        return {"StackId": fleet.stack.id}

    def describe_stacks(self, session: str, StackName: str | None = None) -> Json:  # noqa: N803
        found = super().describe_stacks(session, StackName)
        for one in found["Stacks"]:
            fleet = self.fleets.by(one["StackName"])
            if fleet:
                one["Parameters"] = [
                    {"ParameterKey": key, "ParameterValue": value} for key, value in fleet.parameters.items()
                ]
                made = {
                    "AutoScalingGroupName": fleet.group,
                    "LaunchTemplateId": "lt-1",
                    "LatestLaunchTemplateVersion": str(len(fleet.versions)),
                }
                one["Outputs"] = [
                    {"OutputKey": key, "OutputValue": value} for key, value in made.items() if fleet.versions
                ]
        return found

    def describe_stack_events(self, session: str, StackName: str) -> Json:  # noqa: N803
        if fleet := self.fleets.by(StackName):
            return {"StackEvents": [{"StackId": fleet.stack.id, "ClientRequestToken": fleet.request}]}
        return super().describe_stack_events(session, StackName)

    def detect_stack_drift(self, _session: str, StackName: str) -> Json:  # noqa: N803
        return {"StackDriftDetectionId": f"drift-{StackName}"}

    def describe_stack_drift_detection_status(self, _session: str, **_: Any) -> Json:
        return {"DetectionStatus": "DETECTION_COMPLETE"}

    def describe_stack_resource_drifts(self, _session: str, **_: Any) -> Json:
        return {"StackResourceDrifts": []}

    def detect_stack_resource_drift(self, _session: str, StackName: str, **_: Any) -> Json:  # noqa: N803
        fleet = self.fleets.by(StackName)
        assert fleet
        same = fleet.template == fleet.parameters["LaunchTemplateVersion"]
        differs = [] if same else [{"PropertyPath": "/LaunchTemplate/Version"}]
        return {"StackResourceDrift": {"PropertyDifferences": differs}}


class EC2(workload_api.EC2):
    """Instances besides the versions of launch templates."""

    fleets: Fleets

    def describe_launch_template_versions(
        self,
        _session: str,
        LaunchTemplateId: str,  # noqa: N803
        MinVersion: str,  # noqa: N803
    ) -> Json:
        (fleet,) = self.fleets.of.values()
        maker = _MAKER.format(account=self._account.name)
        numbers = range(int(MinVersion), len(fleet.versions) + 1)
        return {"LaunchTemplateVersions": [{"VersionNumber": one, "CreatedBy": maker} for one in numbers]}


class AutoScaling(workload_api.AutoScaling):
    """Groups of permanent environments, and their instance refreshes."""

    fleets: Fleets

    def describe_auto_scaling_groups(
        self,
        session: str,
        Filters: Iterable[Json] = (),  # noqa: N803
        AutoScalingGroupNames: Iterable[str] = (),  # noqa: N803
    ) -> Json:
        found = [fleet for name in AutoScalingGroupNames if (fleet := self.fleets.by(name))]
        return {"AutoScalingGroups": [_group(fleet) for fleet in found]}

    def start_instance_refresh(
        self,
        _session: str,
        AutoScalingGroupName: str,  # noqa: N803
        Preferences: Json,  # noqa: N803
        DesiredConfiguration: Json,  # noqa: N803
        **_: Any,
    ) -> Json:
        fleet = self._of(AutoScalingGroupName)
        if fleet.latest and fleet.latest.active:
            raise refusal("InstanceRefreshInProgressFault", "An Instance Refresh is already in progress")
        return {"InstanceRefreshId": fleet.refresh(DesiredConfiguration["LaunchTemplate"]["Version"], Preferences).id}

    def cancel_instance_refresh(self, _session: str, AutoScalingGroupName: str) -> Json:  # noqa: N803
        fleet = self._of(AutoScalingGroupName)
        fleet.cancel(self._active(fleet))
        return {}

    def rollback_instance_refresh(self, _session: str, AutoScalingGroupName: str) -> Json:  # noqa: N803
        fleet = self._of(AutoScalingGroupName)
        if (one := self._active(fleet)).status == "RollbackInProgress":
            raise refusal("ActiveInstanceRefreshNotFoundFault", "It is rolled back already")
        fleet.go_back(one)
        return {}

    def describe_instance_refreshes(self, _session: str, AutoScalingGroupName: str) -> Json:  # noqa: N803
        return {"InstanceRefreshes": [_refresh(one) for one in reversed(self._of(AutoScalingGroupName).refreshes)]}

    def _of(self, group: str) -> Fleet:
        fleet = self.fleets.by(group)
        assert fleet, group
        return fleet

    @staticmethod
    def _active(fleet: Fleet) -> Refresh:
        if fleet.latest is None or fleet.latest.status not in ("Pending", "InProgress", "Baking"):
            raise refusal("ActiveInstanceRefreshNotFoundFault", "No in progress or pending Instance Refresh found")
        return fleet.latest


def _parameters(request: Json) -> dict[str, str]:
    return {one["ParameterKey"]: one["ParameterValue"] for one in request["Parameters"]}


def _group(fleet: Fleet) -> Json:
    members = [
        {
            "InstanceId": one.id,
            "LaunchTemplate": {"Version": one.template},
            "LifecycleState": "InService",
            "HealthStatus": "Healthy",
        }
        for one in fleet.members
    ]
    return {
        "AutoScalingGroupName": fleet.group,
        "LaunchTemplate": {"Version": fleet.template},
        "Instances": members,
        "MinSize": len(members),
        "DesiredCapacity": len(members),
        "Tags": [{"Key": key, "Value": value} for key, value in fleet.stack.labels.items()],
    }


def _refresh(one: Refresh) -> Json:
    return {
        "InstanceRefreshId": one.id,
        "Status": one.status,
        "StatusReason": one.why,
        "DesiredConfiguration": {"LaunchTemplate": {"Version": one.version}},
        "Preferences": one.preferences,
        "StartTime": datetime.fromtimestamp(one.started, UTC),
    }
