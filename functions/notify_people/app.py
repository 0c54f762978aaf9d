"""Notifies people of what happened, by mail and in chats, and the owner of the application."""

from typing import Any

from mayfly.aws import notifications
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.announcements import Heard
from mayfly.contract.reader import receive
from mayfly.domain.notification import notification_of
from mayfly.domain.records import Environment, Release
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Its rule lets through what may be for people; which words, and who is told besides, is decided here."""
    settings = load_settings()
    detail = receive(Heard, event).message.detail
    notification = notification_of(event["detail-type"], detail, settings.console)
    if notification is None:
        return {"told": [], "reason": f"{event['detail-type']} is not for people"}
    own = owner_topic(settings, detail) if notification.to_owner else None
    topics = [own] if own and notification.to_owner_alone else [settings.notifications, *([own] if own else [])]
    for topic in topics:
        notifications.publish(topic, notification, about(settings, str(event["detail-type"]), detail))
    return {"told": topics, "subject": notification.subject}


def about(settings: Settings, what: str, detail: dict[str, Any]) -> dict[str, str]:
    """Returns what a subscription's filter policy can ask for: who wants to hear of what they pushed alone says so
    there."""
    release = Records(settings.table, Release).get(detail["release"]) if detail.get("release") else None
    pushed_by = release.pushed_by if release else None
    known = {"event": what, "application": detail.get("application"), "pushed_by": pushed_by}
    return {name: str(value) for name, value in known.items() if value}


def owner_topic(settings: Settings, detail: dict[str, Any]) -> str | None:
    """Returns the topic of the application's owner, as the record of an environment keeps it; None where there is
    none."""
    suites = detail.get("suites") or [{}]
    environment = detail.get("environment") or suites[0].get("environment")
    record = Records(settings.table, Environment).get(environment) if environment else None
    return record.owner_topic if record else None
