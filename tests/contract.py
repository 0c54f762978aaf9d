"""The catalogue of events: what each one's detail has to be, and an example of it."""

from typing import Any

from docs.event_pages import CATALOGUE, EXAMPLES
from mayfly.contract.fields import Part
from mayfly.contract.vocabulary import Event


def checked(event: str, detail: dict[str, Any]) -> dict[str, Any]:
    """The detail, if it is what the catalogue says of the event: nothing missing, nothing unknown."""
    model = CATALOGUE[event]
    known = model.read(detail)
    if isinstance(known, Part):  # whoever hears one puts up with what is unknown
        assert unknown(detail, known.plain()) == set()
    return detail


def unknown(said: Any, known: Any) -> set[str]:
    """The names in a text of JSON that nobody knows who has read it."""
    if isinstance(said, dict):
        inside = (unknown(each, known[name]) for name, each in said.items() if name in known)
        return set(said.keys() - known.keys()).union(*inside)
    return set().union(*map(unknown, said, known)) if isinstance(said, list) else set()


def example(event: str, **changes: Any) -> dict[str, Any]:
    """The example of an event's detail, changed where that is said."""
    return checked(event, EXAMPLES[Event(event)] | changes)
