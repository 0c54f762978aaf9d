"""Bakes: asked for, one at a time for each family, and cleaned up after."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from mayfly.aws import builders, clients, executions, reports, switch
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain import tags
from mayfly.domain.bake import bake_id
from mayfly.domain.guard import may_remove
from mayfly.domain.moment import text
from mayfly.observability import logger
from mayfly.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """Why a family is to be baked, and what asked for it: the same event is the same bake."""

    family: str
    why: str
    by: str
    event: str


def ask(here: Settings, wish: Wish, now: datetime) -> dict[str, Any]:
    """Begins a bake's record and starts its execution, once: a repetition finds both."""
    bake = bake_id(wish.family, wish.event)
    records = Records(here.table, "bake")
    entry = Entry(text(now), wish.by, "requested", wish.why)
    facts = {"family": wish.family, "why": wish.why, "requested_by": wish.by, "stage": "requested"}
    try:
        records.begin(bake, facts, entry, now + timedelta(days=here.record_days))
    except Conflict:
        records.note(bake, Entry(text(now), wish.by, "requested again", "ignored: the same event is the same bake"))
    message = {"bake": bake, "family": wish.family, "why": wish.why, "requested_by": wish.by}
    return {"family": wish.family, "bake": bake, "started": executions.start(here.bake_machine, bake, message)}


def take_turn(here: Settings, bake: str, family: str, now: datetime, until: datetime) -> dict[str, Any] | None:
    """Makes this bake the family's running one, unless another is, until a moment past which a dead bake holds up
    nobody. A bake that has to stand back leaves its wish, and the running one sees to it.

    Returns:
        None, or the family's record where another bake runs.
    """
    records = Records(here.table, "family")
    entry = Entry(text(now), "plan", "bake began", bake)
    try:
        records.change(
            family,
            {"bake": bake, "bake_until": text(until)},
            entry,
            drop=("wanted",),
            only_if="attribute_not_exists(bake) OR bake = :bake OR bake_until < :now",
            bound={":now": text(now)},
        )
    except Conflict as conflict:
        running = conflict.found["bake"]
        # Where that one ends in just this moment, the condition fails, and the state machine tries again.
        records.change(
            family,
            {"wanted": bake},
            Entry(text(now), "plan", "bake stood back", f"{bake}, because {running} runs"),
            only_if="bake = :running",
            bound={":running": running},
        )
        return conflict.found
    return None


def give_turn(here: Settings, bake: str, family: str, now: datetime) -> dict[str, Any] | None:
    """Ends this bake's turn, and starts the one bake that follows where others stood back meanwhile."""
    entry = Entry(text(now), "judge", "bake ended", bake)
    try:
        record = Records(here.table, "family").change(
            family, {}, entry, drop=("bake", "bake_until"), only_if="bake = :bake", bound={":bake": bake}
        )
    except Conflict as conflict:
        record = conflict.found
    if not (wanted := record.get("wanted")) or record.get("bake") not in (None, bake):
        return None
    stood_back = Records(here.table, "bake").get(wanted) or {}
    why = f"{stood_back.get('why', 'asked for')} ({wanted} stood back for {bake})"
    return ask(here, Wish(family, why, stood_back.get("requested_by", "mayfly"), f"after {bake}"), now)


def keep_console(here: Settings, workload: clients.Workload, bake: str, builder: str) -> str:
    """Keeps what a builder printed on its console, which goes with it; returns where. One that never came so far as its
    log says nothing else."""
    try:
        return reports.keep_text(here.reports, f"consoles/{bake}.txt", builders.console(workload, builder))
    except ClientError as error:  # the bake has failed for its own reason, which this must not hide
        logger.warning("the console cannot be kept", exc_info=True)
        return f"unknown, {error.response['Error']['Code']}"


def clean_up(here: Settings, place: tuple[str, str], bake: str) -> dict[str, Any]:
    """Ends what is left of a bake's builder, with the guard over tags that were read just now and the kill switch.

    Returns:
        the ids that were `removed`, and those `refused` with the reason.

    Raises:
        KillSwitchOn: nothing was removed.
    """
    workload = clients.workload(*place, here.workload_role, bake, tags.BAKE)
    found = builders.leftovers(workload, here.controller, bake)
    permissions = {leftover.id: may_remove(bake, here.controller, leftover.labels) for leftover in found}
    granted = [leftover for leftover in found if permissions[leftover.id].granted]
    if granted:
        switch.check(here.parameters)
        builders.remove(workload, granted)
    refused = {one: said.reason for one, said in permissions.items() if not said.granted}
    return {"removed": [leftover.id for leftover in granted], "refused": refused}


def remember_code(here: Settings, family: str, code: Mapping[str, str], at: str, who: str) -> None:
    """Keeps the Puppet code that was pushed for a family, unless a newer one is kept."""
    with suppress(Conflict):
        Records(here.table, "family").change(
            family,
            {"puppet": dict(code), "puppet_at": at},
            Entry(at, who, "Puppet Code Pushed", code["version"]),
            only_if="attribute_not_exists(puppet_at) OR puppet_at < :at",
            bound={":at": at},
        )


def code_of(here: Settings, family: str) -> dict[str, str]:
    """The Puppet code that was pushed last for a family; {} where none was."""
    pushed = (Records(here.table, "family").get(family) or {}).get("puppet", {})
    return {key: pushed[key] for key in ("artifact", "sha256") if key in pushed}
