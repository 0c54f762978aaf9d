"""Puts events on Mayfly's two buses: requests on one, announcements on the other.

Most announcements are states of the machines; these come with a decision.
"""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws.clients import controller
from mayfly.contract.fields import Announcement
from mayfly.contract.vocabulary import Source

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

    from mayfly.contract.messages import Request


class NotTaken(RuntimeError):
    """EventBridge did not take an event."""


def announce(facts: str, message: Announcement) -> str:
    """Puts an announcement on the bus that only Mayfly's roles can write to; returns the event's id.

    Raises:
        NotTaken: EventBridge did not take it; the invocation is repeated then.
    """
    return announce_again(facts, message.event, message.written())


def announce_again(facts: str, event: str, detail: str) -> str:
    """Puts an announcement on the bus that EventBridge did not take before, as it was written then; returns the event's
    id.

    Raises:
        NotTaken: EventBridge did not take it.
    """
    try:
        return _put(facts, event, detail, Source.MAYFLY)
    except (ClientError, BotoCoreError) as error:
        raise NotTaken(f"EventBridge did not take {event}: {error}") from error


def ask(requests: str, message: "Request", source: str) -> str:
    """Puts a request on the bus of requests; returns the event's id.

    Args:
        source: who asks: the HTTP API for a person, an operator, or somebody for an application.

    Raises:
        NotTaken: EventBridge did not take it.
    """
    return _put(requests, message.event, message.written(), source)


def _put(bus: str, event: str, detail: str, source: str) -> str:
    events: EventBridgeClient = controller("events")
    entry = {"EventBusName": bus, "Source": source, "DetailType": event, "Detail": detail}
    reply = events.put_events(Entries=[entry])  # type: ignore[list-item]
    if reply["FailedEntryCount"]:
        raise NotTaken(f"EventBridge did not take {event}: {reply['Entries'][0].get('ErrorMessage')}")
    return reply["Entries"][0]["EventId"]
