"""Replaces every instance of a permanent environment by an instance refresh, forward or back."""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from mayfly.aws import clients, executions, launch_templates, refreshes
from mayfly.aws.clients import Workload
from mayfly.aws.records import Records, forget_after
from mayfly.aws.refreshes import Refresh
from mayfly.contract.orders import Rollout
from mayfly.contract.vocabulary import RolloutCause, RolloutStage, Wait
from mayfly.domain import tags
from mayfly.domain.records import Entry, Group, Waiting
from mayfly.domain.records import Rollout as RolloutRecord
from mayfly.domain.rollout import Pace, heed_abort, newest, odd, preferences, preferences_back, refresh_answer
from mayfly.domain.room import Bucket
from mayfly.domain.stack import TaskResult
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import admission, pausing, rollouts, services
from mayfly.workflows.services import Seen

STAGES = {Wait.REPLACE: RolloutStage.REPLACING, Wait.RETURN_INSTANCES: RolloutStage.ROLLING_BACK}


class NothingToReplace(Exception):
    """The stack has no group of instances."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Auto Scaling's event ends the wait. Without one this runs again and looks: it asks for one refresh at most."""
    settings, plan, step, token = (
        load_settings(),
        Rollout.read(event["plan"]),
        Wait(event["step"]),
        event["token"],
    )
    logger.append_keys(rollout=plan.rollout)
    records = Records(settings.table, RolloutRecord)
    record = rollouts.recall(settings, plan.plain(), datetime.fromisoformat(event["now"]))
    before = record.waiting if record and record.waiting and record.waiting.for_ == step else None
    again = before is not None
    # The same token names the same wait for all the events of a refresh; only its latest one is told.
    waiting = replace(before or Waiting(step, token, event["now"]), token=token)
    entry = None if again else Entry(event["now"], context.function_name, STAGES[step], "")
    stage = None if record and stands(record, step) else STAGES[step]
    record = records.change(plan.rollout, entry, waiting=waiting, stage=stage) or RolloutRecord(id=plan.rollout)
    if step is Wait.REPLACE:
        heed_abort(record)
    if stands(record, step):
        return {"rollout": plan.rollout, "step": step, "refresh": waiting.refresh or ""}
    workload = clients.workload(plan.account, plan.region, settings.workload_role, plan.service, tags.SERVICE)
    seen = group_of(settings, workload, plan, event["now"])
    since = datetime.fromisoformat(waiting.since or event["now"])
    if step is Wait.REPLACE:
        target, left_out = aim(settings, workload, plan, seen)
        refresh = forward(workload, plan, seen, bringing(seen, target, since), record)
    else:
        target, left_out, refresh = None, [], back(workload, plan, seen, since)
    if refresh and refresh.id != waiting.refresh:  # it has begun since the last look
        target_of, bucket = f"{plan.account}/{plan.region}", Bucket(plan.burst, plan.launches_a_second)
        admission.count_launches(settings, target_of, len(seen.members), bucket, datetime.fromisoformat(event["now"]))
    waiting = replace(waiting, refresh=refresh.id if refresh else "")
    record = records.change(plan.rollout, waiting=waiting, template=target, group=seen.group) or record
    if left_out and not again:
        records.note(plan.rollout, Entry(event["now"], context.function_name, "left out", "; ".join(left_out)))
    # Looked at once more now that its id is known: it may have ended faster.
    if reply := answer(settings, record, step, refresh, event["now"]):
        executions.complete_task(token, reply, {})
    return {"rollout": plan.rollout, "step": step, "refresh": refresh.id if refresh else ""}


def stands(record: RolloutRecord, step: Wait) -> bool:
    """Tells whether there is nothing to do because somebody has paused the rollout."""
    return record.stage == RolloutStage.PAUSED and step is Wait.REPLACE


def answer(
    settings: Settings, record: RolloutRecord, step: Wait, refresh: Refresh | None, now: str
) -> TaskResult | None:
    """Returns what a look says already; None where the wait goes on, as it does while the rollout is paused."""
    if refresh is None:
        return TaskResult(None, "every instance is as it was") if step is Wait.RETURN_INSTANCES else None
    reply = refresh_answer(step, refresh.status, refresh.why)
    if reply and step is Wait.REPLACE and record.paused and refresh.id == record.halted:
        pausing.halted(settings, record, now)
        return None
    return reply


def group_of(settings: Settings, workload: Workload, plan: Rollout, now: str) -> Seen:
    """Returns the service with its group, which points to it from now on: Auto Scaling's events name nothing else."""
    seen = services.describe_service(workload, plan.service, settings.controller)
    if seen is None or not seen.group:
        raise NothingToReplace(f"the stack of {plan.service} has no group of instances")
    until = forget_after(now, settings.record_days)
    Records(settings.table, Group).change(seen.group, service=plan.service, forget_after=until)
    return seen


def changes(plan: Rollout) -> bool:
    """Tells whether there is anything new, and not only new instances of the same."""
    return plan.before != plan.after


def aim(settings: Settings, workload: Workload, plan: Rollout, seen: Seen) -> tuple[str, list[str]]:
    """Returns the version of the launch template that instances are to be of: the one that the update has just made, if
    it made one. What somebody made by hand meanwhile is left out, and named."""
    if not changes(plan):
        return plan.template_version, []
    makers = launch_templates.makers(workload, seen.template_id, plan.template_version)
    # By the second, Mayfly had them built before: a rollout may have begun then.
    return newest(plan.template_version, makers, (settings.permanent_role, settings.stack_role))


def bringing(seen: Seen, version: str, since: datetime) -> refreshes.Goal:
    """Returns a version of the launch template as what the group's instances are to be of."""
    return refreshes.Goal(seen.group, seen.template_id, version, since, mixed=seen.mixed)


def pace(plan: Rollout, percent: int = 0) -> Pace:
    """Tells how fast, in the words of the domain; after a pause, with the checkpoints that are left."""
    left = tuple(each for each in plan.checkpoints if each > percent) or plan.checkpoints[-1:]
    return Pace(plan.least_healthy_percent, plan.most_healthy_percent, left, timedelta(minutes=plan.soak_minutes))


def forward(
    workload: Workload, plan: Rollout, seen: Seen, goal: refreshes.Goal, record: RolloutRecord
) -> Refresh | None:
    """Returns the refresh that brings what is new; after a pause, to the instances that are left."""
    # Who asks for it in the middle of an incident is not to be stopped by the alarms that tell of it.
    asked = plan.cause in (RolloutCause.REQUEST, RolloutCause.STEP_BACK)
    alarms = [name for name in seen.alarms if not (asked and name in seen.firing)]
    resumed = record.halted if record.halted and not record.paused else ""
    wanted = preferences(plan.cause, pace(plan, record.percent if resumed else 0), changes(plan), alarms)
    return refreshes.forward(workload, replace(goal, but=resumed), wanted)


def back(workload: Workload, plan: Rollout, seen: Seen, since: datetime) -> Refresh | None:
    """Returns the refresh that brings back what was there before."""
    template = plan.template_version
    needed = bool(odd(seen.members, template, seen.group_template))
    return refreshes.back(workload, bringing(seen, template, since), preferences_back(pace(plan)), needed)
