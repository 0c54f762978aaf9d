"""Virtual time, so that a day-long deadline can be tested in a second.

Virtual time runs as fast as real time, and jumps forward when somebody calls `advance`. Both servers of the
local cloud have a clock of their own, and `LocalCloud.advance` moves both by the same amount.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A clock that can jump forward, and wakes those who wait on it when it does."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._changed = threading.Condition()

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
        if seconds < 0:
            raise ValueError(f"the clock cannot go back by {-seconds} seconds")
        with self._changed:
            self._offset += seconds
            self._changed.notify_all()

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
