"""Judges what a runner has answered, and ends the life of the environment that it tested with that."""

from typing import Any

from mayfly.contract.orders import Order
from mayfly.domain.records import Entry
from mayfly.domain.testing import judge_answer
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import testruns


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A runner that could not be started, or died, has broken its suite. A report that is left is read in any case."""
    settings, order = load_settings(), Order.read(event["order"])
    logger.append_keys(environment=order.environment)
    where, left, unreadable = testruns.read_report(settings, order.environment)
    kind = order.tested_by.type if order.tested_by else ""
    judged, log = judge_answer(kind, event.get("result"), event.get("error"), left)
    judged = unreadable or judged
    entry = Entry(event["now"], context.function_name, "tests judged", judged.reason)
    done = testruns.conclude(settings, order.environment, entry, judged, report=where, log=log, tests=left)
    return {"environment": order.environment, "outcome": judged.outcome, "reason": judged.reason, **done}
