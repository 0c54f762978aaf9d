"""Takes CloudFormation's and Auto Scaling's events of permanent environments, and resumes the rollout that waits."""

from typing import Any

from mayfly.aws import clients, executions, refreshes, services
from mayfly.aws.letters import door
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain import tags
from mayfly.domain.identity import environment_of
from mayfly.domain.moment import text
from mayfly.domain.rollout import CHECKPOINT, ENDS, reached, refresh_answer, request, stack_answer
from mayfly.messages import Received, RefreshStatus, StackStatus, receive
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings

NOBODY = "nobody waits for this"


class ReachedMeanwhile(Exception):
    """Another event changed the checkpoints in the same moment. Repeating it writes down this one too."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event that nobody waits for, of another update or refresh, or a second time, changes nothing."""
    here, what = settings(), event.get("detail-type")
    if what == "CloudFormation Stack Status Change":
        return of_stack(here, receive(StackStatus, event).message)
    received = receive(RefreshStatus, event)
    return of_refresh(here, str(what), received)


def waiting_for(here: Settings, service: str | None) -> dict[str, Any]:
    """The record of the rollout that has a service's turn, {} where there is none."""
    known = Records(here.table, "service").get(service) if service else None
    rollout = (known or {}).get("rollout")
    return (Records(here.table, "rollout").get(rollout) or {}) if rollout else {}


def of_stack(here: Settings, said: StackStatus) -> dict[str, Any]:
    """A stack was made or updated, or could not be."""
    record = waiting_for(here, environment_of(said.stack_id))
    waiting = record.get("waiting") or {}
    mine = waiting and said.request == request(record["id"], waiting["for"])
    reply = stack_answer(said.details.status, said.details.reason) if mine else None
    if reply is None:
        return {"stack": said.stack_id, "resumed": False, "reason": NOBODY}
    if reply.error:
        reply = services.explained(enter(here, record), said.stack_id, reply) or reply
    resumed = executions.settle(waiting["token"], reply, {})
    return {"rollout": record["id"], "resumed": resumed, "reason": reply.reason}


def of_refresh(here: Settings, what: str, received: Received[RefreshStatus]) -> dict[str, Any]:
    """A refresh reached a checkpoint, or ended."""
    said = received.message
    record = waiting_for(here, (Records(here.table, "group").get(said.group) or {}).get("service"))
    waiting = record.get("waiting") or {}
    if waiting.get("refresh") != said.refresh:
        return {"group": said.group, "resumed": False, "reason": NOBODY}
    if what == CHECKPOINT:
        return note(here, record, said.percent, text(received.at))
    status = ENDS[what]
    reply = refresh_answer(waiting["for"], status)
    if reply and reply.error:
        # The event says that it failed; why, only Auto Scaling's description does.
        found = refreshes.latest(enter(here, record), said.group)
        reply = refresh_answer(waiting["for"], status, found.why if found else "")
    if reply is None:
        return {"rollout": record["id"], "resumed": False, "reason": f"{status} ends no wait"}
    resumed = executions.settle(waiting["token"], reply, {})
    return {"rollout": record["id"], "resumed": resumed, "reason": reply.reason}


def note(here: Settings, record: dict[str, Any], percent: int, at: str) -> dict[str, Any]:
    """Writes down that a checkpoint was reached. The alarms are watched by Auto Scaling itself."""
    seen = record["checkpoints"]
    facts = {"checkpoints": reached(seen, percent, at), "percent": max(percent, record.get("percent", 0))}
    entry = Entry(at, "resume", "checkpoint", f"{percent} % of the instances are replaced")
    if facts["checkpoints"] != seen:
        try:
            Records(here.table, "rollout").change(
                record["id"], facts, entry, only_if="checkpoints = :seen", bound={":seen": seen}
            )
        except Conflict:
            raise ReachedMeanwhile(record["id"]) from None
    return {"rollout": record["id"], "resumed": False, "reason": entry.why}


def enter(here: Settings, record: dict[str, Any]) -> clients.Workload:
    """The service's account, to look."""
    return clients.workload(record["account"], record["region"], here.workload_role, record["service"], tags.SERVICE)
