"""Measures how far each channel's image has got, notes which boots hang, and lists the instances that live for Puppet
servers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from mayfly.aws import clients, reports
from mayfly.aws.attempts import going_on
from mayfly.aws.instances import Instance, find
from mayfly.aws.records import Records
from mayfly.contract.announcements import ImageReplaced
from mayfly.domain import tags
from mayfly.domain.reach import Reach, Running, measure
from mayfly.domain.records import Entry, Environment, Service
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.observability import measure as publish
from mayfly.settings import Settings, load_settings
from mayfly.workflows import booting, channels, outbox

LIVING = "living-instances.json"
"""Where the list lies in the bucket of the reports."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Counts what runs at every target by Mayfly's tag. Which channel an instance follows, its environment's record
    says; one that no record knows holds back every announcement about its image."""
    settings, now = load_settings(), datetime.fromisoformat(event["now"])
    for channel in channels.every(settings.table):
        with going_on("what was not said"):
            channels.make_up(settings, channel, now)
    records: tuple[Environment | Service, ...] = (
        *Records(settings.table, Environment).live(),
        *Records(settings.table, Service).live(),
    )
    followed = {record.id: Running(str(record.image), record.channel or "") for record in records}
    labels: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    living = {}
    for one in seen(settings):
        environment = one.labels.get(tags.ENVIRONMENT, "")
        labels[environment][one.id] = one.labels
        living[one.id] = Running(one.image, followed[environment].channel if environment in followed else "")
    built = [record for record in records if isinstance(record, Environment)]
    booting.note(settings, built, labels, Entry(event["now"], context.function_name, "booting", ""))
    instances = list(living.values())
    reaches = [measure(channel, instances, followed.values(), now) for channel in channels.every(settings.table)]
    for reach in reaches:
        tell(settings, reach, event["now"], context.function_name)
    # Not where a target could not be looked at: this has failed by then, and the list grows too old to be used.
    listed = {"controller": settings.controller, "at": utc_text(now), "instances": sorted(living)}
    reports.overwrite(settings.reports, LIVING, listed)
    # Of the slowest channel, besides: an alarm cannot search.
    metrics.add_metric(
        name="ImageReachHours", unit="NoUnit", value=max((reach.hours for reach in reaches), default=0.0)
    )
    return {"at": event["now"], "channels": [shown(reach) for reach in reaches]}


def seen(settings: Settings) -> Iterator[Instance]:
    """Returns every instance of this installation, at every target."""
    for account, region in settings.targets:
        workload = clients.workload(account, region, settings.workload_role, None)
        yield from find(workload, {tags.CONTROLLER: settings.controller}, going=False)


def tell(settings: Settings, reach: Reach, now: str, who: str) -> None:
    """Publishes a channel's reach as metrics, and announces once of each image that runs nowhere any more that it is
    replaced."""
    channel = reach.channel
    dimensions = {"family": channel.family, "channel": channel.name}
    publish("InstancesOnImages", sum(reach.images.values()), **dimensions)
    publish("InstancesOnOldImages", reach.on_old, **dimensions)
    publish("ImageReachHours", reach.hours, **dimensions)
    why = f"nothing runs any more on {', '.join(left.image for left in reach.gone)}"
    # Recorded before it is announced: of two that see the same, one announces it.
    if reach.gone and channels.forget(settings.table, channel, reach.gone, Entry(now, who, "replaced", why)):
        for left in reach.gone:
            replaced = ImageReplaced(family=channel.family, channel=channel.name, **asdict(left), gone_at=now)
            outbox.say(settings, replaced, now)


def shown(reach: Reach) -> dict[str, Any]:
    """Returns a channel's reach for people."""
    return {
        "family": reach.channel.family,
        "channel": reach.channel.name,
        "image": reach.channel.image,
        "instances": dict(reach.images),
        "on_old_images": reach.on_old,
        "hours": reach.hours,
        "replaced": [left.image for left in reach.gone],
    }
