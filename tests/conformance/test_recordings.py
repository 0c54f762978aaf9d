"""Step Functions as AWS recorded it: both interpreters come to the same end, by the same states.

A definition is run with the recorded input, and its tasks get what the services answered then. Lines of the file stand
for cases: the recordings are not a part of this project. The wording of causes is not compared.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.engines import Engine, Outcome
from tests.conformance.recordings import needed, readme_figures, rows, same, values

type Json = dict[str, Any]

ENDS = {"ExecutionSucceeded": "SUCCEEDED", "ExecutionFailed": "FAILED"}
LAMBDA = "arn:aws:lambda:us-east-1:111111111111:function:any"
ANSWERS = ("TaskSucceeded", "TaskFailed", "LambdaFunctionSucceeded", "LambdaFunctionFailed")


@dataclass(frozen=True)
class Run:
    """One recorded execution: its input, what the services answered, and what came of it."""

    given: Any
    answers: list[Json]
    expected: Outcome


@dataclass(frozen=True)
class Case:
    """A state machine and its recorded executions."""

    line: int
    definition: Json
    runs: list[Run]

    @property
    def jsonata(self) -> bool:
        """Whether every state that evaluates something says so in JSONata, which Mayfly uses alone."""
        if self.definition.get("QueryLanguage") == "JSONata":
            return "JSONPath" not in values(self.definition, "QueryLanguage")
        states = list(self.definition["States"].values())
        return all(state.get("QueryLanguage") == "JSONata" for state in states if state["Type"] != "Succeed")


OTHER_DEFINITION = {38, 56, 287, 297, 377} | set(range(57, 69))
"""The states, paths or outputs of what ran are not those of the definition that is told."""
RANDOM = {150, 160, 161, 166}
JSONPATH = {
    *(3, 9, 13, 14, 16, 17, 20, 21, 24, 25, 27, 32, 33, 34, 49, 52, 54),
    *(70, 74, 75, 77, 80, 81),
    *(148, 149, 155, 162),
    *(169, 170, 171, 188, 191, 262, 266, 344, 345, 346, 347, 348, 358, 359, 361, 362, 363, 364, 372),
}
"""The local cloud deviates: JSONPath with Assign, with filters, with an invalid path or time, or formatting. Mayfly's
machines speak JSONata alone, as a test holds."""
LACKING = {144, 145}
"""The model deviates: $partition and $range, which no machine uses. It stops with an error where one would."""


def reach(line: int, row: Json) -> Case | str:
    """The case, or why it can't be run."""
    histories = [part["events"] for part in row["recorded"].values() if "events" in (part or {})]
    if not histories or any(run[0]["type"] != "ExecutionStarted" or run[-1]["type"] not in ENDS for run in histories):
        return "no execution that came to an end by itself"
    if len(row["definitions"]) != 1 or line in OTHER_DEFINITION:
        return "which definition ran is not told"
    definition = json.loads(json.dumps(row["definitions"][0]["definition"]).replace('"__tbd__"', f'"{LAMBDA}"'))
    text = json.dumps([definition, [run[0] for run in histories]]).lower()
    signs = ('tbd_"', 'tbc__"', "placeholder%", ': "date"', "<%", '"errorequals": []')
    if line in RANDOM or any(sign in text for sign in signs):
        return "a value is random, or was filled in by the test"
    if "DISTRIBUTED" in values(definition, "Mode"):
        return "a distributed Map, which reads from S3"
    if any(event["type"].endswith("TimedOut") for run in histories for event in run):
        return "a timeout whose cause is not told"
    return Case(line, definition, [run_of(events) for events in histories])


def run_of(events: list[Json]) -> Run:
    """The execution that has this history."""
    end = details(events[-1])
    entered = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
    output, error, cause = plain(end.get("output")), end.get("error", ""), end.get("cause", "")
    outcome = Outcome(ENDS[events[-1]["type"]], output, error, cause, entered)
    return Run(plain(details(events[0]).get("input")), answers_of(events), outcome)


def answers_of(events: list[Json]) -> list[Json]:
    """What the services answered, in order; and by the token, where the task was submitted and waited for more."""
    answers: list[Json] = []
    for before, event in zip([{"type": ""}, *events], events, strict=False):
        if event["type"] not in ANSWERS:
            continue
        said = details(event)
        answer = {"output": plain(said.get("output"))}
        if event["type"].endswith("Failed"):
            cause = said.get("cause")
            answer = {"error": said.get("error"), "cause": json.dumps(cause) if isinstance(cause, dict) else cause}
        submitted = before["type"] == "TaskSubmitted"
        answers.append({"output": plain(details(before).get("output")), "told": answer} if submitted else answer)
    return answers


def details(event: Json) -> Json:
    return next((value for key, value in event.items() if key.endswith("EventDetails")), {})


def plain(text: Any) -> Any:
    """Outputs that are no objects are kept as text."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def differences(engine: Engine, case: Case) -> list[str]:
    """What differs from AWS. Branches enter their states in any order."""
    return [
        found for run in case.runs if (found := difference(engine.run(case.definition, run.given, run.answers), run))
    ]


def difference(seen: Outcome, run: Run) -> str:
    expected = run.expected
    if (seen.status, seen.error) != (expected.status, expected.error):
        return f"ends as {seen.status} {seen.error} {seen.cause}, not as {expected.status} {expected.error}"
    if not same(expected.output, seen.output):
        return f"gives {seen.output}, not {expected.output}"
    if Counter(seen.entered) != Counter(expected.entered):
        return f"enters {seen.entered}, not {expected.entered}"
    return ""


ALL = [reach(line, row) for line, row in enumerate(rows("stepfunctions.jsonl"), 1)]
CASES = [case for case in ALL if isinstance(case, Case)]
IN_JSONATA = [case for case in CASES if case.jsonata]


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[str(case.line) for case in cases])


@needed
@each(CASES)
def test_the_local_cloud_ends_as_aws_did(local: Engine, case: Case) -> None:
    found = differences(local, case)
    assert bool(found) == (case.line in JSONPATH), found or "it deviates no more: take it off the list"


@needed
@each(IN_JSONATA)
def test_the_model_ends_as_aws_did(model: Engine, case: Case) -> None:
    found = differences(model, case)
    assert bool(found) == (case.line in LACKING), found or "it deviates no more: take it off the list"


@needed
def test_no_deviation_is_one_of_jsonata() -> None:
    assert not {case.line for case in IN_JSONATA} & JSONPATH


@needed
def test_the_readme_says_what_ran() -> None:
    local = [len(ALL), len(CASES), len(CASES) - len(JSONPATH), len(JSONPATH)]
    model = [len(ALL), len(IN_JSONATA), len(IN_JSONATA) - len(LACKING), len(LACKING)]
    assert readme_figures("Step Functions, the local cloud") == local
    assert readme_figures("Step Functions, the model") == model
