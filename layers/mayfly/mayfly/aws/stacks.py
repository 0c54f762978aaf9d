"""Environments as CloudFormation stacks, and the instances in them, seen through one workload account."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

from mayfly.domain import tags
from mayfly.domain.moment import text
from mayfly.domain.stack import Answer
from mayfly.observability import logger

TEMPLATE_BODY_LIMIT = 51_200
"""Bytes of a template that CreateStack takes in the call itself."""

_CAUSES_SHOWN = 3
_FAILED = {"CreationFailed": "CREATE_FAILED", "DeletionFailed": "DELETE_FAILED", "UpdateFailed": "UPDATE_FAILED"}
"""The status of the resources at fault: those of a failed creation are no cause of a failed deletion."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as DescribeStacks shows it."""

    id: str
    status: str
    status_reason: str
    tags: Mapping[str, str]
    outputs: Mapping[str, str]
    termination_protection: bool
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that carries an environment's tag."""

    id: str
    state: str
    tags: Mapping[str, str]
    kind: str
    launched_at: datetime


def create(
    workload: "Workload",
    name: str,
    template: str,
    parameters: Mapping[str, str],
    labels: Mapping[str, str],
    stack_role_arn: str,
    request: str,
    permanent: bool = False,
) -> str | None:
    """Asks for a stack, tagged from its first moment. Returns its id, or None where a stack of this name stands.

    A failed creation is left as it is (OnFailure DO_NOTHING): Mayfly deletes it anyway, and until then what failed
    can be named. A rollback would only take longer.

    Args:
        request: this request's own token, of letters, digits and hyphens, 128 at most. CloudFormation answers the same
            request again like the first time, so that a lost reply is no harm; another one it tells that the stack
            stands already. Its events bring the token back.
        permanent: whether its termination protection is on from its first moment.
    """
    errors = workload.cloudformation.exceptions
    try:
        reply = workload.cloudformation.create_stack(
            StackName=name,
            TemplateBody=template,
            Parameters=_given(parameters),
            Tags=_listed(labels),
            RoleARN=stack_role_arn,
            OnFailure="DO_NOTHING",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            ClientRequestToken=request,
            EnableTerminationProtection=permanent,
        )
    except (errors.AlreadyExistsException, errors.TokenAlreadyExistsException):
        return None
    return reply["StackId"]


def update(
    workload: "Workload", stack: str, template: str | None, parameters: Mapping[str, str], role_arn: str, request: str
) -> bool:
    """Asks for an update of a stack to exactly these parameters. Tags stay as they are.

    Args:
        template: None leaves it as it is. request: as for a creation.

    Returns:
        False where the stack is like that already.

    Raises:
        botocore.exceptions.ClientError: ValidationError, for one where another operation goes on.
    """
    given: Any = {"TemplateBody": template} if template else {"UsePreviousTemplate": True}
    try:
        workload.cloudformation.update_stack(
            StackName=stack,
            Parameters=_given(parameters),
            RoleARN=role_arn,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            ClientRequestToken=request,
            **given,
        )
    except workload.cloudformation.exceptions.TokenAlreadyExistsException:
        return True
    except ClientError as error:
        # CloudFormation has no error code of its own for this either.
        if "No updates are to be performed" in str(error):
            return False
        raise
    return True


def last_request(workload: "Workload", stack: str) -> str:
    """The token of the request that a stack's latest event is an effect of, "" where it had none."""
    events = workload.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    return events[0].get("ClientRequestToken", "") if events else ""


def detect_drift(workload: "Workload", stack: str) -> str:
    """Has CloudFormation compare a stack's resources with its template; returns the comparison's id."""
    return workload.cloudformation.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]


def drift(workload: "Workload", stack: str, detection: str) -> list[str] | None:
    """What a comparison found, a line a resource; None where it is not over yet."""
    found = workload.cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    if found["DetectionStatus"] == "DETECTION_IN_PROGRESS":
        return None
    if found["DetectionStatus"] == "DETECTION_FAILED" and "StackDriftStatus" not in found:
        return [f"it could not be compared: {found.get('DetectionStatusReason', 'no reason')}"]
    lines, more = [], ""
    while True:  # botocore has no paginator for it
        next_page: Any = {"NextToken": more} if more else {}
        page = workload.cloudformation.describe_stack_resource_drifts(
            StackName=stack, StackResourceDriftStatusFilters=["MODIFIED", "DELETED"], **next_page
        )
        lines += [_drifted(each) for each in page["StackResourceDrifts"]]
        if not (more := page.get("NextToken", "")):
            return lines


def drift_of(workload: "Workload", stack: str, resource: str) -> list[str]:
    """What differs between one resource and its template right now: the paths of its properties."""
    found = workload.cloudformation.detect_stack_resource_drift(StackName=stack, LogicalResourceId=resource)
    return [each["PropertyPath"] for each in found["StackResourceDrift"].get("PropertyDifferences", [])]


def _drifted(found: Any) -> str:
    paths = ", ".join(
        f"{each['PropertyPath']} is {each.get('ActualValue', 'gone')}, not {each.get('ExpectedValue', 'there')}"
        for each in found.get("PropertyDifferences", [])
    )
    return f"{found['LogicalResourceId']}: {paths or found['StackResourceDriftStatus'].lower()}"[:500]


def _given(parameters: Mapping[str, str]) -> list[Any]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


def describe(workload: "Workload", stack: str) -> Stack | None:
    """The stack of this id or name as it is now, or None where there is none.

    A deleted stack is found by its id only (for 90 days); by its name it does not exist.
    """
    try:
        found = workload.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        # CloudFormation has no error code of its own for this.
        missing = error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error)
        if missing:
            return None
        raise
    return Stack(
        id=found["StackId"],
        status=found["StackStatus"],
        status_reason=found.get("StackStatusReason", ""),
        tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        outputs={out["OutputKey"]: out["OutputValue"] for out in found.get("Outputs", [])},
        termination_protection=found.get("EnableTerminationProtection", False),
        parameters={each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])},
    )


def delete(workload: "Workload", stack: Stack, stack_role_arn: str, retained: Sequence[str] = ()) -> None:
    """Asks for the deletion of a stack, by its id. The caller has asked the guard.

    Args:
        retained: logical ids to leave standing, of resources whose deletion failed before. They are chased by tag.
    """
    keep: dict[str, Any] = {"RetainResources": list(retained)} if retained else {}
    workload.cloudformation.delete_stack(StackName=stack.id, RoleARN=stack_role_arn, **keep)


def why_failed(workload: "Workload", stack: str, reply: Answer) -> str:
    """The reason of a failed creation or deletion with its causes, the first first, as CloudFormation and Auto Scaling
    tell them.

    CloudFormation reports the resources that failed and those it gave up because of them; only the first are causes.
    Where instances did not come, Auto Scaling knows why: missing capacity, for one, is told nowhere else.
    """
    pages = workload.cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
    events = [event for page in pages for event in page["StackEvents"]]
    failed = [
        event
        for event in reversed(events)
        if event.get("ResourceStatus") == _FAILED[reply.error or "CreationFailed"]
        and event.get("PhysicalResourceId") != event.get("StackId")
        and "cancelled" not in event.get("ResourceStatusReason", "")
    ]
    causes = [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason')}" for event in failed]
    groups = (
        event["PhysicalResourceId"]
        for event in failed
        if event.get("ResourceType") == "AWS::AutoScaling::AutoScalingGroup" and event.get("PhysicalResourceId")
    )
    launches = [cause for group in dict.fromkeys(groups) for cause in _failed_launches(workload, group)]
    return "; ".join(dict.fromkeys([reply.reason, *causes[:_CAUSES_SHOWN], *launches[:_CAUSES_SHOWN]]))


def _failed_launches(workload: "Workload", group: str) -> Iterable[str]:
    activities = workload.autoscaling.describe_scaling_activities(AutoScalingGroupName=group)["Activities"]
    return (
        activity.get("StatusMessage", activity["Description"])
        for activity in activities
        if activity["StatusCode"] in ("Failed", "Cancelled")
    )


def instances(workload: "Workload", environment: str, controller: str) -> list[Instance]:
    """All instances that carry the environment's and the controller's tag and are not terminated."""
    pages = workload.ec2.get_paginator("describe_instances").paginate(
        Filters=[
            {"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]},
            {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
            {
                "Name": "instance-state-name",
                "Values": ["pending", "running", "shutting-down", "stopping", "stopped"],
            },
        ],
        PaginationConfig={"PageSize": 1000},
    )
    return [
        Instance(
            found["InstanceId"],
            found["State"]["Name"],
            {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
            found["InstanceType"],
            found["LaunchTime"],
        )
        for page in pages
        for reservation in page["Reservations"]
        for found in reservation["Instances"]
    ]


def counted(
    workload: "Workload", environment: str, controller: str, seen: Sequence[Instance] | None = None
) -> dict[str, Any]:
    """What of an environment costs money, as its record keeps it for `mayfly.domain.cost`; {} where there is nothing.
    Not to know it fails no life, and keeps nothing standing.

    Args:
        seen: its instances, where they have been looked at already.
    """
    try:
        running = instances(workload, environment, controller) if seen is None else seen
        pages = workload.ec2.get_paginator("describe_volumes").paginate(
            Filters=[{"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]}]
        )
        volume_gb = sum(volume["Size"] for page in pages for volume in page["Volumes"]) if running else 0
    except (ClientError, BotoCoreError):
        logger.exception("what it costs is not known")
        return {}
    if not running:
        return {}
    return {
        "instance_types": dict(Counter(instance.kind for instance in running)),
        "volume_gb": volume_gb,
        "launched_at": text(min(instance.launched_at for instance in running)),
    }


def _listed(labels: Mapping[str, str]) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]
