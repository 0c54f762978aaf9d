"""Gives the verdict over a release, from the records of its environments."""

from dataclasses import asdict
from typing import Any

from mayfly.aws.records import Entry, Records
from mayfly.domain.ending import Verdict, by_failure, judge, result_of
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A release that could not be planned fails with that reason; any other is judged by its suites."""
    here, release = settings(), event["release"]
    logger.append_keys(release=release)
    verdict = verdict_of(here, event)
    said = asdict(verdict) | {"suites": [asdict(result) for result in verdict.suites]}
    what = "passed" if verdict.passed else "failed"
    Records(here.table, "release").change(
        release,
        {"stage": what, "verdict": said},
        Entry(event["now"], context.function_name, what, verdict.reason),
        drop=("live",),
    )
    metrics.add_metric(name="ReleasesPassed" if verdict.passed else "ReleasesFailed", unit="Count", value=1)
    return {"release": release, **said}


def verdict_of(here: Settings, event: dict[str, Any]) -> Verdict:
    """The verdict and its reason."""
    if "error" in event:
        refusal = by_failure(event["error"].get("Error", "Unknown"), event["error"].get("Cause", ""))
        return Verdict(False, f"it could not be planned: {refusal.reason}", ())
    release = Records(here.table, "release").get(event["release"]) or {}
    environments = Records(here.table, "environment")
    return judge(
        [
            result_of(part["suite"], part["environment"], (environments.get(part["environment"]) or {}).get("ending"))
            for part in release.get("suites", [])
        ]
    )
