"""The tag contract: which tags say that something is Mayfly's, whose, and until when."""

from collections.abc import Mapping
from datetime import datetime

from mayfly.domain.timestamp import utc_text

ENVIRONMENT = "mayfly:environment"
APPLICATION = "mayfly:application"
CONTROLLER = "mayfly:controller"
EXPIRES_AT = "mayfly:expires-at"
"""The deadline that an environment was created with. An extension moves the record's, and the ceiling bounds it."""
CEILING = "mayfly:ceiling"
"""The timestamp past which no extension reaches."""
PROTECTED = "mayfly:protected"
SERVICE = "mayfly:service"
"""On everything of a permanent environment, with its id. It has no deadline, and nothing of Mayfly's ends it."""
VPC = "mayfly:vpc"
"""Only of sessions: the VPC of the environment whose default security group is mended."""
IMAGE_FAMILY = "mayfly:image-family"
BAKE = "mayfly:bake"
BAKE_RESULT = "mayfly:bake-result"
"""Written by the builder itself, once, when its script is done: ``ok``, or ``failed: ...``."""
BOOT = "mayfly:boot"
"""Written by each instance itself, at each step of its first boot: how far it is, ``ready ...`` or ``failed ...``."""
BOOT_LOG = "mayfly:boot-log"
"""The last lines of the step that failed."""
VERSION = "mayfly:version"
"""The version of the application that runs on the instance, by its own word."""
BASE_IMAGE = "mayfly:base-image"
"""What an image was baked from."""
MADE_OF = "mayfly:made-of-"
"""Begins the tags of an image with the digests of the code, the package and the script that it was baked with."""
IMAGE_STATE = "mayfly:image-state"
SOURCE_IMAGE = "mayfly:source-image"
"""On a copy in another Region: the image that it is a copy of."""
DISABLED_AT = "mayfly:disabled-at"
"""When retirement disabled an image. EC2 does not remember it."""


def of_builder(bake: str, family: str, controller: str, deadline: str) -> dict[str, str]:
    """Returns the tags of a builder and its volumes, set in the call that launches it."""
    return {BAKE: bake, IMAGE_FAMILY: family, CONTROLLER: controller, EXPIRES_AT: deadline, "Name": f"bake {bake}"}


def of_image(bake: str, family: str, controller: str, base: str, made_of: Mapping[str, str]) -> dict[str, str]:
    """Returns the tags of an image and its snapshots, set in the call that makes them.

    Args:
        base: the image that it was baked from. made_of: digests of the rest.
    """
    digests = {f"{MADE_OF}{name.replace('_', '-')}": value for name, value in made_of.items() if name != "base_image"}
    return {
        **digests,
        BAKE: bake,
        IMAGE_FAMILY: family,
        CONTROLLER: controller,
        BASE_IMAGE: base,
        IMAGE_STATE: "baked",
        "Name": f"{family} {bake}",
    }


def of_environment(
    environment: str, application: str, controller: str, deadline: datetime, ceiling: datetime
) -> dict[str, str]:
    """Returns the tags of an environment's stack. They are set in the call that creates it: tagging later is a race."""
    return {
        ENVIRONMENT: environment,
        APPLICATION: application,
        CONTROLLER: controller,
        EXPIRES_AT: utc_text(deadline),
        CEILING: utc_text(ceiling),
    }


def of_service(service: str, application: str, controller: str) -> dict[str, str]:
    """Returns the tags of a permanent environment's stack: the same contract, without a deadline and protected."""
    return {
        ENVIRONMENT: service,
        SERVICE: service,
        APPLICATION: application,
        CONTROLLER: controller,
        PROTECTED: "true",
    }
