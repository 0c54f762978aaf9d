"""Many environments at once. The last file by its name: moto remembers all instances, and gets slower by them."""

from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver

SUITES = 24
INSTANCES = 45


def test_24_suites_of_45_instances_in_one_event_are_all_built_and_terminated_none_lost_none_twice(
    mayfly: Driver,
) -> None:
    suites = [f"suite-{number}" for number in range(SUITES)]
    mayfly.cloud.reset_ledger()
    application = mayfly.application(suites=suites, instances=INSTANCES, blueprint="fleet.yaml")
    release = mayfly.push(application)
    environments = [environment_id(release, suite) for suite in suites]

    def admitted() -> bool:
        return all(mayfly.record(environment).get("reserved") for environment in environments)

    def ready() -> bool:
        return all(mayfly.record(environment).get("stage") == "awaiting tests" for environment in environments)

    mayfly.until(admitted, "all have their room", lambda: _stages(mayfly, environments))
    mayfly.cloud.advance(60)  # EC2 has tokens for 1,000 launches at once, and for two more a second
    mayfly.until(ready, "all are ready", lambda: _stages(mayfly, environments))
    fleet = mayfly.cloud.fleet()
    assert {environment: fleet[environment] for environment in environments} == {
        environment: {"running": INSTANCES} for environment in environments
    }

    mayfly.say("Test Finished", [{"environment": environment, "outcome": "passed"} for environment in environments])
    verdict = mayfly.verdict(release)
    assert verdict["detail-type"] == "Release Passed", verdict
    assert [part["environment"] for part in verdict["detail"]["suites"]] == environments
    for environment in environments:
        assert mayfly.execution(environment)["status"] == "SUCCEEDED"
        assert mayfly.stacks(environment) == ["DELETE_COMPLETE"]
        assert mayfly.calls(environment)["CreateStack"] == 1
        assert mayfly.calls(environment)["DeleteStack"] == 1
        assert mayfly.record(environment)["instances_built"] == INSTANCES
        assert sorted(mayfly.announced(environment)) == [
            "Environment Ready",
            "Environment Requested",
            "Environment Terminated",
        ]
    ever = _instances_ever(mayfly, application)
    assert set(ever.values()) == {"terminated"}
    assert len(ever) == SUITES * INSTANCES


def _stages(mayfly: Driver, environments: list[str]) -> dict[str, str | None]:
    return {environment: mayfly.record(environment).get("stage") for environment in environments}


def _instances_ever(mayfly: Driver, application: str) -> dict[str, str]:
    """The state of every instance that was ever launched for an application, by id."""
    pages = (
        mayfly.cloud.workload_client("ec2")
        .get_paginator("describe_instances")
        .paginate(Filters=[{"Name": "tag:mayfly:application", "Values": [application]}])
    )
    found = [one for page in pages for reservation in page["Reservations"] for one in reservation["Instances"]]
    return {one["InstanceId"]: one["State"]["Name"] for one in found}
