"""What CloudFormation's statuses mean to an execution that waits for a stack.

Statuses are matched exactly: ``ROLLBACK_COMPLETE`` ends like ``CREATE_COMPLETE`` and means the opposite.
Source: the enum StackStatus of the CloudFormation API (a test holds this table against botocore's model).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Phase(StrEnum):
    """Where a stack stands in its life, as far as Mayfly cares."""

    CREATING = "creating"
    CREATED = "created"
    CREATION_FAILED = "creation failed"
    DELETING = "deleting"
    DELETED = "deleted"
    DELETION_FAILED = "deletion failed"


PHASES: dict[str, Phase] = {
    "REVIEW_IN_PROGRESS": Phase.CREATING,
    "CREATE_IN_PROGRESS": Phase.CREATING,
    "CREATE_COMPLETE": Phase.CREATED,
    "CREATE_FAILED": Phase.CREATION_FAILED,
    "ROLLBACK_IN_PROGRESS": Phase.CREATION_FAILED,
    "ROLLBACK_COMPLETE": Phase.CREATION_FAILED,
    "ROLLBACK_FAILED": Phase.CREATION_FAILED,
    "DELETE_IN_PROGRESS": Phase.DELETING,
    "DELETE_COMPLETE": Phase.DELETED,
    "DELETE_FAILED": Phase.DELETION_FAILED,
    # A stack that somebody updates stands all the while.
    "UPDATE_IN_PROGRESS": Phase.CREATED,
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": Phase.CREATED,
    "UPDATE_COMPLETE": Phase.CREATED,
    "UPDATE_FAILED": Phase.CREATED,
    "UPDATE_ROLLBACK_IN_PROGRESS": Phase.CREATED,
    "UPDATE_ROLLBACK_FAILED": Phase.CREATED,
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": Phase.CREATED,
    "UPDATE_ROLLBACK_COMPLETE": Phase.CREATED,
    "IMPORT_IN_PROGRESS": Phase.CREATED,
    "IMPORT_COMPLETE": Phase.CREATED,
    "IMPORT_ROLLBACK_IN_PROGRESS": Phase.CREATED,
    "IMPORT_ROLLBACK_FAILED": Phase.CREATED,
    "IMPORT_ROLLBACK_COMPLETE": Phase.CREATED,
}

type Wait = Literal["creation", "tests", "deletion"]
"""What an execution's task token waits for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a waiting execution is told: success, or the error that its Retry and Catch know by name."""

    error: (
        Literal["CreationFailed", "DeletionFailed", "EndedBefore", "Extended", "Overdue", "BuilderLost", "ImageFailed"]
        | Literal["UpdateFailed", "RefreshFailed", "RefreshCancelled", "RolledBack"]
        | None
    )
    reason: str


_ANSWERS: dict[tuple[Wait, Phase], Literal["CreationFailed", "DeletionFailed"] | None] = {
    ("creation", Phase.CREATED): None,
    ("creation", Phase.CREATION_FAILED): "CreationFailed",
    ("creation", Phase.DELETING): "CreationFailed",
    ("creation", Phase.DELETED): "CreationFailed",
    ("creation", Phase.DELETION_FAILED): "CreationFailed",
    ("deletion", Phase.DELETED): None,
    ("deletion", Phase.DELETION_FAILED): "DeletionFailed",
}


def answer(waiting_for: Wait, status: str, status_reason: str = "") -> Answer | None:
    """What to tell an execution that waits, or None where it goes on waiting.

    Args:
        waiting_for: what its token was stored for.
        status: the stack's status, as the event or DescribeStacks says it.
        status_reason: CloudFormation's reason, kept for people.

    Raises:
        KeyError: the status is none that CloudFormation documents.
    """
    phase = PHASES[status]
    if (waiting_for, phase) not in _ANSWERS:
        return None
    reason = f"the stack is {status}" + (f": {status_reason}" if status_reason else "")
    return Answer(_ANSWERS[waiting_for, phase], reason)
