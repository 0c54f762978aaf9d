"""Makes moto answer AWS's calls faster, with the same answers.

For each call, moto builds the same names again; it takes each attribute of a DynamoDB item apart by all types that it
could have; and it asks of each part of an update expression anew what to count and look at. Tests spent most of their
time there. This module remembers the names, answers attributes as they are, and asks once."""

from __future__ import annotations

from functools import cache
from typing import Any

from moto.core import responses
from moto.core.serialize import AttributePicker, AttributePickerContext, BaseJSONSerializer, ResponseSerializer
from moto.core.utils import get_value
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser, UpdateExpression  # type: ignore[attr-defined]
from moto.dynamodb.parsing.validators import ActionCountValidator

Names = dict[tuple[type, type, str], list[str]]
_PLAIN = {"S", "N", "BOOL", "NULL", "SS", "NS"}
"""Types of DynamoDB's attributes whose values are JSON as moto keeps them."""
_picked = ResponseSerializer.get_value
_written = BaseJSONSerializer._serialize_type_structure
_counted = ActionCountValidator.verify_action_counts
_absent = object()


def install() -> None:
    """Lets moto remember the names of members and of methods, and look at attributes and clauses once."""
    ResponseSerializer.get_value = _get_value  # type: ignore[assignment, method-assign]
    BaseJSONSerializer._serialize_type_structure = _write  # type: ignore[assignment, method-assign]
    DepthFirstTraverser.traverse = _traverse
    ActionCountValidator.verify_action_counts = _count  # type: ignore[assignment, method-assign]
    responses.method_names_from_class = cache(responses.method_names_from_class)  # type: ignore[attr-defined]


def _get_value(serializer: ResponseSerializer, value: Any, key: str, shape: Any) -> Any:
    picker = serializer._value_picker
    if not isinstance(picker, AttributePicker) or picker.response_transformers:
        return _picked(serializer, value, key, shape)
    # Kept with the shape, which knows its parent and ends with it.
    names: Names = vars(shape).setdefault("names_in_answers", {})
    known = names.get((type(picker), type(value), key))
    if known is None:
        context = AttributePickerContext(value, key, shape, serializer.operation_model)
        known = names[type(picker), type(value), key] = list(dict.fromkeys(picker.get_possible_keys(context)))
    for name in known:
        found = get_value(value, name, _absent)
        if found is not _absent:
            return found
    return None


def _write(serializer: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
    plain = _plain(value) if shape.name == "AttributeValue" else None
    if plain is None:
        _written(serializer, serialized, value, shape, key)
    else:
        serializer._default_serialize(serialized, plain, shape, key)


def _plain(attribute: Any) -> dict[str, Any] | None:
    """Returns an attribute as DynamoDB answers it, None where moto has to look."""
    if not isinstance(attribute, dict) or len(attribute) != 1:
        return None
    [(kind, value)] = attribute.items()
    if kind in _PLAIN:
        return attribute
    if kind == "L":
        parts = [_plain(part) for part in value]
        return None if None in parts else {kind: parts}
    if kind == "M":
        named = {name: _plain(part) for name, part in value.items()}
        return None if None in named.values() else {kind: named}
    return None


def _traverse(traverser: DepthFirstTraverser, node: Any) -> Any:
    """What a traverser looks for is the same for each node."""
    kinds = traverser.nodes_to_be_processed()
    traverser.nodes_to_be_processed = lambda: kinds
    return traverser.traverse_node_recursively(node)


def _count(validator: ActionCountValidator, node: UpdateExpression) -> UpdateExpression:
    """The whole expression has all clauses of its parts."""
    return node if isinstance(node.parent, UpdateExpression) else _counted(validator, node)
