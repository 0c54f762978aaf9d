"""Takes `Environment Termination Requested` and ends the environment's life now, whatever it waits for."""

from typing import Any

from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.reader import receive
from mayfly.contract.requests import EnvironmentTerminationRequested
from mayfly.contract.vocabulary import EndingCause, Outcome
from mayfly.domain.records import Ending, Entry, Environment
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import environments


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request ends what is being built as well: what nobody wants any more need not be built to its end."""
    settings = load_settings()
    received = receive(EnvironmentTerminationRequested, event)
    asked, at = received.message, utc_text(received.at)
    logger.append_keys(environment=asked.environment)
    records = Records(settings.table, Environment)
    received.check_application(environments.record_named(records, asked.environment).application)
    if asked.again:
        entry = Entry(at, asked.requested_by, asked.event, f"again: {asked.why}")
        environments.end_again(settings, asked.environment, entry, received.at)
        return {"accepted": True, "environment": asked.environment, "begun_again": True}
    ending = Ending(EndingCause.REQUEST, Outcome.CANCELLED, f"{asked.requested_by}: {asked.why}", at)
    entry = Entry(at, asked.requested_by, asked.event, asked.why)
    done = environments.end(records, asked.environment, ending, entry)
    return {"accepted": True, "environment": asked.environment, **done}
