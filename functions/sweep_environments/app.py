"""Sweeps: finds environments that outlived their deadline, and ends them like all others."""

from typing import Any

import mayfly.contract.configuration
import mayfly.contract.requests  # noqa: F401 - read in each first call
from mayfly.aws.dead_letters import message_handler
from mayfly.contract.reader import receive_sweep
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import sweeps


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """By the schedule, by an event, or by hand."""
    return sweeps.run(load_settings(), receive_sweep(event), context.aws_request_id)
