"""Pauses rollouts at a checkpoint, and has them go on from there.

Auto Scaling cannot pause an instance refresh. So it is cancelled while it soaks at a checkpoint, which leaves what is
replaced; going on, a new refresh replaces the rest.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mayfly.aws import clients, executions, refreshes
from mayfly.aws.records import ChangedMeanwhile, Conflict, Records, attr
from mayfly.contract.announcements import RolloutPaused
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import Event, RolloutStage, Wait
from mayfly.domain import tags
from mayfly.domain.records import Entry, Rollout
from mayfly.domain.rollout import no_pause, soaks
from mayfly.domain.stack import TaskResult
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings
from mayfly.workflows import outbox

if TYPE_CHECKING:
    from mayfly.contract.requests import RolloutPauseRequested, RolloutResumeRequested

_WHO = "resume"
NEXT_CHECKPOINT = "it pauses at its next checkpoint"


def pause(settings: Settings, asked: RolloutPauseRequested, now: datetime) -> dict[str, Any]:
    """Has a rollout stop at the checkpoint where it soaks, or else at the next one.

    Raises:
        Refused: nothing of it is left to be replaced, or it goes back.
    """
    records, record = Records(settings.table, Rollout), _the(settings, asked.rollout)
    if record.paused:
        return {"rollout": record.id, "resumed": False, "reason": "it was paused already"}
    entry = Entry(utc_text(now), asked.requested_by, Event.ROLLOUT_PAUSE_REQUESTED, asked.why)
    if refusal := no_pause(record):
        records.note(record.id, replace(entry, why=f"refused: {refusal}"))
        raise Refused(f"rollout: expected one whose instances are being replaced, but {record.id}: {refusal}")
    why = f"{asked.requested_by} paused it: {asked.why}"
    free = attr(Rollout.paused).not_exists() & attr(Rollout.aborted).not_exists()
    try:
        changed = records.change(record.id, entry, paused=why, only_if=free & attr(Rollout.stage).eq(record.stage))
    except Conflict:
        raise ChangedMeanwhile(record.id) from None
    halted = changed is not None and halt(settings, changed, now)
    return {"rollout": record.id, "resumed": False, "reason": "it stops here" if halted else NEXT_CHECKPOINT}


def halt(settings: Settings, record: Rollout, now: datetime) -> bool:
    """Cancels the refresh of a rollout that is to pause, if it soaks at a checkpoint; returns whether it did. Auto
    Scaling's event says when it has stopped."""
    waiting = record.waiting
    if not record.paused or waiting is None or waiting.for_ != Wait.REPLACE or not waiting.refresh:
        return False
    workload = clients.workload(record.account, record.region, settings.workload_role, record.service, tags.SERVICE)
    found = refreshes.latest(workload, record.group)
    if found is None or found.id != waiting.refresh or not soaks(record.checkpoints, found.soak, now):
        return False
    Records(settings.table, Rollout).change(record.id, halted=found.id)
    refreshes.cancel(workload, record.group)
    return True


def halted(settings: Settings, record: Rollout, now: str) -> bool:
    """Decides what it means that the refresh was cancelled for a pause: the rollout stands still until somebody resumes
    it, or goes on where that has been asked for meanwhile; returns whether it does."""
    if not record.paused:
        return bool(record.waiting and executions.complete_task(record.waiting.token, _resumed(record.id), {}))
    entry = Entry(now, _WHO, RolloutStage.PAUSED, f"{record.percent} % of the instances are replaced")
    still = attr(Rollout.paused).exists() & attr(Rollout.stage).ne(RolloutStage.PAUSED)
    try:
        Records(settings.table, Rollout).change(record.id, entry, stage=RolloutStage.PAUSED, only_if=still)
    except Conflict:
        return False
    said = RolloutPaused(rollout=record.id, service=record.service, percent=record.percent, why=record.paused)
    outbox.say(settings, said, now)
    return False


def resume(settings: Settings, asked: RolloutResumeRequested, now: datetime) -> dict[str, Any]:
    """Has a rollout go on that is paused, or is to be.

    Raises:
        Refused: it is not.
    """
    records, record = Records(settings.table, Rollout), _the(settings, asked.rollout)
    entry = Entry(utc_text(now), asked.requested_by, Event.ROLLOUT_RESUME_REQUESTED, asked.why)
    if not record.paused or record.aborted or record.ended_at:
        records.note(record.id, replace(entry, why=f"refused: it is {record.stage}, and not paused"))
        raise Refused(f"rollout: expected one that is paused, but {record.id} is {record.stage}")
    same = attr(Rollout.paused).eq(record.paused) & attr(Rollout.stage).eq(record.stage)
    stands = record.stage == RolloutStage.PAUSED
    stage = RolloutStage.REPLACING if stands else None
    try:
        records.change(record.id, entry, drop=(Rollout.paused,), only_if=same, stage=stage)
    except Conflict:
        raise ChangedMeanwhile(record.id) from None
    going_on = bool(stands and record.waiting) and executions.complete_task(
        record.waiting.token if record.waiting else "", _resumed(record.id), {}
    )
    return {"rollout": record.id, "resumed": going_on, "reason": asked.why}


def _resumed(rollout: str) -> TaskResult:
    """Returns what the execution is told, which begins the step anew: with the instances that are left."""
    return TaskResult("Resumed", f"{rollout} goes on with the instances that are left")


def _the(settings: Settings, rollout: str) -> Rollout:
    record = Records(settings.table, Rollout).get(rollout)
    if record is None:
        raise Refused(f"rollout: expected one that is known, but it is {rollout}")
    return record
