"""How a life ends, and what a release makes of the endings of its environments."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

type Cause = Literal["tests", "deadline", "failure", "request"]
type Outcome = Literal["passed", "failed", "expired", "broken", "cancelled"]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a life ended. The first ending that is recorded stands; later ones are only noted.

    Attributes:
        by: what ended it: its tests, its deadline, a failure of the environment itself, or a person's request.
        outcome: what that means for the suite: `expired` without a result, `broken` without a fair chance of one,
            `cancelled` by a person before there was one.
        reason: for people.
    """

    by: Cause
    outcome: Outcome
    reason: str


def by_deadline(deadline: str) -> Ending:
    """The tests did not report before the deadline."""
    return Ending("deadline", "expired", f"no test result before the deadline {deadline}")


def by_failure(error: str, cause: str) -> Ending:
    """A step of the life failed: `error` and `cause` as Step Functions caught them."""
    return Ending("failure", "broken", f"{error}: {_said(cause)}" if cause else error)


def _said(cause: str) -> str:
    """The sentence in a caught cause: a failed function's cause is JSON around its message."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One suite's part in a verdict."""

    suite: str
    environment: str
    outcome: Outcome
    reason: str
    report: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A release passed when every suite of its test plan passed."""

    passed: bool
    reason: str
    suites: tuple[SuiteResult, ...]


def judge(results: Sequence[SuiteResult]) -> Verdict:
    """The verdict over the suites of a release. A release without suites has proven nothing and fails."""
    bad = [result for result in results if result.outcome != "passed"]
    if not results:
        return Verdict(False, "no suite was run", ())
    if bad:
        reason = "; ".join(f"{result.suite} {result.outcome}: {result.reason}" for result in bad)
        return Verdict(False, f"{len(bad)} of {len(results)} suites did not pass: {reason}", tuple(results))
    return Verdict(True, f"all {len(results)} suites passed", tuple(results))


def result_of(suite: str, environment: str, ending: Mapping[str, str] | None) -> SuiteResult:
    """A suite's result from its environment's recorded ending; a life that left none was broken."""
    if ending is None:
        return SuiteResult(suite, environment, "broken", "its life left no ending")
    outcome: Outcome = ending["outcome"]  # type: ignore[assignment]  # written by this module's Ending only
    return SuiteResult(suite, environment, outcome, ending["reason"], ending.get("report"))
