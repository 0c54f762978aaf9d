"""AWS's own events, as far as Mayfly reads them."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from mayfly.contract.fields import ImageId, Tolerant


class _StatusDetails(Tolerant):
    status: str
    reason: str = Field(default="", alias="status-reason")


class RefreshStatus(Tolerant):
    """Detail of AWS's events ``EC2 Auto Scaling Instance Refresh ...``."""

    refresh: str = Field(alias="InstanceRefreshId")
    group: str = Field(alias="AutoScalingGroupName")
    percent: int = Field(default=0, alias="CheckpointPercentage")
    """Of a checkpoint that is reached. AWS sends it as a string."""


class StackStatus(Tolerant):
    """Detail of AWS's event ``CloudFormation Stack Status Change``."""

    stack_id: Annotated[str, StringConstraints(pattern=r"^arn:[^:]+:cloudformation:[^:]+:\d{12}:stack/.+$")] = Field(
        alias="stack-id"
    )
    details: _StatusDetails = Field(alias="status-details")
    request: str = Field(default="", alias="client-request-token")
    """Of the call that it is an effect of."""


class InstanceState(Tolerant):
    """Detail of AWS's event ``EC2 Instance State-change Notification``."""

    instance: str = Field(alias="instance-id")
    state: str


class InstanceTerminated(Tolerant):
    """Detail of AWS's event ``EC2 Instance Terminate Successful``: Auto Scaling has taken an instance out."""

    instance: str = Field(alias="EC2InstanceId")
    group: str = Field(alias="AutoScalingGroupName")
    cause: str = Field(alias="Cause")
    """For people, and in no fixed form."""


class LaunchFailed(Tolerant):
    """Detail of AWS's event ``EC2 Instance Launch Unsuccessful``: Auto Scaling could not launch an instance."""

    group: str = Field(alias="AutoScalingGroupName")
    why: str = Field(default="", alias="StatusMessage")
    details: dict[str, str] = Field(default_factory=dict, alias="Details")

    @property
    def zone(self) -> str:
        """Where it was to be launched; empty where AWS does not say it."""
        return self.details.get("Availability Zone", "")


class ImageState(Tolerant):
    """Detail of AWS's event ``EC2 AMI State Change``."""

    image: str = Field(alias="ImageId")
    state: str = Field(alias="State")
    why: str = Field(default="", alias="ErrorMessage")


class CommandStatus(Tolerant):
    """Detail of AWS's event ``EC2 Command Status-change Notification``: how a command stands as a whole."""

    command: str = Field(alias="command-id")
    status: str


class ParameterChange(Tolerant):
    """Detail of AWS's event ``Parameter Store Change``."""

    name: str
    operation: str
    """``Create``, ``Update``, ``Delete`` or ``LabelParameterVersion``."""


class PublishedImage(Tolerant):
    """One image in a publisher's message."""

    image: ImageId = Field(alias="ImageId")
    name: str = Field(default="", alias="Name")


class BaseImagesPublished(Tolerant):
    """A message of the SNS topics on which publishers of base images announce new ones.

    Amazon Linux and FreeBSD send ``{"v1": {"Regions": {Region: [image, ...]}}}``, ECS sends
    ``{"ECSAmis": [{"Regions": {Region: image}}, ...]}``; an image is ``{"ImageId": ..., "Name": ...}``. What is read is
    any ``Regions`` in it. A publisher that sends prose (Windows) cannot be followed.
    """

    regions: dict[str, tuple[PublishedImage, ...]] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, message: Any) -> Any:
        regions: dict[str, list[Any]] = {}
        for found in _regions_in(message):
            for region, images in found.items():
                regions.setdefault(region, []).extend(images if isinstance(images, list) else [images])
        return {"regions": regions}


def _regions_in(message: Any) -> Iterator[dict[str, Any]]:
    parts = message.values() if isinstance(message, dict) else message if isinstance(message, list) else ()
    if isinstance(message, dict) and isinstance(message.get("Regions"), dict):
        yield message["Regions"]
    for part in parts:
        yield from _regions_in(part)
