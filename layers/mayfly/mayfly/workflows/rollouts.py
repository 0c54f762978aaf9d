"""Rollouts as records and executions: planned, begun, announced, superseded. Whose turn it is, the queue decides."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import executions
from mayfly.aws.attempts import going_on
from mayfly.aws.events import announce
from mayfly.aws.records import NEW, Conflict, Records, attr, forget_after
from mayfly.contract.announcements import RolloutCompleted, RolloutFailed, RolloutRolledBack, RolloutSuperseded
from mayfly.contract.orders import Rollout as Order
from mayfly.contract.vocabulary import RolloutCause, RolloutStage
from mayfly.domain.records import Checkpoint, Entry, Rollout, Side, plain
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
_SUPERSEDED = "superseded: "
_GRACE = timedelta(minutes=15)
"""In which what was said is heard, and closes the record."""
_OUTCOMES: Mapping[str | None, type[RolloutCompleted | RolloutRolledBack | RolloutFailed]] = {
    RolloutStage.COMPLETED: RolloutCompleted,
    RolloutStage.ROLLED_BACK: RolloutRolledBack,
    RolloutStage.FAILED: RolloutFailed,
}
_PACE = {"checkpoints", "soak_minutes", "least_healthy_percent", "most_healthy_percent", "limit_minutes"}


def plan(
    service: Service, seen: Seen | None, record: ServiceRecord, decision: RolloutDecision, rollout: str
) -> dict[str, Any]:
    """Collects all that a rollout needs to know."""
    creation = decision.cause == RolloutCause.CREATION.value
    stands = services.stands(seen, record)[0] or services.setup_of(seen.stack) if seen and not creation else None
    return Order.read(
        {
            "rollout": rollout,
            "service": service.id,
            "application": service.application,
            "account": service.target[0],
            "region": service.target[1],
            "cause": decision.cause,
            "why": decision.reason,
            "before": None if creation else stands or record.setup,
            "after": decision.to,
            "template_version": seen.pinned if seen else services.FIRST,
        }
        | service.own.rollout.model_dump(include=_PACE)
    ).plain()


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


def recall(settings: Settings, plan: Plan, now: datetime) -> Rollout | None:
    """Returns the record of a rollout whose execution runs. One that a restored table does not know is begun anew,
    before anything else is written of it: it stays open until its end is said."""
    records = Records(settings.table, Rollout)
    if (record := records.get(plan["rollout"])) is None:
        begin(settings, plan, RolloutStage.RUNNING, now)
        record = records.get(plan["rollout"])
    return record


def supersede(settings: Settings, rollout: str, by: str, now: datetime) -> None:
    """Ends a rollout that waited, for a newer one, or because nobody wants it any more."""
    record = Records(settings.table, Rollout).change(
        rollout,
        Entry(utc_text(now), _WHO, RolloutStage.SUPERSEDED, by),
        stage=RolloutStage.SUPERSEDED,
        reason=f"{_SUPERSEDED}{by}",
        ended_at=utc_text(now),
    )
    say(settings, record or Rollout(id=rollout))


def fail(settings: Settings, plan: Plan, reason: str, entry: Entry) -> None:
    """Ends a rollout whose execution ended without a verdict."""
    record = Records(settings.table, Rollout).change(
        plan["rollout"],
        entry,
        stage=RolloutStage.FAILED,
        reason=reason,
        ended_at=entry.at,
        drop=(Rollout.waiting,),
    )
    say(settings, record or Rollout(id=plan["rollout"]))


def say(settings: Settings, record: Rollout) -> None:
    """Announces how a rollout ended, and then closes its record. A record that stays open tells a later run to announce
    the end again."""
    if said := _OUTCOMES.get(record.stage):
        known = {key: getattr(record, key) for key in ("service", "application", "account", "region", "cause", "why")}
        sides = {"from": plain(record.from_), "to": plain(record.to)}
        outcome = {"rollout": record.id, "outcome": record.stage, "reason": record.reason}
        announce(settings.facts, said.read(known | sides | outcome))
    elif record.stage == RolloutStage.SUPERSEDED:
        by = str(record.reason).removeprefix(_SUPERSEDED)
        announce(settings.facts, RolloutSuperseded(rollout=record.id, service=record.service, by=by))
    close(settings, record.id)


def close(settings: Settings, rollout: str) -> None:
    """Closes the record of a rollout whose end was said."""
    with suppress(Conflict):
        ended = attr(Rollout.ended_at).exists()
        Records(settings.table, Rollout).change(rollout, drop=(Rollout.live,), only_if=ended)


def make_up(settings: Settings, now: datetime) -> None:
    """Announces the ends of rollouts whose executions ended without announcing them."""
    long_ago = utc_text(now - _GRACE)
    unsaid = [one for one in Records(settings.table, Rollout).live() if one.ended_at and one.ended_at < long_ago]
    running = executions.running(settings.rollout_machine) if unsaid else set()
    for record in unsaid:
        if record.id not in running:
            with going_on(record.id):
                say(settings, record)


def shown(plan: Plan) -> dict[str, Any]:
    """Returns a rollout as it is announced."""
    said = {key: plan[key] for key in ("rollout", "service", "application", "account", "region", "cause", "why")}
    return said | {"from": _brief(plan["before"]), "to": _brief(plan["after"])}


def _brief(setup: Setup | None) -> dict[str, str] | None:
    return {"image": setup["image"], "version": setup["version"]} if setup else None


def _side(setup: Setup | None) -> Side | None:
    return Side(setup["image"], setup["version"]) if setup else None
