"""CloudFormation's Express mode: asked for where it is planned, kept for what follows, and never believed."""

import json
from typing import Any

import pytest
from moto.cloudformation.models import cloudformation_backends

from mayfly.aws import stacks
from tests.integration.test_building import error
from tests.integration.world import (
    LATER,
    NOW,
    OURS,
    REGION,
    RELEASE,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    creation,
    deletion,
)

EXPRESS = {"express": True, "declared": [], "instance_count": None}
QUEUE = "Resources: {Jobs: {Type: 'AWS::SQS::Queue'}}"
NETWORK = """
Resources:
  Vpc: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: 10.9.0.0/16}}
  Subnet: {Type: 'AWS::EC2::Subnet', Properties: {VpcId: !Ref Vpc, CidrBlock: 10.9.0.0/24}}
  Address: {Type: 'AWS::EC2::EIP', Properties: {Domain: vpc}}
  Way: {Type: 'AWS::EC2::NatGateway', Properties: {SubnetId: !Ref Subnet, AllocationId: !GetAtt Address.AllocationId}}
"""


def built(world: World, text: str, **change: Any) -> str:
    """A stack in Express mode, as CloudFormation shows it afterwards. Returns its id."""
    world.upload(text)
    world.planned(**EXPRESS | change)
    made = str(world.call("create_environment", creation(order=an_order(**EXPRESS | change)))["stack"])
    remember(made)
    return made


def remember(stack: str) -> None:
    """Moto forgets how a stack was built."""
    found: Any = cloudformation_backends[WORKLOAD_ACCOUNT][REGION].get_stack(stack)
    found.deployment_config = {"Mode": "EXPRESS", "DisableRollback": True}


def confirm(world: World, stack: str, **change: Any) -> Json:
    asked = {"order": an_order(**EXPRESS | change), "stack": stack, "now": LATER}
    return world.call("confirm_ready", asked)


class TestAStack:
    def test_is_built_in_express_mode_and_never_rolled_back(self, world: World) -> None:
        built(world, QUEUE)
        (asked,) = world.wire.heard("CreateStack")
        assert asked["DeploymentConfig"] == {"Mode": "EXPRESS", "DisableRollback": True}
        assert "OnFailure" not in asked  # CloudFormation takes one of both
        assert world.record()["history"][-1]["why"].endswith(", in Express mode")

    def test_is_built_as_ever_where_its_order_does_not_say_so(self, world: World) -> None:
        world.created()
        (asked,) = world.wire.heard("CreateStack")
        assert (asked["OnFailure"], "DeploymentConfig" in asked) == ("DO_NOTHING", False)

    def test_is_built_as_ever_where_the_sdk_is_too_old(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stacks, "knows_express", lambda _: False)
        built(world, QUEUE)
        (asked,) = world.wire.heard("CreateStack")
        assert (asked["OnFailure"], "DeploymentConfig" in asked) == ("DO_NOTHING", False)

    @pytest.mark.parametrize("express", [True, False])
    def test_is_deleted_in_the_mode_in_which_it_was_built(self, world: World, express: bool) -> None:
        stack = built(world, QUEUE) if express else world.ready()
        world.change(stage="awaiting tests")
        world.call("delete_environment", deletion(token="another"))
        (asked,) = world.wire.heard("DeleteStack")
        assert asked["StackName"] == stack
        assert asked.get("DeploymentConfig") == ({"Mode": "EXPRESS"} if express else None)


class TestAnEnvironment:
    def test_is_ready_at_once_where_nothing_is_left_to_wait_for(self, world: World) -> None:
        assert confirm(world, built(world, QUEUE))["instances"] == 0

    def test_is_not_ready_before_its_instances_say_so(self, world: World) -> None:
        stack = built(world, QUEUE)
        (one, other) = sorted(world.launch(count=2))
        with pytest.raises(error("StillBooting", "confirm_ready"), match=f"{one}: has said nothing yet; {other}"):
            confirm(world, stack, tells_boot=True)
        for instance, said in ((one, "ready"), (other, "deploy")):
            world.there("ec2").create_tags(Resources=[instance], Tags=[{"Key": "mayfly:boot", "Value": said}])
        with pytest.raises(error("StillBooting", "confirm_ready"), match=f"^{other}: deploy$"):
            confirm(world, stack, tells_boot=True)
        world.there("ec2").create_tags(Resources=[other], Tags=[{"Key": "mayfly:boot", "Value": "ready"}])
        assert confirm(world, stack, tells_boot=True)["instances"] == 2

    def test_is_not_ready_before_its_instances_run(self, world: World) -> None:
        stack = built(world, QUEUE)
        (one,) = world.launch()
        world.there("ec2").stop_instances(InstanceIds=[one])
        with pytest.raises(error("StillBooting", "confirm_ready"), match=f"{one} is stopped"):
            confirm(world, stack)

    def test_is_not_ready_before_its_way_out_is(self, world: World) -> None:
        stack = built(world, NETWORK)
        (way,) = world.there("ec2").describe_nat_gateways()["NatGateways"]
        world.wire.answer("DescribeNatGateways", NatGateways=[way | {"State": "pending"}])
        with pytest.raises(error("StillBooting", "confirm_ready"), match=f"{way['NatGatewayId']} is pending"):
            confirm(world, stack)
        world.wire.recover("DescribeNatGateways")
        assert confirm(world, stack)["instances"] == 0

    def test_that_was_ended_meanwhile_is_waited_for_no_longer(self, world: World) -> None:
        stack = built(world, QUEUE)
        world.launch()
        world.change(ending={"by": "request", "outcome": "cancelled", "reason": "enough", "at": LATER})
        with pytest.raises(error("EndedBefore", "confirm_ready"), match="enough"):
            confirm(world, stack, tells_boot=True)


class TestWhatGoesOn:
    def gone(self, world: World, stack: str) -> Json:
        return world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER})

    def test_keeps_an_environment_from_being_called_gone(self, world: World) -> None:
        stack = built(world, NETWORK)
        (way,) = world.there("ec2").describe_nat_gateways()["NatGateways"]
        resources = world.there("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
        world.call("delete_environment", deletion(token="another"))
        remember(stack)
        world.wire.answer("ListStackResources", StackResourceSummaries=json.loads(json.dumps(resources, default=str)))
        world.wire.answer("DescribeNatGateways", NatGateways=[way | {"State": "deleting"}])
        with pytest.raises(error("StillThere", "confirm_gone"), match=f"deleting {way['NatGatewayId']}"):
            self.gone(world, stack)
        world.wire.answer("DescribeNatGateways", NatGateways=[way | {"State": "deleted"}])
        assert self.gone(world, stack)["kept"] == []

    def test_are_instances_too(self, world: World) -> None:
        stack = built(world, QUEUE)
        world.call("delete_environment", deletion(token="another"))
        remember(stack)
        (one,) = world.launch(OURS)
        with pytest.raises(error("StillThere", "confirm_gone"), match=f"instance {one}"):
            self.gone(world, stack)


class TestPlanning:
    def test_chooses_by_the_blueprint(self, world: World) -> None:
        assert self.plan(world)["express"] is False  # its instances signal
        world.upload(QUEUE)
        assert self.plan(world)["express"] is True
        assert self.plan(world, deployment="standard")["express"] is False

    def test_takes_it_where_it_is_wanted_and_safe(self, world: World) -> None:
        world.upload("Resources: {One: {Type: 'AWS::EC2::Instance', Properties: {Tags: [{Key: mayfly:boot}]}}}")
        assert self.plan(world)["express"] is False
        order = self.plan(world, deployment="express")
        assert (order["express"], order["tells_boot"]) == (True, True)

    def test_refuses_it_where_it_is_wanted_and_not_safe(self, world: World) -> None:
        world.upload("Resources: {Data: {Type: 'AWS::DynamoDB::Table'}}")
        with pytest.raises(
            Exception,
            match=r"deployment: expected automatic or standard, because of the blueprint single\.yaml, but it is "
            r"express: Data \(AWS::DynamoDB::Table\) is ready, or gone, some time after its call",
        ):
            self.plan(world, deployment="express")

    def plan(self, world: World, **change: Any) -> Json:
        world.configure(**{"parameters": {}} | change)
        asked = {"application": "webshop", "version": "2.0", "artifact": "s3://a/b", "attempt": 1}
        event = {"release": RELEASE, "pushed": asked, "now": NOW}
        planned: Json = world.call("plan_release", event)
        return planned["orders"][0]
