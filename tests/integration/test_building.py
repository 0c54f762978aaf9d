"""An environment is built: its stack is asked for once, looked at again where no event comes, and confirmed by EC2."""

import hashlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.autoscaling.models import autoscaling_backends

from mayfly.aws.events import NotTaken
from mayfly.domain import stack
from mayfly.domain.puppet_secret import derive
from mayfly.domain.records import Entry
from mayfly.domain.timestamp import utc_text
from tests.integration.world import (
    BLUEPRINT,
    CONTROLLER,
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NEXT_TOKEN,
    NOW,
    OURS,
    REGION,
    RELEASE,
    REPORT_TOKEN,
    STACK,
    TOKEN,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    creation,
    deletion,
    function,
    tagged,
)

IN_PROGRESS = sorted(status for status, phase in stack.PHASES.items() if phase is stack.Phase.CREATING)
AGAIN = creation(token=NEXT_TOKEN, now=LATER)
"""What the state machine says when it has waited for an event in vain."""


A_GROUP_OF_TWO = f"""
Resources:
  Template:
    Type: AWS::EC2::LaunchTemplate
    Properties: {{LaunchTemplateData: {{ImageId: ami-12c6146b, InstanceType: t3.micro}}}}
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    Properties:
      MinSize: 2
      MaxSize: 4
      AvailabilityZones: [us-east-1a]
      LaunchTemplate: {{LaunchTemplateId: !Ref Template, Version: !GetAtt Template.LatestVersionNumber}}
      Tags:
        - {{Key: 'mayfly:environment', Value: {ENVIRONMENT}, PropagateAtLaunch: true}}
        - {{Key: 'mayfly:controller', Value: {CONTROLLER}, PropagateAtLaunch: true}}
"""


def error(name: str, function_name: str) -> type[Exception]:
    """An error of a function's own."""
    found: type[Exception] = getattr(function(function_name), name)
    return found


class TestTheStackIsAskedFor:
    def test_with_the_tags_of_the_contract_and_no_others(self, world: World) -> None:
        world.created()
        found = world.stack()
        assert found
        assert {tag["Key"]: tag["Value"] for tag in found["Tags"]} == OURS

    def test_with_the_documented_parameters_and_no_others(self, world: World) -> None:
        world.created()
        (call,) = world.wire.heard("CreateStack")
        assert {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in call["Parameters"]} == {
            "EnvironmentId": ENVIRONMENT,
            "Application": "webshop",
            "CodeVersion": "0.0.1",
            "ArtifactLocation": "https://artifacts.example.com/webshop/webshop-0.0.1.tar.gz",
            "ImageId": "ami-12c6146b",
            "InstanceCount": "1",
            "Controller": CONTROLLER,
        }

    def test_with_those_only_that_its_blueprint_declares(self, world: World) -> None:
        world.upload("{Parameters: {EnvironmentId: {Type: String}}, Resources: {Jobs: {Type: 'AWS::SQS::Queue'}}}")
        world.planned()
        world.call("create_environment", creation(order=an_order(declared=["EnvironmentId"])))
        (call,) = world.wire.heard("CreateStack")
        assert [one["ParameterKey"] for one in call["Parameters"]] == ["EnvironmentId"]

    def test_from_a_template_that_is_too_large_for_the_call(self, world: World) -> None:
        text = BLUEPRINT.read_text()
        version = world.upload(text + "#" * (51_201 - len(text.encode())))
        world.planned()
        order = an_order(blueprint={"key": "single.yaml", "version_id": version})
        world.call("create_environment", creation(order=order))
        (call,) = world.wire.heard("CreateStack")
        assert "TemplateBody" not in call
        assert call["TemplateURL"] == f"https://mayfly-blueprints.s3.amazonaws.com/single.yaml?versionId={version}"

    def test_with_what_the_application_adds_but_cannot_override(self, world: World) -> None:
        world.planned()
        own = {"SubnetId": "", "Controller": "somebody else", "EnvironmentId": "another"}
        world.call("create_environment", creation(order=an_order(parameters=own)))
        (call,) = world.wire.heard("CreateStack")
        parameters = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in call["Parameters"]}
        assert parameters["SubnetId"] == ""
        assert (parameters["Controller"], parameters["EnvironmentId"]) == (CONTROLLER, ENVIRONMENT)

    def test_with_the_secret_by_which_a_puppet_server_knows_its_instances(self, world: World) -> None:
        world.planned()
        world.own("ssm").put_parameter(Name="/mayfly/puppet/key", Value="the-shared-key", Type="SecureString")
        world.upload(
            BLUEPRINT.read_text().replace(
                "Parameters:",
                "Parameters:\n  PuppetServer: {Type: String}\n  PuppetSecret: {Type: String, NoEcho: true}",
                1,
            )
        )
        asking = {"PuppetServer": "puppet.example.com"}
        world.call("create_environment", creation(order=an_order(parameters=asking)))
        (call,) = world.wire.heard("CreateStack")
        parameters = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in call["Parameters"]}
        expected = derive("the-shared-key", CONTROLLER, WORKLOAD_ACCOUNT, ENVIRONMENT)
        assert parameters["PuppetSecret"] == expected
        assert expected not in json.dumps(world.record(ENVIRONMENT), default=str)

    def test_as_agreed_with_the_workload_account_s_roles(self, world: World) -> None:
        world.created()
        (call,) = world.wire.heard("CreateStack")
        assert call["StackName"] == STACK
        assert call["TemplateBody"] == BLUEPRINT.read_text()
        assert call["RoleARN"] == f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/mayfly-cloudformation"
        assert call["OnFailure"] == "DO_NOTHING"
        assert call["Capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]

    def test_by_a_session_that_is_the_environment_s_own(self, world: World) -> None:
        world.created()
        (call,) = world.wire.heard("AssumeRole")
        assert call["RoleArn"] == f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/mayfly-workload"
        assert call["RoleSessionName"] == ENVIRONMENT
        assert call["Tags"] == [{"Key": "mayfly:environment", "Value": ENVIRONMENT}]

    def test_after_the_token_is_stored_that_its_event_will_need(self, world: World) -> None:
        world.planned()
        world.wire.forget()
        world.call("create_environment", creation())
        (asked,) = [place for place, name in enumerate(world.wire.names()) if name == "CreateStack"]
        stored = world.wire.names().index("UpdateItem")
        assert stored < asked
        assert world.wire.calls[stored][1]["ExpressionAttributeValues"][":waiting"]["M"]["token"] == {"S": TOKEN}

    def test_and_its_id_is_kept(self, world: World) -> None:
        found = world.created()
        record = world.record()
        assert found.startswith(f"arn:aws:cloudformation:us-east-1:{WORKLOAD_ACCOUNT}:stack/{STACK}/")
        assert (record["stage"], record["stack"]) == ("creating", found)
        assert record["waiting"] == {"for": "creation", "token": TOKEN}
        assert world.settled == []

    def test_under_one_name_for_each_wait(self, world: World) -> None:
        """CloudFormation may answer a repeated request name with the stack's id. A look that reused it would never
        hear that the stack stands already, and would never look."""
        world.created()
        world.call("create_environment", AGAIN)
        first, again = (call["ClientRequestToken"] for call in world.wire.heard("CreateStack"))
        assert first != again
        assert all(len(name) <= 128 and name.isalnum() for name in (first, again))

    def test_and_what_throttles_it_is_left_to_the_state_machine(self, world: World) -> None:
        world.planned()
        world.wire.answer("CreateStack", error="Throttling", message="Rate exceeded")
        with pytest.raises(ClientError, match="Throttling"):
            world.call("create_environment", creation())
        world.wire.recover("CreateStack")
        assert world.call("create_environment", AGAIN)["stack"] == world.record()["stack"]
        assert world.record()["waiting"]["token"] == NEXT_TOKEN


class TestTheStackIsNotAskedFor:
    def test_when_the_life_has_ended_already(self, world: World) -> None:
        world.planned()
        world.change(ending={"by": "tests", "outcome": "failed", "reason": "called off", "at": NOW})
        with pytest.raises(error("EndedBefore", "create_environment"), match="called off"):
            world.call("create_environment", creation())
        assert world.stack() is None
        assert "waiting" not in world.record()

    def test_when_there_is_no_record_to_find_its_wait_by(self, world: World) -> None:
        with pytest.raises(error("EndedBefore", "create_environment"), match="there is none"):
            world.call("create_environment", creation())
        assert world.stack() is None
        assert world.record() == {}

    def test_when_the_pinned_blueprint_is_gone(self, world: World) -> None:
        world.planned()
        order = an_order(blueprint={"key": "gone.yaml", "version_id": None})
        with pytest.raises(ClientError, match="NoSuchKey"):
            world.call("create_environment", creation(order=order))
        assert world.stack() is None


class TestTheStackIsLookedAtAgain:
    @pytest.mark.parametrize("status", IN_PROGRESS)
    def test_and_waited_for_with_the_new_token_while_it_is_being_built(self, world: World, status: str) -> None:
        built = world.created()
        world.set_stack(built, status=status)
        assert world.call("create_environment", AGAIN) == {"environment": ENVIRONMENT, "stack": built}
        assert world.settled == []
        assert world.record()["waiting"] == {"for": "creation", "token": NEXT_TOKEN}

    def test_and_the_wait_ends_when_it_is_complete(self, world: World) -> None:
        built = world.created()
        world.call("create_environment", AGAIN)
        assert world.settled == [
            {"told": "Success", "taskToken": NEXT_TOKEN, "output": json.dumps({"stack": built})},
        ]

    def test_and_the_wait_fails_with_the_causes_when_it_failed(self, world: World) -> None:
        built = world.created()
        world.set_stack(built, status="CREATE_FAILED")
        world.report(built, "Instance", "CREATE_FAILED", "the image does not exist")
        world.call("create_environment", AGAIN)
        (told,) = world.settled
        assert (told["told"], told["taskToken"], told["error"]) == ("Failure", NEXT_TOKEN, "CreationFailed")
        assert told["cause"] == "the stack is CREATE_FAILED; Instance: the image does not exist"

    def test_also_where_its_id_was_never_kept(self, world: World) -> None:
        """The first try may have died between the call and the record."""
        built = world.created()
        world.change(stack=None)
        world.call("create_environment", AGAIN)
        assert world.record()["stack"] == built

    def test_also_where_cloudformation_knows_the_request(self, world: World) -> None:
        built = world.created()
        world.wire.answer("CreateStack", error="TokenAlreadyExistsException")
        assert world.call("create_environment", AGAIN)["stack"] == built

    def test_and_nothing_happens_when_nobody_waits_any_more(self, world: World) -> None:
        built = world.created()
        world.wire.answer("SendTaskSuccess", error="TaskTimedOut")
        assert world.call("create_environment", AGAIN)["stack"] == built

    def test_and_a_missed_event_is_counted(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        world.created()
        assert "StacksLookedAtAgain" not in capsys.readouterr().out
        world.call("create_environment", AGAIN)
        assert "StacksLookedAtAgain" in capsys.readouterr().out


FOREIGN: dict[str, Json] = {
    "without tags": {},
    "of another controller": OURS | {"mayfly:controller": "111111111111/us-east-1/other"},
    "of another environment": OURS | {"mayfly:environment": "webshop-2-smoke"},
}


@pytest.mark.parametrize("tags", FOREIGN.values(), ids=FOREIGN)
class TestAStackThatStandsUnderTheNameAndIsNotOurs:
    def test_is_refused(self, world: World, tags: Json) -> None:
        world.planned()
        made = world.made_by_hand(tags)
        with pytest.raises(error("NotOurs", "create_environment"), match=made):
            world.call("create_environment", creation())

    def test_is_not_touched(self, world: World, tags: Json) -> None:
        world.planned()
        made = world.made_by_hand(tags)
        before = world.stack(made)
        with pytest.raises(error("NotOurs", "create_environment")):
            world.call("create_environment", creation())
        assert world.stack(made) == before
        assert world.settled == []
        assert "stack" not in world.record()


def confirm(world: World, built: str, **change: Any) -> Json:
    event = {"order": an_order(**change), "stack": built, "deadline": DEADLINE, "token": REPORT_TOKEN, "now": LATER}
    return world.call("confirm_ready", event)


class TestAnEnvironmentIsReady:
    def test_when_its_stack_stands_and_every_instance_runs(self, world: World) -> None:
        built = world.created()
        answer = confirm(world, built)
        (instance,) = world.states()
        assert answer.pop("token") == REPORT_TOKEN
        assert answer == {"environment": ENVIRONMENT, "instances": 1, "outputs": {"InstanceId": instance}}
        assert world.record()["report_token"] == hashlib.sha256(REPORT_TOKEN.encode()).hexdigest()

    def test_and_is_said_to_be_with_what_its_tests_need(self, world: World) -> None:
        built = world.created()
        answer = confirm(world, built)
        ((what, said),) = world.said
        assert what == "Environment Ready"
        assert (said["deadline"], said["token"], said["outputs"]) == (DEADLINE, REPORT_TOKEN, answer["outputs"])
        assert (said["environment"], said["suite"], said["instances"]) == (ENVIRONMENT, "smoke", 1)

    def test_and_a_repetition_says_the_same(self, world: World) -> None:
        built = world.created()
        confirm(world, built)
        confirm(world, built)
        (_, first), (_, second) = world.said
        assert first == second

    def test_and_is_not_ready_for_anybody_where_the_bus_does_not_take_it(self, world: World) -> None:
        built = world.created()
        world.wire.answer("PutEvents", "InternalFailure", "down")
        with pytest.raises(NotTaken, match="EventBridge did not take Environment Ready"):
            confirm(world, built)

    def test_and_asks_for_no_token_that_the_machine_of_an_earlier_version_tells_nobody(self, world: World) -> None:
        world.call("confirm_ready", {"order": an_order(), "stack": world.created(), "now": LATER})
        assert "report_token" not in world.record()

    def test_and_its_record_keeps_what_was_built(self, world: World) -> None:
        built = world.created()
        answer = confirm(world, built)
        record = world.record()
        assert (record["instances_built"], record["outputs"]) == (1, answer["outputs"])
        assert world.record(kind="fleet")["instances"] == list(world.states())
        line = record["history"][-1]
        assert (line["at"], line["who"], line["what"]) == (LATER, "confirm_ready", "ready")
        assert line["why"].startswith("1 of 1 instances run; queue ")

    def test_and_where_the_time_went_since_its_push(self, world: World) -> None:
        pushed = Entry("2026-11-24T06:47:24.120Z", "ci", "pushed", "")
        world.records("release").begin(RELEASE, {"application": "webshop"}, pushed, datetime(2027, 1, 1, tzinfo=UTC))
        built = world.created()
        instance, *_ = world.states()
        told = {"Key": "mayfly:boot", "Value": "ready after 9 s: converge 4 s; deploy 3 s;"}
        world.there("ec2").create_tags(Resources=[instance], Tags=[told])
        confirm(world, built)
        spans = {one["name"]: one["seconds"] for one in world.record()["spans"]}
        assert spans.keys() == {"plan", "queue", "stack", "boot", "puppet", "deploy", "confirm"}
        assert spans["plan"] == 10

    def test_although_nobody_knows_how_its_stack_was_made(self, world: World) -> None:
        built = world.created()
        world.wire.answer("DescribeStackEvents", "ValidationError", "Rate exceeded")
        assert confirm(world, built)["instances"] == 1

    def test_whatever_else_is_in_the_account(self, world: World) -> None:
        built = world.created()
        world.launch(OURS | {"mayfly:environment": f"{ENVIRONMENT}-2"})
        world.launch({"Name": "somebody's"})
        assert confirm(world, built)["instances"] == 1


class TestABlueprintThatCountsForItself:
    """Its order asks for no number of instances."""

    def built(self, world: World, text: str) -> str:
        world.upload(text)
        world.planned(instance_count=None)
        order = an_order(instance_count=None, declared=[])
        return str(world.call("create_environment", creation(order=order))["stack"])

    def test_is_ready_at_once_where_it_has_no_instances(self, world: World) -> None:
        built = self.built(world, "Resources: {Jobs: {Type: 'AWS::SQS::Queue'}}")
        assert confirm(world, built, instance_count=None)["instances"] == 0
        assert world.record()["history"][-1]["why"].startswith("0 of 0 instances run")

    def test_is_ready_with_as_many_as_its_group_wants(self, world: World) -> None:
        built = self.built(world, A_GROUP_OF_TWO)
        assert confirm(world, built, instance_count=None)["instances"] == 2
        assert world.record()["instance_count"] == 2

    def test_is_not_ready_while_one_does_not_run(self, world: World) -> None:
        built = self.built(world, A_GROUP_OF_TWO)
        first = next(iter(world.states()))
        world.there("ec2").stop_instances(InstanceIds=[first])
        with pytest.raises(error("NotReady", "confirm_ready"), match=f"{first} is stopped"):
            confirm(world, built, instance_count=None)

    def test_is_not_ready_while_its_group_wants_more(self, world: World) -> None:
        built = self.built(world, A_GROUP_OF_TWO)
        (group,) = world.there("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        autoscaling_backends[WORKLOAD_ACCOUNT][REGION].autoscaling_groups[
            group["AutoScalingGroupName"]
        ].desired_capacity = 3
        with pytest.raises(
            error("NotReady", "confirm_ready"), match=r"2 of 3 instances of the group .* are in service"
        ):
            confirm(world, built, instance_count=None)


class TestAnEnvironmentIsNotReady:
    def not_ready(self, world: World, built: str, why: str) -> None:
        with pytest.raises(error("NotReady", "confirm_ready"), match=why):
            confirm(world, built)
        assert "instances_built" not in world.record()

    def test_with_an_instance_too_few(self, world: World) -> None:
        built = world.created()
        world.there("ec2").stop_instances(InstanceIds=list(world.states()))
        self.not_ready(world, built, "0 of 1 instances run")

    def test_with_an_instance_too_many(self, world: World) -> None:
        built = world.created()
        world.launch()
        self.not_ready(world, built, "2 of 1 instances run")

    def test_without_its_stack(self, world: World) -> None:
        self.not_ready(world, STACK, f"the stack {STACK} is gone")

    @pytest.mark.parametrize("status", ["CREATE_IN_PROGRESS", "CREATE_FAILED", "DELETE_IN_PROGRESS"])
    def test_while_its_stack_is_anything_but_created(self, world: World, status: str) -> None:
        built = world.created()
        world.set_stack(built, status=status)
        self.not_ready(world, built, f"is {status}")

    def test_after_its_stack_was_deleted(self, world: World) -> None:
        built = world.created()
        world.there("cloudformation").delete_stack(StackName=built)
        self.not_ready(world, built, "is DELETE_COMPLETE")


def test_no_function_is_loaded_as_another(world: World) -> None:
    assert function("confirm_ready") is not function("create_environment")
    assert "app" not in sys.modules


class TestWhatItCosts:
    def test_is_counted_when_its_instances_are_seen(self, world: World) -> None:
        # Moto tags no volume as its launch template says.
        world.there("ec2").create_volume(
            AvailabilityZone="us-east-1a", Size=20, TagSpecifications=tagged("volume", OURS)
        )
        world.there("ec2").create_volume(AvailabilityZone="us-east-1a", Size=100)
        world.ready()
        found = world.record()
        (instance,) = world.states()
        assert (found["instance_types"], found["volume_gb"]) == ({"t3.micro": 1}, 20)
        reservations = world.there("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
        assert found["launched_at"] == utc_text(reservations[0]["Instances"][0]["LaunchTime"])

    def test_fails_no_life_where_it_cannot_be_seen(self, world: World) -> None:
        stack = world.created()
        world.wire.answer("DescribeVolumes", error="UnauthorizedOperation")
        world.call("confirm_ready", {"order": an_order(), "stack": stack, "now": NOW})
        assert world.record()["instances_built"] == 1
        assert "instance_types" not in world.record()

    def test_is_counted_at_its_end_where_it_was_never_ready(self, world: World) -> None:
        world.created()
        failed = {"by": "failure", "error": {"Error": "CreationFailed", "Cause": "no signal"}}
        world.call("delete_environment", deletion(ended=failed))
        assert world.record()["instance_types"] == {"t3.micro": 1}

    def test_is_not_looked_at_again_at_the_end(self, world: World) -> None:
        world.ready()
        world.wire.reset()
        world.call("delete_environment", deletion())
        assert not world.wire.heard("DescribeVolumes")
