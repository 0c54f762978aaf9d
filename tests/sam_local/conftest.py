"""One container engine, one local cloud with Mayfly installed, and one `sam local` for all tests here."""

import json
import os
from collections.abc import Iterator

import pytest

from local.cloud import LocalCloud
from local.install import ROOT, install
from tests.e2e.gallery import stop_schedules

from .bridge import bridge
from .engine import Engine, EngineMissingError, can_have_private_engine, container_engine
from .sam import SamLocal, on_the_local_cloud

CACHE = ROOT / "build" / "sam-local"
_USED = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A container engine; without one the tests are skipped, except in CI where one is expected to come up."""
    try:
        with container_engine(CACHE) as found:
            request.config.stash[_USED] = found.description
            yield found
    except EngineMissingError as missing:
        if os.environ.get("CI") == "true" and can_have_private_engine():
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def cloud(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The local cloud with Mayfly installed. It asks for the engine first: without one it need not start."""
    with LocalCloud(
        tmp_path_factory.mktemp("cloud"), schedules="jumps", boot_seconds=0.5, delete_seconds=0.2
    ) as running:
        installation = install(running)
        _silence(running, installation.outputs)
        yield running


@pytest.fixture(scope="session")
def sam(engine: Engine, cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamLocal]:
    """`sam local start-lambda` on what was built and deployed, with the variables of the deployed functions."""
    with bridge() as open_bridge:
        local = on_the_local_cloud(engine, open_bridge, cloud, tmp_path_factory.mktemp("sam"))
        with local.serving(open_bridge):
            yield local


def _silence(cloud: LocalCloud, outputs: dict[str, str]) -> None:
    """Have executions end where they begin, and events and schedules reach nobody: the tests play the part of them all.
    A sweep of its own would end what the sample events are about, whose deadline passed long ago."""
    done = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    for machine in ("ReleaseMachine", "BakeMachine", "PromotionMachine", "RolloutMachine"):
        cloud.client("stepfunctions").update_state_machine(stateMachineArn=outputs[machine], definition=done)
    cloud.fault("controller", event={"detail-type": "*"}, effect="lose")
    stop_schedules(cloud, "sweep-environments", "plan-rollouts")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if used := config.stash.get(_USED, None):
        terminalreporter.write_line(f"sam local: real SAM CLI, runtime emulator and runtime client on {used}")
