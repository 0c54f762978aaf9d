"""Gives an environment, or a bake, what a Puppet server asks for before it signs a certificate."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mayfly.aws.clients import controller
from mayfly.domain.puppet_secret import derive
from mayfly.observability import logger
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

PARAMETER = "PuppetSecret"
"""The blueprint's parameter that takes it."""


def of_environment(
    settings: Settings, template: str, given: Mapping[str, str], account: str, name: str
) -> dict[str, str]:
    """Returns the parameter with its secret, where the blueprint asks a Puppet server and takes one; else nothing."""
    if not given.get("PuppetServer") or PARAMETER in given or not re.search(rf"\b{PARAMETER}\b", template):
        return {}
    return {PARAMETER: secret(settings, account, name)}


def secret(settings: Settings, account: str, name: str) -> str:
    """Returns the secret of one environment or bake, made anew each time and kept nowhere; "" where no key is
    configured."""
    ssm: SSMClient = controller("ssm")
    parameter = f"{settings.parameters}/puppet/key"
    try:
        key = ssm.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        logger.warning("the Puppet server has to sign certificates by itself", extra={"missing": parameter})
        return ""
    return derive(key, settings.controller, account, name)
