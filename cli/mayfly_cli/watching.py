"""Following a release, an environment, a bake or a rollout to its end, live where there is a terminal."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live

from mayfly import views
from mayfly.aws import kill_switch
from mayfly.contract.vocabulary import UNKNOWN, EnvironmentStage, RolloutStage, Tone, tone_of
from mayfly.domain.records import Bake, Environment, Record, Release, Rollout
from mayfly.domain.text import whole_seconds
from mayfly_cli import show
from mayfly_cli.errors import NotFound, TimedOut
from mayfly_cli.installation import Installation

type Watched = Environment | Release | Bake | Rollout

_KINDS: tuple[type[Watched], ...] = (Environment, Release, Bake, Rollout)


@dataclass
class Watch:
    """What is watched, and what was told of it already.

    Attributes:
        ready: whether only until tests may begin, or there will be none.
    """

    installation: Installation
    kind: type[Watched]
    identity: str
    ready: bool = False
    told: dict[str, int] = field(default_factory=dict)
    switch: str = kill_switch.OFF

    @property
    def has_tests(self) -> bool:
        """Whether anything of it is tested by somebody."""
        return self.kind in (Environment, Release)

    def record(self) -> Watched:
        """Returns the record as it is now."""
        return self.installation.find(self.kind, self.identity)

    def parts(self, record: Watched) -> list[Environment]:
        """Returns the environments that belong to it, as far as they are there."""
        if isinstance(record, Environment):
            return [record]
        suites = record.suites if isinstance(record, Release) else ()
        names = [name for part in suites for name in part.attempts]
        return list(self.installation.records(Environment).many(names))

    def is_over(self, record: Watched, parts: Sequence[Environment]) -> bool:
        """Tells whether what was waited for has come."""
        if over(record) or not self.ready:
            return over(record)
        planned = isinstance(record, Environment) or (isinstance(record, Release) and len(parts) == len(record.suites))
        return planned and bool(parts) and all(is_ready(part) or over(part) for part in parts)

    def switched(self, records: Sequence[Watched]) -> Iterator[str]:
        """Returns what is to be said of the kill switch, once each time that it is turned while something waits for
        it."""
        if not any(_waits_for_switch(one) for one in records):
            return
        said = kill_switch.read(self.installation.settings.parameters)
        if said != self.switch:
            off = said == kill_switch.OFF
            yield (
                "The kill switch is off again."
                if off
                else f"The kill switch is on, nothing ends or begins: {whole_seconds(said)}"
            )
        self.switch = said

    def news(self, records: Iterable[Record]) -> Iterator[str]:
        """Lines of histories that were not told yet, oldest first."""
        lines = []
        for record in records:
            seen = max(0, self.told.get(record.id, 0) - record.folded)  # what was folded is told, or too late to
            lines += [(line.at, record.id, line) for line in record.history[seen:]]
            self.told[record.id] = record.lines
        for at, name, line in sorted(lines, key=lambda each: each[:2]):
            yield f"{at[11:19]}  {name}  {line.what}  {whole_seconds(line.why)}"


def _waits_for_switch(record: Watched) -> bool:
    ended = isinstance(record, Environment) and record.ending is not None
    return ended or record.stage == RolloutStage.AWAITING_KILL_SWITCH


def begin(installation: Installation, identity: str) -> Watch:
    """Finds out what it is that is to be watched.

    Raises:
        NotFound: nothing is called so.
    """
    for kind in _KINDS:
        if installation.records(kind).get(identity):
            return Watch(installation, kind, identity)
    known = installation.alike(identity, *_KINDS) or "See `mayfly list --days 7` or `mayfly services`."
    raise NotFound(f"No environment, release, bake or rollout is called {identity!r}. {known}")


def follow(watch: Watch, now: Any, patience: float | None, every: float = 2.0) -> Watched:
    """Tells what happens until it is over; returns the record as it is then. On standard error: what was asked for is
    the end.

    Args:
        now: gives the time. patience: seconds after which to give up; None for never.

    Raises:
        TimedOut: it is not over by then.
    """
    console = Console(stderr=True, highlight=False)
    give_up = time.monotonic() + patience if patience is not None else None
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            record = watch.record()
            parts = watch.parts(record)
            for line in watch.news([record, *(part for part in parts if part.id != record.id)]):
                live.console.print(line, markup=False, soft_wrap=True)
            if watch.is_over(record, parts):
                return record
            for line in watch.switched([record, *parts]):
                live.console.print(line, markup=False, soft_wrap=True)
            if console.is_terminal and (parts or watch.kind is Rollout):
                live.update(progress(watch, record, parts, now()))
            if give_up is not None and time.monotonic() > give_up:
                raise TimedOut(f"{watch.identity} is {record.stage} still. It goes on: `mayfly watch` again.")
            time.sleep(every)


def progress(watch: Watch, record: Watched, parts: Iterable[Environment], now: datetime) -> show.Listing:
    """Tells how far it has got, for people."""
    if isinstance(record, Rollout):
        return show.checkpoints(views.rollout(record))
    reading = watch.installation.reading(now)
    return show.environments([reading.environment(part) for part in parts], now)


def is_ready(environment: Environment) -> bool:
    """Tells whether its tests may begin."""
    return environment.stage == EnvironmentStage.AWAITING_TESTS and environment.ending is None


def over(record: Watched) -> bool:
    """Tells whether its story has ended."""
    match record:
        case Release():
            return record.verdict is not None
        case Rollout():  # it stays open until its end was heard by all
            return record.ended_at is not None
    return record.live is None


def went_well(record: Watched) -> bool:
    """Tells whether it ended well: with tests that passed, an image that was proven, or everything on the new one."""
    if isinstance(record, Environment):
        return record.ending is not None and tone_of(record.ending.outcome) is Tone.GOOD
    return tone_of(record.stage or UNKNOWN) is Tone.GOOD


def summary(record: Watched) -> str:
    """Tells how it ended, for people."""
    if isinstance(record, Environment):
        ending = record.ending
        return f"{ending.outcome}: {ending.reason}" if ending else "unknown: no reason is known"
    if isinstance(record, Release):
        return f"{record.stage}: {record.verdict.reason if record.verdict else ''}"
    return f"{record.stage}: {record.reason or ''}"
