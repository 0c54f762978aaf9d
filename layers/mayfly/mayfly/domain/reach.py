"""How far a channel's image has got: what still runs on older ones, and for how long."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from mayfly.domain.channel import Channel, Replaced


class Running(Struct, frozen=True):
    """An instance that runs, or an environment that is going to.

    Attributes:
        image: the id that it boots from.
        channel: the channel that its environment was planned from, as ``family/channel``; "" where nobody knows.
    """

    image: str
    channel: str


class Reach(Struct, frozen=True):
    """One channel's reach.

    Attributes:
        images: running instances that follow the channel, by their image's id.
        on_old: how many of them run on another image than the one it points to.
        hours: how long the oldest image that still runs has been replaced; 0 where everything runs on the new one.
        gone: images that the channel had left and of which nothing is left now.
    """

    channel: Channel
    images: Mapping[str, int]
    on_old: int
    hours: float
    gone: tuple[Replaced, ...]


def measure(channel: Channel, instances: Iterable[Running], planned: Iterable[Running], now: datetime) -> Reach:
    """Returns the reach of a channel. What is planned counts for what is gone, not for what runs."""
    name = f"{channel.family}/{channel.name}"
    counted = Counter(one.image for one in instances if one.channel == name)
    mine = channel.current.all if channel.current else frozenset[str]()
    old = {image: count for image, count in counted.items() if image not in mine}
    coming = {one.image for one in planned if one.channel == name}
    unknown = {one.image for one in instances if not one.channel}
    busy = set(counted) | coming | unknown
    running = [left for left in channel.leaving if set(old) & {left.image, *left.regions.values()}]
    since = min((datetime.fromisoformat(left.at) for left in running), default=None)
    if since is None and old and channel.moved_at:
        # Older than what is remembered: at least since the last move.
        since = datetime.fromisoformat(channel.moved_at)
    hours = (now - since).total_seconds() / 3600 if since else 0.0
    gone = tuple(left for left in channel.leaving if not busy & {left.image, *left.regions.values()})
    return Reach(channel, dict(counted), sum(old.values()), round(hours, 2), gone)
