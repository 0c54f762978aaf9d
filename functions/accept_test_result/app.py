"""Takes `Test Finished` from the bus or the topic and ends the environment's life with it."""

from typing import Any

from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.reader import Received, Refused, receive
from mayfly.contract.requests import TestFinished
from mayfly.contract.vocabulary import EndingCause, Outcome
from mayfly.domain.ending import refusal_of
from mayfly.domain.identity import environment_id
from mayfly.domain.records import Ending, Entry, Environment
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import environments, testruns


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A result that comes early, late, twice or for nobody changes nothing that another has decided."""
    settings = load_settings()
    received = receive(TestFinished, event)
    finished = received.message
    environment = finished.environment or environment_id(str(finished.release), str(finished.suite))
    logger.append_keys(environment=environment)
    records = Records(settings.table, Environment)
    record = environments.record_named(records, environment)
    received.check_application(record.application)
    if refusal := refusal_of(record, finished.outcome, finished.token, received.by_person):
        raise Refused(refusal)
    ending = ending_of(received)
    if record.runner:
        ending = testruns.with_report(settings, environment, ending)
    entry = Entry(utc_text(received.at), finished.finished_by or received.source, finished.event, ending.reason)
    done = environments.end(records, environment, ending, entry)
    return {"accepted": True, "environment": environment, **done}


def ending_of(received: Received[TestFinished]) -> Ending:
    """Returns the ending a result stands for, as the record keeps it."""
    finished = received.message
    said = f"the tests {finished.outcome}" + (f": {finished.reason}" if finished.reason else "")
    outcome = Outcome(finished.outcome)
    return Ending(EndingCause.TESTS, outcome, said, utc_text(received.at), finished.report)
