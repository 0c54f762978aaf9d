"""EventBridge Scheduler's expressions: the local cloud takes and refuses those that AWS takes and refuses."""

import re

import pytest

from local.controller.schedules import is_expression
from mayfly.domain.stack import PHASES
from tests.conformance.recordings import needed, readme_figures, rows, values

RECORDED = [
    (line, expression[1], "invalid-schedule-expression" not in row["recorded"])
    for line, row in enumerate(rows("events-scheduler.jsonl"), 1)
    if "schedule_expression" in row["case"] or "cron_expressions" in row["case"]
    if (expression := re.search(r"\[(.*)\]", row["case"]))
]


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)",
        "rate(10 minutes)",
        "cron(0 8 ? * MON-FRI *)",
        "cron(0 0 L * ? 2027)",
        "at(2027-01-31T08:00:00)",
    ],
)
def test_an_expression_that_scheduler_documents_is_taken(expression: str) -> None:
    assert is_expression(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "rate(0 minutes)",
        "rate(1 week)",
        "cron(0 8 * * * *)",
        "cron(60 8 ? * * *)",
        "cron(0 8 ? * *)",
        "at(2027-01-31)",
        "",
    ],
)
def test_one_that_it_cannot_read_is_refused(expression: str) -> None:
    assert not is_expression(expression)


@needed
@pytest.mark.parametrize(("line", "expression", "taken"), RECORDED, ids=[str(line) for line, _, _ in RECORDED])
def test_a_recorded_expression_is_taken_or_refused_as_on_aws(line: int, expression: str, taken: bool) -> None:
    assert is_expression(expression) == taken


@needed
def test_the_readme_says_what_ran() -> None:
    ran = len(RECORDED)
    assert readme_figures("EventBridge's and Scheduler's answers, the local cloud") == [246, ran, ran, 0]


@needed
def test_every_status_that_aws_said_of_a_stack_is_known() -> None:
    said = {status for row in rows("cloudformation.jsonl") for status in values(row["recorded"], "StackStatus")}
    assert said
    assert said <= PHASES.keys()
