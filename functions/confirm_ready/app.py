"""Confirms that an environment is whole: its stack stands, and every instance runs the version that was pushed."""

import secrets
from collections.abc import Mapping
from typing import Any

from mayfly.aws import clients, instances, stacks
from mayfly.aws.groups import capacities
from mayfly.aws.records import Records
from mayfly.contract.orders import Order
from mayfly.contract.vocabulary import Wait
from mayfly.domain.boot import shortfall, wrong_versions
from mayfly.domain.ending import digest
from mayfly.domain.records import Entry, Environment
from mayfly.domain.stack import answer
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import load_settings

OUTPUT_BYTES = 64_000
NAMED = 500
"""Instances whose ids a record has room for."""
SHOWN = 3
"""Instances that are named where something is wrong with them."""


class NotReady(Exception):
    """Not yet, or never: the state machine looks again for a while."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """CREATE_COMPLETE says that all instances signalled; what they are doing now, only EC2 knows."""
    settings, order = load_settings(), Order.model_validate(event["order"])
    logger.append_keys(environment=order.environment)
    workload = clients.workload(order.account, order.region, settings.workload_role, order.environment)
    stack = stacks.describe(workload, event["stack"])
    reply = answer(Wait.CREATION, stack.status, stack.status_reason) if stack else None
    if stack is None or reply is None or reply.error:
        raise NotReady(f"the stack {event['stack']} is {stack.status if stack else 'gone'}")
    seen = instances.of_environment(workload, order.environment, settings.controller)
    running = [instance for instance in seen if instance.state == "running"]
    asked = order.instance_count
    groups = capacities(workload, order.environment) if asked is None else {}
    if lacking := shortfall({one.id: one.state for one in seen}, asked, groups):
        raise NotReady("; ".join(lacking[:SHOWN]))
    if wrong := wrong_versions({one.id: one.labels for one in running}, order.version, order.artifact):
        raise NotReady("; ".join(wrong[:SHOWN]))
    wanted = len(running) if asked is None else asked
    token = secrets.token_urlsafe(32)  # of a repetition another one: nobody has heard the first
    Records(settings.table, Environment).change(
        order.environment,
        Entry(event["now"], context.function_name, "ready", f"{len(running)} of {wanted} instances run"),
        outputs=shown(stack.outputs),
        instances_built=len(running),
        instances=sorted(instance.id for instance in running)[:NAMED],
        instance_count=len(running),
        ready_at=max([event["now"], *(utc_text(instance.launched_at) for instance in running)]),
        report_token=digest(token),
        **instances.counted(workload, order.environment, settings.controller, running),
    )
    return {
        "environment": order.environment,
        "instances": len(running),
        "outputs": dict(stack.outputs),
        "token": token,
    }


def shown(outputs: Mapping[str, str]) -> dict[str, str]:
    """A stack's outputs, as far as a record has room for them beside its history."""
    kept, size = dict[str, str](), 0
    for name, value in outputs.items():
        size += len(name.encode()) + len(value.encode())
        if size <= OUTPUT_BYTES:
            kept[name] = value
    return kept
