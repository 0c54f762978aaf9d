"""Reads what the HTTP API and the command line show. A list comes in pages, each from the front of a shelf or from
where the last one ended; a figure comes from sums. So none reads more where more lives, or has lived."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from mayfly import views
from mayfly.aws import kill_switch, parameters
from mayfly.aws.records import Records, part_of_table
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import EnvironmentStage, SuiteKind, label_of
from mayfly.domain.channel import CANDIDATE, STABLE, Channel, Pointed
from mayfly.domain.cost import Prices, by_application, of_kept
from mayfly.domain.cost import together as bills_together
from mayfly.domain.history import Line, Period, lines
from mayfly.domain.losses import Losses, together
from mayfly.domain.reach import Running, measure
from mayfly.domain.records import (
    LIVE,
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
    begun,
    off_shelf,
)
from mayfly.domain.text import whole_seconds
from mayfly.domain.timestamp import utc_text
from mayfly.prices import list_prices
from mayfly.views import Fields, Shown
from mayfly.workflows import admission, catalogue, channels, image_contents
from mayfly.workflows.sums import Sums

_LETTERS_SHOWN = 1000
"""Dead letters that a list shows one by one. All of them are counted."""
_LINES_SHOWN, _PAGES = 5_000, 20
"""Lines of histories that one answer has about at most, and the pages of the table that are read for it."""
PAGE, RELEASES_PAGE = 100, 20
"""Environments and releases of one page. A release is read whole, with its environments."""
LOOKED_AT = 900
"""Environments that one page looks at: where few of them fit, it is shorter, and goes on all the same."""


class Wanted(Struct, frozen=True):
    """Which environments.

    Attributes:
        live: those that live, or those that have ended in the last `days`.
        application: only of this one; so are `release`, `stage` (by its name for people) and `owner`.
        only: "verdict", those that wait for a person's verdict; "late", those past their deadline.
        text: words that all are in what a list shows of one.
    """

    live: bool = True
    days: int = 1
    application: str | None = None
    release: str | None = None
    stage: str | None = None
    owner: str | None = None
    only: str | None = None
    text: str = ""

    def fits(self, one: Environment, now: datetime) -> bool:
        """Whether an environment is one of them."""
        asked = ((self.application, one.application), (self.owner, one.owner), (self.stage, label_of(one.stage or "")))
        if one.lives != self.live or any(wanted not in (None, is_) for wanted, is_ in asked):
            return False
        waits = one.suite_kind == SuiteKind.MANUAL and one.stage == EnvironmentStage.AWAITING_TESTS
        late = one.deadline is not None and datetime.fromisoformat(one.deadline) <= now
        if (self.only == "verdict" and not waits) or (self.only == "late" and not late):
            return False
        said = (one.id, one.application, one.version, one.suite, label_of(one.stage or ""), one.owner, one.account)
        told = " ".join((*said, one.region, one.image or "", one.channel or "")).lower()
        return all(word in told for word in self.text.lower().split())


_ALL = Wanted()


class Reading(Struct, frozen=True, dict=True):
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

    @cached_property
    def _sums(self) -> Sums:
        return Sums(self.table, self.now)

    def records[R: Record](self, kind: type[R]) -> Records[R]:
        """Gives access to the DynamoDB records of one kind."""
        return Records(self.table, kind)

    def environments(self, wanted: Wanted = _ALL, after: str = "", most: int = PAGE) -> Shown:
        """A page of environments, the latest first. `next` is where the next page begins, if there is one; then the
        first page has the `totals` of all that live.

        Args:
            after: where it begins: the `next` of the page before. most: environments of a page.
        """
        found, last = self._page(self._candidates(wanted, after), lambda one: wanted.fits(one, self.now), most)
        queue = self._queue(found)
        shown = self._at(environments=[self.environment(one) | queue.get(one.id, {}) for one in found])
        if queue and (low := admission.low(self.table, self.now)):
            shown["low"] = low
        if last:
            shown["next"] = last
        if last and wanted.live and not after:
            shown["totals"] = views.totals(self._sums.living)
        return shown

    def _candidates(self, wanted: Wanted, after: str) -> Iterator[Environment]:
        records = self.records(Environment)
        if wanted.release:
            known = self.records(Release).get(wanted.release)
            whole = (off_shelf(one) for one in self._of(known.suites if known else ()).values())
            fitting = [one for one in whole if not after or str(one.shelved) < after]
            yield from sorted(fitting, key=lambda one: str(one.shelved), reverse=True)
        elif wanted.live:
            yield from records.shelved(LIVE, wanted.application, after, older=not self._sums.all_shelved)
        else:
            yield from self._of_days(records, wanted.days, wanted.application, after)

    def _of_days[R: Record](
        self, records: Records[R], days: int, application: str | None, after: str = ""
    ) -> Iterator[R]:
        """Those that lie on the shelves of the last `days` times 24 hours, the latest first."""
        since = utc_text(self.now - timedelta(days=days))
        for back in range(days + 1):
            day = utc_text(self.now - timedelta(days=back))[:10]
            if after and day > after[:10]:
                continue
            for one in records.shelved(day, application, after):
                if str(one.shelved) < since:
                    break
                yield one

    def _page[R: Record](
        self, candidates: Iterable[R], fits: Callable[[R], bool], most: int
    ) -> tuple[list[R], str | None]:
        """A page of those that fit, and where the next one begins."""
        found: list[R] = []
        last = ""
        for looked_at, one in enumerate(candidates):
            if len(found) == most or looked_at == LOOKED_AT:
                return found, last
            found += [one] if fits(one) else []
            last = str(one.shelved)
        return found, None

    def _queue(self, chosen: Iterable[Environment]) -> dict[str, Shown]:
        """Where environments stand in the queue, if one of them waits for room."""
        if not any(one.stage == EnvironmentStage.QUEUED for one in chosen):
            return {}
        return {name: {"queue": asdict(each)} for name, each in admission.queue(self.table, self.now).items()}

    def queue(self) -> Shown:
        """Everybody who waits for room, in order."""
        waits = admission.queue(self.table, self.now)
        records = self.records(Environment).many(list(waits), (*views.ENVIRONMENT, Environment.wanted))
        known = {one.id: self.environment(one) | {"since": one.wanted.get("since")} for one in records}
        waiting = [known[name] | {"queue": asdict(each)} for name, each in waits.items() if name in known]
        return self._at(queue=waiting, low=admission.low(self.table, self.now))

    def environment(self, record: Environment) -> Shown:
        """An environment in a list."""
        return views.environment(record, self.now, self._prices)

    def releases(self, days: int, application: str | None = None, after: str = "", most: int = RELEASES_PAGE) -> Shown:
        """A page of the releases that were pushed in the last days, with their suites' outcomes; the newest first.

        Args:
            after, most: see `environments`.
        """
        records = self.records(Release)
        candidates = self._of_days(records, days, application, after)
        listed, last = self._page(candidates, lambda one: application in (None, one.application), most)
        whole = _by_id(records.many([one.id for one in listed], views.RELEASE))
        found = [whole[one.id] for one in listed if one.id in whole]
        known = self._of(part for one in found for part in one.suites)
        shown = self._at(releases=[views.release(one, known, self.now, self._prices) for one in found])
        return shown | ({"next": last} if last else {})

    def whole_release(self, record: Release) -> Shown:
        """A release with its history and its environments."""
        return views.whole_release(record, self._of(record.suites), self.now, self._prices)

    def configuration(self, application: str) -> Shown:
        """An application's configuration with its versions, the newest first."""
        found = parameters.versions(f"{self.parameters}/applications/{application}")
        shown = [views.configuration(each) for each in reversed(found)]
        return self._at(name=application, version=shown[0]["version"] if shown else 0, versions=shown)

    def images(self, days: int) -> Shown:
        """Image families with their channels and how far those have got, their images, and the bakes of the last days.

        By the records of environments, permanent ones among them: measure_reach asks EC2 what really runs, which is
        too dear for a page that is looked at all day.
        """
        configured = dict(catalogue.families(self.parameters))
        baked = _by_id(self._recent(Bake, days, views.BAKE))
        made = sorted(self.records(Image).live(views.IMAGE), key=begun, reverse=True)
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
        """How many instances failed in the environments that ended in the last days, by application, image and
        blueprint; those of which the largest part failed first."""
        lost: dict[tuple[str, str], list[Losses]] = {}
        for one in self._sums.failures(days):
            lost.setdefault((one.of, one.name), []).append(one.losses)
        counted = sorted(((key, together(each)) for key, each in lost.items()), key=lambda one: -(one[1].rate or 0))
        return [views.failures(*key, each) for key, each in counted if each.launched]

    def _reaches(self, families: Iterable[str]) -> Iterator[tuple[str, Shown]]:
        """Each channel with its family, those before their first move as well."""
        running = [Running(one.image, one.channel) for one in self._sums.living.followed for _ in range(one.instances)]
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
        return self._at(rollouts=[views.rollout(one) for one in sorted(found.values(), key=begun, reverse=True)])

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
        return {"on": said != kill_switch.OFF, "why": "" if said == kill_switch.OFF else whole_seconds(said)}

    def costs(self, days: int, application: str | None = None) -> Shown:
        """What environments cost that live, or ended today or on one of `days` days (UTC) before, at list prices."""
        whole = bills_together([self._sums.bill, *(of_kept(one.spent) for one in self._sums.of_days(days))])
        bill = {key: one for key, one in whole.items() if application in (None, key[0])}
        prices = self._prices
        used = {"as_of": prices.as_of, "source": prices.source, "currency": prices.currency}
        standing = self.records(Service).live(views.STANDING)
        permanent = sum(one.instance_count or 0 for one in standing if application in (None, one.application))
        return self._at(prices=used, permanent_instances=permanent, **by_application(bill))

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
        names = [name for part in suites for name in part.attempts]
        return _by_id(self.records(Environment).many(names, views.ENVIRONMENT))

    def _recent[R: Record](self, kind: type[R], days: int, shown: Fields) -> list[R]:
        """The records that began within the last `days` times 24 hours, the newest first."""
        since = utc_text(self.now - timedelta(days=days))
        found = [one for one in self.records(kind).recent(self.now, days, shown) if begun(one) >= since]
        return sorted(found, key=begun, reverse=True)


def _by_id[R: Record](found: Iterable[R]) -> dict[str, R]:
    return {record.id: record for record in found}
