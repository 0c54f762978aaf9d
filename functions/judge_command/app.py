"""Takes Run Command's event and ends the life whose tests the command has run, with what they have shown."""

from typing import Any

from mayfly.aws.dead_letters import message_handler
from mayfly.contract.aws_events import CommandStatus
from mayfly.contract.reader import receive
from mayfly.domain.records import Entry
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import testruns


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A command that tests no environment changes nothing; a second event finds the life ended."""
    received = receive(CommandStatus, event)
    entry = Entry(utc_text(received.at), context.function_name, "tests judged", "")
    return testruns.conclude_command(load_settings(), received.message.command, entry)
