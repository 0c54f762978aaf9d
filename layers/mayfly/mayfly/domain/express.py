"""Decides whether CloudFormation's Express mode is safe for an environment, and whether it helps.

In Express mode a resource is complete when the call that makes or deletes it has succeeded; it gets ready, or goes, in
the background. So it is safe where Mayfly confirms both itself, or where there is nothing to wait for.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from mayfly.domain import tags

type Deployment = Literal["automatic", "express", "standard"]
"""How an application's stacks are built and deleted: in Express mode where that is safe and helps, wherever it is safe,
or never."""

_AT_ONCE = (
    "AWS::AutoScaling::LaunchConfiguration",
    "AWS::AutoScaling::LifecycleHook",
    "AWS::AutoScaling::ScalingPolicy",
    "AWS::AutoScaling::ScheduledAction",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::EIP",
    "AWS::EC2::InternetGateway",
    "AWS::EC2::KeyPair",
    "AWS::EC2::LaunchTemplate",
    "AWS::EC2::Route",
    "AWS::EC2::RouteTable",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::Subnet",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPC",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::Events::EventBus",
    "AWS::Events::Rule",
    "AWS::IAM::InstanceProfile",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
    "AWS::Logs::MetricFilter",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::SSM::Parameter",
)
"""Of these, nothing but AWS's own propagation comes after the call: seconds, for a queue or a role up to a minute."""

NETWORK = ("AWS::EC2::NatGateway", "AWS::EC2::TransitGatewayAttachment", "AWS::EC2::VPCEndpoint")
_CONFIRMED = (
    "AWS::AutoScaling::AutoScalingGroup",
    "AWS::EC2::Instance",
    "AWS::EC2::NetworkInterface",
    "AWS::EC2::Volume",
    *NETWORK,
)
"""What Mayfly asks EC2 and Auto Scaling about itself, before an environment is ready and before it is gone."""


class Choice(Struct, frozen=True):
    """Whether an environment's stack is built and deleted in Express mode, and what its instances tell by their tags.

    Attributes:
        why: for people, also where it is not.
        tells_boot: whether each instance says by its tag `mayfly:boot` when it is ready.
    """

    express: bool
    why: str
    tells_boot: bool = False


def choose(deployment: Deployment, template: Mapping[str, Any]) -> Choice | None:
    """Chooses for a template; None where an application wants Express mode for one that it is not safe for."""
    if deployment == "standard":
        return Choice(False, "its application says so")
    tells_boot = any(tags.BOOT in text for text in _texts(template["Resources"]))
    if unsafe := obstacles(template):
        return None if deployment == "express" else Choice(False, f"it is not safe: {unsafe[0][1]}")
    if deployment == "automatic" and _kinds(template) & {*_CONFIRMED}:
        return Choice(False, "Mayfly would have to look again and again, where CloudFormation's event says it at once")
    return Choice(True, "nothing of it is left to wait for", tells_boot)


def obstacles(template: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Returns what of a template Express mode is not safe for: where it stands, and why."""
    found: list[tuple[tuple[str, ...], str]] = []
    if template.get("Transform"):
        found.append((("Transform",), "what a transform makes of it is not known"))
    tells_boot = any(tags.BOOT in text for text in _texts(template["Resources"]))
    for name, one in template["Resources"].items():
        kind = str(one.get("Type", "")) if isinstance(one, Mapping) else ""
        if kind not in _AT_ONCE and kind not in _CONFIRMED:
            why = (
                f"{name} ({kind or 'of no type'}) is ready, or gone, some time after its call, and Mayfly does not ask"
            )
            found.append((("Resources", name, "Type"), why))
        elif "CreationPolicy" in one and not tells_boot:
            why = f"{name} waits for signals, and its instances do not say by the tag {tags.BOOT} when they are ready"
            found.append((("Resources", name, "CreationPolicy"), why))
    return found


def _kinds(template: Mapping[str, Any]) -> set[str]:
    return {str(one.get("Type", "")) for one in template["Resources"].values() if isinstance(one, Mapping)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
