"""Rollouts as records and executions: planned, begun, announced, superseded. Whose turn it is, the queue decides."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from mayfly.aws import executions
from mayfly.aws.events import announce
from mayfly.aws.records import NEW, Conflict, Records, attr, forget_after
from mayfly.contract.announcements import RolloutFailed, RolloutSuperseded
from mayfly.contract.orders import Rollout as Order
from mayfly.contract.vocabulary import RolloutCause, RolloutStage
from mayfly.domain.records import Checkpoint, Entry, Rollout, Side
from mayfly.domain.records import Service as ServiceRecord
from mayfly.domain.rollout import RolloutAction, RolloutDecision, Setup
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings
from mayfly.workflows import services
from mayfly.workflows.services import Seen
from mayfly.workflows.standing import Service

type Plan = Mapping[str, Any]
"""The input of a rollout's execution."""

_WHO = "plan"
_PACE = {"checkpoints", "soak_minutes", "least_healthy_percent", "most_healthy_percent", "limit_minutes"}


def plan(
    service: Service, seen: Seen | None, record: ServiceRecord, decision: RolloutDecision, rollout: str
) -> dict[str, Any]:
    """All that a rollout needs to know."""
    creation = decision.cause == RolloutCause.CREATION.value
    before = record.setup or (services.setup_of(seen.stack) if seen and not creation else None)
    return Order.model_validate(
        {
            "rollout": rollout,
            "service": service.id,
            "application": service.application,
            "account": service.target[0],
            "region": service.target[1],
            "cause": decision.cause,
            "why": decision.reason,
            "before": None if creation else before,
            "after": decision.to,
            "template_version": seen.pinned if seen else services.FIRST,
        }
        | service.own.rollout.model_dump(include=_PACE)
    ).model_dump(mode="json")


def run(settings: Settings, plan: Plan, now: datetime) -> bool:
    """Sees to it that a rollout has a record and an execution. False where that is over already."""
    begin(settings, plan, RolloutStage.RUNNING, now)
    return executions.start(settings.rollout_machine, plan["rollout"], dict(plan))


def begin(settings: Settings, plan: Plan, stage: str, now: datetime) -> None:
    """Begins a rollout's record, or says of one that it runs now. One that has ended stays as it is."""
    facts: dict[str, Any] = {key: plan[key] for key in ("service", "application", "account", "region", "why", "cause")}
    if stage == RolloutStage.RUNNING:
        facts["started_at"] = utc_text(now)
    records = Records(settings.table, Rollout)
    born = {
        "id": plan["rollout"],
        "live": Rollout.kind.value,
        "born": records.born(utc_text(now)),
        "planned_at": utc_text(now),
        "percent": 0,
        "checkpoints": [Checkpoint(percent) for percent in plan["checkpoints"]],
        "forget_after": forget_after(utc_text(now), settings.record_days),
    }
    waits = attr(Rollout.stage).is_in([action.value for action in RolloutAction if action.waits])
    with suppress(Conflict):
        records.change(
            plan["rollout"],
            Entry(utc_text(now), _WHO, stage, plan["why"]),
            once=born,
            only_if=NEW | waits,
            stage=stage,
            from_=_side(plan["before"]),
            to=_side(plan["after"]),
            **facts,
        )


def supersede(settings: Settings, rollout: str, by: str, now: datetime) -> None:
    """Ends a rollout that waited, for a newer one, or because nobody wants it any more."""
    record = Records(settings.table, Rollout).change(
        rollout,
        Entry(utc_text(now), _WHO, RolloutStage.SUPERSEDED, by),
        stage=RolloutStage.SUPERSEDED,
        reason=f"superseded: {by}",
        ended_at=utc_text(now),
        drop=(Rollout.live,),
    )
    service = record.service if record else None
    announce(settings.facts, RolloutSuperseded(rollout=rollout, service=service, by=by))


def fail(settings: Settings, plan: Plan, reason: str, entry: Entry) -> None:
    """Ends a rollout whose execution ended without a verdict."""
    Records(settings.table, Rollout).change(
        plan["rollout"],
        entry,
        stage=RolloutStage.FAILED,
        reason=reason,
        ended_at=entry.at,
        drop=(Rollout.live, Rollout.waiting),
    )
    said = shown(plan) | {"outcome": RolloutStage.FAILED, "reason": reason}
    announce(settings.facts, RolloutFailed.model_validate(said))


def shown(plan: Plan) -> dict[str, Any]:
    """A rollout as it is announced."""
    said = {key: plan[key] for key in ("rollout", "service", "application", "account", "region", "cause", "why")}
    return said | {"from": _brief(plan["before"]), "to": _brief(plan["after"])}


def _brief(setup: Setup | None) -> dict[str, str] | None:
    return {"image": setup["image"], "version": setup["version"]} if setup else None


def _side(setup: Setup | None) -> Side | None:
    return Side(setup["image"], setup["version"]) if setup else None
