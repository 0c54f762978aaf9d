"""Has environments sleep outside of their office hours and wake in them, by the schedule or as a person asks, and ends
those that nobody uses."""

from datetime import datetime
from typing import Any

from mayfly.aws.dead_letters import message_handler
from mayfly.contract.reader import receive
from mayfly.contract.requests import EnvironmentSleepRequested, EnvironmentWakeRequested
from mayfly.contract.vocabulary import Event
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import idling, sleeping


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request is written down; what is due is seen by looking, as the schedule does."""
    settings, now = load_settings(), datetime.fromisoformat(event.get("now") or event["time"])
    only, refused = None, ""
    match event.get("detail-type"):
        case Event.ENVIRONMENT_SLEEP_REQUESTED:
            only, refused = sleeping.ask(settings, receive(EnvironmentSleepRequested, event))
        case Event.ENVIRONMENT_WAKE_REQUESTED:
            only, refused = sleeping.ask(settings, receive(EnvironmentWakeRequested, event))
    if refused:
        return {"accepted": False, "environment": only, "reason": refused}
    seen = sleeping.see(settings, only, now)
    done = {"environments": sleeping.keep_hours(settings, seen, now)}
    return done if only else done | {"idle": idling.end_idle(settings, now, seen.applications, seen.used)}
