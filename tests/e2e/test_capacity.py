"""EC2 has no more of an instance type, in a zone or anywhere: the next type is launched in its place, and what gets
none fails by that name."""

from collections import Counter

import pytest

from local.cloud import REGION
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver

pytestmark = pytest.mark.usefixtures("no_images")

BOTH = "m5.large,c5.large"


def launched(mayfly: Driver, environment: str) -> Counter[tuple[str, str]]:
    """How many instances of an environment there are, by type and market."""
    found = mayfly.cloud.workload_client("ec2").describe_instances(
        Filters=[{"Name": "tag:mayfly:environment", "Values": [environment]}]
    )["Reservations"]
    return Counter(
        (one["InstanceType"], one.get("InstanceLifecycle", "on-demand"))
        for each in found
        for one in each["Instances"]
        if one["State"]["Name"] == "running"
    )


def not_launched(mayfly: Driver, environment: str) -> list[str]:
    """What its history tells of launches that failed."""
    return [why for what, why in mayfly.history(mayfly.record(environment)) if what == "not launched"]


class TestATypeWithoutCapacity:
    def test_is_followed_by_the_next_in_its_zone(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", no_capacity=f"{REGION}a", type="m5.large")
        application = mayfly.application(instances=4, blueprint="fleet.yaml", parameters={"InstanceType": BOTH})
        environment = mayfly.begin(application)
        assert launched(mayfly, environment) == {("c5.large", "on-demand"): 2, ("m5.large", "on-demand"): 2}
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)

    def test_anywhere_is_told_while_it_is_built(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", no_capacity="*", type="m5.large")
        mayfly.cloud.fault("workload", boot="converge", effect="hang", times=1)  # it is built until that is told
        application = mayfly.application(instances=2, blueprint="fleet.yaml", parameters={"InstanceType": BOTH})
        environment = environment_id(mayfly.push(application), "smoke")
        mayfly.life(environment, "creating")

        def told() -> set[str]:
            return {why.partition(":")[0] for why in not_launched(mayfly, environment)}

        both = {f"no capacity for m5.large in {REGION}{zone}" for zone in "ab"}
        mayfly.until(lambda: told() == both, "both zones are told", told)
        mayfly.cloud.clear_faults()  # the instance that hangs goes on
        mayfly.life(environment, "awaiting tests")
        assert launched(mayfly, environment) == {("c5.large", "on-demand"): 2}
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)


class TestNoCapacity:
    def test_anywhere_fails_an_environment_by_that_name_and_leaves_nothing(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", no_capacity="*")
        application = mayfly.application(instances=2, blueprint="fleet.yaml", parameters={"InstanceType": BOTH})
        release = mayfly.push(application)
        environment = environment_id(release, "smoke")
        ended = mayfly.end(environment)  # no time has passed but the local cloud's own
        assert (ended["status"], ended["error"]) == ("FAILED", "EnvironmentFailed")
        pools = [f"{kind} in {REGION}{zone}" for kind in BOTH.split(",") for zone in "ab"]
        named = f"EC2 has no capacity for {', nor for '.join(pools)}: Could not launch On-Demand Instances."
        assert named in ended["cause"]
        assert named in mayfly.verdict(release)["detail"]["reason"]
        told = {why.partition(":")[0] for why in not_launched(mayfly, environment)}
        assert len(told & {f"no capacity for {pool}" for pool in pools}) == len(pools) - 1, told
        assert mayfly.nothing_is_left(environment)


class TestSpot:
    def test_instances_are_the_share_that_the_application_says(self, mayfly: Driver) -> None:
        shares = {"InstanceType": BOTH, "OnDemandBase": "1", "OnDemandPercentage": "0"}
        environment = mayfly.begin(mayfly.application(instances=4, blueprint="fleet.yaml", parameters=shares))
        assert launched(mayfly, environment) == {("m5.large", "on-demand"): 1, ("m5.large", "spot"): 3}
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)

    def test_that_ec2_does_not_have_are_launched_on_demand(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", no_capacity="*", market="spot")
        shares = {"InstanceType": BOTH, "OnDemandBase": "1", "OnDemandPercentage": "0"}
        application = mayfly.application(instances=4, blueprint="fleet.yaml", parameters=shares)
        environment = environment_id(mayfly.push(application), "smoke")
        mayfly.life(environment, "creating")

        def instead() -> list[str]:
            return [why for what, why in mayfly.history(mayfly.record(environment)) if what == "On-Demand instead"]

        told = mayfly.until(instead, "it falls back", lambda: mayfly.history(mayfly.record(environment)))
        assert told == ["EC2 has no Spot Instances for it: 4 of 4 are launched On-Demand"]
        mayfly.cloud.advance(31)  # Auto Scaling tries again
        mayfly.life(environment, "awaiting tests")
        assert launched(mayfly, environment) == {("m5.large", "on-demand"): 4}
        assert mayfly.calls(environment)["UpdateAutoScalingGroup"] == 1
        assert "Environment On-Demand" in mayfly.announced(environment)
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)
