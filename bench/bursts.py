"""`python -m bench.bursts`: lives that all end within a minute, against a CloudFormation that takes so many calls a
second: how many fail, how many calls are in vain, and how long until the last one is gone.

The functions and machines are the real ones, in the simulated world of `tests/model`. AWS publishes no rates of
CloudFormation: those of `RATE` are assumed. A client's own repetitions are not simulated: each call is made once.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest

from mayfly import observability
from mayfly.contract.vocabulary import EnvironmentStage, Event, Outcome
from mayfly.observability import logger, metrics
from tests.model import world as simulated
from tests.model.clients import refusal

type Json = dict[str, Any]

LIVES, SUITES = 2_000, 40
RATE, BURST = 5, 10
"""Calls a second of each kind that an account takes, and how many at once after a while without any."""
LIMITED = ("create_stack", "delete_stack", "describe_stacks")
WITHIN = 60
"""Seconds in which the lives end."""


class Busy(simulated.World):
    """A world whose CloudFormation throttles."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.vain = Counter[str](), Counter[str]()
        self.throttles = False
        self._left: dict[tuple[str, str], tuple[float, float]] = {}

    def call(self, token: str, service: str, operation: str, params: Json) -> Json:
        """Answers an AWS API call, or refuses it with Throttling when calls of its kind come too fast."""
        if service == "cloudformation" and operation in LIMITED and self.throttles:
            self.calls[operation] += 1
            if not self._taken((token.partition("/")[0], operation)):
                self.vain[operation] += 1
                raise refusal("Throttling", "Rate exceeded")
        return super().call(token, service, operation, params)

    def _taken(self, kind: tuple[str, str]) -> bool:
        left, since = self._left.get(kind, (BURST, self.timeline.now))
        left = min(BURST, left + RATE * (self.timeline.now - since))
        self._left[kind] = (left - 1 if left >= 1 else left, self.timeline.now)
        return left >= 1


@contextmanager
def built(
    world: Busy, patch: pytest.MonkeyPatch, lives: int, instances: int = 2, applications: Sequence[str] = ("webshop",)
) -> Iterator[list[str]]:
    """Builds environments that wait for their tests, and yields their names. A release has forty; each application
    is in an account of its own."""
    suites = [{"name": f"s{number}"} for number in range(SUITES)]
    patch.setattr(metrics, "add_metric", lambda **_: None)
    patch.setattr(observability, "single_metric", lambda **_: MagicMock())
    patch.setattr(simulated.World, "SWEEPS_EVERY", 10**6)
    patch.setattr(simulated, "SUITES", dict.fromkeys(applications, suites))
    patch.setattr(simulated, "ACCOUNTS", simulated.ACCOUNTS[: len(applications)])
    patch.setattr(simulated, "APPLICATION", simulated.APPLICATION | {"instance_count": instances})
    with world.installed(patch):
        world.configure(24 * 60, 48 * 60)
        for number in range(lives // SUITES):
            application = applications[number % len(applications)]
            detail = {"application": application, "version": f"1.{number}", "artifact": "s3://artifacts/1"}
            world.deliver("accept_code_version", world.on_the_bus(Event.CODE_VERSION_PUSHED, detail))
        world.timeline.advance(3600)
        names = world.environments()
        assert {world.record(name)["stage"] for name in names} == {EnvironmentStage.AWAITING_TESTS}
        yield names


def burst(lives: int = LIVES) -> Json:
    """Builds so many lives, and has all their tests report within a minute."""
    with pytest.MonkeyPatch.context() as patch:
        world = Busy()
        with built(world, patch, lives) as names:
            return _ended(world, names)


def _ended(world: Busy, names: list[str]) -> Json:
    world.throttles, began = True, world.timeline.now
    for number, name in enumerate(names):
        detail = {"environment": name, "outcome": Outcome.PASSED, "token": world.events.token(name)}
        event = world.on_the_bus(Event.TEST_FINISHED, detail)
        world.timeline.after(number * WITHIN / len(names), partial(world.deliver, "accept_test_result", event))
    world.timeline.advance(8 * 3600)
    machine = simulated.ENVIRONMENT_MACHINE
    ended = [world.machines.executions[machine, name] for name in names]
    made, vain = sum(world.calls.values()), sum(world.vain.values())
    return {
        "ended_within_a_minute": len(names),
        "failed": sum(one.status != "SUCCEEDED" for one in ended),
        "calls": made,
        "in_vain_percent": round(100 * vain / made, 1),
        "last_gone_after_minutes": round((max(one.ended_at for one in ended) - began) / 60, 1),
        "waits_a_life": round(sum(one.entered.count("Await Turn To End") for one in ended) / len(ended), 2),
    }


def measure() -> list[Json]:
    """Bursts of several sizes."""
    os.environ.update(simulated.SETTINGS)
    logger.setLevel("CRITICAL")
    return [burst(lives) for lives in (400, LIVES)]


if __name__ == "__main__":
    sys.stdout.write("\n".join(json.dumps(row) for row in measure()) + "\n")
