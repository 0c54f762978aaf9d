"""Builders, and the images made of them, seen through one workload account."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mayfly.domain import tags
from mayfly.domain.bake import Candidate, newest
from mayfly.messages import BaseImage, Builder, Refused

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_ALIVE = ["pending", "running", "shutting-down", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A builder as DescribeInstances shows it."""

    id: str
    state: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Image:
    """An image as DescribeImages shows it."""

    id: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """A builder or a volume of one."""

    kind: str
    id: str
    labels: Mapping[str, str]


def find_base(workload: "Workload", base: BaseImage) -> Candidate:
    """The newest image that a family is baked from, as it is now.

    Raises:
        Refused: there is none.
    """
    wanted: dict[str, Any] = {"Owners": [base.owner], "Filters": [{"Name": "name", "Values": [base.name]}]}
    if base.parameter:
        try:
            value = workload.ssm.get_parameter(Name=base.parameter)["Parameter"]["Value"]
        except workload.ssm.exceptions.ParameterNotFound:
            raise Refused(f"base.parameter: there is no parameter {base.parameter} there") from None
        wanted = {"ImageIds": [value]}
    usable = [{"Name": "state", "Values": ["available"]}]
    pages = workload.ec2.get_paginator("describe_images").paginate(
        **wanted | {"Filters": [*wanted.get("Filters", []), *usable]}
    )
    found = newest(
        Candidate(image["ImageId"], image.get("Name", ""), image.get("CreationDate", ""), image["RootDeviceName"])
        for page in pages
        for image in page["Images"]
    )
    if found is None:
        named = base.parameter or f"{base.name} of {base.owner}"
        raise Refused(f"base: expected an image that is available, but there is none for {named}")
    return found


def launch(workload: "Workload", bake: str, builder: Builder, user_data: str, labels: Mapping[str, str]) -> str:
    """Starts a bake's builder, tagged from its first moment. Returns its id. EC2 answers a repetition like the first
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


def look(workload: "Workload", instance: str) -> Machine:
    """A builder as it is now; one that EC2 does not know any more is terminated."""
    try:
        reservations = workload.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidInstanceID.NotFound":
            raise
        return Machine(instance, "terminated", {})
    found = reservations[0]["Instances"][0]
    return Machine(instance, found["State"]["Name"], _plain(found.get("Tags", [])))


def console(workload: "Workload", instance: str) -> str:
    """What a builder has printed on its console so far: all that is known of one that cannot report."""
    return workload.ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")


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
        found = workload.ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])["Images"][0]
        return Image(found["ImageId"], found["State"], found.get("StateReason", {}).get("Message", ""))
    return Image(reply["ImageId"], "pending", "")


def label(workload: "Workload", image: str, state: str) -> None:
    """Writes onto an image how far it has come."""
    workload.ec2.create_tags(Resources=[image], Tags=[{"Key": tags.IMAGE_STATE, "Value": state}])


def leftovers(workload: "Workload", controller: str, bake: str | None = None) -> list[Leftover]:
    """The builders of this controller that are not terminated, and their volumes without an instance: of one bake, or
    of all."""
    by_tag: Any = [
        {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
        {"Name": f"tag:{tags.BAKE}", "Values": [bake]} if bake else {"Name": "tag-key", "Values": [tags.BAKE]},
    ]
    alive: Any = {"Name": "instance-state-name", "Values": _ALIVE}
    loose: Any = {"Name": "status", "Values": ["available"]}
    instances = workload.ec2.get_paginator("describe_instances").paginate(Filters=[*by_tag, alive])
    volumes = workload.ec2.get_paginator("describe_volumes").paginate(Filters=[*by_tag, loose])
    found = [
        Leftover("instance", one["InstanceId"], _plain(one.get("Tags", [])))
        for page in instances
        for reservation in page["Reservations"]
        for one in reservation["Instances"]
    ]
    return found + [
        Leftover("volume", one["VolumeId"], _plain(one.get("Tags", [])))
        for volumes_page in volumes
        for one in volumes_page["Volumes"]
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


def _plain(listed: Iterable[Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed}
