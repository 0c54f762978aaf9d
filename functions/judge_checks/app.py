"""Takes Run Command's event, reads what the checks of an image said, and reports them like any other test."""

from dataclasses import asdict
from typing import Any

from mayfly.aws import clients, commands
from mayfly.aws.events import announce
from mayfly.aws.letters import door
from mayfly.aws.records import Records
from mayfly.domain.checks import Expected, judge
from mayfly.messages import CommandStatus, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A command that is not ours says nothing here; a second event reports the same, and the first report stands."""
    here = settings()
    said = receive(CommandStatus, event).message
    pointer = Records(here.table, "command").get(said.command)
    if pointer is None:
        return {"command": said.command, "judged": False, "reason": "it checks no image"}
    logger.append_keys(environment=pointer["environment"], bake=pointer["bake"])
    record = Records(here.table, "bake").get(pointer["bake"]) or {}
    workload = clients.workload(pointer["account"], pointer["region"], here.workload_role, pointer["environment"])
    answer = commands.read(workload, said.command, said.instance)
    judgement = judge([Expected(**check) for check in record.get("checks", [])], answer.status, answer.printed)
    announce(
        here.bus,
        "Test Finished",
        {
            "environment": pointer["environment"],
            "outcome": "passed" if judgement.passed else "failed",
            "reason": judgement.reason[:1024],
            "finished_by": context.function_name,
        },
    )
    return {"command": said.command, "judged": True, **asdict(judgement)}
