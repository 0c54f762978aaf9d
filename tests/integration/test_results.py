"""A test result comes: before its environment waits for it, while it waits, afterwards, twice, and for nobody."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.world import (
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NEXT_TOKEN,
    RELEASE,
    TOKEN,
    Json,
    World,
    deletion,
    on_the_bus,
    on_the_topic,
)

DOOR = "accept_test_result"
BY_ENVIRONMENT = {"environment": ENVIRONMENT}
BY_SUITE = {"release": RELEASE, "suite": "smoke"}
RESUMED = {"accepted": True, "environment": ENVIRONMENT, "recorded": True, "resumed": True}
NOT_RESUMED = RESUMED | {"resumed": False}
TOO_LATE = RESUMED | {"recorded": False, "resumed": False}


def finished(outcome: str = "passed", **more: Any) -> Json:
    return on_the_bus("Test Finished", {"environment": ENVIRONMENT, "outcome": outcome} | more)


def announced(detail: Json) -> Json:
    return on_the_topic("mayfly-test-results", json.dumps(detail))


def told_once(world: World) -> bool:
    return world.settled == [{"told": "Success", "taskToken": TOKEN, "output": "{}"}]


class TestWhileTheEnvironmentWaits:
    @pytest.mark.parametrize("named", [BY_ENVIRONMENT, BY_SUITE], ids=["environment", "release and suite"])
    @pytest.mark.parametrize(
        "way", [lambda detail: on_the_bus("Test Finished", detail), announced], ids=["bus", "topic"]
    )
    def test_a_result_resumes_it(self, world: World, way: Any, named: Json) -> None:
        world.ready()
        assert world.call(DOOR, way(named | {"outcome": "passed"})) == RESUMED
        assert told_once(world)

    def test_a_result_is_its_ending(self, world: World) -> None:
        world.ready()
        world.call(DOOR, finished("failed", reason="too slow", report="https://ci.example.com/4711"))
        assert world.record()["ending"] == {
            "by": "tests",
            "outcome": "failed",
            "reason": "the tests failed: too slow",
            "report": "https://ci.example.com/4711",
            "at": "2026-11-24T06:47:33.000Z",
        }

    def test_the_history_says_who_finished_them(self, world: World) -> None:
        world.ready()
        world.call(DOOR, finished(finished_by="tester@example.com"))
        assert world.record()["history"][-1] == {
            "at": "2026-11-24T06:47:33.000Z",
            "who": "tester@example.com",
            "what": "Test Finished",
            "why": "the tests passed",
        }

    def test_a_result_is_recorded_before_anybody_is_resumed(self, world: World) -> None:
        """So that the execution finds it, however fast it goes on."""
        world.ready()
        world.wire.forget()
        world.call(DOOR, finished())
        assert world.wire.names() == ["UpdateItem", "SendTaskSuccess"]


class TestBeforeTheEnvironmentWaits:
    def test_a_result_is_kept_for_it(self, world: World) -> None:
        world.created()
        assert world.call(DOOR, finished()) == NOT_RESUMED
        assert world.record()["ending"]["outcome"] == "passed"

    def test_a_result_does_not_end_another_wait(self, world: World) -> None:
        world.created()
        world.call(DOOR, finished())
        assert world.settled == []
        assert world.record()["waiting"] == {"for": "creation", "token": TOKEN}


class TestAfterTheEnvironmentWaited:
    def test_a_result_after_the_deadline_changes_nothing(self, world: World) -> None:
        world.ready()
        world.call("delete_environment", deletion("deadline", token=NEXT_TOKEN))
        ending = world.record()["ending"]
        assert world.call(DOOR, finished()) == TOO_LATE
        assert world.record()["ending"] == ending
        assert world.record()["history"][-1]["why"] == "ignored: the tests passed; it was ended already by deadline"

    def test_a_result_after_the_end_changes_nothing(self, world: World) -> None:
        world.ready()
        stack = world.record()["stack"]
        world.call(DOOR, finished("failed"))
        world.call("delete_environment", deletion())
        order = deletion()["order"]
        world.call("confirm_gone", {"order": order, "stack": stack, "now": LATER})
        assert world.call(DOOR, finished("passed")) == TOO_LATE
        record = world.record()
        assert (record["stage"], record["ending"]["outcome"]) == ("terminated", "failed")


class TestASecondResult:
    @pytest.mark.parametrize("outcome", ["passed", "failed"], ids=["the same", "a contradiction"])
    def test_does_not_replace_the_first(self, world: World, outcome: str) -> None:
        world.ready()
        world.call(DOOR, finished("passed", reason="first"))
        world.call(DOOR, finished(outcome, reason="second"))
        assert world.record()["ending"]["reason"] == "the tests passed: first"

    def test_is_noted(self, world: World) -> None:
        world.ready()
        world.call(DOOR, finished("passed"))
        world.call(DOOR, finished("failed"))
        assert [entry["why"] for entry in world.record()["history"][-2:]] == [
            "the tests passed",
            "ignored: the tests failed; it was ended already by tests",
        ]

    def test_finds_nobody_waiting(self, world: World) -> None:
        world.ready()
        world.call(DOOR, finished())
        world.wire.answer("SendTaskSuccess", error="TaskTimedOut")
        assert world.call(DOOR, finished()) == TOO_LATE

    def test_mends_a_death_between_the_record_and_the_resumption(self, world: World) -> None:
        world.ready()
        world.wire.answer("SendTaskSuccess", error="ThrottlingException")
        with pytest.raises(ClientError, match="ThrottlingException"):
            world.call(DOOR, finished())
        world.wire.forget()
        world.wire.answer("SendTaskSuccess")
        assert world.call(DOOR, finished()) == RESUMED | {"recorded": False}
        assert told_once(world)

    def test_many_do_not_fill_the_record(self, world: World) -> None:
        world.ready()
        world.change(history=[{"at": DEADLINE, "who": "ci", "what": "noise", "why": "-"}] * 100)
        world.call(DOOR, finished())
        assert len(world.record()["history"]) == 101  # what changes something is always written
        world.call(DOOR, finished())
        assert len(world.record()["history"]) == 101


WRONG: dict[str, tuple[Json, str]] = {
    "an unknown outcome": (finished("maybe"), "outcome: Input should be 'passed' or 'failed', but it is 'maybe'"),
    "an unknown field": (finished(verdict="ok"), "verdict: Extra inputs are not permitted"),
    "nobody named": (on_the_bus("Test Finished", {"outcome": "passed"}), "either environment, or release and suite"),
    "no JSON": (on_the_topic("mayfly-test-results", "all green"), "Invalid JSON"),
    "an unknown environment": (
        finished(environment="webshop-9-smoke"),
        "environment: expected one that Mayfly built, but it is 'webshop-9-smoke'",
    ),
}


@pytest.mark.parametrize(("event", "expected"), WRONG.values(), ids=WRONG)
class TestWhatCannotBeFollowed:
    def test_lands_whole_among_the_dead_letters_with_the_reason(self, world: World, event: Json, expected: str) -> None:
        answer = world.call(DOOR, event)
        assert not answer["accepted"]
        assert expected in answer["reason"]
        assert world.dead_letters() == [{"door": DOOR, "reason": answer["reason"], "message": event}]

    def test_leaves_no_record_behind(self, world: World, event: Json, expected: str) -> None:
        world.call(DOOR, event)
        assert world.own("dynamodb").scan(TableName=world.table)["Items"] == []
