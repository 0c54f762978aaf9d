"""Rollouts as records: a service's next one is wanted, waits, has its turn, and gives it back.

A turn is one conditional write to the service's record, with the whole plan in it. All that follows from it (the
rollout's own record, its execution) is done by name, and done again by the next look where somebody died in between.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import catalogue, clients, executions, services, stacks, switch
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Entry, Records, forget_after
from mayfly.aws.services import Seen
from mayfly.domain import tags
from mayfly.domain.identity import rollout_id, service_id
from mayfly.domain.moment import text
from mayfly.domain.rollout import Action, Decision, Policy, Setup, Standing, Window, decide, odd
from mayfly.messages import (
    Application,
    PassedVersion,
    Permanent,
    Refused,
    Rollout,
    RolloutApproved,
    RolloutPolicy,
    RolloutRequested,
)
from mayfly.settings import Settings

_DRIFT_EVERY = timedelta(hours=6)
"""Between two comparisons of a service with its blueprint."""

_WHO = "plan"
_ENDED = ("rolled back", "failed")


@dataclass(frozen=True, slots=True)
class Service:
    """A permanent environment as it is configured, and its place."""

    application: str
    owner: Application
    own: Permanent
    place: tuple[str, str]

    @property
    def id(self) -> str:
        """Its name everywhere."""
        return service_id(self.application, self.own.name)


def of(here: Settings, name: str, application: Application, own: Permanent) -> Service:
    """A configured service.

    Raises:
        Refused: its place is none that is configured.
    """
    place = catalogue.place(here, own.account or application.account, own.region or application.region)
    return Service(name, application, own, place)


def remember_version(here: Settings, service: str, passed: PassedVersion, now: datetime) -> None:
    """Has a service want the version of a release that passed, unless a release that was pushed later passed before."""
    release = Records(here.table, "release").get(passed.release) or {}
    pushed_at = release["history"][0]["at"] if release.get("history") else text(now)
    with suppress(Conflict):
        Records(here.table, "service").change(
            service,
            {"passed": {"version": passed.version, "artifact": passed.artifact}, "passed_at": pushed_at},
            Entry(text(now), _WHO, "release passed", f"{passed.version} ({passed.release})"),
            only_if="attribute_not_exists(passed_at) OR passed_at < :passed_at "
            "OR (passed_at = :passed_at AND passed <> :passed)",
        )


def approve(here: Settings, asked: RolloutApproved, now: datetime) -> str:
    """Lets a rollout through that waits, or has one tried again that ended badly; returns its service.

    Raises:
        Refused: it is neither of them.
    """
    record = Records(here.table, "rollout").get(asked.rollout)
    if not record:
        raise Refused(f"rollout: expected one that is known, but it is {asked.rollout}")
    service: str = record["service"]
    entry = Entry(text(now), asked.approved_by, "approved", f"{asked.rollout}: {asked.why}")
    again = record["stage"] in _ENDED
    facts = {"asked": {"to": "latest", "rollout": asked.rollout}} if again else {"approved": asked.rollout}
    try:
        # One that ended badly may have been followed by others: only the last one is tried again.
        Records(here.table, "service").change(
            service,
            facts,
            entry,
            only_if="last_rollout = :rollout AND attribute_not_exists(rollout)" if again else "pending.id = :rollout",
            bound={":rollout": asked.rollout},
        )
    except Conflict:
        raise Refused(
            f"rollout: expected one that awaits approval, or the last one of {service} if it went badly, but "
            f"{asked.rollout} is {record['stage']}"
        ) from None
    Records(here.table, "rollout").note(asked.rollout, entry)
    return service


def ask(here: Settings, asked: RolloutRequested, now: datetime) -> str:
    """Notes what a person wants of a service; returns it.

    Raises:
        Refused: there is no such service.
    """
    try:
        Records(here.table, "service").change(
            asked.service,
            {"asked": {"to": asked.to}},
            Entry(text(now), asked.requested_by, f"asked for {asked.to}", asked.why),
            only_if="attribute_exists(pk)",
        )
    except Conflict:
        raise Refused(f"service: expected a permanent environment that is known, but it is {asked.service}") from None
    return asked.service


def attend(here: Settings, service: Service, now: datetime) -> Decision:
    """Looks at a service, remembers what is seen, decides, and does it."""
    workload = clients.workload(*service.place, here.workload_role, service.id, tags.SERVICE)
    seen = services.look(workload, service.id, here.controller)
    record = _remember(here, service, workload, seen, now)
    if record.get("rollout"):
        _resume(here, record, now)
    standing = _standing(here, service, seen, record)
    decision = decide(now, standing, _policy(here, service.own.rollout))
    pending = record.get("pending")
    if decision.action is Action.START:
        _start(here, service, seen, record, decision, now)
    elif decision.action.waits:
        _wait(here, service, record, decision, now)
    elif not standing.running and (pending or record.get("asked")):
        _drop(here, record, decision, now)
    return decision


def forget(here: Settings, record: Mapping[str, Any], now: datetime) -> bool:
    """Ends the record of a service that is not configured any more, once a person has deleted its stack."""
    place = (record["account"], record["region"])
    workload = clients.workload(*place, here.workload_role, record["id"], tags.SERVICE)
    if services.look(workload, record["id"], here.controller):
        return False
    entry = Entry(text(now), _WHO, "removed", "it is not configured any more, and its stack is gone")
    facts = {"stage": "removed", "forget_after": forget_after(text(now), here.record_days)}
    Records(here.table, "service").change(record["id"], facts, entry, drop=("live",))
    return True


def _remember(
    here: Settings, service: Service, workload: clients.Workload, seen: Seen | None, now: datetime
) -> dict[str, Any]:
    """Writes down what was seen of a service."""
    records = Records(here.table, "service")
    facts: dict[str, Any] = {
        "application": service.application,
        "name": service.own.name,
        "account": service.place[0],
        "region": service.place[1],
        "channel": f"{service.owner.image.family}/{service.own.channel}",
        "seen_at": text(now),
    }
    facts |= _facts(seen)
    born: dict[str, Any] = {"id": service.id, "live": "service", "stage": "planned", "drift": []}
    record = records.change(service.id, facts, once=born)
    if not record:
        raise RuntimeError("the table is lost: nothing is rolled out without a record")
    if seen and not record.get("rollout"):
        record = _compare(here, service, workload, seen, record, now)
    return record


def _facts(seen: Seen | None) -> dict[str, Any]:
    if seen is None or not seen.group:
        return {"instance_count": 0, "odd": []}
    oldest = min((member.launched_at for member in seen.members), default=None)
    return {
        "instance_count": len(seen.members),
        "odd": odd(seen.members, seen.pinned, seen.group_template),
        "url": seen.stack.outputs.get("Url", ""),
    } | ({"oldest_instance_at": text(oldest)} if oldest else {})


def _compare(
    here: Settings, service: Service, workload: clients.Workload, seen: Seen, record: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Reads what CloudFormation has found to differ since it was asked, and asks anew from time to time."""
    records, changes = Records(here.table, "service"), dict[str, Any]()
    if detection := record.get("detection"):
        found = stacks.drift(workload, seen.stack.id, detection)
        if found is None:
            return record
        changes = {"drift": found, "drift_at": record["detected_at"]}
        if found and found != record.get("drift"):
            announce(here.bus, "Service Drifted", {"service": service.id, "drift": found})
    at = record.get("detected_at")
    due = at is None or now >= datetime.fromisoformat(at) + _DRIFT_EVERY
    if due and seen.group and seen.stack.status in services.READY:
        asked = stacks.detect_drift(workload, seen.stack.id)
        return records.change(service.id, changes | {"detection": asked, "detected_at": text(now)})
    return records.change(service.id, changes, drop=("detection",)) if changes else record


def _standing(here: Settings, service: Service, seen: Seen | None, record: Mapping[str, Any]) -> Standing:
    wanted, lacking = _wanted(here, service, record)
    # What stands is what AWS says; which template it was made of, only the record knows.
    current = record.get("setup") if seen else None
    if seen and current is None and seen.group and seen.stack.status.endswith("_COMPLETE"):
        current = services.setup_of(seen.stack)
    oldest = record.get("oldest_instance_at")
    pending = record.get("pending") or {}
    failed_at = record.get("failed_at")
    return Standing(
        current=current,
        previous=record.get("previous"),
        wanted=wanted,
        lacking=lacking,
        running=record.get("rollout"),
        pending=pending.get("to"),
        approved=bool(pending) and record.get("approved") == pending["id"],
        refused=record.get("refused"),
        held=record.get("held", "") or ("its stack is gone" if record.get("setup") and not seen else ""),
        asked=(record.get("asked") or {}).get("to"),
        oldest=datetime.fromisoformat(oldest) if oldest and seen else None,
        odd=record.get("odd", ()),
        failed_at=datetime.fromisoformat(failed_at) if failed_at else None,
        firing=seen.firing if seen else (),
    )


def _wanted(here: Settings, service: Service, record: Mapping[str, Any]) -> tuple[Setup | None, str]:
    """The setup that a service should have, or what is missing for it."""
    passed = record.get("passed") or record.get("setup")
    if not passed:
        return None, f"no release of {service.application} has passed yet"
    choice = service.owner.image.model_copy(update={"channel": service.own.channel})
    try:
        image = catalogue.image(here, choice, service.place[1])
        blueprint = catalogue.pin(here.blueprints, service.own.blueprint).model_dump()
    except Refused as refusal:
        return None, str(refusal)
    return {
        "image": image,
        "version": passed["version"],
        "artifact": passed["artifact"],
        "blueprint": blueprint,
        "parameters": service.own.parameters,
        "instance_count": service.own.instance_count,
    }, ""


def _policy(here: Settings, configured: RolloutPolicy) -> Policy:
    said = switch.read(here.parameters)
    window = configured.window
    return Policy(
        configured.when == "approved",
        Window(window.days, window.start, window.end) if window else None,
        timedelta(days=configured.max_days),
        configured.drift == "replace",
        "" if said == switch.OFF else f"the kill switch is on: {said}",
    )


def _start(
    here: Settings, service: Service, seen: Seen | None, record: dict[str, Any], decision: Decision, now: datetime
) -> None:
    """Takes the service's turn, and starts the rollout. Who was faster has decided the same, or something newer."""
    pending = record.get("pending") or {}
    waited = pending.get("to") == decision.to
    serial = record.get("serial", 0) + (not waited)
    plan = _plan(service, seen, record, decision, rollout_id(service.id, serial)).model_dump(mode="json")
    try:
        record = Records(here.table, "service").change(
            service.id,
            {"rollout": plan["rollout"], "plan": plan, "serial": serial, "stage": "rolling out"},
            Entry(text(now), _WHO, "rollout started", f"{plan['rollout']}: {decision.reason}"),
            drop=_heeded(record),
            only_if="attribute_not_exists(rollout) AND " + _unchanged(record),
            bound=_as_seen(record),
        )
    except Conflict:
        return
    if pending and not waited:
        _supersede(here, pending["id"], plan["rollout"], now)
    _resume(here, record, now)


def _plan(service: Service, seen: Seen | None, record: Mapping[str, Any], decision: Decision, rollout: str) -> Rollout:
    before = record.get("setup") or (services.setup_of(seen.stack) if seen and decision.cause != "creation" else None)
    return Rollout.model_validate(
        {
            "rollout": rollout,
            "service": service.id,
            "application": service.application,
            "account": service.place[0],
            "region": service.place[1],
            "cause": decision.cause,
            "why": decision.reason,
            "before": None if decision.cause == "creation" else before,
            "after": decision.to,
            "template_version": seen.pinned if seen else services.FIRST,
        }
        | service.own.rollout.model_dump(
            include={"checkpoints", "soak_minutes", "least_healthy_percent", "most_healthy_percent", "limit_minutes"}
        )
    )


def _resume(here: Settings, record: dict[str, Any], now: datetime) -> None:
    """Sees to it that the rollout that has its turn has a record and an execution. One whose execution is over without
    a verdict (somebody stopped it) gives its turn up, and a person has to look."""
    plan = record["plan"]
    _begin(here, plan, "running", now)
    if executions.start(here.rollout_machine, plan["rollout"], plan):
        return
    reason = "its execution ended without a verdict"
    entry = Entry(text(now), _WHO, "failed", f"{plan['rollout']}: {reason}")
    with suppress(Conflict):
        Records(here.table, "service").change(
            plan["service"],
            {"stage": "needs a person", "held": f"{plan['rollout']}: {reason}", "last_rollout": plan["rollout"]}
            | {"failed_at": text(now)},
            entry,
            drop=("rollout", "plan"),
            only_if="rollout = :rollout",
            bound={":rollout": plan["rollout"]},
        )
        facts = {"stage": "failed", "reason": reason, "ended_at": text(now)}
        Records(here.table, "rollout").change(plan["rollout"], facts, entry, drop=("live", "waiting"))
        announce(here.bus, "Rollout Failed", shown(plan) | {"reason": reason})


def _wait(here: Settings, service: Service, record: dict[str, Any], decision: Decision, now: datetime) -> None:
    """Has a rollout wait: for a person, its window or the kill switch. It gets its number now, to be approved by."""
    pending, to = record.get("pending") or {}, decision.to
    known = pending.get("to") == to
    if known and pending["stage"] == decision.action.value and Records(here.table, "rollout").get(pending["id"]):
        return
    serial = record.get("serial", 0) + (not known)
    rollout = rollout_id(service.id, serial)
    waiting = {"id": rollout, "to": to, "stage": decision.action.value}
    try:
        Records(here.table, "service").change(
            service.id,
            {"pending": waiting, "serial": serial},
            Entry(text(now), _WHO, decision.action.value, f"{rollout}: {decision.reason}"),
            only_if="attribute_not_exists(rollout) AND " + _unchanged(record),
            bound=_as_seen(record),
        )
    except Conflict:
        return
    if pending and not known:
        _supersede(here, pending["id"], rollout, now)
    plan = _plan(service, None, record, decision, rollout).model_dump(mode="json")
    # Told before it is written down: who dies in between tells it again with the next look.
    if decision.action is Action.AWAIT_APPROVAL:
        announce(here.bus, "Rollout Awaiting Approval", shown(plan))
    _begin(here, plan, decision.action.value, now)


def _drop(here: Settings, record: dict[str, Any], decision: Decision, now: datetime) -> None:
    """Drops what waits and is not wanted any more."""
    try:
        Records(here.table, "service").change(
            record["id"],
            {},
            Entry(text(now), _WHO, "not wanted any more", decision.reason),
            drop=_heeded(record),
            only_if="attribute_not_exists(rollout) AND " + _unchanged(record),
            bound=_as_seen(record),
        )
    except Conflict:
        return
    if pending := record.get("pending"):
        _supersede(here, pending["id"], decision.reason, now)


def _begin(here: Settings, plan: Mapping[str, Any], stage: str, now: datetime) -> None:
    """Begins a rollout's record, or says of one that it runs now. One that has ended stays as it is."""
    began = {"started_at": text(now)} if stage == "running" else {}
    facts = {"stage": stage, "why": plan["why"], "cause": plan["cause"]}
    facts |= {key: plan[key] for key in ("service", "application", "account", "region")}
    facts |= {"to": _brief(plan["after"])} | ({"from": _brief(plan["before"])} if plan["before"] else {})
    rollouts = Records(here.table, "rollout")
    born = {
        "id": plan["rollout"],
        "live": "rollout",
        "born": rollouts.born(text(now)),
        "planned_at": text(now),
        "percent": 0,
        "checkpoints": [{"percent": percent} for percent in plan["checkpoints"]],
        "forget_after": forget_after(text(now), here.record_days),
    }
    waits = {f":{action.name}": action.value for action in Action if action.waits}
    with suppress(Conflict):
        rollouts.change(
            plan["rollout"],
            facts | began,
            Entry(text(now), _WHO, stage, plan["why"]),
            once=born,
            only_if=f"attribute_not_exists(pk) OR stage IN ({', '.join(waits)})",
            bound=waits,
        )


def _supersede(here: Settings, rollout: str, by: str, now: datetime) -> None:
    """Ends a rollout that waited, for a newer one, or because nobody wants it any more."""
    entry = Entry(text(now), _WHO, "superseded", by)
    facts = {"stage": "superseded", "reason": f"superseded: {by}", "ended_at": text(now)}
    record = Records(here.table, "rollout").change(rollout, facts, entry, drop=("live",))
    announce(here.bus, "Rollout Superseded", {"rollout": rollout, "service": record.get("service"), "by": by})


def _heeded(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What a decision has used up. What a person asked for meanwhile stays for the next one."""
    return tuple(key for key in ("pending", "asked", "approved") if key in record)


def _unchanged(record: Mapping[str, Any]) -> str:
    return "serial = :as_seen" if "serial" in record else "attribute_not_exists(serial)"


def _as_seen(record: Mapping[str, Any]) -> dict[str, Any]:
    return {":as_seen": record["serial"]} if "serial" in record else {}


def _brief(setup: Setup) -> dict[str, str]:
    return {"image": setup["image"], "version": setup["version"]}


def shown(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A rollout as it is announced."""
    said = {key: plan[key] for key in ("rollout", "service", "application", "account", "region", "cause", "why")}
    return said | {"from": _brief(plan["before"]) if plan["before"] else None, "to": _brief(plan["after"])}
