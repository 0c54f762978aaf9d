"""Histories that once went wrong, in their shortest form, and the faithfulness of the world they happen in."""

from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.session import Session
from botocore.validate import validate_parameters

from mayfly.domain import tags
from tests.model.promises import Promises
from tests.model.workload import Block, Creation, Resource
from tests.model.world import CONTROLLER, ENVIRONMENT_MACHINE, STRANGER, World

type Json = dict[str, Any]

SMOKE = "webshop-1-0-0-a7fd7e60-smoke"
MINUTE = 60
LONG = 4 * 60 * MINUTE


def push(world: World, minutes: float = 5, version: str = "1.0.0") -> None:
    """A version is pushed, and its environments wait for their tests."""
    detail = {"application": "webshop", "version": version, "artifact": "s3://artifacts/1"}
    world.deliver("accept_code_version", world.on_the_bus("Code Version Pushed", detail))
    world.timeline.advance(minutes * MINUTE)


@pytest.fixture
def promises(world: World) -> Promises:
    return Promises(world)


def switch(world: World, on: bool, why: str = "an incident") -> Json:
    return world.on_the_bus("Kill Switch Set", {"on": on, "why": why, "set_by": "ops"})


def finish(world: World) -> None:
    detail = {"environment": SMOKE, "outcome": "passed", "token": world.events.token(SMOKE)}
    world.deliver("accept_test_result", world.on_the_bus("Test Finished", detail))


class TestStrangers:
    @pytest.fixture
    def theirs(self, world: World) -> list[Resource]:
        """What another installation calls by the same name."""
        labels = {tags.CONTROLLER: STRANGER, tags.ENVIRONMENT: SMOKE}
        return [world.account.add(kind, labels) for kind in ("instance", "volume", "security-group")]

    def test_keep_no_environment_from_being_ready(self, world: World, theirs: list[Resource]) -> None:
        push(world)
        assert world.record(SMOKE)["stage"] == "awaiting tests"

    def test_keep_no_environment_from_being_closed(self, world: World, theirs: list[Resource]) -> None:
        push(world)
        finish(world)
        world.timeline.advance(10 * MINUTE)
        assert world.record(SMOKE)["stage"] == "terminated"
        assert all(one.there for one in theirs)


class TestALostTable:
    def test_ends_what_is_being_built(self, world: World) -> None:
        push(world, minutes=0)
        world.lose_table()
        world.timeline.advance(30 * MINUTE)
        assert not world.account.stacks
        assert not world.violations

    def test_that_is_made_anew_is_filled_by_the_endings_so_that_a_sweep_can_close_them(
        self, world: World, promises: Promises
    ) -> None:
        push(world)
        world.dynamodb.items.clear()
        finish(world)
        world.timeline.advance(26 * MINUTE)  # to the midst of the deletion
        assert world.record(SMOKE)["stage"] == "terminating"
        for execution in world.machines.running(ENVIRONMENT_MACHINE):
            world.machines.stop(execution)
        world.timeline.advance(30 * MINUTE)
        assert not promises.open()

    def test_ends_a_life_that_nobody_could_report_on_any_more(self, world: World) -> None:
        push(world, minutes=0)
        world.timeline.advance(128)  # to the moment between the stack's event and what it resumes
        world.dynamodb.items.clear()
        world.timeline.advance(MINUTE)
        asked = {"environment": SMOKE, "minutes": 10, "why": "looking", "requested_by": "dev"}
        answer = world.deliver("accept_extension", world.on_the_bus("Environment Extension Requested", asked))
        assert (answer["accepted"], answer["reason"]) == (
            False,
            "it was ended by tests: its tests are over, and their result is not in its record",
        )


class TestTheKillSwitch:
    def test_that_is_on_is_not_turned_off_by_an_older_message(self, world: World) -> None:
        off = switch(world, False)
        world.timeline.advance(10)
        world.deliver("set_kill_switch", switch(world, True))
        answer = world.deliver("set_kill_switch", off)
        assert answer["accepted"] is False
        assert "when ops turned it on" in answer["reason"]
        assert world.switch.startswith("ops at")
        world.timeline.advance(10)
        assert world.deliver("set_kill_switch", switch(world, False))["accepted"]
        assert world.switch == "off"

    @pytest.mark.parametrize("why", ["💥" * 1024, "{{ssm:/elsewhere}}"], ids=["long", "braces"])
    def test_takes_every_reason(self, world: World, why: str) -> None:
        assert world.deliver("set_kill_switch", switch(world, True, why))["accepted"]
        assert world.switch != "off"


class TestACreationThatHangs:
    def test_is_ended_at_its_deadline_by_a_sweep(self, world: World, promises: Promises) -> None:
        world.cloudformation.next_creation = Creation.NEVER
        push(world, minutes=60)
        assert world.record(SMOKE)["stage"] == "terminated"
        world.timeline.advance(LONG)
        assert not promises.open()

    def test_is_ended_however_many_hang_at_once(self, world: World, promises: Promises) -> None:
        """A sweep ends all stacks past their recorded deadlines: its caps count only what it decides from tags."""
        world.cloudformation.next_creation = Creation.NEVER
        push(world, minutes=0)
        push(world, minutes=60, version="1.0.1")
        assert not [report for report in world.reports if report["halted"]]
        world.timeline.advance(LONG)
        assert not promises.open()


class TestAnOutage:
    """Nothing is wrong with what is to end; it is only out of reach for a while."""

    @pytest.mark.parametrize("minutes", [5, 60, 180])
    def test_of_the_workload_account_while_tests_end_is_waited_for(
        self, world: World, promises: Promises, minutes: int
    ) -> None:
        push(world)
        environments = world.environments()
        world.faults.down["workload"] = world.timeline.now + minutes * MINUTE
        for environment in environments:
            detail = {"environment": environment, "outcome": "passed", "token": world.events.token(environment)}
            world.deliver("accept_test_result", world.on_the_bus("Test Finished", detail))
        world.timeline.advance((minutes + 20) * MINUTE)
        assert [world.record(name)["stage"] for name in environments] == ["terminated"] * len(environments)
        assert not any(world.events.about("Environment Failed", name) for name in environments)
        assert not any(report["halted"] for report in world.reports)

    def test_of_the_bus_while_tests_end_ends_no_life_as_failed(self, world: World) -> None:
        push(world)
        world.faults.down["events"] = world.timeline.now + 60 * MINUTE
        finish(world)
        world.timeline.advance(80 * MINUTE)
        assert world.machines.executions[ENVIRONMENT_MACHINE, SMOKE].status == "SUCCEEDED"
        assert world.events.about("Environment Terminated", SMOKE)


class TestALostEvent:
    def test_of_a_deletion_is_made_up_for_by_a_look_and_nobody_is_alarmed(self, world: World) -> None:
        push(world)
        world.faults.events.append("lost")
        finish(world)
        world.timeline.advance(30 * MINUTE)
        assert world.record(SMOKE)["stage"] == "terminated"
        assert not world.events.about("Environment Failed", SMOKE)


class TestAStackThatWasHandedToAnotherController:
    def test_is_left_and_told_of_and_not_tried_again(self, world: World) -> None:
        push(world)
        stack = world.stack_of(SMOKE)
        assert stack
        stack.labels[tags.CONTROLLER] = STRANGER
        world.timeline.advance(LONG)
        assert stack.status == "CREATE_COMPLETE"
        assert [name for _, name in world.machines.executions if name.startswith(SMOKE)] == [SMOKE]
        assert SMOKE in [each["environment"] for each in world.reports[-1]["decisions"] if each["action"] == "refuse"]

    def test_is_told_of_even_where_its_record_is_lost(self, world: World) -> None:
        push(world)
        stack = world.stack_of(SMOKE)
        assert stack
        for execution in list(world.machines.executions.values()):
            world.machines.stop(execution)
        world.lose_table()
        stack.labels[tags.CONTROLLER] = STRANGER
        world.timeline.advance(10 * MINUTE)
        assert SMOKE in [each["environment"] for each in world.reports[-1]["decisions"] if each["action"] == "refuse"]

    def test_but_one_that_never_was_ours_is_not_spoken_of(self, world: World) -> None:
        push(world)
        stack = world.stack_of(SMOKE)
        assert stack
        labels = {tags.CONTROLLER: STRANGER, tags.ENVIRONMENT: "other"}
        world.account.stacks["another"] = type(stack)("another", "mayfly-other", labels, world.timeline.now)
        world.timeline.advance(10 * MINUTE)
        assert not [each for each in world.reports[-1]["decisions"] if each["environment"] == "other"]


class TestASweep:
    def test_that_hears_no_reply_goes_on_with_the_others(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        push(world)
        for execution in list(world.machines.executions.values()):
            world.machines.stop(execution)
        call, lost = world.call, list[Json]()

        def deaf(session: str, service: str, operation: str, params: Json) -> Json:
            reply = call(session, service, operation, params)
            if operation == "start_execution" and not lost:
                lost.append(params)
                raise ReadTimeoutError(endpoint_url=service)
            return reply

        monkeypatch.setattr(world, "call", deaf)
        with world.installed(monkeypatch):
            world.timeline.advance(20 * MINUTE)  # past the time in which lists may lag
        assert lost
        assert len(world.machines.running(ENVIRONMENT_MACHINE)) == 2


@pytest.mark.parametrize("block", Block)
def test_every_call_is_one_that_aws_would_understand(
    world: World, monkeypatch: pytest.MonkeyPatch, block: Block
) -> None:
    """The world's services take what the functions say; botocore's models say whether AWS would."""
    session, call, models = Session(), world.call, dict[str, Any]()

    def checked(caller: str, service: str, operation: str, params: Json) -> Json:
        model = (
            models.setdefault(service, session.get_service_model(service)) if service not in models else models[service]
        )
        names = {name.lower(): name for name in model.operation_names}
        shape = model.operation_model(names[operation.replace("_", "")]).input_shape
        validate_parameters(params, shape)
        return call(caller, service, operation, params)

    monkeypatch.setattr(world, "call", checked)
    world.cloudformation.next_block, world.cloudformation.next_fails = block, 2
    world.cloudformation.next_leaves = ("volume", "key-pair", "launch-template", "log-group", "parameter")
    with world.installed(monkeypatch):
        push(world)
        finish(world)
        world.timeline.advance(LONG)
    assert not world.violations
    assert not world.machines.broken
    assert world.record(SMOKE)["stage"] == ("terminating" if block is Block.ENDLESS else "terminated")


def test_what_is_left_without_a_stack_is_found_and_ended(world: World, promises: Promises) -> None:
    labels = {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: "webshop-0-0-9-00000000-smoke"}
    left = [world.account.add(kind, labels) for kind in ("instance", "volume", "log-group")]
    world.timeline.advance(30 * MINUTE)
    assert not [one.id for one in left if one.there]
    assert not promises.open()


class TestALaterVersion:
    """Mayfly is deployed anew, or taken back, while a life goes on."""

    def test_that_planned_more_than_this_one_knows_ends_no_life(
        self, world: World, promises: Promises, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        invoke = world.invoke

        def planned_later(name: str, event: Json) -> Json:
            answer: Json = invoke(name, event)
            for order in answer.get("orders", []) if name == "plan_release" else []:
                order |= {"said_later": 1, "blueprint": order["blueprint"] | {"said_later": {}}}
            return answer

        monkeypatch.setattr(world, "invoke", planned_later)
        push(world)
        assert world.record(SMOKE)["stage"] == "awaiting tests"
        assert "said_later" in world.machines.executions[ENVIRONMENT_MACHINE, SMOKE].input
        finish(world)
        world.timeline.advance(20 * MINUTE)
        assert world.record(SMOKE)["stage"] == "terminated"
        assert world.record(SMOKE)["ending"]["outcome"] == "passed"
