"""An image and its copies in other Regions: found by tag, made, shared with accounts, and looked at afterwards."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mayfly.aws import clients
from mayfly.domain import tags
from mayfly.messages import Family
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_KEY_USES = ("Decrypt", "DescribeKey", "CreateGrant", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKeyWithoutPlaintext")
"""What an account needs of a key to launch instances from what it encrypts."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An image as DescribeImages shows it."""

    id: str
    name: str
    state: str
    reason: str
    labels: Mapping[str, str]
    snapshots: tuple[str, ...]


def enter(here: Settings, family: Family, name: str, region: str, session: str) -> "Workload":
    """A Region of a family's account, in a session that can change what belongs to this family and nothing else."""
    return clients.workload(family.account, region, here.workload_role, session, tags.IMAGE_FAMILY, name)


def look(workload: "Workload", image: str) -> Seen | None:
    """The image of this id, a disabled one too; None where there is none (any more)."""
    listed = workload.ec2.describe_images(
        Filters=[{"Name": "image-id", "Values": [image]}], IncludeDisabled=True, IncludeDeprecated=True
    )["Images"]
    return _seen(listed[0]) if listed else None


def of(workload: "Workload", source: str, controller: str) -> list[Seen]:
    """This controller's copies of an image in the workload's Region, the newest first, whatever became of them."""
    pages = workload.ec2.get_paginator("describe_images").paginate(
        Owners=["self"],
        Filters=[
            {"Name": f"tag:{tags.SOURCE_IMAGE}", "Values": [source]},
            {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
        ],
    )
    found = sorted((image for page in pages for image in page["Images"]), key=lambda image: image["CreationDate"])
    return [_seen(image) for image in reversed(found)]


def copy(
    workload: "Workload", source: Seen, home: str, labels: Mapping[str, str], key: str | None, request: str
) -> str:
    """Asks for a copy in the workload's Region, tagged in the same call; returns its id.

    Args:
        home: the Region that it is copied from. key: of KMS, the account's default where it is None.
        request: any text that is this request's own; the same again is answered with the same copy.
    """
    digest = hashlib.sha256(f"{request} {source.id} {workload.region}".encode()).hexdigest()
    listed: Any = [{"Key": name, "Value": value} for name, value in labels.items()]
    encryption: Any = {"Encrypted": True, "KmsKeyId": key} if key else {}
    reply = workload.ec2.copy_image(
        SourceImageId=source.id,
        SourceRegion=home,
        # A copy that failed still has its name, and one name is there once.
        Name=f"{source.name[:115]}-{digest[:8]}",
        ClientToken=digest,
        TagSpecifications=[{"ResourceType": kind, "Tags": listed} for kind in ("image", "snapshot")],
        **encryption,
    )
    return reply["ImageId"]


def share(workload: "Workload", image: str, accounts: Collection[str]) -> None:
    """Lets accounts launch an image, besides those that may already."""
    if lacking := sorted(set(accounts) - shared_with(workload, image)):
        workload.ec2.modify_image_attribute(
            ImageId=image, LaunchPermission={"Add": [{"UserId": account} for account in lacking]}
        )


def launch_permissions(workload: "Workload", image: str) -> list[dict[str, str]]:
    """Who may launch an image, as EC2 says it: accounts, organizations, everybody."""
    reply = workload.ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    return [dict(permission) for permission in reply["LaunchPermissions"]]  # type: ignore[arg-type]


def shared_with(workload: "Workload", image: str) -> set[str]:
    """The accounts that may launch an image."""
    return {permission["UserId"] for permission in launch_permissions(workload, image) if "UserId" in permission}


def grant(workload: "Workload", key: str, accounts: Iterable[str]) -> None:
    """Lets accounts use the key of KMS that encrypts images, besides those that may already."""
    able = granted(workload, key)
    for account in sorted(set(accounts) - able):
        workload.kms.create_grant(
            KeyId=key,
            GranteePrincipal=f"arn:aws:iam::{account}:root",
            Operations=list(_KEY_USES),
            Name=f"mayfly-{account}",
        )


def granted(workload: "Workload", key: str) -> set[str]:
    """The accounts that have a grant on a key with all that launching needs."""
    pages = workload.kms.get_paginator("list_grants").paginate(KeyId=key)
    return {
        each["GranteePrincipal"].split(":")[4]
        for page in pages
        for each in page["Grants"]
        if set(_KEY_USES) <= set(each["Operations"]) and each["GranteePrincipal"].endswith(":root")
    }


def _seen(image: Any) -> Seen:
    return Seen(
        image["ImageId"],
        image.get("Name", image["ImageId"]),
        image["State"],
        image.get("StateReason", {}).get("Message", ""),
        {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])},
        tuple(
            device["Ebs"]["SnapshotId"]
            for device in image.get("BlockDeviceMappings", [])
            if device.get("Ebs", {}).get("SnapshotId")
        ),
    )
