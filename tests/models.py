"""Parameters held against AWS's own service models, which botocore ships: it checks types and what is required, but
neither patterns nor longest lengths nor enumerations, all of which the services refuse."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

GROWING = {"InstanceType"}  # enumerations with newer members than this botocore knows


def violations(value: Any, shape: Shape, where: str = "") -> Iterator[str]:
    """What a service would refuse of these parameters."""
    match shape:
        case StringShape():
            yield from _of_text(str(value), shape, where)
        case ListShape() | MapShape():
            yield from _outside(len(value), shape.metadata, where, "members")
        case _ if shape.type_name in ("integer", "long", "float", "double"):
            yield from _outside(value, shape.metadata, where, "")
    for inner, of, place in _inside(value, shape):
        yield from violations(inner, of, where + place)


def _inside(value: Any, shape: Shape) -> Iterator[tuple[Any, Shape, str]]:
    match shape:
        case StructureShape():
            known = (name for name in value if name in shape.members)
            yield from ((value[name], shape.members[name], f".{name}") for name in known)
        case ListShape():
            yield from ((inner, shape.member, "[]") for inner in value)
        case MapShape():
            yield from ((key, shape.key, " key") for key in value)
            yield from ((inner, shape.value, f"[{key}]") for key, inner in value.items())


def _of_text(value: str, shape: StringShape, where: str) -> Iterator[str]:
    yield from _outside(len(value), shape.metadata, where, "characters")
    if shape.enum and value not in shape.enum and shape.name not in GROWING:
        yield f"{where}: '{value}' is none of {shape.enum[:20]}"
    pattern = shape.metadata.get("pattern")
    if pattern and not _fits(pattern, value):
        yield f"{where}: '{value[:80]}' does not fit {pattern}"


def _fits(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    except re.error:  # of a dialect that Python has not
        return True


def _outside(size: float, limits: Mapping[str, Any], where: str, unit: str) -> Iterator[str]:
    if "max" in limits and size > limits["max"]:
        yield f"{where}: {size} {unit} are more than {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"{where}: {size} {unit} are fewer than {limits['min']}"
