"""Reads what the HTTP API and the command line show: a list is a query of an index, or one a day; what that names is
read a hundred at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from mayfly import views
from mayfly.aws import kill_switch
from mayfly.aws.records import Records, part_of_table
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import EnvironmentStage
from mayfly.domain.channel import CANDIDATE, STABLE, Channel, Pointed
from mayfly.domain.cost import Prices, by_application
from mayfly.domain.history import Line, Period, lines
from mayfly.domain.losses import Losses, together
from mayfly.domain.reach import Running, measure
from mayfly.domain.records import (
    Bake,
    ChannelRecord,
    DeadLetter,
    Environment,
    Image,
    Record,
    Release,
    Rollout,
    Service,
    Suite,
    Sweep,
)
from mayfly.domain.timestamp import utc_text
from mayfly.prices import list_prices
from mayfly.views import Fields, Shown
from mayfly.workflows import admission, catalogue, channels, image_contents

_LETTERS_SHOWN = 1000
"""Dead letters that a list shows one by one. All of them are counted."""
_LINES_SHOWN, _PAGES = 5_000, 20
"""Lines of histories that one answer has about at most, and the pages of the table that are read for it."""


@dataclass(frozen=True)
class Reading:
    """One look at what is recorded, at a timestamp.

    Attributes:
        parameters: path below which Parameter Store holds the configuration.
    """

    table: str
    parameters: str
    now: datetime

    @cached_property
    def _prices(self) -> Prices:
        return list_prices()

    def records[R: Record](self, kind: type[R]) -> Records[R]:
        """Gives access to the DynamoDB records of one kind."""
        return Records(self.table, kind)

    def environments(
        self, live: bool = True, days: int = 1, application: str | None = None, release: str | None = None
    ) -> Shown:
        """Environments that live, or those that began in the last days and are gone; the latest first."""
        found: Iterable[Environment]
        if release:
            known = self.records(Release).get(release)
            found = self._of(known.suites if known else ()).values()
        elif live:
            found = self.records(Environment).live(views.ENVIRONMENT)
        else:
            found = self._recent(Environment, days, views.ENVIRONMENT)
        chosen = [one for one in found if bool(one.live) == live and application in (None, one.application)]
        queue = self._queue(chosen)
        shown = [self.environment(one) | queue.get(one.id, {}) for one in chosen]
        return self._at(environments=sorted(shown, key=lambda one: str(one["planned_at"]), reverse=True))

    def _queue(self, chosen: Iterable[Environment]) -> dict[str, Shown]:
        """Where environments stand in the queue, if one of them waits for room."""
        if not any(one.stage == EnvironmentStage.QUEUED for one in chosen):
            return {}
        return {name: {"queue": asdict(each)} for name, each in admission.queue(self.table, self.now).items()}

    def environment(self, record: Environment) -> Shown:
        """An environment in a list."""
        return views.environment(record, self.now, self._prices)

    def releases(self, days: int, application: str | None = None) -> Shown:
        """Releases that were pushed in the last days, with their suites' outcomes; the newest first."""
        recent = self._recent(Release, days, views.RELEASE)
        found = [one for one in recent if application in (None, one.application)]
        known = self._of(part for one in found for part in one.suites)
        return self._at(releases=[views.release(one, known, self.now, self._prices) for one in found])

    def whole_release(self, record: Release) -> Shown:
        """A release with its history and its environments."""
        return views.whole_release(record, self._of(record.suites), self.now, self._prices)

    def images(self, days: int) -> Shown:
        """Image families with their channels and how far those have got, their images, and the bakes of the last days.

        By the records of environments, permanent ones among them: measure_reach asks EC2 what really runs, which is
        too dear for a page that is looked at all day.
        """
        configured = dict(catalogue.families(self.parameters))
        baked = _by_id(self._recent(Bake, days, views.BAKE))
        made = sorted(self.records(Image).live(views.IMAGE), key=_begun, reverse=True)
        reached = list(self._reaches(name for name, one in configured.items() if not isinstance(one, Refused)))
        named = {*(one.family for one in baked.values()), *(one.family for one in made)} | {
            family for family, _ in reached
        }
        families = []
        for name in sorted(configured.keys() | named):
            wrong = configured.get(name)
            families.append(
                {
                    "family": name,
                    "channels": [channel for family, channel in reached if family == name],
                    "images": [views.image(one, baked) for one in made if one.family == name],
                    "bakes": [views.bake(one) for one in baked.values() if one.family == name],
                    **({"problem": str(wrong)} if isinstance(wrong, Refused) else {}),
                }
            )
        return self._at(families=families, failures=self._failures(days))

    def _failures(self, days: int) -> list[Shown]:
        """How many instances failed in the environments of the last days, by application, image and blueprint; those
        of which the largest part failed first."""
        lost: dict[tuple[str, str], list[Losses]] = {}
        for one in self._recent(Environment, days, views.FAILURES):
            named = {"application": one.application, "image": one.image, "blueprint": one.blueprint}
            for key in ((kind, name) for kind, name in named.items() if name and one.instance_failures):
                lost.setdefault(key, []).append(one.instance_failures or Losses())
        counted = sorted(((key, together(each)) for key, each in lost.items()), key=lambda one: -(one[1].rate or 0))
        return [views.failures(*key, each) for key, each in counted if each.launched]

    def _reaches(self, families: Iterable[str]) -> Iterator[tuple[str, Shown]]:
        """Each channel with its family, those before their first move as well."""
        running = [
            Running(str(one.image), one.channel or "")
            for one in self.records(Environment).live(views.RUNNING)
            for _ in range(one.instances_built or 0)
        ]
        running += [
            Running(str(one.image), one.channel or "")
            for one in self.records(Service).live(views.STANDING)
            for _ in range(one.instance_count or 0)
        ]
        kept = {record.id: record for record in self.records(ChannelRecord).live()}
        found = {f"{family}/{name}": Channel(family, name) for family in families for name in (CANDIDATE, STABLE)}
        found |= self._by_hand() | {name: channels.of_record(record) for name, record in kept.items()}
        for name, channel in sorted(found.items()):
            yield channel.family, views.channel(measure(channel, running, (), self.now), kept.get(name))

    def _by_hand(self) -> dict[str, Channel]:
        """The channels that a parameter says, whoever wrote it."""
        found = {}
        for parameter, image in channels.own_parameters(self.parameters).items():
            family, _, name = parameter.removeprefix(f"{self.parameters}/images/").partition("/")
            found[f"{family}/{name}"] = Channel(family, name, current=Pointed(image))
        return found

    def services(self) -> Shown:
        """Permanent environments, by name."""
        found = sorted(self.records(Service).live(), key=lambda one: one.id)
        return self._at(services=[views.service(one) for one in found])

    def rollouts(self, days: int) -> Shown:
        """Rollouts that began in the last days or are not over, the newest first."""
        found = _by_id([*self._recent(Rollout, days, ()), *self.records(Rollout).live()])
        return self._at(rollouts=[views.rollout(one) for one in sorted(found.values(), key=_begun, reverse=True)])

    def sweeps(self, days: int) -> Shown:
        """What the sweeps of the last days came to, the newest first."""
        return self._at(sweeps=[views.sweep(one) for one in self._recent(Sweep, days, views.SWEEP)])

    def dead_letters(self) -> Shown:
        """Dead letters that wait for a person: counted by kind and reason, and one by one, the newest first."""
        found = [views.dead_letter(one) for one in self.records(DeadLetter).live(views.DEAD_LETTER)]
        found.sort(key=lambda one: str(one["at"]), reverse=True)
        groups = views.dead_letter_groups(found)
        return self._at(count=len(found), groups=groups, dead_letters=found[:_LETTERS_SHOWN])

    def kill_switch(self) -> Shown:
        """Whether the kill switch is on, and why."""
        said = kill_switch.read(self.parameters)
        return {"on": said != kill_switch.OFF, "why": "" if said == kill_switch.OFF else said}

    def costs(self, days: int, application: str | None = None) -> Shown:
        """What environments cost that began in the last days or live, at list prices."""
        found = _by_id(self._recent(Environment, days, views.ENVIRONMENT))
        found |= _by_id(self.records(Environment).live(views.ENVIRONMENT))
        chosen = [one for one in found.values() if application in (None, one.application)]
        prices = self._prices
        used = {"as_of": prices.as_of, "source": prices.source, "currency": prices.currency}
        standing = self.records(Service).live(views.STANDING)
        permanent = sum(one.instance_count or 0 for one in standing if application in (None, one.application))
        bill = by_application(chosen, self.now, prices)
        return self._at(prices=used, permanent_instances=permanent, **bill)

    def evidence(self, period: Period, application: str | None = None, after: str | None = None) -> Shown:
        """The lines of all histories within a period, those of a part of the records at once: `next` says where the
        next part begins. Within a part, they are in the order of time."""
        found: list[Line] = []
        for _ in range(_PAGES):
            records, after = part_of_table(self.table, (Record.history, Record.folded, Environment.application), after)
            chosen = (one for one in records if application in (None, getattr(one, "application", None)))
            found += [line for one in chosen for line in lines(one, period)]
            if after is None or len(found) >= _LINES_SHOWN:
                break
        shown = [asdict(line) for line in sorted(found, key=lambda line: (line.at, line.kind, line.id))]
        told = self._at(since=period.since, until=period.until, lines=shown)
        return told | ({"next": after} if after else {})

    def compared(self, before: Release, after: Release, reports: str) -> Shown:
        """How two releases differ, down to the contents of their images where both proved what those are.

        Args:
            reports: the bucket of what proofs said.
        """
        found = views.release_differences(before, after)
        if not (before.image and after.image) or before.image == after.image:
            return found
        try:
            contents = image_contents.differences(reports, before.image, after.image)
        except image_contents.NotRecorded as unknown:
            return found | {"image_problem": str(unknown)}
        return found | {"image": contents}

    def _at(self, **shown: Any) -> Shown:
        return {"now": utc_text(self.now), **shown}

    def _of(self, suites: Iterable[Suite]) -> dict[str, Environment]:
        """The records of suites' environments, by name."""
        names = [part.environment for part in suites]
        return _by_id(self.records(Environment).many(names, views.ENVIRONMENT))

    def _recent[R: Record](self, kind: type[R], days: int, shown: Fields) -> list[R]:
        """The records that began within the last `days` times 24 hours, the newest first."""
        since = utc_text(self.now - timedelta(days=days))
        found = [one for one in self.records(kind).recent(self.now, days, shown) if _begun(one) >= since]
        return sorted(found, key=_begun, reverse=True)


def _begun(record: Record) -> str:
    """When a record's story began."""
    planned = record.planned_at if isinstance(record, Environment | Rollout) else None
    # One that was lost and begun anew by its ending knows its day at most.
    return planned or record.began or (record.born or "").partition("#")[2]


def _by_id[R: Record](found: Iterable[R]) -> dict[str, R]:
    return {record.id: record for record in found}
