"""Begins an environment's record and fixes its deadline; an orphaned environment resumes at the step that is left."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from mayfly.aws.records import Conflict, Records
from mayfly.contract.orders import Order, Subject
from mayfly.contract.vocabulary import Begin, EnvironmentStage
from mayfly.domain.records import Entry, Environment
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import load_settings
from mayfly.workflows import admission, environments, superseding

_KEPT = (
    *("release", "application", "version", "suite", "owner", "owner_topic", "account", "region"),
    *("image", "channel", "warn_minutes_before", "most_extensions"),
)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The deadline counts from the first time this runs: a repetition finds the record and gives the same."""
    settings, now = load_settings(), datetime.fromisoformat(event["now"])
    subject = Subject.read(event["order"])
    logger.append_keys(environment=subject.environment)
    begun = Begin(subject.begin) is Begin.CREATION
    facts = adopted(subject, now, settings.record_days)
    if begun:
        order = Order.read(event["order"])
        order = order if event.get("moves") else order.staying()
        room = admission.reserved_at_once(settings, order, now) or admission.AtOnce({}, now, {})
        facts = ordered(order, now, room)
    what = EnvironmentStage.PLANNED if begun else EnvironmentStage.ADOPTED
    why = "; ".join([subject.why or facts["deadline"], *(room.said(now) if begun else ())])
    entry = Entry(utc_text(now), context.function_name, what, why)
    # As long as it may live; its end says until when it is kept from then on.
    keep_until = datetime.fromisoformat(facts["ceiling"]) + timedelta(days=settings.record_days)
    records = Records(settings.table, Environment)
    try:
        # Building stops where nothing is remembered, ending must not.
        write = records.begin if begun else records.try_begin
        record = write(subject.environment, entry, keep_until, **facts)
    except Conflict as conflict:
        if reserved := facts.get("reserved"):  # of a repetition: the first one has its own
            admission.let_go(settings, reserved)
        # A later step may have begun it anew after it was lost, and then it lacks what a sweep needs.
        record = conflict.found if begun else records.try_change(subject.environment, entry, once=facts)
    ended = bool(record and record.ending)
    if begun and not ended:
        ended = superseding.end_if_superseded(settings, order, utc_text(now), context.function_name)
    deadline = record.deadline if record and record.deadline else facts["deadline"]
    return {
        "environment": subject.environment,
        "deadline": deadline,
        "begin": subject.begin,
        "admitted": begun and bool(record and record.reserved) and not ended,
        # What its tests are told once it is ready. Of a repetition it is another one: nobody has heard the first.
        "token": secrets.token_urlsafe(32),
        **({"launch": record.launch_from} if record and record.launch_from else {}),
        **({"place": admission.place_of(record)} if begun and record else {}),
    }


def ordered(order: Order, now: datetime, room: admission.AtOnce) -> dict[str, Any]:
    """What is remembered of a new environment, whose lifetime begins when EC2 has tokens for it."""
    at = room.at
    return order.only(*_KEPT) | {
        "blueprint": order.blueprint.key,
        "instance_count": order.instance_count or 0,  # where the blueprint says, it is known once they run
        "suite_kind": order.kind,
        "runner": order.tested_by.type if order.tested_by else None,
        "stage": EnvironmentStage.PLANNED,
        "planned_at": utc_text(now),
        "deadline": utc_text(at + timedelta(minutes=order.lifetime_minutes)),
        "ceiling": utc_text(at + timedelta(minutes=order.ceiling_minutes)),
        "reserved": room.holds or None,
        "launch_from": utc_text(at) if at > now else None,
        **room.place,
    }


def adopted(subject: Subject, now: datetime, days: int) -> dict[str, Any]:
    """What is remembered of one whose record is lost: what its tags say."""
    known = environments.recreated(subject, utc_text(subject.deadline or now), utc_text(now), days)
    return known | {"stage": EnvironmentStage.ADOPTED}
