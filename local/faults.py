"""Faults that tests inject into the local cloud, and the end of a server whose parent is gone.

A fault is a plain dict. Keys that a fault does not name match everything; names are globs. `times` is how
often it strikes (default: always), `rate` is the share of the occasions on which it does (seeded, so that
a run can be repeated). What is slow or hangs takes `seconds`; without, it lasts until the faults are cleared, so that a
test needs no luck to see it.
"""

from __future__ import annotations

import fnmatch
import os
import random
import threading
import time
from collections.abc import Mapping
from typing import Any

Fault = dict[str, Any]


class Faults:
    """The faults that are currently set; safe for many threads."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self.clear()

    def add(self, fault: Fault) -> None:
        """Set one more fault; earlier ones come first."""
        with self._lock:
            self._faults.append({**fault, "cleared": threading.Event()})

    def clear(self) -> None:
        """Forget all faults and start the random numbers anew."""
        with self._lock:
            for fault in getattr(self, "_faults", []):
                fault["cleared"].set()
            self._faults: list[Fault] = []
            self._random = random.Random(self._seed)

    def all(self) -> list[Fault]:
        """What is set, with the `times` that are left."""
        with self._lock:
            return [{key: fault[key] for key in fault if key != "cleared"} for fault in self._faults]

    def take(self, kind: str, **facts: Any) -> Fault | None:
        """The first fault of this kind (the key that it must have) that fits the facts, used up once."""
        with self._lock:
            for fault in self._faults:
                if kind in fault and fault.get("times", 1) > 0 and _fits(fault, facts) and self._strikes(fault):
                    if "times" in fault:
                        fault["times"] -= 1
                    return dict(fault)
        return None

    def find(self, kind: str, **facts: Any) -> Fault | None:
        """The first fault of this kind that fits the facts, for what lasts as long as the fault is set."""
        with self._lock:
            return next((dict(fault) for fault in self._faults if kind in fault and _fits(fault, facts)), None)

    def _strikes(self, fault: Fault) -> bool:
        return bool(self._random.random() < fault.get("rate", 1.0))


def lasts(fault: Fault) -> bool:
    """Whether it goes on until it is cleared, which has not happened yet."""
    return fault.get("effect") in ("slow", "hang") and "seconds" not in fault and not fault["cleared"].is_set()


def sit_out(fault: Fault, seconds: float) -> None:
    """Wait as long as a fault says, or so many seconds."""
    if lasts(fault):
        fault["cleared"].wait()
    else:
        time.sleep(fault.get("seconds", seconds))


def _fits(fault: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return all(_matches(fault[key], fact) for key, fact in facts.items() if key in fault)


def _matches(wanted: Any, fact: Any) -> bool:
    """A nested pattern matches key by key, a list fact if one of its names matches, a text as a glob."""
    if isinstance(wanted, Mapping):
        return isinstance(fact, Mapping) and all(_matches(value, fact.get(key)) for key, value in wanted.items())
    if isinstance(fact, (list, tuple)):
        return any(_matches(wanted, one) for one in fact)
    return fact is not None and fnmatch.fnmatchcase(str(fact), str(wanted))


def end_with_parent(parent: int) -> None:
    """End this process soon after the process that started it, however that one ends (SIGKILL included).

    PR_SET_PDEATHSIG would do it without looking, but it strikes when the *thread* that started us ends, and
    a cloud may well be started by a short-lived thread; it also exists on Linux only.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
