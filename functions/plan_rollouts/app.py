"""Looks at permanent environments, and starts the rollouts that are due: by an event, a person, or the schedule."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mayfly.aws import catalogue, rollouts
from mayfly.aws.attempts import going_on
from mayfly.aws.letters import door
from mayfly.aws.records import Records
from mayfly.aws.rollouts import Service
from mayfly.domain.identity import service_id
from mayfly.messages import Application, PassedVersion, Refused, RolloutApproved, RolloutRequested, receive
from mayfly.observability import logger, measure, metrics
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event says only which services may need something; what they need is seen by looking at them. So a lost event
    is made up for by the schedule, and a repeated one changes nothing."""
    here, now = settings(), datetime.fromisoformat(event.get("now") or event["time"])
    only = heed(here, event, now)
    wrong, found = declared(here)
    decided = [attend(here, service, now) for service in found if only in (None, service.application, service.id)]
    if only is None:
        forget(here, {service.id for service in found}, wrong, now)
    metrics.add_metric(name="ServicesMisconfigured", unit="Count", value=len(wrong))
    return {"at": event.get("now") or event["time"], "services": [each for each in decided if each], "wrong": wrong}


def heed(here: Settings, event: dict[str, Any], now: datetime) -> str | None:
    """Writes down what an event says; returns the application or service that it is about, None where it may be any.

    Raises:
        Refused: it cannot be understood or followed.
    """
    match event.get("detail-type"):
        case "Rollout Approved":
            return rollouts.approve(here, receive(RolloutApproved, event).message, now)
        case "Rollout Requested":
            return rollouts.ask(here, receive(RolloutRequested, event).message, now)
        case "Release Passed":
            passed = receive(PassedVersion, event).message
            for own in catalogue.application(here.parameters, passed.application).permanent:
                rollouts.remember_version(here, service_id(passed.application, own.name), passed, now)
            return passed.application
        case "Rollout Completed" | "Rollout Rolled Back" | "Rollout Failed":
            return str(event["detail"].get("service"))
    return None


def declared(here: Settings) -> tuple[dict[str, str], list[Service]]:
    """Every permanent environment that is configured; and what is wrong with the configuration of others."""
    wrong, found = dict[str, str](), list[Service]()
    for name, application in catalogue.applications(here.parameters):
        try:
            found += of_application(here, name, application)
        except Refused as refusal:
            wrong[name] = str(refusal)
    return wrong, found


def of_application(here: Settings, name: str, application: Application | Refused) -> Iterator[Service]:
    """An application's permanent environments."""
    if isinstance(application, Refused):
        raise application
    for own in application.permanent:
        yield rollouts.of(here, name, application, own)


def attend(here: Settings, service: Service, now: datetime) -> dict[str, str]:
    """Sees to one service: what AWS refuses of one keeps no other from being seen to."""
    with going_on(service.id):
        decision = rollouts.attend(here, service, now)
        logger.info("service looked at", extra={"service_id": service.id, "action": decision.action.value})
        return {"service": service.id, "action": decision.action.value, "reason": decision.reason}
    return {}


def forget(here: Settings, known: set[str], wrong: dict[str, str], now: datetime) -> None:
    """Says how old the oldest instance of each service is, and ends the records of those that people removed."""
    for record in Records(here.table, "service").live():
        if oldest := record.get("oldest_instance_at"):
            age = now - datetime.fromisoformat(oldest)
            measure("OldestInstanceDays", age.total_seconds() / 86400, service_id=record["id"])
            measure(
                "DriftedResources", len(record.get("drift", [])) + len(record.get("odd", [])), service_id=record["id"]
            )
        if record["id"] not in known and record.get("application") not in wrong and "account" in record:
            with going_on(record["id"]):
                rollouts.forget(here, record, now)
