"""The catalogue of events: what each one's detail has to be, and an example of it."""

from typing import Any

from docs.event_pages import CATALOGUE, EXAMPLES
from mayfly.contract.vocabulary import Event


def checked(event: str, detail: dict[str, Any]) -> dict[str, Any]:
    """The detail, if it is what the catalogue says of the event: nothing missing, nothing unknown."""
    CATALOGUE[event].model_validate(detail, extra="forbid")
    return detail


def example(event: str, **changes: Any) -> dict[str, Any]:
    """The example of an event's detail, changed where that is said."""
    return checked(event, EXAMPLES[Event(event)] | changes)
