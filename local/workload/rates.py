"""How many calls AWS takes of an account in a Region: EC2's token buckets as it documents them, and rates of
CloudFormation as they are commonly seen, which AWS does not publish.

A bucket fills by the local cloud's time. Whoever is refused waits a second at least, on AWS as here, but here waits are
short: each refusal counts as a second that has passed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from local.clock import VirtualClock
from local.workload.calls import Answer, Call, fault_answer


@dataclass(frozen=True)
class Rate:
    """Tokens that a bucket holds, and that come back in a second."""

    most: float
    a_second: float


DESCRIBE, UNFILTERED, CHANGE = Rate(100, 20), Rate(50, 10), Rate(50, 5)
EC2 = {"RunInstances": Rate(5, 2), "TerminateInstances": Rate(100, 5), "CopyImage": Rate(100, 1)}
INSTANCES = {"RunInstances": Rate(1000, 2), "TerminateInstances": Rate(1000, 20)}
"""Of these calls, each instance takes a token as well, of a bucket of its own."""
CLOUDFORMATION = Rate(5, 5)
"""Of each action."""


class Rates:
    """The buckets of every account, Region and action."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}

    def refusal(self, call: Call, account: str) -> Answer | None:
        """What a call is answered for which there are no tokens."""
        with self._lock:
            wanted = [((account, call.region, *name), rate, tokens) for name, rate, tokens in _asked(call)]
            short = [one for one in wanted if self._level(one[0], one[1]) < one[2]]
            for bucket, rate, tokens in wanted:
                level = self._level(bucket, rate)
                # Who is refused has waited for a second before the next attempt.
                self._buckets[bucket] = (level + rate.a_second if short else level - tokens), self._clock.time()
        if not short:
            return None
        if call.service == "ec2":
            return fault_answer(
                call, {"error": "RequestLimitExceeded", "status": 503, "message": "Request limit exceeded."}
            )
        return fault_answer(call, {"error": "Throttling", "status": 400, "message": "Rate exceeded"})

    def _level(self, bucket: tuple[str, ...], rate: Rate) -> float:
        level, since = self._buckets.get(bucket, (rate.most, self._clock.time()))
        return min(rate.most, level + (self._clock.time() - since) * rate.a_second)


def _asked(call: Call) -> Iterator[tuple[tuple[str, ...], Rate, float]]:
    """The buckets that a call takes tokens of."""
    if call.service == "cloudformation":
        yield (call.action,), CLOUDFORMATION, 1
    if call.service == "ec2":
        yield (call.action,), EC2.get(call.action) or _of_its_kind(call), 1
        if call.action in INSTANCES:
            yield (call.action, "instances"), INSTANCES[call.action], _instances(call)


def _of_its_kind(call: Call) -> Rate:
    if not call.action.startswith(("Describe", "Get", "List")):
        return CHANGE
    narrowed = any(name.startswith(("Filter", "MaxResults")) or "Id." in name for name in call.parameters)
    return DESCRIBE if narrowed else UNFILTERED


def _instances(call: Call) -> float:
    named = sum(name.startswith("InstanceId.") for name in call.parameters)
    return float(named or call.said("MaxCount") or 1)
