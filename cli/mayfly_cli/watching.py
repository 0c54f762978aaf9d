"""Following a release, an environment, a bake or a rollout to its end, live where there is a terminal."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from rich.console import Console, Group
from rich.live import Live

from mayfly.aws.records import Kind
from mayfly_cli import show
from mayfly_cli.errors import NotFound, TimedOut
from mayfly_cli.installation import Installation

type Json = dict[str, Any]

_KINDS: tuple[Literal["environment", "release", "bake", "rollout"], ...] = ("environment", "release", "bake", "rollout")
_GOOD = ("passed", "proven", "completed")


@dataclass
class Watch:
    """What is watched, and what was told of it already."""

    installation: Installation
    kind: Kind
    identity: str
    told: dict[str, int] = field(default_factory=dict)

    def record(self) -> Json:
        """The record as it is now."""
        return self.installation.find(self.kind, self.identity)

    def parts(self, record: Json) -> list[Json]:
        """The environments that belong to it, as far as they are there."""
        if self.kind == "environment":
            return [record]
        names = [part["environment"] for part in record.get("suites", [])]
        found = (self.installation.records("environment").get(name) for name in names)
        return [each for each in found if each]

    def news(self, records: list[Json]) -> Iterator[str]:
        """Lines of histories that were not told yet, oldest first."""
        lines = []
        for record in records:
            history = record.get("history", [])
            lines += [(line["at"], record["id"], line) for line in history[self.told.get(record["id"], 0) :]]
            self.told[record["id"]] = len(history)
        for at, name, line in sorted(lines, key=lambda each: each[:2]):
            yield f"{at[11:19]}  {name}  {line['what']}  {line['why']}"


def begin(installation: Installation, identity: str) -> Watch:
    """Finds out what it is that is to be watched.

    Raises:
        NotFound: nothing is called so.
    """
    for kind in _KINDS:
        if installation.records(kind).get(identity):
            return Watch(installation, kind, identity)
    raise NotFound(
        f"No environment, release, bake or rollout is called {identity!r}. "
        "See `mayfly list --days 7` or `mayfly services`."
    )


def follow(watch: Watch, now: Any, patience: float | None, every: float = 2.0) -> Json:
    """Tells what happens until it is over; returns the record as it is then. On standard error: what was asked for is
    the end.

    Args:
        now: gives the moment. patience: seconds after which to give up; None for never.

    Raises:
        TimedOut: it is not over by then.
    """
    console = Console(stderr=True, highlight=False)
    give_up = time.monotonic() + patience if patience is not None else None
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            record = watch.record()
            parts = watch.parts(record)
            for line in watch.news([record, *(part for part in parts if part["id"] != record["id"])]):
                live.console.print(line, markup=False, soft_wrap=True)
            if over(watch.kind, record):
                return record
            if console.is_terminal and (parts or watch.kind == "rollout"):
                live.update(progress(watch, record, parts, now()))
            if give_up is not None and time.monotonic() > give_up:
                raise TimedOut(f"{watch.identity} is {record.get('stage')} still. It goes on: `mayfly watch` again.")
            time.sleep(every)


def progress(watch: Watch, record: Json, parts: list[Json], now: datetime) -> Group:
    """How far it has got, for people."""
    if watch.kind == "rollout":
        return show.checkpoints(record)
    return show.environments([show.environment(part, now) for part in parts], now)


def over(kind: Kind, record: Json) -> bool:
    """Whether its story has ended."""
    return "live" not in record if kind != "release" else "verdict" in record


def went_well(kind: Kind, record: Json) -> bool:
    """Whether it ended well: with tests that passed, an image that was proven, or everything on the new one."""
    outcome = record.get("ending", {}).get("outcome") if kind == "environment" else record.get("stage")
    return outcome in _GOOD


def summary(kind: Kind, record: Json) -> str:
    """How it ended, for people."""
    if kind == "environment":
        ending = record.get("ending", {})
        return f"{ending.get('outcome', 'unknown')}: {ending.get('reason', 'no reason is known')}"
    reason = record.get("verdict", {}).get("reason") or record.get("reason", "")
    return f"{record.get('stage')}: {reason}"
