"""Gives the verdict over a rollout, and gives the service's turn back."""

from typing import Any

from mayfly.aws.records import Conflict, Entry, Records
from mayfly.aws.rollouts import shown
from mayfly.domain.ending import by_failure
from mayfly.domain.rollout import Outcome, judge, reached
from mayfly.messages import Rollout
from mayfly.observability import logger, metrics
from mayfly.settings import settings

METRICS = {"completed": "RolloutsCompleted", "rolled back": "RolloutsRolledBack", "failed": "RolloutsFailed"}


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Every rollout that began ends here. Its announcement makes the next look at the service, which may start one for
    what was wanted meanwhile."""
    here, plan, now = settings(), Rollout.model_validate(event["plan"]), event["now"]
    logger.append_keys(rollout=plan.rollout)
    records = Records(here.table, "rollout")
    record = records.get(plan.rollout) or {}
    outcome, reason = judge(said(plan, event["failure"]), plan.before is None, said(plan, event["unverified"]))
    entry = Entry(now, context.function_name, outcome, reason)
    facts: dict[str, Any] = {"stage": outcome, "reason": reason, "ended_at": now}
    if outcome == "completed":
        facts |= {"percent": 100, "checkpoints": reached(record.get("checkpoints", []), 100, now)}
    records.change(plan.rollout, facts, entry, drop=("live", "waiting"))
    service, drop = of_service(plan, outcome, reason, now)
    try:
        Records(here.table, "service").change(
            plan.service,
            service | {"last_rollout": plan.rollout},
            Entry(now, context.function_name, outcome, f"{plan.rollout}: {reason}"),
            drop=("rollout", "plan", *drop),
            only_if="rollout = :rollout",
            bound={":rollout": plan.rollout},
        )
    except Conflict:
        logger.info("its turn was given back already")
    metrics.add_metric(name=METRICS[outcome], unit="Count", value=1)
    return shown(plan.model_dump(mode="json")) | {"outcome": outcome, "reason": reason}


def said(plan: Rollout, failure: Any) -> str:
    """A caught error for people, "" for none."""
    if failure and failure.get("Error") == "States.Timeout":
        return f"a step took too long (all instances may take {plan.limit_minutes} minutes: limit_minutes)"
    return by_failure(failure.get("Error", "Unknown"), failure.get("Cause", "")).reason if failure else ""


def of_service(plan: Rollout, outcome: Outcome, reason: str, now: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a service's record says from now on, and what it says no longer."""
    changed = plan.before != plan.after
    after = plan.after.model_dump(mode="json")
    before = plan.before.model_dump(mode="json") if plan.before else None
    if outcome == "completed":
        facts = {"stage": "steady", "setup": after, "image": plan.after.image, "version": plan.after.version}
        if plan.cause == "step back":
            # A second step back must not return to what this one has left, nor the next look roll it out again.
            return facts | {"refused": before}, ("held", "failed_at", "previous")
        return facts | ({"previous": before} if before and changed else {}), ("held", "failed_at", "refused")
    facts = {"failed_at": now} | ({"refused": after} if changed else {})
    if outcome == "rolled back":
        return facts | {"stage": "steady"}, ("held",)
    return facts | {"stage": "needs a person", "held": f"{plan.rollout}: {reason}"[:2000]}, ()
