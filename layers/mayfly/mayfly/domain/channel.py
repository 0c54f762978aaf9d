"""Channels: named pointers into an image family. One value says where a channel points in every Region, so that it
moves in one write or not at all."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from mayfly.domain.timestamp import utc_text

CANDIDATE, STABLE = "candidate", "stable"
"""What a family has from the beginning: the newest image that proved itself, and the one that releases passed on."""

PREVIOUS_KEPT = 3
"""Images that a channel can be rolled back to, one after the other."""

_REMEMBERED = 20
"""Images that were rolled back from, or are still being replaced: so many, so that a record stays small."""


def move_id(family: str, channel: str, event: str) -> str:
    """Returns the name of the execution that moves a channel because of an event, such as ``base-stable-3f2a9c1e5b7d``.
    Step Functions takes 80 characters."""
    return f"{family}-{channel}"[:67] + "-" + hashlib.sha256(event.encode()).hexdigest()[:12]


class Pointed(Struct, frozen=True):
    """An image with what it is called in each Region."""

    image: str
    regions: Mapping[str, str] = field(default_factory=dict)

    @property
    def all(self) -> frozenset[str]:
        """Every id that it goes by."""
        return frozenset({self.image, *self.regions.values()})


class Replaced(Struct, frozen=True):
    """An image that a channel has left, while something may still run on it."""

    image: str
    regions: Mapping[str, str]
    at: str
    by: str


class Channel(Struct, frozen=True):
    """A channel as it is.

    Attributes:
        version: counts its moves; what compare-and-set compares. 0 where it never moved.
        previous: what it can be rolled back to, the latest first.
        rolled_back: images that it was rolled back from. Only a person moves it there again.
        leaving: images that it has left and that may still run.
        unsaid: moves that nobody has announced yet, by their versions: what is to be said of each.
    """

    family: str
    name: str
    version: int = 0
    current: Pointed | None = None
    moved_at: str = ""
    previous: tuple[Pointed, ...] = ()
    rolled_back: tuple[str, ...] = ()
    leaving: tuple[Replaced, ...] = ()
    unsaid: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """The image that it points to, "" where there is none."""
        return self.current.image if self.current else ""


class ChannelAction(StrEnum):
    """What is done with a channel."""

    PROMOTE = "promote"
    ROLL_BACK = "roll back"
    NOTHING = "nothing"
    REFUSE = "refuse"


class MoveDecision(Struct, frozen=True):
    """Where a channel is to point, and why (not)."""

    action: ChannelAction
    image: str
    reason: str


def promotion(channel: Channel, image: str, by_policy: bool) -> MoveDecision:
    """Decides whether a channel moves to an image. A policy does not undo what a person has rolled back."""
    if channel.image == image:
        return MoveDecision(ChannelAction.NOTHING, image, f"{channel.name} points to {image} already")
    if by_policy and image in channel.rolled_back:
        return MoveDecision(
            ChannelAction.REFUSE, image, f"{channel.name} was rolled back from {image}: a person may promote it"
        )
    return MoveDecision(ChannelAction.PROMOTE, image, f"from {channel.image or 'nothing'} to {image}")


def rollback(channel: Channel, only_from: str | None) -> MoveDecision:
    """Decides where a channel is rolled back to: the image before.

    Args:
        only_from: the image to get away from, where the request names it: a second request does not go further.
    """
    if only_from and channel.image != only_from:
        return MoveDecision(ChannelAction.NOTHING, only_from, f"{channel.name} does not point to {only_from} any more")
    if not channel.previous:
        return MoveDecision(ChannelAction.REFUSE, "", f"{channel.name} has no previous image to be rolled back to")
    image = channel.previous[0].image
    return MoveDecision(ChannelAction.ROLL_BACK, image, f"from {channel.image} back to {image}")


def moved(channel: Channel, action: ChannelAction, to: Pointed, now: datetime) -> Channel:
    """Returns the channel after its move."""
    others = tuple(each for each in channel.previous if each.image != to.image)
    leaving = tuple(each for each in channel.leaving if each.image != to.image)
    rolled_back = tuple(each for each in channel.rolled_back if each != to.image)
    if left := channel.current:
        leaving = (*leaving, Replaced(left.image, left.regions, utc_text(now), to.image))[-_REMEMBERED:]
        if action is ChannelAction.ROLL_BACK:
            # It does not become a previous one: rolling back once more must not return to it.
            rolled_back = (*rolled_back, left.image)[-_REMEMBERED:]
        else:
            others = (left, *others)[:PREVIOUS_KEPT]
    return replace(
        channel,
        version=channel.version + 1,
        current=to,
        moved_at=utc_text(now),
        previous=others,
        rolled_back=rolled_back,
        leaving=leaving,
    )


def needed(channels: Iterable[Channel]) -> dict[str, str]:
    """Returns every image id, in any Region, that a channel points to or can be rolled back to, with which one and
    how."""
    found: dict[str, str] = {}
    for channel in channels:
        for each in channel.previous:
            found |= dict.fromkeys(each.all - found.keys(), f"{channel.name} can be rolled back to it")
    for channel in channels:
        if channel.current:
            found |= dict.fromkeys(channel.current.all, f"{channel.name} points to it")
    return found


def missing(regions: Collection[str], there: Mapping[str, str]) -> list[str]:
    """Returns the Regions into which an image has to be copied yet."""
    return [region for region in regions if region not in there]
