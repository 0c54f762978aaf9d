"""A Step Functions execution that one Mayfly version started continues on the functions of another, newer or older."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import ValidationError
from msgspec.structs import replace

from mayfly.contract import orders
from mayfly.contract.fields import Part
from mayfly.contract.orders import Bake, Move, Order, Rollout, Subject

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "events"


def sample(name: str, key: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())[key]


INPUTS: dict[type[Any], Any] = {
    Order: sample("create_environment", "order"),
    Subject: sample("delete_environment", "order"),
    Bake: sample("launch_builder", "plan"),
    Move: sample("plan_promotion", "move"),
    Rollout: sample("update_service", "plan"),
}


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every object in an input that is not free text by key."""
    if isinstance(value, dict) and (not path or path[-1] not in ("parameters", "proof")):
        yield path
        for key, inner in value.items():
            yield from places(inner, (*path, key))


def grown(value: Any, path: tuple[str, ...]) -> Any:
    """The input as a later version may write it: with a field more at a place."""
    if not path:
        return {**value, "said_by_a_later_version": {"anything": [1]}}
    return {**value, path[0]: grown(value[path[0]], path[1:])}


@pytest.mark.parametrize(
    ("kind", "place"), [(kind, place) for kind, value in INPUTS.items() for place in places(value)], ids=str
)
def test_what_a_later_version_adds_to_an_input_is_ignored(kind: type[Any], place: tuple[str, ...]) -> None:
    assert kind.read(grown(INPUTS[kind], place)) == kind.read(INPUTS[kind])


@pytest.mark.parametrize("kind", INPUTS)
def test_an_input_is_strict_where_it_is_made(kind: type[Any]) -> None:
    with pytest.raises(TypeError, match="Unexpected keyword argument"):
        kind(**grown(INPUTS[kind], ()))


def test_an_input_is_strict_where_it_is_written() -> None:
    order = Order.read(INPUTS[Order])
    assert order.plain() == Order.read(order.plain()).plain()
    with pytest.raises(ValidationError, match=r"^version: Expected `str` matching .*, but it is 'two words'$"):
        replace(order, version="two words").plain()


def test_every_input_of_an_execution_is_tolerant() -> None:
    """Whatever is declared where inputs are: one that is not would end what runs."""
    own = [each for each in vars(orders).values() if isinstance(each, type) and each.__module__ == orders.__name__]
    for each in own:
        assert issubclass(each, Part), each
        assert not each.__struct_config__.forbid_unknown_fields
