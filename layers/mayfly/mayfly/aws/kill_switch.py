"""The kill switch: one parameter. While it says anything but that it is off, nothing is destroyed."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict, replace

from mayfly.aws import parameters as parameters_of
from mayfly.aws.clients import controller

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

OFF = "off"

_SHOWN = 450
"""Characters kept of who and why: a parameter takes 4,096 bytes, and the switch must never fail for a long reason."""


class KillSwitchOn(Exception):
    """Destroying is stopped, for now. The state machine tries again later."""


class Turn(Struct, frozen=True):
    """Who turned the switch, when (UTC, by EventBridge's clock) and why."""

    on: bool
    at: str
    by: str
    why: str

    @property
    def said(self) -> str:
        """As people are told."""
        return f"{self.by} at {self.at}: {self.why}" if self.on else OFF


def read(parameters: str) -> str:
    """Returns what the switch says: "off", or who turned it on, and why. Read right before destroying, never
    remembered.

    A switch that is not there is off; one that cannot be read is an error, and an error destroys nothing.
    """
    said = _value(parameters)
    if said is None:
        return OFF
    turned = _turn(said)
    return turned.said if turned else said  # by hand, an empty value is on as well: only exactly "off" is off


def last_turn(parameters: str) -> Turn | None:
    """Returns the last turn of the switch; None where nobody turned it, or somebody did by hand."""
    return _turn(_value(parameters) or "")


def turn(parameters: str, turned: Turn) -> None:
    """Turns the switch. Parameter Store keeps its history."""
    ssm: SSMClient = controller("ssm")
    # Parameter Store takes no two braces: they would name another parameter.
    by, why = (said[:_SHOWN].replace("{{", "{ {") for said in (turned.by, turned.why))
    value = json.dumps(asdict(replace(turned, by=by, why=why)), ensure_ascii=False)
    ssm.put_parameter(Name=f"{parameters}/kill-switch", Value=value, Type="String", Overwrite=True)


def check(parameters: str) -> None:
    """Lets pass while the switch is off.

    Raises:
        KillSwitchOn: says who turned it on, and why.
    """
    if (said := read(parameters)) != OFF:
        raise KillSwitchOn(f"the kill switch is on: {said}")


def _value(parameters: str) -> str | None:
    return parameters_of.get(controller("ssm"), f"{parameters}/kill-switch")


def _turn(value: str) -> Turn | None:
    """Reads what `turn` wrote. Any other text means that the switch is on."""
    try:
        turned = Turn(**json.loads(value))
        datetime.fromisoformat(turned.at)
    except (ValueError, TypeError):
        return None
    return turned if turned.on in (True, False) else None
