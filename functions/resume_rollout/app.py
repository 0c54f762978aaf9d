"""Takes CloudFormation's and Auto Scaling's events of permanent environments, and resumes the rollout that waits."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from mayfly.aws import clients, executions, refreshes
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.aws_events import RefreshStatus, StackStatus
from mayfly.contract.reader import Received, receive
from mayfly.contract.requests import RolloutAbortRequested, RolloutPauseRequested, RolloutResumeRequested
from mayfly.contract.vocabulary import AwsEvent, Event, Wait
from mayfly.domain import tags
from mayfly.domain.identity import environment_of
from mayfly.domain.records import Entry, Group, Rollout, Service, plain
from mayfly.domain.rollout import ENDS, reached, refresh_answer, request, stack_answer
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import causes, pausing, rollout_requests

NOBODY = "nobody waits for this"


REQUESTS: dict[str, tuple[Any, Callable[..., dict[str, Any]]]] = {
    Event.ROLLOUT_ABORT_REQUESTED: (RolloutAbortRequested, rollout_requests.abort),
    Event.ROLLOUT_PAUSE_REQUESTED: (RolloutPauseRequested, pausing.pause),
    Event.ROLLOUT_RESUME_REQUESTED: (RolloutResumeRequested, pausing.resume),
}
"""What people ask of a rollout that runs."""


class ReachedMeanwhile(Exception):
    """Another event changed the checkpoints at the same time. Repeating it writes down this one too."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event that nobody waits for, of another update or refresh, or a second time, changes nothing."""
    settings, what = load_settings(), event.get("detail-type")
    if what == AwsEvent.STACK_STATUS:
        return of_stack(settings, receive(StackStatus, event).message)
    if what in REQUESTS:
        kind, follow = REQUESTS[what]
        asked = receive(kind, event)
        return follow(settings, asked.message, asked.at)
    received = receive(RefreshStatus, event)
    return of_refresh(settings, str(what), received)


def waiting_for(settings: Settings, service: str | None) -> Rollout | None:
    """Returns the record of the rollout that has a service's turn, None where there is none."""
    known = Records(settings.table, Service).get(service) if service else None
    return Records(settings.table, Rollout).get(known.rollout) if known and known.rollout else None


def of_stack(settings: Settings, said: StackStatus) -> dict[str, Any]:
    """Resumes the rollout that waits for a stack that was made or updated, or could not be."""
    record = waiting_for(settings, environment_of(said.stack_id))
    waiting = record.waiting if record else None
    mine = record and waiting and said.request == request(record.id, waiting.for_)
    reply = stack_answer(said.details.status, said.details.reason) if mine else None
    if record is None or waiting is None or reply is None:
        return {"stack": said.stack_id, "resumed": False, "reason": NOBODY}
    if reply.error:
        reply = causes.explained(enter(settings, record), said.stack_id, reply) or reply
    resumed = executions.complete_task(waiting.token, reply, {})
    return {"rollout": record.id, "resumed": resumed, "reason": reply.reason}


def of_refresh(settings: Settings, what: str, received: Received[RefreshStatus]) -> dict[str, Any]:
    """Resumes the rollout that waits for an instance refresh that reached a checkpoint, or ended."""
    said = received.message
    group = Records(settings.table, Group).get(said.group)
    record = waiting_for(settings, group.service if group else None)
    waiting = record.waiting if record else None
    if record is None or waiting is None or waiting.refresh != said.refresh:
        return {"group": said.group, "resumed": False, "reason": NOBODY}
    if what == AwsEvent.REFRESH_CHECKPOINT:
        return note(settings, record, said.percent, received.at)
    status = ENDS[AwsEvent(what)]
    if status == "Cancelled" and said.refresh == record.halted and waiting.for_ == Wait.REPLACE:
        resumed = pausing.halted(settings, record, utc_text(received.at))
        return {"rollout": record.id, "resumed": resumed, "reason": "the instance refresh was cancelled for a pause"}
    reply = refresh_answer(waiting.for_, status)
    if reply and reply.error:
        # The event says that it failed; why, only Auto Scaling's description does.
        found = refreshes.latest(enter(settings, record), said.group)
        reply = refresh_answer(waiting.for_, status, found.why if found else "")
    if reply is None:
        return {"rollout": record.id, "resumed": False, "reason": f"{status} ends no wait"}
    resumed = executions.complete_task(waiting.token, reply, {})
    return {"rollout": record.id, "resumed": resumed, "reason": reply.reason}


def note(settings: Settings, record: Rollout, percent: int, at: datetime) -> dict[str, Any]:
    """Writes down that a checkpoint was reached, and stops there if that is wanted. The alarms are watched by Auto
    Scaling itself."""
    seen = record.checkpoints
    now_reached = reached(seen, percent, utc_text(at))
    entry = Entry(utc_text(at), "resume", "checkpoint", f"{percent} % of the instances are replaced")
    if now_reached != seen:
        facts: dict[str, Any] = {"checkpoints": now_reached, "percent": max(percent, record.percent)}
        try:
            as_seen = attr(Rollout.checkpoints).eq(plain(seen))
            changed = Records(settings.table, Rollout).change(record.id, entry, only_if=as_seen, **facts)
        except Conflict:
            raise ReachedMeanwhile(record.id) from None
        if changed:
            pausing.halt(settings, changed, at)
    return {"rollout": record.id, "resumed": False, "reason": entry.why}


def enter(settings: Settings, record: Rollout) -> clients.Workload:
    """Enters the service's account, to look."""
    return clients.workload(record.account, record.region, settings.workload_role, record.service, tags.SERVICE)
