"""Office hours: when an environment that people use is awake, and when it sleeps. Asleep it has no instance; all the
rest of it stays, and so does its deadline. What a person asks for wins, for as long as they said."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from msgspec import Struct

from mayfly.domain.records import Override

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(Struct, frozen=True):
    """A time of the week: on these days, from `start` to `end` as clocks of the zone show them. An end before the start
    is the next day's."""

    days: tuple[str, ...]
    start: time
    end: time
    zone: tzinfo = UTC

    def is_open(self, now: datetime) -> bool:
        """Tells whether a timestamp lies in the window."""
        today = now.astimezone(self.zone).date()
        return any(
            self._moment(day, self.start)[0] <= now < self._moment(self._last_day(day), self.end)[1]
            for day in (today, today - timedelta(days=1))
            if _DAYS[day.weekday()] in self.days
        )

    def changes_at(self, now: datetime) -> datetime | None:
        """Tells when it opens next, or closes; None where it never does."""
        today = now.astimezone(self.zone).date()
        days = [day for n in range(-1, 9) if _DAYS[(day := today + timedelta(days=n)).weekday()] in self.days]
        begins = (self._moment(day, self.start)[0] for day in days)
        ends = (self._moment(self._last_day(day), self.end)[1] for day in days)
        is_open = self.is_open(now)
        return next((at for at in sorted((*begins, *ends)) if at > now and self.is_open(at) != is_open), None)

    def _last_day(self, day: date) -> date:
        return day if self.end > self.start else day + timedelta(days=1)

    def _moment(self, day: date, at: time) -> tuple[datetime, datetime]:
        """Returns the timestamps at which clocks show this time, the first and the last: they show an hour twice when
        they go back. A time that they skip when they go forward comes as much later."""
        shown = datetime.combine(day, at, self.zone)
        # In UTC: two times of the same zone are compared by what clocks show.
        first, second = (shown.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        return first, max(first, second)


class SleepAction(StrEnum):
    """What is done about an environment."""

    NOTHING = "nothing"
    SLEEP = "sleep"
    WAKE = "wake"


class SleepDecision(Struct, frozen=True):
    """What is done about an environment, and why."""

    action: SleepAction
    reason: str


def decide_sleep(
    now: datetime, hours: Window | None, override: Override | None, asleep: bool, obstacle: str = ""
) -> SleepDecision:
    """Decides whether an environment goes to sleep or is woken.

    Args:
        hours: when it is awake; None for always.
        override: what a person asked for last. asleep: whether it sleeps now.
        obstacle: why its instances must not go now, "" where they may. It keeps nobody from waking it.
    """
    wanted, why = _wanted(now, hours, override)
    if wanted and asleep:
        # Said again: whoever put it to sleep may have died before its groups were empty.
        return SleepDecision(SleepAction.SLEEP, why)
    if wanted:
        return SleepDecision(SleepAction.NOTHING, f"{why}; but {obstacle}") if obstacle else _sleep(why)
    return SleepDecision(SleepAction.WAKE if asleep else SleepAction.NOTHING, why)


def _sleep(why: str) -> SleepDecision:
    return SleepDecision(SleepAction.SLEEP, why)


def _wanted(now: datetime, hours: Window | None, override: Override | None) -> tuple[bool, str]:
    """Tells whether an environment is to sleep, and who says so."""
    if override and now < datetime.fromisoformat(override.until):
        return override.asleep, f"{override.by} asked for it, until {override.until}: {override.why}"
    if hours is None:
        return False, "it has no office hours"
    is_open = hours.is_open(now)
    return not is_open, "these are its office hours" if is_open else "its office hours are over"


def changes_at(now: datetime, hours: Window | None, override: Override | None) -> datetime | None:
    """Tells when an environment that sleeps now is woken, or one that is awake is put to sleep, if nobody asks for
    anything else until then; None for never."""
    over = datetime.fromisoformat(override.until) if override else now
    then = max(now, over)
    if _wanted(now, hours, override)[0] != _wanted(then, hours, None)[0]:
        return then
    return hours.changes_at(then) if hours else None
