"""CloudFormation tells of a stack: whoever waits for just that is resumed, and nobody else."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.world import ENVIRONMENT, OURS, STACK, TOKEN, World, of_the_stack, on_the_bus

EARLIER = f"arn:aws:cloudformation:us-east-1:222222222222:stack/{STACK}/0d1c2b3a-0000-11f0-8de9-0242ac120002"


def waiting_for(world: World, what: str) -> str:
    """An environment whose execution waits. Returns its stack's id."""
    stack = world.created()
    world.change(waiting={"for": what, "token": TOKEN})
    world.wire.forget()
    return stack


class TestAWaitEnds:
    @pytest.mark.parametrize(("what", "status"), [("creation", "CREATE_COMPLETE"), ("deletion", "DELETE_COMPLETE")])
    def test_well_when_the_stack_is_as_it_should_be(self, world: World, what: str, status: str) -> None:
        stack = waiting_for(world, what)
        answer = world.call("resume_environment", of_the_stack(stack, status))
        assert answer == {"environment": ENVIRONMENT, "resumed": True, "reason": f"the stack is {status}"}
        assert world.settled == [{"told": "Success", "taskToken": TOKEN, "output": json.dumps({"stack": stack})}]

    @pytest.mark.parametrize(
        ("what", "status", "error"),
        [
            ("creation", "CREATE_FAILED", "CreationFailed"),
            ("creation", "ROLLBACK_IN_PROGRESS", "CreationFailed"),
            ("creation", "ROLLBACK_COMPLETE", "CreationFailed"),
            ("creation", "ROLLBACK_FAILED", "CreationFailed"),
            ("creation", "DELETE_IN_PROGRESS", "CreationFailed"),
            ("creation", "DELETE_COMPLETE", "CreationFailed"),
            ("creation", "DELETE_FAILED", "CreationFailed"),
            ("deletion", "DELETE_FAILED", "DeletionFailed"),
        ],
    )
    def test_badly_when_it_is_not(self, world: World, what: str, status: str, error: str) -> None:
        stack = waiting_for(world, what)
        assert world.call("resume_environment", of_the_stack(stack, status, "said AWS"))["resumed"]
        assert world.settled == [
            {"told": "Failure", "taskToken": TOKEN, "error": error, "cause": f"the stack is {status}: said AWS"}
        ]

    def test_before_the_stack_s_id_is_in_the_record(self, world: World) -> None:
        """The event may be faster than the function that asked for the stack."""
        world.planned()
        world.change(waiting={"for": "creation", "token": TOKEN})
        assert world.call("resume_environment", of_the_stack(EARLIER, "CREATE_COMPLETE"))["resumed"]

    def test_once_a_success_needs_no_look_at_the_workload_account(self, world: World) -> None:
        world.call("resume_environment", of_the_stack(waiting_for(world, "creation"), "CREATE_COMPLETE"))
        assert world.wire.names() == ["GetItem", "SendTaskSuccess"]


class TestAWaitGoesOn:
    @pytest.mark.parametrize(
        ("what", "status"),
        [
            ("creation", "CREATE_IN_PROGRESS"),
            ("deletion", "DELETE_IN_PROGRESS"),
            ("deletion", "CREATE_COMPLETE"),
            ("deletion", "CREATE_FAILED"),
            ("deletion", "ROLLBACK_COMPLETE"),
            ("tests", "CREATE_COMPLETE"),
            ("tests", "UPDATE_COMPLETE"),
            ("tests", "DELETE_COMPLETE"),
        ],
    )
    def test_when_the_event_is_about_something_else(self, world: World, what: str, status: str) -> None:
        answer = world.call("resume_environment", of_the_stack(waiting_for(world, what), status))
        assert answer == {"environment": ENVIRONMENT, "resumed": False, "reason": f"{status} ends no wait"}
        assert world.settled == []

    def test_when_the_event_is_about_an_older_stack_of_the_name(self, world: World) -> None:
        stack = waiting_for(world, "creation")
        answer = world.call("resume_environment", of_the_stack(EARLIER, "DELETE_COMPLETE"))
        assert answer["reason"] == f"it is about an older stack than {stack}"
        assert world.settled == []


class TestNobodyWaits:
    @pytest.mark.parametrize("name", ["mayfly-webshop-9-smoke", "webshop"], ids=["unknown", "foreign"])
    def test_for_a_stack_without_a_record(self, world: World, name: str) -> None:
        stack = EARLIER.replace(STACK, name)
        answer = world.call("resume_environment", of_the_stack(stack, "CREATE_COMPLETE"))
        assert (answer["resumed"], answer["reason"]) == (False, "nobody waits for this stack")
        assert world.settled == []

    def test_after_the_life_is_over(self, world: World) -> None:
        stack = world.created()
        world.change(waiting=None)
        assert not world.call("resume_environment", of_the_stack(stack, "DELETE_COMPLETE"))["resumed"]
        assert world.settled == []

    @pytest.mark.parametrize("gone", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
    @pytest.mark.parametrize("status", ["CREATE_COMPLETE", "CREATE_FAILED"])
    def test_when_the_event_comes_twice(self, world: World, status: str, gone: str) -> None:
        stack = waiting_for(world, "creation")
        for operation in ("SendTaskSuccess", "SendTaskFailure"):
            world.wire.answer(operation, error=gone)
        assert not world.call("resume_environment", of_the_stack(stack, status))["resumed"]


def test_an_event_is_not_lost_where_step_functions_throttles(world: World) -> None:
    stack = waiting_for(world, "creation")
    world.wire.answer("SendTaskSuccess", error="ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        world.call("resume_environment", of_the_stack(stack, "CREATE_COMPLETE"))


def test_a_status_that_nobody_knows_counts_as_going_on_and_an_alarm_tells(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    event = of_the_stack(waiting_for(world, "creation"), "CREATE_ODDLY")
    answer = world.call("resume_environment", event)
    assert answer["reason"] == "CREATE_ODDLY ends no wait"
    assert world.dead_letters() == []
    assert world.settled == []
    assert '"UnknownStackStatuses":[1.0]' in capsys.readouterr().out


def test_an_event_that_cannot_be_understood_lands_among_the_dead_letters(world: World) -> None:
    event = on_the_bus("CloudFormation Stack Status Change", {"stack-id": EARLIER}, "aws.cloudformation")
    answer = world.call("resume_environment", event)
    assert answer == {"accepted": False, "reason": answer["reason"]}
    assert world.dead_letters() == [{"function": "resume_environment", "reason": answer["reason"], "message": event}]
    assert "status-details: Field required" in answer["reason"]


class TestAFailureIsExplained:
    def cause(self, world: World, stack: str, status: str = "CREATE_FAILED") -> str:
        world.call("resume_environment", of_the_stack(stack, status))
        (told,) = world.settled
        return str(told["cause"])

    def test_by_the_resources_at_fault_the_first_first(self, world: World) -> None:
        stack = waiting_for(world, "creation")
        world.report(stack, "Network", "CREATE_COMPLETE", "")
        world.report(stack, "Rules", "CREATE_FAILED", "the port is taken")
        world.report(stack, "Instance", "CREATE_FAILED", "the image does not exist")
        cause = self.cause(world, stack)
        assert cause == "the stack is CREATE_FAILED; Rules: the port is taken; Instance: the image does not exist"

    def test_not_by_those_that_were_given_up_because_of_them(self, world: World) -> None:
        stack = waiting_for(world, "creation")
        world.report(stack, "Rules", "CREATE_FAILED", "the port is taken")
        world.report(stack, "Instance", "CREATE_FAILED", "Resource creation cancelled")
        assert "Instance" not in self.cause(world, stack)

    def test_by_the_first_failure_in_a_nested_stack(self, world: World) -> None:
        stack = waiting_for(world, "creation")
        nested = world.stand(f"{STACK}-Network-1ABC", OURS)
        said = f"Embedded stack {nested} was not successfully created: ... failed to create: [Vpc]"

        world.report(stack, "Network", "CREATE_FAILED", said, "AWS::CloudFormation::Stack", nested)
        world.report(nested, "Vpc", "CREATE_FAILED", "The maximum number of VPCs has been reached.", "AWS::EC2::VPC")
        assert self.cause(world, stack) == (
            "the stack is CREATE_FAILED; Network.Vpc: The maximum number of VPCs has been reached."
        )

    def test_by_a_nested_stack_s_own_words_where_it_was_never_made(self, world: World) -> None:
        stack = waiting_for(world, "creation")
        world.report(stack, "Network", "CREATE_FAILED", "no template", "AWS::CloudFormation::Stack", EARLIER)
        assert self.cause(world, stack) == "the stack is CREATE_FAILED; Network: no template"

    def test_by_three_causes_at_most(self, world: World) -> None:
        stack = waiting_for(world, "creation")
        for number in range(5):
            world.report(stack, f"Rule{number}", "CREATE_FAILED", "taken")
        assert self.cause(world, stack).endswith("Rule0: taken; Rule1: taken; Rule2: taken")

    def test_by_auto_scaling_where_instances_did_not_come(self, world: World) -> None:
        stack = waiting_for(world, "creation")
        group = "AWS::AutoScaling::AutoScalingGroup"
        world.report(stack, "Fleet", "CREATE_FAILED", "received 0 SUCCESS signals", kind=group, physical="fleet-1")
        activity: dict[str, Any] = {
            "ActivityId": "1",
            "AutoScalingGroupName": "fleet-1",
            "Description": "Launching a new EC2 instance",
            "Cause": "",
            "StartTime": "2026-11-24T06:50:00Z",
        }
        world.wire.answer(
            "DescribeScalingActivities",
            Activities=[
                activity | {"StatusCode": "Failed", "StatusMessage": "InsufficientInstanceCapacity"},
                activity | {"StatusCode": "Successful"},
                activity | {"StatusCode": "Failed", "StatusMessage": "InsufficientInstanceCapacity"},
            ],
        )
        cause = self.cause(world, stack)
        assert cause.endswith("; Fleet: received 0 SUCCESS signals; InsufficientInstanceCapacity")
        assert world.wire.heard("DescribeScalingActivities") == [{"AutoScalingGroupName": "fleet-1"}]

    def test_a_deletion_s_not_by_what_failed_in_the_creation(self, world: World) -> None:
        stack = waiting_for(world, "deletion")
        world.report(stack, "Instance", "CREATE_FAILED", "the image does not exist")
        world.report(stack, "Subnet", "DELETE_FAILED", "a network interface lingers")
        cause = self.cause(world, stack, "DELETE_FAILED")
        assert cause == "the stack is DELETE_FAILED; Subnet: a network interface lingers"

    def test_also_where_the_record_was_lost_and_begun_anew_by_the_deletion(self, world: World) -> None:
        stack = world.created()
        world.lose()
        world.change(waiting={"for": "deletion", "token": TOKEN})
        world.report(stack, "Subnet", "DELETE_FAILED", "a network interface lingers")
        assert "a network interface lingers" in self.cause(world, stack, "DELETE_FAILED")
