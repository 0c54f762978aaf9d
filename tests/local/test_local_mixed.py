"""Groups of several instance types: launched in their order over all zones, and refused where Auto Scaling refuses."""

import copy
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import LocalCloud
from local.workload.mixed import refusal
from tests.local.local_toys import TEMPLATE, Toys, ToyService, eventually

SPECIFICATION = {
    "LaunchTemplateId": {"Ref": "Template"},
    "Version": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]},
}
TWO = [{"InstanceType": "m5.large"}, {"InstanceType": "c5.large"}]


def policy(overrides: list[dict[str, Any]] | None = None, **distribution: Any) -> dict[str, Any]:
    template = {"LaunchTemplateSpecification": SPECIFICATION, "Overrides": TWO if overrides is None else overrides}
    return {"LaunchTemplate": template, "InstancesDistribution": distribution}


def mixed_template(**distribution: Any) -> str:
    """The smallest fleet with two types and a subnet in each of two zones."""
    body = json.loads(TEMPLATE)
    resources = body["Resources"]
    resources["Subnet"]["Properties"]["AvailabilityZone"] = "us-east-1a"
    resources["Other"] = copy.deepcopy(resources["Subnet"])
    resources["Other"]["Properties"] |= {"AvailabilityZone": "us-east-1b", "CidrBlock": "10.0.16.0/20"}
    group = resources["Fleet"]["Properties"]
    del group["LaunchTemplate"]
    nothing = {"Fn::If": ["Never", {"InstanceType": "r5.large"}, {"Ref": "AWS::NoValue"}]}
    body["Conditions"] = {"Never": {"Fn::Equals": ["a", "b"]}}
    group["MixedInstancesPolicy"] = policy([*TWO, nothing], **distribution)
    group["VPCZoneIdentifier"] = [{"Ref": "Subnet"}, {"Ref": "Other"}]
    return json.dumps(body)


def kinds(toys: Toys, environment: str) -> Counter[tuple[str, str, str]]:
    """How many instances there are of each type, zone and market."""
    return Counter(
        (one["InstanceType"], one["Placement"]["AvailabilityZone"], one.get("InstanceLifecycle", "on-demand"))
        for one in toys.instances(environment)
        if one["State"]["Name"] in ("pending", "running")
    )


def activities(cloud: LocalCloud, environment: str) -> list[dict[str, Any]]:
    autoscaling = cloud.workload_client("autoscaling")
    wanted = [{"Name": "tag:mayfly:environment", "Values": [environment]}]
    return [
        one
        for group in autoscaling.describe_auto_scaling_groups(Filters=wanted)["AutoScalingGroups"]
        for one in autoscaling.describe_scaling_activities(AutoScalingGroupName=group["AutoScalingGroupName"])[
            "Activities"
        ]
    ]


def test_instances_are_of_the_first_type_and_spread_over_the_zones(toys: Toys) -> None:
    stack, environment = toys.stack(instances=5, TemplateBody=mixed_template())
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    assert kinds(toys, environment) == {
        ("m5.large", "us-east-1a", "on-demand"): 3,
        ("m5.large", "us-east-1b", "on-demand"): 2,
    }


def test_a_type_that_ec2_has_no_more_of_is_followed_by_the_next_in_that_zone_only(
    cloud: LocalCloud, toys: Toys
) -> None:
    cloud.fault("workload", no_capacity="us-east-1a", type="m5.large")
    stack, environment = toys.stack(instances=4, TemplateBody=mixed_template())
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    assert kinds(toys, environment) == {
        ("c5.large", "us-east-1a", "on-demand"): 2,
        ("m5.large", "us-east-1b", "on-demand"): 2,
    }
    [failed] = [one for one in activities(cloud, environment) if one["StatusCode"] == "Failed"]
    assert failed["StatusMessage"].startswith(
        "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient "
        "m5.large capacity in the Availability Zone you requested (us-east-1a)."
    )


def test_the_shares_of_on_demand_and_spot_are_auto_scalings(toys: Toys) -> None:
    distribution = {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 25}
    stack, environment = toys.stack(instances=6, TemplateBody=mixed_template(**distribution))
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    markets = Counter[str]()
    for (_, _, market), count in kinds(toys, environment).items():
        markets[market] += count
    assert markets == {"on-demand": 1 + 2, "spot": 3}, "a quarter of five is rounded up"


def test_what_could_not_be_launched_is_tried_again_until_the_signals_time_out(cloud: LocalCloud, toys: Toys) -> None:
    cloud.fault("workload", no_capacity="*", market="on-demand")
    stack, environment = toys.stack(instances=2, TemplateBody=mixed_template())
    eventually(lambda: len(activities(cloud, environment)) >= 4)
    assert not kinds(toys, environment)
    cloud.clear_faults()
    cloud.advance(31)
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    assert kinds(toys, environment).total() == 2


def test_a_group_that_never_gets_its_capacity_fails_when_its_signals_time_out(cloud: LocalCloud, toys: Toys) -> None:
    cloud.fault("workload", no_capacity="*")
    stack, environment = toys.stack(instances=2, TemplateBody=mixed_template())
    eventually(lambda: len(activities(cloud, environment)) >= 4)
    cloud.advance(16 * 60)
    toys.stack_becomes(stack, "CREATE_FAILED")
    events = cloud.workload_client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    reasons = [one.get("ResourceStatusReason", "") for one in events if one["LogicalResourceId"] == "Fleet"]
    assert any(reason.startswith("Received 0 SUCCESS signal(s) out of 2.") for reason in reasons)


def test_a_group_keeps_its_policy_when_something_else_of_it_is_changed(cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.stack(instances=1, TemplateBody=mixed_template())
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    autoscaling = cloud.workload_client("autoscaling")
    wanted = [{"Name": "tag:mayfly:environment", "Values": [environment]}]

    def group() -> dict[str, Any]:
        return dict(autoscaling.describe_auto_scaling_groups(Filters=wanted)["AutoScalingGroups"][0])

    name = group()["AutoScalingGroupName"]
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, DesiredCapacity=0)
    cloud.fault("workload", no_capacity="*", type="m5.large")
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, DesiredCapacity=1)
    shown = group()
    assert shown["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"] == TWO
    assert "LaunchTemplate" not in shown
    assert [one["InstanceType"] for one in shown["Instances"]] == ["c5.large"]
    with pytest.raises(ClientError, match="Duplicate"):
        autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=name,
            MixedInstancesPolicy={
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": shown["MixedInstancesPolicy"]["LaunchTemplate"][
                        "LaunchTemplateSpecification"
                    ],
                    "Overrides": [TWO[0], TWO[0]],
                }
            },
        )


# ---- instance refreshes of services ----------------------------------------------------------------------


@pytest.fixture
def service(cloud: LocalCloud, toys: Toys) -> Iterator[ToyService]:
    with cloud.hurry(120):
        service = toys.service(3)
        yield service
        cloud.clear_faults()
        service.gone()


def desired(service: ToyService, version: str = "1", types: str = "m5.large,c5.large", **more: Any) -> dict[str, Any]:
    named = {"LaunchTemplateId": service.output("LaunchTemplateId"), "Version": version, **more}
    overrides = [{"InstanceType": kind} for kind in types.split(",")]
    return {"LaunchTemplate": {"LaunchTemplateSpecification": named, "Overrides": overrides}}


def refresh(service: ToyService, wanted: dict[str, Any], **preferences: Any) -> None:
    service.autoscaling.start_instance_refresh(
        AutoScalingGroupName=service.name,
        DesiredConfiguration=wanted,
        Preferences={"MinHealthyPercentage": 100, "MaxHealthyPercentage": 150, "InstanceWarmup": 10} | preferences,
    )


def of_types(service: ToyService) -> Counter[str]:
    ids = [one["InstanceId"] for one in service.staying()]
    found = service.cloud.workload_client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
    return Counter(one["InstanceType"] for each in found for one in each["Instances"])


def test_a_refresh_takes_a_group_to_several_types_and_launches_the_next_where_one_is_missing(
    service: ToyService,
) -> None:
    service.update(CodeVersion="2.0")
    service.cloud.fault("workload", no_capacity="*", type="m5.large")
    refresh(service, {"MixedInstancesPolicy": desired(service, "2")}, SkipMatching=True, AutoRollback=True)
    shown = service.becomes("Successful")["DesiredConfiguration"]["MixedInstancesPolicy"]["LaunchTemplate"]
    assert shown["LaunchTemplateSpecification"]["Version"] == "2"
    group = service.group()
    assert "LaunchTemplate" not in group
    assert group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == "2"
    assert (service.versions(), of_types(service)) == (["2"] * 3, {"c5.large": 3})


def test_what_is_of_a_desired_type_and_version_is_skipped_and_what_is_of_another_type_replaced(
    service: ToyService,
) -> None:
    before = {one["InstanceId"] for one in service.staying()}
    refresh(service, {"MixedInstancesPolicy": desired(service)}, SkipMatching=True)
    service.becomes("Successful")
    assert {one["InstanceId"] for one in service.staying()} == before
    refresh(service, {"MixedInstancesPolicy": desired(service, types="c5.large,r5.large")}, SkipMatching=True)
    service.becomes("Successful")
    assert of_types(service) == {"c5.large": 3}
    template = {"LaunchTemplateId": service.output("LaunchTemplateId"), "Version": "1"}
    refresh(service, {"LaunchTemplate": template}, SkipMatching=True)
    service.becomes("Successful")
    assert "MixedInstancesPolicy" not in service.group(), "a launch template alone makes it a group of one type"
    assert of_types(service) == {"m5.large": 3}


def test_a_desired_configuration_that_auto_scaling_refuses_is_refused(service: ToyService) -> None:
    mixed = desired(service)
    template = mixed["LaunchTemplate"]["LaunchTemplateSpecification"]
    for wanted, why in (
        ({"LaunchTemplate": template, "MixedInstancesPolicy": mixed}, "either a LaunchTemplate or a Mixed"),
        ({"MixedInstancesPolicy": desired(service, LaunchTemplateName="web")}, "either launchTemplateId or"),
        ({"MixedInstancesPolicy": {"LaunchTemplate": {"Overrides": TWO}}}, "must contain a LaunchTemplateSpec"),
        ({"MixedInstancesPolicy": desired(service, types="m5.large,m5.large")}, "Duplicate instance types"),
    ):
        with pytest.raises(ClientError, match=why):
            refresh(service, wanted)


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ({"LaunchTemplate": {"Overrides": TWO}}, "must contain a LaunchTemplateSpecification"),
        (policy([{"InstanceType": "m5"}]), "do not exist: \\[m5\\]"),
        (policy([TWO[0], TWO[0]]), "Duplicate instance types .*: m5.large"),
        (policy([{}]), "either InstanceType or InstanceRequirements"),
        (policy([{"InstanceType": f"m{n}.large"} for n in range(41)]), "cannot be more than 40"),
        (policy([TWO[0] | {"WeightedCapacity": "2"}, TWO[1]]), "for all instance types, or for none"),
        (policy(OnDemandPercentageAboveBaseCapacity="101"), "a number from 0 to 100"),
        (policy(OnDemandBaseCapacity=-1), "OnDemandBaseCapacity must be a number"),
        (policy(SpotAllocationStrategy="cheapest"), "Invalid SpotAllocationStrategy: cheapest"),
        (policy(OnDemandAllocationStrategy="capacity-optimized"), "Invalid OnDemandAllocationStrategy"),
        (policy([], SpotAllocationStrategy="capacity-optimized-prioritized"), "needs launch template overrides"),
        (policy(SpotAllocationStrategy="capacity-optimized", SpotInstancePools=2), "only with the lowest-price"),
        (policy(OnDemandShare=1), "Unknown parameter in InstancesDistribution: OnDemandShare"),
    ],
)
def test_a_policy_that_auto_scaling_refuses_is_refused(refused: dict[str, Any], why: str) -> None:
    assert re.search(why, refusal(refused) or "")
    assert refusal(policy(SpotAllocationStrategy="capacity-optimized-prioritized")) is None
