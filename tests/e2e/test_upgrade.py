"""Upgrading, going back and deleting Mayfly while lives, rollouts and bakes go on: docs/operations.md, executed.

The version before is a copy: `tests/e2e/previous.tar.xz`, written anew with each tagged version by `make previous`.
Until there is one, it is a state of 0.1.0 (c94a1e4) since which machines and functions agree on who ends what.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import LocalCloud
from local.facts import Facts
from local.install import ROOT, delete, deploy, prepare, upload_blueprint
from tests.e2e.conftest import RETRY_SCALE
from tests.e2e.driver import Driver
from tests.e2e.services import FASTER, Service
from tests.e2e.test_images_bake import Bakes

PREVIOUS = Path(__file__).with_name("previous.tar.xz")
DAY = 24 * 3600


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version before, unpacked."""
    root = tmp_path_factory.mktemp("previous")
    with tarfile.open(PREVIOUS) as packed:
        packed.extractall(root, filter="data")
    return root


@pytest.fixture
def own(tmp_path: Path, previous: Path, names: Iterator[str]) -> Iterator[Driver]:
    """An installation of the version before, nobody else's."""
    fast = {"boot_seconds": 0.3, "delete_seconds": 0.2, "retry_scale": RETRY_SCALE}
    with LocalCloud(tmp_path, schedules="jumps", **fast) as cloud:
        deploy(cloud, quiet, previous)
        outputs = prepare(cloud, quiet).outputs
        upload_blueprint(cloud, outputs, ROOT / "tests" / "blueprints" / "single.yaml")
        yield Driver(cloud, outputs, Facts(cloud, outputs["FactsBusName"]), names)
        assert not cloud.crashes()


def test_what_runs_goes_on_through_an_upgrade_and_back(own: Driver, previous: Path, names: Iterator[str]) -> None:
    service, bakes = Service(own), Bakes(own, names)
    service.made()
    family = bakes.family()

    awaiting = own.begin(own.application())
    own.cloud.fault("workload", stack="create", effect="slow", times=1)  # until the faults are cleared
    creating = own.push(own.application()) + "-smoke"
    own.until(lambda: own.record(creating).get("stage") == "creating", f"{creating} is being created")
    own.cloud.fault("workload", bake=f"{family}-*", effect="slow", times=1)
    bake = bakes.ask(family)
    bakes.stage(bake, "building")
    image = service.gets_image()
    own.until(lambda: service.rollout(2).get("stage") == "replacing", "the rollout has begun")

    deploy(own.cloud, quiet)
    own.finish(awaiting)
    assert own.end(awaiting)["status"] == "SUCCEEDED", "begun by the version before, ended by this one"
    between = own.begin(own.application())
    own.cloud.fault("workload", stack="create", effect="slow", times=1)
    also_creating = own.push(own.application()) + "-smoke"
    own.until(lambda: own.record(also_creating).get("stage") == "creating", f"{also_creating} is being created")

    deploy(own.cloud, quiet, previous)
    own.cloud.clear_faults()
    for environment in (creating, also_creating):
        own.life(environment, "awaiting tests")
    assert bakes.end(bake)["status"] == "SUCCEEDED", bakes.record(bake)
    with own.cloud.hurry(FASTER):  # not before: what waits for a builder or a stack waits by the same clock
        assert service.ended("Rollout Completed", 2)["to"]["image"] == image
    for environment in (creating, also_creating, between):
        own.finish(environment)
        assert own.end(environment)["status"] == "SUCCEEDED", f"{environment} ended by the version before"
    assert not [one for one in own.announcements() if one["detail-type"] in ("Environment Failed", "Rollout Failed")]


def test_a_deleted_installation_ends_what_it_left_once_it_is_back(own: Driver) -> None:
    environment = own.begin(own.application())
    deploy(own.cloud, quiet)
    delete(own.cloud)
    stacks = own.cloud.workload_client("cloudformation").describe_stacks()["Stacks"]
    assert f"mayfly-{environment}" in {stack["StackName"] for stack in stacks}, "nobody ends it now"
    own.cloud.advance(DAY)
    deploy(own.cloud, quiet)
    outputs = prepare(own.cloud, quiet).outputs
    back = Driver(own.cloud, outputs, Facts(own.cloud, outputs["FactsBusName"]), own._names)
    back.say("Sweep Requested", [{"why": "it is back", "requested_by": "ada@example.com"}])

    def look() -> bool:
        found = own.cloud.workload_client("cloudformation").describe_stacks()["Stacks"]
        return f"mayfly-{environment}" not in {stack["StackName"] for stack in found}

    back.until(look, f"{environment} is gone")
