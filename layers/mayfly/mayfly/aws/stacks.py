"""Stacks of CloudFormation, seen through one workload account."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, field

from mayfly.domain.needs import Use
from mayfly.observability import logger

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

TEMPLATE_BODY_LIMIT = 51_200
"""Bytes of a template that CreateStack takes in the call itself."""

TEMPLATE_LIMIT = 1_000_000
"""Bytes of a template that CreateStack reads from a bucket."""

_CAPABILITIES: Any = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
"""A blueprint may make roles, and may have transforms and macros: the service role bounds what comes of them."""


class RoleUnusable(Exception):
    """CloudFormation cannot work in the role that it is given: a person has to mend that."""


class Template(Struct, frozen=True):
    """A template's text, and where CloudFormation reads it when it is too large for the call itself."""

    text: str
    url: str = ""

    @property
    def argument(self) -> dict[str, str]:
        """What a call is given of it."""
        return {"TemplateURL": self.url} if self.url else {"TemplateBody": self.text}


class Stack(Struct, frozen=True):
    """A stack as DescribeStacks shows it."""

    id: str
    status: str
    status_reason: str
    tags: Mapping[str, str]
    outputs: Mapping[str, str]
    termination_protection: bool
    parameters: Mapping[str, str] = field(default_factory=dict)
    express: bool = False
    """Whether it was built in Express mode."""


class Resource(Struct, frozen=True):
    """A resource of a stack as ListStackResources shows it, of a deleted stack for 90 days."""

    logical_id: str
    physical_id: str
    kind: str
    status: str
    reason: str

    @property
    def retained(self) -> bool:
        """Whether its stack is gone and left it standing: by its DeletionPolicy, or because it was told to."""
        return self.status == "DELETE_SKIPPED"


class Wanted(Struct, frozen=True):
    """What a stack is to be made of.

    Attributes:
        template: None leaves it as it is. role_arn: of the role that CloudFormation works in.
        request: the request's own token, of letters, digits and hyphens, 128 at most. CloudFormation answers the same
            request again like the first time, so that a lost reply is no harm. Its events bring the token back.
        express: whether each resource is complete when its call has succeeded.
    """

    template: Template | None
    parameters: Mapping[str, str]
    role_arn: str
    request: str
    express: bool = False


def _argument(template: Template | None) -> dict[str, Any]:
    return dict(template.argument) if template else {"UsePreviousTemplate": True}


def create(
    workload: "Workload", name: str, wanted: Wanted, labels: Mapping[str, str], permanent: bool = False
) -> str | None:
    """Creates a stack, tagged in the same call. Returns its id, or None where a stack of this name stands.

    A failed creation is left as it is (OnFailure DO_NOTHING): Mayfly deletes it anyway, and until then what failed
    can be named. A rollback would only take longer.

    Args:
        permanent: whether its termination protection is set in the same call.
    """
    errors, argument = workload.cloudformation.exceptions, _argument(wanted.template)
    # One of both: CloudFormation refuses OnFailure beside it. Neither lets a creation that failed be rolled back.
    failing: dict[str, Any] = {"OnFailure": "DO_NOTHING"}
    if wanted.express and knows_express(workload):
        failing = {"DeploymentConfig": {"Mode": "EXPRESS", "DisableRollback": True}}
    try:
        reply = workload.cloudformation.create_stack(
            StackName=name,
            Parameters=_given(wanted.parameters),
            Tags=_listed(labels),
            RoleARN=wanted.role_arn,
            Capabilities=_CAPABILITIES,
            ClientRequestToken=wanted.request,
            EnableTerminationProtection=permanent,
            **failing,
            **argument,
        )
    except (errors.AlreadyExistsException, errors.TokenAlreadyExistsException):
        return None
    return reply["StackId"]


def update(workload: "Workload", stack: str, wanted: Wanted) -> bool:
    """Asks for an update of a stack to exactly these parameters. Tags stay as they are.

    Returns:
        False where the stack is like that already.

    Raises:
        botocore.exceptions.ClientError: ValidationError, for one where another operation goes on.
    """
    given = _argument(wanted.template)
    try:
        workload.cloudformation.update_stack(
            StackName=stack,
            Parameters=_given(wanted.parameters),
            RoleARN=wanted.role_arn,
            Capabilities=_CAPABILITIES,
            ClientRequestToken=wanted.request,
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
    """Returns the token of the request that a stack's latest event is an effect of, "" where it had none."""
    events = workload.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    return events[0].get("ClientRequestToken", "") if events else ""


def detect_drift(workload: "Workload", stack: str) -> str:
    """Has CloudFormation compare a stack's resources with its template; returns the comparison's id."""
    return workload.cloudformation.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]


def drift(workload: "Workload", stack: str, detection: str) -> list[str] | None:
    """Returns what a comparison found, a line a resource; None where it is not over yet."""
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
    """Returns what differs between one resource and its template right now: the paths of its properties."""
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


def is_at(stack: str, account: str, region: str) -> bool:
    """Tells whether a stack is in an account and Region, by its id."""
    return stack.split(":")[3:5] == [region, account]


def describe(workload: "Workload", stack: str) -> Stack | None:
    """Returns the stack of this id or name as it is now, or None where there is none.

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
        express=found.get("DeploymentConfig", {}).get("Mode") == "EXPRESS",
    )


def resources(workload: "Workload", stack: str) -> list[Resource]:
    """Lists a stack's resources, with those of its nested stacks."""
    pages = workload.cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    found = [
        Resource(
            one["LogicalResourceId"],
            one.get("PhysicalResourceId", ""),
            one["ResourceType"],
            one["ResourceStatus"],
            one.get("ResourceStatusReason", ""),
        )
        for page in pages
        for one in page["StackResourceSummaries"]
    ]
    nested = [one for one in found if one.kind == "AWS::CloudFormation::Stack" and one.physical_id]
    return found + [inner for one in nested for inner in resources(workload, one.physical_id)]


def delete(workload: "Workload", stack: Stack, stack_role_arn: str, request: str, retained: Sequence[str]) -> None:
    """Asks for the deletion of a stack, by its id. The caller has asked the guard.

    Args:
        request: its name, which the events of this deletion bear; "" for none.
        retained: logical ids to leave standing, of resources whose deletion failed before. They are chased by tag.

    Raises:
        RoleUnusable: CloudFormation's own sentence.
    """
    how: dict[str, Any] = {"RetainResources": list(retained)} if retained else {}
    how |= {"ClientRequestToken": request} if request else {}
    # As it was built: CloudFormation wants the same mode of what follows.
    how |= {"DeploymentConfig": {"Mode": "EXPRESS"}} if stack.express else {}
    try:
        workload.cloudformation.delete_stack(StackName=stack.id, RoleARN=stack_role_arn, **how)
    except ClientError as error:
        # CloudFormation has no error code of its own for this.
        if "cannot be assumed" in str(error):
            raise RoleUnusable(error.response["Error"]["Message"]) from error
        raise


def knows_express(workload: "Workload") -> bool:
    """Tells whether this SDK knows Express mode: Lambda's own may be older than CloudFormation's API."""
    asked = workload.cloudformation.meta.service_model.operation_model("CreateStack").input_shape
    return asked is not None and "DeploymentConfig" in asked.members


class Making(Struct, frozen=True):
    """How a stack was made: since when, until when, and how many seconds the slowest resource of each type took."""

    begun: datetime | None = None
    complete: datetime | None = None
    took: Mapping[str, float] = field(default_factory=dict)


def making(workload: "Workload", stack: str) -> Making:
    """Tells how a stack was made, by its events. Where they cannot be read, no life fails."""
    try:
        pages = workload.cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
        events = [event for page in pages for event in page["StackEvents"] if "Timestamp" in event]
    except (ClientError, BotoCoreError):
        logger.exception("how long its resources took is not known")
        return Making()
    began: dict[str, datetime] = {}
    took: dict[str, float] = {}
    complete = None
    for event in reversed(events):
        name, status, at = event["LogicalResourceId"], event.get("ResourceStatus", ""), event["Timestamp"]
        if status == "CREATE_IN_PROGRESS":
            began.setdefault(name, at)
        elif status == "CREATE_COMPLETE" and event.get("PhysicalResourceId") == event["StackId"]:
            complete = at
        elif status == "CREATE_COMPLETE" and name in began:
            kind, seconds = event["ResourceType"], (at - began[name]).total_seconds()
            took[kind] = max(took.get(kind, 0.0), seconds)
    return Making(min(began.values(), default=None), complete, took)


def failures(workload: "Workload", stack: str, status: str) -> list[Any]:
    """Returns the events of a stack's resources that came into this status, the first first: without the stack's own,
    and without those that CloudFormation gave up because of others. Of a nested stack, the events of its own
    resources."""
    pages = workload.cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
    events = [event for page in pages for event in page["StackEvents"]]
    found = [
        event
        for event in reversed(events)
        if event.get("ResourceStatus") == status
        and event.get("PhysicalResourceId") != event.get("StackId")
        and "cancelled" not in event.get("ResourceStatusReason", "")
    ]
    return [inner for event in found for inner in _inside(workload, event, status) or [event]]


def _inside(workload: "Workload", event: Any, status: str) -> list[Any]:
    """Returns the failures of a nested stack, each under its name; [] where the resource is no nested stack, or was
    never created."""
    if event.get("ResourceType") != "AWS::CloudFormation::Stack" or not event.get("PhysicalResourceId"):
        return []
    try:
        found = failures(workload, event["PhysicalResourceId"], status)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return []
    return [{**one, "LogicalResourceId": f"{event['LogicalResourceId']}.{one['LogicalResourceId']}"} for one in found]


def _listed(labels: Mapping[str, str]) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]


def used_stacks(workload: "Workload") -> Iterator[Use]:
    """Lists stacks that stand, nested ones too."""
    for page in workload.cloudformation.get_paginator("list_stacks").paginate():
        standing = (stack for stack in page["StackSummaries"] if stack["StackStatus"] != "DELETE_COMPLETE")
        yield from (("stacks", 1, stack) for stack in standing)
