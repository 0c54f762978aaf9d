"""Takes `Dead Letters Redrive Requested` and `Dead Letters Discard Requested` and follows them."""

from typing import Any

from mayfly.aws.dead_letters import message_handler
from mayfly.contract.reader import receive_any
from mayfly.contract.requests import DeadLettersDiscardRequested, DeadLettersRedriveRequested
from mayfly.contract.vocabulary import DeadLetterStage
from mayfly.domain.records import Entry
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import dead_letters


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A redelivered request finds nothing that waits any more, unless it came back."""
    settings = load_settings()
    received = receive_any((DeadLettersRedriveRequested, DeadLettersDiscardRequested), event)
    asked = received.message
    discards = isinstance(asked, DeadLettersDiscardRequested)
    stage = DeadLetterStage.DISCARDED if discards else DeadLetterStage.REDRIVEN
    work = dead_letters.discard if discards else dead_letters.redrive
    return {
        "accepted": True,
        **work(settings, asked, Entry(utc_text(received.at), asked.requested_by, stage, asked.why)),
    }
