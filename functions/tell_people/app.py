"""Tells people what happened: by mail and in chats, and the owner of the application that it happened to."""

from typing import Any

from mayfly.aws import notes
from mayfly.aws.letters import door
from mayfly.aws.records import Records
from mayfly.domain.telling import tell
from mayfly.messages import Announcement, receive
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Its rule lets through what may be for people; which words, and who is told besides, is decided here."""
    here = settings()
    detail = receive(Announcement, event).message.model_dump(exclude_none=True)
    telling = tell(event["detail-type"], detail, here.console)
    if telling is None:
        return {"told": [], "reason": f"{event['detail-type']} is not for people"}
    topics = [here.notifications]
    if telling.to_owner and (topic := owner_topic(here, detail)):
        topics.append(topic)
    for topic in topics:
        notes.publish(topic, telling)
    return {"told": topics, "subject": telling.subject}


def owner_topic(here: Settings, detail: dict[str, Any]) -> str | None:
    """The topic of the application's owner, as the record of an environment keeps it; None where there is none."""
    suites = detail.get("suites") or [{}]
    environment = detail.get("environment") or suites[0].get("environment")
    record = Records(here.table, "environment").get(environment) if environment else None
    return (record or {}).get("owner_topic")
