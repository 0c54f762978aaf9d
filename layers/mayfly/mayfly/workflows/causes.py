"""Explains why a stack failed, by what CloudFormation and Auto Scaling say."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws import clients, instances, refreshes, stacks
from mayfly.contract.orders import Subject
from mayfly.domain import boot, tags
from mayfly.domain.capacity import of_resources
from mayfly.domain.identity import environment_of
from mayfly.domain.stack import TaskResult
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_SHOWN = 3
_FAILED = {"CreationFailed": "CREATE_FAILED", "DeletionFailed": "DELETE_FAILED", "UpdateFailed": "UPDATE_FAILED"}
"""The status of the resources at fault: those of a failed creation are no cause of a failed deletion."""


def explained(workload: "Workload", stack: str, reply: TaskResult | None) -> TaskResult | None:
    """Returns an answer with the causes of a failure, the first first, looked up only where something failed.

    CloudFormation reports the resources that failed and those it gave up because of them; only the first are causes.
    Where instances did not come, Auto Scaling knows why: missing capacity, for one, is told nowhere else. In which step
    one hangs or failed, it says itself.
    """
    if reply is None or reply.error is None:
        return reply
    failed = stacks.failures(workload, stack, _FAILED[reply.error])
    causes = [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason')}" for event in failed]
    groups = (
        event["PhysicalResourceId"]
        for event in failed
        if event.get("ResourceType") == "AWS::AutoScaling::AutoScalingGroup" and event.get("PhysicalResourceId")
    )
    boots = boot.unready(_labels(workload, stack)) if reply.error == "CreationFailed" else []
    launches = [cause for group in dict.fromkeys(groups) for cause in refreshes.failed_launches(workload, group)]
    said = [reply.reason, *causes[:_SHOWN], *launches[:_SHOWN], *boots[:_SHOWN]]
    return TaskResult(reply.error, "; ".join(dict.fromkeys(said)))


def missing_capacity(settings: Settings, subject: Subject, stack: str) -> str:
    """Which capacity EC2 lacks for instances that a stack launches without a group; "" where that is not why it failed,
    or CloudFormation does not say: its ending depends on no look."""
    with suppress(ClientError, BotoCoreError):
        workload = clients.workload(subject.account, subject.region, settings.workload_role, subject.environment)
        return of_resources(stacks.failures(workload, stack, "CREATE_FAILED"))
    return ""


def _labels(workload: "Workload", stack: str) -> dict[str, Mapping[str, str]]:
    """Returns the tags of the instances of an environment's stack: each says in them how far its boot is."""
    environment = environment_of(stack)
    found = instances.find(workload, {tags.ENVIRONMENT: environment}) if environment else ()
    return {one.id: one.labels for one in found}
