"""`python -m bench.visits`: how many files of Mayfly's somebody reads who follows one event to its end.

Counted are the files whose code runs on the way, with the state machines, and the hops: pairs of functions of which the
one calls the other in another file, each once. The way is taken in the simulated world of `tests/model`.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mayfly.contract.vocabulary import EnvironmentStage, Event, Outcome
from mayfly.observability import logger, metrics
from tests.model import world as simulated

ROOT = Path(__file__).resolve().parents[1]
OWN = (str(ROOT / "functions"), str(ROOT / "layers"))
MACHINES = ("run_release", "run_environment")

type Place = tuple[str, str]
"""A file and a function in it."""


class Visits:
    """What is entered while a call runs."""

    def __init__(self) -> None:
        self.files = set[str]()
        self.hops = set[tuple[Place, Place]]()

    def entered(self, frame: FrameType, event: str, _: Any) -> None:
        """Python calls this for each call."""
        if event != "call" or not _is_own(frame):
            return
        self.files.add(frame.f_code.co_filename)
        caller = frame.f_back
        while caller and not _is_own(caller):
            caller = caller.f_back
        if caller and caller.f_code.co_filename != frame.f_code.co_filename:
            self.hops.add((_place(caller), _place(frame)))

    def of(self, way: Callable[[], None]) -> "Visits":
        """Goes a way and counts."""
        sys.setprofile(self.entered)
        try:
            way()
        finally:
            sys.setprofile(None)
        return self


def _is_own(frame: FrameType) -> bool:
    """Whether it runs code of Mayfly's, and does not only import a module."""
    return frame.f_code.co_filename.startswith(OWN) and frame.f_code.co_flags & inspect.CO_OPTIMIZED != 0


def _place(frame: FrameType) -> Place:
    return frame.f_code.co_filename, frame.f_code.co_qualname


def release(world: simulated.World) -> None:
    """From `Code Version Pushed` to `Environment Terminated` and `Release Passed`."""
    detail = {"application": "webshop", "version": "1.0.0", "artifact": "s3://artifacts/1"}
    world.deliver("accept_code_version", world.on_the_bus(Event.CODE_VERSION_PUSHED, detail))
    world.timeline.advance(600)
    for environment in world.environments():
        detail = {"environment": environment, "outcome": Outcome.PASSED}
        world.deliver("accept_test_result", world.on_the_bus(Event.TEST_FINISHED, detail))
    world.timeline.advance(1800)
    assert {world.record(each)["stage"] for each in world.environments()} == {EnvironmentStage.TERMINATED}


def measure() -> list[dict[str, Any]]:
    """Files and hops of the way of a release."""
    os.environ.update(simulated.SETTINGS)
    logger.setLevel("CRITICAL")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "add_metric", lambda **_: None)
        patch.setattr(simulated.World, "SWEEPS_EVERY", 10**6)  # which is another way
        with simulated.World().installed(patch) as world:
            found = Visits().of(lambda: release(world))
    files = len(found.files) + len(MACHINES)
    return [{"event": Event.CODE_VERSION_PUSHED, "files": files, "hops": len(found.hops)}]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(), indent=2) + "\n")
