"""Builders and images of an account in one Region: EC2 and what else of AWS bakes, promotion and retirement call."""

import io
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mayfly.domain import tags
from tests.model import workload_api
from tests.model.clients import refusal
from tests.model.workload import Resource

type Json = dict[str, Any]
type Tell = Callable[[str, str, Json], None]
"""Is told an event's function, its type and its detail."""

BAKES, MAKES, COPIES, CHECKS = 300.0, 120.0, 600.0, 30.0
"""Seconds that a builder, an image, a copy of one and the checks of one take."""


@dataclass
class Ami:
    """An image in one Region."""

    id: str
    name: str
    labels: dict[str, str]
    made_at: float
    state: str = "pending"
    deprecated_at: float | None = None
    protected: bool = False
    shares: list[Json] = field(default_factory=list)

    @property
    def snapshot(self) -> str:
        return f"snap-{self.id.removeprefix('ami-')}"


@dataclass
class Line:
    """What happens to what is baked next, and what came of all before."""

    tell: Tell
    retires: Callable[[Ami, str], None]
    """Is asked before an image is deprecated, disabled or deregistered."""
    spoils: deque[str] = field(default_factory=deque)
    """What goes wrong next: a builder `fails`, `hangs` or `is ended`, an image or copy is `broken`, checks `disagree`,
    EC2 copies as much as it `may`."""
    proven: set[str] = field(default_factory=set)
    """Images whose checks all passed."""

    def goes(self, *wrong: str) -> str:
        """Which of these things goes wrong now, "" for none."""
        return self.spoils.popleft() if self.spoils and self.spoils[0] in wrong else ""


class EC2(workload_api.EC2):
    """Instances that build, and images."""

    line: Line
    amis: dict[str, Ami]
    tokens: dict[str, str]

    def add_base(self, identity: str) -> None:
        """An image that somebody else has made."""
        self.amis[identity] = Ami(identity, "al2023-1", {}, self._now, "available")

    @property
    def _now(self) -> float:
        return self._account.timeline.now

    # ---- builders

    def describe_instance_types(self, _session: str, **_: Any) -> Json:
        return {"InstanceTypes": [{"ProcessorInfo": {"SupportedArchitectures": ["x86_64"]}}]}

    def run_instances(self, _session: str, ClientToken: str, **request: Any) -> Json:  # noqa: N803
        if ClientToken not in self.tokens:
            image = self.amis.get(request["ImageId"])
            if image is None or image.state != "available":
                raise refusal("InvalidAMIID.NotFound", request["ImageId"])
            labels = _labels(request, "instance")
            one = self._account.add("instance", labels, image=request["ImageId"], launched_at=self._now)
            self.tokens[ClientToken] = one.id
            self._account.timeline.after(BAKES, lambda: self._baked(one))
        return {"Instances": [{"InstanceId": self.tokens[ClientToken]}]}

    def _baked(self, one: Resource) -> None:
        wrong = self.line.goes("fails", "hangs", "is ended")
        if one.state != "running" or wrong == "hangs":
            return
        if wrong == "is ended":
            self._account.end(one)
            return
        one.labels[tags.BAKE_RESULT] = "failed: a resource" if wrong else "ok"
        one.state = "stopped"
        said = {"instance-id": one.id, "state": "stopped"}
        self.line.tell("resume_image", "EC2 Instance State-change Notification", said)

    def describe_instances(
        self,
        session: str,
        Filters: Iterable[Json] = (),  # noqa: N803
        InstanceIds: Iterable[str] = (),  # noqa: N803
    ) -> Json:
        if not (wanted := list(InstanceIds)):
            return super().describe_instances(session, list(Filters))
        found = [one for each in wanted if (one := self._account.resources.get(each))]
        if len(found) < len(wanted):
            raise refusal("InvalidInstanceID.NotFound", str(wanted))
        return {"Reservations": [{"Instances": [workload_api.described(one)]} for one in found]}

    def get_console_output(self, _session: str, **_: Any) -> Json:
        return {"Output": "booted"}

    # ---- images

    def describe_images(self, _session: str, **asked: Any) -> Json:
        """EC2 lists a disabled image only where the call includes disabled ones."""
        found = [self.amis[each] for each in asked["ImageIds"]] if "ImageIds" in asked else [*self.amis.values()]
        if asked.get("Owners") == ["self"]:
            found = [one for one in found if tags.CONTROLLER in one.labels]
        if not asked.get("IncludeDisabled"):
            found = [one for one in found if one.state != "disabled"]
        wanted = asked.get("Filters", [])
        return {"Images": [_image(one) for one in found if all(_passes(one, each) for each in wanted)]}

    def create_image(self, _session: str, InstanceId: str, Name: str, **request: Any) -> Json:  # noqa: N803
        if self._account.resources[InstanceId].state != "stopped":
            raise refusal("IncorrectState", InstanceId)
        return {"ImageId": self._make(Name, _labels(request, "image"), MAKES)}

    def copy_image(self, _session: str, ClientToken: str, Name: str, **request: Any) -> Json:  # noqa: N803
        if ClientToken not in self.tokens:
            if self.line.goes("may"):
                raise refusal("ResourceLimitExceeded", "as many copies as it may")
            self.tokens[ClientToken] = self._make(Name, _labels(request, "image"), COPIES)
        return {"ImageId": self.tokens[ClientToken]}

    def _make(self, name: str, labels: dict[str, str], seconds: float) -> str:
        if any(one.name == name for one in self.amis.values()):
            raise refusal("InvalidAMIName.Duplicate", name)
        one = Ami(f"ami-{next(self._account.number):08x}", name, labels, self._now)
        self.amis[one.id] = one
        self._account.timeline.after(seconds, lambda: self._made(one))
        return one.id

    def _made(self, one: Ami) -> None:
        one.state = "failed" if self.line.goes("broken") else "available"
        self.line.tell("resume_image", "EC2 AMI State Change", {"ImageId": one.id, "State": one.state})

    def create_tags(self, _session: str, Resources: list[str], Tags: list[Json]) -> Json:  # noqa: N803
        for each in Resources:
            self._of(each).labels |= {tag["Key"]: tag["Value"] for tag in Tags}
        return {}

    def delete_tags(self, _session: str, Resources: list[str], Tags: list[Json]) -> Json:  # noqa: N803
        for each in Resources:
            for tag in Tags:
                self._of(each).labels.pop(tag["Key"], None)
        return {}

    def describe_image_attribute(self, _session: str, ImageId: str, **_: Any) -> Json:  # noqa: N803
        return {"LaunchPermissions": self._of(ImageId).shares}

    def modify_image_attribute(self, _session: str, ImageId: str, LaunchPermission: Json) -> Json:  # noqa: N803
        self._of(ImageId).shares += LaunchPermission["Add"]
        return {}

    def enable_image_deregistration_protection(self, _session: str, ImageId: str) -> Json:  # noqa: N803
        self._of(ImageId).protected = True
        return {}

    def disable_image_deregistration_protection(self, _session: str, ImageId: str) -> Json:  # noqa: N803
        self._of(ImageId).protected = False
        return {}

    def enable_image_deprecation(self, _session: str, ImageId: str, DeprecateAt: datetime) -> Json:  # noqa: N803
        self.line.retires(self._of(ImageId), "deprecated")
        self._of(ImageId).deprecated_at = DeprecateAt.timestamp()
        return {}

    def disable_image_deprecation(self, _session: str, ImageId: str) -> Json:  # noqa: N803
        self._of(ImageId).deprecated_at = None
        return {}

    def disable_image(self, _session: str, ImageId: str) -> Json:  # noqa: N803
        self.line.retires(self._of(ImageId), "disabled")
        self._of(ImageId).state, self._of(ImageId).shares = "disabled", []
        return {}

    def enable_image(self, _session: str, ImageId: str) -> Json:  # noqa: N803
        self._of(ImageId).state = "available"
        return {}

    def deregister_image(self, _session: str, ImageId: str) -> Json:  # noqa: N803
        one = self._of(ImageId)
        if one.protected:
            raise refusal("OperationNotPermitted", "it is protected from being deregistered")
        self.line.retires(one, "deregistered")
        del self.amis[ImageId]
        return {}

    def delete_snapshot(self, _session: str, **_: Any) -> Json:
        return {}

    def describe_snapshots(self, _session: str, **_: Any) -> Json:
        return {"Snapshots": []}

    def _of(self, image: str) -> Ami:
        if image not in self.amis:
            raise refusal("InvalidAMIID.NotFound", image)
        return self.amis[image]

    # ---- what uses images

    def describe_launch_templates(self, session: str, Filters: Iterable[Json] = ()) -> Json:  # noqa: N803
        return super().describe_launch_templates(session, list(Filters))

    def describe_spot_fleet_requests(self, _session: str) -> Json:
        return {"SpotFleetRequestConfigs": []}

    def describe_fleets(self, _session: str) -> Json:
        return {"Fleets": []}

    def describe_spot_instance_requests(self, _session: str) -> Json:
        return {"SpotInstanceRequests": []}

    def describe_image_references(self, _session: str, ImageIds: list[str], **_: Any) -> Json:  # noqa: N803
        running = [one for one in self._account.resources.values() if one.kind == "instance" and one.there]
        return {"ImageReferences": [{"ImageId": one.image, "Arn": one.id} for one in running if one.image in ImageIds]}

    def create_image_usage_report(self, _session: str, ImageId: str, ResourceTypes: Json, **_: Any) -> Json:  # noqa: N803
        self.tokens[f"report-{ImageId}"] = f"{self._now}"
        return {"ReportId": f"report-{ImageId}"}

    def describe_image_usage_reports(self, _session: str) -> Json:
        kinds = [{"ResourceType": kind} for kind in ("ec2:Instance", "ec2:LaunchTemplate")]
        made = {name.removeprefix("report-"): at for name, at in self.tokens.items() if name.startswith("report-")}
        return {
            "ImageUsageReports": [
                {
                    "ImageId": image,
                    "ReportId": f"report-{image}",
                    "State": "available",
                    "ResourceTypes": kinds,
                    "CreationTime": datetime.fromtimestamp(float(at), UTC),
                }
                for image, at in made.items()
            ]
        }

    def describe_image_usage_report_entries(self, _session: str) -> Json:
        return {"ImageUsageReportEntries": []}


class CloudFormation(workload_api.CloudFormation):
    """CloudFormation makes stacks whose instances boot the image of their parameters."""

    boots: Callable[[str], bool]
    """Whether an image can be launched."""

    def create_stack(self, session: str, **request: Any) -> Json:
        parameters = {one["ParameterKey"]: one["ParameterValue"] for one in request["Parameters"]}
        image = parameters["ImageId"]
        if not self.boots(image):  # it is of a type that CloudFormation looks up before it creates anything
            raise refusal("ValidationError", f"Parameter validation failed: parameter value {image} does not exist")
        before = set(self._account.resources)
        reply = super().create_stack(session, **request)
        for identity in set(self._account.resources) - before:
            self._account.resources[identity].image = image
        return reply


class AutoScaling(workload_api.AutoScaling):
    """No group names an image."""

    def describe_launch_configurations(self, _session: str) -> Json:
        return {"LaunchConfigurations": []}


class S3(workload_api.S3):
    """Logs that builders left."""

    def get_object(self, _session: str, **_: Any) -> Json:
        return {"Body": io.BytesIO(b"done")}


class ImageBuilder(workload_api.Workload):
    """No recipe names an image."""

    def list_image_recipes(self, _session: str, **_: Any) -> Json:
        return {"imageRecipeSummaryList": []}

    def list_container_recipes(self, _session: str, **_: Any) -> Json:
        return {"containerRecipeSummaryList": []}


class SSM(workload_api.SSM):
    """Run Command, and the parameters of channels."""

    line: Line
    parameters: dict[str, str]
    printed: dict[str, str]

    def send_command(self, _session: str, InstanceIds: list[str], Parameters: Json, **_: Any) -> Json:  # noqa: N803
        command = f"command-{next(self._account.number)}"
        names = json.loads(Parameters["commands"][0].removeprefix("# checks: "))
        image = self._account.resources[InstanceIds[0]].image
        wrong = self.line.goes("disagree")
        answers = [{"name": name, "exit": int(bool(wrong)), "stdout": ""} for name in names]
        self.printed[command] = "\n".join(map(json.dumps, answers))

        def done() -> None:
            if not wrong:
                self.line.proven.add(image)
            said = {"command-id": command, "status": "Success"}
            self.line.tell("judge_checks", "EC2 Command Status-change Notification", said)

        self._account.timeline.after(CHECKS, done)
        return {"Command": {"CommandId": command}}

    def get_command_invocation(self, _session: str, CommandId: str, **_: Any) -> Json:  # noqa: N803
        return {"Status": "Success", "StandardOutputContent": self.printed[CommandId]}

    def put_parameter(self, _session: str, Name: str, Value: str, **_: Any) -> Json:  # noqa: N803
        self.parameters[Name] = Value
        return {}

    def get_parameters_by_path(self, _session: str, **_: Any) -> Json:
        return {"Parameters": [{"Name": name, "Value": value} for name, value in self.parameters.items()]}


def _labels(request: Json, kind: str) -> dict[str, str]:
    (found,) = (one["Tags"] for one in request["TagSpecifications"] if one["ResourceType"] == kind)
    return {tag["Key"]: tag["Value"] for tag in found}


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _image(one: Ami) -> Json:
    shown = {
        "ImageId": one.id,
        "Name": one.name,
        "State": one.state,
        "Tags": [{"Key": key, "Value": value} for key, value in one.labels.items()],
        "CreationDate": _written(one.made_at),
        "RootDeviceName": "/dev/xvda",
        "Architecture": "x86_64",
        "DeregistrationProtection": "enabled" if one.protected else "disabled",
        "BlockDeviceMappings": [{"Ebs": {"SnapshotId": one.snapshot}}],
    }
    return shown | ({"DeprecationTime": _written(one.deprecated_at)} if one.deprecated_at else {})


def _passes(one: Ami, wanted: Json) -> bool:
    """One filter of DescribeImages."""
    name, values = wanted["Name"], wanted["Values"]
    if name == "tag-key":
        return bool(one.labels.keys() & set(values))
    if name.startswith("tag:"):
        return one.labels.get(name.removeprefix("tag:")) in values
    if name == "name":
        return any(one.name.startswith(each.rstrip("*")) if each.endswith("*") else one.name == each for each in values)
    return {"image-id": one.id, "state": one.state}[name] in values
