"""Runs a script on an instance by Systems Manager's Run Command, and reads what it printed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mayfly.domain.testing import Invocation

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_GOING_ON = ("Pending", "InProgress", "Delayed", "Cancelling")

DELIVERY_SECONDS = 600
"""How long Systems Manager tries to bring the command to the instance."""


class CommandResult(Struct, frozen=True):
    """How a command ended on an instance, and what it printed (the first 24,000 characters)."""

    status: str
    printed: str


def send(workload: "Workload", instance: str, script: Sequence[str], comment: str, minutes: int = 60) -> str:
    """Has a script run on an instance, as root, for so long at most; returns the command's id."""
    reply = workload.ssm.send_command(
        InstanceIds=[instance],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": list(script), "executionTimeout": [str(minutes * 60)]},
        Comment=comment[:100],
        TimeoutSeconds=DELIVERY_SECONDS,
    )
    return reply["Command"]["CommandId"]


def send_to_all(
    workload: "Workload", targets: Mapping[str, str], script: Sequence[str], comment: str, minutes: int
) -> str:
    """Has a script run on every instance that carries these tags, as root; returns the command's id."""
    reply = workload.ssm.send_command(
        Targets=[{"Key": f"tag:{key}", "Values": [value]} for key, value in targets.items()],
        MaxConcurrency="100%",
        MaxErrors="100%",
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": list(script), "executionTimeout": [str(minutes * 60)]},
        Comment=comment[:100],
        TimeoutSeconds=DELIVERY_SECONDS,
    )
    return reply["Command"]["CommandId"]


def invocations(workload: "Workload", command: str) -> list[Invocation] | None:
    """Tells how a command ended on each instance; None where it goes on."""
    pages = workload.ssm.get_paginator("list_command_invocations").paginate(CommandId=command, Details=True)
    listed = [each for page in pages for each in page["CommandInvocations"]]
    if not listed or any(each["Status"] in _GOING_ON for each in listed):
        return None
    return [Invocation(each["InstanceId"], each["StatusDetails"], _exit_code(each)) for each in listed]


def _exit_code(listed: Any) -> int:
    return next((plugin.get("ResponseCode", -1) for plugin in listed.get("CommandPlugins", [])), -1)


def read(workload: "Workload", command: str, instance: str) -> CommandResult:
    """Tells how a command has ended."""
    found = workload.ssm.get_command_invocation(CommandId=command, InstanceId=instance)
    return CommandResult(found["Status"], found["StandardOutputContent"])
