"""Admits an environment to be built where there is room for it; the others wait in the queue, and for nothing else."""

from datetime import datetime
from typing import Any

from mayfly.contract.orders import Order
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import admission, quotas


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Completes the task at once where there is room. Otherwise whoever makes room does it."""
    order = Order.read(event["order"])
    order = order if event.get("moves") else order.staying()
    logger.append_keys(environment=order.environment)
    settings, now = load_settings(), datetime.fromisoformat(event["now"])
    quotas.look_first(settings, order)
    return admission.ask(settings, order, event["token"], now, context.function_name)
