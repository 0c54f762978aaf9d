"""An environment ends: why is recorded, the guard is asked, the stack goes, EC2 confirms; its release is judged."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.workload.mixed import capacity_reason
from mayfly.aws.events import NotTaken
from mayfly.domain.losses import Losses
from mayfly.domain.records import Environment, read
from tests.integration.world import (
    AFTER,
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NEXT_TOKEN,
    NOW,
    OURS,
    PUSHED,
    RELEASE,
    TOKEN,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    deletion,
    finished,
    function,
    on_the_bus,
)

BOTH = [{"account": WORKLOAD_ACCOUNT, "region": region} for region in ("us-east-1", "eu-central-1")]
FAILED = {
    "by": "failure",
    "error": {"Error": "NotReady", "Cause": '{"errorMessage": "0 of 1 instances run", "errorType": "NotReady"}'},
}


def error(name: str, function_name: str) -> type[Exception]:
    """An error of a function's own."""
    found: type[Exception] = getattr(function(function_name), name)
    return found


REFUSED = error("TerminationRefused", "delete_environment")
STILL_THERE = error("StillThere", "confirm_gone")
NOT_SEEN = error("NotSeenYet", "delete_environment")


def end(world: World, by: str = "tests", **change: Any) -> Json:
    return world.call("delete_environment", deletion(by, token=NEXT_TOKEN) | change)


def deleted(world: World) -> list[str]:
    """The stacks whose deletion was asked for."""
    return [call["StackName"] for call in world.wire.heard("DeleteStack")]


class TestALifeEnds:
    def test_with_its_stack(self, world: World) -> None:
        stack = world.ready()
        assert end(world) == {"environment": ENVIRONMENT, "stack": stack}
        assert world.stack(stack) is None
        assert set(world.states().values()) == {"terminated"}

    def test_by_the_stack_s_id_and_through_the_service_role(self, world: World) -> None:
        stack = world.ready()
        end(world)
        role = f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/mayfly-cloudformation"
        (asked,) = world.wire.heard("DeleteStack")
        assert (asked["StackName"], asked["RoleARN"]) == (stack, role)

    def test_whose_stack_is_not_seen_yet_when_it_is_seen(self, world: World) -> None:
        stack = world.ready()
        world.wire.answer("DescribeStacks", "ValidationError", f"Stack with id {stack} does not exist")
        with pytest.raises(NOT_SEEN, match=f"{stack} is not found"):
            end(world)
        assert not deleted(world)
        world.wire.recover("DescribeStacks")
        end(world)
        assert deleted(world) == [stack]

    def test_whose_stack_went_longer_ago_than_cloudformation_remembers(self, world: World) -> None:
        stack = world.ready()
        world.wire.answer("DescribeStacks", "ValidationError", f"Stack with id {stack} does not exist")
        assert end(world, now="2027-06-01T00:00:00.000Z") == {"environment": ENVIRONMENT, "stack": None}

    def test_waiting_for_cloudformation_s_event(self, world: World) -> None:
        world.ready()
        end(world)
        record = world.record()
        assert (record["stage"], record["waiting"]) == ("terminating", {"for": "deletion", "token": NEXT_TOKEN})
        assert world.settled == []

    def test_after_the_token_is_stored_that_its_event_will_need(self, world: World) -> None:
        world.ready()
        world.wire.forget()
        end(world)
        assert world.wire.names() == [
            "GetItem",  # whether it was said already
            "UpdateItem",
            "AssumeRole",
            "DescribeStacks",
            "DescribeInstances",
            "GetResources",  # what is protected in it
            "GetParameter",  # the kill switch
            "DeleteStack",
        ]

    def test_at_its_deadline_as_expired(self, world: World) -> None:
        world.ready()
        end(world, "deadline")
        assert world.record()["ending"] == {
            "by": "deadline",
            "outcome": "expired",
            "reason": f"no test result before the deadline {DEADLINE}",
            "at": AFTER,
        }

    def test_after_a_failure_as_broken_with_what_failed(self, world: World) -> None:
        world.created()
        end(world, ended=FAILED)
        ending = world.record()["ending"]
        assert (ending["by"], ending["outcome"]) == ("failure", "broken")
        assert ending["reason"] == world.record()["history"][-1]["why"] == "NotReady: 0 of 1 instances run"

    def test_after_its_tests_as_they_said(self, world: World) -> None:
        world.ready()
        world.call("accept_test_result", finished())
        end(world)
        assert world.record()["ending"]["outcome"] == "passed"
        assert [entry["why"] for entry in world.record()["history"][-2:]] == [
            "the tests passed",
            "it waits for no tests any more",
        ]

    @pytest.mark.parametrize("ended", [{"by": "deadline"}, FAILED], ids=["deadline", "failure"])
    def test_as_was_recorded_first_whatever_comes_after(self, world: World, ended: Json) -> None:
        world.ready()
        world.call("accept_test_result", on_the_bus("Test Finished", {"environment": ENVIRONMENT, "outcome": "failed"}))
        end(world, ended=ended)
        assert world.record()["ending"]["outcome"] == "failed"
        assert world.stack() is None

    def test_for_a_reason_that_is_known_and_no_other(self, world: World) -> None:
        world.ready()
        with pytest.raises(ValueError, match="expected by tests, runner, deadline, failure or sweep"):
            end(world, "boredom")
        assert world.stack()

    def test_even_while_its_stack_is_being_built(self, world: World) -> None:
        stack = world.created()
        world.set_stack(stack, status="CREATE_IN_PROGRESS")
        end(world, "deadline")
        assert deleted(world) == [stack]

    def test_also_where_its_deletion_failed_before(self, world: World) -> None:
        stack = world.ready()
        world.set_stack(stack, status="DELETE_FAILED")
        end(world)
        assert deleted(world) == [stack]
        assert world.settled == []

    def test_also_where_the_stack_s_id_was_never_kept(self, world: World) -> None:
        """Its function died between the call and the record: the name leads to the stack."""
        stack = world.created()
        world.lose()
        world.planned()
        assert end(world, ended=FAILED)["stack"] == stack
        assert world.stack() is None


class TestNoWriteIsNeededToEnd:
    """DynamoDB throttles, or refuses: what is to go goes all the same, and the next sweep closes the record."""

    REFUSAL = "ProvisionedThroughputExceededException"

    def test_what_its_record_can_still_say(self, world: World) -> None:
        stack = world.ready()
        world.wire.answer("UpdateItem", error=self.REFUSAL)
        end(world)
        assert deleted(world) == [stack]
        assert confirm_gone(world, stack)["instances_left"] == 0
        assert world.record()["stage"] == "awaiting tests"

    def test_even_where_nothing_can_be_read(self, world: World) -> None:
        stack = world.ready()
        for operation in ("UpdateItem", "GetItem"):
            world.wire.answer(operation, error=self.REFUSAL)
        end(world)
        assert deleted(world) == [stack]
        assert confirm_gone(world, stack)["ending"]["reason"].startswith("RecordLost")

    def test_but_what_was_extended_lives_on(self, world: World) -> None:
        world.ready()
        world.change(deadline="2026-11-24T09:00:00.000Z")
        world.wire.answer("UpdateItem", error=self.REFUSAL)
        with pytest.raises(error("Extended", "delete_environment"), match=r"^2026-11-24T09:00"):
            end(world, "deadline")
        assert deleted(world) == []

    def test_and_a_sweep_ends_what_it_adopted(self, world: World) -> None:
        world.ready()
        world.wire.answer("UpdateItem", error=self.REFUSAL)
        order = an_order() | {"begin": "termination", "deadline": DEADLINE, "why": "sweep: past its deadline"}
        assert world.call("plan_environment", {"order": order, "now": LATER})["deadline"] == DEADLINE


class TestALostRecord:
    """The table is memory, not truth."""

    def test_saves_no_stack(self, world: World) -> None:
        stack = world.ready()
        world.lose()
        end(world, "deadline")
        assert deleted(world) == [stack]

    def test_is_begun_anew_with_the_ending_and_the_wait(self, world: World) -> None:
        world.ready()
        world.lose()
        end(world)
        record = world.record()
        assert record["ending"]["reason"] == "its tests are over, and their result is not in its record"
        assert record["ending"]["outcome"] == "broken"
        assert record["waiting"]["token"] == NEXT_TOKEN

    def test_keeps_nobody_from_confirming_that_all_is_gone(self, world: World) -> None:
        stack = world.ready()
        end(world)
        world.lose()
        answer = confirm_gone(world, stack)
        assert (answer["ending"]["by"], answer["ending"]["outcome"]) == ("failure", "broken")
        assert world.record()["stage"] == "terminated"


class TestNothingIsLeftToDelete:
    def test_of_a_stack_that_never_was(self, world: World) -> None:
        world.planned()
        assert end(world, ended=FAILED) == {"environment": ENVIRONMENT, "stack": None}
        output = json.dumps({"environment": ENVIRONMENT, "stack": None})
        assert world.settled == [{"told": "Success", "taskToken": NEXT_TOKEN, "output": output}]

    def test_of_a_stack_that_is_gone(self, world: World) -> None:
        stack = world.ready()
        world.there("cloudformation").delete_stack(StackName=stack)
        end(world)
        output = json.dumps({"environment": ENVIRONMENT, "stack": stack})
        assert world.settled == [{"told": "Success", "taskToken": NEXT_TOKEN, "output": output}]
        assert deleted(world) == []

    def test_while_it_goes_already(self, world: World) -> None:
        stack = world.ready()
        world.set_stack(stack, status="DELETE_IN_PROGRESS")
        assert end(world)["stack"] == stack
        assert (deleted(world), world.settled) == ([], [])
        assert world.record()["waiting"] == {"for": "deletion", "token": NEXT_TOKEN}


PROTECTED: dict[str, Json] = {
    "its controller's tag was changed": {"tags": OURS | {"mayfly:controller": "111111111111/us-east-1/other"}},
    "its environment's tag was changed": {"tags": OURS | {"mayfly:environment": "another"}},
    "its tags were taken away": {"tags": {}},
    "its tag protects it": {"tags": OURS | {"mayfly:protected": "true"}},
    "its termination protection is on": {"enable_termination_protection": True},
}


@pytest.mark.parametrize("state", PROTECTED.values(), ids=PROTECTED)
class TestTheGuardRefuses:
    def test_and_nothing_is_deleted(self, world: World, state: Json) -> None:
        stack = world.ready()
        world.set_stack(stack, **state)
        with pytest.raises(REFUSED, match=f"{stack} is left standing: "):
            end(world)
        assert deleted(world) == []
        assert set(world.states().values()) == {"running"}
        assert world.settled == []

    def test_also_where_the_deletion_failed_before(self, world: World, state: Json) -> None:
        stack = world.ready()
        world.set_stack(stack, status="DELETE_FAILED", **state)
        with pytest.raises(REFUSED):
            end(world)
        assert deleted(world) == []


@pytest.mark.parametrize("said", ["true", "True", "yes"])
def test_a_stack_with_a_protected_instance_in_it_is_left_standing(world: World, said: str) -> None:
    world.ready()
    (inside,) = world.launch(OURS | {"mayfly:protected": said})
    with pytest.raises(REFUSED, match=f"because of what is in it: .*{inside}: it is protected"):
        end(world)
    assert deleted(world) == []
    assert set(world.states().values()) == {"running"}


def test_what_is_protected_in_a_stack_is_handed_over_once_and_ended_when_a_person_asks_again(world: World) -> None:
    stack = world.ready()
    (inside,) = world.launch(OURS | {"mayfly:protected": "yes"})
    with pytest.raises(REFUSED):
        end(world)
    assert inside in world.record()["handed_over"]
    for now in ("2026-11-25T07:00:00.000Z", "2026-11-26T07:00:00.000Z"):  # long past its deadline, and no execution
        report = world.call("sweep_environments", {"now": now})
        ((said),) = report["decisions"]
        assert said["action"] == "refuse"
        assert f"it was handed over to a person: {stack} is left standing" in said["reason"]
    assert world.started() == {}
    world.there("ec2").delete_tags(Resources=[inside], Tags=[{"Key": "mayfly:protected"}])
    asked = {"environment": ENVIRONMENT, "requested_by": "ada", "why": "not needed any more", "again": True}
    world.call("accept_termination", on_the_bus("Environment Termination Requested", asked))
    ((_, order),) = world.started().items()
    assert order["begin"] == "termination"
    end(world)
    assert len(deleted(world)) == 1


def confirm_gone(world: World, stack: str | None) -> Json:
    return world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER})


class TestAllIsGone:
    def test_when_neither_stack_nor_instance_is_left(self, world: World) -> None:
        stack = world.ready()
        end(world, "deadline")
        answer = confirm_gone(world, stack)
        assert answer == {
            "environment": ENVIRONMENT,
            "ending": world.record()["ending"],
            "instances_built": 1,
            "instances_left": 0,
            "instances_failed": 0,
            "failures": {},
            "kept": [],
        }

    @pytest.mark.parametrize("more", [{"token": NEXT_TOKEN}, {}])
    def test_and_its_record_is_closed(self, world: World, more: Json) -> None:
        stack = world.ready()
        end(world, "deadline")
        world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER} | more)
        record = world.record()
        assert (record["stage"], "waiting" in record, "live" in record) == ("terminated", False, False)
        # A machine of an earlier version says it by itself.
        assert [what for what, _ in world.said] == (["Environment Terminated"] if more else [])
        assert record["forget_after"] == int(datetime.fromisoformat(LATER).timestamp()) + 90 * 86_400

    def test_and_its_record_says_so_and_is_closed_in_one_write(self, world: World) -> None:
        stack = world.ready()
        end(world, "deadline")
        world.wire.forget()
        world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER, "token": NEXT_TOKEN})
        assert [name for name in world.wire.names() if name in ("PutEvents", "UpdateItem")] == [
            "PutEvents",  # who dies after it leaves the record open, and it is said again
            "UpdateItem",
        ]

    def test_and_its_record_stays_open_until_that_is_said(self, world: World) -> None:
        stack = world.ready()
        end(world, "deadline")
        world.wire.answer("PutEvents", "InternalFailure", "down")
        event = {"order": an_order(), "stack": stack, "now": LATER, "token": NEXT_TOKEN}
        with pytest.raises(NotTaken):
            world.call("confirm_gone", event)
        record = world.record()
        assert (record["stage"], "live" in record, "reserved" in record) == ("terminated", True, False)
        world.wire.recover("PutEvents")
        for _ in range(2):  # whoever finds it closed says it no more
            world.call("confirm_gone", event)
        assert [what for what, _ in world.said] == ["Environment Terminated"] * 2, "the first was not taken"
        assert "live" not in world.record()

    @pytest.mark.parametrize(
        ("ending", "repetitions", "error"),
        [
            ({"by": "failure", "outcome": "broken"}, (), "EnvironmentFailed"),
            ({"by": "tests", "outcome": "failed"}, ("web-2",), "TestsFailed"),
            ({"by": "tests", "outcome": "failed"}, (), None),
            ({"by": "tests", "outcome": "passed"}, ("web-2",), None),
        ],
    )
    def test_and_its_execution_ends_as_its_life_did(
        self, world: World, ending: Json, repetitions: tuple[str, ...], error: str | None
    ) -> None:
        stack = world.ready()
        world.change(ending=ending | {"reason": "so it was", "at": LATER})
        end(world)
        order = an_order(repetitions=list(repetitions))
        world.call("confirm_gone", {"order": order, "stack": stack, "now": LATER, "token": NEXT_TOKEN})
        (told,) = [said for said in world.settled if said["taskToken"] == NEXT_TOKEN]
        assert told.get("error") == error
        assert ("Environment Failed" in [what for what, _ in world.said]) == (error == "EnvironmentFailed")

    def test_and_it_goes_on_elsewhere_where_ec2_had_no_capacity_for_it(self, world: World) -> None:
        here, there = f"{WORKLOAD_ACCOUNT}/us-east-1", f"{WORKLOAD_ACCOUNT}/eu-central-1"
        order = an_order(demand={"places": BOTH})
        ended = {"by": "failure", "error": {"Error": "CreationFailed", "Cause": "EC2 has no capacity for a"}}
        world.planned()
        held = {f"{here}|vpcs": 1}
        world.records("ledger").change("room", {"version": 1, "counts": held})
        world.change(stage="creating", reserved=held, no_capacity={here: "EC2 has no capacity for a"}, deletions=1)
        world.call("delete_environment", deletion("failure", order=order, ended=ended, moves=True))
        assert "ending" not in world.record()
        gone = {"order": order, "stack": None, "ended": ended, "now": LATER, "token": NEXT_TOKEN}
        for _ in range(2):  # a repetition gives nothing back again
            world.call("confirm_gone", gone)
        record = world.record()
        assert not record.keys() & {"ending", "waiting", "reserved", "deletions", "terminated_at"}
        assert [line["what"] for line in record["history"][-2:]] == ["no capacity", "moving on"]
        assert world.record("room", "ledger")["counts"] == {f"{here}|vpcs": 0}
        told = [said for said in world.settled if said["taskToken"] == NEXT_TOKEN]
        assert [each["error"] for each in told] == ["MovesOn", "MovesOn"]
        assert not world.said
        world.call("admit_environment", {"order": order, "token": TOKEN, "now": LATER, "moves": True})
        assert (world.record()["region"], world.record()["stage"]) == ("eu-central-1", "creating")
        assert world.record()["history"][-1]["why"] == f"in {there}"

    def test_and_it_goes_on_elsewhere_where_an_instance_without_a_group_had_no_capacity(self, world: World) -> None:
        """CloudFormation says so of the resource, and Auto Scaling nothing."""
        here, there = f"{WORKLOAD_ACCOUNT}/us-east-1", f"{WORKLOAD_ACCOUNT}/eu-central-1"
        order = an_order(demand={"places": BOTH})
        ended = {"by": "failure", "error": {"Error": "CreationFailed", "Cause": "it is so"}}
        stack = world.ready()
        world.change(stage="creating")
        failed = {
            "StackId": stack, "PhysicalResourceId": "", "LogicalResourceId": "Instance",
            "ResourceType": "AWS::EC2::Instance", "ResourceStatus": "CREATE_FAILED",
            "ResourceStatusReason": capacity_reason("t3.micro", "us-east-1a"),
        }  # fmt: skip
        world.wire.answer("DescribeStackEvents", StackEvents=[failed])
        for _ in range(2):
            world.call("delete_environment", deletion("failure", order=order, ended=ended, moves=True))
        lacks = "EC2 has no capacity for t3.micro in us-east-1a"
        record = world.record()
        assert (record["no_capacity"], "ending" in record) == ({here: lacks}, False)
        moves = [line["why"] for line in record["history"] if line["what"] == "no capacity"]
        assert moves == [f"{lacks}: its stack in {here} is deleted; next is {there}"]
        world.change(ending={"by": "request", "outcome": "cancelled", "reason": "no"})
        world.call("delete_environment", deletion("failure", order=order, ended=ended, moves=True))
        assert world.record()["ending"]["outcome"] == "cancelled"

    @pytest.mark.parametrize(
        ("error", "change", "more"),
        [
            ("CreationFailed", {}, {}),  # a machine of an earlier version does not listen
            ("NotReady", {}, {"moves": True}),
            ("CreationFailed", {"no_capacity": {}}, {"moves": True}),
            ("CreationFailed", {"ending": {"by": "request", "outcome": "cancelled", "reason": "no"}}, {"moves": True}),
        ],
    )
    def test_and_it_does_not_go_on_elsewhere_for_anything_else(
        self, world: World, error: str, change: Json, more: Json
    ) -> None:
        here = f"{WORKLOAD_ACCOUNT}/us-east-1"
        order = an_order(demand={"places": BOTH})
        ended = {"by": "failure", "error": {"Error": error, "Cause": "it is so"}}
        world.planned()
        world.change(**{"stage": "creating", "no_capacity": {here: "none"}} | change)
        world.call("delete_environment", deletion("failure", order=order, ended=ended, **more))
        said = {"ended": ended} if more else {}
        world.call("confirm_gone", {"order": order, "stack": None, "now": LATER, "token": NEXT_TOKEN} | said)
        assert (world.record()["stage"], "ending" in world.record()) == ("terminated", True)

    def test_and_what_the_teardown_had_to_keep_is_named_to_people(
        self, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stack = world.ready()
        end(world)
        kept = ["Database (AWS::RDS::DBInstance orders): its stack retained it"]
        database = {
            "LogicalResourceId": "Database",
            "PhysicalResourceId": "orders",
            "ResourceType": "AWS::RDS::DBInstance",
            "ResourceStatus": "DELETE_SKIPPED",
        }
        group = database | {"ResourceType": "AWS::AutoScaling::AutoScalingGroup"}  # found by its tags, and ended
        world.wire.answer("ListStackResources", StackResourceSummaries=[database, group])
        assert confirm_gone(world, stack)["kept"] == kept
        assert world.record()["kept"] == kept
        assert world.record()["history"][-1]["why"] == f"kept: {kept[0]}"
        assert "ResourcesKept" in capsys.readouterr().out

    def test_and_the_record_is_closed(self, world: World) -> None:
        stack = world.ready()
        end(world)
        confirm_gone(world, stack)
        record = world.record()
        assert (record["stage"], record["terminated_at"], record["instances_left"]) == ("terminated", LATER, 0)
        assert "waiting" not in record
        assert "live" not in record
        assert (
            record["history"][-1]["why"]
            == "no stack is left, nothing that carries its tags, and nothing that was in the stack"
        )

    def test_also_where_there_never_was_a_stack(self, world: World) -> None:
        world.planned()
        end(world, ended=FAILED)
        assert confirm_gone(world, None)["instances_built"] == 0

    def test_and_is_counted(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        stack = world.ready()
        end(world)
        confirm_gone(world, stack)
        assert "EnvironmentsTerminated" in capsys.readouterr().out


class TestInstancesThatFailed:
    STATUS_CHECK = "an instance was taken out of service in response to an EC2 instance status checks failure."

    def replaced(self, world: World) -> str:
        """Its instance was ended, and Auto Scaling has launched another one since. Returns the stack's id."""
        stack = world.ready()
        world.change(ready_at=NOW)  # EC2 tells launches in whole seconds
        world.there("ec2").terminate_instances(InstanceIds=list(world.states()))
        world.launch()
        found = {"AutoScalingGroupName": "g", "MinSize": 0, "DesiredCapacity": 1, "Instances": [], "Tags": []}
        world.wire.answer("DescribeAutoScalingGroups", AutoScalingGroups=[found])
        ended = {"Description": "Terminating EC2 instance: i-1", "StartTime": datetime(2099, 1, 1, tzinfo=UTC)}
        world.wire.answer("DescribeScalingActivities", Activities=[ended | {"Cause": self.STATUS_CHECK}])
        return stack

    def test_are_counted_with_their_cause_before_the_stack_goes(self, world: World) -> None:
        self.replaced(world)
        end(world)
        assert world.record()["instance_failures"]["failed"] == {"failed a status check": 1}
        assert deleted(world)

    def test_are_told_when_the_environment_is_gone(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        stack = self.replaced(world)
        end(world)
        for operation in ("DescribeAutoScalingGroups", "DescribeScalingActivities"):
            world.wire.recover(operation)
        with pytest.raises(function("confirm_gone").StillThere):  # the one that was launched by nobody's stack
            confirm_gone(world, stack)
        answer = confirm_gone(world, stack)
        assert (answer["instances_failed"], answer["failures"]) == (1, {"failed a status check": 1})
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"InstancesFailed"' in line]
        assert [one["InstancesFailed"] for one in said] == [[1.0]] * 4
        dimensions = [one["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0] for one in said]
        assert sorted(dimensions) == [["service"], *(["service", of] for of in ("application", "blueprint", "image"))]

    def test_are_none_where_all_run_and_nobody_is_asked_why(self, world: World) -> None:
        world.ready()
        world.wire.forget()
        end(world)
        assert "instance_failures" not in world.record()
        assert read(Environment, world.record()).losses == Losses(1)
        assert not world.wire.heard("DescribeScalingActivities")

    def test_keep_nothing_standing_where_they_cannot_be_counted(self, world: World) -> None:
        self.replaced(world)
        world.wire.answer("DescribeScalingActivities", error="AccessDenied")
        end(world)
        assert read(Environment, world.record()).losses is None
        assert deleted(world)

    def test_are_those_that_never_signalled_where_it_never_was_ready(self, world: World) -> None:
        world.created()
        cause = "Fleet: Received 43 SUCCESS signal(s) out of 45."
        end(world, ended={"by": "failure", "error": {"Error": "CreationFailed", "Cause": cause}})
        assert world.record()["instance_failures"] == {"launched": 45, "failed": {"never signalled": 2}}


class TestSomethingIsLeft:
    def ended(self, world: World) -> str:
        stack = world.ready()
        end(world)
        return stack

    @pytest.mark.parametrize("status", ["DELETE_IN_PROGRESS", "DELETE_FAILED", "CREATE_COMPLETE"])
    def test_while_the_stack_is_not_deleted(self, world: World, status: str) -> None:
        stack = self.ended(world)
        world.set_stack(stack, status=status)
        with pytest.raises(STILL_THERE, match=f"{stack} is {status}"):
            confirm_gone(world, stack)
        assert world.record()["stage"] == "terminating"

    def test_and_is_terminated_where_it_is_ours(self, world: World) -> None:
        stack = self.ended(world)
        left = world.launch(count=2)
        with pytest.raises(STILL_THERE, match=r"2 resources are left of it: .*; 2 of them were deleted just now"):
            confirm_gone(world, stack)
        assert {world.states()[instance] for instance in left} == {"terminated"}
        assert confirm_gone(world, stack)["instances_left"] == 0

    @pytest.mark.parametrize(
        "tags",
        [
            {key: value for key, value in OURS.items() if key != "mayfly:controller"},
            OURS | {"mayfly:protected": "true"},
        ],
        ids=["nobody's", "protected"],
    )
    def test_and_is_left_alone_where_the_guard_says_so(self, world: World, tags: Json) -> None:
        stack = self.ended(world)
        (foreign,) = world.launch(tags)
        (ours,) = world.launch()
        with pytest.raises(STILL_THERE, match=r"2 resources are left of it: .*; 1 of them were deleted just now"):
            confirm_gone(world, stack)
        assert (world.states()[foreign], world.states()[ours]) == ("running", "terminated")
        with pytest.raises(STILL_THERE, match=rf"instance {foreign} \(it .*\); 0 of them were"):
            confirm_gone(world, stack)

    def test_also_where_it_is_stopped(self, world: World) -> None:
        stack = self.ended(world)
        left = world.launch()
        world.there("ec2").stop_instances(InstanceIds=left)
        with pytest.raises(STILL_THERE):
            confirm_gone(world, stack)
        assert world.states()[left[0]] == "terminated"

    @pytest.mark.parametrize(
        "change",
        [{"mayfly:environment": f"{ENVIRONMENT}-2"}, {"mayfly:controller": "111111111111/us-east-1/other"}],
        ids=["another environment", "another controller"],
    )
    def test_but_not_by_an_instance_of_another(self, world: World, change: Json) -> None:
        stack = self.ended(world)
        (neighbour,) = world.launch(OURS | change)
        confirm_gone(world, stack)
        assert world.states()[neighbour] == "running"


def test_a_termination_that_is_throttled_is_left_to_the_state_machine(world: World) -> None:
    world.ready()
    world.wire.answer("DeleteStack", error="Throttling", message="Rate exceeded")
    with pytest.raises(ClientError, match="Throttling"):
        end(world)
    world.wire.recover("DeleteStack")
    end(world, token=TOKEN)
    assert world.stack() is None
    assert world.record()["waiting"]["token"] == TOKEN


def planned_release(world: World) -> None:
    world.call("accept_code_version", on_the_bus("Code Version Pushed", PUSHED))
    world.call("plan_release", {"release": RELEASE, "pushed": PUSHED, "now": LATER})


def suite_ended(world: World, suite: str, outcome: str, **more: str) -> None:
    by = {"passed": "tests", "failed": "tests", "expired": "deadline", "broken": "failure"}[outcome]
    world.change(f"{RELEASE}-{suite}", ending={"by": by, "outcome": outcome, "reason": f"it {outcome}", **more})


def judge(world: World, **more: Any) -> Json:
    return world.call("judge_release", {"release": RELEASE, "now": LATER} | more)


class TestAReleaseIsJudged:
    def test_with_the_instances_that_failed_in_its_environments(self, world: World) -> None:
        planned_release(world)
        for suite, failed in (("smoke", {"never signalled": 1}), ("look", {})):
            suite_ended(world, suite, "passed")
            world.change(f"{RELEASE}-{suite}", instance_failures={"launched": 45, "failed": failed})
        said = "all 2 suites passed; 1 of 90 instances failed, 1.111 %: 1 never signalled"
        assert judge(world)["reason"] == said
        record = world.record(RELEASE, "release")
        assert record["instance_failures"] == {"launched": 90, "failed": {"never signalled": 1}}
        assert record["history"][-1]["why"] == said

    def test_as_passed_when_every_suite_passed(self, world: World) -> None:
        planned_release(world)
        suite_ended(world, "smoke", "passed", report="https://ci.example.com/4711")
        suite_ended(world, "look", "passed")
        verdict = judge(world)
        assert (verdict["release"], verdict["passed"]) == (RELEASE, True)
        assert verdict["reason"] == "all 2 suites passed"
        assert verdict["suites"][0] == {
            "suite": "smoke",
            "environment": ENVIRONMENT,
            "outcome": "passed",
            "reason": "it passed",
            "report": "https://ci.example.com/4711",
            "attempts": 1,
        }

    @pytest.mark.parametrize("outcome", ["failed", "expired", "broken"])
    def test_as_failed_when_one_did_anything_else(self, world: World, outcome: str) -> None:
        planned_release(world)
        suite_ended(world, "smoke", "passed")
        suite_ended(world, "look", outcome)
        verdict = judge(world)
        assert not verdict["passed"]
        assert verdict["reason"] == f"1 of 2 suites did not pass: look {outcome}: it {outcome}"

    def test_as_failed_when_a_life_left_no_record(self, world: World) -> None:
        planned_release(world)
        suite_ended(world, "smoke", "passed")
        verdict = judge(world)
        assert verdict["reason"] == "1 of 2 suites did not pass: look broken: its life left no ending"

    def test_as_failed_when_it_was_never_planned(self, world: World) -> None:
        error = {"Error": "Refused", "Cause": '{"errorMessage": "there is no parameter /mayfly/applications/x"}'}
        verdict = judge(world, error=error)
        assert not verdict["passed"]
        assert verdict["suites"] == []
        assert verdict["reason"] == "it could not be planned: Refused: there is no parameter /mayfly/applications/x"

    def test_as_failed_when_its_own_record_is_lost(self, world: World) -> None:
        assert judge(world)["reason"] == "no suite was run"

    @pytest.mark.parametrize(("outcome", "stage"), [("passed", "passed"), ("expired", "failed")])
    def test_and_the_verdict_is_recorded(self, world: World, outcome: str, stage: str) -> None:
        planned_release(world)
        suite_ended(world, "smoke", "passed")
        suite_ended(world, "look", outcome)
        verdict = judge(world)
        record = world.record(RELEASE, "release")
        assert record["stage"] == stage
        assert record["verdict"] == {name: verdict[name] for name in ("passed", "reason", "suites")}
        assert record["history"][-1]["why"] == verdict["reason"]


class TestALateEnding:
    """An execution was aborted, so its release failed at once. A sweep adopted the environment; its tests passed."""

    def over(self, world: World, begin: str = "tests") -> None:
        order = an_order() | {"begin": begin, "deadline": DEADLINE, "why": "sweep: nobody waits for it"}
        world.call("confirm_gone", {"order": order, "stack": None, "now": LATER})

    @pytest.fixture
    def aborted(self, world: World) -> World:
        planned_release(world)
        world.planned()
        suite_ended(world, "look", "passed")
        assert judge(world)["passed"] is False
        suite_ended(world, "smoke", "passed")
        world.wire.forget()
        return world

    def test_judges_its_release_again(self, aborted: World) -> None:
        self.over(aborted)
        record = aborted.record(RELEASE, "release")
        assert (record["stage"], record["verdict"]["passed"]) == ("passed", True)
        ((what, detail),) = aborted.said
        assert (what, detail["release"], detail["application"]) == ("Release Passed", RELEASE, "webshop")
        assert {suite["outcome"] for suite in detail["suites"]} == {"passed"}

    def test_does_so_once(self, aborted: World) -> None:
        self.over(aborted)
        self.over(aborted)
        assert len(aborted.said) == 1

    def test_that_is_none_of_an_adopted_life_changes_nothing(self, aborted: World) -> None:
        self.over(aborted, "creation")
        assert aborted.record(RELEASE, "release")["stage"] == "failed"

    def test_that_failed_is_written_down_and_not_announced(self, aborted: World) -> None:
        suite_ended(aborted, "smoke", "failed")
        self.over(aborted)
        assert aborted.said == []
        outcomes = {each["suite"]: each["outcome"] for each in aborted.record(RELEASE, "release")["verdict"]["suites"]}
        assert outcomes == {"look": "passed", "smoke": "failed"}
