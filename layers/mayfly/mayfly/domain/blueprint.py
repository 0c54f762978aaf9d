"""The parameters that Mayfly gives to every blueprint."""

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

PARAMETERS = {
    "EnvironmentId": "environment",
    "Application": "application",
    "CodeVersion": "version",
    "ArtifactLocation": "artifact",
    "ImageId": "image",
    "InstanceCount": "instance_count",
    "Controller": "controller",
}
"""The parameters that Mayfly passes, each with the fact that it holds."""

PINNED = "LaunchTemplateVersion"
"""Besides, of a permanent environment's blueprint: on which version of its launch template the group is."""


COUNT = "InstanceCount"
IMAGE = "ImageId"


def parameters(own: Mapping[str, str], declared: Collection[str] | None = None, **facts: object) -> dict[str, str]:
    """Returns a stack's parameters: the application's own, and Mayfly's, which those cannot override.

    Args:
        declared: those that the blueprint knows; None passes all. CloudFormation refuses what it does not know.
        facts: each one that PARAMETERS names.
    """
    known = {name: str(facts[fact]) for name, fact in PARAMETERS.items() if facts[fact] is not None}
    given = {**own, **known}
    return {name: value for name, value in given.items() if declared is None or name in declared}


def unfit(declared: Mapping[str, Any], own: Mapping[str, str]) -> Iterator[str]:
    """Returns what CloudFormation would refuse of an application's own parameters: values that do not match the pattern
    of their parameter, in the words that its template has for that.

    Args:
        declared: the parameters of a template.
    """
    for name, value in own.items():
        parameter = declared.get(name) or {}
        pattern, kind = parameter.get("AllowedPattern"), parameter.get("Type")
        if isinstance(pattern, str) and kind == "String" and not _matches(pattern, value):
            yield f"{name} is '{value}': {parameter.get('ConstraintDescription') or f'it has to match {pattern}'}"


def without_value(declared: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """The parameters of a template with neither a Default nor a value: CloudFormation refuses its stack.

    Args:
        declared: the parameters of a template. given: the names of those that have a value.
    """
    return [name for name, one in declared.items() if name not in given and "Default" not in (one or {})]


def _matches(pattern: str, value: str) -> bool:
    """Tells whether a pattern is the whole value's; one that only Java's library knows is left to CloudFormation."""
    try:
        # Java's sets of characters ("[a-z&&[^b]]") are something else to Python, which warns of them.
        with warnings.catch_warnings(action="error", category=FutureWarning):
            return re.fullmatch(pattern, value) is not None
    except (re.error, FutureWarning):
        return True
