"""Collects all that retirement decides by: every image of every family, what channels need, and what is known of their
use.

What costs a page is looked at for all; what costs a call an image is asked of those only that are due otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from mayfly.aws import clients, images
from mayfly.aws.records import Records
from mayfly.contract.reader import Refused
from mayfly.domain import retirement
from mayfly.domain.channel import needed
from mayfly.domain.records import Environment, Release, Rollout, Service
from mayfly.domain.retirement import Ami, Image, RetirementDecision, RetirementPolicy, Usage
from mayfly.observability import logger
from mayfly.settings import Settings
from mayfly.workflows import catalogue, channels, image_usage, retiring

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload
    from mayfly.contract.configuration import Family

_LOOKED_AT = 2
"""How many times as many images are looked at closely as steps may be taken: some turn out to be in use."""

_NOT_LOOKED_AT = Usage(unknown=("it has to wait for a later run to be looked at closely",))


class SeenTarget(Struct, frozen=True):
    """One Region of an account, entered to look, with what was seen there; no workload where it cannot be entered."""

    account: str
    region: str
    workload: Workload | None
    look: image_usage.Look


class Inventory(Struct, frozen=True):
    """What there is, and what uses it as far as pages tell.

    Attributes:
        images: by family. policies: of the families.
        needed: ids that channels need, each with the reason.
        named: ids that Mayfly itself names elsewhere, each with where.
        targets: where images of these families may be used.
        unseen: families that are left alone, and why: some of their images cannot be listed, or nothing says what to
            do with them.
    """

    images: Mapping[str, Sequence[Image]]
    policies: Mapping[str, RetirementPolicy]
    needed: Mapping[str, str]
    named: Mapping[str, Sequence[str]]
    targets: Sequence[SeenTarget]
    unseen: Sequence[str] = ()

    def decide_retirements(self, now: datetime, most: int) -> tuple[list[RetirementDecision], list[RetirementDecision]]:
        """Decides about every image, looking closer only at those that nothing else keeps.

        Args:
            most: how many steps may be taken.

        Returns:
            the decisions, and those whose images a usage report has to be asked for.
        """
        known = {ami.id: self._direct(ami) for images in self.images.values() for image in images for ami in image.amis}
        due = retirement.steps(self._decisions(now, known))
        others = self._elsewhere(due, now)
        known |= {ami: image_usage.merged([known[ami], more]) for ami, more in others.items()}
        asking = [each for each in due if image_usage.NO_REPORT in others[each.ami.id].unknown][: most * _LOOKED_AT]
        due = retirement.steps(self._decisions(now, known))
        closer = self._closer(due[: most * _LOOKED_AT])
        known |= {
            each.ami.id: image_usage.merged([known[each.ami.id], closer.get(each.ami.id, _NOT_LOOKED_AT)])
            for each in due
        }
        return self._decisions(now, known), asking

    def _decisions(self, now: datetime, known: Mapping[str, Usage]) -> list[RetirementDecision]:
        return [
            decision
            for family, images in self.images.items()
            for decision in retirement.decide_retirement(now, images, self.policies[family], self.needed, known)
        ]

    def _direct(self, ami: Ami) -> Usage:
        seen = [use for target in self._targets_in(ami.region) for use in target.look.uses.get(ami.id, ())]
        return Usage((*self.named.get(ami.id, ()), *seen))

    def _targets_in(self, region: str) -> list[SeenTarget]:
        return [target for target in self.targets if target.region == region]

    def _elsewhere(self, due: Iterable[RetirementDecision], now: datetime) -> dict[str, Usage]:
        """Returns what accounts use that cannot be entered."""
        found: dict[str, Usage] = {}
        for (account, region), amis in _by_target(due).items():
            for target in self._targets_in(region):
                if target.account == account:
                    closed = Usage(unknown=("other accounts: their use cannot be asked for",))
                    entered = target.workload
                    found |= image_usage.elsewhere(entered, amis, now) if entered else dict.fromkeys(amis, closed)
        return found

    def _closer(self, due: Iterable[RetirementDecision]) -> dict[str, Usage]:
        """Returns what refers to images by EC2's own knowledge, account by account; and what is unknown of the direct
        look."""
        found: dict[str, list[Usage]] = defaultdict(list)
        for (_, region), amis in _by_target(due).items():
            for target in self._targets_in(region):
                if target.workload:
                    known = image_usage.references(target.workload, amis, target.look)
                else:
                    doubts = tuple(f"{kind} of {target.account}: {why}" for kind, why in target.look.unknown.items())
                    known = dict.fromkeys(amis, Usage(unknown=doubts))
                for ami, more in known.items():
                    found[ami].append(more)
        return {ami: image_usage.merged(many) for ami, many in found.items()}


def _by_target(due: Iterable[RetirementDecision]) -> dict[tuple[str, str], list[str]]:
    targets: dict[tuple[str, str], list[str]] = {}
    for each in due:
        targets.setdefault((each.ami.account, each.ami.region), []).append(each.ami.id)
    return targets


def families(settings: Settings) -> tuple[dict[str, Family], list[str]]:
    """Returns the families that are configured, and what is wrong with the others: their images are left alone."""
    listed = list(catalogue.families(settings.parameters))
    good = {name: found for name, found in listed if not isinstance(found, Refused)}
    return good, [f"{name}: {found}" for name, found in listed if isinstance(found, Refused)]


def take(settings: Settings, configured: Mapping[str, Family], now: datetime) -> Inventory:
    """Looks at everything, page by page.

    Channels are read last: an image that one moved to meanwhile is needed, even if it was seen before.
    """
    accounts = {family.account for family in configured.values()}
    regions = {region for _, region in settings.targets}
    regions |= {region for family in configured.values() for region in family.everywhere}
    found, closed = _listed(settings, accounts, regions, now)
    whole = {name: family for name, family in configured.items() if family.account not in closed}
    groups = retiring.grouped(found)
    images = {name: parts for name, parts in groups.items() if name in whole}
    used_in = {ami.region for parts in images.values() for image in parts for ami in image.amis}
    accounts |= {account for account, _ in settings.targets}
    targets = [_seen(settings, account, region) for account in sorted(accounts) for region in sorted(used_in)]
    named = _named(settings)
    return Inventory(
        images,
        {name: policy(family) for name, family in configured.items()},
        needed(channels.every(settings.table)),
        named,
        targets,
        [
            *(f"{name}: {closed[family.account]}" for name, family in configured.items() if family.account in closed),
            *(f"{name}: it is not configured (any more)" for name in groups if name not in configured),
        ],
    )


def _listed(
    settings: Settings, accounts: Iterable[str], regions: Iterable[str], now: datetime
) -> tuple[list[retiring.Found], dict[str, str]]:
    """Returns every image of these accounts, and the accounts of which a Region could not be listed: a use of an image
    that was not seen there would not be known of its copies elsewhere."""
    found: list[retiring.Found] = []
    closed: dict[str, str] = {}
    for account in sorted(accounts):
        for region in sorted(regions):
            try:
                found += retiring.listed(_enter(settings, account, region), account, settings.controller, now)
            except (ClientError, BotoCoreError) as error:
                closed[account] = f"{account}/{region} cannot be listed: {error}"
    return found, closed


def policy(family: Family) -> RetirementPolicy:
    """Returns a family's policy in the words of the domain."""
    retire = family.retire
    return RetirementPolicy(
        family.keep_newest,
        timedelta(days=retire.deprecate_after_days),
        timedelta(days=retire.disable_after_days),
        timedelta(days=retire.deregister_after_days),
    )


def ask(settings: Settings, configured: Mapping[str, Family], asking: Iterable[RetirementDecision]) -> int:
    """Asks for the usage reports that the next run is to find; returns how many EC2 took."""
    taken = 0
    for each in asking:
        family = configured[each.family]
        try:
            workload = images.enter(settings, family, each.family, each.ami.region, f"retire-{each.ami.id}")
            image_usage.ask_for_report(workload, each.ami.id, settings.controller)
            taken += 1
        except (ClientError, BotoCoreError) as error:
            logger.warning("no usage report", extra={"ami": each.ami.id, "error": str(error)})
    return taken


def _enter(settings: Settings, account: str, region: str) -> Workload:
    return clients.workload(account, region, settings.workload_role, None)


def _seen(settings: Settings, account: str, region: str) -> SeenTarget:
    try:
        workload = _enter(settings, account, region)
    except (ClientError, BotoCoreError) as error:
        return SeenTarget(account, region, None, image_usage.Look(unknown={"everything": str(error)}))
    return SeenTarget(account, region, workload, image_usage.find_usage(workload))


def _booting(settings: Settings) -> Iterator[tuple[str, str]]:
    """Environments and releases with the images that they boot, or may boot where they have room."""
    for environment in Records(settings.table, Environment).live():
        for image in {environment.image, *(place["image"] for place in environment.places)}:
            yield f"environment {environment.id}", str(image)
    for release in Records(settings.table, Release).live():
        for image in {release.image, *release.images}:
            yield f"release {release.id}", str(image)


def _named(settings: Settings) -> dict[str, list[str]]:
    """Returns what Mayfly's own records and parameters name: an environment that is planned, a channel that people
    keep."""
    named: dict[str, list[str]] = defaultdict(list)
    for whose, image in _booting(settings):
        named[image].append(whose)
    for service in Records(settings.table, Service).live():
        for what, setup in (("setup", service.setup), ("previous", service.previous)):
            named[str((setup or {}).get("image"))].append(f"service {service.id} ({what})")
    for rollout in Records(settings.table, Rollout).live():
        for what, side in (("from", rollout.from_), ("to", rollout.to)):
            named[str(side and side.image)].append(f"rollout {rollout.id} ({what})")
    for parameter, value in channels.own_parameters(settings.parameters).items():
        named[value].append(f"parameter {parameter}")
    return named
