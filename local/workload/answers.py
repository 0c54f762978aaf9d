"""Makes moto answer AWS's calls faster, with the same answers.

For each call, moto builds the same names again, and it counts the clauses of an update expression once for each part of
it. Tests spent most of their time there. This module remembers the names and counts the clauses once."""

from __future__ import annotations

from functools import cache
from typing import Any

from moto.core import responses
from moto.core.serialize import AttributePicker, AttributePickerContext, ResponseSerializer
from moto.core.utils import get_value
from moto.dynamodb.parsing.ast_nodes import UpdateExpression  # type: ignore[attr-defined]
from moto.dynamodb.parsing.validators import ActionCountValidator

Names = dict[tuple[type, type, str], list[str]]
_picked = ResponseSerializer.get_value
_counted = ActionCountValidator.verify_action_counts
_absent = object()


def install() -> None:
    """Lets moto remember the names of members and of methods, and count clauses once."""
    ResponseSerializer.get_value = _get_value  # type: ignore[assignment, method-assign]
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


def _count(validator: ActionCountValidator, node: UpdateExpression) -> UpdateExpression:
    """The whole expression has all clauses of its parts."""
    return node if isinstance(node.parent, UpdateExpression) else _counted(validator, node)
