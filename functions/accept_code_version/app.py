"""Takes `Code Version Pushed` from the bus or the topic and starts its release, once."""

from datetime import timedelta
from typing import Any

from mayfly.aws import executions
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Conflict, Records
from mayfly.contract.reader import receive
from mayfly.contract.requests import CodeVersionPushed
from mayfly.contract.vocabulary import ReleaseStage
from mayfly.domain.identity import release_id
from mayfly.domain.records import Entry, Release, plain
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings

LONGEST = timedelta(days=32)
"""A release's record is kept for so long at least: as long as its execution may run. Its verdict sets a new time."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The name of a release makes it unique: whatever is repeated, here or by a redelivery, starts nothing twice."""
    settings = load_settings()
    received = receive(CodeVersionPushed, event)
    pushed = received.message
    release = release_id(pushed.application, pushed.version, pushed.attempt)
    logger.append_keys(release=release)
    records = Records(settings.table, Release)
    who = received.claimed(pushed.pushed_by) if pushed.pushed_by else received.source
    entry = Entry(utc_text(received.at), who, pushed.event, received.sender)
    try:
        until = received.at + LONGEST + timedelta(days=settings.record_days)
        record = records.begin(release, entry, until, stage=ReleaseStage.REQUESTED, **pushed.model_dump())
        if record is None:
            raise RuntimeError("the table is lost: nothing is built without a record")  # a failure keeps the message
    except Conflict as conflict:
        record = conflict.found
        records.note(release, Entry(entry.at, entry.who, "pushed again", "ignored: this attempt is released already"))

    # After the record and not instead of it: a death between the two is mended by the redelivery. It starts what the
    # record says, whatever else was pushed under the same name meanwhile.
    said = plain(record)
    first = {name: said[name] for name in CodeVersionPushed.model_fields.keys() & said.keys()}
    started = executions.start(settings.release_machine, release, {"release": release, "pushed": first})
    return {"accepted": True, "release": release, "started": started}
