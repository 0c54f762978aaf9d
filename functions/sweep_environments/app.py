"""Looks for what should be gone and is not, at every place and by its tags, and has it ended like everything else."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import bakes, builders, clients, executions, gauges, survey, switch
from mayfly.aws.attempts import going_on
from mayfly.aws.events import announce
from mayfly.aws.expiring import warn
from mayfly.aws.letters import door
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.aws.reports import keep
from mayfly.aws.survey import Place
from mayfly.domain import sweep, tags
from mayfly.domain.moment import text
from mayfly.domain.stack import Answer
from mayfly.domain.sweep import Action, Decision, Found, Policy, Remembered
from mayfly.messages import receive_sweep
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings

type Case = tuple[Decision, Found | None, dict[str, Any] | None, Place]
type BuilderCase = tuple[Decision, Place]


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A dry run and a real one take the same way and give the same report; only the last step is left out."""
    here = settings()
    received = receive_sweep(event)
    asked, now = received.message, received.at
    running = executions.running(here.environment_machine)
    records = list(Records(here.table, "environment").live())
    everywhere, unseen = survey.everywhere(here.places, here.workload_role, here.controller)
    # Asked before and after: a life that began or ended while this looked around is one that somebody waits for.
    running |= executions.running(here.environment_machine)
    policy = Policy(here.controller, most=here.most_ends, share=here.share_ended / 100)
    cases = list(decide_all(now, everywhere, unseen, records, running, policy))
    left = list(decide_builders(here, now, policy, unseen))
    decisions = [case[0] for case in cases] + [case[0] for case in left]
    ends = sum(decision.action in (Action.END, Action.WAKE) for decision in decisions)
    existing = sum(case[1] is not None for case in cases) + len(left)
    limit = sweep.limit(ends, existing, policy, asked.at_most)
    said = switch.read(here.parameters)
    halted = limit.reason if limit.exceeded else f"the kill switch is on: {said}" if said != switch.OFF else ""
    report = {
        "at": text(now),
        "asked_by": asked.requested_by,
        "counts": sweep.counts(decisions),
        "halted": halted,
        "dry_run": asked.dry_run,
        "unseen": unseen,
        "decisions": [asdict(decision) for decision in decisions if decision.action is not Action.KEEP],
    }
    kept = {"kept": [asdict(decision) for decision in decisions if decision.action is Action.KEEP]}
    report["key"] = keep(here.reports, now, context.aws_request_id, report | kept)
    if not asked.dry_run:
        act(here, now, cases, records, halted, policy)
        if not halted:
            end_builders(here, left)
        tell(here, report)
        gauges.publish(records, now)
    with going_on("the list of reports"):
        remember(here, report, asked.why, now)
    return report


def decide_all(
    now: datetime,
    everywhere: Iterable[tuple[Found, Place]],
    unseen: Collection[str],
    records: Iterable[dict[str, Any]],
    running: Collection[str],
    policy: Policy,
) -> Iterator[Case]:
    """One decision for each environment that exists anywhere or is remembered."""
    known = {(record["id"], record["account"], record["region"]): record for record in records}
    for found, place in everywhere:
        record = known.pop((found.environment, *place), None)
        if record is None and found.is_anothers(policy.controller):
            continue
        decision = sweep.decide(now, found, remembered(record), found.environment in running, policy)
        yield decision, found, record, place
    for (name, account, region), record in known.items():
        place = (account, region)
        decision = sweep.decide(now, None, remembered(record), name in running, policy)
        if "/".join(place) in unseen:
            decision = Decision(name, Action.KEEP, "its place could not be looked at")
        yield Decision(name, decision.action, decision.reason), None, record, place


def decide_builders(here: Settings, now: datetime, policy: Policy, unseen: Collection[str]) -> Iterator[BuilderCase]:
    """One decision for each bake that has a builder, or a volume of one, somewhere."""
    running = executions.running(here.bake_machine)
    for place in here.places:
        if "/".join(place) in unseen:
            continue
        found = builders.leftovers(clients.workload(*place, here.workload_role, None), here.controller)
        for bake, labels in {one.labels[tags.BAKE]: one.labels for one in found}.items():
            yield sweep.decide_builder(now, bake, labels, bake in running, policy), place


def end_builders(here: Settings, cases: Iterable[BuilderCase]) -> None:
    """Removes what dead bakes left, on the way on which living ones do."""
    for decision, place in cases:
        if decision.action is Action.END:
            with going_on(decision.environment):
                bakes.clean_up(here, place, decision.environment)


def remembered(record: dict[str, Any] | None) -> Remembered | None:
    """What a record says, as far as a sweep decides by it. A record begun anew by an ending knows no deadline."""
    if record is None or "deadline" not in record:
        return None
    ending, waiting = record.get("ending") or {}, record.get("waiting") or {}
    deadline, ceiling, planned = (datetime.fromisoformat(record[key]) for key in ("deadline", "ceiling", "planned_at"))
    return Remembered(
        deadline, ceiling, planned, ending.get("by"), waiting.get("for"), handed_over=record.get("handed_over")
    )


def act(
    here: Settings,
    now: datetime,
    cases: Iterable[Case],
    records: Iterable[dict[str, Any]],
    halted: str,
    policy: Policy,
) -> None:
    """Carries the decisions out, each for itself: one that cannot be is left to the next sweep, and stops no other.
    Taking up and warning go on while ending is halted."""
    for case in cases:
        with going_on(case[0].environment):
            carry_out(here, now, case, halted, policy)
    for record in records:
        with going_on(record["id"]):
            warn(here, now, record)


def carry_out(here: Settings, now: datetime, case: Case, halted: str, policy: Policy) -> None:
    """Carries one decision out."""
    decision, _, record, _ = case
    match decision.action:
        case Action.END if not halted:
            take_up(here, now, subject(case, "termination", policy))
        case Action.WAKE if not halted:
            waiting = (record or {}).get("waiting") or {}
            if waiting:
                executions.settle(waiting["token"], Answer("Overdue", decision.reason), {})
        case Action.ADOPT:
            take_up(here, now, subject(case, "tests", policy))


def take_up(here: Settings, now: datetime, order: dict[str, Any]) -> None:
    """Starts an execution that takes a life up, one in ten minutes at most."""
    executions.start(here.environment_machine, f"{order['environment']}__{int(now.timestamp()) // 600}", order)


def subject(case: Case, begin: str, policy: Policy) -> dict[str, Any]:
    """The input of the execution that takes an environment up: what its record says, or else its tags."""
    decision, found, record, place = case
    labels = found.labels if found else {}
    known = ("release", "application", "version", "suite", "kind", "owner")
    facts = {key: (record or {}).get(key) or labels.get(f"mayfly:{key}") or "unknown" for key in known}
    deadline = (record or {}).get("deadline")
    if found and found.stack:  # not as its tag says it: that may be missing, or no moment at all
        deadline = text(sweep.deadline_of(found, remembered(record), policy)[0])
    return facts | {
        "environment": decision.environment,
        "account": place[0],
        "region": place[1],
        "begin": begin,
        "deadline": deadline,
        "why": f"sweep: {decision.reason}",
    }


def remember(here: Settings, report: dict[str, Any], why: str, now: datetime) -> None:
    """Lists the report among the records, so that nobody has to read all reports to find one."""
    facts = {key: report[key] for key in ("key", "asked_by", "counts", "halted", "dry_run")}
    entry = Entry(report["at"], report["asked_by"], "swept", why)
    with suppress(Conflict):  # another one of the same second
        Records(here.table, "sweep").begin(
            report["key"], facts, entry, now + timedelta(days=here.record_days), live=False
        )


def tell(here: Settings, report: dict[str, Any]) -> None:
    """Counts what the sweep saw, and tells people where it was halted or had to leave something standing."""
    counts = report["counts"]
    # What stands at a place that nobody can look at counts as past its deadline: the same alarm must tell.
    late = counts["end"] + counts["wake"] + counts["refuse"] + len(report["unseen"])
    metrics.add_metric(name="PastDeadline", unit="Count", value=late)
    metrics.add_metric(name="SweepHalted", unit="Count", value=int(bool(report["halted"])))
    announce(
        here.bus,
        "Sweep Halted" if report["halted"] and counts["end"] + counts["wake"] else "Sweep Completed",
        {key: report[key] for key in ("at", "asked_by", "counts", "halted", "unseen", "key")}
        | {"refused": [d for d in report["decisions"] if d["action"] == "refuse"][:20]},
    )
