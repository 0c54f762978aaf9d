"""Virtual time: what is due happens in its order, at once, and always in the same one."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count


class Timeline:
    """A clock and what is due by it. Seconds since 1970."""

    def __init__(self, start: datetime) -> None:
        self.now = start.timestamp()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._number = count()

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Lets something happen in so many seconds; what is due at the same moment happens in the order of asking."""
        heapq.heappush(self._due, (self.now + seconds, next(self._number), act))

    def advance(self, seconds: float) -> None:
        """Lets so much time pass, with all that happens in it."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            self.now, _, act = heapq.heappop(self._due)
            act()
        self.now = until

    @property
    def moment(self) -> datetime:
        """The time now."""
        return datetime.fromtimestamp(self.now, UTC)

    @property
    def text(self) -> str:
        """The time now as Step Functions and EventBridge write it."""
        return self.moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
