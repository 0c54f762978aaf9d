"""Makes what the HTTP API, the console and the command line show of records, once for all of them.

A stage or an outcome comes with its tone, and what may be done follows from it as a field of its own: who shows an
answer knows no stage by name.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from mayfly.aws.parameters import Version
from mayfly.contract.configuration import Application as Configured
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import (
    UNKNOWN,
    USED_BY_PEOPLE,
    BakeStage,
    EnvironmentStage,
    ImageStage,
    Outcome,
    Retirement,
    RolloutStage,
    ServiceStage,
    SuiteKind,
    TestResult,
    label_of,
    tone_of,
)
from mayfly.domain.cost import Prices, by_application, cost, of_kept
from mayfly.domain.losses import Losses
from mayfly.domain.reach import Reach
from mayfly.domain.records import (
    Bake,
    ChannelRecord,
    DeadLetter,
    Ending,
    Environment,
    Fleet,
    Image,
    Record,
    Release,
    Rollout,
    Service,
    Sum,
    Sweep,
    plain,
)
from mayfly.domain.rollout import no_abort, no_pause
from mayfly.domain.text import clean_lines

type Shown = Any
"""One of the API's shapes, put together by parts: the API checks each answer against its shape on the way out."""
type Fields = Collection[Any]
"""Fields of a record, as its class names them."""

_WAITS = (
    RolloutStage.AWAITING_APPROVAL,
    RolloutStage.AWAITING_WINDOW,
    RolloutStage.AWAITING_KILL_SWITCH,
    RolloutStage.AWAITING_ALARMS,
    RolloutStage.AWAITING_WAKING,
)

ENVIRONMENT: Fields = (
    *(Environment.live, Environment.born, Environment.shelf, Environment.shelved),
    *(Environment.ending, Environment.image, Environment.channel),
    *(Environment.instance_count, Environment.instances_built, Environment.stage),
    *(Environment.application, Environment.version, Environment.suite, Environment.suite_kind, Environment.release),
    *(Environment.owner, Environment.account, Environment.region),
    *(Environment.planned_at, Environment.deadline, Environment.ceiling),
    *(Environment.instance_types, Environment.volume_gb, Environment.launched_at, Environment.terminated_at),
    *(Environment.sleep, Environment.slept_seconds, Environment.override),
)
"""What is read of an environment to show it in a list."""
RELEASE: Fields = (
    *(Release.application, Release.version, Release.artifact, Release.attempt, Release.commit, Release.pushed_by),
    *(Release.branch, Release.superseded_by),
    *(Release.stage, Release.image, Release.suites, Release.verdict, Release.history),
)
BAKE: Fields = (
    *(Bake.family, Bake.stage, Bake.why, Bake.requested_by, Bake.reason, Bake.image, Bake.history, Bake.checks),
)
IMAGE: Fields = (
    *(Image.family, Image.stage, Image.region, Image.bake, Image.base_image, Image.retirement, Image.history),
)
DEAD_LETTER: Fields = (
    *(DeadLetter.failure, DeadLetter.function, DeadLetter.event, DeadLetter.reason),
    *(DeadLetter.stage, DeadLetter.at, DeadLetter.times),
)
SWEEP: Fields = (Sweep.key, Sweep.asked_by, Sweep.counts, Sweep.halted, Sweep.dry_run, Sweep.history)
STANDING: Fields = (Service.application, Service.image, Service.channel, Service.instance_count)
"""What is read of a permanent environment to count its instances."""
FAILURES: Fields = (
    *(Environment.application, Environment.image, Environment.blueprint),
    *(Environment.instance_failures, Environment.instances_built, Environment.ending),
)
"""What is read of an environment to count the instances that failed."""


def staged(stage: str | None) -> Shown:
    """Returns a record's stage, by its name of today, and its tone."""
    return {"stage": label_of(stage or UNKNOWN), "tone": tone_of(stage or UNKNOWN)}


def environment_stage(record: Environment) -> Shown:
    """Tells where an environment stands: whether it waits for its tests' result, whether nothing can be asked of it,
    and what a person may report of it."""
    over = record.ending is not None or record.stage in (EnvironmentStage.TERMINATING, EnvironmentStage.TERMINATED)
    ready = record.stage == EnvironmentStage.AWAITING_TESTS
    can_sleep = ready and not over and record.suite_kind in USED_BY_PEOPLE
    manual = record.suite_kind == SuiteKind.MANUAL
    results = [{"outcome": each, "tone": tone_of(each)} for each in TestResult] if manual and ready else []
    known = {"ready": ready, "over": over, "can_sleep": can_sleep, "manual": manual, "results": results}
    return staged(record.stage) | known


def bake_stage(record: Bake) -> Shown:
    """Tells where a bake stands, and whether it is over."""
    over = (BakeStage.PROVEN, BakeStage.REJECTED, BakeStage.SUPERSEDED)
    return staged(record.stage) | {"over": record.stage in over}


def image_stage(record: Image) -> Shown:
    """Tells where an image stands, and whether a channel may be pointed to it."""
    leaves = record.retirement in (Retirement.DEPRECATED, Retirement.DISABLED, Retirement.DEREGISTERED)
    promotable = not leaves and record.stage not in (ImageStage.REJECTED, ImageStage.RETIRED)
    return staged(record.stage) | {"promotable": promotable}


def service_stage(record: Service) -> Shown:
    """Tells where a permanent environment stands: whether it is rolled out now, and whether it can be."""
    known = bool(record.image) or record.stage == ServiceStage.NEEDS_A_PERSON
    return staged(record.stage) | {
        "rolling_out": record.stage == ServiceStage.ROLLING_OUT,
        "can_roll_out": known,
        "can_sleep": record.may_sleep,
    }


def rollout_stage(record: Rollout) -> Shown:
    """Tells where a rollout stands: whether it has not begun yet, whether that is for a person's approval, and whether
    it can be stopped, paused and resumed."""
    step = record.waiting.for_ if record.waiting else None
    return staged(record.stage) | {
        "waits": record.stage in _WAITS,
        "awaits_approval": record.stage == RolloutStage.AWAITING_APPROVAL,
        "can_abort": not record.aborted and not no_abort(record.stage or UNKNOWN, step, ""),
        "can_pause": not record.paused and not no_pause(record),
        "can_resume": bool(record.paused) and not no_pause(record),
        **_known({"pause": _pause(record) if record.paused else None}),
    }


def _pause(record: Rollout) -> Shown:
    """Tells who paused a rollout, and why; whether it stands still already, or goes on to its next checkpoint."""
    return {"why": record.paused, "stands": record.stage == RolloutStage.PAUSED}


def environment(record: Environment, now: datetime, prices: Prices) -> Shown:
    """Returns an environment in a list. One whose record was lost and begun anew says "unknown" where it does not
    know."""
    costs = cost(record, now, prices)
    shown: dict[str, Any] = {
        "id": record.id,
        "application": record.application,
        "version": record.version,
        "suite": record.suite,
        "kind": record.suite_kind,
        "release": record.release,
        "owner": record.owner,
        "account": record.account,
        "region": record.region,
        "planned_at": record.planned_at or UNKNOWN,
        "deadline": record.deadline or UNKNOWN,
        "ceiling": record.ceiling or UNKNOWN,
        **environment_stage(record),
        "image": record.image,
        "channel": record.channel,
        "instance_count": record.instance_count,
        "usd": None if costs.usd is None else round(costs.usd, 4),
        "usd_per_hour": round(costs.usd_per_hour, 4),
    }
    known = {
        "hourly_rate": None if costs.rate is None else round(costs.rate, 4),
        "ended_at": record.terminated_at,
        "ending": ending(record.ending) if record.ending else None,
        "instances_built": record.instances_built,
        "instance_type": ", ".join(sorted(record.instance_types)) or None,
    }
    return shown | _known(known | _sleep(record))


def _sleep(record: Environment | Service) -> Shown:
    """Tells since when an environment sleeps, unless it is ended, and what a person asked for last of its sleep."""
    ended = isinstance(record, Environment) and record.ending
    return {
        "asleep_since": record.sleep.since if record.sleep and not ended else None,
        "override": plain(record.override) if record.override else None,
    }


def totals(said: Sum) -> Shown:
    """Sums up all live environments."""
    bill = by_application(of_kept(said.spent))
    return {
        "at": said.at,
        "environments": said.environments,
        "instances": said.instances,
        "usd_per_hour": bill["usd_per_hour"],
        "stages": said.stages,
        "verdicts": said.verdicts,
        "late": said.late,
        "deadlines": [*said.deadlines],
        "applications": sorted(said.spent),
    }


def ending(said: Ending) -> Shown:
    """Tells why a life ended."""
    return {"by": said.by, "outcome": said.outcome, "tone": tone_of(said.outcome), "reason": said.reason}


def whole_environment(record: Environment, fleet: Fleet | None, now: datetime, prices: Prices, machine: str) -> Shown:
    """Returns an environment with all that is known of it.

    Args:
        machine: ARN of the machine whose executions are lives.
    """
    links = {"execution": execution_link(machine, record.id)}
    if record.stack:
        links["stack"] = stack_link(record.stack)
    return {
        **environment(record, now, prices),
        "history": history(record),
        "outputs": record.outputs,
        "report": record.ending.report if record.ending else None,
        "log": record.ending.log if record.ending else None,
        "tests": plain(record.ending.tests) if record.ending and record.ending.tests else None,
        "spans": plain(record.spans),
        "slowest": plain(record.slowest),
        "not_launched": [*record.without_capacity],
        "kept": [*record.kept],
        "handed_over": record.handed_over or "",
        "instances": [
            {"id": one, "link": instance_link(record.region, one)} for one in (fleet.instances if fleet else ())
        ],
        "links": links,
    }


def stack_link(stack: str) -> str:
    """Tells where the console of AWS shows a stack, by its id."""
    region = stack.split(":")[3]
    target = f"https://{region}.console.aws.amazon.com/cloudformation/home?region={region}"
    return f"{target}#/stacks/stackinfo?stackId={quote(stack, safe='')}"


def instance_link(region: str, instance: str) -> str:
    """Tells where the console of AWS shows an instance, with the ways to connect to it and its console's output."""
    return f"https://{region}.console.aws.amazon.com/ec2/home?region={region}#InstanceDetails:instanceId={instance}"


def execution_link(machine: str, name: str) -> str:
    """Tells where the console of AWS shows an execution."""
    region = machine.split(":")[3]
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    return f"https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{arn}"


def history(record: Record) -> Shown:
    """Returns a record's history, the oldest line first."""
    return plain(record.history)


def release(record: Release, environments: Mapping[str, Environment], now: datetime, prices: Prices) -> Shown:
    """Returns a release in a list.

    Args:
        environments: the records of its environments, by id; one that has no record yet has cost nothing.
    """
    named = [name for part in record.suites for name in part.attempts]
    mine = [environments[name] for name in named if name in environments]
    costs = [cost(each, now, prices).usd for each in mine]
    shown: dict[str, Any] = {
        "id": record.id,
        "application": record.application,
        "version": record.version,
        "artifact": record.artifact,
        **staged(record.stage),
        "attempt": record.attempt,
        "pushed_at": record.began,
        "suites": list(suite_outcomes(record, environments)),
        "usd": None if None in costs else round(sum(each or 0.0 for each in costs), 4),
    }
    verdict = {"passed": record.verdict.passed, "reason": record.verdict.reason} if record.verdict else None
    # As its history's first line tells it: the name of a program's push is that program's claim.
    pushed_by = record.history[0].who if record.pushed_by and record.history else record.pushed_by
    branch = {"branch": record.branch, "superseded_by": record.superseded_by}
    known = branch | {"commit": record.commit, "pushed_by": pushed_by, "image": record.image, "verdict": verdict}
    return shown | _known(known)


_RELEASED = ("version", "attempt", "commit", "artifact", "image", "blueprint", "instance_count")


def release_differences(before: Release, after: Release) -> Shown:
    """Tells how two releases differ: in what was pushed, and in what its environments were built from. What a release
    was planned with that an earlier version of Mayfly planned is not known."""
    was, now = before.parameters or {}, after.parameters or {}
    facts = {name: (_text(getattr(before, name)), _text(getattr(after, name))) for name in _RELEASED}
    parameters = {name: (was.get(name), now.get(name)) for name in sorted({*was, *now})}
    return {
        "before": before.id,
        "after": after.id,
        "facts": _changed(facts),
        "parameters": [] if None in (before.parameters, after.parameters) else _changed(parameters),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _changed(pairs: Mapping[str, tuple[str | None, str | None]]) -> list[Shown]:
    return [{"name": name, "before": was, "after": now} for name, (was, now) in pairs.items() if was != now]


def suite_outcomes(record: Release, environments: Mapping[str, Environment]) -> Iterable[Shown]:
    """Returns each suite's outcome: by the verdict, or before there is one by the ending of its latest environment."""
    judged = {part.suite: part.outcome for part in record.verdict.suites} if record.verdict else {}
    for part in record.suites:
        attempt = part.latest(environments)
        shown = {"suite": part.suite, "environment": attempt, "attempts": part.attempts.index(attempt) + 1}
        known = environments.get(attempt)
        ended = known.ending.outcome if known and known.ending else None
        if outcome := judged.get(part.suite) or ended:
            shown |= {"outcome": outcome, "tone": tone_of(outcome)}
        yield shown


def flakiness(releases: Iterable[Shown]) -> list[Shown]:
    """Tells how often each suite was judged, and how often it passed by a repetition only; the most flaky first.

    Args:
        releases: as `release` shows them.
    """
    found: dict[tuple[str, str], Shown] = {}
    for one in releases:
        for suite in one["suites"] if "verdict" in one else ():
            key = (one["application"], suite["suite"])
            counted = found.setdefault(key, {"application": key[0], "suite": key[1], "runs": 0, "flaky": 0})
            counted["runs"] += 1
            counted["flaky"] += suite["attempts"] > 1 and suite.get("outcome") == Outcome.PASSED
    return sorted(found.values(), key=lambda each: (-each["flaky"] / each["runs"], each["application"], each["suite"]))


def whole_release(record: Release, environments: Mapping[str, Environment], now: datetime, prices: Prices) -> Shown:
    """Returns a release with its history and environments."""
    return {
        **release(record, environments, now, prices),
        "history": history(record),
        "environments": [environment(each, now, prices) for each in environments.values()],
    }


def application(name: str, found: Configured | Refused) -> Shown:
    """Returns an application's configuration, or why it is wrong."""
    if isinstance(found, Refused):
        return {"name": name, "problem": str(found)}
    image = {"image": {"family": found.image.family, "channel": found.image.channel}} if found.image else {}
    return image | {
        "name": name,
        "owner": found.owner,
        "suites": [
            {"name": suite.name, "kind": suite.kind, "manual": suite.kind == SuiteKind.MANUAL} for suite in found.suites
        ],
        "instance_count": found.instance_count,
        "parameters": found.parameters,
        "lifetime_minutes": found.lifetime_minutes,
        "ceiling_minutes": found.ceiling_minutes,
    }


def configuration(version: Version) -> Shown:
    """Returns a version of an application's configuration."""
    try:
        document = json.loads(version.value)
    except ValueError:
        document = version.value
    return {"version": version.number, "at": version.at, "by": version.by, "why": version.why, "document": document}


def channel(reach: Reach, record: ChannelRecord | None) -> Shown:
    """Returns a channel with how far its image has got.

    Args:
        record: its record; None where only a parameter says what it points to.
    """
    it = reach.channel
    return {
        "name": it.name,
        "image": it.image,
        "regions": dict(it.current.regions) if it.current else {},
        "version": it.version,
        "moved_at": it.moved_at,
        "previous": [{"image": each.image} for each in it.previous],
        "history": history(record) if record else [],
        "instances": dict(reach.images),
        "on_old_images": reach.on_old,
        "hours": reach.hours,
    }


def image(record: Image, bakes: Mapping[str, Bake]) -> Shown:
    """Returns an image, with the checks of its bake where that is among `bakes`."""
    shown: dict[str, Any] = {
        "image": record.id,
        **image_stage(record),
        "created_at": record.began,
        "region": record.region,
    }
    baked = bakes.get(record.bake)
    checks = [{"name": check["name"], "command": check["command"]} for check in baked.checks] if baked else []
    known = {
        "bake": record.bake,
        "base_image": record.base_image,
        "made_of": dict(record.made_of),
        "retirement": record.retirement,
        "checks": checks,
    }
    return shown | {name: value for name, value in known.items() if value}


def failures(kind: str, name: str, lost: Losses) -> Shown:
    """Tells how many instances failed of an application, of an image or of a blueprint."""
    return {"of": kind, "name": name, "launched": lost.launched, "failed": lost.count, "causes": dict(lost.failed)}


def bake(record: Bake) -> Shown:
    """Returns a bake."""
    shown: dict[str, Any] = {
        "id": record.id,
        "family": record.family,
        "why": record.why,
        "requested_by": record.requested_by,
        **bake_stage(record),
        "at": record.began,
    }
    return shown | _known({"reason": record.reason, "image": record.image})


def whole_bake(record: Bake, log: str | None, console: str | None) -> Shown:
    """Returns a bake with all that is known of it.

    Args:
        log: the end of what its builder has written. console: what it printed, where it could write no log.
    """
    checks = [{"name": check["name"], "command": check["command"]} for check in record.checks]
    return {
        **bake(record),
        "history": history(record),
        "account": record.plan.get("account", UNKNOWN),
        "region": record.plan.get("region", UNKNOWN),
        "base_image": record.base_image or UNKNOWN,
        "checks": checks,
        "log": record.log or UNKNOWN,
        **_known({"log_text": log and clean_lines(log), "console_text": console and clean_lines(console)}),
        **_known({"builder": record.builder}),
    }


def service(record: Service) -> Shown:
    """Returns a permanent environment, as far as its record knows it."""
    shown: dict[str, Any] = {
        "id": record.id,
        "application": record.application,
        "name": record.name,
        **service_stage(record),
        "drift": [*record.drift],
        "odd": [*record.odd],
    }
    known = {
        "rollout": record.rollout or (record.pending.id if record.pending else None),
        "version": record.version,
        "image": record.image,
        "instance_count": record.instance_count,
        "oldest_instance_at": record.oldest_instance_at,
        "previous": _known({side: record.previous.get(side) for side in _SIDE}) if record.previous else None,
    }
    return shown | _known(known | _sleep(record))


def rollout(record: Rollout) -> Shown:
    """Returns a rollout, as far as its record knows it."""
    shown: dict[str, Any] = {
        "id": record.id,
        "service": record.service,
        "application": record.application,
        "why": record.why,
        **rollout_stage(record),
        "percent": record.percent,
        "checkpoints": plain(record.checkpoints),
        "started_at": record.started_at or record.began,
        "history": history(record),
    }
    sides = {"from": plain(record.from_), "to": plain(record.to)}
    return shown | _known(sides | {"ended_at": record.ended_at, "reason": record.reason})


_SIDE = ("image", "version")


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def sweep(record: Sweep) -> Shown:
    """Returns what a sweep came to."""
    return {
        "key": record.key,
        "asked_by": record.asked_by,
        "counts": record.counts,
        "halted": record.halted,
        "dry_run": record.dry_run,
        "at": record.began,
    }


def dead_letter(record: DeadLetter) -> Shown:
    """Returns a dead letter in a list."""
    return {
        "id": record.id,
        "kind": record.failure,
        "function": record.function,
        "event": record.event,
        "reason": record.reason,
        "at": record.at,
        "times": record.times,
        **staged(record.stage),
    }


def dead_letter_groups(letters: Iterable[Shown]) -> Shown:
    """Dead letters that wait, counted by kind, function, event and what was expected; the most first. What each has
    instead is in its own reason."""
    groups: dict[tuple[str, ...], Shown] = {}
    for one in letters:
        same = {name: one[name] for name in ("kind", "function", "event")}
        same |= {"reason": one["reason"].partition(", but it is ")[0]}
        group = groups.setdefault(tuple(same.values()), {**same, "count": 0, "oldest": one["at"], "newest": one["at"]})
        group["count"] += 1
        group["oldest"], group["newest"] = min(group["oldest"], one["at"]), max(group["newest"], one["at"])
    return sorted(groups.values(), key=lambda group: (-group["count"], group["oldest"]))


def whole_dead_letter(record: DeadLetter, message: Any) -> Shown:
    """Returns a dead letter with what is in it, and its history; without the report token that may be in it: everybody
    sees dead letters, and whoever has the token passes a suite."""
    shown = json.loads(_TOKEN.sub(r"\1(not shown)", json.dumps(message)))
    return {**dead_letter(record), "message": shown, "history": history(record)}


_TOKEN = re.compile(r'(token\\*"\s*:\s*\\*")[A-Za-z0-9_-]{43}(?=\\*")')
"""A report token in JSON, and in JSON that is a text in it, as a notification of SNS has it."""


def report(said: Mapping[str, Any]) -> Shown:
    """Returns a sweep's whole report, as it was written, with the tone of each decision."""
    told = {part: [{**one, "tone": tone_of(one["action"])} for one in said[part]] for part in ("decisions", "kept")}
    return {**said, **told}
