"""Moves a channel in all Regions by one write, then tells Parameter Store and protects what it points to."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from mayfly.aws import images
from mayfly.aws.clients import controller
from mayfly.contract.configuration import Family
from mayfly.domain.channel import Channel, ChannelAction, Pointed, moved, needed
from mayfly.domain.records import Entry
from mayfly.observability import logger
from mayfly.settings import Settings, load_settings
from mayfly.workflows import catalogue, channels

UNSAID = 20
"""Moves that a record keeps until they are announced: so many, so that it stays small."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Planning reads the channel's record, so nobody sees a move half done. What follows can be repeated at will: it
    says what the record says then, whoever moved it."""
    settings, plan, now = load_settings(), event["plan"], datetime.fromisoformat(event["now"])
    logger.append_keys(family=plan["family"], channel=plan["channel"])
    family = catalogue.family(settings.parameters, plan["family"])  # what is refused is refused before the move
    before = channels.read(settings.table, plan["family"], plan["channel"])
    if before.version == plan["version"]:
        after = moved(before, ChannelAction(plan["action"]), Pointed(plan["image"], event["regions"]), now)
        if event.get("stays_open"):
            after = replace(after, unsaid=unsaid(before, event))
    else:
        # Somebody was faster, or an earlier try of this: the write tells which.
        after = Channel(plan["family"], plan["channel"], plan["version"] + 1)
    what = f"{plan['action']} to {plan['image']}"
    entry = Entry(event["now"], plan["requested_by"], what, f"{plan['why']}: {plan['reason']}")
    channel = channels.move(settings.table, after, event["move"], entry)
    channels.settle(settings, event["move"], event["now"])
    for _ in range(3):
        publish(settings, family, channel)
        newest = channels.read(settings.table, plan["family"], plan["channel"])
        if newest.version == channel.version:
            break
        channel = newest
    protect(settings, family, before, channel)
    return {"moved": True, "version": plan["version"] + 1, "reason": plan["reason"]}


def unsaid(before: Channel, event: dict[str, Any]) -> dict[str, Any]:
    """Returns what is to be said of this move, besides the moves before it that nobody has announced yet."""
    plan, version = event["plan"], event["plan"]["version"] + 1
    known = {key: plan[key] for key in ("family", "channel", "image", "from", "requested_by", "why")}
    detail = known | {"regions": event["regions"], "version": version}
    said = {"by": event["move"], "at": event["now"], "action": plan["action"], "detail": detail}
    kept = sorted(before.unsaid, key=int)[1 - UNSAID :]
    return {each: before.unsaid[each] for each in kept} | {str(version): said}


def publish(settings: Settings, family: Family, channel: Channel) -> None:
    """Puts the parameters that follow from the channel: in each Region of the family's account, and in the
    controller's own where that can launch the image."""
    regions = channel.current.regions if channel.current else {}
    for region in regions:
        workload = images.enter(settings, family, channel.family, region, f"move-{channel.family}")
        channels.put_parameter(workload.ssm, settings.parameters, channel, region)
    account, region, _ = settings.controller.split("/", 2)
    if region in regions and account in (family.account, *family.share_accounts):
        channels.put_parameter(controller("ssm"), settings.parameters, channel, region)


def protect(settings: Settings, family: Family, before: Channel, after: Channel) -> None:
    """Protects what channels need of the family from deregistration, and not any longer what this one needed before."""
    others = [
        each for each in channels.every(settings.table) if each.family == after.family and each.name != after.name
    ]
    wanted = needed([*others, after])
    by_region: dict[str, tuple[set[str], set[str]]] = {}
    for each in (pointed for channel in (*others, after, before) for pointed in (channel.current, *channel.previous)):
        for region, image in each.regions.items() if each else ():
            by_region.setdefault(region, (set(), set()))[0 if image in wanted else 1].add(image)
    for region, (keep, release) in by_region.items():
        channels.protect(images.enter(settings, family, after.family, region, f"move-{after.family}"), keep, release)
