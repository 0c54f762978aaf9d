"""Begins an environment's record and fixes its deadline; takes up what a sweep found nobody waiting for."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import lives
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.moment import text
from mayfly.messages import Order, Subject
from mayfly.observability import logger
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The deadline counts from the first time this runs: a repetition finds the record and gives the same."""
    here, now = settings(), datetime.fromisoformat(event["now"])
    subject = Subject.model_validate(event["order"])
    logger.append_keys(environment=subject.environment)
    begun = subject.begin == "creation"
    facts = ordered(Order.model_validate(event["order"]), now) if begun else taken_up(subject, now, here.record_days)
    entry = Entry(
        text(now), context.function_name, "planned" if begun else "taken up", subject.why or facts["deadline"]
    )
    keep_until = datetime.fromisoformat(facts["deadline"]) + timedelta(days=here.record_days)
    records = Records(here.table, "environment")
    try:
        record = records.begin(subject.environment, facts, entry, keep_until)
    except Conflict as conflict:
        # A later step may have begun it anew after it was lost, and then it lacks what a sweep needs.
        record = conflict.found if begun else records.change(subject.environment, {}, entry, once=facts)
    return {
        "environment": subject.environment,
        "deadline": record.get("deadline", facts["deadline"]),
        "begin": subject.begin,
    }


def ordered(order: Order, now: datetime) -> dict[str, Any]:
    """What is remembered of a new environment."""
    kept = {"release", "application", "version", "suite", "kind", "owner", "owner_topic"}
    kept |= {"account", "region", "image", "channel", "instance_count", "warn_minutes_before"}
    return order.model_dump(mode="json", include=kept) | {
        "stage": "planned",
        "planned_at": text(now),
        "deadline": text(now + timedelta(minutes=order.lifetime_minutes)),
        "ceiling": text(now + timedelta(minutes=order.ceiling_minutes)),
    }


def taken_up(subject: Subject, now: datetime, days: int) -> dict[str, Any]:
    """What is remembered of one whose record is lost: what its tags say."""
    return lives.anew(subject, text(subject.deadline or now), text(now), days) | {"stage": "taken up"}
