"""Ends an environment: records why, asks the guard over freshly read tags, and has the stack deleted."""

from dataclasses import asdict
from typing import Any

from mayfly.aws import clients, executions, lives, mending, stacks, switch
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.ending import Ending, by_deadline, by_failure
from mayfly.domain.guard import may_terminate
from mayfly.domain.identity import stack_name
from mayfly.domain.ladder import Rung, chased, rung, told
from mayfly.domain.stack import answer
from mayfly.messages import Subject
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


class TerminationRefused(Exception):
    """The guard refused. Nothing was destroyed, and repeating it would change nothing."""


class HandedOver(Exception):
    """Every way to delete the stack was tried. A person is needed; the message says for what."""


class Extended(Exception):
    """The deadline was moved in the meantime. The message is the new one."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs at the end of every life, whatever ended it, and again where a deletion failed or its event is late."""
    here, subject = settings(), Subject.model_validate(event["order"])
    logger.append_keys(environment=subject.environment)
    records = Records(here.table, "environment")
    record = begin_ending(records, subject, event, context.function_name, here.record_days)
    workload = clients.workload(subject.account, subject.region, here.workload_role, subject.environment)
    stack = stacks.describe(workload, record.get("stack", stack_name(subject.environment)))
    result = {"environment": subject.environment, "stack": stack.id if stack else None}
    over = answer("deletion", stack.status if stack else "DELETE_COMPLETE")
    if over and not over.error:
        executions.settle(event["token"], over, result)
    elif stack and stack.status == "DELETE_IN_PROGRESS":
        metrics.add_metric(name="StacksLookedAtAgain", unit="Count", value=1)
    elif stack:
        permission = may_terminate(subject.environment, here.controller, stack.tags, stack.termination_protection)
        if not permission.granted:
            raise TerminationRefused(f"{stack.id} is left standing: {permission.reason}")
        switch.check(here.parameters)
        # Of a life that was never ready, this is the last moment to see what it costs.
        known = "instance_types" in record
        costs = {} if known else stacks.counted(workload, subject.environment, here.controller)
        try:
            entry, kept = delete(here, subject, workload, stack, record.get("deletions", 0), event["now"])
        except HandedOver as handed:
            # So that no sweep begins it all again: a person deletes the stack, and the next sweep closes the record.
            over_to = Entry(event["now"], "teardown", Rung.HAND_OVER.value, str(handed))
            records.change(subject.environment, {"handed_over": str(handed)}, over_to)
            raise
        facts = {"deletions": record.get("deletions", 0) + 1} | ({"kept": kept} if kept else {}) | costs
        records.change(subject.environment, facts, entry)
    return result


def begin_ending(records: Records, subject: Subject, event: dict[str, Any], who: str, days: int) -> dict[str, Any]:
    """Records the ending and the token, unless the deadline that is said to have passed was moved."""
    ending = asdict(ending_of(event)) | {"at": event["now"]}
    why = "its tests are over" if event["ended"]["by"] == "tests" else ending["reason"]
    late = "attribute_not_exists(deadline) OR attribute_exists(ending) OR deadline <= :now"
    bounds: dict[str, Any] = {"only_if": late, "bound": {":now": event["now"]}}
    try:
        return records.change(
            subject.environment,
            {"stage": "terminating", "waiting": {"for": "deletion", "token": event["token"]}},
            Entry(event["now"], who, "terminating", why),
            # All but the ending matters only where the record was lost and begins anew here.
            once={"ending": ending} | lives.anew(subject, event["deadline"] or event["now"], event["now"], days),
            **(bounds if event["ended"]["by"] == "deadline" else {}),
        )
    except Conflict as conflict:
        raise Extended(conflict.found["deadline"]) from None


def delete(
    here: Settings, subject: Subject, workload: clients.Workload, stack: stacks.Stack, deletions: int, now: str
) -> tuple[Entry | None, list[str]]:
    """Takes the next rung of the teardown ladder.

    Returns:
        what the record should say of it, and what is kept that no tag finds again: a person has to see to that.
    """
    role = f"arn:aws:iam::{subject.account}:role/{here.stack_role}"
    failed = stack.status == "DELETE_FAILED"
    blockers = mending.blockers(workload, stack.id) if failed else []
    # What has failed has failed once at least, even where a lost record counted nothing.
    step = rung(max(deletions, 1) if failed else 0)
    if step is Rung.HAND_OVER:
        raise HandedOver(f"{stack.id} cannot be deleted after {deletions} tries. Blocked by {told(blockers)}")
    done = mending.mend(workload, subject.environment, here.controller, blockers) if step is not Rung.DELETE else []
    retained = [blocker.logical_id for blocker in blockers] if step is Rung.RETAIN else []
    stacks.delete(workload, stack, role, retained)
    if not failed:
        return None, []
    said = f"blocked by {told(blockers)}; {', '.join(done) or 'nothing of it is ours to mend'}"
    entry = Entry(now, "teardown", step.value, said + (f"; kept {', '.join(retained)}" if retained else ""))
    return entry, [str(blocker) for blocker in blockers if retained and not chased(blocker.kind)]


def ending_of(event: dict[str, Any]) -> Ending:
    """Why the execution says that the life is over. Where a result was recorded first, that one stands."""
    match event["ended"]:
        case {"by": "deadline"}:
            return by_deadline(event["deadline"])
        case {"by": "failure", "error": error}:
            return by_failure(error.get("Error", "Unknown"), error.get("Cause", ""))
        case {"by": "tests"}:
            # Stands only where the record was lost meanwhile: the result itself ends a life by its record.
            return Ending("tests", "broken", "its tests are over, and their result is not in its record")
        case {"by": "sweep", "why": why}:
            return Ending("deadline", "expired", why)
    raise ValueError(f"ended: expected by tests, deadline, failure or sweep, but it is {event['ended']}")
