"""The local cloud's instances say of their first boot what real ones would say."""

import re
from typing import Any

import pytest

from local.clock import VirtualClock
from local.faults import Faults
from local.workload.boots import STEPS, Boot, Boots
from local.workload.delivery import ServiceEvent
from local.workload.states import PENDING
from mayfly.domain.boot import has_failed, unready
from tests.blueprint import user_data

WINDOW = (0.0, 10.0)


class State:
    """One of moto's states."""

    name, code = PENDING


class FakeInstance:
    """As much of moto's instance as a boot touches."""

    id, owner_id, region_name = "i-0a1b2c3d", "222222222222", "us-east-1"

    def __init__(self, script: str) -> None:
        self.user_data, self.tags, self._state = script.encode(), {"mayfly:environment": "shop-1-smoke"}, State()

    @property
    def state(self) -> str:
        return self._state.name

    def add_tags(self, tags: dict[str, str]) -> None:
        self.tags |= tags

    def get_tags(self) -> list[dict[str, str]]:
        return [{"key": key, "value": value} for key, value in self.tags.items()]


class Cloud:
    """Boots, with faults to set, and what was said of instances."""

    def __init__(self) -> None:
        self.faults, self.said = Faults(), list[ServiceEvent]()
        self.boots = Boots(VirtualClock(), self.faults, self.said.append)

    def launch(self, script: str | None = None, **parameters: str) -> Boot:
        instance: Any = FakeInstance(user_data(**parameters) if script is None else script)
        return self.boots.begin(instance, WINDOW)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def tags(boot: Boot) -> dict[str, str]:
    """The tags, with `N s` in the place of durations."""
    instance: Any = boot.instance
    return {key: re.sub(r"\d+ s\b", "N s", text) for key, text in instance.tags.items()}


def test_the_steps_are_those_of_the_blueprints_user_data() -> None:
    steps = re.findall(r"step '([^']+)'", user_data())
    unsaid = {"read the instance id", "package lock"}  # before it knows who it is; only where there is one
    assert set(STEPS) == set(steps) - unsaid


def test_steps_that_nobody_asked_for_are_none(cloud: Cloud) -> None:
    assert cloud.launch().script.steps == ("set the host name", "converge", "deploy", "signal")
    full = {"PuppetServer": "puppet", "HealthCheckPath": "/", "VersionScript": "/opt/mayfly/version"}
    assert cloud.launch(**full).script.steps == tuple(STEPS)


def test_one_that_reports_nothing_runs_and_is_ready_without_a_word(cloud: Cloud) -> None:
    boot = cloud.launch("#!/bin/bash\ndeploy")
    cloud.boots.go_on(boot, 10)
    assert (boot.outcome, boot.instance.state) == ("ready", "running")
    assert tags(boot) == {"mayfly:environment": "shop-1-smoke"}


def test_it_tells_the_step_in_which_it_is_until_it_is_ready(cloud: Cloud) -> None:
    boot = cloud.launch(VersionScript="/opt/mayfly/version")
    cloud.boots.go_on(boot, 0)
    assert boot.instance.state == "pending"
    cloud.boots.go_on(boot, 3)
    assert re.fullmatch(r"set the host name N s; converge since \d\d:\d\d:\d\dZ", tags(boot)["mayfly:boot"])
    assert boot.instance.state == "running"
    cloud.boots.go_on(boot, 10)
    said = "ready after N s: set the host name N s; converge N s; deploy N s; version N s;"
    assert tags(boot)["mayfly:boot"] == said
    assert tags(boot)["mayfly:version"] == "1.4.2"
    assert unready({"i": tags(boot)}) == []


def test_one_that_hangs_stays_until_its_fault_is_cleared(cloud: Cloud) -> None:
    cloud.faults.add({"boot": "converge", "environment": "shop-*", "effect": "hang", "log": "waiting", "times": 1})
    boot, other = cloud.launch(), cloud.launch()
    for _ in range(2):
        cloud.boots.go_on(boot, 20)
        cloud.boots.go_on(other, 20)
    assert (boot.outcome, other.outcome) == ("boots", "ready")
    [line] = unready({"i": tags(boot), "j": tags(other)})
    assert re.fullmatch(r"i: set the host name N s; converge since \S+; its log ends with: waiting", line)
    cloud.faults.clear()
    cloud.boots.go_on(boot, 20)
    assert boot.outcome == "ready"


@pytest.mark.parametrize(("replace", "outcome"), [("0", "failed"), ("2", "stopped")])
def test_one_that_fails_signals_it_or_stops_where_it_may_be_replaced(cloud: Cloud, replace: str, outcome: str) -> None:
    cloud.faults.add({"boot": "deploy", "effect": "fail", "reason": "exit code 7", "log": "no space"})
    boot = cloud.launch(ReplaceFailed=replace)
    cloud.boots.go_on(boot, 10)
    assert boot.outcome == outcome
    assert tags(boot)["mayfly:boot"] == "failed after N s: deploy: exit code 7"
    assert has_failed(tags(boot))
    stopped = [] if outcome == "failed" else [{"instance-id": boot.instance.id, "state": "stopped"}]
    assert [event.detail for event in cloud.said] == stopped
    assert boot.instance.state == ("running" if outcome == "failed" else "stopped")
