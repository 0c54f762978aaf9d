"""Rollouts of permanent environments, on the local cloud: every instance replaced, or everything as it was before."""

from typing import Any

import pytest

from tests.e2e.driver import Driver
from tests.e2e.services import FASTER, Service

pytestmark = pytest.mark.usefixtures("no_images")


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """What the tests of one service hand on: making one takes longest."""
    return {}


def test_a_service_is_made_protected(mayfly: Driver, kept: dict[str, Any]) -> None:
    service = kept["service"] = Service(mayfly)
    made = service.made()
    assert (made["cause"], made["from"]) == ("creation", None)
    assert {template for _, template in service.runs()} == {"1"}
    zones = {one["AvailabilityZone"] for one in service.group["Instances"]}
    assert len(zones) == 3
    (stack,) = service.cloud.workload_client("cloudformation").describe_stacks(StackName=service.stack)["Stacks"]
    assert stack["EnableTerminationProtection"]
    assert {"mayfly:protected", "mayfly:service"} <= {tag["Key"] for tag in stack["Tags"]}


def test_a_new_image_reaches_every_instance_and_leaves_no_drift(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.cloud.watch_fewest()
    image = service.gets_image()
    done = service.ended("Rollout Completed", 2)
    assert service.balancer["fewest_healthy"] >= service.instances
    assert (done["cause"], done["to"]["image"]) == ("change", image)
    assert service.runs() == {(image, "2")}
    assert service.group["LaunchTemplate"]["Version"] == "2"
    reached = [point["percent"] for point in service.rollout(2)["checkpoints"] if "reached_at" in point]
    assert reached == [10, 50, 100]
    assert (service.record["stage"], service.record["image"]) == ("steady", image)
    assert service.transitions(2) <= 12
    assert service.drift() == "IN_SYNC"


def test_a_bad_image_is_rolled_back_at_the_first_checkpoint(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    before, members, number = service.runs(), service.members(), service.next
    bad = service.gallery.image()
    service.cloud.watch_fewest()
    service.cloud.fault("workload", serving="unhealthy", image=bad)
    service.gallery.promoted(bad, "stable")
    said = service.ended("Rollout Rolled Back", number)
    assert "Alarm" in said["reason"]
    assert service.balancer["fewest_healthy"] >= service.instances
    assert service.runs() == before
    assert service.members() == members, "not one good instance has gone for it"
    assert not any("reached_at" in point for point in service.rollout(number)["checkpoints"])
    assert service.drift() == "IN_SYNC"
    assert service.look()["action"] == "nothing"


def test_a_person_stops_one_that_runs_and_everything_is_as_it_was(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.quiet()
    service.configure(soak_minutes=60)  # of its own accord it does not go on, however busy the machine is
    before, number = service.runs(), service.next
    service.cloud.watch_fewest()
    unwanted = service.gets_image()
    rollout = f"{service.id}-{number}"
    with service.cloud.hurry(FASTER):
        mayfly.until(lambda: (service.rollout(number) or {}).get("percent", 0) >= 10, "the first checkpoint")
    detail = {"rollout": rollout, "why": "logins fail", "requested_by": "ann@example.com"}
    mayfly.say("Rollout Abort Requested", [detail])
    said = service.ended("Rollout Rolled Back", number)
    assert "ann@example.com (says mayfly.operator) stopped it: logins fail" in said["reason"]
    assert service.runs() == before
    assert service.refreshed("RollbackSuccessful")
    assert service.balancer["fewest_healthy"] >= service.instances
    assert service.launched(unwanted) < service.instances, "it never went on to all of them"
    assert service.drift() == "IN_SYNC"
    assert service.look()["action"] == "nothing"
    service.configure()


def test_a_person_pauses_one_at_a_checkpoint_and_has_it_go_on(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.quiet()
    number, said = service.next, {"why": "let us see", "requested_by": "ann@example.com"}
    service.cloud.watch_fewest()
    wanted = service.gets_image()
    rollout = f"{service.id}-{number}"
    mayfly.until(lambda: service.rollout(number).get("stage") == "replacing", "it replaces instances")
    mayfly.say("Rollout Pause Requested", [{"rollout": rollout, **said}])
    mayfly.until(lambda: service.rollout(number).get("paused"), "that is heard")
    with service.cloud.hurry(FASTER):
        mayfly.until(
            lambda: service.rollout(number).get("stage") == "paused", "it is paused", lambda: service.rollout(number)
        )
    launched = service.launched(wanted)
    assert 0 < launched < service.instances
    mayfly.cloud.advance(3600)
    assert service.launched(wanted) == launched, "it stands still"
    assert service.rollout(number)["stage"] == "paused"
    mayfly.say("Rollout Resume Requested", [{"rollout": rollout, **said}])
    service.ended("Rollout Completed", number)
    assert {image for image, _ in service.runs()} == {wanted}
    assert service.launched(wanted) == service.instances, "what was replaced is not replaced again"
    assert service.balancer["fewest_healthy"] >= service.instances
    assert service.drift() == "IN_SYNC"


def test_one_that_is_paused_goes_back_where_a_person_wants_that(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.quiet()
    before, number = service.runs(), service.next
    said = {"rollout": f"{service.id}-{number}", "why": "let us see", "requested_by": "ann@example.com"}
    service.gets_image()
    mayfly.until(lambda: (service.rollout(number) or {}).get("stage") == "replacing", "it replaces instances")
    mayfly.say("Rollout Pause Requested", [said])
    mayfly.until(lambda: service.rollout(number).get("paused"), "that is heard")
    with service.cloud.hurry(FASTER):
        mayfly.until(lambda: service.rollout(number).get("stage") == "paused", "it stops at its first checkpoint")
    mayfly.say("Rollout Abort Requested", [said])
    service.ended("Rollout Rolled Back", number)
    assert service.runs() == before
    assert service.look()["action"] == "nothing"


def test_the_next_good_version_goes_out_from_there(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    number = service.next
    service.quiet()
    good = service.gets_image()
    service.ended("Rollout Completed", number)
    assert {image for image, _ in service.runs()} == {good}


def test_a_version_that_fails_to_boot_is_rolled_back(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.quiet()
    before, number = service.runs(), service.next
    service.cloud.fault("workload", serving="refuses", version="0.0.666")
    service.passes("0.0.666")
    service.ended("Rollout Rolled Back", number)
    assert service.runs() == before
    assert service.record["version"] == "1.0.0"


def test_lost_and_doubled_events_and_throttled_calls_do_no_harm(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.configure(limit_minutes=40)  # an eighth of it passes before it looks without an event
    events = "EC2 Auto Scaling Instance Refresh *"
    service.cloud.fault("workload", event=events, effect="lose", environment=f"{service.id}*")
    service.cloud.fault("workload", event="UPDATE_COMPLETE", effect="duplicate", environment=f"{service.id}*")
    throttled = {"error": "Throttling", "status": 400, "message": "Rate exceeded", "when": "before"}
    service.cloud.fault("workload", action="StartInstanceRefresh", times=2, **throttled)
    service.cloud.fault("workload", action="UpdateStack", times=2, **throttled)
    service.quiet()
    number, done = service.next, len(service.refreshes())
    service.passes("2.0.0", times=3)
    service.ended("Rollout Completed", number)
    assert len(service.refreshes()) == done + 1
    assert service.record["version"] == "2.0.0"


def test_what_comes_meanwhile_follows_and_only_the_last(mayfly: Driver, kept: dict[str, Any]) -> None:
    service: Service = kept["service"].again(mayfly)
    service.quiet()
    number = service.next
    service.passes("4.0.0")
    mayfly.until(lambda: service.record.get("rollout"), "it runs")
    first, second = service.gallery.image(), service.gallery.image()
    service.gallery.promoted(first, "stable")
    service.gallery.promoted(second, "stable")
    service.ended("Rollout Completed", number)
    done = service.ended("Rollout Completed", number + 1)
    assert done["to"]["image"] == second
    assert service.launched(first) == 0
