"""What happens to production while it is rolled out, and what its users and owners notice of it: nothing is lost."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.e2e.driver import Driver
from tests.e2e.services import FASTER, Service

pytestmark = pytest.mark.usefixtures("no_images")

LOAD = 200
"""Requests in a real second: three in a virtual one."""


@pytest.fixture(scope="module")
def kept() -> list[Service]:
    """The service of all the tests here, once it is made: that takes longest."""
    return []


@pytest.fixture
def service(mayfly: Driver, kept: list[Service]) -> Iterator[Service]:
    """A service that is whole, with no alarm firing, rolled out by the ordinary policy."""
    if not kept:
        kept.append(Service(mayfly))
        kept[0].made()
    service = kept[0].again(mayfly)
    service.quiet()
    yield service
    service.configure()


def test_an_alarm_that_fires_while_it_soaks_rolls_it_back(service: Service) -> None:
    before, image, number = service.runs(), service.gallery.image(), service.next
    service.configure(soak_minutes=60)  # the alarm ends it, however busy the machine is
    service.cloud.fault("workload", serving="errors", image=image)
    with service.used(LOAD) as users:
        service.gallery.promoted(image, "stable")
        said = service.ended("Rollout Rolled Back", number)
    assert "ErrorsAlarm" in said["reason"]
    assert service.runs() == before
    assert service.launched(image) == 1, "one checkpoint, one instance"
    assert users.counts.statuses[500] == users.counts.errors > 0, "by the one that was bad, and by nothing else"


@pytest.mark.parametrize("function", ["update-service", "replace-instances", "verify-service", "judge-rollout"])
def test_a_function_that_dies_after_its_work_does_no_harm(service: Service, function: str) -> None:
    number, done = service.next, len(service.refreshes())
    service.cloud.fault("controller", function=f"mayfly-{function}", effect="die_after", times=1)
    service.passes(f"3.0.{number}")
    service.ended("Rollout Completed", number)
    assert not service.cloud.faults("controller")[0]["times"], "it did die"
    assert len(service.refreshes()) == done + 1, "nothing was replaced twice"
    assert service.record["version"] == f"3.0.{number}"


def test_missing_capacity_pauses_it_until_there_is_some(mayfly: Driver, service: Service) -> None:
    before, number = service.runs(), service.next
    service.cloud.watch_fewest()
    with service.used(LOAD) as users:
        service.cloud.fault("workload", no_capacity="*")
        image = service.gets_image()
        with service.cloud.hurry(FASTER):
            mayfly.until(lambda: service.refreshed("InProgress"), "its refresh goes on")
            mayfly.until(lambda: any("capacity" in line for line in service.activities()), "EC2 has refused")
        assert service.runs() == before
        service.cloud.clear_faults()
        service.ended("Rollout Completed", number)
    assert {image} == {image for image, _ in service.runs()}
    assert service.balancer["fewest_healthy"] >= service.instances
    assert users.counts.errors == 0


def test_what_takes_longer_than_its_limit_is_rolled_back(service: Service) -> None:
    before, members, number = service.runs(), service.members(), service.next
    service.configure(limit_minutes=10)
    service.cloud.fault("workload", no_capacity="*")
    image = service.gets_image()
    ended = service.ended("Rollout Rolled Back", number)
    assert "10 minutes" in ended["reason"]
    assert (service.runs(), service.members()) == (before, members)
    assert service.launched(image) == 0
    assert service.drift() == "IN_SYNC"


def test_the_loss_of_a_zone_is_noticed_by_nobody(mayfly: Driver, service: Service) -> None:
    """Forward or back, as the alarms say: in the end every instance is of one image, healthy, and they are enough."""
    number, zones = service.next, sorted({one["AvailabilityZone"] for one in service.group["Instances"]})
    before = service.runs()
    with service.used(LOAD) as users:
        image = service.gets_image()
        with service.cloud.hurry(FASTER):
            mayfly.until(lambda: users.counts.images[image] > 0, "the new image answers")
        service.cloud.fault("workload", outage=zones[0])
        ended = service.over(number)
    assert ended["detail-type"] in ("Rollout Completed", "Rollout Rolled Back")
    assert {image for image, _ in service.runs()} in ({image}, {image for image, _ in before})
    assert len(service.members()) >= service.instances
    assert {one["AvailabilityZone"] for one in service.group["Instances"]} <= set(zones[1:])
    assert users.counts.failed == 0


def test_a_person_lets_it_through(mayfly: Driver, service: Service) -> None:
    service.configure(when="approved")
    number = service.next
    image = service.gets_image()
    asked = mayfly.until(lambda: service.said("Rollout Awaiting Approval"), "approval is asked for")
    assert (asked["rollout"], asked["to"]["image"]) == (f"{service.id}-{number}", image)
    assert service.look()["action"] == "awaiting approval"
    service.approve(number, "looks good")
    service.ended("Rollout Completed", number)
    assert {image} == {image for image, _ in service.runs()}
    assert ("approved", f"{service.id}-{number}: looks good") in mayfly.history(service.record)


def test_it_waits_for_its_maintenance_window(mayfly: Driver, service: Service) -> None:
    now = datetime.fromisoformat(service.now)
    opens = now.replace(minute=0, second=0) + timedelta(hours=2)
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    window = {"days": days, "start": f"{opens:%H:%M}", "end": f"{opens + timedelta(hours=2):%H:%M}"}
    service.configure(window=window)
    number = service.next
    service.passes("6.0.0")
    mayfly.until(lambda: service.rollout(number), "it is known")
    assert service.look()["action"] == "awaiting window"
    service.cloud.advance((opens - now).total_seconds())
    service.look()
    service.ended("Rollout Completed", number)
    assert service.record["version"] == "6.0.0"


def test_no_instance_gets_older_than_agreed(service: Service) -> None:
    service.configure(max_days=1)
    before, members, number = service.runs(), service.members(), service.next
    service.cloud.advance(86400)
    service.look()  # unless the schedule, which is due as well, was first
    assert service.ended("Rollout Completed", number)["cause"] == "age"
    assert service.runs() == before
    assert not service.members() & members


def test_what_was_changed_by_hand_is_said_and_replaced(mayfly: Driver, service: Service) -> None:
    template, number = service.group["LaunchTemplate"], service.next
    by_hand = service.odd_instance()
    assert service.look()["action"] == "nothing"
    assert by_hand in " ".join(service.record["odd"]), service.stands(number - 1)
    service.configure(drift="replace")
    service.look()
    assert service.ended("Rollout Completed", number)["cause"] == "drift"
    assert {version for _, version in service.runs()} == {template["Version"]}
    assert by_hand not in service.members()
    assert service.group["LaunchTemplate"] == template


def test_an_image_that_is_deregistered_before_it_is_launched_is_rolled_back(mayfly: Driver, service: Service) -> None:
    """The last one: its channel points to nothing afterwards."""
    before, number, ec2 = service.runs(), service.next, service.gallery.ec2()
    service.cloud.fault("workload", stack="update", environment=service.id, effect="slow", times=1)
    image = service.gets_image()
    mayfly.until(lambda: service.stack_is("UPDATE_IN_PROGRESS"), "the rollout has begun")
    ec2.disable_image_deregistration_protection(ImageId=image)
    ec2.deregister_image(ImageId=image)
    service.cloud.clear_faults()  # the update goes on
    said = service.ended("Rollout Rolled Back", number)
    assert said["to"]["image"] == image
    assert service.runs() == before
    assert service.launched(image) == 0
    assert service.drift() == "IN_SYNC"
