"""Confirms that nothing is left of an environment, and closes its record."""

from dataclasses import asdict
from typing import Any

from mayfly.aws import clients, remains, stacks, switch
from mayfly.aws.records import Entry, Records, forget_after
from mayfly.domain.ending import by_failure
from mayfly.domain.guard import may_terminate
from mayfly.messages import Subject
from mayfly.observability import logger, metrics
from mayfly.settings import settings


class StillThere(Exception):
    """Something of the environment is left; the state machine looks again for a while."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Gone is what AWS says is gone. What outlived its stack is deleted here, where the guard permits."""
    here, subject = settings(), Subject.model_validate(event["order"])
    logger.append_keys(environment=subject.environment)
    workload = clients.workload(subject.account, subject.region, here.workload_role, subject.environment)
    stack = stacks.describe(workload, event["stack"]) if event["stack"] else None
    if stack and stack.status != "DELETE_COMPLETE":
        raise StillThere(f"the stack {stack.id} is {stack.status}")
    if left := remains.find(workload, subject.environment, here.controller):
        ours = [
            remnant
            for remnant in left
            if not remnant.going and may_terminate(subject.environment, here.controller, remnant.labels, False).granted
        ]
        refused = {}
        if ours:
            switch.check(here.parameters)
            refused = remains.delete(workload, ours)
        named = ", ".join(told(remnant, refused) for remnant in left[:10])
        deleted = len(ours) - len(refused)
        raise StillThere(f"{len(left)} resources are left of it: {named}; {deleted} of them were deleted just now")
    unknown = asdict(by_failure("RecordLost", "why it ended is not known any more")) | {"at": event["now"]}
    until = forget_after(event["now"], here.record_days)
    record = Records(here.table, "environment").change(
        subject.environment,
        {"stage": "terminated", "terminated_at": event["now"], "instances_left": 0},
        Entry(event["now"], context.function_name, "terminated", "no stack and nothing that costs is left"),
        # Only where the record was lost meanwhile: what is gone is gone, whatever the table remembers.
        once={"ending": unknown, "id": subject.environment, "forget_after": until},
        drop=("waiting", "live"),
    )
    kept = record.get("kept", [])
    metrics.add_metric(name="EnvironmentsTerminated", unit="Count", value=1)
    metrics.add_metric(name="ResourcesKept", unit="Count", value=len(kept))
    return {
        "environment": subject.environment,
        "ending": record.get("ending", unknown),
        "instances_built": record.get("instances_built", 0),
        "instances_left": 0,
        # What the teardown had to leave standing and no tag finds again: people see it in the announcement.
        "kept": kept,
    }


def told(remnant: remains.Remnant, refused: dict[str, str]) -> str:
    """A remnant for people, with why it could not be deleted."""
    return f"{remnant.kind} {remnant.id}" + (f" ({refused[remnant.id]})" if remnant.id in refused else "")
