"""One local cloud for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local_toys import Toys

from local.cloud import LocalCloud


@pytest.fixture(scope="session")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with LocalCloud(tmp_path_factory.mktemp("cloud"), boot_seconds=0.4, delete_seconds=0.3) as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud: LocalCloud) -> Iterator[LocalCloud]:
    shared_cloud.clear_faults()
    shared_cloud.reset_ledger()
    yield shared_cloud
    shared_cloud.clear_faults()
    assert not shared_cloud.crashes()


@pytest.fixture
def toys(cloud: LocalCloud) -> Toys:
    return Toys(cloud)
