"""`python -m bench.large_sweep`: one sweep over 2,000 stacks of 45 instances, in one account and in fifty: its calls,
its memory and its time. In the simulated world of `tests/model`, with AWS's pages: 100 stacks, 100 resources, 1,000
values of a tag."""

import json
import math
import sys
import time
import tracemalloc
from collections import Counter
from typing import Any

import pytest

from bench.bursts import Busy, built
from mayfly.observability import logger
from mayfly.settings import load_settings
from tests.model import world as simulated

type Json = dict[str, Any]

LIVES, INSTANCES, TARGETS = 2_000, 45, (1, 50)


class Counting(Busy):
    """A world that counts the calls to the workload accounts."""

    counts = False

    def call(self, token: str, service: str, operation: str, params: Json) -> Json:
        """Counts a call; what is listed counts by its pages."""
        reply = super().call(token, service, operation, params)
        if self.counts and token:
            listed = next((each for each in reply.values() if isinstance(each, list)), [])
            self.calls[operation] += max(1, math.ceil(len(listed) / PAGES.get(operation, 100)))
        return reply


PAGES = {"get_tag_values": 1000}


def measure() -> list[Json]:
    """Sweeps of so many lives, over few targets and many."""
    return [sweep(LIVES, targets) for targets in TARGETS]


def sweep(lives: int, targets: int) -> Json:
    """Builds so many lives in so many accounts, and sweeps."""
    applications, accounts = [f"shop-{n}" for n in range(targets)], [f"{n:012}" for n in range(1, targets + 1)]
    logger.setLevel("CRITICAL")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (simulated.SETTINGS | {"MAYFLY_ACCOUNTS": ",".join(accounts)}).items():
            patch.setenv(name, value)
        patch.setattr(simulated, "ACCOUNTS", tuple(accounts))
        patch.setattr(simulated, "SUITES", {name: [{"name": "smoke"}] for name in applications})
        load_settings.cache_clear()
        world = Counting()
        with built(world, patch, lives, INSTANCES, applications):
            world.counts, world.calls = True, Counter()
            tracemalloc.start()
            began = time.perf_counter()
            report = world.sweep()
            seconds = time.perf_counter() - began
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            load_settings.cache_clear()
            return {
                "targets": targets,
                "stacks": lives,
                "instances": lives * INSTANCES,
                "kept": report["counts"]["keep"],
                "calls": sum(world.calls.values()),
                "by_operation": dict(world.calls),
                "megabytes_more": round(peak / 1e6),
                "seconds": round(seconds, 1),
                "goal": "calls = pages, < 300 s, < 256 MB",
            }


if __name__ == "__main__":
    sys.stdout.write("\n".join(json.dumps(row) for row in measure()) + "\n")
