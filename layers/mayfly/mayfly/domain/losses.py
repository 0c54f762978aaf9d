"""How many instances of an environment failed, and why: those that never signalled, and those that were lost after it
was ready, so that what its tests found may be worth nothing."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, field

NEVER_SIGNALLED = "never signalled"
NEVER_READY = "failed before they were ready"
UNEXPLAINED = "of an unknown cause"

_SIGNALS = re.compile(r"Received (\d+) (SUCCESS|FAILURE) signal\(s\) out of (\d+)")
_CAUSES = (
    ("status check", "failed a status check"),
    ("ELB", "failed a load balancer's health check"),
    ("VPC Lattice", "failed a load balancer's health check"),
    ("Spot", "were interrupted by EC2"),
    ("rebalance", "were interrupted by EC2"),
    ("terminated or stopped", "stopped or were terminated"),
    ("user health-check", "were called unhealthy by somebody"),
    ("user request", "were replaced by somebody"),
)
"""Words in the cause that Auto Scaling gives of taking an instance out of service, and what they mean."""
_SHRUNK = "shrinking the capacity"
"""Words in the cause of one that nobody wanted any more, because its environment fell asleep. That is no failure."""


class Losses(Struct, frozen=True):
    """The instances of one environment, or of many, and those of them that failed.

    Attributes:
        launched: how many there were in all. failed: how many of them failed, by cause.
    """

    launched: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many failed."""
        return sum(self.failed.values())

    @property
    def rate(self) -> float | None:
        """Their share; None where there were no instances."""
        return self.count / self.launched if self.launched else None

    def __str__(self) -> str:
        if not self.launched:
            return "no instances"
        said = f"{self.count} of {self.launched} instances failed"
        if not self.count:
            return said
        why = ", ".join(f"{count} {cause}" for cause, count in sorted(self.failed.items()))
        return f"{said}, {100 * self.count / self.launched:.3f} %: {why}"


def of_creation(reason: str) -> Losses:
    """Returns those of an environment that never was ready, by what CloudFormation says of its groups."""
    launched, failed = 0, Counter[str]()
    for count, signal, wanted in _SIGNALS.findall(reason):
        launched += int(wanted)
        failed[NEVER_SIGNALLED] += int(wanted) - int(count) if signal == "SUCCESS" else 0
        failed[NEVER_READY] += int(count) if signal == "FAILURE" else 0
    return Losses(launched, {cause: count for cause, count in failed.items() if count})


def of_life(
    ready_at: datetime, built: int, running: Iterable[datetime], ended: Sequence[tuple[datetime, str]]
) -> Losses:
    """Returns those of an environment that was ready, at the end of its life.

    Args:
        built: how many there were when it was ready. running: when those were launched that run now.
        ended: when, and why, Auto Scaling took an instance out of service; the latest first.
    """
    launches = list(running)
    replaced = sum(launched > ready_at for launched in launches)
    since = [said for at, said in reversed(ended) if at >= ready_at]
    slept = sum(_SHRUNK in said for said in since)
    gone = max(0, built - slept - (len(launches) - replaced))
    causes = Counter(cause_of(said) for said in since if _SHRUNK not in said)
    failed: Counter[str] = Counter()
    for cause, count in causes.items():
        failed[cause] = min(count, gone - failed.total())
    if unexplained := gone - failed.total():
        failed[UNEXPLAINED] += unexplained
    return Losses(built + replaced, {cause: count for cause, count in failed.items() if count > 0})


def with_failed_boots(losses: Losses, failed: int, asked: int) -> Losses:
    """Adds instances that stopped before they were ready, each of which was replaced.

    Args:
        asked: how many the environment was to have, where nothing else says how many there were.
    """
    if not failed:
        return losses
    return together([losses if losses.launched else Losses(asked), Losses(failed, {NEVER_READY: failed})])


def cause_of(said: str) -> str:
    """Returns what became of an instance, by what Auto Scaling says of taking it out of service."""
    return next((meaning for words, meaning in _CAUSES if words in said), UNEXPLAINED)


def together(many: Iterable[Losses]) -> Losses:
    """Adds the losses of several environments up."""
    launched, failed = 0, Counter[str]()
    for one in many:
        launched += one.launched
        failed.update(one.failed)
    return Losses(launched, dict(failed))


def is_worse(image: Losses, last: Losses, least: int = 3) -> bool:
    """Tells whether an image's instances fail more often than those of the last one, by more than chance: a few
    failures in all say nothing."""
    return image.count >= least and (image.rate or 0) > (last.rate or 0)
