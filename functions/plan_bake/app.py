"""Plans a bake: whether it is its turn, from which base image, with which code, and how the image will be proven."""

from datetime import datetime, timedelta
from typing import Any

import mayfly.contract.template  # noqa: F401 - read in each first call
from mayfly.aws import clients
from mayfly.aws.records import Records
from mayfly.contract.configuration import Family, Puppet
from mayfly.contract.orders import Bake, Builder
from mayfly.contract.orders import Puppet as Recipe
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import BakeStage, SuiteKind
from mayfly.domain import tags
from mayfly.domain.bake import AFTER_BUILDER, PROOF, SCRIPT_MARGIN, Candidate, log_at, recipe
from mayfly.domain.identity import PROOF_APPLICATION
from mayfly.domain.records import Bake as BakeRecord
from mayfly.domain.records import Entry
from mayfly.domain.records import Family as FamilyRecord
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings, load_settings
from mayfly.workflows import bakes, catalogue


class Superseded(Exception):
    """Another bake of the family runs. One bake follows it, for all that asked meanwhile."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What the platform team configured wrongly is refused here, before anything is launched."""
    settings, bake, name, now = load_settings(), event["bake"], event["family"], datetime.fromisoformat(event["now"])
    logger.append_keys(bake=bake)
    family = catalogue.family(settings.parameters, name)
    target = catalogue.target(settings, family.account, family.region)
    builder_until = now + timedelta(minutes=family.bake_minutes) + SCRIPT_MARGIN
    until = builder_until + AFTER_BUILDER + timedelta(minutes=family.prove_minutes)
    records = Records(settings.table, BakeRecord)
    if running := bakes.take_turn(settings, bake, name, now, until):
        reason = f"{running.bake} runs until {running.bake_until} at the latest; one bake follows it"
        entry = Entry(utc_text(now), context.function_name, BakeStage.SUPERSEDED, reason)
        records.change(bake, entry, stage=BakeStage.SUPERSEDED, drop=(BakeRecord.live,))
        raise Superseded(reason)
    made_of = recipe(family.model_dump(mode="json"))
    entry = Entry(utc_text(now), context.function_name, "recipe", made_of)
    Records(settings.table, FamilyRecord).change(name, entry, recipe=made_of, recipe_of=bake)
    workload = clients.workload(*target, settings.workload_role, bake, tags.BAKE)
    base = bakes.find_base(workload, family.base, family.instance_type)
    builder = builder_of(bake, family, base, puppet_of(settings, name, family), utc_text(builder_until))
    rate = catalogue.launches(settings.parameters, target)
    planned = Bake(
        bake=bake,
        family=name,
        account=family.account,
        region=family.region,
        builder=builder,
        proof=proof(settings, bake, family, rate),
        **rate,
    ).plain()
    code = builder.puppet.artifact or f"the server {builder.puppet.server}"
    records.change(
        bake,
        Entry(utc_text(now), context.function_name, BakeStage.PLANNED, f"from {base.name}, with {code}"),
        stage=BakeStage.PLANNED,
        base_image=base.id,
        plan=planned,
        checks=[check.model_dump() for check in family.checks],
    )
    return planned


def puppet_of(settings: Settings, name: str, family: Family) -> Puppet:
    """The Puppet code of a family: what was pushed takes the place of what is configured."""
    pushed = bakes.code_of(settings, name) if family.puppet.mode == "apply" else {}
    # With the location goes its checksum: the configured one belongs to the configured code.
    puppet = Puppet.model_validate(family.puppet.model_dump() | ({"sha256": None} | pushed if pushed else {}))
    if puppet.unverified:  # pushed to an earlier version, which asked for none
        raise Refused(f"the Puppet code that was pushed for {name}: {puppet.unverified}; push it again with it")
    return puppet


def builder_of(bake: str, family: Family, base: Candidate, puppet: Puppet, until: str) -> Builder:
    """The instance that is launched to build an image."""
    return Builder(
        base_image=base.id,
        root_device=base.root_device,
        kms_key_id=family.kms_key_ids.get(family.region),
        puppet=Recipe.read(puppet.model_dump()),
        log=log_at(family.logs, bake),
        minutes=family.bake_minutes,
        expires_at=until,
        **family.model_dump(include={"subnet", "security_groups", "instance_type", "instance_profile"}),
    )


def proof(settings: Settings, bake: str, family: Family, rate: dict[str, int]) -> dict[str, Any]:
    """The order of the environment that proves the image, all but the image. The checks are its tests."""
    building = catalogue.building(settings.blueprints, family.blueprint, family.parameters, 1)
    needs = catalogue.needs(
        settings.blueprints, building | {"parameters": family.parameters}, (family.account, family.region)
    )
    return {
        "environment": f"{bake}-{PROOF}",
        "release": bake,
        "application": PROOF_APPLICATION,
        "version": bake,
        "artifact": "none",
        "suite": PROOF,
        "kind": SuiteKind.AUTOMATED,
        "lifetime_minutes": family.prove_minutes,
        "ceiling_minutes": family.prove_minutes,
        "warn_minutes_before": [],
        # A proof counts for what is reserved, and waits for quotas; ceilings are of applications.
        "demand": {"takes": dict(needs.takes), **rate},
        **building,
        **family.model_dump(include={"owner", "account", "region", "parameters"}),
    }
