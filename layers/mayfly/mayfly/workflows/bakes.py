"""Bakes: asked for, one at a time for each family, and cleaned up after."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct
from msgspec.structs import replace

from mayfly.aws import builders, clients, executions, images, instances, kill_switch, parameters, reports
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.announcements import ImageBaked, ImageRejected
from mayfly.contract.orders import Bake as Plan
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import BakeStage, Event
from mayfly.domain import tags
from mayfly.domain.bake import PROOF, BakeVerdict, Candidate, bake_id, judge_bake, newest
from mayfly.domain.channel import CANDIDATE
from mayfly.domain.ending import by_failure, result_of
from mayfly.domain.guard import may_destroy
from mayfly.domain.records import Bake, Entry, Environment, Family, Image, Suite
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings
from mayfly.workflows import channels

if TYPE_CHECKING:
    from mayfly.contract.configuration import BaseImage

_LOG_KEPT = 262_144
"""Bytes of a log's end that are kept: why a bake failed stands there."""


class Wish(Struct, frozen=True):
    """Why a family is to be baked, and what asked for it: the same event is the same bake."""

    family: str
    why: str
    by: str
    event: str


def ask(settings: Settings, wish: Wish, now: datetime) -> dict[str, Any]:
    """Begins a bake's record and starts its execution, once: a repetition finds both."""
    bake = bake_id(wish.family, wish.event)
    records = Records(settings.table, Bake)
    entry = Entry(utc_text(now), wish.by, BakeStage.REQUESTED, wish.why)
    facts: dict[str, Any] = {
        "family": wish.family,
        "why": wish.why,
        "requested_by": wish.by,
        "stage": BakeStage.REQUESTED,
    }
    try:
        records.begin(bake, entry, now + timedelta(days=settings.record_days), **facts)
    except Conflict:
        records.note(bake, Entry(utc_text(now), wish.by, "requested again", "ignored: the same event is the same bake"))
    message = {"bake": bake, "family": wish.family, "why": wish.why, "requested_by": wish.by}
    return {"family": wish.family, "bake": bake, "started": executions.start(settings.bake_machine, bake, message)}


def take_turn(settings: Settings, bake: str, family: str, now: datetime, until: datetime) -> Family | None:
    """Takes the family's lock until `until`, unless another bake has it. A bake that has to stand back leaves its
    wish, and the running one sees to it.

    Returns:
        None, or the family's record where another bake runs.
    """
    records = Records(settings.table, Family)
    entry = Entry(utc_text(now), "plan", "bake began", bake)
    try:
        records.change(
            family,
            entry,
            bake=bake,
            bake_until=utc_text(until),
            drop=(Family.wanted,),
            only_if=attr(Family.bake).not_exists()
            | attr(Family.bake).eq(bake)
            | attr(Family.bake_until).lt(utc_text(now)),
        )
    except Conflict as conflict:
        found: Family = conflict.found
        # Where that one ends just then, the condition fails, and the state machine tries again.
        records.change(
            family,
            Entry(utc_text(now), "plan", "bake stood back", f"{bake}, because {found.bake} runs"),
            wanted=bake,
            only_if=attr(Family.bake).eq(found.bake),
        )
        return found
    return None


def give_turn(settings: Settings, bake: str, family: str, now: datetime) -> dict[str, Any] | None:
    """Ends this bake's turn, and starts the one bake that follows where others stood back meanwhile."""
    entry = Entry(utc_text(now), "judge", "bake ended", bake)
    try:
        record = Records(settings.table, Family).change(
            family, entry, drop=(Family.bake, Family.bake_until), only_if=attr(Family.bake).eq(bake)
        )
    except Conflict as conflict:
        record = conflict.found
    if record is None or record.wanted is None or record.bake not in (None, bake):
        return None
    stood_back = Records(settings.table, Bake).get(record.wanted)
    why = f"{stood_back.why if stood_back else 'asked for'} ({record.wanted} stood back for {bake})"
    by = stood_back.requested_by if stood_back else "mayfly"
    return ask(settings, Wish(family, why, by, f"after {bake}"), now)


def conclude(settings: Settings, bake: str, failure: Mapping[str, str], entry: Entry, stays_open: bool) -> BakeVerdict:
    """Records what a bake came to, on its image too: the step that failed, or what the record of its proof says.

    Args:
        entry: who judges, and when; what and why follow.
        stays_open: whether the record stays open until the verdict is announced. What finds it open without an
            execution announces it then: `make_up`.
    """
    record = Records(settings.table, Bake).get(bake) or Bake(id=bake)
    verdict = _verdict(settings, bake, failure)
    entry = replace(entry, what=verdict.stage, why=verdict.reason)
    if image := record.image:
        plan = record.plan
        workload = clients.workload(plan["account"], plan["region"], settings.workload_role, bake, tags.BAKE)
        builders.label(workload, image, verdict.stage)
        Records(settings.table, Image).change(image, entry, stage=verdict.stage, drop=(Image.waiting,))
    drop = (Bake.waiting,) if stays_open else (Bake.live, Bake.waiting)
    Records(settings.table, Bake).change(bake, entry, stage=verdict.stage, reason=verdict.reason, drop=drop)
    return verdict


def _verdict(settings: Settings, bake: str, failure: Mapping[str, str]) -> BakeVerdict:
    if failure:
        return judge_bake(by_failure(failure.get("Error", "Unknown"), failure.get("Cause", "")).reason, None)
    environment = f"{bake}-{PROOF}"
    proof = Records(settings.table, Environment).get(environment)
    return judge_bake(None, result_of(Suite(PROOF, environment), {environment: proof.ending} if proof else {}))


def shown(record: Bake, following: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns what is announced of a bake, besides its verdict, who asked for it and why."""
    return {
        "bake": record.id,
        "family": record.family,
        "image": record.image or "",
        **{key: record.plan.get(key, "") for key in ("account", "region")},
        "base_image": record.base_image,
        "log": record.log,
        "following": following["bake"] if following else "",
    }


def make_up(settings: Settings, bake: str, now: datetime) -> None:
    """Ends a bake whose execution is gone as that would have: judges it once its proof is over, lets the next one
    begin, and announces it. It closes the bake's record then: after a crash in between, a sweep announces it again."""
    records = Records(settings.table, Bake)
    record = records.get(bake)
    if record is None or not record.live:  # its execution has ended it just now
        return
    if record.stage not in (BakeStage.PROVEN, BakeStage.REJECTED):
        proof = Records(settings.table, Environment).get(f"{bake}-{PROOF}")
        if proof and proof.live and not proof.ending:
            return
        failure = {} if proof else {"Error": "Aborted", "Cause": "its execution ended before its image was proven"}
        conclude(settings, bake, failure, Entry(utc_text(now), "sweep", "", ""), stays_open=True)
        record = records.get(bake) or record
    detail: dict[str, Any] = {"why": record.why, "requested_by": record.requested_by, "reason": record.reason}
    detail |= shown(record, give_turn(settings, bake, record.family, now))
    if record.stage == BakeStage.PROVEN:
        there = channels.read(settings.table, record.family, CANDIDATE).image == record.image
        promotion = f"{CANDIDATE} points to it" if there else "its execution ended before that: a person may promote it"
        announce(settings.facts, ImageBaked(**detail, candidate=there, promotion=promotion))
    else:
        announce(settings.facts, ImageRejected(**detail))
    records.change(bake, drop=(Bake.live,))


def find_base(workload: clients.Workload, base: BaseImage, instance_type: str) -> Candidate:
    """Finds the newest image that a family is baked from, as it is now, of an architecture that its builder boots.

    Raises:
        Refused: there is none.
    """
    wanted: dict[str, Any] = {"Owners": [base.owner], "Filters": [{"Name": "name", "Values": [base.name]}]}
    if base.parameter:
        if (value := parameters.get(workload.ssm, base.parameter)) is None:
            raise Refused(f"base.parameter: there is no parameter {base.parameter} there")
        wanted = {"ImageIds": [value]}
    named = base.parameter or f"{base.name} of {base.owner}"
    if not (there := list(images.available(workload, **wanted))):
        raise Refused(f"base: expected an image that is available, but there is none for {named}")
    if (boots := instances.architectures(workload, instance_type)) is None:
        raise Refused(f"instance_type: expected one that EC2 has in {workload.region}, but it is '{instance_type}'")
    if (found := newest(image for image in there if image.architecture in boots)) is None:
        made_for = ", ".join(sorted({image.architecture for image in there}))
        raise Refused(
            f"instance_type: expected one for {made_for}, as {named} is, but {instance_type} is for {', '.join(boots)}"
        )
    return found


def keep_console(settings: Settings, workload: clients.Workload, bake: str, builder: str) -> str:
    """Keeps what a builder printed on its console, which goes with it; returns where. One that never came so far as its
    log says nothing else."""
    try:
        return reports.keep_text(settings.reports, console_key(bake), instances.console(workload.ec2, builder))
    except ClientError as error:  # the bake has failed for its own reason, which this must not hide
        logger.warning("the console cannot be kept", exc_info=True)
        return f"unknown, {error.response['Error']['Code']}"


def keep_log(settings: Settings, plan: Plan) -> bool:
    """Keeps the end of the log that a bake's builder left, where the console finds it; False where there is none, or
    Mayfly may not read it there."""
    location = plan.builder.log
    try:
        record = Records(settings.table, Bake).get(plan.bake)
        location = record.log if record and record.log else location
        workload = clients.workload(plan.account, plan.region, settings.workload_role, plan.bake, tags.BAKE)
        reports.keep_text(settings.reports, log_key(plan.bake), reports.end_of(workload, location, _LOG_KEPT))
    except (ClientError, BotoCoreError):  # what became of the bake must not depend on it
        logger.warning("the log cannot be kept", extra={"log": location}, exc_info=True)
        return False
    return True


def log_key(bake: str) -> str:
    """Tells where the end of a bake's log is kept among the reports."""
    return f"bakes/{bake}.log"


def console_key(bake: str) -> str:
    """Returns the S3 key of the console output that the builder of a failed bake printed."""
    return f"consoles/{bake}.txt"


def clean_up(settings: Settings, target: tuple[str, str], bake: str) -> dict[str, Any]:
    """Ends what is left of a bake's builder, with the guard over tags that were read just now and the kill switch.

    Returns:
        the ids that were `removed`, and those `refused` with the reason.

    Raises:
        KillSwitchOn: nothing was removed.
    """
    workload = clients.workload(*target, settings.workload_role, bake, tags.BAKE)
    found = builders.leftovers(workload, settings.controller, bake)
    permissions = {
        leftover.id: may_destroy(bake, settings.controller, leftover.labels, tags.BAKE) for leftover in found
    }
    granted = [leftover for leftover in found if permissions[leftover.id].granted]
    if granted:
        kill_switch.check(settings.parameters)
        builders.remove(workload, granted)
    refused = {one: said.reason for one, said in permissions.items() if not said.granted}
    return {"removed": [leftover.id for leftover in granted], "refused": refused}


def remember_code(settings: Settings, family: str, code: Mapping[str, str], at: str, who: str) -> None:
    """Keeps the Puppet code that was pushed for a family, unless a newer one is kept."""
    with suppress(Conflict):
        Records(settings.table, Family).change(
            family,
            Entry(at, who, Event.PUPPET_CODE_PUSHED, code["version"]),
            puppet=code,
            puppet_at=at,
            only_if=attr(Family.puppet_at).not_exists() | attr(Family.puppet_at).lt(at),
        )


def family_named(settings: Settings, family: str) -> Family | None:
    """Reads a family's record; None where it was never baked, and no Puppet code was pushed for it."""
    return Records(settings.table, Family).get(family)


def code_of(settings: Settings, family: str) -> dict[str, str]:
    """Returns the Puppet code that was pushed last for a family; {} where none was."""
    record = family_named(settings, family)
    pushed = record.puppet if record else {}
    return {key: pushed[key] for key in ("artifact", "sha256") if key in pushed}
