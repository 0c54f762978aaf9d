"""Plans a bake: whether it is its turn, from which base image, with which code, and how the image will be proven."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import bakes, builders, catalogue, clients
from mayfly.aws.records import Entry, Records
from mayfly.domain import tags
from mayfly.domain.bake import AFTER_BUILDER, PROOF, PROOF_APPLICATION, SCRIPT_MARGIN, Candidate
from mayfly.domain.moment import text
from mayfly.messages import Bake, Builder, Family, Puppet
from mayfly.observability import logger
from mayfly.settings import Settings, settings


class Superseded(Exception):
    """Another bake of the family runs. One bake follows it, for all that asked meanwhile."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What the platform team configured wrongly is refused here, before anything is launched."""
    here, bake, name, now = settings(), event["bake"], event["family"], datetime.fromisoformat(event["now"])
    logger.append_keys(bake=bake)
    family = catalogue.family(here.parameters, name)
    place = catalogue.place(here, family.account, family.region)
    builder_until = now + timedelta(minutes=family.bake_minutes) + SCRIPT_MARGIN
    until = builder_until + AFTER_BUILDER + timedelta(minutes=family.prove_minutes)
    records = Records(here.table, "bake")
    if running := bakes.take_turn(here, bake, name, now, until):
        reason = f"{running['bake']} runs until {running['bake_until']} at the latest; one bake follows it"
        entry = Entry(text(now), context.function_name, "superseded", reason)
        records.change(bake, {"stage": "superseded"}, entry, drop=("live",))
        raise Superseded(reason)
    base = builders.find_base(clients.workload(*place, here.workload_role, bake, tags.BAKE), family.base)
    builder = builder_of(here, bake, name, family, base, text(builder_until))
    planned = Bake(
        bake=bake,
        family=name,
        account=family.account,
        region=family.region,
        builder=builder,
        proof=proof(here, bake, family),
    ).model_dump(mode="json")
    facts: dict[str, Any] = {"stage": "planned", "base_image": base.id, "log": builder.log, "plan": planned}
    facts["checks"] = [check.model_dump() for check in family.checks]
    code = builder.puppet.artifact or f"the server {builder.puppet.server}"
    records.change(bake, facts, Entry(text(now), context.function_name, "planned", f"from {base.name}, with {code}"))
    return planned


def builder_of(here: Settings, bake: str, name: str, family: Family, base: Candidate, until: str) -> Builder:
    """What is launched. Pushed Puppet code takes the place of the configured one."""
    pushed = bakes.code_of(here, name) if family.puppet.mode == "apply" else {}
    # With the location goes its checksum: the configured one belongs to the configured code.
    puppet = family.puppet.model_dump() | ({"sha256": None} | pushed if pushed else {})
    return Builder(
        base_image=base.id,
        root_device=base.root_device,
        kms_key_id=family.kms_key_ids.get(family.region),
        puppet=Puppet.model_validate(puppet),
        log=f"{family.logs}/{bake}.log",
        minutes=family.bake_minutes,
        expires_at=until,
        **family.model_dump(include={"subnet", "security_groups", "instance_type", "instance_profile"}),
    )


def proof(here: Settings, bake: str, family: Family) -> dict[str, Any]:
    """The order of the environment that proves the image, all but the image. The checks are its tests."""
    return {
        "environment": f"{bake}-{PROOF}",
        "release": bake,
        "application": PROOF_APPLICATION,
        "version": bake,
        "artifact": "none",
        "suite": PROOF,
        "kind": "automated",
        "blueprint": catalogue.pin(here.blueprints, family.blueprint).model_dump(),
        "instance_count": 1,
        "lifetime_minutes": family.prove_minutes,
        "ceiling_minutes": family.prove_minutes,
        "warn_minutes_before": [],
        **family.model_dump(include={"owner", "account", "region", "parameters"}),
    }
