"""EventBridge's patterns as AWS recorded them: the local cloud's EventBridge answers TestEventPattern the same."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from tests.conformance.recordings import needed, readme_figures, rows

type Json = dict[str, Any]

eventbridge: Any = importlib.import_module("ministack.services.eventbridge")
ROWS = list(enumerate(rows("eventbridge-patterns.jsonl"), 1))


DEVIATING = {
    115: "a wildcard that AWS finds too complex: Mayfly's rules have none",
    125: "a key with a dot in it: no event that Mayfly hears has one",
    137: "a detail that is a text, which only TestEventPattern can be given",
}


def answer(row: Json) -> bool | str:
    """Whether the pattern matches the event, or that it is refused."""
    request = {"EventPattern": json.dumps(row["pattern"]), "Event": json.dumps(row["event"])}
    status, _, body = eventbridge._test_event_pattern(request)
    return "refused" if status >= 400 else bool(json.loads(body)["Result"])


@needed
@pytest.mark.parametrize(("line", "row"), ROWS, ids=[str(line) for line, _ in ROWS])
def test_a_pattern_matches_as_on_aws(line: int, row: Json) -> None:
    assert (answer(row) != row["matches"]) == (line in DEVIATING)


@needed
def test_the_readme_says_what_ran() -> None:
    ran, deviating = len(ROWS), len(DEVIATING)
    assert readme_figures("EventBridge's patterns, the local cloud") == [ran, ran, ran - deviating, deviating]
