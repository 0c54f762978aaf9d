"""Finds an image and its copies in other Regions by tag, makes them, shares them with accounts, and looks at them
afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import Struct

from mayfly.aws import clients
from mayfly.domain import tags
from mayfly.domain.bake import Candidate
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload
    from mayfly.contract.configuration import Family


class CopyLimitReached(Exception):
    """EC2 copies or snapshots as much as it may in that Region: the state machine asks again, for hours."""


_LIMITS = frozenset(
    {
        "ConcurrentSnapshotLimitExceeded",
        "PendingSnapshotLimitExceeded",
        "ResourceLimitExceeded",
        "SnapshotLimitExceeded",
    }
)
"""EC2's codes of limits that it is below again when other copies are done, or somebody has raised a quota."""


class Seen(Struct, frozen=True):
    """An image as DescribeImages shows it."""

    id: str
    name: str
    state: str
    reason: str
    labels: Mapping[str, str]
    snapshots: tuple[str, ...]


def enter(settings: Settings, family: Family, name: str, region: str, session: str) -> Workload:
    """Enters a Region of a family's account, in a session that can change what belongs to this family and nothing
    else."""
    return clients.workload(family.account, region, settings.workload_role, session, (tags.IMAGE_FAMILY, name))


def describe_image(workload: Workload, image: str) -> Seen | None:
    """Returns the image of this id, a disabled one too; None where there is none (any more)."""
    listed = workload.ec2.describe_images(
        Filters=[{"Name": "image-id", "Values": [image]}], IncludeDisabled=True, IncludeDeprecated=True
    )["Images"]
    return _seen(listed[0]) if listed else None


def available(workload: Workload, **which: Any) -> Iterator[Candidate]:
    """Returns the images that are available among those that DescribeImages is asked for by these arguments."""
    filters = [*which.pop("Filters", []), {"Name": "state", "Values": ["available"]}]
    for page in workload.ec2.get_paginator("describe_images").paginate(Filters=filters, **which):
        for image in page["Images"]:
            named, created = image.get("Name", ""), image.get("CreationDate", "")
            yield Candidate(image["ImageId"], named, created, image["RootDeviceName"], image["Architecture"])


def copies_of(workload: Workload, source: str, controller: str) -> list[Seen]:
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


def copy(workload: Workload, source: Seen, home: str, key: str | None, request: str) -> str:
    """Asks for a copy in the workload's Region, tagged like its source in the same call; returns its id.

    Args:
        home: the Region that it is copied from. key: of KMS, the account's default where it is None.
        request: any text that is this request's own; the same again is answered with the same copy.

    Raises:
        CopyLimitReached: EC2 takes none now.
    """
    digest = hashlib.sha256(f"{request} {source.id} {workload.region}".encode()).hexdigest()
    labels = {**source.labels, tags.SOURCE_IMAGE: source.id}
    listed: Any = [{"Key": name, "Value": value} for name, value in labels.items()]
    encryption: Any = {"Encrypted": True, "KmsKeyId": key} if key else {}
    try:
        reply = workload.ec2.copy_image(
            SourceImageId=source.id,
            SourceRegion=home,
            # A copy that failed still has its name, and one name is there once.
            Name=f"{source.name[:115]}-{digest[:8]}",
            ClientToken=digest,
            TagSpecifications=[{"ResourceType": kind, "Tags": listed} for kind in ("image", "snapshot")],
            **encryption,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in _LIMITS:
            raise CopyLimitReached(f"{workload.region} takes no copy of {source.id} now: {error}") from error
        raise
    return reply["ImageId"]


def share(workload: Workload, image: str, accounts: Collection[str]) -> None:
    """Lets accounts launch an image, besides those that may already."""
    if lacking := sorted(set(accounts) - shared_with(workload, image)):
        workload.ec2.modify_image_attribute(
            ImageId=image, LaunchPermission={"Add": [{"UserId": account} for account in lacking]}
        )


def launch_permissions(workload: Workload, image: str) -> list[dict[str, str]]:
    """Tells who may launch an image, as EC2 says it: accounts, organizations, everybody."""
    reply = workload.ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    return [dict(permission) for permission in reply["LaunchPermissions"]]  # type: ignore[arg-type]


def shared_with(workload: Workload, image: str) -> set[str]:
    """Returns the accounts that may launch an image."""
    return {permission["UserId"] for permission in launch_permissions(workload, image) if "UserId" in permission}


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
