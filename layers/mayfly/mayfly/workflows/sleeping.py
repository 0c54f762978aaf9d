"""Has environments sleep and wake: by their office hours, or as a person asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from mayfly.aws import clients, groups, instances, kill_switch, stacks
from mayfly.aws.attempts import going_on
from mayfly.aws.groups import Group
from mayfly.aws.records import EXISTS, Conflict, Records, attr
from mayfly.contract.announcements import EnvironmentAsleep, EnvironmentAwake
from mayfly.contract.reader import Received, Refused
from mayfly.contract.vocabulary import USED_BY_PEOPLE, EnvironmentStage, Event, Wait
from mayfly.domain import tags
from mayfly.domain.guard import TERMINATION_PROTECTED, is_ours, may_destroy
from mayfly.domain.identity import stack_name
from mayfly.domain.office_hours import SleepAction, SleepDecision, Window, changes_at, decide_sleep
from mayfly.domain.records import LIVE, Entry, Environment, Override, Service, Sleep, plain
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings
from mayfly.workflows import catalogue, outbox
from mayfly.workflows.sums import Sums

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload
    from mayfly.contract.configuration import Application, Permanent
    from mayfly.contract.requests import EnvironmentSleepRequested, EnvironmentWakeRequested

type Sleepy = Environment | Service
type Asked = EnvironmentSleepRequested | EnvironmentWakeRequested

_WHO = "office hours"


class Sleeper(Struct, frozen=True):
    """An environment that may sleep, and when it is awake."""

    record: Sleepy
    hours: Window | None

    @property
    def label(self) -> str:
        """The tag of whose sessions may touch it."""
        return tags.SERVICE if isinstance(self.record, Service) else tags.ENVIRONMENT

    def records(self, settings: Settings) -> Records[Any]:
        """Returns the records that it is kept in."""
        return Records(settings.table, type(self.record))

    def enter(self, settings: Settings) -> Workload:
        """Enters its account, in a session of its own name."""
        account, region = str(self.record.account), str(self.record.region)
        return clients.workload(account, region, settings.workload_role, self.record.id, self.label)


def ask(settings: Settings, received: Received[Asked]) -> tuple[str, str]:
    """Writes down what a person wants of an environment's sleep; the look that follows heeds it. Of two requests, the
    later one stands.

    Returns:
        the environment, and why its request is not followed; "" where it is.

    Raises:
        Refused: there is no such environment, or its sender speaks for another application. A permanent one is its
            owners' and the operators' (the API asks who is one), as everything else that is asked of it.
    """
    asked, at = received.message, utc_text(received.at)
    record = _named(settings, asked.environment)
    received.check_application(record.application)
    if isinstance(record, Service):
        received.check_person()
    records: Records[Any] = Records(settings.table, type(record))
    until = utc_text(received.at + timedelta(minutes=asked.minutes))
    wanted = Override(asked.event is Event.ENVIRONMENT_SLEEP_REQUESTED, at, until, asked.requested_by, asked.why)
    before = attr(type(record).override)
    entry = Entry(at, asked.requested_by, asked.event, f"until {until}: {asked.why}")
    refused = _never(settings, record)
    try:
        if not refused:
            later = before.not_exists() | attr(type(record).override, Override.at).lte(at)
            records.change(record.id, entry, override=wanted, only_if=EXISTS & later)
    except Conflict:
        refused = "a later request stands"
    if refused:
        records.note(record.id, Entry(at, asked.requested_by, asked.event, f"refused: {refused}"))
    return record.id, refused


def _named(settings: Settings, name: str) -> Sleepy:
    found: Sleepy | None = Records(settings.table, Environment).get(name) or Records(settings.table, Service).get(name)
    if found is None:
        raise Refused(f"environment: expected one that Mayfly built, but it is '{name}'")
    return found


def _never(settings: Settings, record: Sleepy) -> str:
    """Tells why an environment never sleeps, "" where it may."""
    if isinstance(record, Environment):
        return _never_sleeps(record)
    own = _permanent(catalogue.application(settings.parameters, record.application), record)
    return "" if own and own.kind == "staging" else "only permanent environments of kind staging sleep"


def _never_sleeps(record: Environment) -> str:
    if record.suite_kind not in USED_BY_PEOPLE:
        return f"its suite is {record.suite_kind}: only what people use sleeps"
    if record.ending or not record.waits_for(Wait.TESTS):
        return f"it is {record.stage}: only what waits for its tests sleeps"
    return ""


def _permanent(application: Application, record: Service) -> Permanent | None:
    return next((own for own in application.permanent if own.name == record.name), None)


class Seen(Struct, frozen=True):
    """The environments that people use, as far as shelves and `aws.records.SLEEP` show them, and the applications as
    they are configured, by name. Only the one is seen that is named; it is read as it is now."""

    applications: Mapping[str, Application | Refused]
    used: Sequence[Environment]
    only: str | None = None


def see(settings: Settings, only: str | None, now: datetime) -> Seen:
    """Reads what people use. Whatever else lives costs a line of an index."""
    applications = dict(catalogue.applications(settings.parameters))
    records = Records(settings.table, Environment)
    if only is not None:
        return Seen(applications, [one for one in records.many([only]) if not _never_sleeps(one)], only)
    found = records.shelved(LIVE, older=not Sums(settings.table, now).all_shelved)
    waits = (one for one in found if one.stage in _WAITING and not one.ending)
    return Seen(applications, [one for one in waits if one.suite_kind in USED_BY_PEOPLE])


_WAITING = (EnvironmentStage.AWAITING_TESTS, EnvironmentStage.ADOPTED)
"""An environment in one of these stages may wait for its tests."""


def keep_hours(settings: Settings, seen: Seen, now: datetime) -> list[dict[str, str]]:
    """Looks at every environment that may sleep, and does what is due. One that cannot be entered keeps no other
    awake."""
    done = []
    for sleeper in sleepers(settings, seen):
        with going_on(sleeper.record.id):
            decision = attend(settings, sleeper, now)
            done.append({"environment": sleeper.record.id, "action": decision.action.value, "reason": decision.reason})
    return done


def sleepers(settings: Settings, seen: Seen) -> Iterator[Sleeper]:
    """Returns every environment that may sleep. While a configuration is wrong, what is its own stays as it is."""
    for environment in seen.used:
        application = seen.applications.get(environment.application)
        if not isinstance(application, Refused):
            yield Sleeper(environment, _hours(application))
    services = Records(settings.table, Service)
    for service in services.live() if seen.only is None else services.many([seen.only]):
        application = seen.applications.get(service.application)
        if application and not isinstance(application, Refused):
            own = _permanent(application, service)
            may = own is not None and own.kind == "staging"
            if may or service.sleep:  # what became production is woken
                yield Sleeper(service, _hours(own))


def _hours(configured: Application | Permanent | None) -> Window | None:
    return configured.office_hours.hours() if configured and configured.office_hours else None


def attend(settings: Settings, sleeper: Sleeper, now: datetime) -> SleepDecision:
    """Looks at one environment, decides, and does it: by its whole record, as it is now."""
    if (decision := _decide(sleeper, now)).action is SleepAction.NOTHING:
        return decision
    records: Records[Any] = sleeper.records(settings)
    record: Sleepy | None = records.get(sleeper.record.id)
    if record is None or (isinstance(record, Environment) and _never_sleeps(record)):
        return SleepDecision(SleepAction.NOTHING, "it is ending meanwhile")
    sleeper = replace(sleeper, record=record)
    decision = _decide(sleeper, now)
    if decision.action is SleepAction.SLEEP:
        return fall_asleep(settings, sleeper, decision, now)
    if decision.action is SleepAction.WAKE:
        wake(settings, sleeper, decision, now)
    return decision


def _decide(sleeper: Sleeper, now: datetime) -> SleepDecision:
    record = sleeper.record
    rollout = record.rollout if isinstance(record, Service) else None
    obstacle = f"{rollout} runs" if rollout else ""
    return decide_sleep(now, sleeper.hours, record.override, record.sleep is not None, obstacle)


def fall_asleep(settings: Settings, sleeper: Sleeper, decision: SleepDecision, now: datetime) -> SleepDecision:
    """Ends an environment's instances. What its groups had is written down before they are told; who died in between
    tells them with the next look."""
    workload, record = sleeper.enter(settings), sleeper.record
    found = groups.of_environment(workload, record.id)
    if refused := _protected(settings, sleeper, workload, found):
        return SleepDecision(SleepAction.NOTHING, f"{decision.reason}; but {refused}")
    awake = [group for group in found if group.desired or group.least]
    if record.sleep is None:
        had = {group.name: (group.least, group.desired) for group in awake}
        if not awake or not _remember(settings, sleeper, Sleep(utc_text(now), had), decision.reason):
            return SleepDecision(SleepAction.NOTHING, "it has no instances, or changed meanwhile")
    for group in awake:
        groups.resize(workload, group.name, 0, 0)
    if record.sleep is None:
        said = EnvironmentAsleep(**_facts(record), why=decision.reason, wakes_at=_changes_at(sleeper, now))
        outbox.say(settings, said, utc_text(now))
    return decision


def _protected(settings: Settings, sleeper: Sleeper, workload: Workload, found: list[Group]) -> str:
    """Tells why an environment's instances must not go, "" where they may: asked over tags that are read right
    before."""
    if (said := kill_switch.read(settings.parameters)) != kill_switch.OFF:
        return f"the kill switch is on: {said}"
    name, controller = sleeper.record.id, settings.controller
    if isinstance(sleeper.record, Service):  # Mayfly itself protects all of it
        asked = [is_ours(name, controller, group.labels, tags.SERVICE) for group in found]
        return next((each.reason for each in asked if not each.granted), "")
    stack = stacks.describe(workload, sleeper.record.stack or stack_name(name))
    if stack is None:
        return "it has no stack"
    locked = TERMINATION_PROTECTED if stack.termination_protection else ""
    carried = [group.labels for group in found]
    carried += [one.labels for one in instances.of_environment(workload, name, controller)]
    asked = [may_destroy(name, controller, stack.tags, locked=locked)]
    asked += [may_destroy(name, controller, labels) for labels in carried]
    return next((each.reason for each in asked if not each.granted), "")


def _remember(settings: Settings, sleeper: Sleeper, sleep: Sleep, why: str) -> bool:
    """Writes down that an environment sleeps; False where it was ended, or is rolled out, or sleeps already."""
    kind = type(sleeper.record)
    other = Environment.ending if isinstance(sleeper.record, Environment) else Service.rollout
    undisturbed = EXISTS & attr(kind.sleep).not_exists() & attr(other).not_exists()
    try:
        sleeper.records(settings).change(
            sleeper.record.id, Entry(sleep.since, _WHO, "asleep", why), sleep=sleep, only_if=undisturbed
        )
    except Conflict:
        return False
    return True


def wake(settings: Settings, sleeper: Sleeper, decision: SleepDecision, now: datetime) -> None:
    """Has an environment's groups launch what they had."""
    record, sleep = sleeper.record, sleeper.record.sleep
    if sleep is None:
        return
    workload = sleeper.enter(settings)
    for group in groups.of_environment(workload, record.id):
        least, desired = sleep.groups.get(group.name, (group.least, group.desired))
        if (least, desired) != (group.least, group.desired):
            groups.resize(workload, group.name, least, desired)
    change: dict[str, Any] = {"drop": (type(record).sleep,)}
    if isinstance(record, Environment):
        change["used_at"] = utc_text(now)  # while it slept nobody could use it
        slept = now - datetime.fromisoformat(sleep.since)
        change["slept_seconds"] = record.slept_seconds + int(slept.total_seconds())
    same = attr(type(record).sleep).eq(plain(sleep))
    with suppress(Conflict):  # somebody else has woken it, and says so
        entry = Entry(utc_text(now), _WHO, "awake", decision.reason)
        sleeper.records(settings).change(record.id, entry, only_if=same, **change)
        said = EnvironmentAwake(**_facts(record), why=decision.reason, sleeps_at=_changes_at(sleeper, now))
        outbox.say(settings, said, utc_text(now))


def _changes_at(sleeper: Sleeper, now: datetime) -> str | None:
    at = changes_at(now, sleeper.hours, sleeper.record.override)
    return utc_text(at) if at else None


def _facts(record: Sleepy) -> dict[str, Any]:
    return {
        "release": record.release if isinstance(record, Environment) else None,
        "environment": record.id,
        "application": record.application,
        "account": str(record.account),
        "region": str(record.region),
    }
