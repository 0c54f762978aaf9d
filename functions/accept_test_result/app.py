"""Takes `Test Finished` from the bus or the topic and ends the environment's life with it."""

from typing import Any

from mayfly.aws import lives
from mayfly.aws.letters import door
from mayfly.aws.records import Entry, Records
from mayfly.domain.identity import environment_id
from mayfly.domain.moment import text
from mayfly.messages import Received, TestFinished, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A result that comes early, late, twice or for nobody changes nothing that another has decided."""
    here = settings()
    received = receive(TestFinished, event)
    finished = received.message
    environment = finished.environment or environment_id(str(finished.release), str(finished.suite))
    logger.append_keys(environment=environment)
    ending = ending_of(received)
    entry = Entry(text(received.at), finished.finished_by or received.via, "Test Finished", ending["reason"])
    done = lives.end(Records(here.table, "environment"), environment, ending, entry)
    return {"accepted": True, "environment": environment, **done}


def ending_of(received: Received[TestFinished]) -> dict[str, str]:
    """The ending a result stands for, as the record keeps it."""
    finished = received.message
    said = f"the tests {finished.outcome}" + (f": {finished.reason}" if finished.reason else "")
    report = {"report": finished.report} if finished.report else {}
    return {"by": "tests", "outcome": finished.outcome, "reason": said, "at": text(received.at), **report}
