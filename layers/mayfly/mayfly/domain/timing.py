"""Where the time between a push and a ready environment goes, so that a team knows what to shorten."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from mayfly.domain.records import Span

PUPPET = ("package lock", "certificate", "catalogue", "converge")
DEPLOY = ("deploy", "health", "version")
"""The steps of a first boot, as an instance's tag says them; the rest of it is boot."""

_DONE = re.compile(r"^ready after (\d+) s:? ?(.*)")
_STEP = re.compile(r"([a-z ]+?) (\d+) s;")

SLOWEST = 12
"""Resource types that are told: those that took longest."""


class Course(Struct, frozen=True):
    """When something happened on the way to a ready environment; None where nothing says so.

    Attributes:
        pushed: its version. planned: it. begun: its stack. launched: its first instance. complete: its stack.
        ready: every instance was seen to run.
    """

    pushed: datetime | None
    planned: datetime | None
    begun: datetime | None
    launched: datetime | None
    complete: datetime | None
    ready: datetime


def spans(course: Course, boots: Iterable[str]) -> tuple[Span, ...]:
    """Returns the spans from push to ready, one after the other: plan, queue, stack, boot, Puppet, deploy, confirm.
    What nothing is known of is a part of the next one.

    Args:
        boots: what instances say of their first boot. The slowest one's steps count.
    """
    puppet, deploy = slowest(boots)
    launched, complete = course.launched, course.complete
    # In Express mode a stack is complete before its instances have booted: until they were seen to run, they boot.
    booted = course.ready if launched and complete and complete < launched else complete
    marks = (
        ("plan", course.planned),
        ("queue", course.begun),
        ("stack", launched or complete),
        ("boot", booted if launched else None),
        ("confirm", course.ready),
    )
    last = course.pushed or course.planned or course.begun
    found: list[Span] = []
    for name, end in marks:
        if end is None or last is None or (name == "plan" and course.pushed is None):
            continue
        seconds = max(0, round((end - last).total_seconds()))
        last = max(last, end)
        if name == "boot":
            within = (min(puppet, seconds), min(deploy, max(0, seconds - puppet)))
            found += [Span(name, seconds - sum(within)), Span("puppet", within[0]), Span("deploy", within[1])]
        else:
            found.append(Span(name, seconds))
    return tuple(found)


def slowest(boots: Iterable[str]) -> tuple[int, int]:
    """Returns the seconds that Puppet and the deployment took on the instance that took longest."""
    said = [found for boot in boots if (found := _DONE.match(boot))]
    if not said:
        return 0, 0
    longest = max(said, key=lambda one: int(one[1]))
    steps = {name.strip(): int(seconds) for name, seconds in _STEP.findall(longest[2])}
    return sum(steps.get(name, 0) for name in PUPPET), sum(steps.get(name, 0) for name in DEPLOY)


def of_types(took: Mapping[str, float]) -> tuple[Span, ...]:
    """Returns the types of resources that took longest to be made, the longest first, by how long the slowest of each
    took."""
    longest = sorted(took.items(), key=lambda one: -one[1])[:SLOWEST]
    return tuple(Span(kind, round(seconds)) for kind, seconds in longest if round(seconds) > 0)


def told(found: Iterable[Span]) -> str:
    """Spans for people."""
    return ", ".join(f"{one.name} {one.seconds} s" for one in found)
