"""An application with several targets: each environment is built at the first that has room, and lives there."""

from collections.abc import Iterator

import pytest

from local.cloud import REGION, LocalCloud
from local.facts import Facts
from local.install import deploy_with
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver, Json
from tests.e2e.gallery import Gallery
from tests.e2e.test_reaping import decided, sweep

pytestmark = pytest.mark.usefixtures("no_images")

OTHER = "eu-west-1"
KINDS = {REGION: "t3.medium", OTHER: "c5.large"}
"""Of instances: what the blueprint says, and what the second target's parameters say."""
GROUPS = "auto-scaling-groups"
NAME = "the quota Auto Scaling groups per region (autoscaling, L-CDE20ADC)"


@pytest.fixture(scope="module")
def two_regions(cloud: LocalCloud, heard: Facts) -> None:
    """An installation that builds in two Regions."""
    deploy_with(cloud, Regions=f"{REGION},{OTHER}")


@pytest.fixture
def gallery(mayfly: Driver, two_regions: None, names: Iterator[str]) -> Gallery:
    """A family whose images go to both."""
    return Gallery(mayfly, next(names).replace("shop", "image"), regions=(REGION, OTHER))


def place(mayfly: Driver, region: str) -> Json:
    return {"account": mayfly.cloud.workload_account, "region": region}


def target(mayfly: Driver, region: str) -> str:
    return f"{mayfly.cloud.workload_account}/{region}"


def knows(mayfly: Driver, region: str, groups: int) -> None:
    """A sweep reads the quota of Auto Scaling groups there."""
    sweep(mayfly)
    known = lambda: mayfly.record(target(mayfly, region), "quotas").get("limits", {}).get(GROUPS)  # noqa: E731
    mayfly.until(lambda: known() == groups, f"the quota of {region} is known", known)


def stands(mayfly: Driver, environment: str) -> list[str]:
    """In which Regions it had a stack."""
    return [region for region in (REGION, OTHER) if mayfly.stacks(environment, region)]


def at_both(mayfly: Driver, gallery: Gallery, blueprint: str, instances: int) -> str:
    """An application of a blueprint with both targets, the first one before the second."""
    return mayfly.application(
        blueprint=blueprint,
        instances=instances,
        image={"family": gallery.family, "channel": "candidate"},
        account=None,
        targets=[place(mayfly, REGION), place(mayfly, OTHER)],
    )


def fleets(mayfly: Driver, gallery: Gallery) -> str:
    """An application of two instances an environment, with both targets: of another type in the second."""
    gallery.promoted(gallery.image())
    return mayfly.application(
        blueprint="fleet.yaml",
        instances=2,
        image={"family": gallery.family, "channel": "candidate"},
        account=None,
        targets=[place(mayfly, REGION), place(mayfly, OTHER) | {"parameters": {"InstanceType": KINDS[OTHER]}}],
    )


def lacks(region: str) -> str:
    """That EC2 has no capacity in either zone there."""
    return f"EC2 has no capacity for {KINDS[region]} in {region}a, nor for {KINDS[region]} in {region}b"


def test_what_ec2_has_no_capacity_for_in_the_first_lives_in_the_second(mayfly: Driver, gallery: Gallery) -> None:
    application = fleets(mayfly, gallery)
    mayfly.cloud.fault("workload", no_capacity=f"{REGION}*")
    environment = mayfly.begin(application)  # no time has passed but the local cloud's own
    record = mayfly.record(environment)
    assert (record["region"], record["no_capacity"]) == (OTHER, {target(mayfly, REGION): lacks(REGION)})
    assert (mayfly.stacks(environment), mayfly.stacks(environment, OTHER)) == (["DELETE_COMPLETE"], ["CREATE_COMPLETE"])
    assert (mayfly.instances_left(environment), mayfly.instances_left(environment, OTHER)) == (0, 2)
    assert record["instance_types"] == {KINDS[OTHER]: 2}
    told = dict(mayfly.history(record))
    here, there = target(mayfly, REGION), target(mayfly, OTHER)
    assert told["no capacity"] == f"{lacks(REGION)}: its stack in {here} is deleted; next is {there}"
    assert told["moving on"].endswith(f"; it asks for room in {there}")
    assert told["admitted"] == f"in {there}"
    asked = [each["detail"] for each in mayfly.announcements() if each["detail-type"] == "Environment Requested"]
    assert [(each["region"], each["no_capacity"]) for each in asked] == [(REGION, {}), (OTHER, {here: lacks(REGION)})]
    reserved = [counter for counter in record["reserved"] if counter.startswith(here.partition("/")[0] + "/")]
    assert reserved
    assert all(counter.startswith(there) for counter in reserved)
    assert decided(sweep(mayfly), environment)[0] == "keep"
    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    assert mayfly.announced(environment).count("Environment Terminated") == 1
    assert mayfly.stacks(environment, OTHER) == ["DELETE_COMPLETE"]


def test_an_instance_without_a_group_goes_on_in_the_second_too(mayfly: Driver, gallery: Gallery) -> None:
    gallery.promoted(gallery.image())
    application = at_both(mayfly, gallery, "single.yaml", 1)
    mayfly.cloud.fault("workload", no_capacity=f"{REGION}*")
    environment = mayfly.begin(application)
    record = mayfly.record(environment)
    [lacks_here] = record["no_capacity"].items()
    assert lacks_here[0] == target(mayfly, REGION)
    assert lacks_here[1].startswith(f"EC2 has no capacity for t3.micro in {REGION}")
    assert (mayfly.stacks(environment), mayfly.stacks(environment, OTHER)) == (["DELETE_COMPLETE"], ["CREATE_COMPLETE"])
    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    assert mayfly.stacks(environment, OTHER) == ["DELETE_COMPLETE"]


def test_what_ec2_has_no_capacity_for_anywhere_fails_by_both_names(mayfly: Driver, gallery: Gallery) -> None:
    application = fleets(mayfly, gallery)
    mayfly.cloud.fault("workload", no_capacity="*")
    release = mayfly.push(application)
    environment = environment_id(release, "smoke")
    ended = mayfly.end(environment)
    assert (ended["status"], ended["error"]) == ("FAILED", "EnvironmentFailed")
    for said in (ended["cause"], mayfly.verdict(release)["detail"]["reason"]):
        assert f"{lacks(REGION)} ({target(mayfly, REGION)}); CreationFailed: {lacks(OTHER)}" in said
    for region in (REGION, OTHER):
        assert mayfly.stacks(environment, region) == ["DELETE_COMPLETE"]
        assert not mayfly.instances_left(environment, region)
    assert not mayfly.record(environment).get("reserved")


def test_who_is_cancelled_on_the_way_to_the_second_lives_nowhere(mayfly: Driver, gallery: Gallery) -> None:
    application = fleets(mayfly, gallery)
    mayfly.cloud.fault("workload", no_capacity=f"{REGION}*")
    mayfly.say("Kill Switch Set", [{"on": True, "why": "to hold it", "set_by": "test"}])
    release = mayfly.push(application)
    environment = environment_id(release, "smoke")
    mayfly.until(lambda: "no capacity" in str(mayfly.record(environment).get("history")), "its stack is to be deleted")
    asked = {"environment": environment, "why": "not needed", "requested_by": "test"}
    mayfly.say("Environment Termination Requested", [asked])
    mayfly.until(lambda: mayfly.record(environment).get("ending"), "it is ended")
    mayfly.say("Kill Switch Set", [{"on": False, "why": "go on", "set_by": "test"}])
    mayfly.end(environment)
    assert mayfly.record(environment)["ending"]["outcome"] == "cancelled"
    assert (mayfly.stacks(environment), mayfly.stacks(environment, OTHER)) == (["DELETE_COMPLETE"], [])
    assert not mayfly.record(environment).get("reserved")


def test_what_has_no_room_in_the_first_lives_in_the_second(mayfly: Driver, gallery: Gallery) -> None:
    images = gallery.promoted(gallery.image())["regions"]
    application = at_both(mayfly, gallery, "fleet.yaml", 2)
    first = mayfly.begin(application, version="1.0.0")
    assert (mayfly.record(first)["region"], stands(mayfly, first)) == (REGION, [REGION])
    mayfly.cloud.quotas(groups=1)
    knows(mayfly, REGION, 1)

    second = mayfly.begin(application, version="2.0.0")
    record = mayfly.record(second)
    assert (record["account"], record["region"]) == (mayfly.cloud.workload_account, OTHER)
    assert record["image"] == images[OTHER] != images[REGION] == mayfly.record(first)["image"]
    assert record["history"][0]["why"].endswith(f"; in {target(mayfly, OTHER)}")
    assert stands(mayfly, second) == [OTHER]
    assert {mayfly.announcement(said, second)["region"] for said in ("Environment Requested", "Environment Ready")} == {
        OTHER
    }
    assert mayfly.instances_left(second, OTHER) == 2
    knows(mayfly, OTHER, 1)

    third = environment_id(mayfly.push(application, "3.0.0"), "smoke")
    mayfly.life(third, "queued")
    lacks = mayfly.announcement("Environment Queued", third)["lacks"]
    assert lacks == " / ".join(f"{NAME} in {target(mayfly, each)}: 1 needed, 0 free" for each in (REGION, OTHER))
    report = sweep(mayfly)
    assert {decided(report, each)[0] for each in (first, second, third)} == {"keep"}

    mayfly.finish(second)
    assert mayfly.end(second)["status"] == "SUCCEEDED"
    # Who waits, waits for both: its room is where it was given back first.
    admitted = mayfly.life(third, "awaiting tests")
    assert (admitted.region, admitted.image, stands(mayfly, third)) == (OTHER, images[OTHER], [OTHER])
    [why] = [line.why for line in admitted.history if line.what == "admitted"]
    assert why.endswith(f"; in {target(mayfly, OTHER)}")
    for each in (first, third):
        mayfly.finish(each)
        assert mayfly.end(each)["status"] == "SUCCEEDED"
    for each in (first, second, third):
        for region in (REGION, OTHER):
            assert mayfly.stacks(each, region) in ([], ["DELETE_COMPLETE"])
            assert not mayfly.instances_left(each, region)
    counts = mayfly.record("room", "ledger")["counts"]
    assert {counts[f"{target(mayfly, region)}|{GROUPS}"] for region in (REGION, OTHER)} == {0}
    report = sweep(mayfly)
    assert {action: count for action, count in report["counts"].items() if count} == {}
