"""Channels as records, moved by one conditional write, and what follows from it for everybody else: parameters, and
protection from deregistration."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mayfly.aws.clients import controller
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.channel import Channel, Pointed, Replaced
from mayfly.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

    from mayfly.aws.clients import Workload

MISSING_API = ("InvalidAction", "UnsupportedOperation", "UnknownOperationException", "NotImplemented")
"""How an endpoint says that it does not know an action, or not in this Region."""


class Overtaken(Exception):
    """Another move of the channel was faster. Nothing was moved by this one."""


def read(table: str, family: str, name: str) -> Channel:
    """The channel as it is now; one of version 0 where it never moved."""
    return of_record(Records(table, "channel").get(f"{family}/{name}") or {"family": family, "channel": name})


def every(table: str) -> Iterator[Channel]:
    """Every channel of every family."""
    return (of_record(record) for record in Records(table, "channel").live())


def move(table: str, after: Channel, by: str, entry: Entry) -> Channel:
    """Points a channel elsewhere, if it is still as it was when `after` was worked out. This one write is the move.

    Args:
        after: the channel as it is to be. Its version is the next one.
        by: the execution that moves it. A repetition of the same finds its own work, and is content.

    Raises:
        Overtaken: another one moved it meanwhile.
    """
    facts = _facts(after) | {"moved_by": by}
    before = after.version - 1
    unmoved = "#version = :before" if before else "attribute_not_exists(#version)"
    try:
        record = Records(table, "channel").change(
            f"{after.family}/{after.name}",
            facts,
            entry,
            only_if=unmoved,
            bound={":before": before} if before else {},
        )
    except Conflict as conflict:
        if conflict.found.get("moved_by") == by:
            return of_record(conflict.found)
        raise Overtaken(
            f"{after.name} was moved to {conflict.found.get('image')} meanwhile, by {conflict.found.get('moved_by')}"
        ) from None
    if not record:
        raise RuntimeError("the table is lost: a channel is nowhere else")
    return of_record(record)


def forget(table: str, channel: Channel, gone: tuple[Replaced, ...], entry: Entry) -> bool:
    """Takes images off those that a channel is leaving. False where somebody was faster, or the channel moved."""
    left = [asdict(each) for each in channel.leaving if each not in gone]
    try:
        Records(table, "channel").change(
            f"{channel.family}/{channel.name}",
            {"leaving": left},
            entry,
            only_if="#leaving = :as_seen",
            bound={":as_seen": [asdict(each) for each in channel.leaving]},
        )
    except Conflict:
        return False
    return True


def put_parameter(ssm: "SSMClient", parameters: str, channel: Channel, region: str) -> None:
    """Says in Parameter Store what the channel points to in this Region, for everybody but Mayfly itself."""
    if channel.current:
        ssm.put_parameter(
            Name=f"{parameters}/images/{channel.family}/{channel.name}",
            Description=f"Image that the channel {channel.name} of {channel.family} points to; written by Mayfly",
            Value=channel.current.regions[region],
            Type="String",
            DataType="aws:ec2:image",
            Overwrite=True,
        )


def protect(workload: "Workload", needed: set[str], not_any_more: set[str]) -> None:
    """Protects images from being deregistered by anybody, and others not any more. Only where EC2 can do that."""
    try:
        for image in sorted(needed):
            workload.ec2.enable_image_deregistration_protection(ImageId=image)
        for image in sorted(not_any_more):
            workload.ec2.disable_image_deregistration_protection(ImageId=image)
    except ClientError as error:
        if error.response["Error"]["Code"] not in MISSING_API:
            raise
        logger.info("EC2 protects no image from deregistration here", extra={"region": workload.region})


def own_parameters(parameters: str) -> dict[str, str]:
    """What the parameters of channels say in the controller account: those that Mayfly wrote, and people's."""
    ssm: SSMClient = controller("ssm")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=f"{parameters}/images", Recursive=True)
    return {parameter["Name"]: parameter["Value"] for page in pages for parameter in page["Parameters"]}


def of_record(record: Mapping[str, Any]) -> Channel:
    """A channel as its record says it."""
    return Channel(
        family=record["family"],
        name=record["channel"],
        version=record.get("version", 0),
        current=Pointed(record["image"], record["regions"]) if "image" in record else None,
        moved_at=record.get("moved_at", ""),
        previous=tuple(Pointed(**each) for each in record.get("previous", [])),
        rolled_back=tuple(record.get("rolled_back", [])),
        leaving=tuple(Replaced(**each) for each in record.get("leaving", [])),
    )


def _facts(channel: Channel) -> dict[str, Any]:
    current = channel.current or Pointed("")
    return {
        "id": f"{channel.family}/{channel.name}",
        "live": "channel",
        "family": channel.family,
        "channel": channel.name,
        "version": channel.version,
        "image": current.image,
        "regions": dict(current.regions),
        "moved_at": channel.moved_at,
        "previous": [asdict(each) for each in channel.previous],
        "rolled_back": list(channel.rolled_back),
        "leaving": [asdict(each) for each in channel.leaving],
    }
