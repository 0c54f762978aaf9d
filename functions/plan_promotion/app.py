"""Plans a channel's move: to which image, what is missing in which Region, and from which version of the channel."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import catalogue, channels, clients, copies
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain import tags
from mayfly.domain.channel import Action, Channel, Target, missing, promotion, rollback
from mayfly.domain.moment import text
from mayfly.messages import Family, Move, Refused
from mayfly.observability import logger
from mayfly.settings import Settings, settings

_HOLD = timedelta(days=1)
"""How long retirement keeps its hands off an image that is being promoted: longer than any promotion takes."""


class AlreadyThere(Exception):
    """The channel points there, or away from there, already."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What cannot be done is refused here, before anything is copied or shared."""
    here, asked, now = settings(), Move.model_validate(event["move"]), datetime.fromisoformat(event["now"])
    logger.append_keys(family=asked.family, channel=asked.channel)
    family = catalogue.family(here.parameters, asked.family)
    channel = channels.read(here.table, asked.family, asked.channel)
    target = target_of(asked, channel)
    if target.action is Action.NOTHING:
        raise AlreadyThere(target.reason)
    if target.action is Action.REFUSE:
        raise Refused(target.reason)
    hold(here, asked, target, now, context.function_name)
    regions = where(here, asked.family, family, target.image)
    lacking = missing(family.everywhere, regions)
    return {
        "family": asked.family,
        "channel": asked.channel,
        "action": target.action.value,
        "image": target.image,
        "from": channel.image,
        "version": channel.version,
        "regions": regions,
        "copies": [{"family": asked.family, "image": target.image, "region": region} for region in lacking],
        "why": asked.why,
        "requested_by": asked.requested_by,
        "reason": target.reason,
    }


def target_of(asked: Move, channel: Channel) -> Target:
    """Where the channel is to point."""
    if asked.action == "roll back":
        return rollback(channel, asked.image)
    return promotion(channel, str(asked.image), asked.by_policy)


def hold(here: Settings, asked: Move, target: Target, now: datetime, who: str) -> None:
    """Claims the image against retirement, if it is one of the family that was proven and is not on its way out.

    Whoever wrote first to the image's record, this or retirement, goes on; the other one keeps away.
    """
    mine = "#family = :family AND #stage = :stage AND " if target.action is Action.PROMOTE else ""
    try:
        Records(here.table, "image").change(
            target.image,
            {"family": asked.family, "wanted_until": text(now + _HOLD)},
            Entry(text(now), who, f"{target.action.value} {asked.channel}", f"{asked.requested_by}: {asked.why}"),
            # What a channel was on before had its proof then, though its record may be lost by now.
            once={"stage": "proven"},
            drop=("forget_after",),
            only_if=f"{mine}(attribute_not_exists(retiring_until) OR retiring_until < :now)",
            bound={":now": text(now)},
        )
    except Conflict as conflict:
        found = conflict.found
        raise Refused(
            f"image: expected a proven one of {asked.family} that is not being retired, but {target.image} is "
            f"{found.get('stage', 'unknown')}, of {found.get('family', 'no family')}"
            + (f", being retired until {found['retiring_until']}" if "retiring_until" in found else "")
        ) from None


def where(here: Settings, name: str, family: Family, image: str) -> dict[str, str]:
    """What the image is called in each Region where it is ready: in its own, and wherever there is a copy."""
    home = copies.look(clients.workload(family.account, family.region, here.workload_role, None), image)
    if home is None or home.state != "available":
        raise Refused(f"image: expected one that is available, but {image} is {home.state if home else 'gone'}")
    if home.labels.get(tags.IMAGE_FAMILY) != name or home.labels.get(tags.CONTROLLER) != here.controller:
        raise Refused(f"image: expected one of {name} of {here.controller} by its tags, but {image} is not")
    found = {family.region: image}
    for region in family.everywhere[1:]:
        workload = clients.workload(family.account, region, here.workload_role, None)
        ready = [each.id for each in copies.of(workload, image, here.controller) if each.state == "available"]
        found |= {region: ready[0]} if ready else {}
    return found
