"""Begins an environment's record and fixes its deadline."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.moment import text
from mayfly.messages import Order
from mayfly.observability import logger
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The deadline counts from the first time this runs: a repetition finds the record and gives the same."""
    here, order = settings(), Order.model_validate(event["order"])
    logger.append_keys(environment=order.environment)
    now = datetime.fromisoformat(event["now"])
    deadline = now + timedelta(minutes=order.lifetime_minutes)
    facts = {
        **order.model_dump(mode="json", include={"release", "application", "version", "suite", "kind", "owner"}),
        **order.model_dump(mode="json", include={"account", "region", "image", "instance_count"}),
        "stage": "planned",
        "planned_at": text(now),
        "deadline": text(deadline),
    }
    entry = Entry(text(now), context.function_name, "planned", f"{order.lifetime_minutes} minutes to live")
    try:
        record = Records(here.table, "environment").begin(
            order.environment, facts, entry, deadline + timedelta(days=here.record_days)
        )
    except Conflict as conflict:
        record = conflict.found
    return {"environment": order.environment, "deadline": record["deadline"]}
