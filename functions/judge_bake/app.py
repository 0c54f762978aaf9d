"""Decides whether a bake passed, tags its image with that, and releases the family's lock for the next bake."""

from datetime import datetime
from typing import Any

from mayfly.aws import builders, clients
from mayfly.aws.records import Records
from mayfly.domain import tags
from mayfly.domain.bake import PROOF, BakeVerdict, judge_bake
from mayfly.domain.ending import by_failure, result_of
from mayfly.domain.records import Bake, Entry, Environment, Image, Suite
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import bakes


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Every bake that began ends here. What was proven is what the record of the proof's environment says."""
    settings, bake, name = load_settings(), event["bake"], event["family"]
    logger.append_keys(bake=bake)
    record = Records(settings.table, Bake).get(bake) or Bake(id=bake)
    image = record.image or ""
    verdict = verdict_of(settings, event)
    entry = Entry(event["now"], context.function_name, verdict.stage, verdict.reason)
    if image:
        plan = record.plan
        workload = clients.workload(plan["account"], plan["region"], settings.workload_role, bake, tags.BAKE)
        builders.label(workload, image, verdict.stage)
        Records(settings.table, Image).change(image, entry, stage=verdict.stage, drop=(Image.waiting,))
    Records(settings.table, Bake).change(
        bake, entry, stage=verdict.stage, reason=verdict.reason, drop=(Bake.live, Bake.waiting)
    )
    metrics.add_metric(name="ImagesProven" if verdict.proven else "ImagesRejected", unit="Count", value=1)
    following = bakes.give_turn(settings, bake, name, datetime.fromisoformat(event["now"]))
    return {
        "bake": bake,
        "family": name,
        "proven": verdict.proven,
        "reason": verdict.reason,
        "image": image,
        **{key: record.plan.get(key, "") for key in ("account", "region")},
        "base_image": record.base_image,
        "log": record.log,
        "following": following["bake"] if following else "",
    }


def verdict_of(settings: Settings, event: dict[str, Any]) -> BakeVerdict:
    """What the bake came to: the step that failed, or what the proof says."""
    if failure := event["failure"]:
        return judge_bake(by_failure(failure.get("Error", "Unknown"), failure.get("Cause", "")).reason, None)
    environment = f"{event['bake']}-{PROOF}"
    proof = Records(settings.table, Environment).get(environment)
    return judge_bake(None, result_of(Suite(PROOF, environment), {environment: proof.ending} if proof else {}))
