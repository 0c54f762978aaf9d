"""Dead letters: what could not be followed is kept whole, with the reason, and counted."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from mayfly.aws.clients import controller
from mayfly.messages import Refused
from mayfly.observability import logger, metrics
from mayfly.settings import settings

type Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

_NOT_FOR_SQS = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Characters that a message of SQS must not have, and JSON can say otherwise."""


def door(handler: Handler) -> Handler:
    """Makes a handler one that takes messages: what it refuses (`Refused`) is kept, and repeated by nobody. Whatever
    else goes wrong is an error, and Lambda's retries and destination see to it."""

    @wraps(handler)
    def keeping(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            return handler(event, context)
        except Refused as refusal:
            return refuse(settings().dead_letters, context.function_name, str(refusal), event)

    return keeping


def refuse(queue_url: str, door: str, reason: str, event: object) -> dict[str, Any]:
    """Keeps a refused message and returns what its function answers.

    Args:
        queue_url: the dead-letter queue. door: the function that refused.
        reason: names field, value and what was expected. event: the message, whole, as it came.
    """
    # As short as JSON can be: an event may be as large as a message of SQS, and escapes would triple it.
    letter = json.dumps({"door": door, "reason": reason, "message": event}, ensure_ascii=False, separators=(",", ":"))
    body = _NOT_FOR_SQS.sub(lambda found: f"\\u{ord(found[0]):04x}", letter)
    controller("sqs").send_message(QueueUrl=queue_url, MessageBody=body)
    metrics.add_metric(name="MessagesRefused", unit="Count", value=1)
    logger.warning("message refused", extra={"reason": reason})
    return {"accepted": False, "reason": reason}
