"""Sends refused messages to the dead-letter queue, whole and with the reason, and counts them."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from mayfly.aws.clients import controller
from mayfly.contract.reader import Refused
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings

type Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

_NOT_FOR_SQS = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Characters that a message of SQS must not have, and JSON can say otherwise."""


def message_handler(handler: Handler) -> Handler:
    """Sends refused messages (`Refused`) to the dead-letter queue, without retries. Whatever else goes wrong is an
    error, which Lambda retries and sends to its destination."""

    @wraps(handler)
    def keeping(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            return handler(event, context)
        except Refused as refusal:
            return refuse(load_settings().dead_letters, context.function_name, str(refusal), event)

    return keeping


def refuse(queue_url: str, function: str, reason: str, event: object) -> dict[str, Any]:
    """Keeps a refused message and returns what its function answers.

    Args:
        queue_url: the dead-letter queue. function: the name of the one that refused.
        reason: names field, value and what was expected. event: the message, whole, as it came.
    """
    # As short as JSON can be: an event may be as large as a message of SQS, and escapes would triple it.
    letter = json.dumps(
        {"function": function, "reason": reason, "message": event}, ensure_ascii=False, separators=(",", ":")
    )
    body = _NOT_FOR_SQS.sub(lambda found: f"\\u{ord(found[0]):04x}", letter)
    controller("sqs").send_message(QueueUrl=queue_url, MessageBody=body)
    metrics.add_metric(name="MessagesRefused", unit="Count", value=1)
    logger.warning("message refused", extra={"reason": reason})
    return {"accepted": False, "reason": reason}
