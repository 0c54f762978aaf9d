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


def test_what_has_no_room_in_the_first_lives_in_the_second(mayfly: Driver, gallery: Gallery) -> None:
    images = gallery.promoted(gallery.image())["regions"]
    application = mayfly.application(
        blueprint="fleet.yaml",
        instances=2,
        image={"family": gallery.family, "channel": "candidate"},
        account=None,
        targets=[place(mayfly, REGION), place(mayfly, OTHER)],
    )
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
    assert (admitted["region"], admitted["image"], stands(mayfly, third)) == (OTHER, images[OTHER], [OTHER])
    [why] = [why for what, why in mayfly.history(admitted) if what == "admitted"]
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
