"""Takes `Image Promotion Requested` and `Image Rollback Requested` and starts the channel's move, once."""

from typing import Any

import mayfly.contract.configuration  # noqa: F401 - read in each first call
from mayfly.aws.dead_letters import message_handler
from mayfly.contract.orders import Move
from mayfly.contract.reader import receive_any
from mayfly.contract.requests import ImagePromotionRequested, ImageRollbackRequested
from mayfly.domain.channel import move_id
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import catalogue, channels

type Request = ImagePromotionRequested | ImageRollbackRequested


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Its execution is named by the event's identity: a redelivered event starts nothing twice."""
    settings = load_settings()
    received = receive_any((ImagePromotionRequested, ImageRollbackRequested), event)
    asked = received.message
    catalogue.family(settings.parameters, asked.family)
    name = move_id(asked.family, asked.channel, received.via)
    logger.append_keys(move=name)
    started = channels.start(settings, name, move_of(asked), utc_text(received.at))
    return {"accepted": True, "move": name, "started": started}


def move_of(asked: Request) -> Move:
    """Returns what the execution is to do."""
    action = {"action": "roll back"} if isinstance(asked, ImageRollbackRequested) else {}
    return Move.read(asked.model_dump() | action)
