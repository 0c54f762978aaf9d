"""Limits of AWS, reached: an account whose functions run one at a time, a function that times out anywhere in a sweep,
environments of 500 instances, messages that come again after weeks."""

import json

import pytest

from tests.model import stopping
from tests.model.promises import Promises
from tests.model.test_scenarios import LOOK, MINUTE, RELEASE, SMOKE, finish, push, said
from tests.model.world import APPLICATION, RELEASE_MACHINE, World

LIFE = ["Environment Requested", "Environment Ready", "Environment Terminated"]


def test_functions_that_run_one_at_a_time_take_longer_and_lose_nothing(world: World) -> None:
    """New accounts may run ten at once, and a reserved concurrency of one is a common mistake."""
    world.faults.one_at_a_time = 5.0
    push(world, 10)
    assert {world.record(name)["stage"] for name in (SMOKE, LOOK)} == {"awaiting tests"}
    for name in (SMOKE, LOOK):
        finish(world, name)
    world.timeline.advance(30 * MINUTE)
    assert said(world)[SMOKE] == said(world)[LOOK] == LIFE
    assert said(world)[RELEASE] == ["Release Started", "Release Passed"]
    assert not world.sqs.messages


@pytest.mark.parametrize("moment", ["dies before", "dies after"])
@pytest.mark.parametrize("calls", range(24))
def test_a_sweep_that_times_out_at_any_call_is_made_up_for_by_the_next(world: World, calls: int, moment: str) -> None:
    world.configure(lifetime=120, ceiling=240)
    push(world)
    for execution in list(world.machines.executions.values()):
        world.machines.stop(execution)
    world.timeline.advance(4 * MINUTE)  # a sweep is due in a minute
    world.faults.calls_until, world.faults.call = calls, moment  # type: ignore[assignment]
    world.timeline.advance(26 * MINUTE)
    assert world.faults.calls_until is None, "it died"
    for name in (SMOKE, LOOK):
        finish(world, name)
    world.timeline.advance(30 * MINUTE)
    promises = Promises(world)
    assert not promises.open()
    assert said(world)[SMOKE] == LIFE
    assert said(world)[RELEASE] == ["Release Started", "Release Passed"]


@pytest.mark.parametrize("instances", [0, 1, 500])
def test_of_few_or_many_instances_none_is_left(world: World, instances: int) -> None:
    configured = {"account": "222222222222", "suites": [{"name": "smoke"}], "instance_count": instances}
    world.ssm.parameters["/mayfly/applications/webshop"] = json.dumps(APPLICATION | configured)
    push(world)
    assert world.record(SMOKE)["instances_built"] == instances
    finish(world)
    world.timeline.advance(20 * MINUTE)
    assert said(world)[SMOKE] == LIFE
    assert not [one for one in world.account.resources.values() if one.there]


def test_an_environment_without_instances_is_ready_when_its_stack_is(world: World) -> None:
    world.s3.objects["fleet.yaml"] = b"{Resources: {Orders: {Type: 'AWS::SQS::Queue'}}}"
    configured = {"account": "222222222222", "suites": [{"name": "smoke"}], "instance_count": 1}
    world.ssm.parameters["/mayfly/applications/webshop"] = json.dumps(APPLICATION | configured)
    push(world)
    assert (world.record(SMOKE)["stage"], world.record(SMOKE)["instances_built"]) == ("awaiting tests", 0)
    finish(world)
    world.timeline.advance(20 * MINUTE)
    assert said(world)[SMOKE] == LIFE
    assert said(world)[RELEASE] == ["Release Started", "Release Passed"]


def test_of_messages_that_come_again_three_weeks_later_nothing_is_done_again(world: World) -> None:
    push(world)
    for name in (SMOKE, LOOK):
        finish(world, name)
    world.timeline.advance(30 * MINUTE)
    executions, spoken = len(world.machines.executions), said(world)
    before = list(world.delivered)
    world.timeline.after(21 * 24 * 60 * MINUTE, lambda: None)
    world.timeline.now += 21 * 24 * 60 * MINUTE
    for function, event in before:
        if function != "sweep_environments":
            world.deliver(function, event)
    world.timeline.advance(30 * MINUTE)
    assert len(world.machines.executions) == executions
    assert said(world) == spoken
    assert not world.machines.running(RELEASE_MACHINE)


@pytest.mark.parametrize("minutes", [4, 60, 150])
@pytest.mark.parametrize("limits", [3, 20])
def test_an_api_that_is_asked_too_often_starts_the_tests_later_or_breaks_them(
    limits: int, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = stopping.Runners()
    with runners.installed(monkeypatch):
        runners.limits = limits
        suites = [{"name": "smoke", "runner": stopping.BY_HTTP | {"minutes": minutes}}]
        stopping.configure(runners, lifetime_minutes=180, ceiling_minutes=240, suites=suites)
        push(runners, 15)
        begins = limits == 3 and minutes > 4
        assert (runners.limits == 0) == begins
        if begins:
            finish(runners)
        runners.timeline.advance(3 * 60 * MINUTE)
    assert said(runners)[SMOKE] == LIFE
    outcome, reason = (runners.record(SMOKE)["ending"][each] for each in ("outcome", "reason"))
    assert (outcome, "secondary rate limit" in reason) == (("passed", False) if begins else ("broken", True))
