"""The kill switch: one parameter. While it says anything but "off", nothing is destroyed."""

from typing import TYPE_CHECKING

from mayfly.aws.clients import controller

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

OFF = "off"


class KillSwitchOn(Exception):
    """Destroying is stopped, for now. The state machine tries again later."""


def read(parameters: str) -> str:
    """What the switch says: "off", or who turned it on, and why. Read right before destroying, never remembered.

    A switch that is not there is off; one that cannot be read is an error, and an error destroys nothing.
    """
    ssm: SSMClient = controller("ssm")
    try:
        return ssm.get_parameter(Name=f"{parameters}/kill-switch")["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return OFF


def turn(parameters: str, said: str) -> None:
    """Sets the switch. Parameter Store keeps its history."""
    ssm: SSMClient = controller("ssm")
    ssm.put_parameter(Name=f"{parameters}/kill-switch", Value=said, Type="String", Overwrite=True)


def check(parameters: str) -> None:
    """Lets pass while the switch is off.

    Raises:
        KillSwitchOn: says who turned it on, and why.
    """
    if (said := read(parameters)) != OFF:
        raise KillSwitchOn(f"the kill switch is on: {said}")
