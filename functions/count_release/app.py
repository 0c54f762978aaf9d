"""Hears `Release Passed`: counts it for the image it ran on, which goes to stable once its family's policy says so."""

from typing import Any

from mayfly.aws import catalogue, channels, executions
from mayfly.aws.letters import door
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.channel import CANDIDATE, STABLE, Channel, move_id
from mayfly.messages import Move, ReleasePassed, receive
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings

_COUNTED = 1000
"""Releases that are remembered of an image: as many as a policy can ask for."""


class CountedMeanwhile(Exception):
    """Somebody else counted. Repeating it counts this one too."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Each release counts once for an image, however often its end is heard. Every further one tries the promotion
    again that an earlier one did not bring about."""
    here = settings()
    received = receive(ReleasePassed, event)
    release = received.message.release
    logger.append_keys(release=release)
    image = (Records(here.table, "release").get(release) or {}).get("image", "")
    channel = candidate_with(here, image)
    if channel is None:
        return {"release": release, "counted": False, "reason": f"no candidate points to {image or 'its image'}"}
    policy = catalogue.family(here.parameters, channel.family).stable
    passed = count(here, channel, release, Entry(str(event["time"]), context.function_name, "release passed", release))
    if policy is None or len(passed) < policy.after_releases:
        wanted = f"of {policy.after_releases}" if policy else "and only a person promotes it"
        return {"release": release, "counted": True, "reason": f"{len(passed)} passed on {channel.image}, {wanted}"}
    move = Move(
        family=channel.family,
        channel=STABLE,
        image=channel.image,
        why=f"{len(passed)} releases passed on it, the last one {release}",
        requested_by="policy",
        by_policy=True,
    )
    name = move_id(channel.family, STABLE, release)
    started = executions.start(here.promotion_machine, name, move.model_dump(mode="json", exclude_none=True))
    return {"release": release, "counted": True, "move": name, "started": started, "reason": move.why}


def candidate_with(here: Settings, image: str) -> Channel | None:
    """The candidate channel that points to an image of this id in some Region."""
    candidates = (channel for channel in channels.every(here.table) if channel.name == CANDIDATE and channel.current)
    return next((channel for channel in candidates if channel.current and image in channel.current.all), None)


def count(here: Settings, channel: Channel, release: str, entry: Entry) -> list[str]:
    """Counts a release for the image a channel points to; returns all that count for it. Another one that counts in
    the same moment makes this fail, and the invocation is repeated."""
    images = Records(here.table, "image")
    passed: list[str] = (images.get(channel.image) or {}).get("releases_passed", [])
    if release in passed:
        return passed
    now_passed = [*passed, release][-_COUNTED:]
    as_seen = "#releases_passed = :as_seen" if passed else "attribute_not_exists(#releases_passed)"
    try:
        images.change(
            channel.image,
            {"releases_passed": now_passed},
            entry if len(passed) < 20 else None,
            only_if=as_seen,
            bound={":as_seen": passed} if passed else {},
        )
    except Conflict:
        raise CountedMeanwhile(f"another release than {release} was counted in the same moment") from None
    return now_passed
