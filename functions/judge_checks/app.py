"""Takes Run Command's event, reads what the checks of an image said, and ends the proof with it. What the image says
that it consists of is kept for people to compare."""

from typing import Any

from msgspec.structs import asdict

from mayfly.aws import clients, commands
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.aws_events import CommandStatus
from mayfly.contract.reader import receive
from mayfly.contract.vocabulary import EndingCause, Outcome
from mayfly.domain.checks import Expected, judge_checks
from mayfly.domain.contents import read_contents
from mayfly.domain.records import Bake, Command, Ending, Entry, Environment
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import environments, image_contents


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A command that checks no image changes nothing; a second event reports the same, and the first report stands."""
    settings = load_settings()
    received = receive(CommandStatus, event)
    said = received.message
    pointer = Records(settings.table, Command).get(said.command)
    if pointer is None or not pointer.bake:
        return {"command": said.command, "judged": False, "reason": "it checks no image"}
    logger.append_keys(environment=pointer.environment, bake=pointer.bake)
    record = Records(settings.table, Bake).get(pointer.bake)
    workload = clients.workload(pointer.account, pointer.region, settings.workload_role, pointer.environment)
    answer = commands.read(workload, said.command, pointer.instance)
    if record and record.image and (contents := read_contents(answer.printed)):
        image_contents.keep(settings.reports, record.image, contents)
    checks = [Expected(**check) for check in record.checks] if record else []
    judgement = judge_checks(checks, answer.status, answer.printed)
    outcome = Outcome.PASSED if judgement.passed else Outcome.FAILED
    reason, at = f"the tests {outcome}: {judgement.reason[:1024]}", utc_text(received.at)
    entry = Entry(at, context.function_name, "checked", reason)
    ending = Ending(EndingCause.TESTS, outcome, reason, at)
    done = environments.end(Records(settings.table, Environment), pointer.environment, ending, entry)
    return {"command": said.command, "judged": True, **asdict(judgement), **done}
