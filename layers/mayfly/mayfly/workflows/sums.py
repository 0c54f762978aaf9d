"""Sums what environments are together: those that live, and those that ended on each day.

A sweep reads them all and keeps the sums; whoever shows a figure reads those. Where there are few environments, they
are read themselves: their sums are then of this second.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from mayfly import views
from mayfly.aws.attempts import going_on
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.vocabulary import EnvironmentStage, SuiteKind, label_of
from mayfly.domain import cost
from mayfly.domain.cost import Bill, spent
from mayfly.domain.losses import Losses, together
from mayfly.domain.records import LIVE, Environment, Followed, Lost, Sum, begun, placed
from mayfly.domain.timestamp import utc_text
from mayfly.prices import list_prices
from mayfly.settings import Settings

FEW = 500
"""Environments of which a look reads each itself: 35 read units."""
HOURS = 24
"""Hours whose deadlines are counted."""
SETTLED_AFTER = timedelta(hours=2)
"""After midnight: what confirmed its end the day before has written so by then."""
DAYS_A_SWEEP = 3
"""Days that one sweep sums: today, yesterday, and after an upgrade those before, one after the other."""
VERY_FEW = 50
"""Environments that are read whole to count the instances that failed: 50 read units."""
SHELVED_A_SWEEP = 500
"""Records of an earlier version that one sweep puts on the shelves."""


class Sums(Struct, frozen=True, dict=True):
    """Sums as they are kept, and as they are where few environments are to be summed."""

    table: str
    now: datetime

    @cached_property
    def _environments(self) -> Records[Environment]:
        return Records(self.table, Environment)

    @cached_property
    def _kept(self) -> Sum | None:
        return next(Records(self.table, Sum).many([LIVE], OF_WHAT_LIVES), None)

    @property
    def settled_to(self) -> str:
        """The last day of those that are settled like all before it; "" where there is none yet."""
        return self._kept.settled_to if self._kept else ""

    @property
    def all_shelved(self) -> bool:
        """Whether everything that lives is on the shelves."""
        return self._kept is not None and self._kept.all_shelved

    @cached_property
    def living(self) -> Sum:
        """Of what lives."""
        if self._kept is None or self._kept.environments <= FEW:
            return of_living(self.of_shelf(LIVE), self.now)
        return self._kept

    @property
    def bill(self) -> Bill:
        """What those that live have cost until now."""
        kept = self.living
        hours = (self.now - datetime.fromisoformat(kept.at)).total_seconds() / 3600
        return {key: one.after(max(0.0, hours)) for key, one in cost.of_kept(kept.spent).items()}

    def of_days(self, days: int) -> Iterator[Sum]:
        """Of those that ended today or on one of the `days` days (UTC) before."""
        names = _days(self.now, days)
        kept = {one.id: one for one in Records(self.table, Sum).many(names, OF_A_DAY)}
        for name in names:
            known = kept.get(name)
            yield self.of_day(name) if known is None or _is_summed_anew(known, FEW) else known

    def of_day(self, day: str) -> Sum:
        """What those cost that ended on a day, summed now."""
        ended = list(self.of_shelf(day))
        costs = cost.kept(spent(ended, self.now, list_prices()))
        return Sum(id=day, at=utc_text(self.now), environments=len(ended), spent=costs)

    def failures(self, days: int) -> Iterator[Lost]:
        """How many instances failed of those that ended today or on one of the `days` days (UTC) before."""
        names = _days(self.now, days)
        kept = {one.id: one for one in Records(self.table, Sum).many(names, OF_A_DAY)}
        for name in names:
            known = kept.get(name)
            yield from self.failures_of(name) if known is None or _is_summed_anew(known, VERY_FEW) else known.failures

    def failures_of(self, day: str) -> Iterator[Lost]:
        """How many instances failed, by application, image and blueprint, of those that ended on a day."""
        lost: dict[tuple[str, str], list[Losses]] = {}
        ended = [one.id for one in self.of_shelf(day)]
        for one in self._environments.many(ended, views.FAILURES):
            named = {"application": one.application, "image": one.image, "blueprint": one.blueprint}
            for key in ((kind, name) for kind, name in named.items() if name and one.losses):
                lost.setdefault(key, []).append(one.losses or Losses())
        return (Lost(*key, together(each)) for key, each in lost.items())

    def of_shelf(self, where: str) -> Iterator[Environment]:
        """Environments that live, or that ended on a day."""
        return self._environments.shelved(where, older=where != LIVE or not self.all_shelved)


def _is_summed_anew(known: Sum, few: int) -> bool:
    return not known.settled and known.environments <= few


OF_WHAT_LIVES = (
    *(Sum.at, Sum.environments, Sum.spent, Sum.instances, Sum.stages, Sum.verdicts, Sum.late, Sum.deadlines),
    *(Sum.followed, Sum.all_shelved, Sum.settled_to),
)
OF_A_DAY = (Sum.at, Sum.settled, Sum.environments, Sum.spent, Sum.failures, Sum.failures_at)


def keep(settings: Settings, living: Sequence[Environment], now: datetime) -> None:
    """Keeps the sums of what lives, of what has ended today, and of each day that is over. Days that are settled like
    all before them are not read again."""
    records, sums = Records(settings.table, Sum), Sums(settings.table, now)
    until = int((now + timedelta(days=settings.record_days)).timestamp())
    days = [day for day in _days(now, settings.record_days) if day > sums.settled_to]
    kept = {one.id: one for one in records.many(days, OF_A_DAY)}
    unsettled = [day for day in days if day not in kept or not kept[day].settled]
    with going_on("the sum of what lives"):
        before = (day for day in days if day < min(unsettled, default=""))
        settled_to = max(before, default=sums.settled_to)
        summed = replace(of_living(living, now), all_shelved=shelve(settings, living), settled_to=settled_to)
        _write(records, summed, until, _OF_WHAT_LIVES)
    for day in unsettled[:DAYS_A_SWEEP]:
        with going_on(f"the sum of {day}"):
            over = now >= datetime.fromisoformat(f"{day}T00:00:00Z") + timedelta(days=1) + SETTLED_AFTER
            summed, known, hour = replace(sums.of_day(day), settled=over), kept.get(day), utc_text(now)[:13]
            more = ["settled"]
            if known is None or over or known.failures_at != hour:
                summed = replace(summed, failures=tuple(sums.failures_of(day)), failures_at=hour)
                more += ["failures", "failures_at"]
            _write(records, summed, until, more)


def shelve(settings: Settings, living: Iterable[Environment]) -> bool:
    """Puts on the shelves what an earlier version began: lists find it there. Says whether that was all of it."""
    records, older = Records(settings.table, Environment), [one for one in living if one.shelf is None]
    for one in older[:SHELVED_A_SWEEP]:
        with going_on(one.id), suppress(Conflict):
            place = placed(Environment, one.id, one.application, begun(one), LIVE)
            records.change(one.id, drop=(Environment.born,), only_if=attr(Environment.live).exists(), **place)
    return len(older) <= SHELVED_A_SWEEP


def _days(now: datetime, days: int) -> list[str]:
    return [utc_text(now - timedelta(days=day))[:10] for day in range(days + 1)]


_OF_WHAT_LIVES = ("instances", "stages", "verdicts", "late", "deadlines", "followed", "all_shelved", "settled_to")


def _write(records: Records[Sum], summed: Sum, until: int, more: Sequence[str]) -> None:
    names = ("at", "environments", "spent", *more)
    records.change(summed.id, forget_after=until, **{name: getattr(summed, name) for name in names})


def of_living(records: Iterable[Environment], now: datetime) -> Sum:
    """The sum of environments that live."""
    living = list(records)
    stages = Counter(label_of(one.stage) for one in living if one.stage)
    left = [(datetime.fromisoformat(one.deadline) - now).total_seconds() for one in living if one.deadline]
    hours = Counter(int(seconds // 3600) for seconds in left)
    followed = Counter((one.channel or "", str(one.image)) for one in living for _ in range(one.instances_built or 0))
    return Sum(
        id=LIVE,
        at=utc_text(now),
        environments=len(living),
        instances=sum(one.instance_count for one in living),
        spent=cost.kept(spent(living, now, list_prices())),
        stages=dict(stages),
        verdicts=sum(
            one.suite_kind == SuiteKind.MANUAL and one.stage == EnvironmentStage.AWAITING_TESTS for one in living
        ),
        late=sum(seconds <= 0 for seconds in left),
        deadlines=tuple(hours[hour] for hour in range(HOURS)),
        followed=tuple(Followed(*key, instances) for key, instances in followed.items()),
    )
