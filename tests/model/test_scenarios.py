"""Histories that once went wrong, in their shortest form, and the faithfulness of the world they happen in."""

import json
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.session import Session
from botocore.validate import validate_parameters

from mayfly.domain import tags
from tests.model.promises import Promises
from tests.model.workload import Block, Creation, Resource
from tests.model.world import CONTROLLER, ENVIRONMENT_MACHINE, RELEASE_MACHINE, STRANGER, World

type Json = dict[str, Any]

RELEASE = "webshop-1-0-0-a7fd7e60"
SMOKE, LOOK = f"{RELEASE}-smoke", f"{RELEASE}-look"
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


def finish(world: World, environment: str = SMOKE) -> None:
    heard = world.events.token(environment)
    detail = {"environment": environment, "outcome": "passed"} | ({"token": heard} if heard else {})
    world.deliver("accept_test_result", world.on_the_bus("Test Finished", detail))


def said(world: World) -> dict[str, list[str]]:
    """What was announced of each environment and release, in order."""
    found: dict[str, list[str]] = {}
    for what, detail in world.events.said:
        if about := detail.get("environment") or detail.get("release"):
            found.setdefault(about, []).append(what)
    return found


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
        world.dynamodb.restore({})
        finish(world)
        world.timeline.advance(26 * MINUTE)  # to the midst of the deletion
        assert world.record(SMOKE)["stage"] == "terminating"
        for execution in world.machines.running(ENVIRONMENT_MACHINE):
            world.machines.stop(execution)
        world.timeline.advance(30 * MINUTE)
        assert not promises.open()

    def test_ends_a_life_that_nobody_could_report_on_any_more(self, world: World) -> None:
        push(world, minutes=0)
        world.timeline.advance(127)  # to the moment between the stack's event and what it resumes
        world.dynamodb.items.clear()
        world.timeline.advance(MINUTE)
        asked = {"environment": SMOKE, "minutes": 10, "why": "looking", "requested_by": "dev"}
        answer = world.deliver("accept_extension", world.on_the_bus("Environment Extension Requested", asked))
        assert (answer["accepted"], answer["reason"]) == (
            False,
            "it was ended by tests: its tests are over, and their result is not in its record",
        )

    def test_keeps_no_life_that_waits_for_a_write_from_ending_at_its_deadline(
        self, world: World, promises: Promises
    ) -> None:
        push(world)
        asked = {"environment": LOOK, "minutes": 31, "why": "looking", "requested_by": "dev"}
        world.deliver("accept_extension", world.on_the_bus("Environment Extension Requested", asked))
        world.lose_table()
        for _ in range(30):
            world.timeline.advance(10 * MINUTE)
            promises.kept()
        assert not any(stack.there for stack in world.account.stacks.values())


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
        world.next.creation = Creation.NEVER
        push(world, minutes=60)
        assert world.record(SMOKE)["stage"] == "terminated"
        world.timeline.advance(LONG)
        assert not promises.open()

    def test_is_ended_however_many_hang_at_once(self, world: World, promises: Promises) -> None:
        """A sweep ends all stacks past their recorded deadlines: its caps count only what it decides from tags."""
        world.next.creation = Creation.NEVER
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


class TestWhatIsSaid:
    """A fact stands in its record before it is said; an open record says that it may not have been."""

    def test_of_a_release_whose_execution_is_gone_before_its_verdict_is_announced_is_made_up_for(
        self, world: World
    ) -> None:
        push(world)
        world.faults.down["events"] = world.timeline.now + 30 * MINUTE
        for environment in world.environments():
            finish(world, environment)
        world.timeline.advance(20 * MINUTE)
        for execution in list(world.machines.executions.values()):
            world.machines.stop(execution)
        world.timeline.advance(40 * MINUTE)
        assert said(world) == {
            SMOKE: ["Environment Requested", "Environment Ready", "Environment Terminated"],
            LOOK: ["Environment Requested", "Environment Ready", "Environment Terminated"],
            RELEASE: ["Release Started", "Release Passed"],
        }
        assert "live" not in world.record(RELEASE, "release")

    def test_of_a_release_whose_execution_was_stopped_is_said_once_its_adopted_tests_have_ended(
        self, world: World
    ) -> None:
        push(world)
        world.machines.stop(world.machines.executions[RELEASE_MACHINE, RELEASE])
        world.timeline.advance(25 * MINUTE)
        assert said(world)[RELEASE] == ["Release Started"], "its tests go on"
        for environment in world.environments():
            finish(world, environment)
        world.timeline.advance(20 * MINUTE)
        assert said(world)[RELEASE] == ["Release Started", "Release Passed"]

    def test_is_said_after_any_outage_of_the_bus_once_and_in_order(self, world: World) -> None:
        push(world)
        world.faults.down["events"] = world.timeline.now + 24 * 60 * MINUTE
        for environment in world.environments():
            finish(world, environment)
        world.timeline.advance(26 * 60 * MINUTE)
        assert said(world)[RELEASE] == ["Release Started", "Release Passed"]
        for environment in world.environments():
            assert said(world)[environment] == ["Environment Requested", "Environment Ready", "Environment Terminated"]

    def test_of_a_deadline_that_comes_near_is_said_when_the_bus_is_back(self, world: World) -> None:
        push(world)
        world.faults.down["events"] = world.timeline.now + 14 * MINUTE
        world.timeline.advance(14 * MINUTE)
        assert "warned" not in world.record(SMOKE)
        world.timeline.advance(3 * MINUTE)
        assert said(world)[SMOKE][2:] == ["Environment Expiring"]
        assert world.record(SMOKE)["warned"] == [15]

    def test_holds_no_token_of_a_report_in_clear(self, world: World) -> None:
        push(world)
        token = world.events.token(SMOKE)
        assert token
        assert not any(token in json.dumps(item) for item in world.dynamodb.items.values())


class TestALostEvent:
    def test_of_a_deletion_is_made_up_for_by_a_look_and_nobody_is_alarmed(self, world: World) -> None:
        push(world)
        world.faults.events.append("lost")
        finish(world)
        world.timeline.advance(30 * MINUTE)
        assert world.record(SMOKE)["stage"] == "terminated"
        assert not world.events.about("Environment Failed", SMOKE)


class TestWhatIsLeftInAnotherAccount:
    def test_is_deleted_though_the_stack_that_its_record_names_is_not_found_there(self, world: World) -> None:
        push(world)
        finish(world)
        world.timeline.advance(20 * MINUTE)
        labels = {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: SMOKE}
        left = world.account.accounts[1].add("volume", labels)
        world.timeline.advance(30 * MINUTE)
        assert not left.there
        assert not world.events.about("Environment Failed", SMOKE)

    def test_ends_no_environment_that_bears_its_name_elsewhere_and_goes_with_it(
        self, world: World, promises: Promises
    ) -> None:
        push(world)
        labels = {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: SMOKE}
        left = world.account.accounts[1].add("volume", labels)
        world.machines.stop(world.machines.executions[ENVIRONMENT_MACHINE, SMOKE])
        world.timeline.advance(20 * MINUTE)
        promises.kept()
        assert (world.record(SMOKE).get("ending"), left.there) == (None, True)
        finish(world)
        world.timeline.advance(30 * MINUTE)
        assert (world.record(SMOKE)["ending"]["outcome"], left.there) == ("passed", False)


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


class TestAStackWithSomethingProtectedInIt:
    """Here another stack that somebody protected, and gave this one's tag."""

    @pytest.fixture(autouse=True)
    def _protected(self, world: World, promises: Promises) -> None:
        push(world)
        other = world.stack_of(LOOK)
        assert other
        other.labels |= {tags.ENVIRONMENT: SMOKE, tags.PROTECTED: "true"}

    def test_is_handed_over_once(self, world: World, promises: Promises) -> None:
        finish(world)
        world.timeline.advance(LONG)
        promises.kept()
        assert not promises.open()
        assert said(world)[SMOKE] == ["Environment Requested", "Environment Ready", "Environment Failed"]
        assert [name for _, name in world.machines.executions if name.startswith(SMOKE)] == [SMOKE]

    def test_is_handed_over_once_when_the_table_that_was_lost_is_back(self, world: World, promises: Promises) -> None:
        world.lose_table()
        finish(world)
        world.timeline.advance(LONG)
        world.dynamodb.lost = False
        world.timeline.advance(30 * MINUTE)
        before = len(said(world)[SMOKE])
        world.timeline.advance(LONG)
        promises.kept()
        assert not promises.open()
        assert len(said(world)[SMOKE]) == before


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
    world.next.block, world.next.fails = block, 2
    world.next.leaves = ("volume", "key-pair", "launch-template", "log-group", "parameter")
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

    @pytest.mark.parametrize("minutes", [0, 1, 3, 5, 10])
    def test_ends_what_the_machines_of_the_version_before_began(
        self, world: World, promises: Promises, minutes: int
    ) -> None:
        world.deploy("before")
        push(world, minutes)
        world.deploy("this")
        world.timeline.advance(5 * MINUTE)
        for environment in world.environments():
            finish(world, environment)
        world.timeline.advance(40 * MINUTE)
        assert not promises.open()
        assert said(world)[SMOKE] == ["Environment Requested", "Environment Ready", "Environment Terminated"]
        assert said(world)[RELEASE][-1] == "Release Passed"

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


class TestARepetition:
    """Of a suite whose policy (`retries`) has it."""

    AGAIN = f"{SMOKE}-2"

    @pytest.fixture(autouse=True)
    def _it_is_wanted(self, world: World) -> None:
        parameter = "/mayfly/applications/webshop"
        suites = [{"name": "smoke", "retries": 1}]
        world.ssm.parameters[parameter] = json.dumps(json.loads(world.ssm.parameters[parameter]) | {"suites": suites})

    def said(self, world: World, environment: str, outcome: str) -> None:
        detail = {"environment": environment, "outcome": outcome}
        detail |= {"token": world.events.token(environment)} if outcome == "passed" else {}
        world.deliver("accept_test_result", world.on_the_bus("Test Finished", detail))
        world.timeline.advance(10 * MINUTE)

    def verdict(self, world: World) -> Json:
        return dict(world.record(SMOKE.removesuffix("-smoke"), "release").get("verdict", {}))

    def test_is_of_what_failed_and_comes_when_that_is_gone(self, world: World) -> None:
        push(world)
        self.said(world, SMOKE, "failed")
        assert world.record(SMOKE)["stage"] == "terminated"
        assert world.record(self.AGAIN)["stage"] == "awaiting tests"
        assert not self.verdict(world)
        self.said(world, self.AGAIN, "passed")
        [suite] = self.verdict(world)["suites"]
        assert (suite["environment"], suite["outcome"], suite["attempts"]) == (self.AGAIN, "passed", 2)

    def test_comes_as_often_as_it_may(self, world: World) -> None:
        push(world)
        self.said(world, SMOKE, "failed")
        self.said(world, self.AGAIN, "failed")
        [suite] = self.verdict(world)["suites"]
        assert (suite["outcome"], suite["attempts"]) == ("failed", 2)

    def test_is_of_what_broke(self, world: World) -> None:
        world.next.creation = Creation.FAILS
        push(world, 20)
        assert world.record(SMOKE)["ending"]["outcome"] == "broken"
        assert world.record(self.AGAIN)["stage"] in ("creating", "awaiting tests", "terminated")

    def test_is_none_of_what_passed_or_was_ended_by_hand(self, world: World) -> None:
        push(world)
        detail = {"environment": SMOKE, "why": "seen enough", "requested_by": "ops"}
        world.deliver("accept_termination", world.on_the_bus("Environment Termination Requested", detail))
        world.timeline.advance(10 * MINUTE)
        assert not world.record(self.AGAIN)
        assert self.verdict(world)["suites"][0]["outcome"] == "cancelled"

    def test_is_none_of_what_nobody_reported_on(self, world: World) -> None:
        push(world)
        world.timeline.advance(40 * MINUTE)
        assert not world.record(self.AGAIN)
        assert self.verdict(world)["suites"][0]["outcome"] == "expired"
