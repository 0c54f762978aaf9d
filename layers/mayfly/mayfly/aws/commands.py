"""Run Command of Systems Manager: a script on an instance, and what it printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

DELIVERY_SECONDS = 600
"""How long Systems Manager tries to bring the command to the instance."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended on an instance, and what it printed (the first 24,000 characters)."""

    status: str
    printed: str


def send(workload: "Workload", instance: str, script: Sequence[str], comment: str) -> str:
    """Has a script run on an instance, as root; returns the command's id."""
    reply = workload.ssm.send_command(
        InstanceIds=[instance],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": list(script)},
        Comment=comment[:100],
        TimeoutSeconds=DELIVERY_SECONDS,
    )
    return reply["Command"]["CommandId"]


def read(workload: "Workload", command: str, instance: str) -> Answer:
    """How a command has ended."""
    found = workload.ssm.get_command_invocation(CommandId=command, InstanceId=instance)
    return Answer(found["Status"], found["StandardOutputContent"])
