"""Channels as records, moved by one conditional write, and what follows from it for everybody else: parameters, and
protection from deregistration."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mayfly.aws import executions
from mayfly.aws import parameters as parameters_of
from mayfly.aws.clients import controller
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records, attr, forget_after
from mayfly.contract.announcements import ImagePromoted, ImagePromotionFailed, ImageRolledBack
from mayfly.contract.fields import without_nulls
from mayfly.contract.orders import Move
from mayfly.domain.channel import Channel, ChannelAction, Pointed, Replaced
from mayfly.domain.records import ChannelRecord, Entry, Unsaid, plain
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

    from mayfly.aws.clients import Workload

MISSING_API = ("InvalidAction", "UnsupportedOperation", "UnknownOperationException", "NotImplemented")
"""How an endpoint says that it does not know an action, or not in this Region."""

_GRACE = timedelta(minutes=15)
"""In which the execution that moved a channel says so."""
_MOVED: Mapping[ChannelAction, type[ImagePromoted | ImageRolledBack]] = {
    ChannelAction.PROMOTE: ImagePromoted,
    ChannelAction.ROLL_BACK: ImageRolledBack,
}


_BROKEN_OFF = ("Aborted", "its execution was over before it said what came of it")


class Overtaken(Exception):
    """Another move of the channel was faster. Nothing was moved by this one."""


def read(table: str, family: str, name: str) -> Channel:
    """Returns the channel as it is now; one of version 0 where it never moved."""
    record = Records(table, ChannelRecord).get(f"{family}/{name}")
    return of_record(record) if record else Channel(family, name)


def every(table: str) -> Iterator[Channel]:
    """Returns every channel of every family."""
    return (of_record(record) for record in Records(table, ChannelRecord).live())


def move(table: str, after: Channel, by: str, entry: Entry) -> Channel:
    """Points a channel elsewhere, if it is still as it was when `after` was worked out. This one write is the move.

    Args:
        after: the channel as it is to be. Its version is the next one.
        by: the execution that moves it. A repetition of the same finds its own work, and is content.

    Raises:
        Overtaken: another one moved it meanwhile.
    """
    version = attr(ChannelRecord.version)
    unmoved = version.eq(after.version - 1) if after.version > 1 else version.not_exists()
    try:
        record = Records(table, ChannelRecord).change(
            f"{after.family}/{after.name}", entry, only_if=unmoved, moved_by=by, **_facts(after)
        )
    except Conflict as conflict:
        found: ChannelRecord = conflict.found or ChannelRecord(id="")
        if found.moved_by == by:
            return of_record(found)
        raise Overtaken(f"{after.name} was moved to {found.image} meanwhile, by {found.moved_by}") from None
    if record is None:
        raise RuntimeError("the table is lost: a channel is nowhere else")
    return of_record(record)


def forget(table: str, channel: Channel, gone: tuple[Replaced, ...], entry: Entry) -> bool:
    """Takes images off those that a channel is leaving. False where somebody was faster, or the channel moved."""
    left = tuple(each for each in channel.leaving if each not in gone)
    as_seen = attr(ChannelRecord.leaving).eq(plain(channel.leaving))
    try:
        Records(table, ChannelRecord).change(f"{channel.family}/{channel.name}", entry, leaving=left, only_if=as_seen)
    except Conflict:
        return False
    return True


def start(settings: Settings, name: str, asked: Move, now: str) -> bool:
    """Starts the execution that moves a channel, once, and keeps what is to be said if somebody stops it.

    Returns:
        False where it is over already.
    """
    started = executions.start(settings.promotion_machine, name, without_nulls(asked.plain()))
    if started:
        with suppress(Conflict):  # it is so quick that it has been over meanwhile
            owe(settings, name, asked, now, only_if=attr(Unsaid.event).not_exists())
    return started


def owe(settings: Settings, name: str, asked: Move, now: str, **how: Any) -> None:
    """Writes down what is to be said of a move whose execution is over before it has said anything else: a sweep says
    it then. A rollback may name no image."""
    known = asked.only("family", "channel", "why", "requested_by") | {"image": asked.image or ""}
    error, reason = _BROKEN_OFF
    failed = ImagePromotionFailed(**known, error=error, reason=reason)
    facts: dict[str, Any] = {"live": Unsaid.kind.value, "at": now, "event": failed.event, "detail": failed.written()}
    Records(settings.table, Unsaid).change(name, by=settings.promotion_machine, **facts, **how)


def settle(settings: Settings, name: str, now: str) -> None:
    """Closes what was owed of a move: the channel's record says more, or there is nothing to be said."""
    until = forget_after(now, settings.record_days)
    with suppress(Conflict):  # nothing was, or not any more
        Records(settings.table, Unsaid).change(
            name, drop=(Unsaid.live,), forget_after=until, only_if=attr(Unsaid.live).exists()
        )


def movers(table: str) -> set[str]:
    """The executions that have moved a channel, as far as nobody else has since, or that is not said yet."""
    found = list(Records(table, ChannelRecord).live())
    return {str(each.moved_by) for each in found} | {said["by"] for each in found for said in each.unsaid.values()}


def make_up(settings: Settings, channel: Channel, now: datetime) -> None:
    """Announces the moves of channels whose executions ended without announcing them. It takes each move off the record
    then: after a crash in between, a sweep announces it again."""
    long_ago = utc_text(now - _GRACE)
    late = {version: said for version, said in channel.unsaid.items() if said["at"] < long_ago}
    running = executions.running(settings.promotion_machine) if late else set()
    for version, said in late.items():
        if said["by"] not in running:
            settle(settings, said["by"], utc_text(now))  # or a sweep would say that it failed
            announce(settings.facts, _MOVED[ChannelAction(said["action"])].read(said["detail"]))
            _close(settings.table, channel, version)


def _close(table: str, channel: Channel, version: str) -> None:
    records, identity = Records(table, ChannelRecord), f"{channel.family}/{channel.name}"
    if record := records.get(identity):
        left = {each: said for each, said in record.unsaid.items() if each != version}
        with suppress(Conflict):  # another move came meanwhile: it is said once more
            records.change(identity, unsaid=left, only_if=attr(ChannelRecord.version).eq(record.version))


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
    """Returns what the parameters of channels say in the controller account: those that Mayfly wrote, and people's."""
    return dict(parameters_of.below(controller("ssm"), f"{parameters}/images", Recursive=True))


def of_record(record: ChannelRecord) -> Channel:
    """Returns a channel as its record says it."""
    return Channel(
        family=record.family,
        name=record.channel,
        version=record.version,
        current=Pointed(record.image, record.regions) if record.image else None,
        moved_at=record.moved_at,
        previous=record.previous,
        rolled_back=record.rolled_back,
        leaving=record.leaving,
        unsaid=record.unsaid,
    )


def _facts(channel: Channel) -> dict[str, Any]:
    current = channel.current or Pointed("")
    return {
        "id": f"{channel.family}/{channel.name}",
        "live": ChannelRecord.kind.value,
        "family": channel.family,
        "channel": channel.name,
        "version": channel.version,
        "image": current.image,
        "regions": current.regions,
        "moved_at": channel.moved_at,
        "previous": channel.previous,
        "rolled_back": channel.rolled_back,
        "leaving": channel.leaving,
        "unsaid": channel.unsaid,
    }
