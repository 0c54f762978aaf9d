"""What functions say on the bus. Most announcements are states of the machines; these come with a decision."""

import json
from typing import TYPE_CHECKING, Any

from mayfly.aws.clients import controller

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


class NotTaken(RuntimeError):
    """EventBridge did not take an event."""


def announce(bus: str, what: str, detail: dict[str, Any], source: str = "mayfly") -> str:
    """Puts one event on the bus; returns its id.

    Args:
        source: who says it: Mayfly itself, or `mayfly.api` for what a person asked of the HTTP API.

    Raises:
        NotTaken: EventBridge did not take it; the invocation is repeated then.
    """
    events: EventBridgeClient = controller("events")
    entry = {"EventBusName": bus, "Source": source, "DetailType": what, "Detail": json.dumps(detail)}
    reply = events.put_events(Entries=[entry])  # type: ignore[list-item]
    if reply["FailedEntryCount"]:
        raise NotTaken(f"{what} was not taken: {reply['Entries'][0].get('ErrorMessage')}")
    return reply["Entries"][0]["EventId"]
