"""What AWS documents of the Amazon States Language, as far as Mayfly's machines depend on it: both interpreters of this
project do it. Every case is a machine, its input, and what AWS's Developer Guide says comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conformance.engines import INVOKE, Engine

type Json = dict[str, Any]

TOKEN = f"{INVOKE}.waitForTaskToken"
ERROR = "{% $states.errorOutput %}"
RESULT = "{% $states.result.Payload %}"


@dataclass(frozen=True)
class Case:
    """A machine whose first state is the first that is named."""

    says: str
    states: Json
    output: Any = None
    error: str | None = None
    """The execution fails with it; None where it succeeds."""
    given: Any = field(default_factory=dict)
    entered: list[str] | None = None


def call(*answers: Json, resource: str = INVOKE, **more: Any) -> Json:
    """A task whose n-th attempt gets the n-th answer: `output`, `error` with `cause`, or silence."""
    payload = {"answers": list(answers), "attempt": "{% $states.context.State.RetryCount %}"}
    if resource == TOKEN:
        payload["token"] = "{% $states.context.Task.Token %}"
    arguments = {"FunctionName": "any", "Payload": payload}
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True} | more


def ends(**more: Any) -> Json:
    return {"Type": "Pass", "End": True} | more


def goes(to: str, **more: Any) -> Json:
    return {"Type": "Pass", "Next": to} | more


def retry(*errors: str, **more: Any) -> Json:
    return {"ErrorEquals": list(errors), "IntervalSeconds": 1} | more


def catch(*errors: str, to: str = "Caught", **more: Any) -> Json:
    return {"ErrorEquals": list(errors), "Next": to} | more


def fails(error: str, cause: str = "") -> Json:
    return {"error": error, "cause": cause}


OK: Json = {"output": "ok"}
SILENCE: Json = {}
UNDEFINED = "{% $states.input.nothing %}"
CAUGHT = {"Caught": ends()}
"""Ends with what was caught, or with the output of the Catch."""

STATES = [
    Case("Pass hands its input on", {"A": ends()}, {"a": 1}, given={"a": 1}),
    Case("Output replaces it", {"A": ends(Output={"b": "{% $states.input.a + 1 %}"})}, {"b": 2}, given={"a": 1}),
    Case("Succeed has an Output", {"A": {"Type": "Succeed", "Output": "{% 1 + 1 %}"}}, 2),
    Case("Fail says why", {"A": {"Type": "Fail", "Error": "{% 'E' & 1 %}", "Cause": "c"}}, error="E1"),
    Case("Fail may leave the error out", {"A": {"Type": "Fail"}}, error=""),
    Case(
        "Choice takes the first that holds",
        {
            "A": {
                "Type": "Choice",
                "Choices": [
                    {"Condition": "{% $states.input.n > 5 %}", "Next": "B"},
                    {"Condition": "{% $states.input.n > 1 %}", "Next": "C", "Output": "c"},
                    {"Condition": "{% true %}", "Next": "B"},
                ],
            },
            "B": ends(),
            "C": ends(),
        },
        "c",
        given={"n": 3},
        entered=["A", "C"],
    ),
    Case(
        "Choice falls to its Default, with the state's own Assign",
        {
            "A": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% false %}", "Next": "A"}],
                "Default": "B",
                "Assign": {"x": 1},
            },
            "B": ends(Output="{% $x %}"),
        },
        1,
    ),
    Case(
        "Choice without a Default that holds fails",
        {"A": {"Type": "Choice", "Choices": [{"Condition": "{% false %}", "Next": "B"}]}, "B": ends()},
        error="States.NoChoiceMatched",
    ),
    Case(
        "a Condition is a boolean",
        {"A": {"Type": "Choice", "Choices": [{"Condition": "{% 'yes' %}", "Next": "B"}], "Default": "B"}, "B": ends()},
        error="States.QueryEvaluationError",
    ),
    Case("Wait hands its input on", {"A": {"Type": "Wait", "Seconds": 60, "End": True}}, {"a": 1}, given={"a": 1}),
]

EXPRESSIONS = [
    Case("an expression that gives nothing fails", {"A": ends(Output=UNDEFINED)}, error="States.QueryEvaluationError"),
    Case("one that gives null does not", {"A": ends(Output="{% $states.input.a %}")}, given={"a": None}),
    Case(
        "a field that is undefined fails its object",
        {"A": ends(Output={"x": UNDEFINED})},
        error="States.QueryEvaluationError",
    ),
    Case("a part of an expression may be undefined", {"A": ends(Output="{% {'x': $states.input.a} %}")}, {}),
    Case("text with a brace inside is text", {"A": ends(Output="a {% 1 %}")}, "a {% 1 %}"),
    Case("bare names see no input", {"A": ends(Output="{% $exists(a) %}")}, False, given={"a": 1}),
    Case(
        "a sequence of one is its item",
        {"A": ends(Output="{% $states.input.l[n > 1] %}")},
        {"n": 2},
        given={"l": [{"n": 1}, {"n": 2}]},
    ),
    Case(
        "$sift and $merge keep null",
        {"A": ends(Output="{% $merge([$sift($states.input, function($v, $k) { $k = 'a' }), {'c': 1}]) %}")},
        {"a": None, "c": 1},
        given={"a": None, "b": 2},
    ),
    Case("$parse reads JSON", {"A": ends(Output="{% $parse('{\"a\": [1]}').a %}")}, [1]),
    Case("$toMillis reads a timestamp", {"A": ends(Output="{% $toMillis('1970-01-01T00:00:01Z') %}")}, 1000),
    Case(
        "the context knows state and execution",
        {"A": ends(Output="{% [$states.context.State.Name, $states.context.Execution.Input.a] %}")},
        ["A", 1],
        given={"a": 1},
    ),
]

VARIABLES = [
    Case("a variable lasts", {"A": goes("B", Assign={"x": 1}), "B": goes("C"), "C": ends(Output="{% $x %}")}, 1),
    Case(
        "Assign and Output see the variables as they were",
        {
            "A": goes("B", Assign={"x": 1}),
            "B": goes("C", Assign={"x": "{% $x + 1 %}", "y": "{% $x %}"}, Output="{% $x %}"),
            "C": ends(Output="{% [$states.input, $x, $y] %}"),
        },
        [1, 2, 1],
    ),
    Case("one that was never assigned fails", {"A": ends(Output="{% $x %}")}, error="States.QueryEvaluationError"),
    Case("null is a value", {"A": goes("B", Assign={"x": None}), "B": ends(Output="{% $x = null %}")}, True),
    Case(
        "a task assigns from its result",
        {
            "A": call(
                {"output": {"n": 7}}, End=False, Next="B", Assign={"n": "{% $states.result.Payload.n %}"}, Output={}
            ),
            "B": ends(Output="{% $n %}"),
        },
        7,
    ),
]

RETRIES = [
    Case(
        "a retried task succeeds",
        {"A": call(fails("E"), fails("E"), OK, Retry=[retry("E", MaxAttempts=2)], Output=RESULT)},
        "ok",
        entered=["A"],
    ),
    Case(
        "MaxAttempts is how often it is tried again",
        {"A": call(*[fails("E")] * 3, OK, Retry=[retry("E", MaxAttempts=2)])},
        error="E",
    ),
    Case(
        "MaxAttempts 0 is never",
        {"A": call(fails("E"), OK, Retry=[retry("E", MaxAttempts=0), retry("States.ALL")])},
        error="E",
    ),
    Case("three by default", {"A": call(*[fails("E")] * 3, OK, Retry=[retry("E")], Output=RESULT)}, "ok"),
    Case(
        "the first that matches decides, each counts for itself",
        {
            "A": call(
                fails("E"),
                fails("F"),
                fails("E"),
                OK,
                Retry=[retry("E", MaxAttempts=1), retry("States.TaskFailed", MaxAttempts=5)],
            )
        },
        error="E",
    ),
    Case(
        "States.TaskFailed is any error of a function",
        {"A": call(fails("E"), OK, Retry=[retry("States.TaskFailed")], Output=RESULT)},
        "ok",
    ),
    Case("an error that nobody names ends it", {"A": call(fails("E"), OK, Retry=[retry("F")])}, error="E"),
]

CATCHES = [
    Case(
        "the caught error is the output",
        {
            "A": call(fails("E", "c"), Catch=[catch("E")], End=False, Next="B"),
            "B": ends(),
            "Caught": ends(Output="{% $states.input.Error %}"),
        },
        "E",
        entered=["A", "Caught"],
    ),
    Case(
        "a function's cause is JSON",
        {
            "A": call(
                fails("E", "c"), Catch=[catch("E", Output="{% $parse($states.errorOutput.Cause).errorMessage %}")]
            ),
            **CAUGHT,
        },
        "c",
    ),
    Case(
        "a Catch assigns",
        {"A": call(fails("E"), Catch=[catch("E", Assign={"e": ERROR})]), "Caught": ends(Output="{% $e.Error %}")},
        "E",
    ),
    Case(
        "it comes after Retry",
        {
            "A": call(
                fails("E"),
                fails("E"),
                OK,
                Retry=[retry("E", MaxAttempts=1)],
                Catch=[catch("States.ALL", Output="caught")],
            ),
            **CAUGHT,
        },
        "caught",
    ),
    Case(
        "the first that matches is taken",
        {
            "A": call(fails("E"), Catch=[catch("F", Output=1), catch("E", Output=2), catch("States.ALL", Output=3)]),
            **CAUGHT,
        },
        2,
    ),
    Case(
        "a failed expression of Arguments is caught",
        {
            "A": call(OK, Arguments={"x": UNDEFINED}, Catch=[catch("States.QueryEvaluationError", Output="caught")]),
            **CAUGHT,
        },
        "caught",
    ),
    Case(
        "a failed expression of Output too",
        {"A": call(OK, Output=UNDEFINED, Catch=[catch("States.ALL", Output="caught")]), **CAUGHT},
        "caught",
    ),
]

TOKENS = [
    Case("the answer is the result", {"A": call({"output": {"n": 1}}, resource=TOKEN)}, {"n": 1}),
    Case(
        "a failure has the name that was sent",
        {"A": call(fails("Nope", "c"), resource=TOKEN, Catch=[catch("Nope", Output=ERROR)]), **CAUGHT},
        {"Error": "Nope", "Cause": "c"},
    ),
    Case("each attempt has a token of its own", {"A": call(fails("E"), OK, resource=TOKEN, Retry=[retry("E")])}, "ok"),
]

TIMEOUTS = [
    Case("silence is a timeout", {"A": call(SILENCE, resource=TOKEN, TimeoutSeconds=60)}, error="States.Timeout"),
    Case(
        "it may be an expression",
        {"A": call(SILENCE, resource=TOKEN, TimeoutSeconds="{% $states.input.s %}")},
        error="States.Timeout",
        given={"s": 60},
    ),
    Case(
        "it is no failed task",
        {"A": call(SILENCE, OK, resource=TOKEN, TimeoutSeconds=60, Retry=[retry("States.TaskFailed")])},
        error="States.Timeout",
    ),
    Case(
        "it is retried by its name",
        {"A": call(SILENCE, OK, resource=TOKEN, TimeoutSeconds=60, Retry=[retry("States.Timeout")])},
        "ok",
    ),
    Case(
        "each attempt has all of its time",
        {"A": call(SILENCE, SILENCE, OK, resource=TOKEN, TimeoutSeconds=60, Retry=[retry("States.Timeout")])},
        "ok",
    ),
    Case(
        "it is caught by States.ALL",
        {
            "A": call(
                SILENCE,
                resource=TOKEN,
                TimeoutSeconds=60,
                Catch=[catch("States.ALL", Output="{% $states.errorOutput.Error %}")],
            ),
            **CAUGHT,
        },
        "States.Timeout",
    ),
    Case(
        "it is a positive integer",
        {"A": call(SILENCE, resource=TOKEN, TimeoutSeconds="{% 0 %}")},
        error="States.QueryEvaluationError",
    ),
]


def each(states: Json, **more: Any) -> Json:
    """A Map over the input's items whose iterations begin with the first of the states."""
    processor = {"StartAt": next(iter(states)), "States": states}
    return {"Type": "Map", "Items": "{% $states.input.items %}", "ItemProcessor": processor, "End": True} | more


ITEMS = {"items": [3, 1, 2]}
BROKEN = {"Type": "Fail", "Error": "E"}
ONE_FAILS = {
    "Which?": {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input = 1 %}", "Next": "Fails"}],
        "Default": "Waits",
    },
    "Fails": BROKEN,
    "Waits": call(SILENCE, resource=TOKEN),
}

MAPS = [
    Case(
        "results have the order of the items",
        {"A": each({"I": ends(Output="{% $states.input * 2 %}")})},
        [6, 2, 4],
        given=ITEMS,
    ),
    Case("no items, no results", {"A": each({"I": ends()})}, [], given={"items": []}),
    Case(
        "an iteration is told its item",
        {
            "A": each(
                {"I": ends()},
                ItemSelector={"n": "{% $states.context.Map.Item.Index %}", "v": "{% $states.context.Map.Item.Value %}"},
            )
        },
        [{"n": 0, "v": 3}],
        given={"items": [3]},
    ),
    Case(
        "iterations see the variables and keep their own",
        {
            "A": goes("B", Assign={"x": 1}, Output=ITEMS),
            "B": each({"I": ends(Assign={"x": 9}, Output="{% $x %}")}, End=False, Next="C"),
            "C": ends(Output="{% [$states.input, $x] %}"),
        },
        [1, 1, 1, 1],
    ),
    Case("Items must be an array", {"A": each({"I": ends()})}, error="States.QueryEvaluationError", given={"items": 1}),
    Case("one that fails fails the Map with its error", {"A": each(ONE_FAILS)}, error="E", given=ITEMS),
    Case(
        "the failed Map is caught, and what waits is given up",
        {"A": each(ONE_FAILS, Catch=[catch("States.ALL", Output="{% $states.errorOutput.Error %}")]), **CAUGHT},
        "E",
        given=ITEMS,
    ),
    Case(
        "a Map is retried as a whole",
        {"A": each({"I": BROKEN}, Retry=[retry("E", MaxAttempts=1)])},
        error="E",
        given={"items": [1]},
        entered=["A", "I", "I"],
    ),
]

CASES = [*STATES, *EXPRESSIONS, *VARIABLES, *RETRIES, *CATCHES, *TOKENS, *TIMEOUTS, *MAPS]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_as_aws_documents_it(engine: Engine, case: Case) -> None:
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(case.states)), "States": case.states}
    for state in case.states.values():
        if "Next" in state:
            state.pop("End", None)
    seen = engine.run(definition, case.given)
    status = "SUCCEEDED" if case.error is None else "FAILED"
    assert (seen.status, seen.error, seen.output) == (status, case.error or "", case.output), seen.cause
    assert case.entered in (None, seen.entered)
