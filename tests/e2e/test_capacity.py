"""EC2 has no more of an instance type, in a zone or anywhere: the next type is launched in its place."""

from collections import Counter

import pytest

from local.cloud import REGION
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


class TestATypeWithoutCapacity:
    def test_is_followed_by_the_next_in_its_zone(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", no_capacity=f"{REGION}a", type="m5.large")
        application = mayfly.application(instances=4, blueprint="fleet.yaml", parameters={"InstanceType": BOTH})
        environment = mayfly.begin(application)
        assert launched(mayfly, environment) == {("c5.large", "on-demand"): 2, ("m5.large", "on-demand"): 2}
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)


class TestSpot:
    def test_instances_are_the_share_that_the_application_says(self, mayfly: Driver) -> None:
        shares = {"InstanceType": BOTH, "OnDemandBase": "1", "OnDemandPercentage": "0"}
        environment = mayfly.begin(mayfly.application(instances=4, blueprint="fleet.yaml", parameters=shares))
        assert launched(mayfly, environment) == {("m5.large", "on-demand"): 1, ("m5.large", "spot"): 3}
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)
