"""Plans how a runner is started: what the tests have to know, in the form that the runner takes."""

from typing import Any

from mayfly.contract.orders import Order
from mayfly.domain.testing import filled, variables
from mayfly.observability import logger
from mayfly.settings import load_settings
from mayfly.workflows import testruns


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A document for who takes one, variables for who does not."""
    settings, order = load_settings(), Order.read(event["order"])
    logger.append_keys(environment=order.environment)
    runner = order.tested_by
    minutes = runner.minutes if runner else 0
    address = testruns.uploads(settings, order.environment, minutes).report
    token = event.get("token")
    known = testruns.document(order, event["deadline"], event["outputs"], report_url=address, token=token)
    named = variables(known)
    plan: dict[str, Any] = {
        "document": known,
        "variables": [{"Name": name, "Value": value, "Type": "PLAINTEXT"} for name, value in sorted(named.items())],
    }
    if runner and runner.type == "http":
        plan["request"] = {
            "body": filled(runner.body, known, named),
            "transform": {"RequestBodyEncoding": "URL_ENCODED" if runner.encoding == "form" else "NONE"},
        }
    return plan
