"""Confirms that nothing is left of an environment, and closes its record."""

from dataclasses import asdict
from typing import Any

from mayfly.aws import clients, stacks
from mayfly.aws.records import Entry, Records
from mayfly.domain.ending import by_failure
from mayfly.domain.guard import may_terminate
from mayfly.messages import Order
from mayfly.observability import logger, metrics
from mayfly.settings import settings


class StillThere(Exception):
    """Something of the environment is left; the state machine looks again for a while."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Gone is what EC2 says is gone. An instance that outlived its stack is terminated here, if the guard permits."""
    here, order = settings(), Order.model_validate(event["order"])
    logger.append_keys(environment=order.environment)
    workload = clients.workload(order.account, order.region, here.workload_role, order.environment)
    stack = stacks.describe(workload, event["stack"]) if event["stack"] else None
    if stack and stack.status != "DELETE_COMPLETE":
        raise StillThere(f"the stack {stack.id} is {stack.status}")
    if left := stacks.instances(workload, order.environment):
        ours = [
            instance
            for instance in left
            if instance.state != "shutting-down"
            and may_terminate(order.environment, here.controller, instance.tags, termination_protection=False).granted
        ]
        if ours:
            stacks.terminate(workload, ours)
        raise StillThere(f"{len(left)} instances are left of it; {len(ours)} were terminated just now")
    record = Records(here.table, "environment").change(
        order.environment,
        {"stage": "terminated", "waiting": None, "terminated_at": event["now"], "instances_left": 0},
        Entry(event["now"], context.function_name, "terminated", "no stack and no instance is left"),
        # Only where the record was lost meanwhile: what is gone is gone, whatever the table remembers.
        once={"ending": asdict(by_failure("RecordLost", "why it ended is not known any more")) | {"at": event["now"]}},
    )
    metrics.add_metric(name="EnvironmentsTerminated", unit="Count", value=1)
    return {
        "environment": order.environment,
        "ending": record["ending"],
        "instances_built": record.get("instances_built", 0),
        "instances_left": 0,
    }
