"""Looks at permanent environments, and starts the rollouts that are due: by an event, a person, or the schedule."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mayfly.aws.attempts import going_on
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.announcements import ReleasePassed, RolloutCompleted
from mayfly.contract.configuration import Application
from mayfly.contract.reader import Refused, receive
from mayfly.contract.requests import RolloutApproved, RolloutRequested
from mayfly.contract.vocabulary import Event
from mayfly.domain.identity import service_id
from mayfly.domain.records import Service as ServiceRecord
from mayfly.observability import logger, measure, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import catalogue, rollout_queue, rollout_requests, rollouts, standing
from mayfly.workflows.standing import Service


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event says only which services may need something; what they need is seen by looking at them. So a lost event
    is made up for by the schedule, and a repeated one changes nothing."""
    settings, now = load_settings(), datetime.fromisoformat(event.get("now") or event["time"])
    only = heed(settings, event, now)
    wrong, found = declared(settings)
    decided = [attend(settings, service, now) for service in found if only in (None, service.application, service.id)]
    if only is None:
        with going_on("what was not said"):
            rollouts.make_up(settings, now)
        forget(settings, {service.id for service in found}, wrong, now)
    metrics.add_metric(name="ServicesMisconfigured", unit="Count", value=len(wrong))
    return {"at": event.get("now") or event["time"], "services": [each for each in decided if each], "wrong": wrong}


def heed(settings: Settings, event: dict[str, Any], now: datetime) -> str | None:
    """Writes down what an event says; returns the application or service that it is about, None where it may be any.

    Raises:
        Refused: it cannot be understood or followed.
    """
    match event.get("detail-type"):
        case Event.ROLLOUT_APPROVED:
            return rollout_requests.approve(settings, receive(RolloutApproved, event), now)
        case Event.ROLLOUT_REQUESTED:
            return rollout_requests.ask(settings, receive(RolloutRequested, event))
        case Event.RELEASE_PASSED:
            passed = receive(ReleasePassed, event).message
            for own in catalogue.application(settings.parameters, passed.application).permanent:
                rollout_requests.remember_version(settings, service_id(passed.application, own.name), passed, now)
            return passed.application
        case Event.ROLLOUT_COMPLETED | Event.ROLLOUT_ROLLED_BACK | Event.ROLLOUT_FAILED:
            said = receive(RolloutCompleted, event).message  # of the same shape, all three
            rollouts.close(settings, said.rollout)
            return said.service
    return None


def declared(settings: Settings) -> tuple[dict[str, str], list[Service]]:
    """Returns every permanent environment that is configured; and what is wrong with the configuration of others."""
    wrong, found = dict[str, str](), list[Service]()
    for name, application in catalogue.applications(settings.parameters):
        try:
            found += of_application(settings, name, application)
        except Refused as refusal:
            wrong[name] = str(refusal)
    return wrong, found


def of_application(settings: Settings, name: str, application: Application | Refused) -> Iterator[Service]:
    """Returns an application's permanent environments."""
    if isinstance(application, Refused):
        raise application
    for own in application.permanent:
        yield standing.of(settings, name, application, own)


def attend(settings: Settings, service: Service, now: datetime) -> dict[str, str]:
    """Sees to one service: what AWS refuses of one keeps no other from being seen to."""
    with going_on(service.id):
        decision = rollout_queue.attend(settings, service, now)
        logger.info("service looked at", extra={"service_id": service.id, "action": decision.action.value})
        return {"service": service.id, "action": decision.action.value, "reason": decision.reason}
    return {}


def forget(settings: Settings, known: set[str], wrong: dict[str, str], now: datetime) -> None:
    """Says how old the oldest instance of each service is, and ends the records of those that people removed."""
    for record in Records(settings.table, ServiceRecord).live():
        if record.oldest_instance_at:
            age = now - datetime.fromisoformat(record.oldest_instance_at)
            measure("OldestInstanceDays", age.total_seconds() / 86400, service_id=record.id)
            measure("DriftedResources", len(record.drift) + len(record.odd), service_id=record.id)
        if record.id not in known and record.application not in wrong:
            with going_on(record.id):
                standing.forget(settings, record, now)
