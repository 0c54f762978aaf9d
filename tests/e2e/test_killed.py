"""The server of the controller account is ended by SIGKILL from outside, at any moment, and started again."""

import pytest

from mayfly.domain.identity import environment_id, release_id
from tests.e2e.driver import Driver

DURABLE = True
"""AWS's services lose nothing that they have taken: neither does this cloud."""


@pytest.mark.parametrize("moment", ["it was pushed", "creating", "awaiting tests", "its tests are over"])
def test_a_life_goes_on_to_its_end_when_the_server_is_killed_while(mayfly: Driver, moment: str) -> None:
    application = mayfly.application(suites=("smoke",))
    environment = environment_id(release_id(application, "1.0.0", 1), "smoke")

    def comes_to(reached: str) -> None:
        if reached == moment:
            mayfly.cloud.kill_controller()
            mayfly.cloud.start_controller()

    if moment == "creating":
        mayfly.cloud.fault("workload", stack="create", environment=environment, effect="slow", times=1)
    release = mayfly.push(application)
    comes_to("it was pushed")
    if moment == "creating":
        mayfly.life(environment, "creating")
        comes_to("creating")
        mayfly.cloud.clear_faults()
    mayfly.life(environment, "awaiting tests")
    comes_to("awaiting tests")
    mayfly.finish(environment)
    comes_to("its tests are over")
    mayfly.life(environment, "terminated")
    assert mayfly.nothing_is_left(environment)
    assert mayfly.verdict(release)["detail-type"] == "Release Passed"
