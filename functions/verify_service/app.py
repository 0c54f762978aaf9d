"""Verifies a permanent environment after its rollout: every instance as it should be, and nothing else."""

from typing import Any

from mayfly.aws import clients, stacks
from mayfly.aws.records import Records
from mayfly.contract.orders import Rollout
from mayfly.domain import tags
from mayfly.domain.records import Rollout as RolloutRecord
from mayfly.domain.rollout import unsettled
from mayfly.observability import logger
from mayfly.settings import load_settings
from mayfly.workflows import services

GROUP = "Fleet"
"""The group's logical id in a blueprint."""


class NotSettled(Exception):
    """The permanent environment is not as it should be yet, or never will be: the state machine looks again for a
    while."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Auto Scaling and CloudFormation have said that they are done. What runs, only the instances themselves say."""
    settings, plan, failed = load_settings(), Rollout.read(event["plan"]), bool(event["failure"])
    logger.append_keys(rollout=plan.rollout)
    record = Records(settings.table, RolloutRecord).get(plan.rollout)
    setup = plan.before if failed and plan.before else plan.after
    template = (record.template if record and not failed else None) or plan.template_version
    workload = clients.workload(plan.account, plan.region, settings.workload_role, plan.service, tags.SERVICE)
    seen = services.describe_service(workload, plan.service, settings.controller)
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
