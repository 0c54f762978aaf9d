"""A local cloud for each module of tests, with Mayfly installed as a platform team does it: sam build, sam deploy.
Whatever the order of the modules, none finds what another has left."""

from collections.abc import Iterator
from itertools import count

import pytest

from local.cloud import LocalCloud
from local.install import ROOT, install, installed, upload_blueprint
from tests.e2e.driver import Driver, listen

RETRY_SCALE = 0.002
"""So that ten minutes of retries take a second. What waits for a clock is moved by `cloud.advance` instead."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The two accounts, with instances that boot in a third of a second."""
    state = tmp_path_factory.mktemp("cloud")
    with LocalCloud(state, boot_seconds=0.3, delete_seconds=0.2, retry_scale=RETRY_SCALE) as running:
        yield running


@pytest.fixture(scope="module")
def heard(cloud: LocalCloud) -> str:
    """Installs Mayfly. The URL of a queue that hears all it says."""
    outputs = install(cloud, lambda _: None).outputs
    upload_blueprint(cloud, outputs, ROOT / "tests" / "blueprints" / "single.yaml")
    return listen(cloud, outputs["BusName"])


@pytest.fixture(scope="session")
def names() -> Iterator[str]:
    """Names of applications that no test has used yet."""
    return (f"shop-{number}" for number in count(1))


@pytest.fixture
def mayfly(cloud: LocalCloud, heard: str, names: Iterator[str]) -> Iterator[Driver]:
    """Mayfly at work, with nothing broken, and nothing left broken for the next test."""
    yield Driver(cloud, installed(cloud).outputs, heard, names)
    cloud.clear_faults()
