"""One simulated world a test, and how long hypothesis may look: reproducibly short, or as long as `make model` says."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket

from mayfly import observability
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings as settings_of_functions
from mayfly.workflows import gauges
from tests.model.world import SETTINGS, World


def pytest_configure(config: pytest.Config) -> None:
    """An invocation without a metric is nothing to warn of: here none has any."""
    config.addinivalue_line("filterwarnings", "ignore:No application metrics to publish:UserWarning")


STEPS = int(os.environ.get("MAYFLY_MODEL_STEPS", "0"))
"""Steps to try about, with the seeds from MAYFLY_MODEL_SEED on; 0: the same few thousand as always."""
PARTS = range(max(1, STEPS // 20_000))
"""Each has a seed of its own, and workers can take turns."""
FIRST_SEED = int(os.environ.get("MAYFLY_MODEL_SEED", "1"))
IN_A_HISTORY = 30

FEW_DAYS = "30"
"""That records are kept: each sweep looks at the sum of each of them."""

EXAMPLES = STEPS // len(PARTS) // IN_A_HISTORY

settings.register_profile(
    "model",
    max_examples=EXAMPLES or 60,
    stateful_step_count=IN_A_HISTORY,
    derandomize=not STEPS,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
# Days pass in each of these.
settings.register_profile("rollouts", settings.get_profile("model"), max_examples=EXAMPLES or 20)


@pytest.fixture(scope="module", autouse=True)
def installation() -> Iterator[None]:
    """The settings of the functions; no sockets, and no logs or metrics, which nobody reads here."""
    disable_socket(allow_unix_socket=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SETTINGS | {"MAYFLY_RECORD_DAYS": FEW_DAYS}).items():
            patch.setenv(name, value)
        settings_of_functions.cache_clear()
        patch.setattr(metrics, "add_metric", lambda **_: None)
        patch.setattr(gauges, "publish", lambda *_: None)
        patch.setattr(observability, "measure", lambda *_, **__: None)
        logger.setLevel("CRITICAL")
        yield
        logger.setLevel("INFO")
    settings_of_functions.cache_clear()
    enable_socket()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An installation with an empty workload account."""
    with World().installed(monkeypatch) as world:
        yield world
