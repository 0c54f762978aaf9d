"""Shows developers where a release stands, beside its commit and on its pull request."""

from datetime import datetime
from typing import Any

import mayfly.contract.configuration  # noqa: F401 - read in each first call
from mayfly.aws import executions
from mayfly.aws.dead_letters import message_handler
from mayfly.contract.announcements import Heard
from mayfly.contract.reader import receive
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import forging


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What is shown comes from the records: an event only says that there is something new. Nothing waits for this.

    The machine that calls the forge asks what is so at its moment, before each call and after the last one.
    """
    settings = load_settings()
    if "now" in event:
        return _now(settings, event)
    received = receive(Heard, event)
    release = received.message.release
    logger.append_keys(release=release)
    calls = forging.plan(settings, str(release), received.at) if release else None
    if calls is None:
        return {"release": release, "shown": False, "reason": "its application has no forge, or it has no commit"}
    # By the event: one that comes twice is shown once.
    name = f"{release}-{received.via.rpartition(' ')[2][:8]}"[-80:]
    # Its release is what the machine reads. A machine of the version before tells what is composed here.
    return {"release": release, "shown": executions.start(settings.show_machine, name, calls | {"release": release})}


def _now(settings: Settings, asked: dict[str, Any]) -> dict[str, Any]:
    """Answers the machine; with nothing where there is nothing to tell."""
    if "release" not in asked:  # the version before has begun it, and composed what is to be told
        return asked
    logger.append_keys(release=asked["release"])
    return forging.plan(settings, asked["release"], datetime.fromisoformat(asked["now"])) or {}
