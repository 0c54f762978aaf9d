"""Notes to people, through SNS: each way gets the words that it can show."""

import json

from mayfly.aws.clients import controller
from mayfly.domain.telling import Telling


def publish(topic: str, telling: Telling) -> None:
    """Publishes once for all ways: mail as it is, and HTTPS, which is how a chat subscribes, in the chat's own form."""
    message = {"default": telling.text, "email": telling.text, "https": telling.for_chat()}
    controller("sns").publish(
        TopicArn=topic, Subject=telling.subject, Message=json.dumps(message), MessageStructure="json"
    )
