"""Dead letters: what could not be followed is kept whole, with the reason, and counted."""

import json
from typing import Any

from mayfly.aws.clients import controller
from mayfly.observability import logger, metrics


def refuse(queue_url: str, door: str, reason: str, event: dict[str, Any]) -> dict[str, Any]:
    """Keeps a refused message and returns what its function answers.

    Args:
        queue_url: the dead-letter queue. door: the function that refused.
        reason: names field, value and what was expected. event: the message, whole, as it came.
    """
    controller("sqs").send_message(
        QueueUrl=queue_url, MessageBody=json.dumps({"door": door, "reason": reason, "message": event}, default=str)
    )
    metrics.add_metric(name="MessagesRefused", unit="Count", value=1)
    logger.warning("message refused", extra={"reason": reason})
    return {"accepted": False, "reason": reason}
