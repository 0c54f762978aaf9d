"""Ends an environment: records why, asks the guard over freshly read tags, and has the stack deleted."""

from dataclasses import asdict
from typing import Any

from mayfly.aws import clients, executions, stacks
from mayfly.aws.records import Entry, Records
from mayfly.domain.ending import Ending, by_deadline, by_failure
from mayfly.domain.guard import may_terminate
from mayfly.domain.identity import stack_name
from mayfly.domain.stack import answer
from mayfly.messages import Order
from mayfly.observability import logger
from mayfly.settings import settings


class TerminationRefused(Exception):
    """The guard refused. Nothing was destroyed, and repeating it would change nothing."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs at the end of every life, whatever ended it, and again where a deletion failed or its event is late."""
    here, order = settings(), Order.model_validate(event["order"])
    logger.append_keys(environment=order.environment)
    ending = asdict(ending_of(event)) | {"at": event["now"]}
    record = Records(here.table, "environment").change(
        order.environment,
        {"stage": "terminating", "waiting": {"for": "deletion", "token": event["token"]}},
        Entry(event["now"], context.function_name, "terminating", why(event, ending)),
        once={"ending": ending},
    )
    workload = clients.workload(order.account, order.region, here.workload_role, order.environment)
    stack = stacks.describe(workload, record.get("stack", stack_name(order.environment)))
    result = {"environment": order.environment, "stack": stack.id if stack else None}
    over = answer("deletion", stack.status if stack else "DELETE_COMPLETE")
    if over and not over.error:
        executions.settle(event["token"], over, result)
    elif stack and stack.status != "DELETE_IN_PROGRESS":
        permission = may_terminate(order.environment, here.controller, stack.tags, stack.termination_protection)
        if not permission.granted:
            raise TerminationRefused(f"{stack.id} is left standing: {permission.reason}")
        stacks.delete(workload, stack, f"arn:aws:iam::{order.account}:role/{here.stack_role}")
    return result


def ending_of(event: dict[str, Any]) -> Ending:
    """Why the execution says that the life is over. Where a result was recorded first, that one stands."""
    match event["ended"]:
        case {"by": "deadline"}:
            return by_deadline(event["deadline"])
        case {"by": "failure", "error": error}:
            return by_failure(error.get("Error", "Unknown"), error.get("Cause", ""))
        case {"by": "tests"}:
            # Stands only where the record was lost meanwhile: the result itself ends a life by its record.
            return Ending("tests", "broken", "its tests are over, and their result is not in its record")
    raise ValueError(f"ended: expected by tests, deadline or failure, but it is {event['ended']}")


def why(event: dict[str, Any], ending: dict[str, str]) -> str:
    """The reason for the history. What the tests said is in there already, from when they said it."""
    return "its tests are over" if event["ended"]["by"] == "tests" else ending["reason"]
