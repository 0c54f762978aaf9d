"""All that retirement decides by: every image of every family, what channels need, and what is known of their use.

What costs a page is looked at for all; what costs a call an image is asked of those only that are due otherwise.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws import catalogue, channels, clients, copies, retiring, usage
from mayfly.aws.records import Records
from mayfly.domain import retirement
from mayfly.domain.channel import needed
from mayfly.domain.retirement import Ami, Decision, Image, Policy, Usage
from mayfly.messages import Family, Refused
from mayfly.observability import logger
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_LOOKED_AT = 2
"""How many times as many images are looked at closely as steps may be taken: some turn out to be in use."""

_NOT_LOOKED_AT = Usage(unknown=("it has to wait for a later run to be looked at closely",))


@dataclass(frozen=True, slots=True)
class Place:
    """One Region of an account, entered to look, with what was seen there; no workload where it cannot be entered."""

    account: str
    region: str
    workload: "Workload | None"
    look: usage.Look


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is, and what uses it as far as pages tell.

    Attributes:
        images: by family. policies: of the families.
        needed: ids that channels need, each with the reason.
        named: ids that Mayfly itself names elsewhere, each with where.
        places: where images of these families may be used.
        unseen: families that are left alone, and why: some of their images cannot be listed, or nothing says what to
            do with them.
    """

    images: Mapping[str, Sequence[Image]]
    policies: Mapping[str, Policy]
    needed: Mapping[str, str]
    named: Mapping[str, Sequence[str]]
    places: Sequence[Place]
    unseen: Sequence[str] = ()

    def decide(self, now: datetime, most: int) -> tuple[list[Decision], list[Decision]]:
        """Decides about every image, looking closer only at those that nothing else keeps.

        Args:
            most: how many steps may be taken.

        Returns:
            the decisions, and those whose images a usage report has to be asked for.
        """
        known = {ami.id: self._direct(ami) for images in self.images.values() for image in images for ami in image.amis}
        due = retirement.steps(self._decisions(now, known))
        others = self._elsewhere(due, now)
        known |= {ami: usage.merged([known[ami], more]) for ami, more in others.items()}
        asking = [each for each in due if usage.NO_REPORT in others[each.ami.id].unknown][: most * _LOOKED_AT]
        due = retirement.steps(self._decisions(now, known))
        closer = self._closer(due[: most * _LOOKED_AT])
        known |= {
            each.ami.id: usage.merged([known[each.ami.id], closer.get(each.ami.id, _NOT_LOOKED_AT)]) for each in due
        }
        return self._decisions(now, known), asking

    def _decisions(self, now: datetime, known: Mapping[str, Usage]) -> list[Decision]:
        return [
            decision
            for family, images in self.images.items()
            for decision in retirement.decide(now, images, self.policies[family], self.needed, known)
        ]

    def _direct(self, ami: Ami) -> Usage:
        seen = [use for place in self._places(ami.region) for use in place.look.uses.get(ami.id, ())]
        return Usage((*self.named.get(ami.id, ()), *seen))

    def _places(self, region: str) -> list[Place]:
        return [place for place in self.places if place.region == region]

    def _elsewhere(self, due: Iterable[Decision], now: datetime) -> dict[str, Usage]:
        """What accounts use that cannot be entered."""
        found: dict[str, Usage] = {}
        for (account, region), amis in _by_place(due).items():
            for place in self._places(region):
                if place.account == account:
                    closed = Usage(unknown=("other accounts: their use cannot be asked for",))
                    entered = place.workload
                    found |= usage.elsewhere(entered, amis, now) if entered else dict.fromkeys(amis, closed)
        return found

    def _closer(self, due: Iterable[Decision]) -> dict[str, Usage]:
        """What refers to images by EC2's own knowledge, account by account; and what is unknown of the direct look."""
        found: dict[str, list[Usage]] = defaultdict(list)
        for (_, region), amis in _by_place(due).items():
            for place in self._places(region):
                if place.workload:
                    known = usage.references(place.workload, amis, place.look)
                else:
                    doubts = tuple(f"{kind} of {place.account}: {why}" for kind, why in place.look.unknown.items())
                    known = dict.fromkeys(amis, Usage(unknown=doubts))
                for ami, more in known.items():
                    found[ami].append(more)
        return {ami: usage.merged(many) for ami, many in found.items()}


def _by_place(due: Iterable[Decision]) -> dict[tuple[str, str], list[str]]:
    places: dict[tuple[str, str], list[str]] = {}
    for each in due:
        places.setdefault((each.ami.account, each.ami.region), []).append(each.ami.id)
    return places


def families(here: Settings) -> tuple[dict[str, Family], list[str]]:
    """The families that are configured, and what is wrong with the others: their images are left alone."""
    listed = list(catalogue.families(here.parameters))
    good = {name: found for name, found in listed if isinstance(found, Family)}
    return good, [f"{name}: {found}" for name, found in listed if isinstance(found, Refused)]


def take(here: Settings, configured: Mapping[str, Family], now: datetime) -> Inventory:
    """Looks at everything, page by page.

    Channels are read last: an image that one moved to meanwhile is needed, even if it was seen before.
    """
    accounts = {family.account for family in configured.values()}
    regions = {region for _, region in here.places}
    regions |= {region for family in configured.values() for region in family.everywhere}
    found, closed = _listed(here, accounts, regions, now)
    whole = {name: family for name, family in configured.items() if family.account not in closed}
    groups = retiring.grouped(found)
    images = {name: parts for name, parts in groups.items() if name in whole}
    used_in = {ami.region for parts in images.values() for image in parts for ami in image.amis}
    accounts |= {account for account, _ in here.places}
    places = [_place(here, account, region) for account in sorted(accounts) for region in sorted(used_in)]
    named = _named(here)
    return Inventory(
        images,
        {name: policy(family) for name, family in configured.items()},
        needed(channels.every(here.table)),
        named,
        places,
        [
            *(f"{name}: {closed[family.account]}" for name, family in configured.items() if family.account in closed),
            *(f"{name}: it is not configured (any more)" for name in groups if name not in configured),
        ],
    )


def _listed(
    here: Settings, accounts: Iterable[str], regions: Iterable[str], now: datetime
) -> tuple[list[retiring.Found], dict[str, str]]:
    """Every image of these accounts, and the accounts of which a Region could not be listed: a use of an image that
    was not seen there would not be known of its copies elsewhere."""
    found: list[retiring.Found] = []
    closed: dict[str, str] = {}
    for account in sorted(accounts):
        for region in sorted(regions):
            try:
                found += retiring.listed(_enter(here, account, region), account, here.controller, now)
            except (ClientError, BotoCoreError) as error:
                closed[account] = f"{account}/{region} cannot be listed: {error}"
    return found, closed


def policy(family: Family) -> Policy:
    """A family's policy in the words of the domain."""
    retire = family.retire
    return Policy(
        family.keep_newest,
        timedelta(days=retire.deprecate_after_days),
        timedelta(days=retire.disable_after_days),
        timedelta(days=retire.deregister_after_days),
    )


def ask(here: Settings, configured: Mapping[str, Family], asking: Iterable[Decision]) -> int:
    """Asks for the usage reports that the next run is to find; returns how many EC2 took."""
    taken = 0
    for each in asking:
        family = configured[each.family]
        try:
            workload = copies.enter(here, family, each.family, each.ami.region, f"retire-{each.ami.id}")
            usage.ask_for_report(workload, each.ami.id, here.controller)
            taken += 1
        except (ClientError, BotoCoreError) as error:
            logger.warning("no usage report", extra={"ami": each.ami.id, "error": str(error)})
    return taken


def _enter(here: Settings, account: str, region: str) -> "Workload":
    return clients.workload(account, region, here.workload_role, None)


def _place(here: Settings, account: str, region: str) -> Place:
    try:
        workload = _enter(here, account, region)
    except (ClientError, BotoCoreError) as error:
        return Place(account, region, None, usage.Look(unknown={"everything": str(error)}))
    return Place(account, region, workload, usage.look(workload))


def _named(here: Settings) -> dict[str, list[str]]:
    """What Mayfly's own records and parameters name: an environment that is planned, a channel that people keep."""
    named: dict[str, list[str]] = defaultdict(list)
    for record in Records(here.table, "environment").live():
        named[str(record.get("image"))].append(f"environment {record['id']}")
    for record in Records(here.table, "release").live():
        named[str(record.get("image"))].append(f"release {record['id']}")
    for record in Records(here.table, "service").live():
        for key in ("setup", "previous"):
            named[str((record.get(key) or {}).get("image"))].append(f"service {record['id']} ({key})")
    for record in Records(here.table, "rollout").live():
        for key in ("from", "to"):
            named[str((record.get(key) or {}).get("image"))].append(f"rollout {record['id']} ({key})")
    for parameter, value in channels.own_parameters(here.parameters).items():
        named[value].append(f"parameter {parameter}")
    return named
