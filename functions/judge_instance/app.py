"""Judges an instance that failed: in its boot, whether Auto Scaling may replace it or its environment ends now; under
test, whether its environment's owner has to know. And one that could not be launched: whether any still can."""

from typing import Any

from msgspec.structs import replace

from mayfly.aws import clients, executions, groups, instances
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.announcements import EnvironmentInstanceLost, EnvironmentOnDemand
from mayfly.contract.aws_events import InstanceState, InstanceTerminated, LaunchFailed
from mayfly.contract.reader import receive
from mayfly.contract.vocabulary import AwsEvent, Wait
from mayfly.domain import capacity, tags
from mayfly.domain.boot import decide_replacement, has_failed
from mayfly.domain.guard import may_destroy
from mayfly.domain.losses import cause_of
from mayfly.domain.records import Entry, Environment
from mayfly.domain.stack import TaskResult
from mayfly.domain.text import clean
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import environments

TRIES = 20
"""How often a launch that failed is noted while others are."""
GROUP_TAG = "aws:autoscaling:groupName"
"""Which group has launched an instance, by Auto Scaling's own tag."""
NAMED = 500
"""Lost instances whose ids a record has room for. The rest are counted when the environment ends."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Judges an EventBridge event of one instance. Each failed instance is counted once, by a conditional write; Auto
    Scaling replaces it in any case."""
    judge = JUDGES[event["detail-type"]]
    return judge(load_settings(), event, context.function_name)


def in_its_boot(settings: Settings, event: dict[str, Any], who: str) -> dict[str, Any]:
    """Counts a boot that failed, and ends the creation where that is one too many."""
    received, target = receive(InstanceState, event), (event["account"], event["region"])
    found = failed_boot(settings, target, received.message.instance)
    environment = found.labels.get(tags.ENVIRONMENT, "") if found else ""
    records = Records(settings.table, Environment)
    record = records.get(environment) if environment else None
    waits = record is not None and record.waits_for(Wait.CREATION) and (record.account, record.region) == target
    if found is None or record is None or record.waiting is None or not waits:
        return {"instance": received.message.instance, "judged": False, "reason": "no environment waits for its boot"}
    logger.append_keys(environment=environment)
    before, counted = record.failed_instances, attr(Environment.failed_instances)
    decision = decide_replacement(before, found.id, found.labels[tags.BOOT], record.replace_failed)
    # Another one that failed at the same time makes this one fail, and be tried again with what is then written.
    records.change(
        environment,
        Entry(utc_text(received.at), who, "instance failed", decision.reason),
        only_if=counted.eq(list(before)) if before else counted.not_exists(),
        failed_instances=decision.failed,
    )
    if not decision.granted:
        executions.complete_task(record.waiting.token, TaskResult("CreationFailed", decision.reason), {})
    return {"instance": found.id, "judged": True, "replaced": decision.granted, "reason": decision.reason}


def failed_boot(settings: Settings, target: tuple[str, str], instance: str) -> instances.Instance | None:
    """Returns the instance, if it is one of ours that says that its boot failed."""
    if target not in settings.targets:
        return None
    found = instances.describe(clients.workload(*target, settings.workload_role, None), instance)
    ours = found is not None and found.labels.get(tags.CONTROLLER) == settings.controller
    return found if found and ours and has_failed(found.labels) else None


def under_test(settings: Settings, event: dict[str, Any], who: str) -> dict[str, Any]:
    """Counts an instance that Auto Scaling took out while its environment was tested, and says so."""
    received, target = receive(InstanceTerminated, event), (event["account"], event["region"])
    lost, records = received.message, Records(settings.table, Environment)
    group = group_of_ours(settings, target, lost.group)
    record = records.get(group.labels.get(tags.ENVIRONMENT, "")) if group else None
    if record is None or not record.waits_for(Wait.TESTS) or (record.account, record.region) != target or record.ending:
        return {"instance": lost.instance, "judged": False, "reason": "no environment that is tested has lost it"}
    logger.append_keys(environment=record.id)
    before, counted = record.lost_instances, attr(Environment.lost_instances)
    reason = f"{lost.instance}: {cause_of(lost.cause)}"
    known = before if lost.instance in before else (*before, lost.instance)
    if len(before) < len(known) <= NAMED:
        records.change(
            record.id,
            Entry(utc_text(received.at), who, "instance lost", reason),
            only_if=counted.eq(list(before)) if before else counted.not_exists(),
            lost_instances=known,
        )
    # Said also of a repetition: the first try may have died before it said anything.
    facts, number = environments.facts(record), known.index(lost.instance) + 1
    announce(settings.facts, EnvironmentInstanceLost(**facts, instance=lost.instance, reason=reason, lost=number))
    return {"instance": lost.instance, "judged": True, "reason": reason}


def not_launched(settings: Settings, event: dict[str, Any], who: str) -> dict[str, Any]:
    """Notes why an instance was not launched while its environment is built, where that is news. Where EC2 has no Spot
    Instances, the group gets the others On-Demand; where it has capacity nowhere, the creation ends. Auto Scaling tries
    the others in any case."""
    received, target = receive(LaunchFailed, event), (event["account"], event["region"])
    failed, records = received.message, Records(settings.table, Environment)
    group = group_of_ours(settings, target, failed.group)
    record = records.get(group.labels.get(tags.ENVIRONMENT, "")) if group else None
    here = record is not None and (record.account, record.region) == target
    if group is None or record is None or not here or record.waiting is None or not record.waits_for(Wait.CREATION):
        return {"group": failed.group, "judged": False, "reason": "no environment waits for its instances"}
    logger.append_keys(environment=record.id)
    wanted = capacity.Wanted(group.types, group.zones, group.missing, mixed=bool(group.distribution))
    entry = Entry(utc_text(received.at), who, "not launched", "")
    decision = noted(records, record, failed, wanted, entry)
    if decision.on_demand:
        fall_back(settings, record, group, entry)
    if decision.ends and not record.ending:
        # In Express mode nobody waits for it any more: who looks at its instances next, reads it in the record.
        executions.complete_task(record.waiting.token, TaskResult("CreationFailed", decision.reason), {})
    return {"group": failed.group, "judged": True, "ends": decision.ends, "reason": decision.reason}


def fall_back(settings: Settings, record: Environment, group: groups.Group, entry: Entry) -> None:
    """Has Auto Scaling launch On-Demand what a group lacks beside the Spot Instances that it has. That is written down
    and said before: a repetition finds it, and asks again. Whoever may change a group's shares could have it end
    instances, so the guard is asked."""
    permission = may_destroy(record.id, settings.controller, group.labels)
    if not permission.granted:
        logger.warning("the group keeps its share of Spot Instances", extra={"why": permission.reason})
        return
    workload = clients.workload(record.account, record.region, settings.workload_role, record.id)
    members = instances.find(workload, {GROUP_TAG: group.name}, going=False)
    base = group.desired - sum(member.spot for member in members)
    if base <= group.on_demand_base:
        return
    why = f"EC2 has no Spot Instances for it: {base} of {group.desired} are launched On-Demand"
    if why not in [known.why for known in record.history]:
        Records(settings.table, Environment).change(record.id, replace(entry, what="On-Demand instead", why=why))
    facts = environments.facts(record)
    announce(settings.facts, EnvironmentOnDemand(**facts, on_demand=base, instances=group.desired, reason=why))
    groups.fill_on_demand(workload, group, base)


def noted(
    records: Records[Environment], record: Environment, failed: LaunchFailed, wanted: capacity.Wanted, entry: Entry
) -> capacity.Shortage:
    """Writes down what is without capacity, where that is news. Many launches fail at the same time: each decides with
    what the others have written.

    Raises:
        Conflict: they have written all the time; the event is tried again.
    """
    counted = attr(Environment.without_capacity)
    for _ in range(TRIES):
        before = record.without_capacity
        decision = capacity.decide_launch(before, clean(failed.why), failed.zone, wanted)
        line = replace(entry, why=decision.reason).shortened()
        if line.why in [known.why for known in record.history]:
            return decision
        only_if = counted.eq(list(before)) if before else counted.not_exists()
        try:
            lacks: dict[str, Any] = {"without_capacity": decision.pools or None}
            if decision.ends:
                there = f"{record.account}/{record.region}"
                lacks["no_capacity"] = {**record.no_capacity, there: capacity.summary(decision)}
            records.change(record.id, line, only_if=only_if, **lacks)
        except Conflict as conflict:
            if conflict.found is None:
                raise
            record = conflict.found
        else:
            return decision
    raise Conflict(record)


def group_of_ours(settings: Settings, target: tuple[str, str], name: str) -> groups.Group | None:
    """Returns a group, if it is one of ours by its own tags."""
    if target not in settings.targets:
        return None
    found = groups.describe(clients.workload(*target, settings.workload_role, None), name)
    return found if found and found.labels.get(tags.CONTROLLER) == settings.controller else None


JUDGES = {
    AwsEvent.INSTANCE_STATE: in_its_boot,
    AwsEvent.INSTANCE_TERMINATED: under_test,
    AwsEvent.LAUNCH_FAILED: not_launched,
}
