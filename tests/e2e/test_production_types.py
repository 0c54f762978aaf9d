"""Production of several instance types, on the local cloud: where EC2 has no more of one, a rollout takes the next."""

from collections import Counter
from typing import Any

import pytest

from local.cloud import REGION
from tests.e2e.driver import Driver
from tests.e2e.services import Service

pytestmark = pytest.mark.usefixtures("no_images")

FIRST, SECOND = "m5.large", "c5.large"


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """What the tests of one service hand on: making one takes longest."""
    return {}


def test_is_made_of_one_type(mayfly: Driver, kept: dict[str, Any]) -> None:
    service = kept["service"] = Service(mayfly)
    service.parameters["InstanceType"] = FIRST
    service.configure()
    service.made()
    assert "LaunchTemplate" in service.group
    assert types(service) == {FIRST: 3}


def test_gets_a_second_type_and_a_new_image_by_one_rollout_each_and_nobody_is_replaced_for_the_type(
    mayfly: Driver, kept: dict[str, Any]
) -> None:
    service: Service = kept["service"].again(mayfly)
    before, number = service.members(), service.next
    service.parameters["InstanceType"] = f"{FIRST},{SECOND}"
    service.configure()
    assert service.look()["action"] != "nothing"
    service.ended("Rollout Completed", number)
    assert service.members() == before
    # The rollout begins by itself as soon as there is a new image.
    number, image = service.next, service.gets_image()
    service.cloud.watch_fewest()
    service.ended("Rollout Completed", number)
    assert {image} == {image for image, _ in service.runs()}
    assert service.balancer["fewest_healthy"] >= service.instances
    assert launchable(service) == [FIRST, SECOND]
    assert service.drift() == "IN_SYNC"
    assert service.look()["action"] == "nothing"


def test_a_rollout_takes_the_second_where_ec2_has_no_more_of_the_first(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    kept["before"] = service.runs()
    service.cloud.fault("workload", no_capacity=f"{REGION}a", type=FIRST)
    number, image = service.next, service.gets_image()
    service.ended("Rollout Completed", number)
    assert {image} == {image for image, _ in service.runs()}
    assert types(service)[SECOND] >= 1
    assert types(service).total() == 3
    assert service.drift() == "IN_SYNC"


def test_a_step_back_keeps_the_types(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    number = service.next
    detail = {"service": service.id, "to": "previous", "why": "logins fail", "requested_by": "ann@example.com"}
    mayfly.say("Rollout Requested", [detail])
    service.ended("Rollout Completed", number)
    assert {image for image, _ in service.runs()} == {image for image, _ in kept["before"]}
    assert launchable(service) == [FIRST, SECOND]


def test_a_bad_image_is_rolled_back(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.quiet()
    before, number = service.runs(), service.next
    bad = service.gallery.image()
    service.cloud.fault("workload", serving="unhealthy", image=bad)
    service.gallery.promoted(bad, "stable")
    service.ended("Rollout Rolled Back", number)
    assert service.runs() == before
    assert launchable(service) == [FIRST, SECOND]
    assert service.drift() == "IN_SYNC"


def types(service: Service) -> Counter[str]:
    """How many of its instances there are of each type."""
    described = service.cloud.workload_client("ec2").describe_instances(InstanceIds=list(service.members()))
    return Counter(one["InstanceType"] for each in described["Reservations"] for one in each["Instances"])


def launchable(service: Service) -> list[str]:
    """The types that its group may launch."""
    overrides = service.group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    return [one["InstanceType"] for one in overrides]
