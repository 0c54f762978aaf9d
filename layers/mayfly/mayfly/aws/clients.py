"""Makes clients of AWS: for the controller by the function's own role, for a workload account by assuming its role.

The role is assumed once an environment, with the environment as session name and session tag: CloudTrail then names
the life that made a call, and the role's policy refuses to destroy what belongs to another one.
"""

import os
from collections.abc import Mapping
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from msgspec import Struct

from mayfly.domain import tags

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient
    from mypy_boto3_ssm import SSMClient

# Throttling is ordinary where dozens of stacks move at once; standard slows only the call that was throttled.
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 6}, connect_timeout=5, read_timeout=30)

_MAKING = Lock()
"""boto3's session makes clients for one thread at a time; the clients themselves are for all."""
_SIGNED = _CONFIG.merge(Config(signature_version="s3v4"))
"""Of S3: addresses are signed with version 2 by default, which new buckets do not take."""

_LOCAL_ENDPOINT = "MAYFLY_WORKLOAD_ENDPOINT_URL"
"""Where this is set, workload accounts are reached there; on AWS it is not, and botocore finds the endpoints."""


@cache
def controller(service: str) -> Any:
    """Returns a client in the controller account, made at its first use and kept for the process."""
    with _MAKING:
        config = _SIGNED if service == "s3" else _CONFIG
        return boto3.client(service, config=config)  # type: ignore[call-overload]


@cache
def unsigned(service: str) -> Any:
    """Returns a client that signs nothing: for addresses of what others have to be permitted to read."""
    return boto3.client(service, config=_CONFIG.merge(Config(signature_version=UNSIGNED)))  # type: ignore[call-overload]


class Workload(Struct, frozen=True, dict=True):
    """One environment's view of its workload account."""

    credentials: Mapping[str, str]
    region: str
    assumed: Mapping[str, Any]
    """The call that assumed the role."""

    def for_vpc(self, vpc: str) -> "Workload":
        """Assumes the role once more, with a VPC as a second tag of the session: the default security group of a VPC
        carries no tags that a policy could ask for."""
        return _assume(
            {**self.assumed, "Tags": [*self.assumed.get("Tags", []), {"Key": tags.VPC, "Value": vpc}]}, self.region
        )

    def _client(self, service: str) -> Any:
        with _MAKING:
            return boto3.client(  # type: ignore[call-overload]
                service,
                config=_CONFIG,
                region_name=self.region,
                endpoint_url=os.environ.get(_LOCAL_ENDPOINT),
                aws_access_key_id=self.credentials["AccessKeyId"],
                aws_secret_access_key=self.credentials["SecretAccessKey"],
                aws_session_token=self.credentials["SessionToken"],
            )

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        return self._client("cloudformation")  # type: ignore[no-any-return]

    @cached_property
    def ec2(self) -> "EC2Client":
        return self._client("ec2")  # type: ignore[no-any-return]

    @cached_property
    def autoscaling(self) -> "AutoScalingClient":
        return self._client("autoscaling")  # type: ignore[no-any-return]

    @cached_property
    def cloudwatch(self) -> Any:
        return self._client("cloudwatch")

    @cached_property
    def tagging(self) -> "ResourceGroupsTaggingAPIClient":
        return self._client("resourcegroupstaggingapi")  # type: ignore[no-any-return]

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        return self._client("logs")  # type: ignore[no-any-return]

    @cached_property
    def ssm(self) -> "SSMClient":
        return self._client("ssm")  # type: ignore[no-any-return]

    @cached_property
    def imagebuilder(self) -> Any:
        return self._client("imagebuilder")

    @cached_property
    def kms(self) -> Any:
        return self._client("kms")

    @cached_property
    def rds(self) -> Any:
        return self._client("rds")

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def elbv2(self) -> Any:
        return self._client("elbv2")

    @cached_property
    def iam(self) -> Any:
        return self._client("iam")

    @cached_property
    def servicequotas(self) -> Any:
        return self._client("service-quotas")


def workload(
    account: str, region: str, role: str, name: str | None, tag: str | tuple[str, str] = tags.ENVIRONMENT
) -> Workload:
    """Assumes the workload role of an account; a session without a tag can destroy nothing.

    Args:
        account: 12 digits. region: such as ``eu-central-1``. role: the role's name there.
        name: the session's name, which CloudTrail shows: an environment, or a bake; None for a sweep.
        tag: of the session: its key, or key and value where that is another one than `name`.

    Raises:
        botocore.exceptions.ClientError: AccessDenied where the role does not exist or does not trust us.
    """
    key, value = (tag, name) if isinstance(tag, str) else tag
    call: dict[str, Any] = {
        "RoleArn": f"arn:aws:iam::{account}:role/{role}",
        "RoleSessionName": name or "mayfly-sweep",
        "DurationSeconds": 900,
    }
    if name:  # without the tag the role's policy permits no destruction at all
        call["Tags"] = [{"Key": key, "Value": value or ""}]
    return _assume(call, region)


def _assume(call: Mapping[str, Any], region: str) -> Workload:
    with _MAKING:
        sts = boto3.client("sts", config=_CONFIG, endpoint_url=os.environ.get(_LOCAL_ENDPOINT))
    credentials = sts.assume_role(**call)["Credentials"]
    known = {key: str(credentials[key]) for key in credentials if key != "Expiration"}  # type: ignore[literal-required]
    return Workload(known, region, call)
