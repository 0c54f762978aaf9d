"""Decides whether something may be destroyed. IAM conditions in the workload account decide the same again."""

from collections.abc import Mapping

from msgspec import Struct

from mayfly.domain import tags

TERMINATION_PROTECTED = "the stack's termination protection is on"


class Permission(Struct, frozen=True):
    """Whether something is granted, and why (not)."""

    granted: bool
    reason: str


def is_ours(environment: str, controller: str, found: Mapping[str, str], label: str = tags.ENVIRONMENT) -> Permission:
    """Tells whether these tags say that something belongs to this environment (or what else `label` names) of this
    controller."""
    for key, expected in ((tags.CONTROLLER, controller), (label, environment)):
        if key not in found:
            return Permission(False, f"it does not carry the tag {key}; expected {expected}")
        if found[key] != expected:
            return Permission(False, f"its tag {key} is {found[key]}; expected {expected}")
    return Permission(True, f"it carries {label}={environment} of this controller")


def may_destroy(
    name: str, controller: str, found: Mapping[str, str], label: str = tags.ENVIRONMENT, locked: str = ""
) -> Permission:
    """Decides over tags that were read freshly, right before destroying. Whatever destroys something asks this.

    Either signal of protection is enough to refuse: the tag, or AWS's own lock. What belongs to a permanent
    environment is refused even without both.

    Args:
        name: whose it has to be: an environment's, or what else `label` names.
        locked: what AWS's own protection says (a stack's from termination, an image's from deregistration).
    """
    if tags.SERVICE in found:
        return Permission(False, f"it belongs to the permanent environment {found[tags.SERVICE]}")
    if locked:
        return Permission(False, locked)
    if said := protection(found):
        return Permission(False, said)
    return is_ours(name, controller, found, label)


def protection(found: Mapping[str, str]) -> str:
    """Says what protects a resource with these tags; "" where nothing does. Any value but exactly `false` protects."""
    said = found.get(tags.PROTECTED, "false")
    return "" if said == "false" else f"it is protected by its tag {tags.PROTECTED}={said}"
