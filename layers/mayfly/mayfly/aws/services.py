"""Permanent environments as AWS shows them: stack, group and instances."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mayfly.aws import stacks
from mayfly.aws.stacks import Stack
from mayfly.domain import tags
from mayfly.domain.guard import is_ours
from mayfly.domain.identity import stack_name
from mayfly.domain.rollout import Member, Setup, stack_answer
from mayfly.domain.stack import Answer

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_OWN = ("EnvironmentId", "Application", "CodeVersion", "ArtifactLocation", "ImageId", "InstanceCount", "Controller")
PINNED = "LaunchTemplateVersion"
"""The blueprint's parameter that says on which version of its launch template the group is."""
FIRST = "1"
"""The version of a launch template that is new."""


READY = (
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
)
"""Statuses in which CloudFormation takes an update."""


class NotOurs(Exception):
    """A stack of this name stands that another controller or person made."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a service's stack is to be like. `request` is any text that is this wish's own."""

    service: str
    application: str
    controller: str
    template: str | None
    parameters: Mapping[str, str]
    role_arn: str
    request: str


def bring(workload: "Workload", wish: Wish, again: bool) -> Answer | None:
    """Has a service's stack made, or updated to exactly what is wished for.

    Args:
        again: whether it was asked for before: then the stack's events tell whether it has begun.

    Returns:
        None where CloudFormation works on it, or on something else that has to end first; else how it went.

    Raises:
        NotOurs: the stack that stands under this name is not touched.
    """
    name = stack_name(wish.service)
    stack = stacks.describe(workload, name)
    if stack is None:
        labels = tags.of_service(wish.service, wish.application, wish.controller)
        body = wish.template or ""
        stacks.create(workload, name, body, wish.parameters, labels, wish.role_arn, wish.request, permanent=True)
        return None
    ours = is_ours(wish.service, wish.controller, stack.tags, tags.SERVICE)
    if not ours.granted:
        raise NotOurs(f"{stack.id} stands already: {ours.reason}")
    if again and stacks.last_request(workload, stack.id) == wish.request:
        return explained(workload, stack.id, stack_answer(stack.status, stack.status_reason))
    if stack.status not in READY:
        going_on = stack.status.endswith("_IN_PROGRESS")
        return None if going_on else Answer("UpdateFailed", f"the stack is {stack.status}: a person has to see to it")
    try:
        args = (wish.template, wish.parameters, wish.role_arn, wish.request)
        changed = stacks.update(workload, stack.id, *args)
    except ClientError as error:
        if "_IN_PROGRESS state and can not be updated" in str(error):
            return None
        raise
    return None if changed else Answer(None, "the stack is like that already")


def explained(workload: "Workload", stack: str, reply: Answer | None) -> Answer | None:
    """An answer with the causes of a failure, looked up only where something failed."""
    if reply is None or reply.error is None:
        return reply
    return Answer(reply.error, stacks.why_failed(workload, stack, reply))


@dataclass(frozen=True, slots=True)
class Seen:
    """A service's stack, with its group as far as there is one.

    Attributes:
        pinned: version of the launch template that the stack pins. latest: the newest that it has made.
        group_template: version that the group launches.
        alarms: the names of its alarms. firing: those of them that fire now.
    """

    stack: Stack
    group: str = ""
    template_id: str = ""
    latest: str = ""
    pinned: str = FIRST
    group_template: str = ""
    alarms: tuple[str, ...] = ()
    firing: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()


def look(workload: "Workload", service: str, controller: str) -> Seen | None:
    """The service as it is now, or None where it has no stack."""
    stack = stacks.describe(workload, stack_name(service))
    if stack is None or stack.status == "DELETE_COMPLETE":
        return None
    pinned = stack.parameters.get(PINNED, FIRST)
    if not (group := stack.outputs.get("AutoScalingGroupName")):
        return Seen(stack, pinned=pinned)
    found: Any = workload.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    one = found[0] if found else {}
    known = _instances(workload, service, controller)
    alarms = tuple(filter(None, stack.outputs.get("Alarms", "").split(",")))
    return Seen(
        stack,
        group,
        stack.outputs["LaunchTemplateId"],
        stack.outputs["LatestLaunchTemplateVersion"],
        pinned,
        one.get("LaunchTemplate", {}).get("Version", ""),
        alarms,
        _firing(workload, alarms),
        tuple(_member(each, known) for each in one.get("Instances", []) if each["InstanceId"] in known),
    )


def setup_of(stack: Stack) -> Setup:
    """What a stack says of its setup: all but which template it was made of. For a service whose record is lost."""
    given = dict(stack.parameters)
    return {
        "image": given["ImageId"],
        "version": given["CodeVersion"],
        "artifact": given.get("ArtifactLocation", ""),
        "blueprint": None,
        "parameters": {key: value for key, value in given.items() if key not in (*_OWN, PINNED)},
        "instance_count": int(given["InstanceCount"]),
    }


def parameters(setup: Setup, service: str, application: str, controller: str, template: str) -> dict[str, str]:
    """The parameters of a service's stack. The documented ones cannot be overridden."""
    return {
        **setup["parameters"],
        "EnvironmentId": service,
        "Application": application,
        "CodeVersion": setup["version"],
        "ArtifactLocation": setup["artifact"],
        "ImageId": setup["image"],
        "InstanceCount": str(setup["instance_count"]),
        "Controller": controller,
        PINNED: template,
    }


def _firing(workload: "Workload", alarms: tuple[str, ...]) -> tuple[str, ...]:
    if not alarms:
        return ()
    found = workload.cloudwatch.describe_alarms(AlarmNames=list(alarms))["MetricAlarms"]
    return tuple(sorted(alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"))


def _instances(workload: "Workload", service: str, controller: str) -> dict[str, Any]:
    """What EC2 knows of each instance of the service."""
    pages = workload.ec2.get_paginator("describe_instances").paginate(
        Filters=[
            {"Name": f"tag:{tags.ENVIRONMENT}", "Values": [service]},
            {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down", "stopping", "stopped"]},
        ],
        PaginationConfig={"PageSize": 1000},
    )
    return {
        one["InstanceId"]: one
        for page in pages
        for reservation in page["Reservations"]
        for one in reservation["Instances"]
    }


def _member(one: Any, known: dict[str, Any]) -> Member:
    instance = known[one["InstanceId"]]
    return Member(
        one["InstanceId"],
        one.get("LaunchTemplate", {}).get("Version", ""),
        instance["ImageId"],
        one["LifecycleState"],
        one["HealthStatus"],
        instance["LaunchTime"],
    )
