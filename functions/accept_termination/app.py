"""Takes `Environment Termination Requested` and ends the environment's life now, whatever it waits for."""

from typing import Any

from mayfly.aws import lives
from mayfly.aws.letters import door
from mayfly.aws.records import Entry, Records
from mayfly.domain.moment import text
from mayfly.messages import EnvironmentTerminationRequested, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request ends what is being built as well: what nobody wants any more need not be built to its end."""
    here = settings()
    received = receive(EnvironmentTerminationRequested, event)
    asked, at = received.message, text(received.at)
    logger.append_keys(environment=asked.environment)
    ending = {"by": "request", "outcome": "cancelled", "reason": f"{asked.requested_by}: {asked.why}", "at": at}
    entry = Entry(at, asked.requested_by, "Environment Termination Requested", asked.why)
    done = lives.end(Records(here.table, "environment"), asked.environment, ending, entry)
    return {"accepted": True, "environment": asked.environment, **done}
