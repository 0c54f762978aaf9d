"""One run: installs, tries every scenario, compares, and removes everything, whatever becomes of it."""

from __future__ import annotations

import json
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from types import FrameType
from typing import Any

from accept import installing, removing, report, spending
from accept.installing import NAME
from accept.places import Place
from accept.scenarios import SCENARIOS, Acceptance, Happened, Otherwise, Scenario
from mayfly import __version__
from mayfly.domain.timestamp import utc_text

type Json = dict[str, Any]
type Say = Callable[[str], None]

PASSED, FAILED, SKIPPED = "passed", "failed", "not tried"


class NotEmpty(Exception):
    """What bears the installation's name is there already."""


def accept(place: Place, scenarios: Sequence[Scenario] = SCENARIOS) -> Json:
    """Installs, tries, removes; returns the report. Whatever breaks off the middle, everything is removed.

    Raises:
        TooExpensive: it might cost too much; nothing was made.
        NotEmpty: something of an earlier run is there; nothing was made.
    """
    parts = spending.estimate()
    spending.refuse_above(parts)
    if (there := removing.look(place)).left:
        raise NotEmpty(f"expected nothing called {NAME}, but there is: {there}. `make accept REMOVE=1` removes it")
    began, at = time.monotonic(), utc_text(place.now())
    say(f"account {place.account}, in {place.region} and {place.second_region}: US$ {sum(parts.values()):.2f} at most")
    tried = {each.name: _told(SKIPPED, "the run was broken off") for each in scenarios}
    try:
        with _broken_off(), spending.deadline():
            _try(place, scenarios, tried)
    except (KeyboardInterrupt, spending.OutOfTime) as stopped:
        say(f"broken off: {stopped or 'by hand'}")
    except Exception as error:
        say("".join(traceback.format_exception(error)))
        tried = {
            name: one | ({"why": f"{error}"[:2000]} if one["outcome"] == SKIPPED else {}) for name, one in tried.items()
        }
    finally:
        with _undisturbed():
            left = removing.remove(place, say)
    expected = json.loads((report.REPORTS / "local.json").read_text())["scenarios"] if _has_expected() else tried
    return {
        "place": place.name,
        "at": at,
        "version": __version__,
        "regions": [place.region, place.second_region],
        "seconds": round(time.monotonic() - began),
        "at_most_usd": round(sum(parts.values()), 2),
        "scenarios": tried,
        "differences": report.as_json(report.differences(expected, tried)),
        "left": asdict(left),
    }


def _has_expected() -> bool:
    return (report.REPORTS / "local.json").exists()


def _try(place: Place, scenarios: Sequence[Scenario], tried: dict[str, Json]) -> None:
    """Tries one scenario after the other, and notes each at once: what follows may be broken off."""
    run = Acceptance(place, installing.install(place, say), (f"{NAME}-{number}" for number in count(1)))
    for each in scenarios:
        missing = [name for name in each.needs if tried[name]["outcome"] != PASSED]
        if missing:
            tried[each.name] = _told(SKIPPED, f"it needs {missing[0]}")
            continue
        say(each.name)
        try:
            tried[each.name] = _told(PASSED, "", each.act(run))
        except spending.OutOfTime:
            raise
        except Otherwise as other:
            tried[each.name] = _told(FAILED, f"it ended otherwise: {other}"[:2000], other.happened)
        except Exception as error:
            tried[each.name] = _told(FAILED, f"{type(error).__name__}: {error}"[:2000])
            say(f"{each.name}: {tried[each.name]['why']}")
    say("which calls were made")
    place.settle()
    for name, sessions in run.sessions.items():
        counted = sum((place.calls(session) for session in sessions), start=Counter[str]())
        tried[name]["calls"] = dict(sorted(counted.items()))


def _told(outcome: str, why: str, happened: Happened | None = None) -> Json:
    return {"outcome": outcome, "why": why} | asdict(happened or Happened())


@contextmanager
def _broken_off() -> Iterator[None]:
    """SIGTERM breaks off as Ctrl-C does, which a shell has its background jobs ignore."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled_by(stop):
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Once everything is being removed, Ctrl-C only says so."""

    def go_on(_signal: int, _frame: FrameType | None) -> None:
        say("everything is being removed; SIGKILL would leave it")

    with _handled_by(go_on):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def say(text: str) -> None:
    """One line of what goes on."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201 - it is a command
