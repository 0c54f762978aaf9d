"""Virtual time, so that a day-long deadline can be tested in a second.

Virtual time runs as fast as real time, and jumps forward when somebody calls `advance`. Both servers of the
local cloud have a clock of their own, and `LocalCloud.advance` moves both by the same amount.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

_mine = ContextVar[tuple[object, ...]]("_mine", default=())  # the holds that the caller is inside of


class VirtualClock:
    """A clock that can jump forward, and wakes those who wait on it when it does."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._changed = threading.Condition()  # with a reentrant lock
        self._holds = set[object]()

    @property
    def offset(self) -> float:
        """Seconds by which this clock is ahead of real time."""
        return self._offset

    def time(self) -> float:
        """Virtual seconds since the epoch."""
        return time.time() + self._offset

    def now(self) -> datetime:
        """Virtual time as an aware datetime in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._offset)

    def iso(self) -> str:
        """Virtual time as AWS writes it: `2026-01-31T12:00:00.000Z`."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def advance(self, seconds: float) -> None:
        """Jump forward. Time never goes back: a negative number raises ValueError."""
        _check_forward(seconds)
        with self._changed:
            self._offset += seconds
            self._changed.notify_all()

    def jump(self, seconds: float, along: Callable[[], bool] = lambda: True) -> bool:
        """Jump forward, unless somebody holds the clock or the other one does not jump along; returns whether it did.

        Nobody can begin to hold the clock meanwhile.
        """
        _check_forward(seconds)
        with self._changed:
            if self._holds or not along():
                return False
            self.advance(seconds)
            return True

    @property
    def held(self) -> bool:
        """Whether somebody holds the clock."""
        return bool(self._holds)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """What is done inside of this takes the time it takes: the clock does not `jump` meanwhile."""
        mine = object()
        with self._changed:
            self._holds.add(mine)
        before = _mine.set((*_mine.get(), mine))
        try:
            yield
        finally:
            _mine.reset(before)
            self._holds.discard(mine)

    def let_go(self) -> None:
        """End the holds that the caller is inside of: it waits for nothing but time."""
        self._holds.difference_update(_mine.get())

    def notify(self) -> None:
        """Let all who wait look again, because something other than the time has changed."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, until: float, finished: Callable[[], bool] = lambda: False) -> bool:
        """Block until `finished()` holds or the virtual time `until` is reached; returns `finished()`.

        Whoever makes `finished` true calls `notify` afterwards: nothing here polls.
        """
        with self._changed:
            while not finished():
                remaining = until - self.time()
                if remaining <= 0:
                    return finished()
                # A day at most: threads cannot wait for longer than the platform's time_t allows.
                self._changed.wait(min(remaining, 86_400))
            return True


def _check_forward(seconds: float) -> None:
    if seconds < 0:
        raise ValueError(f"the clock cannot go back by {-seconds} seconds")
