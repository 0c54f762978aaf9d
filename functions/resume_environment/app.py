"""Takes CloudFormation's status events and resumes the execution that waits for the stack."""

from typing import Any

from mayfly.aws import clients, executions, stacks
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.aws_events import StackStatus
from mayfly.contract.reader import receive
from mayfly.contract.vocabulary import UNKNOWN
from mayfly.domain.identity import environment_of
from mayfly.domain.records import Environment
from mayfly.domain.stack import PHASES, TaskResult, answer
from mayfly.domain.teardown import is_of_earlier
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import causes


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event that nobody waits for, of an older stack or a second time, changes nothing."""
    settings = load_settings()
    status = receive(StackStatus, event).message
    environment = environment_of(status.stack_id)
    logger.append_keys(environment=environment)
    record = Records(settings.table, Environment).get(environment) if environment else None
    if record is None or record.waiting is None:
        return {"environment": environment, "resumed": False, "reason": "nobody waits for this stack"}
    if (record.stack or status.stack_id) != status.stack_id:
        return {
            "environment": environment,
            "resumed": False,
            "reason": f"it is about an older stack than {record.stack}",
        }
    if record.stack is None and not is_where(record, status.stack_id):
        return {"environment": environment, "resumed": False, "reason": "it is about a stack at another target"}
    if status.details.status not in PHASES:
        # It counts as going on. An alarm tells people that CloudFormation has learnt something new.
        metrics.add_metric(name="UnknownStackStatuses", unit="Count", value=1)
    if is_of_earlier(status.request, record.deletions):
        return {"environment": environment, "resumed": False, "reason": "it is about an earlier deletion"}
    reply = answer(record.waiting.for_, status.details.status, status.details.reason)
    if reply is None:
        return {"environment": environment, "resumed": False, "reason": f"{status.details.status} ends no wait"}
    if reply.error:
        reply = explained(settings, str(environment), status.stack_id, reply) or reply
    resumed = executions.complete_task(record.waiting.token, reply, {"stack": status.stack_id})
    return {"environment": environment, "resumed": resumed, "reason": reply.reason}


def is_where(record: Environment, stack_id: str) -> bool:
    """Tells whether a stack is where its environment is built now. Where that is not known, it may be."""
    return record.account == UNKNOWN or stacks.is_at(stack_id, record.account, record.region)


def explained(settings: Settings, environment: str, stack_id: str, reply: TaskResult) -> TaskResult | None:
    """Adds the causes of a failure, which CloudFormation's events name, to the answer for a waiting execution.

    The stack's ARN says where to look: a record that was lost and begun anew by the deletion does not."""
    region, account = stack_id.split(":")[3:5]
    if (account, region) not in settings.targets:  # whatever an event says
        return None
    return causes.explained(clients.workload(account, region, settings.workload_role, environment), stack_id, reply)
