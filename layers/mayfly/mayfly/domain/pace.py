"""Gives turns to those that call CloudFormation of one account and Region: where many come at once, each waits for a
turn of its own, so that none calls in vain. Ending goes before building.

AWS publishes no rates. Assumed are five calls a second of each kind; two of DescribeStacks come with each deletion, and
one with each creation, and one call a second is left to sweeps.
"""

from enum import StrEnum
from typing import Final
from zlib import crc32


class Lane(StrEnum):
    """What a turn is for."""

    END = "end"
    BUILD = "build"


EVERY: Final = {Lane.END: 500, Lane.BUILD: 400}
"""Milliseconds between two turns."""
QUIET: Final = 5_000
"""Milliseconds that turns may be ahead of now while nobody waits."""
SHARE: Final = 4
"""While nobody waits, one of so many takes the turns of all of them, and the others write nothing."""


def is_quiet(ahead: int, now: int) -> bool:
    """Tells whether nobody waits: turns are given out until `ahead`. Both in milliseconds since 1970."""
    return ahead - now <= QUIET


def taken(lane: Lane, who: str, free_at: int, now: int) -> int | None:
    """Returns until when turns are given out once somebody has taken one while nobody waits; None where another one
    takes it with their own."""
    if crc32(who.encode()) % SHARE:
        return None
    return max(free_at, now) + SHARE * EVERY[lane]
