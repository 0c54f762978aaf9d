"""Has a permanent environment's stack made, or updated to what a step of its rollout needs."""

from typing import Any

from mayfly.aws import catalogue, clients, executions, services
from mayfly.aws.records import Entry, Records
from mayfly.domain import tags
from mayfly.domain.rollout import Step, request
from mayfly.messages import Rollout, Setup
from mayfly.observability import logger
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """CloudFormation's event ends the wait. Without one this runs again, and looks.

    An update makes a new version of the launch template, and leaves the group on the version that it pins: no instance
    starts with anything new before the instance refresh brings it, and going back finds the old version in place.
    """
    here, plan, step, token = settings(), Rollout.model_validate(event["plan"]), event["step"], event["token"]
    logger.append_keys(rollout=plan.rollout)
    records = Records(here.table, "rollout")
    before = records.get(plan.rollout) or {}
    again = (before.get("waiting") or {}).get("for") == step
    entry = None if again else Entry(event["now"], context.function_name, step, "")
    records.change(plan.rollout, {"waiting": {"for": step, "token": token}}, entry)
    workload = clients.workload(plan.account, plan.region, here.workload_role, plan.service, tags.SERVICE)
    reply = services.bring(workload, wish(here, plan, step, before), again)
    if reply:
        executions.settle(token, reply, {})
    return {"rollout": plan.rollout, "step": step, "reason": reply.reason if reply else "CloudFormation works on it"}


def wish(here: Settings, plan: Rollout, step: Step, record: dict[str, Any]) -> services.Wish:
    """What the stack is to be like at this step."""
    back = step == "return stack"
    setup: Setup = plan.before if back and plan.before else plan.after
    template = record.get("template", plan.template_version) if step == "settle" else plan.template_version
    own = setup.model_dump(mode="json")
    return services.Wish(
        plan.service,
        plan.application,
        here.controller,
        catalogue.template(here.blueprints, setup.blueprint) if setup.blueprint else None,
        services.parameters(own, plan.service, plan.application, here.controller, template),
        f"arn:aws:iam::{plan.account}:role/{here.stack_role}",
        request(plan.rollout, step),
    )
