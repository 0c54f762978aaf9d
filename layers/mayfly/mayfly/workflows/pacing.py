"""Paces the calls of CloudFormation: who comes while many others do gets a turn, and waits for it in its machine."""

from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws import executions
from mayfly.aws.records import NEW, Conflict, Records, attr
from mayfly.domain.pace import EVERY, Lane, is_quiet, taken
from mayfly.domain.records import Pace
from mayfly.domain.stack import TaskResult
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics


def waits(table: str, target: str, lane: Lane, event: dict[str, str], who: str) -> bool:
    """Tells whether an execution has to wait for its turn: it is told so, and comes again then.

    Args:
        target: account and Region. event: the task's, with `now`, `token` and the `turn` that was given before; the
            machine of an earlier version has none, and waits for none.
    """
    if event.get("turn") is None or "" < event["turn"] <= event["now"]:
        return False
    try:
        turn = turn_of(table, target, lane, who, datetime.fromisoformat(event["now"]))
    except (ClientError, BotoCoreError):  # whatever the table says, it goes on
        logger.exception("turns are not known")
        return False
    if turn is None:
        return False
    metrics.add_metric(name="CallsPaced", unit="Count", value=1)
    return executions.complete_task(event["token"], TaskResult("NotYet", utc_text(turn)), {})


def turn_of(table: str, target: str, lane: Lane, who: str, now: datetime) -> datetime | None:
    """Returns the turn of somebody who comes now; None where nobody waits."""
    records, own, at = Records(table, Pace), f"{target}/{lane}", int(now.timestamp() * 1000)
    known = {each: seen.free_at for each in Lane if (seen := records.get(f"{target}/{each}"))}
    # Building waits for all endings that have a turn, ending for no building.
    ahead = max((at for each, at in known.items() if each in (lane, Lane.END)), default=0)
    if is_quiet(ahead, at):
        if free_at := taken(lane, who, known.get(lane, 0), at):
            _give_out(records, own, known.get(lane), free_at)
        return None
    if known.get(lane, 0) < ahead:
        _give_out(records, own, known.get(lane), ahead)
    given = records.add(own, Pace.free_at, EVERY[lane])
    return datetime.fromtimestamp((given.free_at - EVERY[lane]) / 1000, UTC) if given else None


def _give_out(records: Records[Pace], own: str, seen: int | None, free_at: int) -> None:
    try:
        records.change(own, id=own, free_at=free_at, only_if=NEW if seen is None else attr(Pace.free_at).eq(seen))
    except Conflict:  # somebody else has done so meanwhile
        return
