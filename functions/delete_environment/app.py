"""Ends an environment: records why, asks the guard by freshly read tags, and deletes the stack."""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from mayfly.aws import clients, executions, instances, kill_switch, stacks
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.orders import Subject
from mayfly.contract.vocabulary import UNKNOWN, EndingCause, EnvironmentStage, Outcome, Wait
from mayfly.domain import capacity, tags
from mayfly.domain.ending import by_deadline, by_failure
from mayfly.domain.guard import TERMINATION_PROTECTED, may_destroy
from mayfly.domain.identity import stack_name
from mayfly.domain.pace import Lane
from mayfly.domain.records import Ending, Entry, Environment, Waiting
from mayfly.domain.stack import answer, deletion_refused
from mayfly.domain.teardown import Step, next_step, refusal, request_name, told
from mayfly.domain.testing import BESIDE
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import causes, environments, instance_failures, leftovers, pacing, teardown

FOUND_WHEN_DELETED = timedelta(days=90)
"""How long CloudFormation shows a deleted stack by its id."""


class TerminationRefused(Exception):
    """The guard refused. Nothing was destroyed, and repeating it would change nothing."""


class HandedOver(Exception):
    """Every way to delete the stack was tried. A person is needed; the message says for what."""


class NotSeenYet(Exception):
    """CloudFormation has created the stack, and does not show it. The state machine looks again."""


class DeletionFailed(Exception):
    """CloudFormation did not even take the deletion, and will not before somebody has mended something."""


class Extended(Exception):
    """The deadline was moved in the meantime. The message is the new one."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs at the end of every life, whatever ended it, and again where a deletion failed or its event is late."""
    settings, subject = load_settings(), Subject.read(event["order"])
    logger.append_keys(environment=subject.environment)
    records = Records(settings.table, Environment)
    record = begin_move(settings, subject, event, context.function_name) or begin_ending(
        records, subject, event, context.function_name, settings.record_days
    )
    if record.runner in BESIDE and not record.deletions:
        executions.stop(settings.tests_machine, subject.environment, "its environment ends")
    if pacing.waits(settings.table, f"{subject.account}/{subject.region}", Lane.END, event, subject.environment):
        return {"environment": subject.environment, "stack": None}
    workload = clients.workload(subject.account, subject.region, settings.workload_role, subject.environment)
    stack = stack_of(workload, subject, record, event["now"])
    result = {"environment": subject.environment, "stack": stack.id if stack else None}
    over = answer(Wait.DELETION, stack.status if stack else "DELETE_COMPLETE")
    if over and not over.error:
        executions.complete_task(event["token"], over, result)
    elif stack and stack.status == "DELETE_IN_PROGRESS":
        metrics.add_metric(name="StacksLookedAtAgain", unit="Count", value=1)
    elif stack:
        end(settings, subject, record, (workload, stack), event["now"])
    return result


def end(
    settings: Settings, subject: Subject, record: Environment, at: tuple[clients.Workload, stacks.Stack], now: str
) -> None:
    """Deletes the stack, if the guard permits and nothing in it is protected."""
    workload, stack = at
    locked = TERMINATION_PROTECTED if stack.termination_protection else ""
    permission = may_destroy(subject.environment, settings.controller, stack.tags, locked=locked)
    if not permission.granted:
        raise TerminationRefused(f"{stack.id} is left standing: {permission.reason}")
    seen = [*instances.find(workload, {tags.ENVIRONMENT: subject.environment})]
    if protected := leftovers.protected(workload, subject.environment, seen):
        said = f"{stack.id} is left standing, because of what is in it: {'; '.join(protected)}"
        # A sweep sees the stack's own tags only, and would begin it all again.
        environments.hand_over(settings, subject, said, now)
        raise TerminationRefused(said)
    kill_switch.check(settings.parameters)
    # Of a life that was never ready, this is the last chance to see what it costs.
    costs = {} if record.instance_types else instances.counted(workload, subject.environment, settings.controller)
    # Where a deletion has failed, they were counted before it: by now instances may be gone by it.
    again = has_failed(stack)
    # What has failed has failed once at least: the first deletion is not counted.
    record = replace(record, deletions=max(record.deletions, 1)) if again else record
    lost = None if again else instance_failures.count(workload, record, seen)
    try:
        done = delete(settings, subject, workload, stack, record)
    except (HandedOver, DeletionFailed) as blocked:
        remember(settings, subject, record, blocked, now)
        raise
    # Of a life that went well there is nothing to say.
    change: dict[str, Any] = {"instance_failures": lost, **costs}
    change |= {"deletions": record.deletions + 1} if again else {}
    if any(value is not None for value in change.values()):
        entry = Entry(now, "teardown", *done) if done else None
        Records(settings.table, Environment).try_change(subject.environment, entry, **change)


def has_failed(stack: stacks.Stack) -> bool:
    """Tells whether a deletion of a stack has failed before, or CloudFormation did not take it."""
    return stack.status == "DELETE_FAILED" or bool(deletion_refused(stack.status, stack.status_reason))


def remember(settings: Settings, subject: Subject, record: Environment, blocked: Exception, now: str) -> None:
    """Remembers why a deletion did not begin: that a person is needed, or that it was one of those that are tried."""
    if isinstance(blocked, HandedOver):
        environments.hand_over(settings, subject, str(blocked), now)
        return
    tried = Entry(now, "teardown", Step.DELETE.value, str(blocked))
    Records(settings.table, Environment).try_change(subject.environment, tried, deletions=record.deletions + 1)


def stack_of(workload: clients.Workload, subject: Subject, record: Environment, now: str) -> stacks.Stack | None:
    """Returns the environment's stack as CloudFormation shows it; None where it is gone.

    Raises:
        NotSeenYet: by its id a stack is found long after its deletion, so this one was created a moment ago.
    """
    # What is left of it may also be in another account or Region, where no stack of it ever was.
    ours = record.stack if record.stack and stacks.is_at(record.stack, subject.account, subject.region) else None
    stack = stacks.describe(workload, ours or stack_name(record.id))
    planned_at = record.planned_at or now
    if stack is None and ours and datetime.fromisoformat(now) - datetime.fromisoformat(planned_at) < FOUND_WHEN_DELETED:
        raise NotSeenYet(f"{record.stack} is not found")
    return stack


def begin_move(settings: Settings, subject: Subject, event: dict[str, Any], who: str) -> Environment | None:
    """Records that only this stack ends, and its life goes on at another target, where EC2 has capacity for it at none
    of this one's; None where it is its life that ends."""
    records = Records(settings.table, Environment)
    failed = event["ended"]["by"] == EndingCause.FAILURE and event.get("moves")
    seen = records.try_get(subject.environment) if failed and subject.targets else None
    if seen and subject.target not in seen.no_capacity and (lacks := without_group(settings, subject, seen, event)):
        seen = replace(seen, no_capacity={**seen.no_capacity, subject.target: lacks})
    targets = capacity.elsewhere(seen, subject.target, subject.targets, event["ended"])
    if seen is None or not targets:
        return None
    why = (
        f"{seen.no_capacity[subject.target]}: its stack in {subject.target} is deleted; next is {' or '.join(targets)}"
    )
    entry = Entry(event["now"], who, "no capacity", why).shortened()
    said = (entry.what, entry.why) in [(line.what, line.why) for line in seen.history]
    try:
        return records.try_change(
            subject.environment,
            None if said else entry,
            waiting=Waiting(Wait.DELETION, event["token"]),
            no_capacity=seen.no_capacity,
            only_if=environments.NOT_ENDED,
        )
    except Conflict:
        return None


def without_group(settings: Settings, subject: Subject, seen: Environment, event: dict[str, Any]) -> str:
    """Which capacity EC2 lacks for instances that a stack launches without a group, by CloudFormation's events: of
    those no event of Auto Scaling tells. "" where it failed for anything else, or CloudFormation does not say."""
    failed = event["ended"]["error"].get("Error") == "CreationFailed"
    if not failed or not seen.stack or seen.ending or not set(subject.targets) - {subject.target, *seen.no_capacity}:
        return ""
    return causes.missing_capacity(settings, subject, seen.stack)


def begin_ending(
    records: Records[Environment], subject: Subject, event: dict[str, Any], who: str, days: int
) -> Environment:
    """Records the ending and the token, unless the deadline that is said to have passed was moved. Where DynamoDB takes
    no write, the ending goes on all the same: without a token, the state looks again by itself."""
    now, by = event["now"], event["ended"]["by"]
    seen = records.try_get(subject.environment)
    ending = replace(ending_of(event), at=now)
    if seen and by == EndingCause.FAILURE:
        ending = replace(ending, reason=capacity.with_earlier(ending.reason, subject.target, seen.no_capacity))
    why = "it waits for no tests any more" if by == EndingCause.TESTS else ending.reason
    entry = Entry(now, who, EnvironmentStage.TERMINATING, why).shortened()
    # Said once: by an earlier turn, or by an attempt that the kill switch or whatever else held up.
    said = event.get("turn") or (seen and (entry.what, entry.why) in [(line.what, line.why) for line in seen.history])
    deadline = attr(Environment.deadline)
    late = deadline.not_exists() | attr(Environment.ending).exists() | deadline.lte(now)
    try:
        record = records.try_change(
            subject.environment,
            None if said else entry,
            stage=EnvironmentStage.TERMINATING,
            waiting=Waiting(Wait.DELETION, event["token"]),
            # All but the ending matters only where the record was lost and begins anew here.
            once={"ending": ending} | environments.recreated(subject, event["deadline"] or now, now, days),
            only_if=late if by == EndingCause.DEADLINE else None,
        ) or Environment(id=subject.environment)
    except Conflict as conflict:
        record = conflict.found
    if by == EndingCause.DEADLINE and record.ending is None and record.deadline and record.deadline > now:
        raise Extended(record.deadline)
    return record


def delete(
    settings: Settings, subject: Subject, workload: clients.Workload, stack: stacks.Stack, record: Environment
) -> tuple[str, str] | None:
    """Takes the next step of the teardown strategy; returns what the history is to say of it: what, and why."""
    role, deletions = f"arn:aws:iam::{subject.account}:role/{settings.stack_role}", record.deletions
    refused, failed = deletion_refused(stack.status, stack.status_reason), has_failed(stack)
    blockers = [refusal(stack.status_reason)] if refused else teardown.blockers(workload, stack.id) if failed else []
    step = next_step(deletions if failed else 0)
    if step is Step.HAND_OVER:
        raise HandedOver(f"{stack.id} cannot be deleted after {deletions} tries. Blocked by {told(blockers)}")
    done = (
        teardown.mend(workload, subject.environment, settings.controller, blockers) if step is not Step.DELETE else []
    )
    # CloudFormation retains resources only of a stack whose deletion has failed.
    retained = teardown.still_held(blockers) if step is Step.RETAIN and not refused else []
    request = request_name(deletions, record.waiting.token) if record.waiting else ""
    try:
        stacks.delete(workload, stack, role, request, retained)
    except stacks.RoleUnusable as unusable:
        said = f"{stack.id} cannot be deleted: {unusable}"
        raise (HandedOver if next_step(deletions + 1) is Step.HAND_OVER else DeletionFailed)(said) from unusable
    if not failed:
        return None
    said = f"blocked by {told(blockers)}; {', '.join(done) or 'nothing of it is ours to mend'}"
    return step.value, said + (f"; kept {', '.join(retained)}" if retained else "")


def ending_of(event: dict[str, Any]) -> Ending:
    """Tells why the execution says that the life is over. Where a result was recorded first, that one stands."""
    match event["ended"]:
        case {"by": "deadline"}:
            return by_deadline(event["deadline"], event["order"].get("kind", UNKNOWN))
        case {"by": "failure", "error": error}:
            return by_failure(error.get("Error", "Unknown"), error.get("Cause", ""))
        case {"by": "runner", "error": error}:
            reason = by_failure(error.get("Error", "Unknown"), error.get("Cause", "")).reason
            return Ending(EndingCause.TESTS, Outcome.BROKEN, f"its tests were not run: {reason}")
        case {"by": "tests"}:
            # Stands only where the record was lost meanwhile: the result itself ends a life by its record.
            return Ending(
                EndingCause.TESTS, Outcome.BROKEN, "its tests are over, and their result is not in its record"
            )
        case {"by": "sweep", "why": why} if event["order"].get("aborted"):
            return by_failure("Aborted", why)
        case {"by": "sweep", "why": why}:
            return Ending(EndingCause.DEADLINE, Outcome.EXPIRED, why)
    raise ValueError(f"ended: expected by tests, runner, deadline, failure or sweep, but it is {event['ended']}")
