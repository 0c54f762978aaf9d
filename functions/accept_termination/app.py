"""Takes `Environment Termination Requested` and ends the environment's life now, whatever it waits for."""

from typing import Any

from mayfly.aws import lives
from mayfly.aws.letters import refuse
from mayfly.aws.records import Entry, Records
from mayfly.domain.moment import text
from mayfly.messages import EnvironmentTerminationRequested, Refused, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request ends what is being built as well: what nobody wants any more need not be built to its end."""
    here = settings()
    try:
        received = receive(EnvironmentTerminationRequested, event)
    except Refused as refusal:
        return refuse(here.dead_letters, context.function_name, str(refusal), event)
    asked, at = received.message, text(received.at)
    logger.append_keys(environment=asked.environment)
    ending = {"by": "request", "outcome": "cancelled", "reason": f"{asked.requested_by}: {asked.why}", "at": at}
    entry = Entry(at, asked.requested_by, "Environment Termination Requested", asked.why)
    try:
        done = lives.end(Records(here.table, "environment"), asked.environment, ending, entry)
    except lives.Unknown:
        reason = f"environment: expected one that Mayfly built, but it is '{asked.environment}'"
        return refuse(here.dead_letters, context.function_name, reason, event)
    return {"accepted": True, "environment": asked.environment, **done}
