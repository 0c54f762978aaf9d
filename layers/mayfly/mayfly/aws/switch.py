"""The kill switch: one parameter. While it says anything but "off", nothing is destroyed."""

import re
from datetime import datetime
from typing import TYPE_CHECKING

from mayfly.aws.clients import controller
from mayfly.domain.moment import text

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

OFF = "off"

_SHOWN = 450
"""Characters kept of who and why: a parameter takes 4,096 bytes, and the switch must never fail for a long reason."""
_ON_SINCE = re.compile(r" at (\d{4}-\d\d-\d\dT[\d:.]+Z): ")


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


def on(who: str, at: datetime, why: str) -> str:
    """What the switch says when it is on. Parameter Store takes no two braces: they would name another parameter."""
    who, why = (said[:_SHOWN].replace("{{", "{ {") for said in (who, why))
    return f"{who} at {text(at)}: {why}"


def on_since(said: str) -> datetime | None:
    """When it was turned on, as `on` says it; None where it is off, or was turned on by hand."""
    found = _ON_SINCE.search(said)
    return datetime.fromisoformat(found[1]) if found else None


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
