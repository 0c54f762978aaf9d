"""Decides whether a bake passed, tags its image with that, and releases the family's lock for the next bake."""

from datetime import datetime
from typing import Any

from mayfly.aws.records import Records
from mayfly.domain.records import Bake, Entry
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import bakes


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Every bake that began ends here. What was proven is what the record of the proof's environment says."""
    settings, bake, name = load_settings(), event["bake"], event["family"]
    logger.append_keys(bake=bake)
    entry = Entry(event["now"], context.function_name, "", "")
    verdict = bakes.conclude(settings, bake, event["failure"] or {}, entry, event.get("stays_open", False))
    metrics.add_metric(name="ImagesProven" if verdict.proven else "ImagesRejected", unit="Count", value=1)
    following = bakes.give_turn(settings, bake, name, datetime.fromisoformat(event["now"]))
    record = Records(settings.table, Bake).get(bake) or Bake(id=bake)
    said = bakes.shown(record, following) | {"family": name}
    return {"proven": verdict.proven, "reason": verdict.reason, **said}
