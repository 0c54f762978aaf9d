"""Many environments at once. The last file by its name: moto remembers all instances, and gets slower by them."""

import time

from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver

SUITES = 24
INSTANCES = 45
PATIENCE_SECONDS = 150


def test_24_suites_of_45_instances_in_one_event_are_all_built_and_terminated_none_lost_none_twice(
    mayfly: Driver,
) -> None:
    suites = [f"suite-{number}" for number in range(SUITES)]
    mayfly.cloud.reset_ledger()
    began = time.monotonic()
    release = mayfly.push(mayfly.application(suites=suites, instances=INSTANCES, blueprint="fleet.yaml"))
    environments = [environment_id(release, suite) for suite in suites]

    def ready() -> bool:
        return all(mayfly.record(environment).get("stage") == "awaiting tests" for environment in environments)

    mayfly.until(ready, "all are ready", lambda: _stages(mayfly, environments), PATIENCE_SECONDS)
    print(f"ready after {time.monotonic() - began:.0f} s")
    fleet = mayfly.cloud.fleet()
    assert {environment: fleet[environment] for environment in environments} == {
        environment: {"running": INSTANCES} for environment in environments
    }

    mayfly.say("Test Finished", [{"environment": environment, "outcome": "passed"} for environment in environments])
    verdict = mayfly.verdict(release, PATIENCE_SECONDS)
    print(f"verdict after {time.monotonic() - began:.0f} s")
    assert verdict["detail-type"] == "Release Passed", verdict
    assert [part["environment"] for part in verdict["detail"]["suites"]] == environments
    for environment in environments:
        assert mayfly.execution(environment)["status"] == "SUCCEEDED"
        assert mayfly.stacks(environment) == ["DELETE_COMPLETE"]
        assert mayfly.calls(environment)["CreateStack"] == 1
        assert mayfly.calls(environment)["DeleteStack"] == 1
        assert mayfly.record(environment)["instances_built"] == INSTANCES
        assert mayfly.instances_left(environment) == 0
        assert sorted(mayfly.announced(environment)) == [
            "Environment Ready",
            "Environment Requested",
            "Environment Terminated",
        ]
    print(f"checked after {time.monotonic() - began:.0f} s")


def _stages(mayfly: Driver, environments: list[str]) -> dict[str, str | None]:
    return {environment: mayfly.record(environment).get("stage") for environment in environments}
