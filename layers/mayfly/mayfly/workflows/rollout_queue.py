"""Runs one rollout at a time for each permanent environment: queue and lock. A newer rollout supersedes one that waits.

A turn is one conditional write to the service's record, with the whole plan in it. All that follows from it (the
rollout's own record, its execution) is done by name, and done again by the next look where somebody died in between.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from boto3.dynamodb.conditions import ConditionBase
from msgspec import Struct
from msgspec.structs import replace

from mayfly.aws import executions
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.announcements import RolloutAwaitingApproval
from mayfly.contract.vocabulary import RolloutStage, ServiceStage
from mayfly.domain.identity import rollout_id
from mayfly.domain.records import Entry, Pending, Rollout
from mayfly.domain.records import Service as ServiceRecord
from mayfly.domain.rollout import RolloutAction, RolloutDecision, decide_rollout
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings
from mayfly.workflows import catalogue, rollouts, standing
from mayfly.workflows.services import Seen
from mayfly.workflows.standing import Service

_WHO = "plan"


class Turn(Struct, frozen=True):
    """One look at a service: what was seen of it, what its record says, and what is done about it.

    Attributes:
        number: of the rollout that is decided on.
    """

    settings: Settings
    service: Service
    seen: Seen | None
    record: ServiceRecord
    decision: RolloutDecision
    now: datetime
    number: int

    @property
    def known(self) -> bool:
        """Whether the rollout that is decided on waits already."""
        return _waits(self.record, self.decision) and self.number == self.record.serial

    @property
    def rollout(self) -> str:
        """Its name."""
        return rollout_id(self.service.id, self.number)

    def entry(self, what: str, why: str) -> Entry:
        """Returns a line of the service's history."""
        return Entry(utc_text(self.now), _WHO, what, why)

    def change(self, entry: Entry, **change: Any) -> ServiceRecord | None:
        """Changes the service's record, if nothing runs and nobody was faster.

        Raises:
            Conflict: somebody was.
        """
        serial = attr(ServiceRecord.serial)
        unchanged: ConditionBase = serial.not_exists() if self.record.serial is None else serial.eq(self.record.serial)
        idle = attr(ServiceRecord.rollout).not_exists() & unchanged
        if self.decision.action is RolloutAction.START:  # who puts it to sleep asks for the turn in the same way
            idle &= attr(ServiceRecord.sleep).not_exists()
        return Records(self.settings.table, ServiceRecord).change(self.service.id, entry, only_if=idle, **change)

    def supersede(self, by: str) -> None:
        """Ends the rollout that waited, for a newer one, or because nobody wants it any more."""
        if self.record.pending and not self.known:
            rollouts.supersede(self.settings, self.record.pending.id, by, self.now)


def attend(settings: Settings, service: Service, now: datetime) -> RolloutDecision:
    """Looks at a service, remembers what is seen, decides, and does it."""
    seen, record = standing.remember(settings, service, now)
    if record.rollout:
        resume(settings, record.plan, now)
    stands, rules = standing.standing(settings, service, seen, record), standing.rules(settings, service.own.rollout)
    decision = decide_rollout(now, stands, rules)
    number, newer = _number(settings, service, record, decision)
    restored = f"{rollout_id(service.id, number - 1)} began after its record was saved: the table was restored"
    if newer and not newer.succeeded:
        return _adopt(Turn(settings, service, seen, record, decision, now, number), newer.message, restored)
    stale = bool(newer and (stands.asked or stands.approved))
    if stale:  # what a person wants by it may have been done long ago: it waits for a person's word of today
        decision = decide_rollout(now, replace(stands, asked=None, approved=False, held=stands.held or restored), rules)
    turn = Turn(settings, service, seen, record, decision, now, number)
    with suppress(Conflict):  # who was faster has decided the same, or something newer
        if decision.action is RolloutAction.START:
            _start(turn)
        elif decision.action.waits:
            _wait(turn, _HEEDED[1:] if stale else ())
        elif not stands.running and (record.pending or record.asked):
            _drop(turn)
    return decision


def _waits(record: ServiceRecord, decision: RolloutDecision) -> bool:
    return record.pending is not None and record.pending.to == decision.to


def _number(
    settings: Settings, service: Service, record: ServiceRecord, decision: RolloutDecision
) -> tuple[int, executions.Execution | None]:
    """Returns the number of the rollout that is decided on: what waits has one. Where it has been used already, the
    table was restored since, and the last one that began comes with it: Step Functions remembers."""
    number, newer = record.serial or 0, None
    if decision.action is not RolloutAction.START and not decision.action.waits:
        return number, None
    number += not _waits(record, decision)
    while found := executions.describe(settings.rollout_machine, rollout_id(service.id, number)):
        number, newer = number + 1, found
    return number, newer


def _adopt(turn: Turn, plan: Mapping[str, Any], why: str) -> RolloutDecision:
    """Gives a rollout its turn back that a restored record does not know: it goes on, or a person has to look."""
    with suppress(Conflict):
        turn.change(
            turn.entry("rollout adopted", why),
            rollout=plan["rollout"],
            plan=plan,
            serial=turn.number - 1,
            stage=ServiceStage.ROLLING_OUT,
            drop=_HEEDED,
        )
        if turn.record.pending and turn.record.pending.id != plan["rollout"]:
            rollouts.supersede(turn.settings, turn.record.pending.id, plan["rollout"], turn.now)
        resume(turn.settings, plan, turn.now)
    return RolloutDecision(RolloutAction.NOTHING, why)


def _start(turn: Turn) -> None:
    """Takes the service's turn, and starts the rollout."""
    plan = rollouts.plan(turn.service, turn.seen, turn.record, turn.decision, turn.rollout)
    plan |= catalogue.launches(turn.settings.parameters, turn.service.target)
    turn.change(
        turn.entry("rollout started", f"{turn.rollout}: {turn.decision.reason}"),
        rollout=turn.rollout,
        plan=plan,
        serial=turn.number,
        stage=ServiceStage.ROLLING_OUT,
        began_at=utc_text(turn.now),
        drop=_HEEDED,
    )
    turn.supersede(turn.rollout)
    resume(turn.settings, plan, turn.now)


def _wait(turn: Turn, drop: Collection[Any]) -> None:
    """Has a rollout wait: for a person, its window or the kill switch. It gets its number now, to be approved by."""
    action, pending = turn.decision.action, turn.record.pending
    told = turn.known and pending is not None and pending.stage == action.value
    if told and Records(turn.settings.table, Rollout).get(turn.rollout):
        return
    turn.change(
        turn.entry(action.value, f"{turn.rollout}: {turn.decision.reason}"),
        pending=Pending(turn.rollout, turn.decision.to or {}, action.value),
        serial=turn.number,
        drop=drop,
    )
    turn.supersede(turn.rollout)
    plan = rollouts.plan(turn.service, None, turn.record, turn.decision, turn.rollout)
    # Told before it is written down: who dies in between tells it again with the next look.
    if action is RolloutAction.AWAIT_APPROVAL:
        announce(turn.settings.facts, RolloutAwaitingApproval.read(rollouts.shown(plan)))
    rollouts.begin(turn.settings, plan, action.value, turn.now)


def _drop(turn: Turn) -> None:
    """Drops what waits and is not wanted any more."""
    turn.change(turn.entry("not wanted any more", turn.decision.reason), drop=_HEEDED)
    turn.supersede(turn.decision.reason)


def resume(settings: Settings, plan: Mapping[str, Any], now: datetime) -> None:
    """Sees to it that the rollout that has its turn has a record and an execution. One whose execution is over without
    a verdict (somebody stopped it) gives its turn up, and a person has to look."""
    if rollouts.run(settings, plan, now):
        return
    reason = "its execution ended without a verdict"
    entry = Entry(utc_text(now), _WHO, RolloutStage.FAILED, f"{plan['rollout']}: {reason}")
    with suppress(Conflict):
        give_turn(
            settings,
            plan["service"],
            plan["rollout"],
            entry,
            stage=ServiceStage.NEEDS_A_PERSON,
            held=f"{plan['rollout']}: {reason}",
            failed_at=utc_text(now),
        )
        rollouts.fail(settings, plan, reason, entry)


def give_turn(
    settings: Settings, service: str, rollout: str, entry: Entry, drop: tuple[Any, ...] = (), **facts: Any
) -> None:
    """Gives a service's turn back, with what the rollout has come to.

    Raises:
        Conflict: it was given back already.
    """
    Records(settings.table, ServiceRecord).change(
        service,
        entry,
        last_rollout=rollout,
        drop=(ServiceRecord.rollout, ServiceRecord.plan, *drop),
        only_if=attr(ServiceRecord.rollout).eq(rollout),
        **facts,
    )


_HEEDED = (ServiceRecord.pending, ServiceRecord.asked, ServiceRecord.approved)
"""What a decision uses up. What a person asks for meanwhile stays for the next one: the serial has changed then."""
