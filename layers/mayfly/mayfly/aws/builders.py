"""Builders, and the images made of them, seen through one workload account."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import Struct

from mayfly.aws import instances
from mayfly.aws.instances import plain
from mayfly.contract.orders import Builder
from mayfly.domain import tags

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


class Image(Struct, frozen=True):
    """An image as DescribeImages shows it."""

    id: str
    state: str
    why: str


class Leftover(Struct, frozen=True):
    """A builder or a volume of one."""

    kind: str
    id: str
    labels: Mapping[str, str]


def launch(workload: "Workload", bake: str, builder: Builder, user_data: str, labels: Mapping[str, str]) -> str:
    """Starts a bake's builder, tagged in the same call. Returns its id. EC2 answers a repetition like the first
    time, by the bake's name.

    It has no public address and stops when its script shuts it down; its volume goes with it.
    """
    disk: Any = {"DeleteOnTermination": True, "VolumeType": "gp3"}
    disk |= {"Encrypted": True, "KmsKeyId": builder.kms_key_id} if builder.kms_key_id else {}
    reply = workload.ec2.run_instances(
        ClientToken=hashlib.sha256(bake.encode()).hexdigest(),
        ImageId=builder.base_image,
        InstanceType=builder.instance_type,  # type: ignore[arg-type]
        MinCount=1,
        MaxCount=1,
        UserData=user_data,
        IamInstanceProfile={"Name": builder.instance_profile},
        InstanceInitiatedShutdownBehavior="stop",
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        NetworkInterfaces=[
            {
                "DeviceIndex": 0,
                "SubnetId": builder.subnet,
                "Groups": list(builder.security_groups),
                "AssociatePublicIpAddress": False,
                "DeleteOnTermination": True,
            }
        ],
        BlockDeviceMappings=[{"DeviceName": builder.root_device, "Ebs": disk}],
        TagSpecifications=[_tagged("instance", labels), _tagged("volume", labels)],
    )
    return reply["Instances"][0]["InstanceId"]


def make_image(workload: "Workload", instance: str, name: str, labels: Mapping[str, str]) -> Image:
    """Asks for an image of a stopped builder, tagged in the same call like its snapshots. An image of this name that
    is there already is the one asked for before."""
    try:
        reply = workload.ec2.create_image(
            InstanceId=instance,
            Name=name,
            TagSpecifications=[_tagged("image", labels), _tagged("snapshot", labels)],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidAMIName.Duplicate":
            raise
        named: Any = [{"Name": "name", "Values": [name]}]
        images = workload.ec2.describe_images(Owners=["self"], Filters=named)["Images"]
        if not images:  # just made, and not shown yet; the machine tries again
            raise
        found = images[0]
        return Image(found["ImageId"], found["State"], found.get("StateReason", {}).get("Message", ""))
    return Image(reply["ImageId"], "pending", "")


def label(workload: "Workload", image: str, state: str) -> None:
    """Writes onto an image how far it has come."""
    workload.ec2.create_tags(Resources=[image], Tags=[{"Key": tags.IMAGE_STATE, "Value": state}])


def leftovers(workload: "Workload", controller: str, bake: str | None = None) -> list[Leftover]:
    """Finds the builders of this controller that are not terminated, and their volumes without an instance: of one
    bake, or of all."""
    labels = {tags.CONTROLLER: controller, tags.BAKE: bake}
    by_tag: Any = [
        {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
        {"Name": f"tag:{tags.BAKE}", "Values": [bake]} if bake else {"Name": "tag-key", "Values": [tags.BAKE]},
        {"Name": "status", "Values": ["available"]},
    ]
    volumes = workload.ec2.get_paginator("describe_volumes").paginate(Filters=by_tag)
    return [
        *(Leftover("instance", one.id, one.labels) for one in instances.find(workload, labels)),
        *(
            Leftover("volume", one["VolumeId"], plain(one.get("Tags", [])))
            for page in volumes
            for one in page["Volumes"]
        ),
    ]


def remove(workload: "Workload", found: Iterable[Leftover]) -> None:
    """Ends builders and deletes loose volumes. The caller has asked the guard."""
    for leftover in found:
        if leftover.kind == "instance":
            workload.ec2.terminate_instances(InstanceIds=[leftover.id])
        else:
            workload.ec2.delete_volume(VolumeId=leftover.id)


def _tagged(kind: Any, labels: Mapping[str, str]) -> Any:
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in labels.items()]}
