"""What a platform team configures: applications and images in Parameter Store, blueprints in their bucket."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import ValidationError

from mayfly.aws.clients import controller
from mayfly.aws.stacks import TEMPLATE_BODY_LIMIT
from mayfly.messages import Application, Blueprint, ImageChoice, Refused, explain

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


def image(parameters: str, choice: ImageChoice) -> str:
    """The id of the image that a channel points to now.

    Raises:
        Refused: the family has no such channel.
    """
    return _value(f"{parameters}/images/{choice.family}/{choice.channel}")


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
