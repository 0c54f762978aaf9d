"""Plans a channel's move: to which image, what is missing in which Region, and from which version of the channel."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import clients, images
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.configuration import Family
from mayfly.contract.orders import Move
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import UNKNOWN, ImageStage
from mayfly.domain import tags
from mayfly.domain.channel import Channel, ChannelAction, MoveDecision, missing, promotion, rollback
from mayfly.domain.records import Entry, Image
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings, load_settings
from mayfly.workflows import catalogue, channels

_HOLD = timedelta(days=1)
"""How long retirement keeps its hands off an image that is being promoted: longer than any promotion takes."""


class AlreadyThere(Exception):
    """The channel points there, or away from there, already."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What cannot be done is refused here, before anything is copied or shared."""
    settings, asked, now = load_settings(), Move.read(event["move"]), datetime.fromisoformat(event["now"])
    logger.append_keys(family=asked.family, channel=asked.channel)
    name = event.get("name", "")  # a machine of an earlier version says none
    if name:
        channels.owe(settings, name, asked, event["now"])
    family = catalogue.family(settings.parameters, asked.family)
    channel = channels.read(settings.table, asked.family, asked.channel)
    decision = target_of(asked, channel)
    if decision.action is ChannelAction.NOTHING:
        channels.settle(settings, name, event["now"])
        raise AlreadyThere(decision.reason)
    if decision.action is ChannelAction.REFUSE:
        raise Refused(decision.reason)
    hold(settings, asked, decision, now, context.function_name)
    regions = where(settings, asked.family, family, decision.image)
    lacking = missing(family.everywhere, regions)
    return {
        "family": asked.family,
        "channel": asked.channel,
        "action": decision.action.value,
        "image": decision.image,
        "from": channel.image,
        "version": channel.version,
        "regions": regions,
        "copies": [{"family": asked.family, "image": decision.image, "region": region} for region in lacking],
        "why": asked.why,
        "requested_by": asked.requested_by,
        "reason": decision.reason,
    }


def target_of(asked: Move, channel: Channel) -> MoveDecision:
    """Where the channel is to point."""
    if asked.action == "roll back":
        return rollback(channel, asked.image)
    return promotion(channel, str(asked.image), asked.by_policy)


def hold(settings: Settings, asked: Move, decision: MoveDecision, now: datetime, who: str) -> None:
    """Claims the image against retirement, if it is one of the family that was proven and is not on its way out.

    Whoever wrote first to the image's record, this or retirement, goes on; the other one keeps away.
    """
    free = attr(Image.retiring_until).not_exists() | attr(Image.retiring_until).lt(utc_text(now))
    mine = attr(Image.family).eq(asked.family) & attr(Image.stage).eq(ImageStage.PROVEN.value) & free
    try:
        Records(settings.table, Image).change(
            decision.image,
            Entry(utc_text(now), who, f"{decision.action.value} {asked.channel}", f"{asked.requested_by}: {asked.why}"),
            # What a channel was on before had its proof then, though its record may be lost by now.
            once={"stage": ImageStage.PROVEN},
            drop=(Image.forget_after,),
            only_if=mine if decision.action is ChannelAction.PROMOTE else free,
            family=asked.family,
            wanted_until=utc_text(now + _HOLD),
        )
    except Conflict as conflict:
        found: Image | None = conflict.found
        until = found.retiring_until if found else None
        raise Refused(
            f"image: expected a proven one of {asked.family} that is not being retired, but {decision.image} is "
            f"{(found and found.stage) or UNKNOWN}, of {found.family if found else 'no family'}"
            + (f", being retired until {until}" if until else "")
        ) from None


def where(settings: Settings, name: str, family: Family, image: str) -> dict[str, str]:
    """What the image is called in each Region where it is ready: in its own, and wherever there is a copy."""
    home = images.describe_image(clients.workload(family.account, family.region, settings.workload_role, None), image)
    if home is None or home.state != "available":
        raise Refused(f"image: expected one that is available, but {image} is {home.state if home else 'gone'}")
    if home.labels.get(tags.IMAGE_FAMILY) != name or home.labels.get(tags.CONTROLLER) != settings.controller:
        raise Refused(f"image: expected one of {name} of {settings.controller} by its tags, but {image} is not")
    found = {family.region: image}
    for region in family.everywhere[1:]:
        workload = clients.workload(family.account, region, settings.workload_role, None)
        ready = [
            each.id for each in images.copies_of(workload, image, settings.controller) if each.state == "available"
        ]
        found |= {region: ready[0]} if ready else {}
    return found
