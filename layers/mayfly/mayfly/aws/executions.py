"""Starts executions of the state machines under a name, and completes the tasks that they wait for."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import Struct

from mayfly.aws.clients import controller
from mayfly.domain.stack import TaskResult
from mayfly.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def start(machine: str, name: str, message: dict[str, Any]) -> bool:
    """Starts an execution under a name that only one can ever have (Step Functions remembers names for 90 days).

    Returns:
        False where it is over already, or was started with another message. While it runs, the same message again
        is True: Step Functions answers it like the first.
    """
    states: SFNClient = controller("stepfunctions")
    try:
        states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(message, sort_keys=True))
    except states.exceptions.ExecutionAlreadyExists:
        return False
    return True


class Execution(Struct, frozen=True):
    """An execution that there is or was."""

    succeeded: bool
    message: Mapping[str, Any]


def describe(machine: str, name: str) -> Execution | None:
    """Returns the execution of this name, as far as Step Functions remembers it."""
    states: SFNClient = controller("stepfunctions")
    try:
        found = states.describe_execution(executionArn=_arn(machine, name))
    except states.exceptions.ExecutionDoesNotExist:
        return None
    return Execution(found["status"] == "SUCCEEDED", json.loads(found["input"]))


def running(machine: str) -> set[str]:
    """Returns the environments that an execution of the machine runs for. A sweep's executions have a suffix after
    ``__``."""
    pages = (
        controller("stepfunctions")
        .get_paginator("list_executions")
        .paginate(stateMachineArn=machine, statusFilter="RUNNING", PaginationConfig={"PageSize": 1000})
    )
    return {execution["name"].partition("__")[0] for page in pages for execution in page["executions"]}


def stop(machine: str, name: str, why: str) -> None:
    """Stops an execution, and with it the build or execution that it waits for. One that is over stays as it is."""
    states: SFNClient = controller("stepfunctions")
    try:
        states.stop_execution(executionArn=_arn(machine, name), cause=why[:32_000])
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ExecutionDoesNotExist", "ValidationException"):
            raise


def complete_task(token: str, answer: TaskResult, result: dict[str, Any]) -> bool:
    """Tells a waiting execution how its wait ended.

    Returns:
        False where nobody waits with this token any more: the event came twice, or a later look was faster.
    """
    states: SFNClient = controller("stepfunctions")
    gone = (states.exceptions.TaskTimedOut, states.exceptions.TaskDoesNotExist, states.exceptions.InvalidToken)
    try:
        if answer.error:
            states.send_task_failure(taskToken=token, error=answer.error, cause=answer.reason[:32_000])
        else:
            states.send_task_success(taskToken=token, output=json.dumps(result))
    except gone as error:
        logger.info("nobody waits with this token any more", extra={"error": str(error)})
        return False
    return True


def _arn(machine: str, name: str) -> str:
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
