"""What a platform team configures: applications and image families in Parameter Store, blueprints in their bucket."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import ValidationError

from mayfly.aws import channels
from mayfly.aws.clients import controller
from mayfly.aws.stacks import TEMPLATE_BODY_LIMIT
from mayfly.messages import Application, Blueprint, Family, ImageChoice, Refused, explain
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient


def application(parameters: str, name: str) -> Application:
    """The configuration of an application.

    Raises:
        Refused: there is none, or it is wrong; each wrong field is named.
    """
    parameter = f"{parameters}/applications/{name}"
    try:
        return Application.model_validate_json(_value(parameter))
    except ValidationError as error:
        raise Refused(f"the parameter {parameter} is wrong: {explain(error)}") from None


def applications(parameters: str) -> Iterator[tuple[str, Application | Refused]]:
    """Every configured application, by name. One that is wrong comes as its refusal, and hides no other."""
    for name, value in _below(f"{parameters}/applications/"):
        try:
            yield name, Application.model_validate_json(value)
        except ValidationError as error:
            yield name, Refused(f"the parameter {parameters}/applications/{name} is wrong: {explain(error)}")


def family(parameters: str, name: str) -> Family:
    """The configuration of an image family.

    Raises:
        Refused: there is none, or it is wrong; each wrong field is named.
    """
    parameter = f"{parameters}/families/{name}"
    return _family(parameter, _value(parameter))


def families(parameters: str) -> Iterator[tuple[str, Family | Refused]]:
    """Every configured image family, by name. One that is wrong comes as its refusal, and hides no other."""
    for name, value in _below(f"{parameters}/families/"):
        try:
            yield name, _family(f"{parameters}/families/{name}", value)
        except Refused as refusal:
            yield name, refusal


def _below(path: str) -> Iterator[tuple[str, str]]:
    for page in controller("ssm").get_paginator("get_parameters_by_path").paginate(Path=path):
        for found in page["Parameters"]:
            yield found["Name"].removeprefix(path), found["Value"]


def _family(parameter: str, value: str) -> Family:
    try:
        return Family.model_validate_json(value)
    except ValidationError as error:
        raise Refused(f"the parameter {parameter} is wrong: {explain(error)}") from None


def place(here: Settings, account: str | None, region: str | None) -> tuple[str, str]:
    """Where something configured lives: where it says, or in the controller's own account or Region.

    Raises:
        Refused: it is no configured place. What is built elsewhere, no sweep would find.
    """
    own_account, own_region, _ = here.controller.split("/", 2)
    chosen = (account or own_account, region or own_region)
    if chosen not in here.places:
        known = ", ".join("/".join(place) for place in here.places)
        raise Refused(f"account, region: expected one of {known}, but it is {'/'.join(chosen)}")
    return chosen


def image(here: Settings, choice: ImageChoice, region: str) -> str:
    """The id that the image of a channel has in a Region now.

    What Mayfly bakes has a record that says so for every Region at once; what somebody else bakes has a parameter.

    Raises:
        Refused: the family has no such channel, or the channel no image in that Region.
    """
    channel = channels.read(here.table, choice.family, choice.channel)
    if channel.current is None:
        return _value(f"{here.parameters}/images/{choice.family}/{choice.channel}")
    if region not in channel.current.regions:
        raise Refused(
            f"image: the channel {choice.channel} of the family {choice.family} has no image in {region}; add the "
            "Region to the family's regions, and promote an image"
        )
    return channel.current.regions[region]


def _value(parameter: str) -> str:
    ssm: SSMClient = controller("ssm")
    try:
        return ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        raise Refused(f"there is no parameter {parameter} in Parameter Store; put it there first") from None


def pin(bucket: str, key: str) -> Blueprint:
    """A blueprint as it is now, with the version that makes later reads give the same.

    Raises:
        Refused: it is not there, or larger than a CreateStack call takes.
    """
    s3: S3Client = controller("s3")
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            raise Refused(f"there is no blueprint {key} in the bucket {bucket}; upload it first") from None
        raise
    if head["ContentLength"] > TEMPLATE_BODY_LIMIT:
        raise Refused(
            f"the blueprint {key} has {head['ContentLength']} bytes; CloudFormation takes {TEMPLATE_BODY_LIMIT} "
            "in a call: leave out comments, or move parts into nested stacks"
        )
    return Blueprint(key=key, version_id=head.get("VersionId"))


def template(bucket: str, blueprint: Blueprint) -> str:
    """The text of a pinned blueprint."""
    s3: S3Client = controller("s3")
    version = {"VersionId": blueprint.version_id} if blueprint.version_id else {}
    reply = s3.get_object(Bucket=bucket, Key=blueprint.key, **version)  # type: ignore[arg-type]
    return reply["Body"].read().decode()
