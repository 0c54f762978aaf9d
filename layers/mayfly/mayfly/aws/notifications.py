"""Sends notifications through SNS: mail and chats get the words that each can show."""

import json
from collections.abc import Mapping

from mayfly.aws.clients import controller
from mayfly.domain.notification import Notification


def publish(topic: str, notification: Notification, attributes: Mapping[str, str]) -> None:
    """Publishes once for all ways: mail as it is, and HTTPS, which is how a chat subscribes, in the chat's own form.

    Args:
        attributes: what a subscription can filter by.
    """
    message = {"default": notification.text, "email": notification.text, "https": notification.for_chat()}
    controller("sns").publish(
        TopicArn=topic,
        Subject=notification.subject,
        Message=json.dumps(message),
        MessageStructure="json",
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )
