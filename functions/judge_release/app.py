"""Judges a release: reads the records of its environments in DynamoDB and decides whether it passed."""

from typing import Any

from mayfly.contract.vocabulary import ReleaseStage
from mayfly.domain.records import Entry, plain
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import releases


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A release that could not be planned fails with that reason; any other is judged by its suites."""
    settings, release = load_settings(), event["release"]
    logger.append_keys(release=release)
    verdict = releases.verdict_of(settings, release, event.get("error"))
    what = ReleaseStage.PASSED if verdict.passed else ReleaseStage.FAILED
    entry = Entry(event["now"], context.function_name, what, verdict.reason)
    releases.remember_verdict(settings, release, verdict, entry, stays_open=event.get("stays_open", False))
    metrics.add_metric(name="ReleasesPassed" if verdict.passed else "ReleasesFailed", unit="Count", value=1)
    metrics.add_metric(name="SuitesFlaky", unit="Count", value=len(verdict.flaky))
    return {"release": release, **plain(verdict)}
