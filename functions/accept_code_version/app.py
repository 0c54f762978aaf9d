"""Takes `Code Version Pushed` from the bus or the topic and starts its release, once."""

from datetime import timedelta
from typing import Any

from mayfly.aws import executions
from mayfly.aws.letters import door
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.identity import release_id
from mayfly.domain.moment import text
from mayfly.messages import CodeVersionPushed, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The name of a release makes it unique: whatever is repeated, here or by a redelivery, starts nothing twice."""
    here = settings()
    received = receive(CodeVersionPushed, event)
    pushed = received.message
    release = release_id(pushed.application, pushed.version, pushed.attempt)
    logger.append_keys(release=release)
    records = Records(here.table, "release")
    facts = {**pushed.model_dump(), "stage": "requested"}
    entry = Entry(text(received.at), pushed.pushed_by or received.via, "Code Version Pushed", f"by {received.via}")
    try:
        record = records.begin(release, facts, entry, received.at + timedelta(days=here.record_days))
        if not record:
            raise RuntimeError("the table is lost: nothing is built without a record")  # a failure keeps the message
    except Conflict as conflict:
        record = conflict.found
        records.note(release, Entry(entry.at, entry.who, "pushed again", "ignored: this attempt is released already"))

    # After the record and not instead of it: a death between the two is mended by the redelivery. It starts what the
    # record says, whatever else was pushed under the same name meanwhile.
    first = {name: record[name] for name in CodeVersionPushed.model_fields.keys() & record.keys()}
    started = executions.start(here.release_machine, release, {"release": release, "pushed": first})
    return {"accepted": True, "release": release, "started": started}
