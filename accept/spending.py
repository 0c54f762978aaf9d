"""What a run may cost at most: reckoned before it begins, refused above the limit, and bounded by its deadline."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from accept.installing import BUILDER_TYPE, INSTANCE_TYPE
from mayfly.prices import list_prices

LIMIT_USD = 5.0
HOURS = 4.0
"""After so long a run is broken off, and everything removed."""

INSTANCES = 18
"""All that scenarios build, as if each stood from the beginning to the deadline: of the bake's proof, of the lives, of
production with its replacements, and of the releases that precede rollouts."""
BUILDERS, VOLUME_GB = 1, 8
NAT_GATEWAYS, NAT_GB = 2, 5
HOURLY_USD = {"NAT gateways and their addresses": NAT_GATEWAYS * 0.05, "load balancer": 0.0225 + 0.008}
ONCE_USD = {
    "data through the NAT gateways": NAT_GB * 0.045,
    "two copies of an image for a day": 2 * VOLUME_GB * 0.05 / 30,
    "metrics, alarms and dashboard": 0.15,
    "functions, executions, events, requests, logs": 0.20,
}
"""List prices of us-east-1; other Regions are dearer by a quarter at most."""
MARGIN = 1.25


class TooExpensive(Exception):
    """A run is not begun: it might cost more than it may."""


class OutOfTime(Exception):
    """The deadline of a run has come."""


def estimate(hours: float = HOURS) -> dict[str, float]:
    """US dollars of each part of a run, at most."""
    prices = list_prices()
    hourly = prices.instances["us-east-1"]
    disks = (INSTANCES + BUILDERS) * VOLUME_GB * prices.gb_month["us-east-1"] / 730
    parts = {
        f"{INSTANCES} instances ({INSTANCE_TYPE})": INSTANCES * hourly[INSTANCE_TYPE] * hours,
        f"{BUILDERS} builder ({BUILDER_TYPE})": BUILDERS * hourly[BUILDER_TYPE] * hours,
        "their disks": disks * hours,
        **{what: usd * hours for what, usd in HOURLY_USD.items()},
        **ONCE_USD,
    }
    return {what: round(usd * MARGIN, 4) for what, usd in parts.items()}


def refuse_above(parts: Mapping[str, float], limit: float = LIMIT_USD) -> None:
    """Refuses to begin what might cost more than is allowed.

    Raises:
        TooExpensive: says by what.
    """
    if (total := sum(parts.values())) > limit:
        most = max(parts, key=lambda what: parts[what])
        raise TooExpensive(
            f"expected at most US$ {limit:.2f}, but it may cost {total:.2f}, of which {parts[most]:.2f} for {most}"
        )


@contextmanager
def deadline(hours: float = HOURS) -> Iterator[None]:
    """Breaks off, by OutOfTime, what is done inside of this when it takes too long, whatever it waits for."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime(f"it has taken {hours:g} hours: what scenarios are left are not tried")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, hours * 3600)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
