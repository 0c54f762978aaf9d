"""The parameters that Mayfly gives to every blueprint."""

from collections.abc import Collection, Mapping

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
    """A stack's parameters: the application's own, and Mayfly's, which those cannot override.

    Args:
        declared: those that the blueprint knows; None passes all. CloudFormation refuses what it does not know.
        facts: each one that PARAMETERS names.
    """
    known = {name: str(facts[fact]) for name, fact in PARAMETERS.items() if facts[fact] is not None}
    given = {**own, **known}
    return {name: value for name, value in given.items() if declared is None or name in declared}
