"""Has every instance of a permanent environment replaced by an instance refresh, forward or back."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import clients, executions, refreshes, services
from mayfly.aws.clients import Workload
from mayfly.aws.records import Entry, Records, forget_after
from mayfly.aws.refreshes import Refresh
from mayfly.aws.services import Seen
from mayfly.domain import tags
from mayfly.domain.rollout import Pace, odd, preferences, preferences_back, refresh_answer
from mayfly.domain.stack import Answer
from mayfly.messages import Rollout
from mayfly.observability import logger
from mayfly.settings import Settings, settings

STAGES = {"replace": "replacing", "return instances": "rolling back"}


class NothingToReplace(Exception):
    """The stack has no group of instances."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Auto Scaling's event ends the wait. Without one this runs again and looks: it asks for one refresh at most."""
    here, plan, step, token = settings(), Rollout.model_validate(event["plan"]), event["step"], event["token"]
    logger.append_keys(rollout=plan.rollout)
    records = Records(here.table, "rollout")
    before = (records.get(plan.rollout) or {}).get("waiting") or {}
    again = before.get("for") == step
    # The same token names the same wait for all the events of a refresh; only its latest one is told.
    waiting = {"since": event["now"], **(before if again else {}), "for": step, "token": token}
    entry = None if again else Entry(event["now"], context.function_name, STAGES[step], "")
    records.change(plan.rollout, {"waiting": waiting, "stage": STAGES[step]}, entry)
    workload = clients.workload(plan.account, plan.region, here.workload_role, plan.service, tags.SERVICE)
    seen = group_of(here, workload, plan, event["now"])
    since = datetime.fromisoformat(waiting["since"])
    refresh = forward(workload, plan, seen, since) if step == "replace" else back(workload, plan, seen, since)
    known = {"waiting": waiting | {"refresh": refresh.id if refresh else ""}}
    records.change(plan.rollout, known | ({"template": aim(plan, seen)} if step == "replace" else {}))
    # Looked at once more now that its id is known: it may have ended faster.
    reply = refresh_answer(step, refresh.status, refresh.why) if refresh else None
    if refresh is None and step == "return instances":
        reply = Answer(None, "every instance is as it was")
    if reply:
        executions.settle(token, reply, {})
    return {"rollout": plan.rollout, "step": step, "refresh": refresh.id if refresh else ""}


def group_of(here: Settings, workload: Workload, plan: Rollout, now: str) -> Seen:
    """The service with its group, which points to it from now on: Auto Scaling's events name nothing else."""
    seen = services.look(workload, plan.service, here.controller)
    if seen is None or not seen.group:
        raise NothingToReplace(f"the stack of {plan.service} has no group of instances")
    facts = {"service": plan.service, "forget_after": forget_after(now, here.record_days)}
    Records(here.table, "group").change(seen.group, facts)
    return seen


def changes(plan: Rollout) -> bool:
    """Whether there is anything new, and not only new instances of the same."""
    return plan.before != plan.after


def aim(plan: Rollout, seen: Seen) -> str:
    """The version of the launch template that instances are to be of: the one that the update has just made."""
    return seen.latest if changes(plan) else plan.template_version


def pace(plan: Rollout) -> Pace:
    """How fast, in the words of the domain."""
    soak = timedelta(minutes=plan.soak_minutes)
    return Pace(plan.least_healthy_percent, plan.most_healthy_percent, plan.checkpoints, soak)


def forward(workload: Workload, plan: Rollout, seen: Seen, since: datetime) -> Refresh | None:
    """The refresh that brings what is new."""
    # Who asks for it in the middle of an incident is not to be stopped by the alarms that tell of it.
    asked = plan.cause in ("request", "step back")
    alarms = [name for name in seen.alarms if not (asked and name in seen.firing)]
    wanted = preferences(plan.cause, pace(plan), changes(plan), alarms)
    return refreshes.forward(workload, seen.group, (seen.template_id, aim(plan, seen)), wanted, since)


def back(workload: Workload, plan: Rollout, seen: Seen, since: datetime) -> Refresh | None:
    """The refresh that brings back what was there before."""
    template = plan.template_version
    needed = bool(odd(seen.members, template, seen.group_template))
    wanted = preferences_back(pace(plan))
    return refreshes.back(workload, seen.group, (seen.template_id, template), wanted, since, needed)
