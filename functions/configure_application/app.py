"""Takes `Application Change Requested` and puts the configuration in place, where it is right."""

from typing import Any

from mayfly.aws import parameters
from mayfly.aws.clients import controller
from mayfly.aws.dead_letters import message_handler
from mayfly.contract.reader import Refused, receive
from mayfly.contract.requests import ApplicationChangeRequested
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import catalogue

_LONGEST = 8_192
"""Characters that a parameter of Parameter Store may have."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A change is made to the version that was looked at, or not at all. One that comes twice finds it made."""
    settings, asked = load_settings(), receive(ApplicationChangeRequested, event).message
    logger.append_keys(application=asked.application)
    ssm, parameter = controller("ssm"), f"{settings.parameters}/applications/{asked.application}"
    newest = next(reversed(parameters.versions(ssm, parameter)), None)
    number = newest.number if newest else 0
    if asked.document is None:
        if number == asked.made_from and newest:
            ssm.delete_parameter(Name=parameter)
        return {"accepted": True, "application": asked.application, "version": 0 if newest is None else number}
    value = checked(settings, asked.document)
    if newest and newest.value == value:
        return {"accepted": True, "application": asked.application, "version": number}
    if number != asked.made_from:
        raise Refused(f"made_from: expected {number}, which is the newest, but it is {asked.made_from}")
    parameters.put(ssm, parameter, parameters.Version(number + 1, "", asked.requested_by, asked.why, value))
    return {"accepted": True, "application": asked.application, "version": number + 1}


def checked(settings: Settings, document: dict[str, Any]) -> str:
    """A document as it is kept, if it is right and all that it names is there.

    Raises:
        Refused: it is not; each wrong field is named.
    """
    model = catalogue.application_of(document)
    if missing := catalogue.missing(settings, model):
        raise Refused("; ".join(why for _, why in missing))
    if len(value := catalogue.as_kept(model)) > _LONGEST:
        raise Refused(f"document: expected at most {_LONGEST} characters, but it has {len(value)}")
    return value
