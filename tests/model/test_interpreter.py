"""The interpreter itself, against what AWS documents of the states, of retrying and of task tokens."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.model.interpreter import Execution, Failure, Machines, expression
from tests.model.timeline import Timeline
from tests.model.world import World

type Json = dict[str, Any]

LAMBDA, TOKEN = "arn:aws:states:::lambda:invoke", "arn:aws:states:::lambda:invoke.waitForTaskToken"


class Stage:
    """Machines made of one state, and a function that answers as it is told."""

    def __init__(self, **states: Json) -> None:
        self.timeline = Timeline(datetime(2026, 11, 24, tzinfo=UTC))
        machine = {"StartAt": next(iter(states)), "States": states}
        self.machines = Machines(self.timeline, {"m": machine, "child": machine}, {LAMBDA: self._answer})
        self.answers: list[Any] = []
        self.calls: list[tuple[float, Json]] = []

    def run(self, seconds: float = 100_000, given: Any = None) -> Execution:
        execution = self.machines.start("m", "one", given)
        assert execution
        self.timeline.advance(seconds)
        return execution

    def _answer(self, arguments: Json) -> Any:
        self.calls.append((self.timeline.now, arguments))
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Failure):
            raise answer
        return answer

    def gaps(self) -> list[float]:
        """Seconds between two calls."""
        moments = [moment for moment, _ in self.calls]
        return [later - sooner for sooner, later in pairwise(moments)]


def task(resource: str = LAMBDA, **more: Any) -> Json:
    return {"Type": "Task", "Resource": resource, "Arguments": {}, "End": True} | more


class TestRetry:
    def test_waits_longer_each_time_and_gives_up(self) -> None:
        stage = Stage(A=task(Retry=[retry("Bad", IntervalSeconds=2, BackoffRate=3, MaxAttempts=3, MaxDelaySeconds=10)]))
        stage.answers = [Failure("Bad", "why")] * 9
        execution = stage.run()
        assert (execution.status, execution.error, execution.cause) == ("FAILED", "Bad", "why")
        assert stage.gaps() == pytest.approx([2.5, 6.5, 10.5])  # each with the way to the call

    def test_counts_each_retrier_for_itself_and_takes_the_first_that_matches(self) -> None:
        retries = [retry("A", MaxAttempts=1), retry("States.TaskFailed", MaxAttempts=2)]
        stage = Stage(A=task(Retry=retries))
        stage.answers = [Failure("A"), Failure("B"), Failure("B"), Failure("A")]
        assert stage.run().error == "A"
        assert len(stage.calls) == 4

    @pytest.mark.parametrize(("named", "calls"), [("States.TaskFailed", 1), ("States.Timeout", 2), ("States.ALL", 2)])
    def test_a_timeout_is_no_failed_task(self, named: str, calls: int) -> None:
        stage = Stage(A=task(TOKEN, TimeoutSeconds=60, Retry=[retry(named, MaxAttempts=1)]))
        assert stage.run().error == "States.Timeout"
        assert len(stage.calls) == calls


class TestCatch:
    def test_sees_the_error_and_goes_on(self) -> None:
        catch = {"ErrorEquals": ["States.ALL"], "Assign": {"e": "{% $states.errorOutput %}"}, "Next": "B"}
        stage = Stage(A=task(Catch=[catch]), B={"Type": "Fail", "Error": "{% $e.Error %}", "Cause": "{% $e.Cause %}"})
        stage.answers = [Failure("Bad", "why")]
        execution = stage.run()
        assert (execution.error, execution.cause) == ("Bad", "why")


class TestTokens:
    def test_the_first_answer_counts_and_later_ones_are_too_late(self) -> None:
        stage = Stage(A=task(TOKEN, Arguments={"token": "{% $states.context.Task.Token %}"}, TimeoutSeconds=60))
        execution = stage.run(1)
        token = stage.calls[0][1]["token"]
        assert stage.machines.answer(token, {"n": 1}) is None
        assert stage.machines.answer(token, {"n": 2}) == "TaskTimedOut"
        assert stage.machines.answer("another", {}) == "InvalidToken"
        stage.timeline.advance(1)
        assert (execution.status, execution.output) == ("SUCCEEDED", {"n": 1})

    def test_every_attempt_has_its_own(self) -> None:
        arguments = {"token": "{% $states.context.Task.Token %}"}
        stage = Stage(A=task(TOKEN, Arguments=arguments, TimeoutSeconds=60, Retry=[retry("States.Timeout")]))
        stage.run(70)
        old, new = (call["token"] for _, call in stage.calls)
        assert stage.machines.answer(old, {}) == "TaskTimedOut"
        assert stage.machines.answer(new, {}) is None

    def test_of_an_execution_that_was_stopped_are_dead(self) -> None:
        stage = Stage(A=task(TOKEN, Arguments={"token": "{% $states.context.Task.Token %}"}))
        stage.machines.stop(stage.run(1))
        assert stage.machines.answer(stage.calls[0][1]["token"], {}) == "TaskTimedOut"


class TestExecutions:
    def test_a_name_is_used_once_and_the_same_start_again_is_the_running_one(self) -> None:
        stage = Stage(A=task(TOKEN))
        execution = stage.run(1, given={"a": 1})
        assert stage.machines.start("m", "one", {"a": 1}) is execution
        assert stage.machines.start("m", "one", {"a": 2}) is None
        stage.machines.stop(execution)
        assert stage.machines.start("m", "one", {"a": 1}) is None

    def test_a_map_gives_every_item_a_branch_and_stops_them_together(self) -> None:
        inner = {"StartAt": "B", "States": {"B": task(TOKEN, Arguments={"item": "{% $states.input %}"})}}
        stage = Stage(A={"Type": "Map", "Items": [1, 2, 3], "ItemProcessor": inner, "End": True})
        execution = stage.run(5)
        assert [call["item"] for _, call in stage.calls] == [1, 2, 3]
        stage.machines.stop(execution)
        assert execution.status == "ABORTED"

    def test_one_that_is_stopped_stops_those_it_waits_for(self, world: World) -> None:
        pushed = {"application": "webshop", "version": "1.0.0", "artifact": "a"}
        world.deliver("accept_code_version", world.on_the_bus("Code Version Pushed", pushed))
        world.timeline.advance(300)
        release, *lives = world.machines.executions.values()
        world.machines.stop(release)
        assert [life.status for life in lives] == ["ABORTED", "ABORTED"]


class TestExpressions:
    def test_that_give_nothing_are_errors(self) -> None:
        with pytest.raises(Failure, match="no result"):
            expression("$states.input.missing", {"states": {"input": {}}})

    def test_that_give_null_are_not(self) -> None:
        assert expression("$states.input.a", {"states": {"input": {"a": None}}}) is None


def retry(named: str, **more: Any) -> Json:
    return {"ErrorEquals": [named], "IntervalSeconds": 1} | more
