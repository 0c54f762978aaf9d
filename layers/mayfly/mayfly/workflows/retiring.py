"""Lists the images of a family as EC2 shows them, copies with their originals, and takes the steps that retire and
restore them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from mayfly.aws import images, kill_switch
from mayfly.aws.instances import plain
from mayfly.aws.records import Conflict, Records, attr, forget_after
from mayfly.contract.vocabulary import ImageStage, Retirement
from mayfly.domain import tags
from mayfly.domain.guard import may_destroy, protection
from mayfly.domain.records import Entry
from mayfly.domain.records import Image as ImageRecord
from mayfly.domain.retirement import Ami, Image, RetirementDecision, Stage, Step
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload
    from mayfly.contract.configuration import Family

DONE = {
    Step.DEPRECATE: Retirement.DEPRECATED,
    Step.DISABLE: Retirement.DISABLED,
    Step.DEREGISTER: Retirement.DEREGISTERED,
    Step.RESTORE: Retirement.RESTORED,
}
"""What an image is after a step."""

_CLAIM = timedelta(minutes=15)
"""How long a step may take at most: as long as a Lambda function can run."""

_SOON = timedelta(minutes=2)
"""EC2 deprecates at a full minute that has not passed yet."""


class Found(Struct, frozen=True):
    """An image in one Region with what groups it."""

    ami: Ami
    original: str
    family: str
    made_at: datetime
    rejected: bool


def listed(workload: Workload, account: str, controller: str, now: datetime) -> Iterator[Found]:
    """Returns every image of this controller in one Region of an account that is made to its end, page by page."""
    pages = workload.ec2.get_paginator("describe_images").paginate(
        Owners=["self"],
        Filters=[
            {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
            {"Name": "tag-key", "Values": [tags.IMAGE_FAMILY]},
        ],
        IncludeDeprecated=True,
        IncludeDisabled=True,
        PaginationConfig={"PageSize": 1000},
    )
    kept = _protected_snapshots(workload, [{"Name": "tag-key", "Values": [tags.PROTECTED]}])
    for image in (one for page in pages for one in page["Images"]):
        if image["State"] in ("available", "disabled"):
            yield _found(image, (account, workload.region), now, kept)


def _found(image: Any, target: tuple[str, str], now: datetime, kept: Mapping[str, str]) -> Found:
    (account, region), labels = target, plain(image["Tags"])
    stage, since = _stage(image, labels, now)
    ami = Ami(image["ImageId"], account, region, stage, since, _protection(image, labels, kept), _snapshots(image))
    original = labels.get(tags.SOURCE_IMAGE, image["ImageId"])
    rejected = labels.get(tags.IMAGE_STATE) == ImageStage.REJECTED
    return Found(ami, original, labels[tags.IMAGE_FAMILY], _timestamp(image["CreationDate"]), rejected)


def _stage(image: Any, labels: Mapping[str, str], now: datetime) -> tuple[Stage, datetime | None]:
    if image["State"] == "disabled":
        return Stage.DISABLED, _timestamp(labels[tags.DISABLED_AT]) if tags.DISABLED_AT in labels else None
    deprecated = image.get("DeprecationTime")
    if deprecated and _timestamp(deprecated) <= now + _SOON + timedelta(minutes=1):
        return Stage.DEPRECATED, _timestamp(deprecated)
    return Stage.AVAILABLE, None


def _protection(image: Any, labels: Mapping[str, str], kept: Mapping[str, str]) -> str:
    """Returns what the guard says of an image, and of its snapshots, of which `kept` are protected."""
    on = image.get("DeregistrationProtection", "disabled").startswith("enabled")
    family, controller = labels.get(tags.IMAGE_FAMILY, ""), labels.get(tags.CONTROLLER, "")
    locked = "it is protected from being deregistered" if on else ""
    permission = may_destroy(family, controller, labels, tags.IMAGE_FAMILY, locked)
    if not permission.granted:
        return permission.reason
    return "; ".join(f"{one}: {kept[one]}" for one in _snapshots(image) if one in kept)


def _protected_snapshots(workload: Workload, which: Any) -> dict[str, str]:
    """Returns the snapshots that are protected by a tag of their own, each with what that says, page by page."""
    pages = workload.ec2.get_paginator("describe_snapshots").paginate(
        OwnerIds=["self"], Filters=which, PaginationConfig={"PageSize": 1000}
    )
    found = ((one["SnapshotId"], protection(plain(one.get("Tags", [])))) for page in pages for one in page["Snapshots"])
    return {snapshot: said for snapshot, said in found if said}


def _refusal(workload: Workload, ami: Ami) -> str:
    """Returns what the guard says by tags that are read freshly, of the image and of the snapshots that would go with
    it. What the run began with may be minutes old."""
    by_id = [{"Name": "snapshot-id", "Values": list(ami.snapshots)}]
    kept = _protected_snapshots(workload, by_id) if ami.snapshots else {}
    listed = workload.ec2.describe_images(ImageIds=[ami.id], IncludeDisabled=True)["Images"]
    return next(iter(_protection(image, plain(image.get("Tags", [])), kept) for image in listed), "")


def _snapshots(image: Any) -> tuple[str, ...]:
    devices = (device.get("Ebs", {}) for device in image.get("BlockDeviceMappings", []))
    return tuple(ebs["SnapshotId"] for ebs in devices if ebs.get("SnapshotId"))


def grouped(found: Iterable[Found]) -> dict[str, list[Image]]:
    """Groups images by family, each with its copies, wherever they are."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for one in found:
        groups.setdefault((one.family, one.original), []).append(one)
    images: dict[str, list[Image]] = {}
    for (family, original), parts in groups.items():
        made_at, rejected = min(part.made_at for part in parts), any(part.rejected for part in parts)
        image = Image(original, family, made_at, rejected, tuple(part.ami for part in parts))
        images.setdefault(family, []).append(image)
    return images


def attempt(settings: Settings, family: Family, decision: RetirementDecision, now: datetime, who: str) -> str:
    """Takes one step. One that fails stops no other: the next run finds what is left of it.

    Returns:
        why it was not taken, or failed; "" where it was taken.
    """
    ami, records = decision.ami, Records(settings.table, ImageRecord)
    try:
        if decision.step is not Step.RESTORE:
            kill_switch.check(settings.parameters)
            _claim(records, decision.image, now)
        workload = images.enter(settings, family, decision.family, ami.region, f"retire-{ami.id}")
        if decision.step is not Step.RESTORE and (said := _refusal(workload, ami)):
            return said
        facts = _take(workload, family, records, decision, now)
    except Conflict as conflict:
        return f"it is being promoted, until {conflict.found.wanted_until}"
    except (ClientError, BotoCoreError, kill_switch.KillSwitchOn) as error:
        logger.warning("a step of retirement failed", extra={"ami": ami.id, "error": str(error)})
        return str(error)
    gone = decision.step is Step.DEREGISTER
    if gone:
        facts |= {"stage": ImageStage.RETIRED, "forget_after": forget_after(utc_text(now), settings.record_days)}
    records.change(
        ami.id,
        Entry(utc_text(now), who, decision.step.value, decision.reason),
        drop=(ImageRecord.retiring_until, *((ImageRecord.live, ImageRecord.waiting) if gone else ())),
        family=decision.family,
        **facts,
    )
    return ""


def _claim(records: Records[ImageRecord], image: str, now: datetime) -> None:
    """Claims an image against promotion. Whoever wrote first to its record, this or a promotion, goes on."""
    records.change(
        image,
        retiring_until=utc_text(now + _CLAIM),
        only_if=attr(ImageRecord.wanted_until).not_exists() | attr(ImageRecord.wanted_until).lt(utc_text(now)),
    )


def _take(
    workload: Workload, family: Family, records: Records[ImageRecord], decision: RetirementDecision, now: datetime
) -> dict[str, Any]:
    """Takes the step itself; returns what the record is to remember of it."""
    ami = decision.ami
    match decision.step:
        case Step.DEPRECATE:
            deprecate(workload, ami, now)
        case Step.DISABLE:
            # Saved before EC2 forgets it.
            records.change(ami.id, shares=images.launch_permissions(workload, ami.id))
            disable(workload, ami, now)
        case Step.DEREGISTER:
            deregister(workload, ami)
        case Step.RESTORE:
            configured = [{"UserId": account} for account in family.share_accounts if account != family.account]
            record = records.get(ami.id)
            restore(workload, ami, configured if record is None or record.shares is None else record.shares)
    return {"retirement": DONE[decision.step]}


def deprecate(workload: Workload, ami: Ami, now: datetime) -> None:
    """Lets nobody find an image any more who does not know it. Who does can still launch it."""
    workload.ec2.enable_image_deprecation(ImageId=ami.id, DeprecateAt=now + _SOON)


def disable(workload: Workload, ami: Ami, now: datetime) -> None:
    """Lets nobody launch an image any more. EC2 forgets who it was shared with, and when this was: the caller has
    saved the one, the tag keeps the other."""
    workload.ec2.create_tags(Resources=[ami.id], Tags=[{"Key": tags.DISABLED_AT, "Value": utc_text(now)}])
    workload.ec2.disable_image(ImageId=ami.id)


def deregister(workload: Workload, ami: Ami) -> None:
    """Deregisters an image with its snapshots: into the Recycle Bin, where a rule says so."""
    ec2 = workload.ec2
    known: Any = ec2.meta.service_model.operation_model("DeregisterImage").input_shape
    both: Any = {"DeleteAssociatedSnapshots": True} if "DeleteAssociatedSnapshots" in known.members else {}
    reply: Any = ec2.deregister_image(ImageId=ami.id, **both)
    known = {
        one["SnapshotId"]
        for one in reply.get("DeleteSnapshotResults", [])
        if one["ReturnCode"] in ("success", "skipped")
    }
    for snapshot in sorted(set(ami.snapshots) - known):
        try:
            ec2.delete_snapshot(SnapshotId=snapshot)
        except ClientError as error:
            # Gone already, or another image stands on it.
            if error.response["Error"]["Code"] not in ("InvalidSnapshot.NotFound", "InvalidSnapshot.InUse"):
                raise


def restore(workload: Workload, ami: Ami, shares: Iterable[Mapping[str, str]]) -> None:
    """Brings an image back from whatever stage it is in, for all that it was shared with."""
    if ami.stage is Stage.DISABLED:
        workload.ec2.enable_image(ImageId=ami.id)
        if add := [dict(share) for share in shares]:
            workload.ec2.modify_image_attribute(ImageId=ami.id, LaunchPermission={"Add": add})  # type: ignore[typeddict-item]
    workload.ec2.disable_image_deprecation(ImageId=ami.id)
    if ami.stage is Stage.DISABLED:
        # Last: while it is there, a repetition of this finds a disabled image, or one with an older tag.
        workload.ec2.delete_tags(Resources=[ami.id], Tags=[{"Key": tags.DISABLED_AT}])


def _timestamp(written: str) -> datetime:
    return datetime.fromisoformat(written)
