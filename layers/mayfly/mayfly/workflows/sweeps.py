"""Sweeps every target: finds by tags what outlived its deadline, and ends it like everything else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from mayfly import views
from mayfly.aws import executions, kill_switch
from mayfly.aws.attempts import going_on
from mayfly.aws.records import Conflict, Records
from mayfly.aws.reports import key_of
from mayfly.contract.announcements import EnvironmentFailed, SweepCompleted, SweepHalted
from mayfly.contract.reader import Received
from mayfly.contract.vocabulary import UNKNOWN, Begin, SweepAction
from mayfly.domain import sweep, tags
from mayfly.domain.records import Bake, Entry, Environment, Ledger, Record, Release, plain
from mayfly.domain.records import Sweep as SweepRecord
from mayfly.domain.stack import TaskResult
from mayfly.domain.sweep import Found, Remembered, SweepDecision, SweepPolicy
from mayfly.domain.timestamp import read_timestamp, utc_text
from mayfly.observability import metrics
from mayfly.settings import Settings
from mayfly.workflows import (
    admission,
    bakes,
    discovery,
    environments,
    gauges,
    outbox,
    quotas,
    releases,
    reporting,
    sums,
)
from mayfly.workflows.discovery import Seen, Target
from mayfly.workflows.expiry import warn

if TYPE_CHECKING:
    from mayfly.contract.requests import SweepRequested

DECIDED_BY = (
    *views.ENVIRONMENT,
    *(Environment.waiting, Environment.handed_over, Environment.warned, Environment.warn_minutes_before),
    *(Environment.stack, Environment.reserved, Environment.wanted, Environment.launch_from),
    Environment.leak_announced,
)
"""What a sweep reads of an environment: all that is decided, reserved, summed and announced, without histories."""


class Case(Struct, frozen=True):
    """One environment or bake with what was decided about it; what was found of it, and what is remembered."""

    decision: SweepDecision
    target: Target
    found: Found | None = None
    record: Environment | None = None


class Sweep(Struct, frozen=True):
    """One sweep: when it began, by which policy, and for which environments or bakes an execution runs."""

    settings: Settings
    now: datetime
    policy: SweepPolicy
    running: Collection[str]


def run(settings: Settings, received: Received[SweepRequested], invocation: str) -> dict[str, Any]:
    """Sweeps once. A dry run and a real one take the same way and give the same report; only the last step is left out.

    Args:
        invocation: the function's: two sweeps of the same second keep a report each.
    """
    asked, now = received.message, received.at
    ledger = Ledger(id="")
    with going_on("the ledger"):  # a lost table keeps nothing from ending
        ledger = admission.ledger(settings.table)
    running = executions.running(settings.environment_machine)
    records = list(Records(settings.table, Environment).live(DECIDED_BY, late=False))
    # A target that was taken out of the configuration is looked at as long as anything is remembered there.
    targets = [
        *settings.targets,
        *((one.account, one.region) for one in records if UNKNOWN not in (one.account, one.region)),
    ]
    everywhere, unseen = discovery.everywhere(targets, settings.workload_role, settings.controller)
    # Asked before and after: a life that began or ended while this looked around is one that somebody waits for.
    running |= executions.running(settings.environment_machine)
    policy = SweepPolicy(settings.controller, most=settings.most_ends, share=settings.share_ended / 100)
    this = Sweep(settings, now, policy, running)
    cases = list(decide_environments(this, everywhere, unseen, records))
    left = list(decide_builders(this, everywhere))
    decisions = [case.decision for case in (*cases, *left)]
    ends = sum(sweep.binds_caps(now, case.decision, remembered(case.record)) for case in (*cases, *left))
    existing = sum(case.found is not None for case in cases) + len(left)
    limit = sweep.limit(ends, existing, policy, asked.at_most)
    said = kill_switch.read(settings.parameters)
    halted = limit.reason if limit.exceeded else f"the kill switch is on: {said}" if said != kill_switch.OFF else ""
    report = {
        "at": utc_text(now),
        "asked_by": asked.requested_by,
        "counts": sweep.counts(decisions),
        "halted": halted,
        "dry_run": asked.dry_run,
        "unseen": unseen,
        "decisions": [asdict(decision) for decision in decisions if decision.action is not SweepAction.KEEP],
    }
    kept = {"kept": [asdict(decision) for decision in decisions if decision.action is SweepAction.KEEP]}
    report["key"], report["late"] = key_of(now, invocation), list(reporting.write_late(settings))
    report["unwritten"] = reporting.write_down(settings, report, kept, now)
    if not asked.dry_run:
        act(this, cases, records, halted)
        if not halted:
            end_builders(settings, left)
        with going_on("the quotas"):
            quotas.keep(settings, records, unseen)
        with going_on("who waits for room"):
            admission.make_up(settings, ledger, records, now, "sweep")
        with going_on("the releases"):
            judge_orphans(this)
        with going_on("the bakes"):
            end_bakes(this)
        with going_on("what is unsaid"):
            outbox.make_up(settings, now)
        with going_on("what it says"):
            tell(settings, report)
        gauges.publish(records, now)
        with going_on("sums"):
            sums.keep(settings, records, now)
    with going_on("the list of reports"):
        remember(settings, report, asked.why, now)
    return report


def decide_environments(
    this: Sweep, everywhere: Mapping[Target, Seen], unseen: Collection[str], records: Collection[Environment]
) -> Iterator[Case]:
    """One decision for each environment that exists anywhere or is remembered."""
    known = {(record.id, record.account, record.region): record for record in records}
    going_on_at = {record.id: f"{record.account}/{record.region}" for record in records if not record.ending}
    for target, found in ((target, found) for target, seen in everywhere.items() for found in seen.environments):
        record = known.pop((found.environment, *target), None)
        if record is None and found.is_anothers(this.policy.controller):
            continue
        if record is None and not found.stack and found.environment in going_on_at:
            # Its record is one for all targets: what is left here must not end what lives there.
            living = f"it lives at {going_on_at[found.environment]}, and is not ended"
            yield Case(SweepDecision(found.environment, SweepAction.KEEP, living), target, found)
            continue
        waited_for = found.environment in this.running
        decision = sweep.decide_environment(this.now, found, remembered(record), waited_for, this.policy)
        yield Case(decision, target, found, record)
    for (name, *target_of), record in known.items():
        target = (target_of[0], target_of[1])
        decision = sweep.decide_environment(this.now, None, remembered(record), name in this.running, this.policy)
        if "/".join(target) in unseen:
            decision = SweepDecision(name, SweepAction.KEEP, "its target could not be looked at")
        yield Case(replace(decision, environment=name), target, None, record)


def decide_builders(this: Sweep, everywhere: Mapping[Target, Seen]) -> Iterator[Case]:
    """One decision for each bake that has a builder, or a volume of one, somewhere."""
    running = executions.running(this.settings.bake_machine)
    for target, seen in everywhere.items():
        for bake, labels in seen.bakes.items():
            yield Case(sweep.decide_builder(this.now, bake, labels, bake in running, this.policy), target)


def end_builders(settings: Settings, cases: Iterable[Case]) -> None:
    """Removes what dead bakes left, on the way on which living ones do."""
    for case in cases:
        if case.decision.action is SweepAction.END:
            with going_on(case.decision.environment):
                bakes.clean_up(settings, case.target, case.decision.environment)


def remembered(record: Environment | None) -> Remembered | None:
    """What a record says, as far as a sweep decides by it. One that was begun anew during a teardown may lack a
    deadline, and one that was written by hand a readable one: tags decide then."""
    written = (record.deadline, record.ceiling, record.planned_at) if record else ()
    deadline, ceiling, planned = (*map(read_timestamp, written), None, None, None)[:3]
    if not (record and deadline and ceiling and planned):
        return None
    return Remembered(
        deadline,
        ceiling,
        planned,
        ended_by=record.ending.by if record.ending else None,
        waiting_for=record.waiting.for_ if record.waiting else None,
        handed_over=record.handed_over,
        was_ready=record.was_ready,
    )


def act(this: Sweep, cases: Iterable[Case], records: Iterable[Environment], halted: str) -> None:
    """Carries the decisions out, each for itself: one that cannot be is left to the next sweep, and stops no other.
    Adopting and warning go on while ending is halted."""
    for case in cases:
        with going_on(case.decision.environment):
            carry_out(this, case, halted)
    for record in records:
        with going_on(record.id):
            warn(this.settings, this.now, record)


def carry_out(this: Sweep, case: Case, halted: str) -> None:
    """Carries one decision out."""
    match case.decision.action:
        case SweepAction.END if not halted:
            adopt(this, subject(this, case, Begin.TERMINATION))
        case SweepAction.WAKE if not halted:
            wake(case)
        case SweepAction.ADOPT:
            adopt(this, subject(this, case, Begin.TESTS))
        case SweepAction.REFUSE if case.record and sweep.is_leak(this.now, remembered(case.record)):
            announce_leak(this, case.record, case.decision.reason)


def announce_leak(this: Sweep, record: Environment, reason: str) -> None:
    """Announces once what is left standing to its owner, too, where its execution was stopped before it could."""
    if record.leak_announced or record.id in this.running:
        return
    left = {"reason": reason, "deadline": record.deadline, "instances_left": UNKNOWN}
    said, now = EnvironmentFailed(**environments.facts(record) | left), utc_text(this.now)
    outbox.say(this.settings, said, now)
    Records(this.settings.table, Environment).change(record.id, leak_announced=now)


def judge_orphans(this: Sweep) -> None:
    """Has said what the executions of releases should have: those that are gone left their records open."""
    for release in _left_open(this, Release, this.settings.release_machine):
        with going_on(release.id):
            releases.make_up(this.settings, release, utc_text(this.now))


def end_bakes(this: Sweep) -> None:
    """Has judged and said what the executions of bakes should have: those that are gone left their records open."""
    for bake in _left_open(this, Bake, this.settings.bake_machine):
        with going_on(bake.id):
            bakes.make_up(this.settings, bake.id, this.now)


def _left_open[R: Record](this: Sweep, kind: type[R], machine: str) -> list[R]:
    """Finds the open records of one kind whose Step Functions executions are gone. What has just begun may not be
    listed yet."""
    long_ago = utc_text(this.now - this.policy.grace)
    begun = [one for one in Records(this.settings.table, kind).live() if "" < one.began < long_ago]
    running = executions.running(machine) if begun else set()
    return [one for one in begun if one.id not in running]


def wake(case: Case) -> None:
    """Tells a sleeping execution that its environment is ended, or that its time is over."""
    record = case.record
    if record and record.ending:
        environments.wake(record, record.ending)
    elif record and record.waiting:
        executions.complete_task(record.waiting.token, TaskResult("Overdue", case.decision.reason), {})


def adopt(this: Sweep, order: dict[str, Any]) -> None:
    """Starts an execution that adopts a life, one in ten minutes at most."""
    name = f"{order['environment']}__{int(this.now.timestamp()) // 600}"
    executions.start(this.settings.environment_machine, name, order)


def subject(this: Sweep, case: Case, begin: Begin) -> dict[str, Any]:
    """The input of the execution that adopts an environment: what its record says, or else its tags."""
    found, record = case.found, case.record or Environment(id=case.decision.environment)
    labels, said = found.labels if found else {}, plain(record)
    known = ("release", "application", "version", "suite", "kind", "owner")
    facts = {key: said[key] if said[key] != UNKNOWN else labels.get(f"mayfly:{key}", UNKNOWN) for key in known}
    deadline = record.deadline
    if found and found.stack:  # not as its tag says it: that may be missing, or no timestamp at all
        deadline = utc_text(sweep.deadline_of(found, remembered(case.record), this.policy)[0])
    ceiling = read_timestamp(record.ceiling or labels.get(tags.CEILING))
    return facts | {
        "environment": case.decision.environment,
        "account": case.target[0],
        "region": case.target[1],
        "begin": begin.value,
        "deadline": deadline,
        "ceiling": utc_text(ceiling) if ceiling else None,
        "why": f"sweep: {case.decision.reason}",
        "aborted": found is not None and not sweep.may_be_ready(found, remembered(case.record)),
    }


def remember(settings: Settings, report: dict[str, Any], why: str, now: datetime) -> None:
    """Lists the report among the records, so that nobody has to read all reports to find one."""
    facts = {key: report[key] for key in ("key", "asked_by", "counts", "halted", "dry_run")}
    entry = Entry(report["at"], report["asked_by"], "swept", why)
    with suppress(Conflict):  # it is listed already
        until = now + timedelta(days=settings.record_days)
        Records(settings.table, SweepRecord).begin(report["key"], entry, until, live=False, **facts)


def tell(settings: Settings, report: dict[str, Any]) -> None:
    """Counts what the sweep saw, and tells people where it was halted or had to leave something standing."""
    counts = report["counts"]
    # What stands at a target that nobody can look at counts as past its deadline: the same alarm must tell.
    late = counts["end"] + counts["wake"] + counts["refuse"] + len(report["unseen"])
    metrics.add_metric(name="PastDeadline", unit="Count", value=late)
    metrics.add_metric(name="SweepHalted", unit="Count", value=int(bool(report["halted"])))
    said = SweepHalted if report["halted"] and counts["end"] + counts["wake"] else SweepCompleted
    detail = {key: report[key] for key in ("at", "asked_by", "counts", "halted", "unseen", "key", "unwritten")}
    refused = tuple(each for each in report["decisions"] if each["action"] is SweepAction.REFUSE)[:20]
    outbox.say(settings, said(**detail, refused=refused), report["at"])
