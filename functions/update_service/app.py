"""Creates a permanent environment's stack, or updates it to what a step of its rollout needs."""

from datetime import datetime
from typing import Any

from mayfly.aws import clients, executions, stacks
from mayfly.aws.records import Records
from mayfly.contract.orders import Rollout, Setup
from mayfly.contract.vocabulary import Wait
from mayfly.domain import tags
from mayfly.domain.records import Entry, Waiting
from mayfly.domain.records import Rollout as RolloutRecord
from mayfly.domain.rollout import heed_abort, request
from mayfly.domain.room import Bucket
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import admission, catalogue, puppet_access, rollouts, services


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """CloudFormation's event ends the wait. Without one this runs again, and looks.

    An update makes a new version of the launch template, and leaves the group on the version that it pins: no instance
    starts with anything new before the instance refresh brings it, and going back finds the old version in place.
    """
    settings, plan, step, token = (
        load_settings(),
        Rollout.read(event["plan"]),
        Wait(event["step"]),
        event["token"],
    )
    logger.append_keys(rollout=plan.rollout)
    records = Records(settings.table, RolloutRecord)
    before = rollouts.recall(settings, plan.plain(), datetime.fromisoformat(event["now"]))
    again = before is not None and before.waiting is not None and before.waiting.for_ == step
    entry = None if again else Entry(event["now"], context.function_name, step, "")
    record = records.change(plan.rollout, entry, waiting=Waiting(step, token))
    if record and step is Wait.SETTLE:
        heed_abort(record)
    if plan.before is None and step is Wait.PREPARE and not again:  # its stack launches them all
        target, bucket = f"{plan.account}/{plan.region}", Bucket(plan.burst, plan.launches_a_second)
        now = datetime.fromisoformat(event["now"])
        admission.count_launches(settings, target, plan.after.instance_count, bucket, now)
    workload = clients.workload(plan.account, plan.region, settings.workload_role, plan.service, tags.SERVICE)
    reply = services.bring(workload, wish(settings, plan, step, before), again)
    if reply:
        executions.complete_task(token, reply, {})
    return {"rollout": plan.rollout, "step": step, "reason": reply.reason if reply else "CloudFormation works on it"}


def wish(settings: Settings, plan: Rollout, step: Wait, record: RolloutRecord | None) -> services.Wish:
    """Returns what the stack is to be like at this step."""
    back = step is Wait.RETURN_STACK
    setup: Setup = plan.before if back and plan.before else plan.after
    template = (record.template if record and step is Wait.SETTLE else None) or plan.template_version
    body = catalogue.template(settings.blueprints, setup.blueprint) if setup.blueprint else None
    own = setup.plain()
    parameters = services.parameters(own, plan.service, plan.application, settings.controller, template)
    wanted = stacks.Wanted(
        body,
        parameters
        | puppet_access.of_environment(
            settings, body.text if body else "", setup.parameters, plan.account, plan.service
        ),
        f"arn:aws:iam::{plan.account}:role/{settings.permanent_role}",
        request(plan.rollout, step),
    )
    return services.Wish(plan.service, plan.application, settings.controller, wanted)
