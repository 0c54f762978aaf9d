"""Launches a bake's builder; completes the task at once where the builder has stopped already."""

from datetime import datetime
from pathlib import Path
from typing import Any

from mayfly.aws import builders, clients, executions, instances, keys
from mayfly.aws.records import Records
from mayfly.contract.orders import Bake, Puppet
from mayfly.contract.vocabulary import BakeStage, Wait
from mayfly.domain import tags
from mayfly.domain.bake import builder_answer, made_of, of_builder, pointer_until, user_data
from mayfly.domain.records import Bake as BakeRecord
from mayfly.domain.records import Builder, Entry, Waiting
from mayfly.domain.room import Bucket
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import admission, puppet_access

SCRIPTS = Path(__file__).parent


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The builder stops itself when it is done, and EC2's event ends the wait. One look right after the launch covers a
    repetition, and an event that was faster than the record."""
    settings, plan, token = load_settings(), Bake.read(event["plan"]), event["token"]
    logger.append_keys(bake=plan.bake)
    records = Records(settings.table, BakeRecord)
    begun = records.change(
        plan.bake,
        Entry(event["now"], context.function_name, BakeStage.BUILDING, f"from {plan.builder.base_image}"),
        stage=BakeStage.BUILDING,
        waiting=Waiting(Wait.BUILDER, token),
    )
    if key := plan.builder.kms_key_id:  # before the proof, which Auto Scaling launches
        family = clients.workload(
            plan.account, plan.region, settings.workload_role, plan.bake, (tags.IMAGE_FAMILY, plan.family)
        )
        keys.grant_auto_scaling(family, key, plan.account)
    workload = clients.workload(plan.account, plan.region, settings.workload_role, plan.bake, tags.BAKE)
    labels = tags.of_builder(plan.bake, plan.family, settings.controller, plan.builder.expires_at)
    if not (begun and begun.builder):  # before it is launched: who dies in between has counted too much
        target, bucket = f"{plan.account}/{plan.region}", Bucket(plan.burst, plan.launches_a_second)
        admission.count_launches(settings, target, 1, bucket, datetime.fromisoformat(event["now"]))
    script, cleanup = ((SCRIPTS / name).read_text() for name in ("bake.sh", "cleanup.sh"))
    data = user_data(script, values(plan, cleanup) | access(settings, plan))
    instance = builders.launch(workload, plan.bake, plan.builder, data, labels)
    until = pointer_until(event["now"], settings.record_days)
    Records(settings.table, Builder).change(instance, bake=plan.bake, forget_after=until)
    records.change(
        plan.bake,
        builder=instance,
        log=of_builder(plan.builder.log, plan.account, plan.region, instance),
        made_of=made_of(plan.builder.base_image, ingredients(plan.builder.puppet), script, cleanup),
    )
    # EC2 may not know yet what it has just launched: that is pending, and not lost.
    seen = instances.describe(workload, instance)
    if seen and (reply := builder_answer(seen.state)):
        executions.complete_task(token, reply, {"builder": instance})
    return {"bake": plan.bake, "builder": instance}


def ingredients(puppet: Puppet) -> dict[str, str | None]:
    """Returns the digests of the code and the package that a builder runs, or which server compiles its catalogue."""
    server = f"{puppet.server}, environment {puppet.environment}" if puppet.server else None
    return {
        "code": puppet.sha256,
        "server": server,
        "package": (puppet.package or "").partition("#sha256=")[2] or puppet.package,
    }


def values(plan: Bake, cleanup: str) -> dict[str, str]:
    """Returns what the script on the builder is told; images/bake.sh says what each is."""
    puppet = plan.builder.puppet
    given = {
        "MAYFLY_BAKE": plan.bake,
        "MAYFLY_LOG": of_builder(plan.builder.log, plan.account, plan.region, "{instance}"),
        "MAYFLY_TIME_LIMIT": str(plan.builder.minutes * 60),
        "MAYFLY_MODE": puppet.mode,
        "MAYFLY_PUPPET_CODE": puppet.artifact,
        "MAYFLY_PUPPET_CODE_SHA256": puppet.sha256,
        "MAYFLY_MANIFEST": puppet.manifest,
        "MAYFLY_PUPPET_SERVER": puppet.server,
        "MAYFLY_PUPPET_ENVIRONMENT": puppet.environment,
        "MAYFLY_PUPPET_PACKAGE": puppet.package,
        "MAYFLY_CLEANUP": cleanup,
    }
    return {name: value for name, value in given.items() if value}


def access(settings: Settings, plan: Bake) -> dict[str, str]:
    """Returns what it needs so that a Puppet server signs its certificate."""
    if plan.builder.puppet.mode != "agent":
        return {}
    secret = puppet_access.secret(settings, plan.account, plan.bake)
    return {"MAYFLY_PUPPET_SECRET": secret, "MAYFLY_CONTROLLER": settings.controller} if secret else {}
