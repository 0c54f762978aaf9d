"""What CloudFormation asks of a template before it begins, on top of moto, which takes anything of any size."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
from moto.cloudformation import models, parsing, responses
from moto.cloudformation.exceptions import CloudFormationError, ValidationError
from moto.cloudformation.models import Stack
from moto.cloudformation.responses import CloudFormationResponse
from moto.cloudformation.utils import yaml_tag_constructor

from local.cloud import ADMIN_KEYS, SECRET


class InsufficientCapabilities(CloudFormationError):
    """A template has transforms, and who asks for its stack has not said that they may be applied."""

    code = "InsufficientCapabilitiesException"

    def __init__(self) -> None:
        super().__init__("Requires capabilities : [CAPABILITY_AUTO_EXPAND]")


BODY, WHOLE = 51_200, 1_000_000
"""Bytes of a template that a call takes, and of one that CloudFormation reads from a bucket."""


def install() -> None:
    """Lets CloudFormation read templates from the controller account's buckets."""
    for module in (models, responses):
        vars(module)["yaml_tag_constructor"] = _construct
    vars(responses)["get_stack_from_s3_url"] = lambda url, **_: read(url)
    vars(parsing)["clean_json"] = _as_aws(parsing.clean_json)
    vars(models)["Stack"].parse_template = staticmethod(_once(Stack.parse_template))


def _once(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads each text once: PyYAML computes for 50 ms over a blueprint, and each CreateStack has it read three times.
    Who asks gets a copy of his own: moto changes what it reads."""
    kept = lru_cache(maxsize=100)(lambda text: pickle.dumps(parse(text)))

    def parse_template(template: str) -> Any:
        return pickle.loads(kept(template))

    return parse_template


def _as_aws(clean: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`AWS::NoValue` takes an element out of its list, where moto leaves None; `Fn::GetAZs` of no Region is of the
    stack's, where moto takes us-east-1."""

    def clean_json(given: Any, resources: Any) -> Any:
        if isinstance(given, dict) and given.get("Fn::GetAZs") == "":
            given = {"Fn::GetAZs": resources["AWS::Region"]}
        cleaned = clean(given, resources)
        return [one for one in cleaned if one is not None] if isinstance(given, list) else cleaned

    return clean_json


def _construct(loader: Any, tag: Any, node: Any) -> Any:
    """A function in its long form; moto splits the attribute of `!GetAtt Database.Endpoint.Address` at each dot."""
    if tag == "!GetAtt" and isinstance(node.value, str):
        return {"Fn::GetAtt": node.value.split(".", 1)}
    return yaml_tag_constructor(loader, tag, node)


def located(template_url: str) -> tuple[str, str, str | None]:
    """Bucket, key and version in an address of the controller account's S3."""
    url = urlsplit(template_url)
    bucket, _, key = url.path.lstrip("/").partition("/")
    return bucket, unquote(key), dict(parse_qsl(url.query)).get("versionId")


def check(response: CloudFormationResponse) -> None:
    """Refuses a template and its parameters as CreateStack does."""
    body, url = response._get_param("TemplateBody"), response._get_param("TemplateURL")
    if len((body or "").encode()) > BODY:
        raise ValidationError(
            message="1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
            f"Member must have length less than or equal to {BODY}"
        )
    text = body or (read(url) if url else "")
    if not text:
        return
    template = Stack.parse_template(text)
    if template.get("Transform") and "CAPABILITY_AUTO_EXPAND" not in response._get_param("Capabilities", []):
        raise InsufficientCapabilities
    _check_parameters(template, response._get_param("Parameters", []))


def _check_parameters(template: Any, given: list[dict[str, str]]) -> None:
    declared: dict[str, Any] = template.get("Parameters") or {}
    names = [each["ParameterKey"] for each in given]
    if unknown := [name for name in names if name not in declared]:
        raise ValidationError(message=f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    if lacking := [name for name, one in declared.items() if "Default" not in one and name not in names]:
        raise ValidationError(message=f"Parameters: [{', '.join(lacking)}] must have values")
    check_values(declared, {each["ParameterKey"]: each.get("ParameterValue", "") for each in given})


def check_values(declared: dict[str, Any], values: dict[str, Any]) -> None:
    """Refuses values that do not match their parameter's AllowedPattern, which stands for the whole value, and of a
    list for each of its members."""
    for name, value in values.items():
        parameter = declared.get(name, {})
        pattern = parameter.get("AllowedPattern")
        members = str(value).split(",") if parameter.get("Type") == "CommaDelimitedList" else [str(value)]
        if pattern is None or all(re.fullmatch(pattern, each.strip()) for each in members):
            continue
        if said := parameter.get("ConstraintDescription"):
            raise ValidationError(message=f"Parameter {name} failed to satisfy constraint: {said}")
        raise ValidationError(message=f"Parameter '{name}' must match pattern {pattern}")


def read(template_url: str) -> str:
    """A template of the controller account's buckets.

    Raises:
        ValidationError: it cannot be read, or is too large.
    """
    bucket, key, version = located(template_url)
    s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["MAYFLY_LOCAL_CONTROLLER_URL"],
        region_name="us-east-1",
        aws_access_key_id=ADMIN_KEYS["controller"],
        aws_secret_access_key=SECRET,
    )
    which: Any = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
    try:
        text = s3.get_object(**which)["Body"].read()
    except s3.exceptions.ClientError as error:
        raise ValidationError(message=f"S3 error: {error}") from None
    if len(text) > WHOLE:
        raise ValidationError(message=f"Template may not exceed {WHOLE} bytes in size.")
    return str(text.decode())
