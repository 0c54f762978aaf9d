"""Counts a release that passed for its image, and promotes the image once its family's policy says so."""

from typing import Any

import mayfly.contract.configuration  # noqa: F401 - read in each first call
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.announcements import ReleasePassed
from mayfly.contract.orders import Move
from mayfly.contract.reader import Refused, receive
from mayfly.contract.vocabulary import ReleaseStage
from mayfly.domain.channel import STABLE, move_id
from mayfly.domain.records import Entry, Release
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import catalogue, channels, releases


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Each release counts once for an image, however often its end is heard. Every further one tries the promotion
    again that an earlier one did not bring about."""
    settings = load_settings()
    received = receive(ReleasePassed, event)
    release = received.message.release
    logger.append_keys(release=release)
    record = Records(settings.table, Release).get(release)
    if record is None or record.stage != ReleaseStage.PASSED:
        found = record.stage if record else "not known"
        raise Refused(f"release: expected one that passed by its record, but {release} is {found}")
    image = record.image or ""
    channel = releases.candidate_of(settings, image)
    if channel is None:
        return {"release": release, "counted": False, "reason": f"no candidate points to {image or 'its image'}"}
    policy = catalogue.family(settings.parameters, channel.family).stable
    entry = Entry(str(event["time"]), context.function_name, "release passed", release)
    passed = releases.count(settings, channel, release, entry)
    if policy is None or len(passed) < policy.after_releases:
        wanted = f"of {policy.after_releases}" if policy else "and only a person promotes it"
        return {"release": release, "counted": True, "reason": f"{len(passed)} passed on {channel.image}, {wanted}"}
    if worse := releases.fails_more(settings, channel, passed):
        return {"release": release, "counted": True, "reason": worse}
    move = Move(
        family=channel.family,
        channel=STABLE,
        image=channel.image,
        why=f"{len(passed)} releases passed on it, the last one {release}",
        requested_by="policy",
        by_policy=True,
    )
    name = move_id(channel.family, STABLE, release)
    started = channels.start(settings, name, move, utc_text(received.at))
    return {"release": release, "counted": True, "move": name, "started": started, "reason": move.why}
