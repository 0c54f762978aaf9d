"""Has a bake's builder launched, and settles the wait at once where it has stopped already."""

from pathlib import Path
from typing import Any

from mayfly.aws import builders, clients, executions
from mayfly.aws.records import Entry, Records
from mayfly.domain import tags
from mayfly.domain.bake import builder_answer, pointer_until, user_data
from mayfly.messages import Bake
from mayfly.observability import logger
from mayfly.settings import settings

SCRIPTS = Path(__file__).parent


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The builder stops itself when it is done, and EC2's event ends the wait. One look right after the launch covers a
    repetition, and an event that was faster than the record."""
    here, plan, token = settings(), Bake.model_validate(event["plan"]), event["token"]
    logger.append_keys(bake=plan.bake)
    records = Records(here.table, "bake")
    records.change(
        plan.bake,
        {"stage": "building", "waiting": {"for": "builder", "token": token}},
        Entry(event["now"], context.function_name, "building", f"from {plan.builder.base_image}"),
    )
    workload = clients.workload(plan.account, plan.region, here.workload_role, plan.bake, tags.BAKE)
    labels = tags.of_builder(plan.bake, plan.family, here.controller, plan.builder.expires_at)
    script = (SCRIPTS / "bake.sh").read_text()
    instance = builders.launch(workload, plan.bake, plan.builder, user_data(script, values(plan)), labels)
    until = pointer_until(event["now"], here.record_days)
    Records(here.table, "builder").change(instance, {"bake": plan.bake, "forget_after": until})
    records.change(plan.bake, {"builder": instance})
    if reply := builder_answer(builders.look(workload, instance).state):
        executions.settle(token, reply, {"builder": instance})
    return {"bake": plan.bake, "builder": instance}


def values(plan: Bake) -> dict[str, str]:
    """What the script on the builder is told; images/bake.sh says what each is."""
    puppet = plan.builder.puppet
    given = {
        "MAYFLY_BAKE": plan.bake,
        "MAYFLY_LOG": plan.builder.log,
        "MAYFLY_TIME_LIMIT": str(plan.builder.minutes * 60),
        "MAYFLY_MODE": puppet.mode,
        "MAYFLY_PUPPET_CODE": puppet.artifact,
        "MAYFLY_PUPPET_CODE_SHA256": puppet.sha256,
        "MAYFLY_MANIFEST": puppet.manifest,
        "MAYFLY_PUPPET_SERVER": puppet.server,
        "MAYFLY_PUPPET_ENVIRONMENT": puppet.environment,
        "MAYFLY_PUPPET_PACKAGE": puppet.package,
        "MAYFLY_CLEANUP": (SCRIPTS / "cleanup.sh").read_text(),
    }
    return {name: value for name, value in given.items() if value}
