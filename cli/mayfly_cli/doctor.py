"""Examines an installation: what is configured wrongly, missing or in the way, and what to do about it."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import replace

from mayfly.aws import clients, kill_switch
from mayfly.aws import quotas as service_quotas
from mayfly.aws.clients import controller
from mayfly.contract.configuration import Application, Permanent
from mayfly.contract.reader import Refused
from mayfly.domain.needs import QUOTAS
from mayfly.domain.records import DeadLetter, Quotas
from mayfly.workflows import catalogue
from mayfly_cli import reports, show
from mayfly_cli.installation import Installation

type Json = dict[str, Any]

STACK_STATUSES = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        todo: what to do; "" where all is well.
    """

    check: str
    state: Literal["ok", "warning", "failure"]
    said: str
    todo: str = ""

    def as_json(self) -> Json:
        """As it is printed with --json."""
        return asdict(self)


class Target:
    """An account and Region where environments live, as far as this command may look at it."""

    def __init__(self, installation: Installation, account: str, region: str, role: str | None) -> None:
        self.name = f"{account}/{region}"
        self.account, self.region = account, region
        own = installation.settings.controller.split("/")[0]
        self._local = os.environ.get("MAYFLY_WORKLOAD_ENDPOINT_URL")
        self._own = account == own and role is None and not self._local
        self._role = role or installation.settings.workload_role

    def client(self, service: str, region: str | None = None) -> Any:
        """Returns a client there: with the own credentials in the own account, and through a role elsewhere."""
        if self._own:
            return boto3.client(service, region_name=region or self.region)  # type: ignore[call-overload]
        return replace(self._entered(), region=region or self.region)._client(service)

    def environ(self) -> dict[str, str]:
        """Returns the same credentials as variables, for another program."""
        if self._own:
            return {}
        found = self._entered().credentials
        names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
        return {name: found[key] for name, key in (names | {"AWS_SESSION_TOKEN": "SessionToken"}).items()}

    @cache  # noqa: B019  # a target lives as long as the command
    def _entered(self) -> clients.Workload:
        return clients.workload(self.account, self.region, self._role, None)


def examine(installation: Installation, now: datetime, role: str | None) -> list[Finding]:
    """Runs every check. One that cannot be run is a warning that says why, and keeps no other from running.

    Args:
        role: of each workload account, that whoever runs this may assume. Mayfly's own role is open to its functions
            only.
    """
    resources = _resources(installation)
    targets = [Target(installation, account, region, role) for account, region in installation.settings.targets]
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("stack", lambda: _stack(installation)),
        ("bus", lambda: _bus(installation)),
        ("rules", lambda: _rules(installation, resources)),
        ("schedules", lambda: _schedules(resources)),
        ("applications", lambda: _applications(installation)),
        ("families", lambda: _families(installation)),
        ("targets", lambda: _targets(installation, now)),
        *((f"{each.name}", lambda each=each: _target(installation, each)) for each in targets),
        *((f"{each.name} quotas", lambda each=each: _quotas(installation, each)) for each in targets),
        ("dead letters", lambda: _dead_letters(installation)),
        ("kill switch", lambda: _kill_switch(installation)),
        ("alarms", lambda: _alarms(resources)),
        ("subscriptions", lambda: _subscriptions(resources)),
    ]
    return [finding for name, check in checks for finding in _run(name, check)]


def _run(name: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except (ClientError, BotoCoreError) as error:
        todo = "See to it, or ask for the permission that is named; docs/cli.md lists what doctor looks at."
        return [Finding(name, "warning", f"could not be looked at: {error}", todo)]


def _resources(installation: Installation) -> dict[str, list[str]]:
    """Returns what the stack consists of: physical ids by type."""
    pages = controller("cloudformation").get_paginator("list_stack_resources").paginate(StackName=installation.stack)
    found: dict[str, list[str]] = {}
    for page in pages:
        for each in page["StackResourceSummaries"]:
            found.setdefault(each["ResourceType"], []).append(each["PhysicalResourceId"])
    return found


# ---- the installation itself ------------------------------------------------------------------------------------


def _stack(installation: Installation) -> Iterator[Finding]:
    if installation.status in STACK_STATUSES:
        yield Finding("stack", "ok", f"{installation.stack} is {installation.status}")
    else:
        todo = "Look at the stack's events, and deploy again: sam deploy."
        yield Finding("stack", "failure", f"{installation.stack} is {installation.status}", todo)


def _bus(installation: Installation) -> Iterator[Finding]:
    events = controller("events")
    for check, bus in (("bus", installation.settings.bus), ("bus of facts", installation.settings.facts)):
        try:
            events.describe_event_bus(Name=bus)
        except events.exceptions.ResourceNotFoundException:
            yield Finding(check, "failure", f"there is no bus {bus}", "Deploy again: sam deploy.")
        else:
            yield Finding(check, "ok", bus)


def _rules(installation: Installation, resources: dict[str, list[str]]) -> Iterator[Finding]:
    # CloudFormation calls a rule of a bus "bus|rule".
    ours = {found.rpartition("|")[2] for found in resources.get("AWS::Events::Rule", [])}
    buses, rules = (
        (installation.settings.bus, installation.settings.facts, "default"),
        controller("events").get_paginator("list_rules"),
    )
    pages = [page for bus in buses for page in rules.paginate(EventBusName=bus)]
    on = {rule["Name"] for page in pages for rule in page["Rules"] if rule["State"] == "ENABLED"}
    if off := sorted(ours - on):
        todo = f"Enable them: aws events enable-rule --event-bus-name BUS --name NAME (BUS: {' or '.join(buses)})."
        yield Finding("rules", "failure", f"{', '.join(off)} off, or not there", todo)
    else:
        yield Finding("rules", "ok", f"{len(ours)} on")


def _schedules(resources: dict[str, list[str]]) -> Iterator[Finding]:
    scheduler = controller("scheduler")
    names = resources.get("AWS::Scheduler::Schedule", [])
    states = {name: scheduler.get_schedule(Name=name.rpartition("/")[2])["State"] for name in names}
    if off := sorted(name for name, state in states.items() if state != "ENABLED"):
        todo = "Enable them in EventBridge Scheduler, or deploy again: without its schedule nothing is swept."
        yield Finding("schedules", "failure", f"{', '.join(off)} off", todo)
    else:
        yield Finding("schedules", "ok", f"{len(names)} on")


def _dead_letters(installation: Installation) -> Iterator[Finding]:
    name = "ApproximateNumberOfMessages"
    attributes = controller("sqs").get_queue_attributes(
        QueueUrl=installation.settings.dead_letters, AttributeNames=[name]
    )["Attributes"]
    if count := sum(1 for _ in installation.records(DeadLetter).live((DeadLetter.id,))) + int(attributes[name]):
        todo = "See why: mayfly dead-letters list. Then redrive or discard them."
        yield Finding("dead letters", "warning", f"{count} messages could not be followed", todo)
    else:
        yield Finding("dead letters", "ok", "none")


def _kill_switch(installation: Installation) -> Iterator[Finding]:
    if (said := kill_switch.read(installation.settings.parameters)) != kill_switch.OFF:
        todo = "Nothing is destroyed meanwhile. When it is over: mayfly kill-switch off --why ..."
        yield Finding("kill switch", "warning", f"on: {said}", todo)
    else:
        yield Finding("kill switch", "ok", "off")


def _alarms(resources: dict[str, list[str]]) -> Iterator[Finding]:
    names = resources.get("AWS::CloudWatch::Alarm", [])
    pages = controller("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=names[:100])
    firing = sorted(
        each["AlarmName"] for page in pages for each in page["MetricAlarms"] if each["StateValue"] == "ALARM"
    )
    if firing:
        yield Finding("alarms", "warning", f"{', '.join(firing)} firing", "docs/operations.md says what each means.")
    else:
        yield Finding("alarms", "ok", f"none of {len(names)} firing")


def _subscriptions(resources: dict[str, list[str]]) -> Iterator[Finding]:
    sns = controller("sns")
    for topic in resources.get("AWS::SNS::Topic", []):
        name = topic.rpartition(":")[2]
        if not name.endswith(("-alarms", "-notifications")):
            continue
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        found = [each for page in pages for each in page["Subscriptions"]]
        pending = [each["Endpoint"] for each in found if not each["SubscriptionArn"].startswith("arn:")]
        if pending:
            todo = "Follow the link in the mail that AWS sent there."
            yield Finding(f"topic {name}", "warning", f"{', '.join(pending)} not confirmed", todo)
        elif not found:
            todo = "Set AlarmEmail or NotificationEmail, or subscribe a chat: docs/operations.md."
            yield Finding(f"topic {name}", "warning", "nobody is told", todo)
        else:
            yield Finding(f"topic {name}", "ok", f"{len(found)} subscriptions")


# ---- what is configured -----------------------------------------------------------------------------------------


def _applications(installation: Installation) -> Iterator[Finding]:
    settings, found = installation.settings, False
    for name, application in catalogue.applications(settings.parameters):
        found = True
        check = f"application {name}"
        if isinstance(application, Refused):
            yield Finding(check, "failure", str(application), "docs/applications.md lists every field.")
            continue
        try:
            said = planned(installation, application)
        except Refused as refusal:
            yield Finding(check, "failure", str(refusal), "docs/tasks/new-application.md shows each step.")
        else:
            yield Finding(check, "ok", said)
    if not found:
        todo = "Configure one: docs/tasks/new-application.md."
        yield Finding("applications", "warning", f"none below {settings.parameters}/applications", todo)


def planned(installation: Installation, application: Application) -> str:
    """Plans it as far as a release would.

    Raises:
        Refused: a release would fail for this reason.
    """
    settings = installation.settings
    targets = catalogue.targets(settings, application)
    building = catalogue.environment(settings, application, targets[0][1])
    if building["image"]:
        catalogue.images(settings, application, [region for _, region in targets])
    where = " or ".join("/".join(each) for each in targets)
    count = building["instance_count"]
    each = "as many instances as its template says" if count is None else show.count(count, "instance")
    suites = f"{show.count(len(application.suites), 'suite')} of {each}"
    on = f" on {building['image']}" if building["image"] else ""
    return f"{suites} in {where}, {application.blueprint}{on}"


def _families(installation: Installation) -> Iterator[Finding]:
    settings = installation.settings
    for name, family in catalogue.families(settings.parameters):
        check = f"family {name}"
        try:
            if isinstance(family, Refused):
                raise family
            catalogue.target(settings, family.account, family.region)
            catalogue.building(settings.blueprints, family.blueprint, family.parameters, 1)
        except Refused as refusal:
            yield Finding(check, "failure", str(refusal), "docs/tasks/bake-an-image.md lists every field.")
        else:
            yield Finding(check, "ok", f"baked in {family.account}/{family.region}")


# ---- workload accounts ------------------------------------------------------------------------------------------


def _targets(installation: Installation, now: datetime) -> Iterator[Finding]:
    """Tells whether Mayfly's functions get in everywhere: the last sweep has tried, with the role that they have."""
    report = reports.latest(installation.settings.reports, now)
    if report is None:
        todo = (
            "Have one run: mayfly sweep --dry-run --why doctor. If none comes, see NoSweepAlarm in docs/operations.md."
        )
        yield Finding("workload role", "warning", "no sweep has run within the hour", todo)
        return
    for account, region in installation.settings.targets:
        target = f"{account}/{region}"
        if why := report["unseen"].get(target):
            todo = "Deploy blueprints/workload-account.yaml there: docs/tasks/add-an-account.md."
            yield Finding(
                f"workload role in {target}", "failure", f"the sweep of {report['at']} was refused: {why}", todo
            )
        else:
            yield Finding(f"workload role in {target}", "ok", f"the sweep of {report['at']} entered it")


def _target(installation: Installation, target: Target) -> Iterator[Finding]:
    """Checks the rule that forwards CloudFormation's events, and the roles that build environments and images."""
    try:
        events, iam = target.client("events"), target.client("iam")
    except ClientError as error:
        todo = "Pass --role with one there that you may assume, such as a read-only one."
        yield Finding(f"account {target.name}", "warning", f"cannot be looked at by you: {error}", todo)
        return
    bus = installation.outputs.get("BusArn", "")
    check = f"forwarding in {target.name}"
    deploy = "Deploy blueprints/workload-region.yaml there again, with Controller as the output Controller says."
    pages = events.get_paginator("list_rule_names_by_target").paginate(TargetArn=bus)
    names = [name for page in pages for name in page["RuleNames"]]
    rules = [events.describe_rule(Name=name) for name in names]
    on = [rule for rule in rules if rule["State"] == "ENABLED" and "aws.cloudformation" in _sources(rule)]
    if on:
        yield Finding(check, "ok", f"{on[0]['Name']} sends CloudFormation's events to {bus}")
    else:
        state = "it is off" if any("aws.cloudformation" in _sources(rule) for rule in rules) else "there is none"
        said = f"no rule that is on sends CloudFormation's events to {bus}: {state}"
        yield Finding(check, "failure", said, deploy)
    check = f"role that builds in {target.name}"
    settings = installation.settings
    builder = f"{settings.workload_role.removesuffix('workload')}builder"
    roles = (settings.stack_role, settings.permanent_role, settings.consoles_role, builder)
    if lacking := [role for role in roles if not _exists(iam, role)]:
        todo = "Deploy blueprints/workload-account.yaml and workload-images.yaml there: docs/tasks/add-an-account.md."
        yield Finding(check, "failure", f"there is no role {' and no role '.join(lacking)}", todo)
    else:
        yield Finding(check, "ok", ", ".join(roles))


def _exists(iam: Any, role: str) -> bool:
    try:
        iam.get_role(RoleName=role)
    except iam.exceptions.NoSuchEntityException:
        return False
    return True


def _sources(rule: Json) -> list[str]:
    return list(json.loads(rule.get("EventPattern", "{}")).get("source", []))


def _quotas(installation: Installation, target: Target) -> Iterator[Finding]:
    """Returns what one release of every application at once takes there, its permanent environments besides, against
    what AWS allows."""
    read = installation.records(Quotas).get(target.name) or Quotas(id=target.name)
    if lacking := {**read.uncounted, **read.unread}:
        said = f"Mayfly cannot read {len(lacking)}, and goes by AWS's defaults: {next(iter(lacking.values()))}"
        todo = "Deploy blueprints/workload-account.yaml there (again): docs/tasks/add-an-account.md."
        yield Finding(f"quotas in {target.name}", "warning", said, todo)
    for key, count in sorted(_takes(installation, target).items()):
        quota = QUOTAS.get(key)
        if quota is None:  # counted, and no quota
            continue
        quotas = target.client("service-quotas", "us-east-1" if quota.service == "iam" else None)
        check, need = f"quota of {quota.name} in {target.name}", -(-count // quota.per)
        found = service_quotas.allowed(quotas, quota)
        allowed = quota.default if found is None else found
        said = f"not raised, as far as can be seen: {allowed} by default" if found is None else f"{allowed:.0f}"
        said += f"; a release of every application at once needs {need}"
        if need > allowed:
            todo = f"Ask for more: aws service-quotas request-service-quota-increase --service-code {quota.service} "
            todo += f"--quota-code {quota.code} --desired-value {need}"
            yield Finding(check, "warning", said, todo)
        else:
            yield Finding(check, "ok", said)


def _takes(installation: Installation, target: Target) -> Counter[str]:
    """Returns what is taken of each quota, as admission reckons it, by one release of each application that lives
    there, and by each permanent environment. What is refused is said of the application itself."""
    settings, found, at = installation.settings, Counter[str](), (target.account, target.region)
    for _, of in catalogue.applications(settings.parameters):
        if isinstance(of, Refused):
            continue
        lives: list[tuple[Application | Permanent, int]] = [(of, len(of.suites)), *((own, 1) for own in of.permanent)]
        for wanted, times in lives:
            with suppress(Refused):
                if at not in _lives_at(installation, of, wanted):
                    continue
                own, count = wanted.parameters, wanted.instance_count
                order = catalogue.building(settings.blueprints, wanted.blueprint, own, count) | {"parameters": own}
                needs = catalogue.needs(settings.blueprints, order, at)
                found.update({key: taken * times for key, taken in needs.takes.items()})
    return found


def _lives_at(installation: Installation, of: Application, wanted: Application | Permanent) -> list[tuple[str, str]]:
    """Tells where an application or a permanent environment of it may live: all of a release may be built at one
    target."""
    if isinstance(wanted, Application):
        return catalogue.targets(installation.settings, wanted)
    return [catalogue.target(installation.settings, wanted.account or of.account, wanted.region or of.region)]
