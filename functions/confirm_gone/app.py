"""Confirms that nothing is left of an environment, and closes its record."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from mayfly.aws import clients, executions, kill_switch, stacks
from mayfly.aws.events import NotTaken, announce
from mayfly.aws.records import Conflict, Records, attr, forget_after
from mayfly.contract.announcements import EnvironmentFailed, EnvironmentTerminated
from mayfly.contract.orders import Subject
from mayfly.contract.vocabulary import Begin, EndingCause, EnvironmentStage, Outcome
from mayfly.domain import capacity
from mayfly.domain.guard import may_destroy
from mayfly.domain.losses import Losses
from mayfly.domain.records import Ending, Entry, Environment, cut, placed, plain
from mayfly.domain.stack import TaskResult
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import admission, environments, instance_failures, leftovers, pools, releases, teardown


class StillThere(Exception):
    """Something of the environment is left; the state machine looks again for a while."""


class HandedOver(Exception):
    """What is left cannot be deleted, or must not be. A person is needed; the message says for what."""


LAST_LOOKS = 10
"""Of fifteen. Before them, what AWS lists by tag may be gone: its list is minutes behind."""
SHOWN = 10
OF_ONE_PLACE = (
    *(Environment.waiting, Environment.reserved, Environment.launch_from, Environment.stack, Environment.deletions),
    *(Environment.without_capacity, Environment.failed_instances, Environment.instance_failures),
    *(Environment.instance_types, Environment.volume_gb, Environment.launched_at),
)
"""What a record says of a place that its life leaves."""
GONE = "no stack is left, nothing that carries its tags, and nothing that was in the stack"


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Gone is what AWS says is gone. What outlived its stack is deleted here, where the guard permits."""
    settings, subject = load_settings(), Subject.read(event["order"])
    logger.append_keys(environment=subject.environment)
    workload = clients.workload(subject.account, subject.region, settings.workload_role, subject.environment)
    stack = stacks.describe(workload, event["stack"]) if event["stack"] else None
    if stack and stack.status != "DELETE_COMPLETE":
        raise StillThere(f"the stack {stack.id} is {stack.status}")
    resources = stacks.resources(workload, stack.id) if stack else []
    found = leftovers.listed(workload, subject.environment)
    others = teardown.unaccounted(leftovers.of_other_kinds(found, settings.controller), stack, resources)
    left = leftovers.find(workload, subject.environment, settings.controller, found)
    if left := [*left, *(leftovers.going(workload, resources) if stack and stack.express else ())]:
        said = chase(settings, subject.environment, workload, left)
        if event.get("looks_left", 1) > 0:
            raise StillThere(said)
        environments.hand_over(settings, subject, said, event["now"])
        raise HandedOver(said)
    if others and event.get("looks_left", 1) > LAST_LOOKS:
        raise StillThere(f"AWS still lists {', '.join(others[:SHOWN])}")
    kept = [*teardown.kept(resources), *others, *made_by_aws(settings, subject, workload, resources)]
    return move_on(settings, subject, kept, event) or close(settings, subject, kept, event)


def move_on(settings: Settings, subject: Subject, kept: list[str], event: dict[str, Any]) -> dict[str, Any] | None:
    """Has a life go on at another target where EC2 had no capacity for it at this one: gives its room here back, and
    tells its execution to ask for room there. None where it is its life that has ended."""
    now, records = event["now"], Records(settings.table, Environment)
    seen = records.get(subject.environment) if event.get("ended") and subject.targets else None
    targets = capacity.elsewhere(seen, subject.target, subject.targets, event.get("ended") or {})
    if seen is None or not targets:
        return None
    entry = Entry(now, "confirm_gone", "moving on", f"{left_of(kept)}; it asks for room in {' or '.join(targets)}")
    change: dict[str, Any] = {
        "kept": [*seen.kept, *(cut(each, 500) for each in kept)][:100] or None,
        "drop": OF_ONE_PLACE,
    }
    if seen.waiting:  # a repetition finds that this was written
        try:
            without_room(
                settings,
                seen,
                lambda held: records.change(seen.id, entry, only_if=environments.NOT_ENDED & held, **change),
                now,
            )
        except Conflict as conflict:
            if conflict.found and conflict.found.ending:
                return None
            raise
    reason = f"{seen.no_capacity[subject.target]} in {subject.target}"
    executions.complete_task(event["token"], TaskResult("MovesOn", reason), {})
    return {"environment": subject.environment, "next": targets}


def left_of(kept: Sequence[str]) -> str:
    """Says what a CloudFormation stack has left, for the environment's history."""
    return f"kept: {'; '.join(kept)}" if kept else GONE


def made_by_aws(
    settings: Settings, subject: Subject, workload: clients.Workload, resources: Sequence[stacks.Resource]
) -> list[str]:
    """Deletes what AWS made of the stack's resources beside it, as far as that is ours; names the rest."""
    logs, snapshots = teardown.made_by_aws(workload, resources)
    if logs:
        kill_switch.check(settings.parameters)
    return snapshots + teardown.delete_logs(workload, subject.environment, settings.controller, logs)


def chase(settings: Settings, environment: str, workload: clients.Workload, left: Sequence[leftovers.Remnant]) -> str:
    """Deletes what outlived its stack, as far as the guard permits; returns what is left, and why."""
    permitted = partial(may_destroy, environment, settings.controller)
    ours = [remnant for remnant in left if not remnant.going and permitted(remnant.labels).granted]
    staying = [remnant for remnant in left if not remnant.going]
    refused = {remnant.id: said.reason for remnant in staying if not (said := permitted(remnant.labels)).granted}
    if ours:
        kill_switch.check(settings.parameters)
        refused |= leftovers.delete(workload, ours)
    named = ", ".join(told(remnant, refused) for remnant in left[:SHOWN])
    deleted = sum(remnant.id not in refused for remnant in ours)
    return f"{len(left)} resources are left of it: {named}; {deleted} of them were deleted just now"


def close(settings: Settings, subject: Subject, kept: list[str], event: dict[str, Any]) -> dict[str, Any]:
    """Says the end of an environment of which nothing is left but what Mayfly cannot delete (`kept`), records it and
    closes the record in one write, and ends its execution. Who dies in between leaves the record open: a repetition, or
    a sweep that finds it without an execution, comes here and says it again.
    """
    now, records = event["now"], Records(settings.table, Environment)
    found = records.try_get(subject.environment)
    kept = list(dict.fromkeys([*(found.kept if found else ()), *kept]))  # at targets before this one, too
    # The machine of an earlier version says it by itself, and a repetition that finds the record closed has said it.
    unsaid = "token" in event and (found is None or found.lives or found.terminated_at is None)
    # What cannot be read may be written yet, and is read by that.
    change = of_end(settings, subject, kept, now)
    seen = found or remember(settings, Environment(id=subject.environment), change)
    lost = seen.losses or Losses()
    ending = seen.ending or environments.unknown_ending(now)
    result = {
        "environment": subject.environment,
        "ending": plain(ending),
        "instances_built": seen.instances_built or 0,
        "instances_left": 0,
        "instances_failed": lost.count,
        "failures": dict(lost.failed),
        # People see it in the announcement: Mayfly finds no more of it by its tags.
        "kept": kept,
    }
    if seen.pool:
        pools.give_back(settings, seen.pool, subject.environment)
    if subject.begin != Begin.CREATION.value:
        releases.judge_again(settings, subject.environment, now)
    if unsaid:
        try:
            say(settings, subject, result, ending.by == EndingCause.FAILURE)
        except NotTaken:  # for hours, perhaps: its room is free meanwhile
            remember(settings, seen, change)
            raise
    remember(settings, seen, change | {"drop": (*change["drop"], Environment.live)})
    metrics.add_metric(name="EnvironmentsTerminated", unit="Count", value=1)
    instance_failures.publish(seen, lost)
    metrics.add_metric(name="ResourcesKept", unit="Count", value=len(kept))
    if "token" in event:
        executions.complete_task(event["token"], answer(subject, ending), result)
    return result


def answer(subject: Subject, ending: Ending) -> TaskResult:
    """Tells how its execution ends: a life that failed, and one whose tests may be repeated on another environment,
    ends FAILED."""
    if ending.by == EndingCause.FAILURE:
        return TaskResult("EnvironmentFailed", ending.reason)
    if subject.repetitions and ending.outcome in (Outcome.FAILED, Outcome.BROKEN):
        return TaskResult("TestsFailed", ending.reason)
    return TaskResult(None, "")


def say(settings: Settings, subject: Subject, result: dict[str, Any], failed: bool) -> None:
    """Announces the end, and that the environment itself was the reason, where it was."""
    whose = environments.told_of(subject)
    announce(settings.facts, EnvironmentTerminated(**whose | result))
    if failed:
        reason = result["ending"]["reason"]
        announce(settings.facts, EnvironmentFailed(**whose | result | {"reason": reason}))


def of_end(settings: Settings, subject: Subject, kept: list[str], now: str) -> dict[str, Any]:
    """Returns what a record says of the end, and has no more."""
    return {
        "entry": Entry(now, "confirm_gone", EnvironmentStage.TERMINATED, left_of(kept)),
        # Only where the record was lost meanwhile.
        "once": {"ending": environments.unknown_ending(now), "id": subject.environment},
        "drop": (Environment.waiting, Environment.born, Environment.reserved),
        **placed(Environment, subject.environment, subject.application, now, now[:10]),
        "stage": EnvironmentStage.TERMINATED,
        "terminated_at": now,
        "forget_after": forget_after(now, settings.record_days),
        "instances_left": 0,
        "kept": [cut(each, 500) for each in kept[:100]] or None,
    }


def remember(settings: Settings, seen: Environment, change: dict[str, Any]) -> Environment:
    """Records the end, in one write with the return of what was reserved. Where DynamoDB takes no write, a sweep makes
    up for it."""
    records = Records(settings.table, Environment)
    try:
        write: Write = lambda held: records.try_change(seen.id, only_if=held, **change)  # noqa: E731
        return without_room(settings, seen, write, change["entry"].at) or Environment(id=seen.id)
    except Conflict:  # somebody else has given it back
        return records.try_change(seen.id, **change) or seen


type Write = Callable[[Any], Environment | None]


def without_room(settings: Settings, seen: Environment, write: Write, now: str) -> Environment | None:
    """Takes an environment's room off its record in one write with what else that says, and gives it back: once,
    whoever else does the same.

    Args:
        write: writes the record under a condition, without its reservation.

    Raises:
        Conflict: its reservation is not as it was seen.
    """
    held = attr(Environment.reserved)
    record = write(held.exists() if seen.reserved else held.not_exists())
    if seen.reserved and record and not record.reserved:
        admission.give_back(settings, seen, datetime.fromisoformat(now), "confirm_gone")
    return record


def told(remnant: leftovers.Remnant, refused: dict[str, str]) -> str:
    """Returns a remnant for people, with why it could not be deleted."""
    return f"{remnant.kind} {remnant.id}" + (f" ({refused[remnant.id]})" if remnant.id in refused else "")
