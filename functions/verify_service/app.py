"""Verifies a permanent environment after its rollout: every instance as it should be, and nothing else."""

from typing import Any

from mayfly.aws import clients, services, stacks
from mayfly.aws.records import Records
from mayfly.domain import tags
from mayfly.domain.rollout import unsettled
from mayfly.messages import Rollout
from mayfly.observability import logger
from mayfly.settings import settings

GROUP = "Fleet"
"""The group's logical id in a blueprint."""


class NotSettled(Exception):
    """Not yet, or never: the state machine looks again for a while."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Auto Scaling and CloudFormation have said that they are done. What runs, only the instances themselves say."""
    here, plan, failed = settings(), Rollout.model_validate(event["plan"]), bool(event["failure"])
    logger.append_keys(rollout=plan.rollout)
    record = Records(here.table, "rollout").get(plan.rollout) or {}
    setup = plan.before if failed and plan.before else plan.after
    template = plan.template_version if failed else record.get("template", plan.template_version)
    workload = clients.workload(plan.account, plan.region, here.workload_role, plan.service, tags.SERVICE)
    seen = services.look(workload, plan.service, here.controller)
    if seen is None or not seen.group:
        raise NotSettled(f"the stack of {plan.service} has no group of instances")
    wrong = unsettled(seen.members, setup.instance_count, setup.image, template, seen.group_template)
    if (seen.pinned, seen.stack.parameters.get("CodeVersion")) != (template, setup.version):
        wrong.append(f"the stack pins version {seen.pinned} of the launch template, {template} is expected")
    if not wrong:
        # Of the group, only what a rollout touches: what people changed besides is reported, and no fault of it.
        drifted = stacks.drift_of(workload, seen.stack.id, GROUP)
        wrong = [
            f"{path} of the group differs from the blueprint" for path in drifted if path.startswith("/LaunchTemp")
        ]
    if wrong:
        raise NotSettled("; ".join(wrong)[:2000])
    return {"rollout": plan.rollout, "instances": len(seen.members), "template": template}
