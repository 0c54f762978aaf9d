"""Has an environment's stack created, and settles the wait at once where nothing is left to wait for."""

import hashlib
from datetime import datetime
from typing import Any

from mayfly.aws import catalogue, clients, executions, stacks
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain import tags
from mayfly.domain.guard import is_ours
from mayfly.domain.identity import stack_name
from mayfly.domain.stack import Answer, answer
from mayfly.messages import Order
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


class NotOurs(Exception):
    """A stack of this name stands that another controller or person made."""


class EndedBefore(Exception):
    """The life was ended before anything was built."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs first to ask for the stack, and again whenever the event that should end the wait does not come.

    The token is stored before the call that causes the event. A repetition finds the stack standing, looks at it
    once, and waits on or answers by itself: the slow reconciler behind the fast path.
    """
    here, order, token = settings(), Order.model_validate(event["order"]), event["token"]
    logger.append_keys(environment=order.environment)
    records = Records(here.table, "environment")
    try:
        record = records.change(
            order.environment,
            {"stage": "creating", "waiting": {"for": "creation", "token": token}},
            Entry(event["now"], context.function_name, "creating", f"stack {stack_name(order.environment)}"),
            only_if="attribute_exists(pk) AND attribute_not_exists(ending)",
        )
    except Conflict as conflict:
        raise EndedBefore(f"its record says {conflict.found.get('ending', 'nothing: there is none')}") from None
    if not record:
        raise EndedBefore("the table is lost: what nobody would remember is not built")

    workload = clients.workload(order.account, order.region, here.workload_role, order.environment)
    stack_id = stacks.create(
        workload,
        stack_name(order.environment),
        catalogue.template(here.blueprints, order.blueprint),
        parameters(order, here.controller),
        tags.of_environment(
            order.environment, order.application, here.controller, moment(record["deadline"]), moment(record["ceiling"])
        ),
        f"arn:aws:iam::{order.account}:role/{here.stack_role}",
        # A task token is longer than CloudFormation's may be.
        request=hashlib.sha256(token.encode()).hexdigest(),
    )
    if stack_id is None:
        stack_id = look_again(here, order, workload, token)
    records.change(order.environment, {"stack": stack_id})
    return {"environment": order.environment, "stack": stack_id}


def moment(written: str) -> datetime:
    """A moment of the record."""
    return datetime.fromisoformat(written)


def parameters(order: Order, controller: str) -> dict[str, str]:
    """What every blueprint is told, and what this application adds. The documented ones cannot be overridden."""
    return {
        **order.parameters,
        "EnvironmentId": order.environment,
        "Application": order.application,
        "CodeVersion": order.version,
        "ArtifactLocation": order.artifact,
        "ImageId": order.image,
        "InstanceCount": str(order.instance_count),
        "Controller": controller,
    }


def look_again(here: Settings, order: Order, workload: clients.Workload, token: str) -> str:
    """Looks once at the stack that stands under this name, and settles the wait if it is over. Returns its id."""
    metrics.add_metric(name="StacksLookedAtAgain", unit="Count", value=1)
    stack = stacks.describe(workload, stack_name(order.environment))
    if stack is None:
        raise RuntimeError("the stack vanished between two calls")  # retried by the state machine
    ours = is_ours(order.environment, here.controller, stack.tags)
    if not ours.granted:
        raise NotOurs(f"{stack.id} stands already: {ours.reason}")
    reply = answer("creation", stack.status, stack.status_reason)
    if reply and reply.error:
        reply = Answer(reply.error, stacks.why_failed(workload, stack.id, reply))
    if reply:
        executions.settle(token, reply, {"stack": stack.id})
    return stack.id
