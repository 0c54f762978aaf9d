"""Takes `Environment Extension Requested` and moves the deadline, up to the environment's ceiling."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import lives
from mayfly.aws.events import announce
from mayfly.aws.letters import door
from mayfly.aws.records import Entry, Records
from mayfly.domain.lease import Extension, extend
from mayfly.domain.moment import text
from mayfly.messages import EnvironmentExtensionRequested, Refused, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Against an ending in the same second there is one winner, and the record says which."""
    here = settings()
    received = receive(EnvironmentExtensionRequested, event)
    asked = received.message
    logger.append_keys(environment=asked.environment)
    records = Records(here.table, "environment")
    record = records.get(asked.environment)
    if record is None:
        raise Refused(f"environment: expected one that Mayfly built, but it is '{asked.environment}'")
    if "deadline" not in record:
        reason = f"environment: expected one whose deadline is known, but the record of '{asked.environment}' was lost"
        raise Refused(reason)

    repeated = record.get("extended_by") == received.via and not record.get("ending")
    extension = again(record) if repeated else decide(record, received.at, asked.minutes)
    who = {"at": text(received.at), "who": asked.requested_by, "what": "Environment Extension Requested"}
    after = text(extension.deadline)
    if repeated:
        lives.tell_extended(record)
    elif extension.granted:
        entry = Entry(**who, why=f"{asked.why}: {extension.reason}")
        if not lives.extend(records, asked.environment, record["deadline"], after, received.via, entry):
            extension = Extension(False, extension.deadline, "it was ended, or extended by another, in the same moment")
    if not extension.granted:
        records.note(asked.environment, Entry(**who, why=f"refused: {extension.reason}"))
        return {"accepted": False, "environment": asked.environment, "reason": extension.reason}
    detail = {key: record.get(key) for key in ("release", "application", "version", "suite", "owner")}
    detail |= {"environment": asked.environment, "deadline": after, "ceiling": record["ceiling"]}
    announce(here.bus, "Environment Extended", detail | {"by": asked.requested_by, "why": asked.why})
    return {"accepted": True, "environment": asked.environment, "deadline": after, "reason": extension.reason}


def again(record: dict[str, Any]) -> Extension:
    """What a message that comes a second time has been granted: the first try may have died before it told anybody."""
    return Extension(True, datetime.fromisoformat(record["deadline"]), "granted already")


def decide(record: dict[str, Any], now: datetime, minutes: int) -> Extension:
    """Whether this environment may live longer."""
    if ending := record.get("ending"):
        return Extension(False, now, f"it was ended by {ending['by']}: {ending['reason']}")
    deadline, ceiling = (datetime.fromisoformat(record[key]) for key in ("deadline", "ceiling"))
    return extend(deadline, ceiling, now, timedelta(minutes=minutes))
