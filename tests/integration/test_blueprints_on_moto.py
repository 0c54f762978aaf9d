"""The blueprints deployed to moto's CloudFormation, in this process: they build what they say, and it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from local.workload import deletions, networks
from mayfly.domain import ranges

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "blueprints/fleet.yaml"
ACCOUNT = ROOT / "blueprints/workload-account.yaml"
IMAGES = ROOT / "blueprints/workload-images.yaml"
IN_REGION = ROOT / "blueprints/workload-region.yaml"
SINGLE = ROOT / "tests/blueprints/single.yaml"
REGION = "us-east-1"
ENVIRONMENT = "webshop-1-4-2-smoke-0a1b2c3d"
TAGS = {
    "mayfly:environment": ENVIRONMENT,
    "mayfly:application": "webshop",
    "mayfly:controller": "111111111111/us-east-1/mayfly",
}


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty mock of AWS, for one test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    deletions.install()
    networks.install()
    with mock_aws():
        ec2_backends[DEFAULT_ACCOUNT_ID][REGION].reset()  # an earlier test may have left it without Amazon's images
        yield


class Stack:
    """A blueprint deployed as Mayfly does it."""

    def __init__(self, blueprint: Path, environment: str = ENVIRONMENT, **own: str) -> None:
        image = boto3.client("ec2").describe_images()["Images"][0]["ImageId"]
        parameters = {
            "EnvironmentId": environment,
            "Application": "webshop",
            "CodeVersion": "1.4.2",
            "ArtifactLocation": "https://box.example/webshop-1.4.2.tgz",
            "ImageId": image,
            "Controller": TAGS["mayfly:controller"],
        } | own
        self.cloudformation = boto3.client("cloudformation")
        self.id = self.cloudformation.create_stack(
            StackName=f"mayfly-{environment}",
            TemplateBody=blueprint.read_text(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Tags=[{"Key": k, "Value": v} for k, v in TAGS.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            OnFailure="DO_NOTHING",
        )["StackId"]

    @property
    def status(self) -> str:
        return str(self.cloudformation.describe_stacks(StackName=self.id)["Stacks"][0]["StackStatus"])

    @property
    def outputs(self) -> dict[str, str]:
        stack = self.cloudformation.describe_stacks(StackName=self.id)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def delete(self) -> None:
        self.cloudformation.delete_stack(StackName=self.id)


def instances(*states: str) -> list[Any]:
    pages = boto3.client("ec2").get_paginator("describe_instances").paginate()
    found = [i for page in pages for group in page["Reservations"] for i in group["Instances"]]
    return [instance for instance in found if instance["State"]["Name"] in (states or ("running",))]


def tags_of(instance: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def left_behind() -> dict[str, int]:
    """How many of each thing that a fleet consists of there are; an account is born with some."""
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    endpoints = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    return {
        "instances": len(instances()),
        "groups": len(boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]),
        "templates": len(ec2.describe_launch_templates(MaxResults=200)["LaunchTemplates"]),
        "vpcs": len(ec2.describe_vpcs()["Vpcs"]),
        "subnets": len(ec2.describe_subnets()["Subnets"]),
        "route tables": len(ec2.describe_route_tables()["RouteTables"]),
        "internet gateways": len(ec2.describe_internet_gateways()["InternetGateways"]),
        "nat gateways": len(ec2.describe_nat_gateways()["NatGateways"]),
        "addresses": len(ec2.describe_addresses()["Addresses"]),
        "endpoints": len([endpoint for endpoint in endpoints if endpoint["State"].lower() != "deleted"]),
        "security groups": len(ec2.describe_security_groups()["SecurityGroups"]),
        "roles": len(iam.list_roles()["Roles"]),
        "profiles": len(iam.list_instance_profiles()["InstanceProfiles"]),
        "volumes": len(ec2.describe_volumes()["Volumes"]),
    }


def default_subnets() -> tuple[str, str]:
    """The default VPC, and its first two subnets as a parameter."""
    ec2 = boto3.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    return vpc, ",".join(subnet["SubnetId"] for subnet in subnets[:2])


@pytest.mark.parametrize("nat", ["single", "none"])
def test_a_fleet_in_a_vpc_of_its_own_comes_and_goes(nat: str) -> None:
    before = left_behind()
    stack = Stack(FLEET, InstanceCount="5", NatGateways=nat)

    assert stack.status == "CREATE_COMPLETE"
    assert len(instances()) == 5
    for instance in instances():
        assert tags_of(instance).items() >= TAGS.items()
        assert instance["VpcId"] == stack.outputs["VpcId"]
        assert "PublicIpAddress" not in instance
    built = left_behind()
    assert built["nat gateways"] == (1 if nat == "single" else 0)
    assert built["endpoints"] == (1 if nat == "single" else 5)

    stack.delete()
    assert stack.status == "DELETE_COMPLETE"
    assert left_behind() == before


def layout(number: int) -> dict[str, str]:
    """The parameters of a VPC with a range of its own."""
    return ranges.layout(ranges.network(IPv4Network("10.64.0.0/12"), 20, number))


def ways(vpc: str) -> set[tuple[str, str]]:
    """Where the route tables of a VPC lead, beyond itself, by a transit gateway."""
    tables = boto3.client("ec2").describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    routes = (route for table in tables for route in table["Routes"] if "TransitGatewayId" in route)
    return {(route["DestinationCidrBlock"], route["TransitGatewayId"]) for route in routes}


def propagated(gateway: Any) -> set[str]:
    """The ranges that a transit gateway finds the way back to."""
    found = boto3.client("ec2").search_transit_gateway_routes(
        TransitGatewayRouteTableId=gateway["Options"]["AssociationDefaultRouteTableId"],
        Filters=[{"Name": "state", "Values": ["active"]}],
    )
    return {route["DestinationCidrBlock"] for route in found["Routes"]}


class TestOnATransitGateway:
    @pytest.fixture
    def gateway(self) -> Any:
        return boto3.client("ec2").create_transit_gateway(Description="to the premises")["TransitGateway"]

    def test_fleets_with_ranges_of_their_own_reach_the_premises_and_are_reached(self, gateway: Any) -> None:
        to = {"TransitGatewayId": gateway["TransitGatewayId"], "OnPremisesCidr": "10.0.0.0/10", "InstanceCount": "1"}
        stacks = [Stack(FLEET, f"webshop-{n}", **to, **layout(n)) for n in range(2)]
        assert [stack.status for stack in stacks] == ["CREATE_COMPLETE"] * 2
        assert [ways(stack.outputs["VpcId"]) for stack in stacks] == [{("10.0.0.0/10", to["TransitGatewayId"])}] * 2
        assert propagated(gateway) == {"10.64.0.0/20", "10.64.16.0/20"}
        [attached] = boto3.client("ec2").describe_transit_gateway_vpc_attachments(
            Filters=[{"Name": "vpc-id", "Values": [stacks[0].outputs["VpcId"]]}]
        )["TransitGatewayVpcAttachments"]
        assert {tag["Key"] for tag in attached["Tags"]} >= set(TAGS)
        stacks[0].delete()
        assert stacks[0].status == "DELETE_COMPLETE"
        assert propagated(gateway) == {"10.64.16.0/20"}
        assert Stack(FLEET, "webshop-2", **to, **layout(0)).status == "CREATE_COMPLETE", "the range is free again"

    def test_a_range_that_is_attached_already_is_refused(self, gateway: Any) -> None:
        to = {"TransitGatewayId": gateway["TransitGatewayId"], "InstanceCount": "1"}
        assert Stack(FLEET, "webshop-0", **to).status == "CREATE_COMPLETE"
        with pytest.raises(ClientError, match=r"10\.64\.0\.0/20 of vpc-\S+ overlaps with 10\.64\.0\.0/20 of vpc-"):
            Stack(FLEET, "webshop-1", **to)

    def test_a_gateway_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ClientError, match="Transit Gateway tgw-0a1b was deleted or does not exist"):
            Stack(FLEET, TransitGatewayId="tgw-0a1b", InstanceCount="1")

    def test_a_route_before_its_attachment_is_refused_and_a_subnet_with_one_stays(self, gateway: Any) -> None:
        ec2, tgw = boto3.client("ec2"), gateway["TransitGatewayId"]
        [table] = ec2.describe_route_tables()["RouteTables"]
        route = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "10.0.0.0/8", "TransitGatewayId": tgw}
        with pytest.raises(ClientError, match=r"InvalidTransitGatewayID\.NotFound"):
            ec2.create_route(**route)
        subnet = default_subnets()[1].partition(",")[0]
        ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=tgw, VpcId=table["VpcId"], SubnetIds=[subnet])
        ec2.create_route(**route)
        with pytest.raises(ClientError, match="DependencyViolation"):
            ec2.delete_subnet(SubnetId=subnet)


def test_a_fleet_spans_two_zones() -> None:
    """The group does; that moto launches all instances into its first subnet is moto's."""
    stack = Stack(FLEET, InstanceCount="2")
    (group,) = boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group["AutoScalingGroupName"] == stack.outputs["AutoScalingGroupName"]
    assert len(set(group["AvailabilityZones"])) == 2
    assert group["MinSize"] == group["MaxSize"] == group["DesiredCapacity"] == 2
    launched = group["MixedInstancesPolicy"]["LaunchTemplate"]
    assert launched["LaunchTemplateSpecification"]["Version"] == "1"
    subnets = boto3.client("ec2").describe_subnets(SubnetIds=group["VPCZoneIdentifier"].split(","))["Subnets"]
    assert {subnet["MapPublicIpOnLaunch"] for subnet in subnets} == {False}


def test_a_fleet_in_a_shared_vpc_leaves_the_vpc_alone() -> None:
    before = left_behind()
    vpc, subnets = default_subnets()
    stack = Stack(FLEET, InstanceCount="3", VpcId=vpc, SubnetIds=subnets)

    assert stack.status == "CREATE_COMPLETE"
    assert {instance["VpcId"] for instance in instances()} == {vpc}
    assert left_behind()["vpcs"] == before["vpcs"]

    stack.delete()
    assert left_behind() == before


def test_only_testers_reach_the_service_port() -> None:
    stack = Stack(FLEET, InstanceCount="1", AllowedCidr="10.9.0.0/16", ServicePort="8443")
    group = stack.outputs["ServiceSecurityGroup"]
    (found,) = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert {(rule["FromPort"], rule["ToPort"]) for rule in found["IpPermissions"]} == {(8443, 8443)}
    ranges = [block["CidrIp"] for rule in found["IpPermissions"] for block in rule["IpRanges"]]
    members = [pair["GroupId"] for rule in found["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
    assert (ranges, members) == (["10.9.0.0/16"], [group])


def test_another_blueprint_takes_the_same_parameters_and_tags() -> None:
    before = left_behind()
    stack = Stack(SINGLE, InstanceCount="1")

    assert stack.status == "CREATE_COMPLETE"
    (instance,) = instances()
    assert instance["InstanceId"] == stack.outputs["InstanceId"]
    assert tags_of(instance).items() >= TAGS.items()
    name = f"/mayfly-environments/{ENVIRONMENT}/deployed"
    assert "webshop 1.4.2" in boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]

    stack.delete()
    assert stack.status == "DELETE_COMPLETE"
    assert left_behind() == before


def deploy(template: Path, controller: str, region: str = REGION) -> str:
    return boto3.client("cloudformation", region_name=region).create_stack(
        StackName=f"{template.stem}-of-{controller.rpartition('/')[2]}",
        TemplateBody=template.read_text(),
        Parameters=[{"ParameterKey": "Controller", "ParameterValue": controller}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )["StackId"]


@pytest.mark.parametrize("account", ["111111111111", DEFAULT_ACCOUNT_ID], ids=["another", "itself"])
@pytest.mark.parametrize("name", ["mayfly", "second"])
def test_a_workload_account_lets_its_controller_in_and_nobody_else(account: str, name: str) -> None:
    iam: Any = boto3.client("iam")
    stack = deploy(ACCOUNT, f"{account}/{REGION}/{name}")
    images = deploy(IMAGES, f"{account}/{REGION}/{name}")

    (trust,) = iam.get_role(RoleName=f"{name}-workload")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"]["AWS"] == f"arn:aws:iam::{account}:root"
    assert trust["Condition"]["ArnLike"] == {"aws:PrincipalArn": f"arn:aws:iam::{account}:role/{name}-*"}
    policy = str(iam.get_role_policy(RoleName=f"{name}-workload", PolicyName="environments")["PolicyDocument"])
    assert f"{account}/{REGION}/{name}" in policy
    assert "${aws:PrincipalTag/mayfly:environment}" in policy  # IAM's variable, left alone by Fn::Sub

    expected = {
        "workload": {"bakes", "images", "rollouts"},
        "cloudformation": {"BuildPolicy", "IdentityPolicy", "NeverMayflysOwnPolicy"},
        "cloudformation-services": {
            *("BuildPolicy", "IdentityPolicy", "NeverMayflysOwnPolicy"),
            "cloudformation-services",
        },
    }
    for role, names in expected.items():
        attached = iam.list_attached_role_policies(RoleName=f"{name}-{role}")["AttachedPolicies"]
        # Those without a name of their own have their stack's, their own in the template, and an ending.
        own = (one["PolicyName"].removeprefix(f"{stack.split('/')[1]}-").removeprefix(f"{name}-") for one in attached)
        assert {re.sub("Policy-.*", "Policy", each) for each in own} == names, role
        for policy in attached:
            # CloudFormation detaches a policy that it deletes; moto does not.
            iam.detach_role_policy(RoleName=f"{name}-{role}", PolicyArn=policy["PolicyArn"])
    for each in (images, stack):
        boto3.client("cloudformation").delete_stack(StackName=each)
    assert iam.list_roles()["Roles"] == []


def test_each_region_of_it_forwards_its_events() -> None:
    controller = f"111111111111/{REGION}/mayfly"
    deploy(ACCOUNT, controller)
    role = boto3.client("iam").get_role(RoleName="mayfly-events")["Role"]["Arn"]
    for region in (REGION, "eu-west-1"):
        deploy(IN_REGION, controller, region)
        events = boto3.client("events", region_name=region)
        patterns = {}
        for rule in events.list_rules()["Rules"]:
            (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
            assert target["Arn"] == f"arn:aws:events:{REGION}:111111111111:event-bus/mayfly"
            assert target["RoleArn"] == role
            pattern = json.loads(rule["EventPattern"])
            patterns[pattern["detail-type"][0]] = pattern
        prefix = f"arn:aws:cloudformation:{region}:{DEFAULT_ACCOUNT_ID}:stack/mayfly-"
        assert patterns["CloudFormation Stack Status Change"]["detail"]["stack-id"] == [{"prefix": prefix}]
        # Not of instances that are terminated: 45 a life would come in vain.
        assert patterns["EC2 Instance State-change Notification"]["detail"] == {"state": ["stopped"]}
        assert patterns["EC2 AMI State Change"]["source"] == ["aws.ec2"]
        refreshes = patterns["EC2 Auto Scaling Instance Refresh Checkpoint Reached"]
        assert refreshes["detail"] == {"AutoScalingGroupName": [{"prefix": "mayfly-"}]}
        assert patterns["EC2 Command Status-change Notification"]["source"] == ["aws.ssm"]
    buckets = {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]}
    names = ("bakes-of", "code-of")
    assert buckets == {
        f"{name}-mayfly-{DEFAULT_ACCOUNT_ID}-{region}" for name in names for region in (REGION, "eu-west-1")
    }
