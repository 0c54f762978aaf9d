"""What CloudFormation's statuses mean to an execution that waits for a stack.

Statuses are matched exactly: ``ROLLBACK_COMPLETE`` ends like ``CREATE_COMPLETE`` and means the opposite.
Source: the enum StackStatus of the CloudFormation API (a test holds this table against botocore's model).
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from mayfly.contract.vocabulary import Wait


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


class TaskResult(Struct, frozen=True):
    """What a waiting execution is told: success, or the error that its Retry and Catch know by name."""

    error: (
        Literal["CreationFailed", "DeletionFailed", "EndedBefore", "Extended", "Overdue", "BuilderLost", "ImageFailed"]
        | Literal[
            "UpdateFailed",
            "RefreshFailed",
            "RefreshCancelled",
            "RolledBack",
            "Aborted",
            "Resumed",
            "EnvironmentFailed",
            "TestsFailed",
            "NotYet",
            "MovesOn",
        ]
        | None
    )
    reason: str


_ANSWERS: dict[tuple[Wait, Phase], Literal["CreationFailed", "DeletionFailed"] | None] = {
    (Wait.CREATION, Phase.CREATED): None,
    (Wait.CREATION, Phase.CREATION_FAILED): "CreationFailed",
    (Wait.CREATION, Phase.DELETING): "CreationFailed",
    (Wait.CREATION, Phase.DELETED): "CreationFailed",
    (Wait.CREATION, Phase.DELETION_FAILED): "CreationFailed",
    (Wait.DELETION, Phase.DELETED): None,
    (Wait.DELETION, Phase.DELETION_FAILED): "DeletionFailed",
}


def answer(waiting_for: Wait, status: str, status_reason: str = "") -> TaskResult | None:
    """Decides what to tell an execution that waits; None where it goes on waiting, as with a status nobody knows yet.

    Args:
        waiting_for: what its token was stored for.
        status: the stack's status, as the event or DescribeStacks says it.
        status_reason: CloudFormation's reason, kept for people.
    """
    phase = PHASES.get(status)
    reason = f"the stack is {status}" + (f": {status_reason}" if status_reason else "")
    if waiting_for == "deletion" and deletion_refused(status, status_reason):
        return TaskResult("DeletionFailed", reason)
    if phase is None or (waiting_for, phase) not in _ANSWERS:
        return None
    return TaskResult(_ANSWERS[waiting_for, phase], reason)


def deletion_refused(status: str, status_reason: str) -> bool:
    """Tells whether CloudFormation took a deletion and then refused it: the stack is back in the status it had before.

    It does so where another stack imports an export of this one, and says why in the status reason.
    """
    return status in _STANDING and "cannot be deleted" in status_reason


_STANDING = frozenset(
    status
    for status, phase in PHASES.items()
    if phase in (Phase.CREATED, Phase.CREATION_FAILED) and not status.endswith("_IN_PROGRESS")
)
