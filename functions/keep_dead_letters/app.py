"""Keeps each message of the dead-letter queue as a record, whoever sent it."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from msgspec.structs import asdict

from mayfly.contract.dead_letters import read
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import dead_letters

_processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> Any:
    """Each dead letter for itself: what could not be kept stays in the queue, and comes again."""
    return process_partial_response(event=event, record_handler=keep, processor=_processor, context=context)


def keep(record: SQSRecord) -> None:
    """Keeps one dead letter, counted once."""
    attributes = {name: str(said["stringValue"]) for name, said in record["messageAttributes"].items()}
    letter = read(record.body, attributes, record.message_id)
    sent = datetime.fromtimestamp(int(record.attributes.sent_timestamp or 0) / 1000, UTC)
    if dead_letters.keep(load_settings(), letter, record.message_id, sent):
        metrics.add_metric(name="DeadLetters", unit="Count", value=1)
        logger.warning("dead letter", extra={name: said for name, said in asdict(letter).items() if name != "message"})
