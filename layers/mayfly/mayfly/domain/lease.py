"""The lease: an environment's right to live. It has a deadline that people can move, and a ceiling that nobody can."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from mayfly.domain.timestamp import utc_text


class Extension(Struct, frozen=True):
    """Whether a lease is extended, to when, and why (not)."""

    granted: bool
    deadline: datetime
    reason: str


MOST_EXTENSIONS = 50
"""How often a lease is extended, where its application does not say: each extension is written into its record."""


def extend(deadline: datetime, ceiling: datetime, now: datetime, by: timedelta, left: int = 1) -> Extension:
    """Moves a deadline by `by`, but never past the ceiling, which counts from the environment's creation.

    A lease that is over is not renewed: its environment is being ended by then.

    Args:
        left: how many times more it may be extended.
    """
    if now >= deadline:
        return Extension(False, deadline, f"its deadline {utc_text(deadline)} has passed")
    if deadline >= ceiling:
        return Extension(False, deadline, f"it may live until {utc_text(ceiling)} at most, and does so already")
    if left <= 0:
        return Extension(False, deadline, "it was extended as often as its application permits (most_extensions)")
    moved = min(deadline + by, ceiling)
    cut = ", its ceiling" if moved < deadline + by else ""
    return Extension(True, moved, f"until {utc_text(moved)}{cut}")


def warnings_due(now: datetime, deadline: datetime, minutes_before: Iterable[int], given: Collection[int]) -> list[int]:
    """Tells which warnings, named by their minutes before the deadline, are due and not given yet.

    All that are due count as given by one warning: who was not told two hours before is told once, not twice.
    """
    left = deadline - now
    return [minutes for minutes in minutes_before if left <= timedelta(minutes=minutes) and minutes not in given]
