"""Confirms that an environment is whole: its stack stands, and every instance runs the version that was pushed."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import clients, instances, networks, stacks
from mayfly.aws.events import announce
from mayfly.aws.groups import capacities
from mayfly.aws.records import Records
from mayfly.contract.announcements import EnvironmentReady
from mayfly.contract.orders import Order
from mayfly.contract.vocabulary import SuiteKind, Wait
from mayfly.domain import tags
from mayfly.domain.boot import booting, shortfall, wrong_versions
from mayfly.domain.ending import digest
from mayfly.domain.preview import OUTPUT, name_of, stable_address
from mayfly.domain.records import Entry, Environment, Fleet, Release, Span
from mayfly.domain.stack import answer
from mayfly.domain.text import clean
from mayfly.domain.timestamp import read_timestamp, utc_text
from mayfly.domain.timing import Course, of_types, spans, told
from mayfly.observability import logger, measure
from mayfly.settings import Settings, load_settings
from mayfly.workflows import environments, quotas

OUTPUT_BYTES = 64_000
NAMED = 500
"""Instances whose ids a record has room for."""
SHOWN = 3
"""Instances that are named where something is wrong with them."""


class NotReady(Exception):
    """The environment is not whole yet, or never will be: the state machine looks again for a while."""


class StillBooting(Exception):
    """The environment is not whole yet, and its stack was built in Express mode: nobody has waited for its
    instances."""


class CreationFailed(Exception):
    """EC2 has no capacity for its instances: none of them comes any more."""


class EndedBefore(Exception):
    """The life was ended before it was ready."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """CREATE_COMPLETE says that all instances signalled; what they are doing now, only EC2 knows."""
    settings, order = load_settings(), Order.read(event["order"])
    logger.append_keys(environment=order.environment)
    workload = clients.workload(order.account, order.region, settings.workload_role, order.environment)
    stack = stacks.describe(workload, event["stack"])
    reply = answer(Wait.CREATION, stack.status, stack.status_reason) if stack else None
    if stack is None or reply is None or reply.error:
        raise NotReady(f"the stack {event['stack']} is {stack.status if stack else 'gone'}")
    running = whole(settings, order, workload, stack)
    outputs = dict(stack.outputs) | address(order, stack.outputs, settings.preview_domain)
    # The machine's own, which a repetition tells again; or of one of an earlier version, which tells it itself.
    token = event.get("token") or secrets.token_urlsafe(32)
    spent, slowest = until_ready(settings, order, stacks.making(workload, stack.id), running, event["now"])
    remember_fleet(settings, order, running, event["now"])
    quotas.learn(settings, order, running, event["now"])
    Records(settings.table, Environment).change(
        order.environment,
        Entry(event["now"], context.function_name, "ready", said(len(running), order.instance_count, spent)),
        drop=(Environment.waiting,),  # a token is long, and each write pays for the whole record
        spans=spent,
        slowest=slowest,
        outputs=shown(outputs),
        instances_built=len(running),
        instance_count=len(running),
        ready_at=max([event["now"], *(utc_text(instance.launched_at) for instance in running)]),
        # The machine of an earlier version tells nobody: its tests pass as they did then.
        report_token=digest(token) if "token" in event else None,
        **instances.counted(workload, order.environment, settings.controller, running),
    )
    known: dict[str, Any] = {"instances": len(running), "outputs": outputs, "token": token}
    if "token" in event:
        announce(settings.facts, EnvironmentReady(**environments.told_of(order), deadline=event["deadline"], **known))
    return {"environment": order.environment, **known}


def remember_fleet(settings: Settings, order: Order, running: Sequence[instances.Instance], now: str) -> None:
    """Writes down which instances run, for those who look; nothing hangs on it."""
    until = datetime.fromisoformat(now) + timedelta(minutes=order.ceiling_minutes, days=settings.record_days)
    Records(settings.table, Fleet).try_change(
        order.environment,
        id=order.environment,
        instances=sorted(instance.id for instance in running)[:NAMED],
        forget_after=int(until.timestamp()),
    )


def whole(
    settings: Settings, order: Order, workload: clients.Workload, stack: stacks.Stack
) -> list[instances.Instance]:
    """Returns the instances of an environment that is whole.

    Raises:
        NotReady, StillBooting: it is not; EndedBefore: it need not be any more.
    """
    seen = instances.of_environment(workload, order.environment, settings.controller)
    running = [instance for instance in seen if instance.state == "running"]
    asked = order.instance_count
    groups = capacities(workload, order.environment) if asked is None else {}
    lacking = shortfall({one.id: one.state for one in seen}, asked, groups)
    if stack.express and (lacking := [*lacking, *unsettled(workload, stack, order, running)]):
        not_ended(settings, order)
        raise StillBooting("; ".join(lacking[:SHOWN]))
    if lacking:
        raise NotReady("; ".join(lacking[:SHOWN]))
    if wrong := wrong_versions({one.id: one.labels for one in running}, order.version, order.artifact):
        raise NotReady("; ".join(wrong[:SHOWN]))
    return running


def unsettled(
    workload: clients.Workload, stack: stacks.Stack, order: Order, running: Sequence[instances.Instance]
) -> list[str]:
    """Names what CloudFormation would have waited for, had it not built the stack in Express mode."""
    parts = networks.states(workload, stacks.resources(workload, stack.id))
    late = [f"{identity} is {state}" for identity, state in sorted(parts.items()) if state != "available"]
    return late + (booting({one.id: one.labels for one in running}) if order.tells_boot else [])


def not_ended(settings: Settings, order: Order) -> None:
    """Goes on waiting only for what can still come, and nobody has ended meanwhile.

    Raises:
        EndedBefore: somebody has. CreationFailed: EC2 has no capacity for it.
    """
    record = Records(settings.table, Environment).get(order.environment)
    if record and record.ending:
        raise EndedBefore(f"its record says {record.ending.reason}")
    if record and (lacks := record.no_capacity.get(f"{order.account}/{order.region}")):
        raise CreationFailed(lacks)


def address(order: Order, outputs: Mapping[str, str], domain: str) -> dict[str, str]:
    """Returns the stable address of a pull request's preview, as one more output."""
    if order.kind is not SuiteKind.PREVIEW or order.pull_request is None or not domain:
        return {}
    found = stable_address(outputs, name_of(order.application, order.pull_request, domain))
    return {OUTPUT: found} if found else {}


def said(running: int, asked: int | None, spent: Sequence[Span]) -> str:
    """Tells how many instances run, and where the time went."""
    run = f"{running} of {running if asked is None else asked} instances run"
    return f"{run}; {told(spent)}" if spent else run


def until_ready(
    settings: Settings, order: Order, made: stacks.Making, running: Sequence[instances.Instance], now: str
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Tells where the time since the push went, and which resources took longest; measured besides, for the
    dashboard."""
    record = Records(settings.table, Environment).get(order.environment)
    release = Records(settings.table, Release).get(order.release)
    course = Course(
        read_timestamp(release.began if release else None),
        read_timestamp(record.planned_at if record else None),
        made.begun,
        min((instance.launched_at for instance in running), default=None),
        made.complete,
        datetime.fromisoformat(now),
    )
    found = spans(course, [instance.labels.get(tags.BOOT, "") for instance in running])
    for one in found:
        measure("SecondsToReady", one.seconds, span=one.name)
    return found, of_types(made.took)


def shown(outputs: Mapping[str, str]) -> dict[str, str]:
    """Keeps as many of a CloudFormation stack's outputs as its record has room for, cleaned of control characters."""
    kept, size = dict[str, str](), 0
    for name, value in ((name, clean(value)) for name, value in outputs.items()):
        size += len(name.encode()) + len(value.encode())
        if size <= OUTPUT_BYTES:
            kept[name] = value
    return kept
