"""Invokes Mayfly's own functions."""

import json
from typing import Any

from mayfly.aws.clients import controller


def invoke(function: str, event: Any) -> None:
    """Hands an event to a function as EventBridge and SNS do: Lambda tries it three times, and its destination gets
    what fails."""
    controller("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode())
