"""Decides how a rollout ended, and releases the service's lock for the next one."""

from datetime import datetime
from typing import Any

from mayfly.aws.records import Conflict, Records
from mayfly.contract.orders import Rollout
from mayfly.contract.vocabulary import RolloutCause, RolloutStage, ServiceStage
from mayfly.domain.ending import by_failure
from mayfly.domain.records import Entry, Service, cut
from mayfly.domain.records import Rollout as RolloutRecord
from mayfly.domain.rollout import judge_rollout, reached
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import rollouts
from mayfly.workflows.rollout_queue import give_turn

METRICS = {
    RolloutStage.COMPLETED: "RolloutsCompleted",
    RolloutStage.ROLLED_BACK: "RolloutsRolledBack",
    RolloutStage.FAILED: "RolloutsFailed",
}


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Every rollout that began ends here. Its announcement makes the next look at the service, which may start one for
    what was wanted meanwhile."""
    settings, plan, now = load_settings(), Rollout.read(event["plan"]), event["now"]
    logger.append_keys(rollout=plan.rollout)
    records = Records(settings.table, RolloutRecord)
    record = rollouts.recall(settings, plan.plain(), datetime.fromisoformat(now))
    outcome, reason = judge_rollout(said(plan, event["failure"]), plan.before is None, said(plan, event["unverified"]))
    entry = Entry(now, context.function_name, outcome, reason)
    facts: dict[str, Any] = {"stage": outcome, "reason": reason, "ended_at": now}
    if outcome == RolloutStage.COMPLETED:
        facts |= {"percent": 100, "checkpoints": reached(record.checkpoints if record else (), 100, now)}
    # It stays open until it is said: whoever hears it closes it, or the next look makes up for it.
    records.change(plan.rollout, entry, drop=(RolloutRecord.waiting,), **facts)
    service, drop = of_service(plan, outcome, reason, now)
    try:
        of_rollout = Entry(now, context.function_name, outcome, f"{plan.rollout}: {reason}")
        give_turn(settings, plan.service, plan.rollout, of_rollout, drop, **service)
    except Conflict:
        logger.info("its turn was given back already")
    metrics.add_metric(name=METRICS[outcome], unit="Count", value=1)
    return rollouts.shown(plan.plain()) | {"outcome": outcome, "reason": reason}


def said(plan: Rollout, failure: Any) -> str:
    """Returns a caught error for people, "" for none."""
    if failure and failure.get("Error") == "States.Timeout":
        return f"a step took too long (all instances may take {plan.limit_minutes} minutes: limit_minutes)"
    return by_failure(failure.get("Error", "Unknown"), failure.get("Cause", "")).reason if failure else ""


def of_service(plan: Rollout, outcome: RolloutStage, reason: str, now: str) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Returns what a service's record says from now on, and what it says no longer."""
    changed = plan.before != plan.after
    after = plan.after.plain()
    before = plan.before.plain() if plan.before else None
    if outcome == RolloutStage.COMPLETED:
        facts = {"stage": ServiceStage.STEADY, "setup": after, "image": plan.after.image, "version": plan.after.version}
        if plan.cause == RolloutCause.STEP_BACK:
            # A second step back must not return to what this one has left, nor the next look roll it out again.
            return facts | {"refused": before}, (Service.held, Service.failed_at, Service.previous)
        return facts | ({"previous": before} if before and changed else {}), (
            Service.held,
            Service.failed_at,
            Service.refused,
        )
    facts = {"failed_at": now} | ({"refused": after} if changed else {})
    if outcome == RolloutStage.ROLLED_BACK:
        return facts | {"stage": ServiceStage.STEADY}, (Service.held,)
    return facts | {"stage": ServiceStage.NEEDS_A_PERSON, "held": cut(f"{plan.rollout}: {reason}", 2_000)}, ()
