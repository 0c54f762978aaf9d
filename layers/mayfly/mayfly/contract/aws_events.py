"""AWS's own events, as far as Mayfly reads them."""

from collections.abc import Iterator
from typing import Annotated, Any, Self

from msgspec import Meta, ValidationError, field

from mayfly.contract.fields import END, ImageId, Tolerant


class _StatusDetails(Tolerant):
    status: str
    reason: str = field(default="", name="status-reason")


class RefreshStatus(Tolerant):
    """Detail of AWS's events ``EC2 Auto Scaling Instance Refresh ...``."""

    refresh: str = field(name="InstanceRefreshId")
    group: str = field(name="AutoScalingGroupName")
    percent: int = field(default=0, name="CheckpointPercentage")
    """Of a checkpoint that is reached. AWS sends it as a string."""


class StackStatus(Tolerant):
    """Detail of AWS's event ``CloudFormation Stack Status Change``."""

    stack_id: Annotated[str, Meta(pattern=r"^arn:[^:]+:cloudformation:[^:]+:\d{12}:stack/.+$" + END)] = field(
        name="stack-id"
    )
    details: _StatusDetails = field(name="status-details")
    request: str = field(default="", name="client-request-token")
    """Of the call that it is an effect of."""


class InstanceState(Tolerant):
    """Detail of AWS's event ``EC2 Instance State-change Notification``."""

    instance: str = field(name="instance-id")
    state: str


class InstanceTerminated(Tolerant):
    """Detail of AWS's event ``EC2 Instance Terminate Successful``: Auto Scaling has taken an instance out."""

    instance: str = field(name="EC2InstanceId")
    group: str = field(name="AutoScalingGroupName")
    cause: str = field(name="Cause")
    """For people, and in no fixed form."""


class LaunchFailed(Tolerant):
    """Detail of AWS's event ``EC2 Instance Launch Unsuccessful``: Auto Scaling could not launch an instance."""

    group: str = field(name="AutoScalingGroupName")
    why: str = field(default="", name="StatusMessage")
    details: dict[str, str] = field(default_factory=dict, name="Details")

    @property
    def zone(self) -> str:
        """Where it was to be launched; empty where AWS does not say it."""
        return self.details.get("Availability Zone", "")


class ImageState(Tolerant):
    """Detail of AWS's event ``EC2 AMI State Change``."""

    image: str = field(name="ImageId")
    state: str = field(name="State")
    why: str = field(default="", name="ErrorMessage")


class CommandStatus(Tolerant):
    """Detail of AWS's event ``EC2 Command Status-change Notification``: how a command stands as a whole."""

    command: str = field(name="command-id")
    status: str


class ParameterChange(Tolerant):
    """Detail of AWS's event ``Parameter Store Change``."""

    name: str
    operation: str
    """``Create``, ``Update``, ``Delete`` or ``LabelParameterVersion``."""


class PublishedImage(Tolerant):
    """One image in a publisher's message."""

    image: ImageId = field(name="ImageId")
    name: str = field(default="", name="Name")


class BaseImagesPublished(Tolerant):
    """A message of the SNS topics on which publishers of base images announce new ones.

    Amazon Linux and FreeBSD send ``{"v1": {"Regions": {Region: [image, ...]}}}``, ECS sends
    ``{"ECSAmis": [{"Regions": {Region: image}}, ...]}``; an image is ``{"ImageId": ..., "Name": ...}``. What is read is
    any ``Regions`` in it. A publisher that sends prose (Windows) cannot be followed.
    """

    regions: Annotated[dict[str, tuple[PublishedImage, ...]], Meta(min_length=1)]

    @classmethod
    def read(cls, said: Any, strict: bool = False) -> Self:
        """Reads what any publisher sends."""
        regions: dict[str, list[Any]] = {}
        for found in _regions_in(said):
            for region, images in found.items():
                regions.setdefault(region, []).extend(images if isinstance(images, list) else [images])
        for region, images in regions.items():
            for number, image in enumerate(images):
                try:
                    PublishedImage.read(image)
                except ValidationError as error:
                    raise ValidationError(f"regions.{region}.{number}.{error}") from None
        return super().read({"regions": regions}, strict)


def _regions_in(message: Any) -> Iterator[dict[str, Any]]:
    parts = message.values() if isinstance(message, dict) else message if isinstance(message, list) else ()
    if isinstance(message, dict) and isinstance(message.get("Regions"), dict):
        yield message["Regions"]
    for part in parts:
        yield from _regions_in(part)
