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
    NOW,
    RELEASE,
    REPORT_TOKEN,
    TOKEN,
    Json,
    World,
    an_order,
    deletion,
    finished,
    on_the_bus,
    on_the_topic,
)

HANDLER = "accept_test_result"
BY_ENVIRONMENT = {"environment": ENVIRONMENT}
BY_SUITE = {"release": RELEASE, "suite": "smoke"}
RESUMED = {"accepted": True, "environment": ENVIRONMENT, "recorded": True, "resumed": True}
NOT_RESUMED = RESUMED | {"resumed": False}
TOO_LATE = RESUMED | {"recorded": False, "resumed": False}


def announced(detail: Json) -> Json:
    return on_the_topic("mayfly_webshop_test-results", json.dumps(detail))


def told_once(world: World) -> bool:
    return world.settled == [{"told": "Success", "taskToken": TOKEN, "output": "{}"}]


def ready(stack: str, token: str) -> Json:
    """What the machine hands to confirm_ready."""
    return {"order": an_order(), "stack": stack, "deadline": DEADLINE, "token": token, "now": NOW}


class TestWhileTheEnvironmentWaits:
    @pytest.mark.parametrize("named", [BY_ENVIRONMENT, BY_SUITE], ids=["environment", "release and suite"])
    @pytest.mark.parametrize(
        "way", [lambda detail: on_the_bus("Test Finished", detail), announced], ids=["bus", "topic"]
    )
    def test_a_result_resumes_it(self, world: World, way: Any, named: Json) -> None:
        world.ready()
        assert world.call(HANDLER, way(named | {"outcome": "passed", "token": REPORT_TOKEN})) == RESUMED
        assert told_once(world)

    def test_a_result_is_its_ending(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, finished("failed", reason="too slow", report="https://ci.example.com/4711"))
        assert world.record()["ending"] == {
            "by": "tests",
            "outcome": "failed",
            "reason": "the tests failed: too slow",
            "report": "https://ci.example.com/4711",
            "at": "2026-11-24T06:47:33.000Z",
        }

    def test_the_history_says_who_finished_them(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, finished(finished_by="tester@example.com"))
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
        world.call(HANDLER, finished())
        assert world.wire.names() == ["GetItem", "UpdateItem", "SendTaskSuccess"]


class TestBeforeTheEnvironmentWaits:
    def test_a_failure_is_kept_for_it(self, world: World) -> None:
        world.created()
        assert world.call(HANDLER, finished("failed")) == NOT_RESUMED
        assert world.record()["ending"]["outcome"] == "failed"

    def test_nothing_has_passed_yet(self, world: World) -> None:
        world.created()
        assert "after Environment Ready only" in world.call(HANDLER, finished())["reason"]
        assert "ending" not in world.record()
        assert world.dead_letters()[0]["message"]["detail"]["outcome"] == "passed"

    def test_a_result_does_not_end_another_wait(self, world: World) -> None:
        world.created()
        world.call(HANDLER, finished())
        assert world.settled == []
        assert world.record()["waiting"] == {"for": "creation", "token": TOKEN}


class TestWhoseItIs:
    def test_another_application_s_ci_server_ends_nothing(self, world: World) -> None:
        world.ready()
        for outcome in ("passed", "failed"):
            said = world.call(HANDLER, finished(outcome) | {"source": "mayfly.app.billing"})
            assert said["reason"] == "source: expected mayfly.app.webshop, but it is mayfly.app.billing"
        assert "ending" not in world.record()

    def test_an_application_of_that_name_has_no_environment_whose_record_was_lost(self, world: World) -> None:
        world.ready()
        world.records().change(ENVIRONMENT, {}, drop=("application",))
        said = world.call(HANDLER, finished("failed") | {"source": "mayfly.app.unknown"})
        assert said["reason"] == "source: expected mayfly.api or mayfly.operator, but it is mayfly.app.unknown"
        assert "ending" not in world.record()

    def test_another_environment_s_token_passes_nothing(self, world: World) -> None:
        world.ready()
        assert "it is another one" in world.call(HANDLER, finished(token="x" * 43))["reason"]
        assert "ending" not in world.record()

    def test_the_token_that_was_announced_passes_its_environment(self, world: World) -> None:
        stack = world.created()
        token = "t" * 43
        world.call("confirm_ready", ready(stack, token))
        assert token not in json.dumps(world.record())
        assert world.call(HANDLER, finished(token=token))["recorded"]

    @pytest.mark.parametrize("source", ["mayfly.app.webshop", "mayfly.api", "mayfly.operator"])
    def test_nobody_passes_an_automated_suite_without_it(self, world: World, source: str) -> None:
        world.ready()
        said = world.call(HANDLER, finished(token=None) | {"source": source})
        assert said["reason"] == (
            f"token: expected the one that Environment Ready announced of '{ENVIRONMENT}', but there is none"
        )
        assert world.call(HANDLER, finished("failed") | {"source": source})["recorded"]

    def test_what_was_ready_before_an_upgrade_passes_as_it_did_then(self, world: World) -> None:
        """The version before announced no token. Of this one, whatever is ready has one: both are one write."""
        world.ready()
        world.records().change(ENVIRONMENT, {}, drop=("report_token",))
        assert world.call(HANDLER, finished(token=None))["recorded"]

    def test_a_token_passes_once(self, world: World) -> None:
        world.ready()
        assert world.call(HANDLER, finished())["recorded"]
        assert not world.call(HANDLER, finished())["recorded"]

    def test_a_token_passes_also_after_a_repetition_of_its_announcement(self, world: World) -> None:
        stack = world.created()
        for _ in range(2):
            world.call("confirm_ready", ready(stack, "t" * 43))
        assert world.call(HANDLER, finished(token="t" * 43))["recorded"]

    def test_a_program_passes_no_manual_suite(self, world: World) -> None:
        world.ready()
        world.change(kind="manual")
        said = world.call(HANDLER, finished() | {"source": "mayfly.app.webshop"})
        assert "a person" in said["reason"]
        assert world.call(HANDLER, finished(token=None) | {"source": "mayfly.api"})["recorded"]

    @pytest.mark.parametrize("outcome", ["passed", "failed"])
    def test_nobody_but_its_checks_decides_a_proof(self, world: World, outcome: str) -> None:
        world.ready()
        world.change(application="image-proof")
        assert "its checks decide" in world.call(HANDLER, finished(outcome) | {"source": "mayfly.api"})["reason"]
        assert "ending" not in world.record()


class TestAfterTheEnvironmentWaited:
    def test_a_result_after_the_deadline_changes_nothing(self, world: World) -> None:
        world.ready()
        world.call("delete_environment", deletion("deadline", token=NEXT_TOKEN))
        ending = world.record()["ending"]
        assert world.call(HANDLER, finished()) == TOO_LATE
        assert world.record()["ending"] == ending
        assert world.record()["history"][-1]["why"] == "ignored: the tests passed; it was ended already by deadline"

    def test_a_result_after_the_end_changes_nothing(self, world: World) -> None:
        world.ready()
        stack = world.record()["stack"]
        world.call(HANDLER, finished("failed"))
        world.call("delete_environment", deletion())
        order = deletion()["order"]
        world.call("confirm_gone", {"order": order, "stack": stack, "now": LATER})
        assert world.call(HANDLER, finished("passed")) == TOO_LATE
        record = world.record()
        assert (record["stage"], record["ending"]["outcome"]) == ("terminated", "failed")


class TestASecondResult:
    @pytest.mark.parametrize("outcome", ["passed", "failed"], ids=["the same", "a contradiction"])
    def test_does_not_replace_the_first(self, world: World, outcome: str) -> None:
        world.ready()
        world.call(HANDLER, finished("passed", reason="first"))
        world.call(HANDLER, finished(outcome, reason="second"))
        assert world.record()["ending"]["reason"] == "the tests passed: first"

    def test_is_noted(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, finished("passed"))
        world.call(HANDLER, finished("failed"))
        assert [entry["why"] for entry in world.record()["history"][-2:]] == [
            "the tests passed",
            "ignored: the tests failed; it was ended already by tests",
        ]

    def test_finds_nobody_waiting(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, finished())
        world.wire.answer("SendTaskSuccess", error="TaskTimedOut")
        assert world.call(HANDLER, finished()) == TOO_LATE

    def test_mends_a_death_between_the_record_and_the_resumption(self, world: World) -> None:
        world.ready()
        world.wire.answer("SendTaskSuccess", error="ThrottlingException")
        with pytest.raises(ClientError, match="ThrottlingException"):
            world.call(HANDLER, finished())
        world.wire.forget()
        world.wire.answer("SendTaskSuccess")
        assert world.call(HANDLER, finished()) == RESUMED | {"recorded": False}
        assert told_once(world)

    def test_many_do_not_fill_the_record(self, world: World) -> None:
        world.ready()
        world.change(history=[{"at": DEADLINE, "who": "ci", "what": "noise", "why": "-"}] * 100)
        world.call(HANDLER, finished())
        assert len(world.record()["history"]) == 101  # what changes something is always written
        world.call(HANDLER, finished())
        assert len(world.record()["history"]) == 101


WRONG: dict[str, tuple[Json, str]] = {
    "an unknown outcome": (finished("maybe"), "outcome: Input should be 'passed' or 'failed', but it is 'maybe'"),
    "an unknown field": (finished(verdict="ok"), "verdict: Extra inputs are not permitted"),
    "nobody named": (on_the_bus("Test Finished", {"outcome": "passed"}), "either environment, or release and suite"),
    "no JSON": (on_the_topic("mayfly_webshop_test-results", "all green"), "Invalid JSON"),
    "an unknown environment": (
        finished(environment="webshop-9-smoke"),
        "environment: expected one that Mayfly built, but it is 'webshop-9-smoke'",
    ),
}


@pytest.mark.parametrize(("event", "expected"), WRONG.values(), ids=WRONG)
class TestWhatCannotBeFollowed:
    def test_lands_whole_among_the_dead_letters_with_the_reason(self, world: World, event: Json, expected: str) -> None:
        answer = world.call(HANDLER, event)
        assert not answer["accepted"]
        assert expected in answer["reason"]
        assert world.dead_letters() == [{"function": HANDLER, "reason": answer["reason"], "message": event}]

    def test_leaves_no_record_behind(self, world: World, event: Json, expected: str) -> None:
        world.call(HANDLER, event)
        assert world.own("dynamodb").scan(TableName=world.table)["Items"] == []
