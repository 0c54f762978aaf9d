"""Dead letters: what could not be followed is kept whole, with the reason, and counted."""

import json
import re
from typing import Any

from mayfly.aws.clients import controller
from mayfly.observability import logger, metrics

_NOT_FOR_SQS = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Characters that a message of SQS must not have, and JSON can say otherwise."""


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
