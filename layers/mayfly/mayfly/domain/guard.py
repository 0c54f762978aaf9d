"""Decides whether something may be destroyed. IAM conditions in the workload account decide the same again."""

from collections.abc import Mapping
from dataclasses import dataclass

from mayfly.domain import tags


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether something is granted, and why (not)."""

    granted: bool
    reason: str


def is_ours(environment: str, controller: str, found: Mapping[str, str], label: str = tags.ENVIRONMENT) -> Permission:
    """Whether these tags say that something belongs to this environment (or what else `label` names) of this
    controller."""
    for key, expected in ((tags.CONTROLLER, controller), (label, environment)):
        if key not in found:
            return Permission(False, f"it does not carry the tag {key}; expected {expected}")
        if found[key] != expected:
            return Permission(False, f"its tag {key} is {found[key]}; expected {expected}")
    return Permission(True, f"it carries {label}={environment} of this controller")


def may_terminate(
    environment: str, controller: str, found: Mapping[str, str], termination_protection: bool
) -> Permission:
    """Decides over tags that were read freshly, right before destroying.

    Either signal of protection is enough to refuse: the tag or the stack's termination protection. What belongs to a
    permanent environment is refused even without both.
    """
    if tags.SERVICE in found:
        return Permission(False, f"it belongs to the permanent environment {found[tags.SERVICE]}")
    if termination_protection:
        return Permission(False, "the stack's termination protection is on")
    return _unless_tagged(found) or is_ours(environment, controller, found)


def may_remove(bake: str, controller: str, found: Mapping[str, str]) -> Permission:
    """Decides the same over what is left of a bake: its builder, or a volume of that."""
    return _unless_tagged(found) or is_ours(bake, controller, found, tags.BAKE)


def protection(found: Mapping[str, str]) -> str:
    """Says what protects a resource with these tags; "" where nothing does. Any value but exactly `false` protects."""
    said = found.get(tags.PROTECTED, "false")
    return "" if said == "false" else f"it is protected by its tag {tags.PROTECTED}={said}"


def _unless_tagged(found: Mapping[str, str]) -> Permission | None:
    protected = protection(found)
    return Permission(False, protected) if protected else None
