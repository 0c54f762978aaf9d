"""Environments sleep and wake on the local cloud: a manual suite's, and a permanent one of kind staging."""

from datetime import datetime, timedelta

import pytest

from tests.e2e.driver import Driver, Json
from tests.e2e.services import FASTER, Service

pytestmark = pytest.mark.usefixtures("no_images")

ANN = {"why": "a demo", "requested_by": "ann@example.com"}


def over(now: datetime) -> Json:
    """Office hours that are over for days yet, whenever this runs."""
    return {"days": [f"{now + timedelta(days=3):%a}".lower()], "start": "08:00", "end": "18:00"}


def running(mayfly: Driver, environment: str) -> int:
    ec2 = mayfly.cloud.workload_client("ec2")
    found = ec2.describe_instances(
        Filters=[
            {"Name": "tag:mayfly:environment", "Values": [environment]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
    )
    return sum(len(each["Instances"]) for each in found["Reservations"])


def ask(mayfly: Driver, what: str, environment: str, minutes: int = 60) -> None:
    mayfly.say(f"Environment {what} Requested", [{"environment": environment, "minutes": minutes, **ANN}])


def test_an_environment_sleeps_wakes_and_ends_without_a_loss(mayfly: Driver) -> None:
    application = mayfly.application(instances=2, blueprint="fleet.yaml", kind="manual")
    environment = mayfly.begin(application)
    ask(mayfly, "Sleep", environment)
    assert (
        "ann@example.com (says mayfly.operator) asked for it"
        in mayfly.announcement("Environment Asleep", environment)["why"]
    )
    mayfly.until(lambda: running(mayfly, environment) == 0, "its instances are gone")
    assert mayfly.stacks(environment) == ["CREATE_COMPLETE"]
    assert mayfly.record(environment)["stage"] == "awaiting tests"

    ask(mayfly, "Wake", environment)
    mayfly.announcement("Environment Awake", environment)
    mayfly.until(lambda: running(mayfly, environment) == 2, "it has as many as before")

    mayfly.finish(environment, finished_by="ann@example.com")
    ended = mayfly.announcement("Environment Terminated", environment)
    assert (ended["instances_left"], ended["instances_failed"]) == (0, 0)
    assert mayfly.nothing_is_left(environment)


def test_an_environment_sleeps_when_its_office_hours_are_over_and_can_be_ended_asleep(mayfly: Driver) -> None:
    hours = {"office_hours": over(mayfly.cloud.now())}
    environment = mayfly.begin(mayfly.application(instances=2, blueprint="fleet.yaml", kind="manual", **hours))
    mayfly.cloud.advance(310)
    assert mayfly.announcement("Environment Asleep", environment)["why"] == "its office hours are over"
    mayfly.say("Environment Termination Requested", [{"environment": environment, **ANN}])
    ended = mayfly.announcement("Environment Terminated", environment)
    assert (ended["instances_left"], ended["instances_failed"]) == (0, 0)


def test_staging_sleeps_and_what_passed_meanwhile_is_rolled_out_when_it_wakes(mayfly: Driver) -> None:
    service = Service(mayfly)
    service.own = {"kind": "staging"}
    service.configure()
    service.made()
    ask(mayfly, "Sleep", service.id)
    mayfly.announcement("Environment Asleep", service.id)
    with service.cloud.hurry(FASTER):
        mayfly.until(lambda: not service.group["Instances"], "it has no instance")
    service.passes("2.0.0")
    mayfly.until(lambda: service.rollout(2).get("stage") == "awaiting waking", "its rollout waits")

    ask(mayfly, "Wake", service.id, minutes=24 * 60)
    mayfly.announcement("Environment Awake", service.id)
    with service.cloud.hurry(FASTER):
        whole = [("InService", "Healthy")] * service.instances
        mayfly.until(
            lambda: [(one["LifecycleState"], one["HealthStatus"]) for one in service.group["Instances"]] == whole,
            "it is whole again",
        )
    service.quiet()
    service.look()
    done = service.ended("Rollout Completed", 2)
    assert done["to"]["version"] == "2.0.0"
    assert service.drift() == "IN_SYNC"
