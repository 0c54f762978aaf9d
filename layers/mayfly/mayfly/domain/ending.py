"""How a life ends, and what a release makes of the endings of its environments."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from mayfly.contract.vocabulary import EndingCause, Outcome, SuiteKind
from mayfly.domain.identity import PROOF_APPLICATION
from mayfly.domain.losses import Losses
from mayfly.domain.records import Ending, Environment, Suite, SuiteResult, Verdict, cut, plain
from mayfly.domain.text import clean

_REASON = 2_000
"""Bytes of a reason: a release has a hundred suites, and its record room for all of theirs."""
_LEAST = 100
"""Bytes that are left of a reason."""


def digest(token: str) -> str:
    """Returns what a record keeps of a report token."""
    return hashlib.sha256(token.encode()).hexdigest()


def refusal_of(record: Environment, outcome: str, token: str | None, by_person: bool) -> str | None:
    """Tells why a result is not taken that somebody reports of an environment; None where it is. Who says that tests
    failed, is believed: that ends the environment and lets nothing through. An automated suite is passed by who has
    heard that its environment is ready, a manual one by a person. A token passes once: its environment ends with that.

    Args:
        by_person: whether a person asks, and no program.
    """
    if record.suite_kind == SuiteKind.PREVIEW:
        return f"environment: expected one of a suite, but '{record.id}' is a preview, which lives without a result"
    if record.application == PROOF_APPLICATION:
        return f"environment: expected one of a suite, but '{record.id}' proves an image, which its checks decide"
    if outcome != Outcome.PASSED:
        return None
    if not record.report_token and not record.instances_built:
        return f"outcome: expected passed after Environment Ready only, which was not said of '{record.id}'"
    if record.suite_kind == SuiteKind.MANUAL:
        return None if by_person else "outcome: expected a person to pass a manual suite, but a program reports it"
    if not record.report_token:  # it was ready before an upgrade, of a version that announced no token
        return None
    if token is None or not hmac.compare_digest(digest(token), record.report_token):
        said = "it is another one" if token else "there is none"
        return f"token: expected the one that Environment Ready announced of '{record.id}', but {said}"
    return None


def by_deadline(deadline: str, kind: str = SuiteKind.AUTOMATED) -> Ending:
    """Returns the ending by a deadline: the tests did not report before it; a preview has lived until then."""
    said = "it was shown until" if kind == SuiteKind.PREVIEW else "no test result before"
    reason = f"{said} the deadline {deadline}"
    return Ending(EndingCause.DEADLINE, Outcome.EXPIRED, reason)


def by_failure(error: str, cause: str) -> Ending:
    """Returns the ending by a step of the life that failed: `error` and `cause` are as Step Functions caught them."""
    reason = cut(clean(f"{error}: {_said(cause)}" if cause else error), _REASON)
    return Ending(EndingCause.FAILURE, Outcome.BROKEN, reason)


def _said(cause: str) -> str:
    """Returns the sentence in a caught cause: a failed function's cause is JSON around its message."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause


_VERDICT = 120_000
"""Bytes of a verdict's suites: Step Functions hands on 256 KiB from state to state, and a record has room for 400."""


def fitting(results: Sequence[SuiteResult]) -> tuple[SuiteResult, ...]:
    """Returns the results of a release's suites as far as a verdict has room for them: each keeps its share, its reason
    gives way. What is cut stands in its environment's record."""
    sizes = [_size(one) for one in results]
    if sum(sizes) <= _VERDICT:
        return tuple(results)
    share = _VERDICT // len(results)
    return tuple(one if size <= share else _within(one, share) for one, size in zip(results, sizes, strict=True))


def _within(one: SuiteResult, share: int) -> SuiteResult:
    few = replace(one, reason="", tests=replace(one.tests, failed=one.tests.failed[:1]) if one.tests else None)
    if _size(few) > share:  # by locations and names that somebody else wrote: the environment's record has them
        tests = replace(one.tests, failed=()) if one.tests else None
        few = replace(few, report=None, log=None, tests=tests)
    # As JSON, what is not ASCII needs up to three times its bytes.
    return replace(few, reason=cut(one.reason, max(_LEAST, (share - _size(few)) // 3)))


def _size(one: SuiteResult) -> int:
    return len(json.dumps(plain(one)))


NO_ENDING = "its life left no ending"


def judge_release(results: Sequence[SuiteResult], lost: Losses | None = None) -> Verdict:
    """Decides the verdict over the suites of a release. A release without suites has proven nothing and fails.

    Args:
        lost: the instances of all its environments that failed: a result may be worth nothing for it.
    """
    instances = f"; {lost}" if lost and lost.count else ""
    bad = [result for result in results if result.outcome != Outcome.PASSED]
    if not results:
        return Verdict(False, "no suite was run", ())
    if bad:
        reason = "; ".join(f"{result.suite} {result.outcome}: {result.reason}" for result in bad)
        failed = f"{len(bad)} of {len(results)} suites" if len(results) > 1 else "its one suite"
        said = cut(f"{failed} did not pass: {reason}", 2 * _REASON)
        return Verdict(False, f"{said}{instances}", fitting(results))
    repeated = [f"{result.suite} at attempt {result.attempts}" for result in results if result.flaky]
    flaky = f"; {', '.join(repeated)}" if repeated else ""
    passed = f"all {len(results)} suites" if len(results) > 1 else "its one suite"
    return Verdict(True, f"{passed} passed{flaky}{instances}", fitting(results))


def result_of(suite: Suite, endings: Mapping[str, Ending | None]) -> SuiteResult:
    """Returns a suite's result from the recorded ending of its latest environment; a life that left none was broken.

    Args:
        endings: of its environments that were built, by name.
    """
    environment = suite.latest(endings)
    ending = endings.get(environment)
    if ending is None:
        return SuiteResult(suite.suite, environment, Outcome.BROKEN, NO_ENDING)
    before = [endings[each] for each in suite.attempts if each in endings and each != environment]
    told = "; ".join(f"{one.outcome} before: {one.reason}" for one in before if one)
    reason = cut(f"{ending.reason}; {told}" if told else ending.reason, _REASON)
    attempts = len(before) + 1
    return SuiteResult(
        suite.suite, environment, ending.outcome, reason, ending.report, ending.log, ending.tests, attempts
    )
