"""Somebody wants an environment ended now: whatever it waits for, once, and unless it has ended already."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from mayfly.aws import stacks
from tests.integration.world import (
    ENVIRONMENT,
    LATER,
    NEXT_TOKEN,
    TOKEN,
    Json,
    World,
    an_order,
    creation,
    deletion,
    finished,
    function,
    on_the_bus,
)

HANDLER = "accept_termination"
ENDING = {
    "by": "request",
    "outcome": "cancelled",
    "reason": "dev: seen enough",
    "at": "2026-11-24T06:47:33.000Z",
}


def asked(**more: Any) -> Json:
    detail = {"environment": ENVIRONMENT, "why": "seen enough", "requested_by": "dev"}
    return on_the_bus("Environment Termination Requested", detail | more)


def answered(recorded: bool, resumed: bool) -> Json:
    return {"accepted": True, "environment": ENVIRONMENT, "recorded": recorded, "resumed": resumed}


class TestWhileItIsTested:
    def test_its_wait_ends(self, world: World) -> None:
        world.ready()
        assert world.call(HANDLER, asked()) == answered(True, True)
        assert world.settled == [{"told": "Success", "taskToken": TOKEN, "output": "{}"}]

    def test_the_request_is_its_ending(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked())
        assert world.record()["ending"] == ENDING
        entry = world.record()["history"][-1]
        assert (entry["who"], entry["what"], entry["why"]) == (
            "dev",
            "Environment Termination Requested",
            "seen enough",
        )

    def test_and_the_stack_goes_with_that_ending(self, world: World) -> None:
        stack = world.ready()
        world.call(HANDLER, asked())
        world.call("delete_environment", deletion())
        answer = world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER})
        assert answer["ending"] == ENDING

    def test_it_is_recorded_before_anybody_is_resumed(self, world: World) -> None:
        world.ready()
        world.wire.forget()
        world.call(HANDLER, asked())
        assert world.wire.names() == ["GetItem", "UpdateItem", "SendTaskSuccess"]


class TestWhileItIsBuilt:
    def test_it_need_not_be_built_to_its_end(self, world: World) -> None:
        world.created()
        assert world.call(HANDLER, asked()) == answered(True, True)
        assert world.settled == [
            {"told": "Failure", "taskToken": TOKEN, "error": "EndedBefore", "cause": "dev: seen enough"}
        ]

    def test_while_cloudformation_is_asked_it_goes_on_until_the_stack_is_known(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.planned()
        create = stacks.create

        def slow(*asked_for: Any) -> str | None:
            assert world.call(HANDLER, asked()) == answered(True, False)
            assert world.settled == [], "nothing of the stack is to be seen yet"
            return create(*asked_for)

        monkeypatch.setattr(stacks, "create", slow)
        made = world.call("create_environment", creation())["stack"]
        assert world.record()["stack"] == made
        assert [(told["error"], told["cause"]) for told in world.settled] == [("EndedBefore", "dev: seen enough")]

    def test_and_whatever_is_caught_of_that_the_request_is_its_ending(self, world: World) -> None:
        world.created()
        world.call(HANDLER, asked())
        failure = {"by": "failure", "error": {"Error": "EndedBefore", "Cause": "dev: seen enough"}}
        world.call("delete_environment", deletion(ended=failure, token=NEXT_TOKEN))
        assert world.record()["ending"] == ENDING
        assert world.stack() is None

    def test_before_its_stack_was_asked_for_it_never_is(self, world: World) -> None:
        world.planned()
        assert world.call(HANDLER, asked()) == answered(True, False)
        with pytest.raises(function("create_environment").EndedBefore):
            world.call("create_environment", creation())
        assert world.stack() is None

    def test_also_where_a_result_came_before_anything_was_tested(self, world: World) -> None:
        """The result stays its ending; the request saves the rest of the building."""
        world.created()
        world.call("accept_test_result", on_the_bus("Test Finished", {"environment": ENVIRONMENT, "outcome": "failed"}))
        assert world.call(HANDLER, asked()) == answered(False, True)
        assert world.record()["ending"]["by"] == "tests"


class TestWhenItEndsAlready:
    def test_while_it_is_deleted_nobody_is_disturbed(self, world: World) -> None:
        world.ready()
        world.call("delete_environment", deletion("deadline", token=NEXT_TOKEN))
        ending = world.record()["ending"]
        world.wire.forget()
        assert world.call(HANDLER, asked()) == answered(False, False)
        assert world.settled == []
        record = world.record()
        assert (record["ending"], record["waiting"]) == (ending, {"for": "deletion", "token": NEXT_TOKEN})
        assert record["history"][-1]["why"] == "ignored: seen enough; it was ended already by deadline"

    def test_after_a_result_that_result_stands(self, world: World) -> None:
        world.ready()
        world.call("accept_test_result", finished())
        assert not world.call(HANDLER, asked())["recorded"]
        assert (world.record()["ending"]["by"], world.record()["ending"]["outcome"]) == ("tests", "passed")

    def test_a_result_after_the_request_changes_nothing(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked())
        world.call("accept_test_result", finished())
        assert world.record()["ending"] == ENDING

    def test_twice_the_first_stands_and_the_second_is_noted(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked())
        assert world.call(HANDLER, asked(why="really", requested_by="other"))["recorded"] is False
        record = world.record()
        assert record["ending"] == ENDING
        assert record["history"][-1]["why"] == "ignored: really; it was ended already by request"

    def test_twice_mends_a_death_between_the_record_and_the_resumption(self, world: World) -> None:
        world.ready()
        world.wire.answer("SendTaskSuccess", error="ThrottlingException")
        with pytest.raises(ClientError):
            world.call(HANDLER, asked())
        world.wire.reset()
        assert world.call(HANDLER, asked()) == answered(False, True)

    def test_after_all_is_gone_nothing_happens(self, world: World) -> None:
        stack = world.ready()
        world.call("delete_environment", deletion())
        world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER})
        world.wire.forget()
        assert world.call(HANDLER, asked()) == answered(False, False)
        assert world.record()["stage"] == "terminated"


WRONG: dict[str, tuple[Json, str]] = {
    "no reason": (asked(why=""), "why: String should have at least 1 character"),
    "nobody": (asked(requested_by=None), "requested_by: "),
    "all of them": (asked(environment="*"), "environment: String should match pattern"),
    "an unknown field": (asked(force=True), "force: Extra inputs are not permitted"),
    "no detail": (
        on_the_bus("Environment Termination Requested", []),
        "detail: Expected `object`, got `array`, but it is []",
    ),
    "an unknown environment": (
        asked(environment="webshop-9-smoke"),
        "environment: expected one that Mayfly built, but it is 'webshop-9-smoke'",
    ),
}


@pytest.mark.parametrize(("event", "expected"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_followed_lands_among_the_dead_letters(world: World, event: Json, expected: str) -> None:
    world.ready()
    before = world.record()
    answer = world.call(HANDLER, event)
    assert not answer["accepted"]
    assert expected in answer["reason"]
    assert world.dead_letters() == [{"function": HANDLER, "reason": answer["reason"], "message": event}]
    assert world.record() == before
    assert world.settled == []


@pytest.mark.parametrize("handler", [HANDLER, "accept_test_result"])
def test_where_the_table_is_lost_the_message_is_not(world: World, handler: str) -> None:
    """The error makes Lambda try again, and keep the event in the end."""
    world.own("dynamodb").delete_table(TableName=world.table)
    events = {
        HANDLER: asked(),
        "accept_test_result": finished(),
    }
    with pytest.raises(ClientError, match="resource not found"):
        world.call(handler, events[handler])


class TestWhatWasHandedOverToAPerson:
    def handed_over(self, world: World) -> str:
        """Its deletion failed four times, and nobody waits any more. Returns the stack's id."""
        stack = world.ready()
        world.call("delete_environment", deletion())
        world.change(handed_over="Blocked by Subnet", deletions=4)
        world.wire.forget()
        return stack

    def test_is_begun_again_with_all_steps(self, world: World) -> None:
        self.handed_over(world)
        answer = world.call(HANDLER, asked(again=True, why="mended"))
        assert answer == {"accepted": True, "environment": ENVIRONMENT, "begun_again": True}
        ((name, order),) = world.started().items()
        assert name.startswith(f"{ENVIRONMENT}__again-")
        assert (order["environment"], order["begin"], order["why"]) == (ENVIRONMENT, "termination", "again: mended")
        record = world.record()
        assert ("handed_over" in record, record["deletions"]) == (False, 0)
        assert record["history"][-1]["why"] == "again: mended"
        assert record["ending"]["by"] == "tests"  # why its life ended does not change

    def test_is_planned_by_the_machine_as_what_a_sweep_adopts(self, world: World) -> None:
        self.handed_over(world)
        world.call(HANDLER, asked(again=True))
        ((_, order),) = world.started().items()
        planned = world.call("plan_environment", {"order": order, "now": LATER})
        assert planned["begin"] == "termination"

    def test_is_not_begun_again_by_a_request_that_does_not_say_so(self, world: World) -> None:
        self.handed_over(world)
        world.call(HANDLER, asked())
        assert world.started() == {}
        assert world.record()["handed_over"] == "Blocked by Subnet"

    def test_is_begun_again_once_by_a_request_that_comes_twice(self, world: World) -> None:
        self.handed_over(world)
        world.call(HANDLER, asked(again=True))
        world.call(HANDLER, asked(again=True))
        assert len(world.wire.heard("StartExecution")) == 1

    def test_is_all_that_can_be_begun_again(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked(again=True))
        (letter,) = world.dead_letters()
        assert "expected one that was handed over to a person" in str(letter)
        assert world.started() == {}
