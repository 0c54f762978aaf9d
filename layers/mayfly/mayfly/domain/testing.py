"""How a suite's tests are started by a runner, and what its answer means."""

import base64
import json
import shlex
from collections.abc import Mapping, Sequence

from msgspec import Struct

from mayfly.contract.vocabulary import Outcome
from mayfly.domain.report import Report

REPORT, LOG = "report.xml", "log.txt"
"""Below the prefix of an environment, in the bucket of reports."""
BESIDE = ("codebuild", "lambda", "statemachine", "http")
"""Runners with an execution beside that of the environment's life."""
_SHOWN = 3
"""Of failed tests, and of instances, that a reason names."""


def prefix(environment: str) -> str:
    """Tells where the bucket of reports keeps what the tests of an environment left."""
    return f"tests/{environment}/"


def variables(document: Mapping[str, object]) -> dict[str, str]:
    """Returns what tests have to know, as environment variables: `MAYFLY_VERSION`, `MAYFLY_OUTPUT_Url`."""
    outputs: Mapping[str, str] = document.get("outputs") or {}  # type: ignore[assignment]
    known = {f"MAYFLY_{name.upper()}": str(value) for name, value in document.items() if name != "outputs" and value}
    return known | {f"MAYFLY_OUTPUT_{name}": value for name, value in outputs.items()}


class Uploads(Struct, frozen=True):
    """Addresses that one file can be put to, each good for a while."""

    log: str
    report: str


def script(lines: str, known: Mapping[str, str], report: str | None, uploads: Uploads | None) -> list[str]:
    """Returns the lines for Run Command: they run a script in an empty folder, and bring away what it leaves.

    The script and its variables are packed: Systems Manager replaces what stands between two braces by parameters.
    """
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(known.items()))
    packed = base64.b64encode(f"{exports}{lines}\n".encode()).decode()
    keep = [f"curl -sS -m 60 -T log {shlex.quote(uploads.log)}"] if uploads else []
    if uploads and report:
        keep.append(
            f"[ ! -f {shlex.quote(report)} ] || curl -sS -m 60 -T {shlex.quote(report)} {shlex.quote(uploads.report)}"
        )
    return [
        f"# tests of {known.get('MAYFLY_ENVIRONMENT', '')}",
        'cd "$(mktemp -d)" || exit 1',
        f"printf %s {packed} | base64 -d >script",
        "{ sh ./script; echo $? >code; } 2>&1 | tee log",
        *keep,
        'exit "$(cat code)"',
    ]


def filled(body: object, document: Mapping[str, object], known: Mapping[str, str]) -> object:
    """Returns a body with what tests have to know in the places that name it."""
    places: dict[str, object] = {"$document": document, "$variables": known}
    if isinstance(body, dict):
        return {key: filled(value, document, known) for key, value in body.items()}
    return places.get(body, body) if isinstance(body, str) else body


class Invocation(Struct, frozen=True):
    """How a command ended on one instance."""

    instance: str
    status: str
    exit_code: int

    @property
    def ran(self) -> bool:
        """Tells whether Run Command ran the script to its end, with success or not."""
        return self.status in ("Success", "Failed")


class Judgement(Struct, frozen=True):
    """What tests have shown, and the reason for people."""

    outcome: Outcome
    reason: str


def judge_command(
    invocations: Sequence[Invocation], expected: int, wants_report: bool, report: Report | None
) -> Judgement:
    """Returns what a script on one or all instances has shown.

    Args:
        expected: on how many instances it had to run. wants_report: whether the script has to leave a report.
    """
    lost = [one for one in invocations if not one.ran]
    if lost:
        what = "; ".join(f"{one.instance}: {one.status}" for one in lost[:_SHOWN])
        return Judgement(Outcome.BROKEN, f"the script did not run to its end: {what}")
    if len(invocations) < expected:
        return Judgement(Outcome.BROKEN, f"the script ran on {len(invocations)} of {expected} instances")
    bad = [one for one in invocations if one.status != "Success"]
    if bad:
        what = ", ".join(f"{one.exit_code} on {one.instance}" for one in bad[:_SHOWN])
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        return Judgement(Outcome.FAILED, _with(report, f"the script exited with {what}{more}"))
    return judge_report(wants_report, report)


def judge_answer(
    kind: str, result: object, error: Mapping[str, str] | None, report: Report | None
) -> tuple[Judgement, str | None]:
    """Returns what a function, an execution, a build or an API has answered, and where its log is, if it says so.

    Args:
        kind: the runner's type. result: what it gave back. error: how its state failed, as Step Functions caught it.
    """
    if error is not None:
        told = _told(error.get("Cause") or "")
        status = str(told.get("Status") or told.get("BuildStatus") or "")
        why = _shortened(error, told, status)
        log = _log(told)
        if status == "FAILED" and kind in ("statemachine", "codebuild"):
            return Judgement(Outcome.FAILED, _with(report, why)), log
        return Judgement(Outcome.BROKEN, why), log
    answer = result if isinstance(result, Mapping) else {}
    outcome = answer.get("outcome")
    if outcome == Outcome.FAILED:
        return Judgement(Outcome.FAILED, _with(report, str(answer.get("reason") or "it says so"))), _log(answer)
    if outcome == Outcome.PASSED or (kind != "lambda" and outcome is None):
        return judge_report(False, report), _log(answer)
    said = f"expected an answer with outcome passed or failed, but it is {json.dumps(result)[:200]}"
    return Judgement(Outcome.BROKEN, said), None


def judge_word(outcome: Outcome, reason: str, report: Report | None) -> Judgement:
    """Returns what tests have shown that say so themselves. A report that they leave counts more than their word."""
    if report is None:
        return Judgement(outcome, reason)
    return judge_report(False, report) if outcome == Outcome.PASSED else Judgement(outcome, _with(report, reason))


def _told(cause: str) -> dict[str, object]:
    """Returns what a cause says where it is JSON, as those of functions, executions and builds are."""
    try:
        told = json.loads(cause)
    except ValueError:
        return {}
    found = told.get("Build", told) if isinstance(told, dict) else {}
    return found if isinstance(found, dict) else {}


def _shortened(error: Mapping[str, str], told: Mapping[str, object], status: str) -> str:
    name = error.get("Error") or "Unknown"
    if name == "States.Timeout":
        return "it took longer than its minutes"
    inner = [str(told[key]) for key in ("Error", "errorType", "Cause", "errorMessage") if told.get(key)]
    said = dict.fromkeys([name, *([status] if status else []), *(inner or [error.get("Cause") or ""])])
    return ": ".join(said).rstrip(": ")[:1000]


def _log(told: Mapping[str, object]) -> str | None:
    logs = told.get("Logs")
    link = logs.get("DeepLink") if isinstance(logs, dict) else told.get("log")
    return str(link) if link else None


def judge_report(wanted: bool, report: Report | None) -> Judgement:
    """Returns what a report says of tests that have ended well by themselves. Without a test, nothing was proven."""
    if report is None:
        return (
            Judgement(Outcome.BROKEN, "the tests left no report")
            if wanted
            else Judgement(Outcome.PASSED, "the tests passed")
        )
    if report.failures:
        return Judgement(Outcome.FAILED, _with(report, ""))
    if report.tests == report.skipped:
        return Judgement(Outcome.BROKEN, f"its report names no test that ran ({report.skipped} skipped)")
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    return Judgement(Outcome.PASSED, f"{report.tests} tests passed{skipped}")


def _with(report: Report | None, said: str) -> str:
    """Returns what is said, with what a report says of it."""
    if report is None or not report.failures:
        return said
    more = f" and {report.failures - _SHOWN} more" if report.failures > _SHOWN else ""
    named = f"{report.failures} of {report.tests} tests failed: {', '.join(report.failed[:_SHOWN])}{more}"
    return f"{named} ({said})" if said else named
