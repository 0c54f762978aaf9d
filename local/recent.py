"""What was just made, and is not seen at first.

On AWS a look that follows at once may miss what was made, and the next one sees it. How long that takes nobody says.
Here it takes one look, within a minute of the local cloud's time: that needs no waiting, and is the same in every run.
"""

from __future__ import annotations

import threading

from local.clock import VirtualClock

RECENT_SECONDS = 60.0


class Recent:
    """When things were made, until they were looked for once; safe for many threads."""

    def __init__(self, clock: VirtualClock, seconds: float = RECENT_SECONDS) -> None:
        self._clock, self._lock, self._seconds = clock, threading.Lock(), seconds
        self._made: dict[str, float] = {}
        self._known = set[str]()

    def made(self, name: str) -> None:
        """Notes what was made now, unless that was noted before."""
        with self._lock:
            if name not in self._known:
                self._known.add(name)
                self._made[name] = self._clock.time()

    @property
    def any(self) -> bool:
        """Whether anything is hidden."""
        with self._lock:
            since = self._clock.time() - self._seconds
            self._made = {name: made for name, made in self._made.items() if made > since}
            return bool(self._made)

    def hides(self, name: str, made: float | None = None) -> bool:
        """Whether a look at this does not see it: the first one, soon after it was made.

        Args:
            made: when that was, of what tells it by itself.
        """
        with self._lock:
            if made is not None and name not in self._known:
                self._known.add(name)
                self._made[name] = made
            noted = self._made.pop(name, None)
            return noted is not None and self._clock.time() < noted + self._seconds
