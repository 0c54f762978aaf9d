"""Clients of AWS. The controller's use the function's own role; a workload account is entered through its role.

The role is assumed once an environment, with the environment as session name and session tag: CloudTrail then names
the life that made a call, and the role's policy refuses to destroy what belongs to another one.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

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

_LOCAL_ENDPOINT = "MAYFLY_WORKLOAD_ENDPOINT_URL"
"""Where this is set, workload accounts are reached there; on AWS it is not, and botocore finds the endpoints."""


@cache
def controller(service: str) -> Any:
    """A client in the controller account, made at its first use and kept for the process."""
    return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Workload:
    """One environment's view of its workload account."""

    credentials: Mapping[str, str]
    region: str

    def _client(self, service: str) -> Any:
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
    def s3(self) -> Any:
        return self._client("s3")


def workload(
    account: str, region: str, role: str, name: str | None, label: str = tags.ENVIRONMENT, value: str | None = None
) -> Workload:
    """Enters a workload account on behalf of one environment or image family, or of who only looks and destroys
    nothing.

    Args:
        account: 12 digits. region: such as ``eu-central-1``. role: the role's name there.
        name: the session's name, which CloudTrail shows: an environment, or a bake; None for a sweep.
        label: the key of the session's tag. value: its value, `name` where it is left out.

    Raises:
        botocore.exceptions.ClientError: AccessDenied where the role does not exist or does not trust us.
    """
    sts = boto3.client("sts", config=_CONFIG, endpoint_url=os.environ.get(_LOCAL_ENDPOINT))
    reply = sts.assume_role(
        RoleArn=f"arn:aws:iam::{account}:role/{role}",
        RoleSessionName=name or "mayfly-sweep",
        DurationSeconds=900,
        # Without the tag the role's policy permits no destruction at all.
        Tags=[{"Key": label, "Value": value or name}] if name else [],
    )
    credentials = reply["Credentials"]
    return Workload({key: str(credentials[key]) for key in credentials if key != "Expiration"}, region)  # type: ignore[literal-required]
