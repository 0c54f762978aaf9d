"""What is said of instances in many places here: their states, and the tag of their environment."""

import base64
import binascii
from typing import Any

from moto.ec2.models.instances import Instance

ENVIRONMENT_TAG = "mayfly:environment"
PENDING, RUNNING, SHUTTING_DOWN = ("pending", 0), ("running", 16), ("shutting-down", 32)
STOPPING, STOPPED = ("stopping", 64), ("stopped", 80)


def set_state(instance: Any, state: tuple[str, int]) -> None:
    """Put an instance into a state, which has a name and a code."""
    instance._state.name, instance._state.code = state


def tags_of(resource: Any) -> dict[str, str]:
    """The tags of one of moto's EC2 resources."""
    return {tag["key"]: tag["value"] for tag in resource.get_tags()}


def arn_of(instance: Instance) -> str:
    """The ARN of an instance."""
    return f"arn:aws:ec2:{instance.region_name}:{instance.owner_id}:instance/{instance.id}"


def user_data_of(instance: Instance) -> str:
    """An instance's user data as text. Moto keeps it encoded where an API call brought it, and as it is where its
    CloudFormation evaluated the template's Fn::Base64."""
    kept: Any = instance.user_data
    if not isinstance(kept, str):
        return str(kept.decode()) if kept else ""
    try:
        return base64.b64decode(kept, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return kept
