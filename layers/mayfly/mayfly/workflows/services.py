"""Creates, updates and looks at permanent environments as AWS shows them: stack, group and instances."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import Struct

from mayfly.aws import groups, instances, stacks
from mayfly.aws.instances import Instance
from mayfly.aws.stacks import Stack
from mayfly.domain import blueprint, tags
from mayfly.domain.guard import is_ours
from mayfly.domain.identity import stack_name
from mayfly.domain.records import Service
from mayfly.domain.rollout import Member, Setup, stack_answer
from mayfly.domain.stack import TaskResult
from mayfly.workflows import causes, puppet_access

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_PASSED = (*blueprint.PARAMETERS, blueprint.PINNED, puppet_access.PARAMETER)
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


class Wish(Struct, frozen=True):
    """What a service's stack is to be like."""

    service: str
    application: str
    controller: str
    stack: stacks.Wanted


def bring(workload: "Workload", wish: Wish, again: bool) -> TaskResult | None:
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
        stacks.create(workload, name, wish.stack, labels, permanent=True)
        return None
    ours = is_ours(wish.service, wish.controller, stack.tags, tags.SERVICE)
    if not ours.granted:
        raise NotOurs(f"{stack.id} stands already: {ours.reason}")
    if again and stacks.last_request(workload, stack.id) == wish.stack.request:
        return causes.explained(workload, stack.id, stack_answer(stack.status, stack.status_reason))
    if stack.status not in READY:
        going_on = stack.status.endswith("_IN_PROGRESS")
        return (
            None if going_on else TaskResult("UpdateFailed", f"the stack is {stack.status}: a person has to see to it")
        )
    try:
        changed = stacks.update(workload, stack.id, wish.stack)
    except ClientError as error:
        if "_IN_PROGRESS state and can not be updated" in str(error):
            return None
        raise
    return None if changed else TaskResult(None, "the stack is like that already")


class Seen(Struct, frozen=True):
    """A service's stack, with its group as far as there is one.

    Attributes:
        pinned: version of the launch template that the stack pins. latest: the newest that it has made.
        group_template: version that the group launches. mixed: its policy, where it is one of several instance types.
        alarms: the names of its alarms. firing: those of them that fire now.
    """

    stack: Stack
    group: str = ""
    template_id: str = ""
    latest: str = ""
    pinned: str = FIRST
    group_template: str = ""
    mixed: Mapping[str, Any] | None = None
    alarms: tuple[str, ...] = ()
    firing: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()


def describe_service(workload: "Workload", service: str, controller: str) -> Seen | None:
    """Returns the service as it is now, or None where it has no stack."""
    stack = stacks.describe(workload, stack_name(service))
    if stack is None or stack.status == "DELETE_COMPLETE":
        return None
    pinned = stack.parameters.get(blueprint.PINNED, FIRST)
    if not (group := stack.outputs.get("AutoScalingGroupName")):
        return Seen(stack, pinned=pinned)
    found: Any = workload.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    one = found[0] if found else {}
    known = {one.id: one for one in instances.of_environment(workload, service, controller)}
    alarms = tuple(filter(None, stack.outputs.get("Alarms", "").split(",")))
    return Seen(
        stack,
        group,
        stack.outputs["LaunchTemplateId"],
        stack.outputs["LatestLaunchTemplateVersion"],
        pinned,
        groups.launches_from(one).get("Version", ""),
        one.get("MixedInstancesPolicy"),
        alarms,
        _firing(workload, alarms),
        tuple(_member(each, known) for each in one.get("Instances", []) if each["InstanceId"] in known),
    )


def setup_of(stack: Stack) -> Setup:
    """Returns what a stack says of its setup: all but which template it was made of. For a service whose record is
    lost."""
    given = dict(stack.parameters)
    return {
        "image": given["ImageId"],
        "version": given["CodeVersion"],
        "artifact": given.get("ArtifactLocation", ""),
        "blueprint": None,
        "parameters": {key: value for key, value in given.items() if key not in _PASSED},
        "instance_count": int(given["InstanceCount"]),
    }


def stands(seen: Seen, record: Service) -> tuple[Setup | None, str]:
    """Tells the setup of a service as it stands, and what of that its record says otherwise: because its table was
    restored, or somebody has updated the stack.

    What stands is what AWS says; which template it was made of, only the record knows.
    """
    known = record.setup
    if not seen.group or seen.stack.status not in READY or record.rollout or record.held:
        return known, ""  # a rollout that goes on, or failed half way, has its own say
    found = setup_of(seen.stack)
    if known is None or (known["image"], known["version"]) == (found["image"], found["version"]):
        return known or found, ""
    of_record = f"{known['image']} with {known['version']}"
    said = f"its stack has {found['image']} with {found['version']}, and its record says {of_record}"
    return {**known, **{key: found[key] for key in ("image", "version", "artifact")}}, said


def parameters(setup: Setup, service: str, application: str, controller: str, template: str) -> dict[str, str]:
    """Returns the parameters of a service's stack."""
    facts = {**setup, "environment": service, "application": application, "controller": controller}
    return blueprint.parameters(setup["parameters"], **facts) | {blueprint.PINNED: template}


def _firing(workload: "Workload", alarms: tuple[str, ...]) -> tuple[str, ...]:
    if not alarms:
        return ()
    found = workload.cloudwatch.describe_alarms(AlarmNames=list(alarms))["MetricAlarms"]
    return tuple(sorted(alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"))


def _member(one: Any, known: Mapping[str, Instance]) -> Member:
    instance = known[one["InstanceId"]]
    return Member(
        one["InstanceId"],
        one.get("LaunchTemplate", {}).get("Version", ""),
        instance.image,
        one["LifecycleState"],
        one["HealthStatus"],
        instance.launched_at,
    )
