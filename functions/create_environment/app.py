"""Creates an environment's stack; completes the task at once where the stack is there already."""

import hashlib
from datetime import datetime
from typing import Any

from mayfly.aws import clients, executions, stacks
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records
from mayfly.contract.announcements import EnvironmentRequested
from mayfly.contract.orders import Order
from mayfly.contract.vocabulary import EnvironmentStage, Wait
from mayfly.domain import blueprint, ranges, tags
from mayfly.domain.guard import is_ours
from mayfly.domain.identity import stack_name
from mayfly.domain.pace import Lane
from mayfly.domain.records import Entry, Environment, Waiting
from mayfly.domain.stack import answer
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import catalogue, causes, environments, pacing, pools, puppet_access
from mayfly.workflows.environments import EndedBefore


class NotOurs(Exception):
    """A stack of this name stands that another controller or person made."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs first to ask for the stack, and again whenever the event that should end the wait does not come.

    The token is stored before the call that causes the event. A repetition finds the stack standing, looks at it
    once, and waits on or answers by itself: the slow reconciler behind the fast path.
    """
    settings, order, token = load_settings(), Order.read(event["order"]), event["token"]
    logger.append_keys(environment=order.environment)
    records = Records(settings.table, Environment)
    built = f"stack {stack_name(order.environment)}{', in Express mode' if order.express else ''}"
    entry = Entry(event["now"], context.function_name, EnvironmentStage.CREATING, built)
    if pacing.waits(settings.table, f"{order.account}/{order.region}", Lane.BUILD, event, order.environment):
        return {"environment": order.environment, "stack": None}
    record = remember(records, order, token, entry)
    if event.get("announces") and not record.stack:  # a repetition that finds what was asked for has said it
        told, deadline, without = environments.told_of(order), str(record.deadline), dict(record.no_capacity)
        announce(settings.facts, EnvironmentRequested(**told, deadline=deadline, no_capacity=without))
    workload = clients.workload(order.account, order.region, settings.workload_role, order.environment)
    template = catalogue.template(settings.blueprints, order.blueprint)
    wanted = stacks.Wanted(
        template,
        parameters(order, settings.controller, own(settings, order, template)),
        f"arn:aws:iam::{order.account}:role/{settings.stack_role}",
        # A task token is longer than CloudFormation's may be.
        request=hashlib.sha256(token.encode()).hexdigest(),
        express=order.express,
    )
    until = (timestamp(record.deadline), timestamp(record.ceiling))
    labels = tags.of_environment(order.environment, order.application, settings.controller, *until)
    stack_id = stacks.create(workload, stack_name(order.environment), wanted, labels)
    if stack_id is None:
        stack_id = look_again(settings, order, workload, token)
    made = records.change(order.environment, stack=stack_id)
    if made and made.ending:
        environments.wake(made, made.ending)
    return {"environment": order.environment, "stack": stack_id}


def remember(records: Records[Environment], order: Order, token: str, entry: Entry) -> Environment:
    """Writes down that an execution waits for this environment, and what other functions need of its order."""
    try:
        record = records.change(
            order.environment,
            entry,
            stage=EnvironmentStage.CREATING,
            waiting=Waiting(Wait.CREATION, token),
            replace_failed=replaceable(order.told.get("ReplaceFailed", "")),
            pool=order.pool.name if order.pool else None,
            only_if=environments.NOT_ENDED,
        )
    except Conflict as conflict:
        ending = conflict.found.ending.reason if conflict.found else "nothing: there is none"
        raise EndedBefore(f"its record says {ending}") from None
    if record is None:
        raise EndedBefore("the table is lost: no environment is built without a record")
    return record


def own(settings: Settings, order: Order, template: stacks.Template) -> dict[str, str]:
    """Returns the parameters that no two environments share: the secret for a Puppet server, and the range of an own
    VPC."""
    secret = puppet_access.of_environment(settings, template.text, order.told, order.account, order.environment)
    return secret | (ranges.layout(pools.take(settings, order.pool, order.environment)) if order.pool else {})


def replaceable(given: str) -> int:
    """Tells how many of its instances may be replaced, as its blueprint is told; CloudFormation refuses what is no
    number."""
    return int(given) if given.isdecimal() else 0


def timestamp(written: str | None) -> datetime:
    """Returns a timestamp of the record, which every record has that was planned."""
    return datetime.fromisoformat(str(written))


def parameters(order: Order, controller: str, own: dict[str, str]) -> dict[str, str]:
    """Returns what every blueprint is told, what this application adds, and what is the environment's own."""
    facts = order.only(*blueprint.PARAMETERS.values())
    return blueprint.parameters(order.told | own, order.declared, **facts, controller=controller)


def look_again(settings: Settings, order: Order, workload: clients.Workload, token: str) -> str:
    """Looks once at the stack that stands under this name, and completes the task if it is over. Returns its id."""
    metrics.add_metric(name="StacksLookedAtAgain", unit="Count", value=1)
    stack = stacks.describe(workload, stack_name(order.environment))
    if stack is None:
        raise RuntimeError("the stack vanished between two calls")  # retried by the state machine
    ours = is_ours(order.environment, settings.controller, stack.tags)
    if not ours.granted:
        raise NotOurs(f"{stack.id} stands already: {ours.reason}")
    reply = causes.explained(workload, stack.id, answer(Wait.CREATION, stack.status, stack.status_reason))
    if reply:
        executions.complete_task(token, reply, {"stack": stack.id})
    return stack.id
