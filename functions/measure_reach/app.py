"""Measures how far each channel's image has got, and announces when the last instance of a replaced one is gone."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mayfly.aws import channels, clients, survey
from mayfly.aws.events import announce
from mayfly.aws.records import Entry, Kind, Records
from mayfly.domain.reach import Reach, Running, measure
from mayfly.observability import logger, metrics
from mayfly.observability import measure as publish
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Counts what runs at every place by Mayfly's tag. Which channel an instance follows, its environment's record
    says; one that no record knows holds back every announcement about its image."""
    here, now = settings(), datetime.fromisoformat(event["now"])
    kinds: tuple[Kind, ...] = ("environment", "service")
    followed = {record["id"]: record for kind in kinds for record in Records(here.table, kind).live()}
    instances = list(running(here, followed))
    planned = [Running(str(record.get("image")), record.get("channel") or "") for record in followed.values()]
    reaches = [measure(channel, instances, planned, now) for channel in channels.every(here.table)]
    for reach in reaches:
        tell(here, reach, event["now"], context.function_name)
    # Of the slowest channel, besides: an alarm cannot search.
    metrics.add_metric(
        name="ImageReachHours", unit="NoUnit", value=max((reach.hours for reach in reaches), default=0.0)
    )
    return {"at": event["now"], "channels": [shown(reach) for reach in reaches]}


def running(here: Settings, followed: dict[str, dict[str, Any]]) -> Iterable[Running]:
    """Every instance of this installation, at every place."""
    for account, region in here.places:
        workload = clients.workload(account, region, here.workload_role, None)
        for image, environment in survey.instances(workload, here.controller):
            yield Running(image, followed.get(environment, {}).get("channel") or "")


def tell(here: Settings, reach: Reach, now: str, who: str) -> None:
    """Says a channel's reach as metrics, and of each image that is gone that it is replaced, once."""
    channel = reach.channel
    dimensions = {"family": channel.family, "channel": channel.name}
    publish("InstancesOnImages", sum(reach.images.values()), **dimensions)
    publish("InstancesOnOldImages", reach.on_old, **dimensions)
    publish("ImageReachHours", reach.hours, **dimensions)
    why = f"nothing runs any more on {', '.join(left.image for left in reach.gone)}"
    # Recorded before it is announced: of two that see the same, one announces it.
    if reach.gone and channels.forget(here.table, channel, reach.gone, Entry(now, who, "replaced", why)):
        for left in reach.gone:
            announce(here.bus, "Image Replaced", dimensions | asdict(left) | {"gone_at": now})


def shown(reach: Reach) -> dict[str, Any]:
    """A channel's reach for people."""
    return {
        "family": reach.channel.family,
        "channel": reach.channel.name,
        "image": reach.channel.image,
        "instances": dict(reach.images),
        "on_old_images": reach.on_old,
        "hours": reach.hours,
        "replaced": [left.image for left in reach.gone],
    }
