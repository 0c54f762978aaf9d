"""Confirms that an environment is whole: its stack stands and every instance runs."""

from typing import Any

from mayfly.aws import clients, stacks
from mayfly.aws.records import Entry, Records
from mayfly.domain.stack import answer
from mayfly.messages import Order
from mayfly.observability import logger
from mayfly.settings import settings


class NotReady(Exception):
    """Not yet, or never: the state machine looks again for a while."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """CREATE_COMPLETE says that all instances signalled; what they are doing now, only EC2 knows."""
    here, order = settings(), Order.model_validate(event["order"])
    logger.append_keys(environment=order.environment)
    workload = clients.workload(order.account, order.region, here.workload_role, order.environment)
    stack = stacks.describe(workload, event["stack"])
    reply = answer("creation", stack.status, stack.status_reason) if stack else None
    if stack is None or reply is None or reply.error:
        raise NotReady(f"the stack {event['stack']} is {stack.status if stack else 'gone'}")
    instances = stacks.instances(workload, order.environment, here.controller)
    running = [instance for instance in instances if instance.state == "running"]
    if len(running) != order.instance_count:
        raise NotReady(f"{len(running)} of {order.instance_count} instances run")
    Records(here.table, "environment").change(
        order.environment,
        {"outputs": dict(stack.outputs), "instances_built": len(running)}
        | stacks.counted(workload, order.environment, here.controller, running),
        Entry(event["now"], context.function_name, "ready", f"{len(running)} of {order.instance_count} instances run"),
    )
    return {"environment": order.environment, "instances": len(running), "outputs": dict(stack.outputs)}
