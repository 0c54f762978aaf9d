"""Takes `Kill Switch Set`: while it is on, nothing is destroyed, not even by what runs already."""

from typing import Any

from mayfly.aws import switch
from mayfly.aws.events import announce
from mayfly.aws.letters import door
from mayfly.domain.moment import text
from mayfly.messages import KillSwitchSet, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Who set it, when and why is the switch's own value, so that every refusal can tell."""
    here = settings()
    received = receive(KillSwitchSet, event)
    asked = received.message
    since = None if asked.on else switch.on_since(switch.read(here.parameters))
    if since and received.at < since:
        # A repetition that comes late, or a try that died: it knows nothing of what has happened since.
        return {"accepted": False, "on": True, "reason": f"it was turned on at {text(since)}, after this was sent"}
    said = switch.on(asked.set_by, received.at, asked.why) if asked.on else switch.OFF
    switch.turn(here.parameters, said)
    metrics.add_metric(name="KillSwitchOn", unit="Count", value=int(asked.on))
    announce(here.bus, "Kill Switch Turned", asked.model_dump() | {"at": text(received.at)})
    return {"accepted": True, "on": asked.on, "said": said}
