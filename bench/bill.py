"""`python -m bench.bill`: what lives, an idle installation and open consoles cost a month, everything that they cause.

Counted are a release of two suites in the simulated world of `tests/model` (transitions, invocations, events, write and
read units of DynamoDB), the functions that hear of it by the rules of `template.yaml`, and what `bench.pages` counts of
a console. Assumed are how long an invocation runs, its log, and the prices that Mayfly itself does not need.
"""

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from moto.events.models import EventPattern
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from bench import pages
from bench.pages import Counted
from bench.visits import release as a_release
from mayfly import observability
from mayfly.observability import logger, metrics
from mayfly.prices import list_prices
from tests.model import world as simulated

type Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
SUITES = 2
"""Of the simulated application."""
RATES = (10, 100, 1_000, 10_000)
"""Environments a day."""
DAYS, OFFICE_HOURS, OFFICE_DAYS, CONSOLES = 30, 8, 22, 50
BILLED_SECONDS, OF_A_LOOK, MEMORY_GB, LOG_BYTES = 0.25, 0.1, 0.5, 1_500
"""Of an invocation, and of one of the API's; warm, and with the start, the report and a line or two of its log."""
API_REQUEST, TRACE, METRIC, ALARM = 1e-6, 5e-6, 0.30, 0.10
"""US dollars at list prices (us-east-1): a request of an HTTP API, a trace, a custom metric and an alarm a month."""
TRACES_OF_A_LIFE, METRICS = 5, 45
SCHEDULED = {"sweep": 5, "reach": 5, "rollouts": 10}
"""Minutes between two runs of what runs by the clock."""
INSTANCES, LARGER, HOURS = 45, 200, 4
"""Of an environment, to compare with."""


@dataclass(frozen=True)
class Caused:
    """What one environment causes, its share of the release among it."""

    transitions: float
    invocations: float
    events: float
    writes: float
    reads: float

    @property
    def usd(self) -> float:
        """At list prices."""
        price = list_prices().services
        return (
            self.transitions * price["state_transition"]
            + of_invocations(self.invocations)
            + self.events * price["event"]
            + self.writes * price["dynamodb_write_unit"]
            + self.reads * price["dynamodb_read_unit"]
            + TRACES_OF_A_LIFE * TRACE
        )


def of_invocations(count: float, billed: float = BILLED_SECONDS) -> float:
    """What so many invocations cost, with their logs."""
    price = list_prices().services
    seconds = billed * MEMORY_GB * price["lambda_gb_second"]
    return count * (price["lambda_request"] + seconds + LOG_BYTES / 1e9 * price["log_gb"])


@cache
def rules() -> list[tuple[str, EventPattern]]:
    """Every rule of the template with the function that it invokes."""
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    return [
        (name, EventPattern.load(json.dumps(event["Properties"]["Pattern"], default=str)))
        for name, each in resources.items()
        if each["Type"] == "AWS::Serverless::Function"
        for event in each["Properties"].get("Events", {}).values()
        if event["Type"] == "EventBridgeRule"
    ]


def a_life(instances: int = INSTANCES) -> Caused:
    """What one environment of so many instances causes in the simulated world."""
    invoked: Counter[str] = Counter()

    class Noted(simulated.World):
        def invoke(self, name: str, event: Json) -> Any:
            invoked[name] += 1
            return super().invoke(name, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "add_metric", lambda **_: None)
        patch.setattr(observability, "single_metric", lambda **_: MagicMock())
        patch.setattr(simulated.World, "SWEEPS_EVERY", 10**6)
        patch.setattr(simulated, "DynamoDB", Counted)
        patch.setattr(simulated, "APPLICATION", simulated.APPLICATION | {"instance_count": instances})
        with Noted().installed(patch) as world:
            world.machines.token_length = pages.TOKEN
            a_release(world)
            table: Any = world.dynamodb
            entered = sum(len(one.entered) + 1 for one in world.machines.executions.values())
            said = world.events.said
            heard = sum(rule.matches_event(_event(what, detail)) for what, detail in said for _, rule in rules())
            outside = 1 + SUITES  # the push and the results
            stacks = 2 * 2 * SUITES  # each stack's two events, which cross accounts
            return Caused(
                entered / SUITES,
                (sum(invoked.values()) + heard) / SUITES,
                (len(said) + outside + stacks) / SUITES,
                table.written / SUITES,
                table.read / SUITES,
            )


def _event(what: str, detail: Json) -> Any:
    return {"source": "mayfly", "detail-type": what, "detail": detail}


def consoles(look: dict[str, float]) -> float:
    """What 50 consoles cost a month that are open in office hours: reads, requests and their invocations."""
    hours = CONSOLES * OFFICE_HOURS * OFFICE_DAYS
    requests = 3600 / pages.LOOK_SECONDS * 2 + 3600 / pages.HEADS_SECONDS  # the board, the kill switch, releases
    units = look["an open board, an hour"] * list_prices().services["dynamodb_read_unit"]
    return hours * (units + requests * API_REQUEST + of_invocations(requests, OF_A_LOOK))


def measure() -> list[Json]:
    """The bill of a month at each rate."""
    os.environ.update(simulated.SETTINGS)
    logger.setLevel("CRITICAL")
    life, larger, look = a_life(), a_life(LARGER), {row["look"]: row["read_units"] for row in pages.measure()}
    idle = METRICS * METRIC + alarms() * ALARM
    idle += of_invocations(sum(DAYS * 24 * 60 / minutes for minutes in SCHEDULED.values()))
    hourly = list_prices().instances["us-east-1"]["t3.small"] * INSTANCES * HOURS
    rows = []
    for rate in RATES:
        summed = look["what a sweep reads, sums and all"] * rate / pages.ENDED_A_DAY
        sweeps = DAYS * 24 * 60 / SCHEDULED["sweep"] * summed * list_prices().services["dynamodb_read_unit"]
        rows.append(
            {
                "environments_a_day": rate,
                "transitions_a_life": round(life.transitions, 1),
                "invocations": round(life.invocations, 1),
                "events": round(life.events, 1),
                "write_units": round(life.writes, 1),
                f"write_units_of_{LARGER}": round(larger.writes, 1),
                "usd_a_life": round(life.usd, 6),
                "lives_usd": round(life.usd * rate * DAYS, 2),
                "idle_usd": round(idle, 2),
                "sweeps_reads_usd": round(sweeps, 2),
                "consoles_usd": round(consoles(look), 2),
                "environments_themselves_usd": round(hourly * rate * DAYS),
            }
        )
    return rows


def alarms() -> int:
    """How many alarms the template makes."""
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"].values()
    return sum(each["Type"] == "AWS::CloudWatch::Alarm" for each in resources)


if __name__ == "__main__":
    began = datetime.now().astimezone()
    sys.stdout.write("\n".join(json.dumps(row) for row in measure()) + "\n")
    sys.stderr.write(f"{(datetime.now().astimezone() - began).total_seconds():.0f} s\n")
