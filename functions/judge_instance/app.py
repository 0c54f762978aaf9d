"""Judges an instance that stopped because its boot failed: Auto Scaling replaces it, or its environment ends now."""

from typing import Any

from mayfly.aws import clients, executions, instances
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records, attr
from mayfly.contract.aws_events import InstanceState
from mayfly.contract.reader import receive
from mayfly.contract.vocabulary import Wait
from mayfly.domain import tags
from mayfly.domain.boot import decide_replacement, has_failed
from mayfly.domain.records import Entry, Environment
from mayfly.domain.stack import TaskResult
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What has stopped is replaced in any case. Counted is here, by one conditional write; a repetition counts once."""
    settings, received, target = load_settings(), receive(InstanceState, event), (event["account"], event["region"])
    found = look(settings, target, received.message.instance)
    environment = found.labels.get(tags.ENVIRONMENT, "") if found else ""
    records = Records(settings.table, Environment)
    record = records.get(environment) if environment else None
    if found is None or record is None or record.waiting is None or not record.waits_for(Wait.CREATION):
        return {"instance": received.message.instance, "judged": False, "reason": "no environment waits for its boot"}
    logger.append_keys(environment=environment)
    before, counted = record.failed_instances, attr(Environment.failed_instances)
    decision = decide_replacement(before, found.id, found.labels[tags.BOOT], record.replace_failed)
    # Another one that failed at the same time makes this one fail, and be tried again with what is then written.
    records.change(
        environment,
        Entry(utc_text(received.at), context.function_name, "instance failed", decision.reason),
        only_if=counted.eq(list(before)) if before else counted.not_exists(),
        failed_instances=decision.failed,
    )
    if not decision.granted:
        executions.complete_task(record.waiting.token, TaskResult("CreationFailed", decision.reason), {})
    return {"instance": found.id, "judged": True, "replaced": decision.granted, "reason": decision.reason}


def look(settings: Settings, target: tuple[str, str], instance: str) -> instances.Instance | None:
    """The instance, if it is one of ours that says that its boot failed."""
    if target not in settings.targets:
        return None
    found = instances.describe(clients.workload(*target, settings.workload_role, None), instance)
    ours = found is not None and found.labels.get(tags.CONTROLLER) == settings.controller
    return found if found and ours and has_failed(found.labels) else None
