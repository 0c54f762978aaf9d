"""Keeps the preview environment of each pull request: creates it for a pushed version, points its Route 53 record
at it, and ends it when the pull request is closed."""

from typing import Any

import mayfly.contract.configuration  # noqa: F401 - read in each first call
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.announcements import Heard
from mayfly.contract.reader import Received, receive
from mayfly.contract.requests import PullRequestClosed
from mayfly.contract.vocabulary import Event
from mayfly.domain.records import Entry, Environment, Release
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import previews


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What somebody pushed or closed begins and ends a preview; what became of its environment moves its address."""
    what = event.get("detail-type")
    if what == Event.PULL_REQUEST_CLOSED:
        return close(receive(PullRequestClosed, event))
    received = receive(Heard, event)
    entry = Entry(utc_text(received.at), context.function_name, str(what), received.sender)
    said = begin(received.message, entry) if what == Event.RELEASE_STARTED else follow(received.message, entry)
    return {"accepted": True, "reason": said}


def close(received: Received[PullRequestClosed]) -> dict[str, Any]:
    """Ends the previews of a pull request."""
    closed, who = received.message, received.message.closed_by or received.source
    entry = Entry(utc_text(received.at), who, closed.event, closed.why or received.sender)
    ended = previews.close(load_settings(), closed.application, closed.pull_request, entry)
    return {"accepted": True, "ended": [*ended]}


def begin(heard: Heard, entry: Entry) -> str:
    """Begins the preview of a release, by its record."""
    settings = load_settings()
    release = Records(settings.table, Release).get(str(heard.release))
    return previews.begin(settings, release, entry) if release else "there is no such release"


def follow(heard: Heard, entry: Entry) -> str:
    """Moves the address of a pull request to where its record says that its preview is, or away."""
    settings = load_settings()
    preview = Records(settings.table, Environment).get(str(heard.environment))
    if preview is None:
        return "there is no such environment"
    # What is gone is said before its record says so, and that it was ready may be heard after both.
    gone = preview.terminated_at or entry.what == Event.ENVIRONMENT_TERMINATED
    done = previews.gone if gone else previews.ready
    return done(settings, preview, entry)
