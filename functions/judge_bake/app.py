"""Gives the verdict over a bake, writes it onto the image, and lets the family's next bake have its turn."""

from datetime import datetime
from typing import Any

from mayfly.aws import bakes, builders, clients
from mayfly.aws.records import Entry, Records
from mayfly.domain import tags
from mayfly.domain.bake import PROOF, Verdict, judge
from mayfly.domain.ending import by_failure, result_of
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Every bake that began ends here. What was proven is what the record of the proof's environment says."""
    here, bake, name = settings(), event["bake"], event["family"]
    logger.append_keys(bake=bake)
    record = Records(here.table, "bake").get(bake) or {}
    image = record.get("image", "")
    verdict = verdict_of(here, event, record)
    entry = Entry(event["now"], context.function_name, verdict.stage, verdict.reason)
    if image:
        plan = record["plan"]
        workload = clients.workload(plan["account"], plan["region"], here.workload_role, bake, tags.BAKE)
        builders.label(workload, image, verdict.stage)
        Records(here.table, "image").change(image, {"stage": verdict.stage}, entry, drop=("waiting",))
    facts = {"stage": verdict.stage, "reason": verdict.reason}
    Records(here.table, "bake").change(bake, facts, entry, drop=("live", "waiting"))
    metrics.add_metric(name="ImagesProven" if verdict.proven else "ImagesRejected", unit="Count", value=1)
    following = bakes.give_turn(here, bake, name, datetime.fromisoformat(event["now"]))
    return {
        "bake": bake,
        "family": name,
        "proven": verdict.proven,
        "reason": verdict.reason,
        "image": image,
        **{key: record.get("plan", {}).get(key, "") for key in ("account", "region")},
        "base_image": record.get("base_image", ""),
        "log": record.get("log", ""),
        "following": following["bake"] if following else "",
    }


def verdict_of(here: Settings, event: dict[str, Any], record: dict[str, Any]) -> Verdict:
    """What the bake came to: the step that failed, or what the proof says."""
    if failure := event["failure"]:
        return judge(by_failure(failure.get("Error", "Unknown"), failure.get("Cause", "")).reason, None)
    environment = f"{event['bake']}-{PROOF}"
    ending = (Records(here.table, "environment").get(environment) or {}).get("ending")
    return judge(None, result_of(PROOF, environment, ending))
