"""The hand-over from an instance's boot to its tests, and the network in between: who hangs or fails is named before
the signals time out, who cannot be helped is replaced, and own VPCs reach the premises by ranges of their own."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from mayfly.domain.identity import environment_id, stack_name
from tests.e2e.caller import member
from tests.e2e.driver import Driver
from tests.e2e.test_office_hours_kept import running

MEASURED = 301
"""Seconds after which somebody has looked at all instances."""
READY_TIMEOUT = 900
LOG = "18 % of webshop.tar.gz, 3 kB/s"


def untimed(text: str) -> str:
    """A text with `N s` in the place of durations."""
    return re.sub(r"\d+ s\b", "N s", text)


def a_fleet(mayfly: Driver, instances: int = 3, **parameters: str) -> str:
    """An application whose instances say how far their boot is."""
    return mayfly.application(instances=instances, blueprint="fleet.yaml", parameters=parameters)


def booting(mayfly: Driver, environment: str) -> dict[str, str]:
    """What each of its instances says of its boot."""
    found = mayfly.cloud.workload_client("ec2").describe_instances(
        Filters=[{"Name": "tag:mayfly:environment", "Values": [environment]}]
    )["Reservations"]
    tags = {
        one["InstanceId"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        for each in found
        for one in each["Instances"]
        if one["State"]["Name"] != "terminated"
    }
    return {name: said.get("mayfly:boot", "") for name, said in tags.items()}


class TestABoot:
    def test_is_told_step_by_step_and_the_version_that_runs_with_it(self, mayfly: Driver) -> None:
        application = a_fleet(mayfly, PuppetServer="puppet.example.com", VersionScript="/opt/mayfly/version")
        environment = mayfly.begin(application)
        for said in booting(mayfly, environment).values():
            steps = ["set the host name", "certificate", "catalogue", "converge", "deploy", "version"]
            assert untimed(said) == f"ready after N s: {'; '.join(f'{step} N s' for step in steps)};"
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"

    def test_that_hangs_is_named_with_step_and_log_before_the_signals_time_out_and_when_they_do(
        self, mayfly: Driver
    ) -> None:
        application = a_fleet(mayfly)
        mayfly.cloud.fault("workload", boot="deploy", effect="hang", log=LOG, times=1)
        environment = environment_id(mayfly.push(application), "smoke")
        mayfly.life(environment, "creating")

        def hanging() -> str | None:
            said = booting(mayfly, environment)
            waiting = [name for name, text in said.items() if "; deploy since " in text]
            return waiting[0] if sum(text.startswith("ready") for text in said.values()) == 2 and waiting else None

        instance = mayfly.until(hanging, "one hangs and two are ready", lambda: booting(mayfly, environment))
        mayfly.cloud.advance(MEASURED)

        def notes() -> list[str]:
            return [why for what, why in mayfly.history(mayfly.record(environment)) if what == "booting"]

        [note] = mayfly.until(notes, "it is noted where it hangs", lambda: mayfly.record(environment))
        assert untimed(note).startswith(
            f"2 of 3 instances are ready; {instance}: set the host name N s; converge N s; "
        )
        assert note.endswith(f"; its log ends with: {LOG}")
        assert mayfly.execution(environment)["status"] == "RUNNING"
        shown = member(mayfly, "vera", "viewer").read(f"/api/environments/{environment}")["history"]
        assert note in [line["why"] for line in shown], "the console shows it"
        assert note in watched(mayfly, environment), "mayfly watch tells it"

        mayfly.cloud.advance(READY_TIMEOUT)
        execution = mayfly.end(environment)
        assert execution["status"] == "FAILED"
        assert "Received 2 SUCCESS signal(s) out of 3" in execution["cause"]
        reason = mayfly.announcement("Environment Failed", environment)["ending"]["reason"]
        assert f"{instance}: set the host name N s; converge N s; deploy since " in untimed(reason)
        assert LOG in reason
        assert mayfly.nothing_is_left(environment)

    def test_that_fails_says_in_which_step_and_why(self, mayfly: Driver) -> None:
        why = "exit code 1: Error: Could not retrieve catalog"
        mayfly.cloud.fault("workload", boot="catalogue", effect="fail", reason=why, log="Server Error", times=1)
        environment = environment_id(mayfly.push(a_fleet(mayfly, PuppetServer="puppet.example.com")), "smoke")
        assert mayfly.end(environment)["status"] == "FAILED"
        ended = mayfly.announcement("Environment Failed", environment)
        assert "Received 1 FAILURE signal(s) out of 3" in ended["ending"]["reason"]
        assert f"catalogue: {why}; its log ends with: Server Error" in ended["ending"]["reason"]
        assert mayfly.record(environment)["instance_failures"]["failed"] == {"failed before they were ready": 1}


class TestAnInstanceThatCannotBeHelped:
    def fails(self, mayfly: Driver, **times: int) -> None:
        """Has boots fail for a reason that is in the instance itself."""
        mayfly.cloud.fault("workload", boot="deploy", effect="fail", reason="exit code 1: no space left", **times)

    def test_is_replaced_and_counted(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", boot="converge", effect="hang", times=1)
        self.fails(mayfly, times=1)
        environment = environment_id(mayfly.push(a_fleet(mayfly, ReplaceFailed="1")), "smoke")
        mayfly.until(lambda: mayfly.record(environment).get("failed_instances"), "it is counted")
        mayfly.cloud.clear_faults()  # the one that hangs goes on
        mayfly.life(environment, "awaiting tests")
        record = mayfly.record(environment)
        assert record["instances_built"] == 3
        [failed] = record["failed_instances"]
        assert failed not in booting(mayfly, environment)
        [said] = [why for what, why in mayfly.history(record) if what == "instance failed"]
        expected = f"1 failed where 1 may be replaced; {failed}: failed after N s: deploy: exit code 1: no space left"
        assert untimed(said) == expected
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        ended = mayfly.announcement("Environment Terminated", environment)
        assert ended["failures"] == {"failed before they were ready": 1}
        assert mayfly.nothing_is_left(environment)

    def test_fails_its_environment_at_once_where_they_are_too_many(self, mayfly: Driver) -> None:
        self.fails(mayfly)
        environment = environment_id(mayfly.push(a_fleet(mayfly, ReplaceFailed="1")), "smoke")
        execution = mayfly.end(environment)
        assert execution["status"] == "FAILED"
        assert "failed where 1 may be replaced; " in execution["cause"]
        assert "deploy: exit code 1: no space left" in execution["cause"]
        assert mayfly.nothing_is_left(environment)


def test_the_owner_hears_at_once_of_an_instance_that_is_lost_under_test(mayfly: Driver) -> None:
    environment = mayfly.begin(a_fleet(mayfly))
    lost, *_ = mayfly.record(environment, "fleet")["instances"]
    mayfly.cloud.advance(60)  # as soon as what the environments before this one have left is judged
    before = len(mayfly.invocations("judge-instance"))
    mayfly.cloud.workload_client("ec2").terminate_instances(InstanceIds=[lost])
    said = mayfly.until(
        lambda: (
            mayfly.announced(environment).count("Environment Instance Lost")
            and mayfly.announcement("Environment Instance Lost", environment)
        ),
        "it is said",
        lambda: mayfly.record(environment),
    )
    assert (said["lost"], said["reason"]) == (1, f"{lost}: stopped or were terminated")
    assert mayfly.execution(environment)["status"] == "RUNNING", "its tests go on"
    mayfly.until(lambda: running(mayfly, environment) == 3, "another one runs in its place")
    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    record = mayfly.record(environment)
    assert record["lost_instances"] == [lost]
    assert record["instance_failures"] == {"launched": 4, "failed": {"stopped or were terminated": 1}}
    judged = len(mayfly.invocations("judge-instance")) - before
    assert judged == 1, "what went with its group crossed no account"
    assert mayfly.nothing_is_left(environment)


def watched(mayfly: Driver, environment: str) -> str:
    """What `mayfly watch` tells within a moment of an environment that goes on."""
    command = [sys.executable, "-c", "from mayfly_cli.main import main; main()", "watch", environment, "--timeout", "0"]
    done = subprocess.run(command, env=os.environ | mayfly.cloud.environ, capture_output=True, text=True)
    return done.stderr


class TestOwnVpcs:
    ON_PREMISES = "10.0.0.0/10"

    @pytest.fixture
    def gateway(self, mayfly: Driver) -> Any:
        """The transit gateway to the premises, and a pool of two ranges."""
        pool = {"range": "10.64.0.0/19", "prefix": 20}
        mayfly.cloud.client("ssm").put_parameter(
            Name="/mayfly/pools/office", Type="String", Value=json.dumps(pool), Overwrite=True
        )
        ec2 = mayfly.cloud.workload_client("ec2")
        return ec2.create_transit_gateway(Description="to the premises")["TransitGateway"]

    def test_at_once_have_different_ranges_and_the_way_to_the_premises_until_the_pool_is_used_up(
        self, mayfly: Driver, gateway: Any
    ) -> None:
        to = {"TransitGatewayId": gateway["TransitGatewayId"], "OnPremisesCidr": self.ON_PREMISES}
        application = mayfly.application(("smoke", "load"), blueprint="fleet.yaml", parameters=to, pool="office")
        release = mayfly.push(application)
        smoke, load = (environment_id(release, suite) for suite in ("smoke", "load"))
        for environment in (smoke, load):
            mayfly.life(environment, "awaiting tests")
        assert self.ranges(mayfly, smoke, load) == {"10.64.0.0/20", "10.64.16.0/20"} == self.propagated(mayfly, gateway)
        for environment in (smoke, load):
            assert self.ways(mayfly, environment) == {(self.ON_PREMISES, gateway["TransitGatewayId"])}

        third = environment_id(mayfly.push(application, "1.0.1"), "smoke")
        assert mayfly.end(third)["status"] == "FAILED"
        reason = mayfly.announcement("Environment Failed", third)["ending"]["reason"]
        assert "the pool office has no range left: 2 of 2 are taken" in reason

        freed = self.ranges(mayfly, smoke)
        mayfly.finish(smoke)
        assert mayfly.end(smoke)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(smoke)
        again = mayfly.begin(mayfly.application(blueprint="fleet.yaml", parameters=to, pool="office"))
        assert self.ranges(mayfly, again) == freed, "the range came back"
        for environment in (again, load):
            mayfly.finish(environment)
            mayfly.end(environment)
        assert self.propagated(mayfly, gateway) == set()

    def network(self, mayfly: Driver, environment: str) -> str:
        """The id of an environment's VPC."""
        cloudformation = mayfly.cloud.workload_client("cloudformation")
        [stack] = cloudformation.describe_stacks(StackName=stack_name(environment))["Stacks"]
        return next(str(out["OutputValue"]) for out in stack["Outputs"] if out["OutputKey"] == "VpcId")

    def ranges(self, mayfly: Driver, *environments: str) -> set[str]:
        """The ranges of their VPCs."""
        names = [self.network(mayfly, each) for each in environments]
        return {vpc["CidrBlock"] for vpc in mayfly.cloud.workload_client("ec2").describe_vpcs(VpcIds=names)["Vpcs"]}

    def ways(self, mayfly: Driver, environment: str) -> set[tuple[str, str]]:
        """Where a VPC's routes lead by a transit gateway."""
        mine = [{"Name": "vpc-id", "Values": [self.network(mayfly, environment)]}]
        tables = mayfly.cloud.workload_client("ec2").describe_route_tables(Filters=mine)["RouteTables"]
        routes = (route for table in tables for route in table["Routes"] if "TransitGatewayId" in route)
        return {(route["DestinationCidrBlock"], route["TransitGatewayId"]) for route in routes}

    def propagated(self, mayfly: Driver, gateway: Any) -> set[str]:
        """The ranges that the gateway finds the way back to."""
        found = mayfly.cloud.workload_client("ec2").search_transit_gateway_routes(
            TransitGatewayRouteTableId=gateway["Options"]["AssociationDefaultRouteTableId"],
            Filters=[{"Name": "state", "Values": ["active"]}],
        )
        return {route["DestinationCidrBlock"] for route in found["Routes"]}
