"""The interpreters: each once, because the local cloud's is made by replacing parts of MiniStack for good."""

import pytest

from tests.conformance.engines import Engine, Local, Model


@pytest.fixture(scope="session")
def local() -> Engine:
    return Local()


@pytest.fixture(scope="session")
def model() -> Engine:
    return Model()


@pytest.fixture(params=["local", "model"])
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(request.param)
    return engine
