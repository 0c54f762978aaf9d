"""Takes `Kill Switch Set` and turns the kill switch; while it is on, nothing is destroyed."""

from datetime import datetime
from typing import Any

from mayfly.aws import kill_switch
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.events import announce
from mayfly.contract.announcements import KillSwitchTurned
from mayfly.contract.reader import Refused, receive
from mayfly.contract.requests import KillSwitchSet
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Who set it, when and why is the switch's own value, so that every refusal can tell.

    A repetition that comes late knows nothing of what has happened since: neither on nor off.
    """
    settings = load_settings()
    received = receive(KillSwitchSet, event)
    asked = received.message
    turned = kill_switch.Turn(asked.on, utc_text(received.at), asked.set_by, asked.why)
    last = kill_switch.last_turn(settings.parameters)
    if last and received.at < datetime.fromisoformat(last.at):
        state = "on" if last.on else "off"
        raise Refused(f"time: expected after {last.at}, when {last.by} turned it {state}, but it is {turned.at}")
    kill_switch.turn(settings.parameters, turned)
    metrics.add_metric(name="KillSwitchOn", unit="Count", value=int(asked.on))
    announce(settings.facts, KillSwitchTurned(**asked.model_dump(), at=turned.at))
    return {"accepted": True, "on": asked.on, "said": turned.said}
