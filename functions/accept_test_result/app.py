"""Takes `Test Finished` from the bus or the topic and ends the environment's life with it."""

from typing import Any

from mayfly.aws import executions
from mayfly.aws.letters import refuse
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.identity import environment_id
from mayfly.domain.moment import text
from mayfly.domain.stack import Answer
from mayfly.messages import Received, Refused, TestFinished, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The first ending that reaches the record stands. It is written before the execution is resumed, so a result
    that comes before the execution waits for one is found by it, and one that comes twice is only noted."""
    here = settings()
    try:
        received = receive(TestFinished, event)
    except Refused as refusal:
        return refuse(here.dead_letters, context.function_name, str(refusal), event)
    finished = received.message
    environment = finished.environment or environment_id(str(finished.release), str(finished.suite))
    logger.append_keys(environment=environment)
    records, ending = Records(here.table, "environment"), ending_of(received)
    entry = Entry(text(received.at), finished.finished_by or received.via, "Test Finished", ending["reason"])
    condition = "attribute_exists(pk) AND attribute_not_exists(ending)"
    try:
        record = records.change(environment, {"ending": ending}, entry, only_if=condition)
    except Conflict as conflict:
        record = conflict.found
        if not record:
            reason = f"environment: expected one that Mayfly built, but it is '{environment}'"
            return refuse(here.dead_letters, context.function_name, reason, event)
        ignored = f"ignored: {finished.outcome}; ended already by {record['ending']['by']}"
        records.note(environment, Entry(entry.at, entry.who, "Test Finished", ignored))

    # Also for a repetition: the first try may have died between the record and this.
    waits = (record.get("waiting") or {}).get("for") == "tests"
    resumed = waits and executions.settle(record["waiting"]["token"], Answer(None, ""), {})
    return {"accepted": True, "environment": environment, "resumed": bool(resumed)}


def ending_of(received: Received[TestFinished]) -> dict[str, str]:
    """The ending a result stands for, as the record keeps it."""
    finished = received.message
    said = f"the tests {finished.outcome}" + (f": {finished.reason}" if finished.reason else "")
    report = {"report": finished.report} if finished.report else {}
    return {"by": "tests", "outcome": finished.outcome, "reason": said, "at": text(received.at), **report}
