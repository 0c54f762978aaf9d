"""Takes `Application Change Requested` and puts the configuration in place, where it is right."""

from typing import Any

import mayfly.contract.configuration  # noqa: F401 - read in each first call
from mayfly.aws import parameters
from mayfly.aws.clients import controller
from mayfly.aws.dead_letters import message_handler
from mayfly.contract.reader import Refused, receive
from mayfly.contract.requests import ApplicationChangeRequested
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import catalogue


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A change is made to the version that was looked at, or not at all. One that comes twice finds it made."""
    settings, asked = load_settings(), receive(ApplicationChangeRequested, event).message
    logger.append_keys(application=asked.application)
    parameter = f"{settings.parameters}/applications/{asked.application}"
    newest = next(reversed(parameters.versions(parameter)), None)
    number = newest.number if newest else 0
    value = None if asked.document is None else catalogue.checked(settings, asked.document)
    if value == (newest.value if newest else None):
        return {"accepted": True, "application": asked.application, "version": number}
    if number != asked.made_from:
        raise Refused(f"made_from: expected {number}, which is the newest, but it is {asked.made_from}")
    if value is None:
        controller("ssm").delete_parameter(Name=parameter)
        return {"accepted": True, "application": asked.application, "version": 0}
    parameters.put(parameter, parameters.Version(number + 1, "", asked.requested_by, asked.why, value))
    return {"accepted": True, "application": asked.application, "version": number + 1}
