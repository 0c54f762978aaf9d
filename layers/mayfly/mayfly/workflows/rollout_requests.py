"""Records what people and events want of permanent environments; the next look at each heeds it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mayfly.aws import executions
from mayfly.aws.records import EXISTS, ChangedMeanwhile, Conflict, Records, attr
from mayfly.contract.announcements import ReleasePassed
from mayfly.contract.reader import Received, Refused
from mayfly.contract.vocabulary import UNKNOWN, Event, ReleaseStage, RolloutStage, Source, Wait
from mayfly.domain.records import Asked, Entry, Passed, Pending, Release, Rollout, Service, plain
from mayfly.domain.rollout import no_abort
from mayfly.domain.stack import TaskResult
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings
from mayfly.workflows import catalogue

if TYPE_CHECKING:
    from mayfly.contract.requests import RolloutAbortRequested, RolloutApproved, RolloutRequested

_ENDED = (RolloutStage.ROLLED_BACK, RolloutStage.FAILED)


def remember_version(settings: Settings, service: str, passed: ReleasePassed, now: datetime) -> None:
    """Has a service want the version of a release that passed, unless a release that was pushed later passed before.

    Raises:
        Refused: the release's record does not say that it passed. What is heard is no evidence.
    """
    release = Records(settings.table, Release).get(passed.release) or Release(id=passed.release)
    said = {"stage": ReleaseStage.PASSED, **passed.only("application", "version", "artifact")}
    if other := sorted(name for name, value in said.items() if getattr(release, name) != value):
        raise Refused(
            f"release: expected {passed.release} to have passed by its record, which differs: {', '.join(other)}"
        )
    pushed_at = release.began or utc_text(now)
    version, at = Passed(passed.version, passed.artifact), attr(Service.passed_at)
    with suppress(Conflict):
        Records(settings.table, Service).change(
            service,
            Entry(utc_text(now), "plan", "release passed", f"{passed.version} ({passed.release})"),
            passed=version,
            passed_at=pushed_at,
            pushed_by=release.pushed_by or "",
            only_if=at.not_exists() | at.lt(pushed_at) | (at.eq(pushed_at) & attr(Service.passed).ne(plain(version))),
        )


def approve(settings: Settings, received: Received[RolloutApproved], now: datetime) -> str:
    """Lets a rollout through that waits, or has one tried again that ended badly; returns its service.

    Raises:
        Refused: it is neither of them, or has to be approved by somebody else.
    """
    asked = received.message
    record = Records(settings.table, Rollout).get(asked.rollout)
    if record is None:
        raise Refused(f"rollout: expected one that is known, but it is {asked.rollout}")
    entry = Entry(utc_text(now), asked.approved_by, "approved", f"{asked.rollout}: {asked.why}")
    _check_second_person(settings, record.service, received.source, entry)
    services = Records(settings.table, Service)
    try:
        if record.stage in _ENDED:
            # It may have been followed by others: only the last one is tried again.
            last = attr(Service.last_rollout).eq(asked.rollout) & attr(Service.rollout).not_exists()
            services.change(record.service, entry, asked=Asked("latest", asked.rollout), only_if=last)
        else:
            waits = attr(Service.pending, Pending.id).eq(asked.rollout)
            services.change(record.service, entry, approved=asked.rollout, only_if=waits)
    except Conflict:
        raise Refused(
            f"rollout: expected one that awaits approval, or the last one of {record.service} if it went badly, but "
            f"{asked.rollout} is {record.stage}"
        ) from None
    Records(settings.table, Rollout).note(asked.rollout, entry)
    return record.service


def ask(settings: Settings, received: Received[RolloutRequested]) -> str:
    """Notes what a person wants of a service; returns it. A request is done once, for the state it was asked in: the
    same one again changes nothing, and one that comes after a later one or after a rollout began is refused.

    Raises:
        Refused: there is no such service, the request is late, or somebody else has to ask.
    """
    asked, at = received.message, utc_text(received.at)
    entry = Entry(at, asked.requested_by, f"asked for {asked.to}", asked.why)
    if asked.to == "latest":  # who steps back must not have to look for somebody
        _check_second_person(settings, asked.service, received.source, entry)
    known, began = attr(Service.asked_at), attr(Service.began_at)
    newer = known.not_exists() | known.lt(at) | (known.eq(at) & attr(Service.request).ne(received.via))
    timely = began.not_exists() | began.lte(at)
    try:
        Records(settings.table, Service).change(
            asked.service,
            entry,
            asked=Asked(asked.to),
            asked_at=at,
            request=received.via,
            only_if=EXISTS & newer & timely,
        )
    except Conflict as conflict:
        found: Service | None = conflict.found
        if found is None:
            raise Refused(
                f"service: expected a permanent environment that is known, but it is {asked.service}"
            ) from None
        if found.request != received.via:
            raise Refused(
                f"service: expected a request for {asked.service} as it is, but this one was sent at {at}, before the "
                f"last rollout began ({found.began_at}) or another was asked for ({found.asked_at})"
            ) from None
    return asked.service


def _check_second_person(settings: Settings, service: str, source: str, entry: Entry) -> None:
    """Lets pass who may let a version through to a service that needs two people for that.

    Raises:
        Refused: nobody has verified who it is, nobody knows who pushed, or both are one person.
    """
    records = Records(settings.table, Service)
    record = records.get(service)
    if record is None or record.application == UNKNOWN:
        return
    configured = catalogue.application(settings.parameters, record.application).permanent
    if not any(own.name == record.name and own.rollout.two_people for own in configured):
        return
    refusal = None
    if source != Source.API:
        refusal = f"source: expected {Source.API}, which has verified who asks, but it is {source}"
    elif not record.pushed_by:
        refusal = f"pushed_by: expected to know who pushed what {service} is to have, but nobody said it"
    elif record.pushed_by.strip().casefold() == entry.who.strip().casefold():
        refusal = f"expected another person than {record.pushed_by}, who pushed what {service} is to have"
    if refusal:
        records.note(service, replace(entry, why=f"refused: {refusal}"))
        raise Refused(refusal)


def abort(settings: Settings, asked: RolloutAbortRequested, now: datetime) -> dict[str, Any]:
    """Stops a rollout that runs. Where its instances are being replaced, the execution goes back at once; before that,
    it goes back in place of replacing the first one.

    Raises:
        Refused: nothing of it can be stopped any more, or yet.
    """
    records = Records(settings.table, Rollout)
    record = records.get(asked.rollout)
    if record is None:
        raise Refused(f"rollout: expected one that is known, but it is {asked.rollout}")
    if record.aborted:
        return {"rollout": asked.rollout, "resumed": False, "reason": "it was aborted already"}
    entry = Entry(utc_text(now), asked.requested_by, Event.ROLLOUT_ABORT_REQUESTED, asked.why)
    waiting = record.waiting
    if refusal := no_abort(str(record.stage), waiting.for_ if waiting else None, record.service):
        records.note(asked.rollout, replace(entry, why=f"refused: {refusal}"))
        raise Refused(f"rollout: expected one whose instances are being replaced, but {asked.rollout}: {refusal}")
    why = f"{asked.requested_by} stopped it: {asked.why}"
    same = attr(Rollout.waiting).eq(plain(waiting)) if waiting else attr(Rollout.waiting).not_exists()
    try:
        records.change(asked.rollout, entry, aborted=why, only_if=attr(Rollout.aborted).not_exists() & same)
    except Conflict:
        raise ChangedMeanwhile(asked.rollout) from None
    if waiting is None or waiting.for_ != Wait.REPLACE:
        return {"rollout": asked.rollout, "resumed": False, "reason": "it ends before an instance is replaced"}
    resumed = executions.complete_task(waiting.token, TaskResult("Aborted", why), {})
    return {"rollout": asked.rollout, "resumed": resumed, "reason": why}
