"""Takes `Environment Extension Requested` and moves the deadline, up to the environment's ceiling."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws.dead_letters import message_handler
from mayfly.aws.events import announce
from mayfly.aws.records import Records
from mayfly.contract.announcements import EnvironmentExtended
from mayfly.contract.reader import Refused, receive
from mayfly.contract.requests import EnvironmentExtensionRequested
from mayfly.domain.lease import MOST_EXTENSIONS, Extension, extend
from mayfly.domain.records import Entry, Environment
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import environments


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Against an ending in the same second there is one winner, and the record says which."""
    settings = load_settings()
    received = receive(EnvironmentExtensionRequested, event)
    asked = received.message
    logger.append_keys(environment=asked.environment)
    records = Records(settings.table, Environment)
    record = environments.record_named(records, asked.environment)
    received.check_application(record.application)
    if record.was_lost:
        reason = f"environment: expected one whose deadline is known, but the record of '{asked.environment}' was lost"
        raise Refused(reason)

    repeated = environments.was_extended_by(record, received.via) and not record.ending
    extension = again(record) if repeated else decide_extension(record, received.at, asked.minutes)
    who = {"at": utc_text(received.at), "who": asked.requested_by, "what": asked.event}
    after = utc_text(extension.deadline)
    if repeated:
        environments.tell_extended(record)
    elif extension.granted:
        entry = Entry(**who, why=f"{asked.why}: {extension.reason}")
        if not environments.extend(records, record, after, received.via, entry):
            extension = Extension(False, extension.deadline, "it was ended, or extended by another, at the same time")
    if not extension.granted:
        records.note(asked.environment, Entry(**who, why=f"refused: {extension.reason}"))
        return {"accepted": False, "environment": asked.environment, "reason": extension.reason}
    ceiling = str(record.ceiling)
    extended = EnvironmentExtended(
        **environments.facts(record), deadline=after, ceiling=ceiling, by=asked.requested_by, why=asked.why
    )
    announce(settings.facts, extended)
    return {"accepted": True, "environment": asked.environment, "deadline": after, "reason": extension.reason}


def again(record: Environment) -> Extension:
    """Returns what a message that comes a second time has been granted: the first try may have died before it told
    anybody."""
    return Extension(True, datetime.fromisoformat(str(record.deadline)), "granted already")


def decide_extension(record: Environment, now: datetime, minutes: int) -> Extension:
    """Tells whether this environment may live longer."""
    if record.ending:
        return Extension(False, now, f"it was ended by {record.ending.by}: {record.ending.reason}")
    deadline, ceiling = (datetime.fromisoformat(str(at)) for at in (record.deadline, record.ceiling))
    most = MOST_EXTENSIONS if record.most_extensions is None else record.most_extensions
    return extend(deadline, ceiling, now, timedelta(minutes=minutes), most - len(record.extensions))
