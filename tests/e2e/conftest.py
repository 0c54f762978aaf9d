"""A local cloud for each module of tests, as strict as AWS, with Mayfly deployed as a platform team does it: sam build,
sam deploy. It is deployed once a run. Each module begins with a copy: whatever their order, none finds what another has
left. Lenient are only the clouds of `test_upgrade`, which begins with a version that never ran in a strict one, and of
`test_documented_commands`, which runs what `make local` starts."""

import fcntl
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from local.cloud import LocalCloud
from local.facts import Facts
from local.install import ROOT, deploy, installed, prepare, upload_blueprint
from tests.e2e.driver import Driver
from tests.e2e.gallery import stop_schedules

RETRY_SCALE = 0.002
"""So that ten minutes of retries take a second. What waits for a clock is moved by `cloud.advance` instead."""


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the controller account knows once Mayfly is deployed in it: by the first worker that needs it, for all."""
    mine = tmp_path_factory.getbasetemp()
    place = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine  # workers have their folders in the run's
    known = place / "deployed"
    with (place / "deploying").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not known.exists():
            with LocalCloud(tmp_path_factory.mktemp("deployment")) as cloud:
                deploy(cloud, lambda _: None)
                kept = cloud.save()
            kept.rename(known)
    return known


@pytest.fixture(scope="module")
def cloud(
    request: pytest.FixtureRequest, deployed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalCloud]:
    """The two accounts, with instances that boot in a third of a second. A module may have its own RETRY_SCALE, and may
    be DURABLE."""
    state = tmp_path_factory.mktemp("cloud")
    scale = getattr(request.module, "RETRY_SCALE", RETRY_SCALE)
    fast = {"boot_seconds": 0.3, "delete_seconds": 0.2, "retry_scale": scale}
    durable = getattr(request.module, "DURABLE", False)
    with LocalCloud(state, saved=deployed, schedules="jumps", strict=True, durable=durable, **fast) as running:
        yield running


@pytest.fixture(scope="module")
def heard(cloud: LocalCloud) -> Facts:
    """Makes what Mayfly needs, and listens to all it says."""
    outputs = prepare(cloud, lambda _: None).outputs
    upload_blueprint(cloud, outputs, ROOT / "tests" / "blueprints" / "single.yaml")
    return Facts(cloud, outputs["FactsBusName"])


@pytest.fixture(scope="module")
def no_images(cloud: LocalCloud, heard: Facts) -> None:
    """Nothing is baked, measured or retired by itself: where days pass, a night's bake takes longer than the test."""
    stop_schedules(cloud)


@pytest.fixture(scope="session")
def names() -> Iterator[str]:
    """Names of applications that no test has used yet."""
    return (f"shop-{number}" for number in count(1))


@pytest.fixture
def mayfly(cloud: LocalCloud, heard: Facts, names: Iterator[str]) -> Iterator[Driver]:
    """Mayfly at work, with nothing broken, and nothing left broken for the next test. Where the local cloud itself
    breaks, the test has failed, whatever it saw."""
    yield Driver(cloud, installed(cloud).outputs, heard, names)
    cloud.clear_faults()
    assert not cloud.crashes()
