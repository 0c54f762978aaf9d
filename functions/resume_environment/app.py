"""Takes CloudFormation's status events and resumes the execution that waits for the stack."""

from typing import Any

from mayfly.aws import clients, executions, stacks
from mayfly.aws.letters import door
from mayfly.aws.records import Records
from mayfly.domain.identity import environment_of
from mayfly.domain.stack import Answer, answer
from mayfly.messages import StackStatus, receive
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event that nobody waits for, of an older stack or a second time, changes nothing."""
    here = settings()
    status = receive(StackStatus, event).message
    environment = environment_of(status.stack_id)
    logger.append_keys(environment=environment)
    record = Records(here.table, "environment").get(environment) if environment else None
    if not record or not record.get("waiting"):
        return {"environment": environment, "resumed": False, "reason": "nobody waits for this stack"}
    if record.get("stack", status.stack_id) != status.stack_id:
        return {
            "environment": environment,
            "resumed": False,
            "reason": f"it is about an older stack than {record['stack']}",
        }
    reply = answer(record["waiting"]["for"], status.details.status, status.details.reason)
    if reply is None:
        return {"environment": environment, "resumed": False, "reason": f"{status.details.status} ends no wait"}
    if reply.error:
        reply = Answer(reply.error, why_failed(here, str(environment), status.stack_id, reply))
    resumed = executions.settle(record["waiting"]["token"], reply, {"stack": status.stack_id})
    return {"environment": environment, "resumed": resumed, "reason": reply.reason}


def why_failed(here: Settings, environment: str, stack_id: str, reply: Answer) -> str:
    """The reason with its causes, looked up only where something failed. Where to look, the stack's ARN says: a
    record that was lost and begun anew by the deletion does not."""
    region, account = stack_id.split(":")[3:5]
    return stacks.why_failed(clients.workload(account, region, here.workload_role, environment), stack_id, reply)
