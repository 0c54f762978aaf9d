"""A stack does not want to go: the teardown strategy names what blocks, mends what is ours, and chases what is left."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from mayfly.aws import kill_switch
from mayfly.domain.teardown import Step
from tests.integration.world import (
    AFTER,
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NEXT_TOKEN,
    OURS,
    REGION,
    STACK,
    TOKEN,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    deletion,
    function,
    of_the_stack,
    tagged,
)

OTHER_CONTROLLER = OURS | {"mayfly:controller": "111111111111/us-east-1/other"}
OTHER_ENVIRONMENT = OURS | {"mayfly:environment": f"{ENVIRONMENT}-2"}
PROTECTED = OURS | {"mayfly:protected": "true"}
NOBODY_S = {key: value for key, value in OURS.items() if key != "mayfly:controller"}
NOT_TO_BE_TOUCHED = {"nobody's": NOBODY_S, "another controller's": OTHER_CONTROLLER, "protected": PROTECTED}
REFUSED = function("delete_environment").TerminationRefused
HELD_BACK = pytest.mark.parametrize("tags", NOT_TO_BE_TOUCHED.values(), ids=NOT_TO_BE_TOUCHED)


def blocker(logical: str, kind: str, reason: str, physical: str = "x-1") -> Json:
    return {
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": kind,
        "ResourceStatus": "DELETE_FAILED",
        "ResourceStatusReason": reason,
    }


SUBNET = blocker(
    "Subnet", "AWS::EC2::Subnet", "The subnet 'subnet-1' has dependencies and cannot be deleted", "subnet-1"
)


def blocked(world: World, *blockers: Json, deletions: int = 1) -> str:
    """A stack whose deletion failed, so many times, for these reasons. Returns its id."""
    stack = world.ready()
    world.set_stack(stack, status="DELETE_FAILED")
    world.change(deletions=deletions)
    done = blocker("Done", "AWS::SSM::Parameter", "") | {"ResourceStatus": "DELETE_COMPLETE"}
    world.wire.answer("ListStackResources", StackResourceSummaries=[done, *blockers])
    world.wire.answer("DeleteStack")  # it stays as it is
    world.wire.forget()
    return stack


def end(world: World, **change: Any) -> Json:
    return world.call("delete_environment", deletion(token=NEXT_TOKEN) | change)


def said(world: World) -> Json:
    entry: Json = world.record()["history"][-1]
    return entry


class TestTheLadder:
    def test_begins_with_a_deletion_and_nothing_else(self, world: World) -> None:
        stack = world.ready()
        world.launch()
        world.wire.forget()
        end(world)
        assert [name for name in world.wire.names() if name.startswith(("Delete", "Terminate"))] == ["DeleteStack"]
        assert "RetainResources" not in world.wire.heard("DeleteStack")[0]
        assert "deletions" not in world.record()
        assert world.wire.heard("DeleteStack")[0]["StackName"] == stack

    def test_begins_without_a_write_of_its_own_where_all_went_well(self, world: World) -> None:
        world.ready()
        world.wire.forget()
        end(world)
        assert len(world.wire.heard("UpdateItem")) == 1  # the ending, with the token

    def test_is_climbed_rung_by_rung_and_ends(self, world: World) -> None:
        stack = blocked(world, blocker("Gateway", "AWS::EC2::InternetGateway", "has dependencies"))
        taken = []
        for _ in range(3):
            end(world)
            taken.append((said(world)["what"], world.wire.heard("DeleteStack")[-1].get("RetainResources")))
        assert taken == [(Step.MEND, None), (Step.MEND, None), (Step.RETAIN, ["Gateway"])]
        assert world.record()["deletions"] == 4
        with pytest.raises(function("delete_environment").HandedOver) as handed_over:
            end(world)
        assert str(handed_over.value) == (
            f"{stack} cannot be deleted after 4 tries. Blocked by Gateway (AWS::EC2::InternetGateway x-1): "
            "has dependencies"
        )
        assert len(world.wire.heard("DeleteStack")) == 3

    def test_is_not_climbed_by_an_event_of_the_rung_before_that_comes_twice(self, world: World) -> None:
        stack = blocked(world, SUBNET)
        for token in (TOKEN, NEXT_TOKEN):
            end(world, token=token)
        first, second = (call["ClientRequestToken"] for call in world.wire.heard("DeleteStack"))
        again = world.call("resume_environment", of_the_stack(stack, "DELETE_FAILED", request=first))
        assert (again["resumed"], again["reason"]) == (False, "it is about an earlier deletion")
        assert world.settled == []
        assert world.call("resume_environment", of_the_stack(stack, "DELETE_FAILED", request=second))["resumed"]

    def test_names_every_blocker_in_the_record(self, world: World) -> None:
        blocked(world, SUBNET, blocker("Queue", "AWS::SQS::Queue", "access denied", "https://queue"))
        end(world)
        assert said(world) == {
            "at": LATER,
            "who": "teardown",
            "what": "mend what blocks, then delete",
            "why": "blocked by Subnet (AWS::EC2::Subnet subnet-1): The subnet 'subnet-1' has dependencies and cannot "
            "be deleted; Queue (AWS::SQS::Queue https://queue): access denied; ended 1 instances",
        }

    def test_says_where_nothing_could_be_mended(self, world: World) -> None:
        blocked(world, blocker("Queue", "AWS::SQS::Queue", "access denied"))
        for each in world.states():
            world.there("ec2").terminate_instances(InstanceIds=[each])
        end(world)
        assert said(world)["why"].endswith("access denied; nothing of it is ours to mend")

    def test_records_what_it_kept(self, world: World) -> None:
        gateway = blocker("Gateway", "AWS::EC2::InternetGateway", "dependencies", "igw-1")
        blocked(world, gateway, blocker("Vpc", "AWS::EC2::VPC", "dependencies", "vpc-1"), deletions=3)
        end(world)
        assert world.wire.heard("DeleteStack")[0]["RetainResources"] == ["Gateway", "Vpc"]
        assert said(world)["what"] == "delete, and keep what blocks"
        assert said(world)["why"].endswith("; kept Gateway, Vpc")

    def test_ends_where_cloudformation_names_no_blocker_too(self, world: World) -> None:
        stack = blocked(world)
        for _ in range(3):
            end(world)
        assert [call.get("RetainResources") for call in world.wire.heard("DeleteStack")] == [None] * 3
        assert len(world.wire.heard("TerminateInstances")) == 1  # instances go first, whatever blocks
        with pytest.raises(function("delete_environment").HandedOver, match=f"{stack} cannot be deleted after 4 tries"):
            end(world)

    def test_is_not_climbed_by_a_deletion_of_a_stack_that_never_failed_to_go(self, world: World) -> None:
        """Its first deletions may have been throttled, or lost: that is no reason to take anything apart."""
        world.ready()
        world.change(deletions=3)
        world.wire.forget()
        end(world)
        assert "RetainResources" not in world.wire.heard("DeleteStack")[0]
        assert "TerminateInstances" not in world.wire.names()

    def test_is_not_climbed_while_the_stack_goes(self, world: World) -> None:
        stack = blocked(world, SUBNET)
        world.set_stack(stack, status="DELETE_IN_PROGRESS")
        end(world)
        assert world.wire.heard("DeleteStack") == []
        assert world.record()["deletions"] == 1

    def test_does_not_count_a_deletion_that_aws_did_not_take(self, world: World) -> None:
        blocked(world, SUBNET)
        world.wire.answer("DeleteStack", error="Throttling")
        with pytest.raises(Exception, match="Throttling"):
            end(world)
        assert world.record()["deletions"] == 1

    @pytest.mark.parametrize("lose", ["record", "table"])
    def test_is_climbed_without_a_memory_too(self, world: World, lose: str) -> None:
        """What blocks is mended though nobody knows how often the deletion was tried."""
        blocked(world, SUBNET)
        world.launch()
        world.lose() if lose == "record" else world.own("dynamodb").delete_table(TableName=world.table)
        end(world)
        assert "TerminateInstances" in world.wire.names()
        assert len(world.wire.heard("DeleteStack")) == 1

    def test_is_not_begun_where_the_guard_refuses(self, world: World) -> None:
        stack = blocked(world, SUBNET)
        world.set_stack(stack, tags=PROTECTED)
        world.launch()
        with pytest.raises(function("delete_environment").TerminationRefused):
            end(world)
        assert [name for name in world.wire.names() if name.startswith(("Delete", "Terminate"))] == []


class TestADeletionThatIsRefused:
    """CloudFormation takes it, and the stack is back where it was: another stack imports an export of this one."""

    reason = "Export shop-url cannot be deleted as it is in use by other-stack"

    def test_is_tried_four_times_and_handed_over_with_the_export_and_who_imports_it(self, world: World) -> None:
        stack = blocked(world)
        standing = (world.stack(stack) or {}) | {"StackStatus": "CREATE_COMPLETE", "StackStatusReason": self.reason}
        world.wire.answer("DescribeStacks", Stacks=[standing])
        for _ in range(3):
            end(world)
        assert [call.get("RetainResources") for call in world.wire.heard("DeleteStack")] == [None] * 3
        with pytest.raises(function("delete_environment").HandedOver) as handed_over:
            end(world)
        assert f"Blocked by shop-url (export in use by other-stack): {self.reason}" in str(handed_over.value)
        assert world.record()["handed_over"] == str(handed_over.value)

    def test_ends_the_wait_at_once(self, world: World) -> None:
        stack = blocked(world)
        world.set_stack(stack, status="DELETE_IN_PROGRESS")
        end(world)
        answer = world.call("resume_environment", of_the_stack(stack, "CREATE_COMPLETE", self.reason))
        assert answer["resumed"]
        assert world.settled[-1]["error"] == "DeletionFailed"

    def test_is_none_where_the_creation_s_own_event_is_late(self, world: World) -> None:
        stack = blocked(world)
        world.set_stack(stack, status="DELETE_IN_PROGRESS")
        end(world)
        assert not world.call("resume_environment", of_the_stack(stack, "CREATE_COMPLETE"))["resumed"]


class TestARoleThatCannotBeAssumed:
    said = "Role arn:aws:iam::222222222222:role/mayfly-cloudformation is invalid or cannot be assumed"

    def test_is_tried_four_times_and_handed_over_with_cloudformation_s_sentence(self, world: World) -> None:
        stack = world.ready()
        world.wire.answer("DeleteStack", error="ValidationError", message=self.said)
        for tried in range(1, 4):
            with pytest.raises(function("delete_environment").DeletionFailed) as failed:
                end(world)
            assert str(failed.value) == f"{stack} cannot be deleted: {self.said}"
            assert world.record()["deletions"] == tried
        with pytest.raises(function("delete_environment").HandedOver) as handed:
            end(world)
        assert world.record()["handed_over"] == str(handed.value) == f"{stack} cannot be deleted: {self.said}"

    def test_that_is_mended_meanwhile_ends_the_environment(self, world: World) -> None:
        world.ready()
        world.wire.answer("DeleteStack", error="ValidationError", message=self.said)
        with pytest.raises(function("delete_environment").DeletionFailed):
            end(world)
        world.wire.recover("DeleteStack")
        end(world)
        assert world.stack() is None


class TestInstances:
    def test_go_first_whatever_blocks(self, world: World) -> None:
        blocked(world, blocker("Queue", "AWS::SQS::Queue", "denied"), SUBNET)
        (left,) = world.launch()
        interface(world)
        end(world)
        destroying = [name for name in world.wire.names() if name.startswith(("Delete", "Terminate", "Detach"))]
        assert (destroying[0], destroying[-1]) == ("TerminateInstances", "DeleteStack")
        assert world.states()[left] == "terminated"
        assert "ended 2 instances" in said(world)["why"]  # the stack's own too

    @HELD_BACK
    def test_stay_where_they_are_not_ours_to_end(self, world: World, tags: Json) -> None:
        blocked(world, SUBNET)
        (held,) = world.launch(tags)
        (neighbour,) = world.launch(OTHER_ENVIRONMENT)
        with suppress(REFUSED):
            end(world)
        assert [world.states()[each] for each in (held, neighbour)] == ["running", "running"]


def interface(world: World, tags: dict[str, str] = OURS) -> str:
    """A network interface on its own. Returns its id."""
    ec2 = world.there("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    made = ec2.create_network_interface(SubnetId=subnet, TagSpecifications=tagged("network-interface", tags))
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def interfaces(world: World) -> set[str]:
    found = world.there("ec2").describe_network_interfaces()["NetworkInterfaces"]
    return {each["NetworkInterfaceId"] for each in found}


class TestInterfaces:
    def test_of_ours_that_are_loose_are_deleted(self, world: World) -> None:
        blocked(world, SUBNET)
        loose = interface(world)
        end(world)
        assert loose not in interfaces(world)
        assert f"deleted interface {loose}" in said(world)["why"]

    def test_that_are_attached_are_detached_first(self, world: World) -> None:
        blocked(world, SUBNET)
        attached, (holder,) = interface(world), world.launch({"Name": "somebody's"})
        world.there("ec2").attach_network_interface(NetworkInterfaceId=attached, InstanceId=holder, DeviceIndex=1)
        end(world)
        assert [call["Force"] for call in world.wire.heard("DetachNetworkInterface")] == [True]
        end(world)
        assert attached not in interfaces(world)
        assert world.states()[holder] == "running"

    def test_that_do_not_come_off_keep_nothing_else_from_being_mended(self, world: World) -> None:
        blocked(world, SUBNET)
        first, second = interface(world), interface(world)
        world.wire.answer("DeleteNetworkInterface", error="InvalidNetworkInterface.InUse")
        end(world)
        assert len(world.wire.heard("DeleteNetworkInterface")) == 2
        for each in (first, second):
            assert f"could not delete {each}: InvalidNetworkInterface.InUse" in said(world)["why"]
        assert len(world.wire.heard("DeleteStack")) == 1

    @HELD_BACK
    def test_stay_where_they_are_not_ours(self, world: World, tags: Json) -> None:
        blocked(world, SUBNET)
        held, neighbour = interface(world, tags), interface(world, OTHER_ENVIRONMENT)
        with suppress(REFUSED):
            end(world)
        assert {held, neighbour} <= interfaces(world)

    def test_stay_where_something_else_blocks(self, world: World) -> None:
        blocked(world, blocker("Queue", "AWS::SQS::Queue", "denied"))
        loose = interface(world)
        end(world)
        assert loose in interfaces(world)


class TestABucket:
    name = f"mayfly-{ENVIRONMENT}-data"

    def full(self, world: World) -> None:
        s3 = world.there("s3")
        s3.create_bucket(Bucket=self.name)
        s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        for key in ("a", "b", "a"):
            s3.put_object(Bucket=self.name, Key=key, Body=b"-")
        s3.delete_object(Bucket=self.name, Key="b")

    def left(self, world: World) -> int:
        listed = world.there("s3").list_object_versions(Bucket=self.name)
        return len(listed.get("Versions", [])) + len(listed.get("DeleteMarkers", []))

    def test_that_is_not_empty_is_emptied_of_every_version(self, world: World) -> None:
        self.full(world)
        blocked(world, blocker("Data", "AWS::S3::Bucket", "The bucket you tried to delete is not empty", self.name))
        end(world)
        assert self.left(world) == 0
        assert f"emptied 4 of 4 versions in the bucket {self.name}" in said(world)["why"]

    def test_that_denies_its_listing_is_noted_and_the_deletion_goes_on(self, world: World) -> None:
        self.full(world)
        blocked(world, blocker("Data", "AWS::S3::Bucket", "The bucket you tried to delete is not empty", self.name))
        world.wire.answer("ListObjectVersions", error="AccessDenied")
        end(world)
        assert f"could not empty the bucket {self.name}: AccessDenied" in said(world)["why"]
        assert len(world.wire.heard("DeleteStack")) == 1

    def test_whose_objects_stay_is_not_called_empty(self, world: World) -> None:
        self.full(world)
        blocked(world, blocker("Data", "AWS::S3::Bucket", "The bucket you tried to delete is not empty", self.name))
        locked = [{"Key": key, "VersionId": "1", "Code": "AccessDenied"} for key in "abcd"]
        world.wire.answer("DeleteObjects", Errors=locked)
        end(world)
        assert f"emptied 0 of 4 versions in the bucket {self.name} (a 1: AccessDenied, b 1:" in said(world)["why"]

    @pytest.mark.parametrize(
        "tags", [PROTECTED, OURS | {"mayfly:protected": "yes"}, OTHER_ENVIRONMENT], ids=["true", "yes", "another's"]
    )
    def test_that_is_protected_or_another_s_is_not_emptied(self, world: World, tags: Json) -> None:
        self.full(world)
        labels = [{"Key": key, "Value": value} for key, value in tags.items()]
        world.there("s3").put_bucket_tagging(Bucket=self.name, Tagging={"TagSet": labels})
        blocked(world, blocker("Data", "AWS::S3::Bucket", "The bucket you tried to delete is not empty", self.name))
        with suppress(REFUSED):  # the stack of what is protected is not even deleted
            end(world)
        assert self.left(world) == 4

    def test_that_is_denied_to_us_is_left_as_it_is(self, world: World) -> None:
        self.full(world)
        blocked(world, blocker("Data", "AWS::S3::Bucket", "Access Denied", self.name))
        end(world)
        assert self.left(world) == 4


class TestReferencesToASecurityGroup:
    def group(self, world: World, name: str, tags: dict[str, str], refers_to: str | None = None) -> str:
        """A security group that lets another in, and everybody on port 443."""
        ec2 = world.there("ec2")
        made = str(
            ec2.create_security_group(
                GroupName=name, Description=name, TagSpecifications=tagged("security-group", tags)
            )["GroupId"]
        )
        rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
        ec2.authorize_security_group_ingress(
            GroupId=made, IpPermissions=[rule | {"IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
        )
        if refers_to:
            ec2.authorize_security_group_ingress(
                GroupId=made, IpPermissions=[rule | {"UserIdGroupPairs": [{"GroupId": refers_to}]}]
            )
        return made

    def rules(self, world: World, group: str) -> tuple[list[str], list[str]]:
        """The groups and the ranges that a group lets in."""
        (found,) = world.there("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
        pairs = [pair["GroupId"] for rule in found["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
        return pairs, [each["CidrIp"] for rule in found["IpPermissions"] for each in rule["IpRanges"]]

    def test_are_cut_and_no_other_rule(self, world: World) -> None:
        stuck = self.group(world, "stuck", OURS)
        other = self.group(world, "other", OURS, stuck)
        blocked(world, blocker("Group", "AWS::EC2::SecurityGroup", f"resource {stuck} has a dependent object", stuck))
        end(world)
        assert self.rules(world, other) == ([], ["10.0.0.0/8"])
        assert f"cut the reference of {other} to {stuck}" in said(world)["why"]

    def test_are_cut_where_they_lead_out_too(self, world: World) -> None:
        ec2, groups = world.there("ec2"), [self.group(world, name, OURS) for name in ("one", "two")]
        for one, two in (groups, groups[::-1]):
            rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": two}]}
            ec2.authorize_security_group_egress(GroupId=one, IpPermissions=[rule])
        reason = "resource has a dependent object"
        blocked(world, *(blocker(f"Group{group}", "AWS::EC2::SecurityGroup", reason, group) for group in groups))
        end(world)
        for group in groups:
            (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
            assert [pair for rule in found["IpPermissionsEgress"] for pair in rule["UserIdGroupPairs"]] == []
            assert found["IpPermissionsEgress"]  # what else it lets out, it lets out

    @pytest.mark.parametrize(
        "tags",
        [OTHER_CONTROLLER, OTHER_ENVIRONMENT, {"Name": "somebody's"}],
        ids=["another controller's", "another environment's", "somebody's"],
    )
    def test_are_not_cut_where_the_group_is_not_ours(self, world: World, tags: Json) -> None:
        stuck = self.group(world, "stuck", OURS)
        other = self.group(world, "other", tags, stuck)
        blocked(world, blocker("Group", "AWS::EC2::SecurityGroup", f"resource {stuck} has a dependent object", stuck))
        end(world)
        assert self.rules(world, other) == ([stuck], ["10.0.0.0/8"])

    def default_group(self, world: World, tags: dict[str, str]) -> str:
        """The default group, which carries no tags, of a VPC with these."""
        ec2 = world.there("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tagged("vpc", tags))["Vpc"]["VpcId"]
        (found,) = ec2.describe_security_groups(
            Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
        )["SecurityGroups"]
        return str(found["GroupId"])

    def referring(self, world: World, tags: dict[str, str]) -> tuple[str, str]:
        """A default group that lets in a group of the stack. Returns its id, and the other's."""
        stuck = self.group(world, "stuck", OURS)
        default = self.default_group(world, tags)
        pair = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 9, "UserIdGroupPairs": [{"GroupId": stuck}]}
        world.there("ec2").authorize_security_group_ingress(GroupId=default, IpPermissions=[pair])
        blocked(world, blocker("Group", "AWS::EC2::SecurityGroup", f"resource {stuck} has a dependent object", stuck))
        return default, stuck

    def test_of_a_default_group_are_cut_in_a_session_of_its_vpc(self, world: World) -> None:
        default, stuck = self.referring(world, OURS)
        end(world)
        assert stuck not in self.rules(world, default)[0]
        assert f"cut the reference of {default} to {stuck}" in said(world)["why"]
        first, second = (call["Tags"] for call in world.wire.heard("AssumeRole")[-2:])
        assert [tag["Key"] for tag in second] == [*(tag["Key"] for tag in first), "mayfly:vpc"]

    @pytest.mark.parametrize(
        ("tags", "why"),
        [
            ({}, "does not carry the tag mayfly:controller"),
            (OTHER_ENVIRONMENT, "its tag mayfly:environment is"),
            (OURS | {"mayfly:protected": "yes"}, "protected"),
            (OURS | {"mayfly:service": "web-production"}, "permanent environment web-production"),
        ],
        ids=["somebody's", "another environment's", "protected", "permanent"],
    )
    def test_of_a_default_group_are_left_where_its_vpc_is_not_ours_to_change(
        self, world: World, tags: Json, why: str
    ) -> None:
        default, stuck = self.referring(world, tags)
        with suppress(REFUSED):
            end(world)
        assert stuck in self.rules(world, default)[0]
        if "protected" not in why:
            assert f"left the rules of {default} (default): it" in said(world)["why"]
            assert why in said(world)["why"]


class TestADeadlineThatWasMoved:
    def test_is_told_and_nothing_ends(self, world: World) -> None:
        world.ready()
        world.change(deadline="2026-11-24T09:00:00.000Z")
        with pytest.raises(function("delete_environment").Extended, match=r"^2026-11-24T09:00:00\.000Z$"):
            world.call("delete_environment", deletion("deadline", now=AFTER))
        record = world.record()
        assert ("ending" not in record, record["stage"]) == (True, "awaiting tests")
        assert world.stack()

    def test_does_not_save_what_was_ended(self, world: World) -> None:
        world.ready()
        ending = {"by": "request", "outcome": "cancelled", "reason": "enough", "at": LATER}
        world.change(deadline="2026-11-24T09:00:00.000Z", ending=ending)
        world.call("delete_environment", deletion("deadline", now=AFTER))
        assert world.stack() is None

    @pytest.mark.parametrize(
        "ended", [{"by": "tests"}, {"by": "failure", "error": {"Error": "NotReady"}}], ids=["tests", "failure"]
    )
    def test_keeps_no_other_end_waiting(self, world: World, ended: Json) -> None:
        world.ready()
        end(world, ended=ended)
        assert world.stack() is None

    def test_is_none_where_it_is_this_very_moment(self, world: World) -> None:
        world.ready()
        world.call("delete_environment", deletion("deadline", now=DEADLINE))
        assert world.stack() is None


def test_a_sweep_s_ending_is_an_expiry_with_the_sweep_s_reason(world: World) -> None:
    world.ready()
    end(world, ended={"by": "sweep", "why": "sweep: nobody ended it"}, deadline="")
    assert world.record()["ending"] == {
        "by": "deadline",
        "outcome": "expired",
        "reason": "sweep: nobody ended it",
        "at": LATER,
    }


def test_a_lost_table_still_deletes(world: World) -> None:
    stack = world.ready()
    world.own("dynamodb").delete_table(TableName=world.table)
    assert world.call("delete_environment", deletion("deadline")) == {"environment": ENVIRONMENT, "stack": stack}
    assert world.stack() is None
    answer = world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": AFTER})
    assert (answer["ending"]["outcome"], answer["instances_left"]) == ("broken", 0)


# ---- what outlives its stack


def instance(world: World, tags: dict[str, str]) -> str:
    return world.launch(tags)[0]


def volume(world: World, tags: dict[str, str]) -> str:
    made = world.there("ec2").create_volume(
        AvailabilityZone="us-east-1a", Size=1, TagSpecifications=tagged("volume", tags)
    )
    return str(made["VolumeId"])


def security_group(world: World, tags: dict[str, str]) -> str:
    made = world.there("ec2").create_security_group(
        GroupName=f"left-{len(tags)}", Description="-", TagSpecifications=tagged("security-group", tags)
    )
    return str(made["GroupId"])


def launch_template(world: World, tags: dict[str, str]) -> str:
    made = world.there("ec2").create_launch_template(
        LaunchTemplateName="left",
        LaunchTemplateData={"InstanceType": "t3.micro"},
        TagSpecifications=tagged("launch-template", tags),
    )
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def key_pair(world: World, tags: dict[str, str]) -> str:
    made = world.there("ec2").create_key_pair(KeyName="left", TagSpecifications=tagged("key-pair", tags))
    return str(made["KeyPairId"])


def log_group(world: World, tags: dict[str, str]) -> str:
    world.there("logs").create_log_group(logGroupName="/mayfly/left", tags=tags)
    return "/mayfly/left"


def parameter(world: World, tags: dict[str, str], name: str = "/mayfly/left/note") -> str:
    labels = [{"Key": key, "Value": value} for key, value in tags.items()]
    world.there("ssm").put_parameter(Name=name, Value="-", Type="String", Tags=labels)
    return name


def names(listing: Json, key: str) -> set[str]:
    (found,) = [listed for listed in listing.values() if isinstance(listed, list)]
    return {each[key] for each in found}


KINDS: dict[str, tuple[Any, Any]] = {
    "instance": (instance, lambda world: {i for i, state in world.states().items() if state != "terminated"}),
    "network-interface": (interface, interfaces),
    "volume": (volume, lambda world: names(world.there("ec2").describe_volumes(), "VolumeId")),
    "security-group": (security_group, lambda world: names(world.there("ec2").describe_security_groups(), "GroupId")),
    "launch-template": (
        launch_template,
        lambda world: names(world.there("ec2").describe_launch_templates(), "LaunchTemplateId"),
    ),
    # Moto deletes a key pair by its name only.
    "key-pair": (
        key_pair,
        lambda world: (
            names(world.there("ec2").describe_key_pairs(), "KeyPairId")
            - {call["KeyPairId"] for call in world.wire.heard("DeleteKeyPair")}
        ),
    ),
    "log-group": (log_group, lambda world: names(world.there("logs").describe_log_groups(), "logGroupName")),
    "parameter": (parameter, lambda world: names(world.there("ssm").describe_parameters(), "Name")),
}
HOW_AWS_WRITES_IT = {"log-group": "logs:{}:log-group:{}", "parameter": "ssm:{}:parameter{}"}


def listed(world: World, kind: str, identity: str, tags: dict[str, str]) -> None:
    """The tagging API lists it. Moto's does not know every kind that AWS's does."""
    arn = HOW_AWS_WRITES_IT.get(kind, "ec2:{}:" + kind + "/{}").format(f"{REGION}:{WORKLOAD_ACCOUNT}", identity)
    labels = [{"Key": key, "Value": value} for key, value in tags.items()]
    world.wire.answer("GetResources", ResourceTagMappingList=[{"ResourceARN": f"arn:aws:{arn}", "Tags": labels}])


def confirm_gone(world: World, stack: str | None) -> Json:
    return world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER})


def ended(world: World) -> str:
    stack = world.ready()
    end(world)
    world.wire.forget()
    return stack


STILL_THERE = function("confirm_gone").StillThere


@pytest.mark.parametrize("kind", KINDS)
class TestARemnant:
    def test_of_ours_is_deleted_and_told(self, world: World, kind: str) -> None:
        make, there = KINDS[kind]
        stack = ended(world)
        left = make(world, OURS)
        listed(world, kind, left, OURS)
        with pytest.raises(STILL_THERE, match=f"1 resources are left of it: {kind} {left}; 1 of them were deleted"):
            confirm_gone(world, stack)
        assert left not in there(world)
        world.wire.answer("GetResources", ResourceTagMappingList=[])
        assert confirm_gone(world, stack)["instances_left"] == 0

    @pytest.mark.parametrize("tags", [PROTECTED, NOBODY_S], ids=["protected", "without the controller's tag"])
    def test_that_is_not_ours_to_delete_is_told_and_left_alone(self, world: World, kind: str, tags: Json) -> None:
        make, there = KINDS[kind]
        stack = ended(world)
        left = make(world, tags)
        listed(world, kind, left, tags)
        with pytest.raises(STILL_THERE, match=rf"{kind} {left} \(it .+ tag .+\); 0 of them were deleted"):
            confirm_gone(world, stack)
        assert left in there(world)
        assert world.record()["stage"] == "terminating"

    def test_that_stays_is_handed_over_once_and_no_sweep_begins_again(self, world: World, kind: str) -> None:
        make, _ = KINDS[kind]
        stack = ended(world)
        left = make(world, PROTECTED)
        listed(world, kind, left, PROTECTED)
        last_look = {"order": an_order(), "stack": stack, "now": AFTER, "looks_left": 0}
        with pytest.raises(function("confirm_gone").HandedOver, match=f"{kind} {left} .it is protected by its tag"):
            world.call("confirm_gone", last_look)
        assert left in world.record()["handed_over"]
        decided = world.call("sweep_environments", {"now": AFTER})["decisions"]
        assert {each["action"] for each in decided} == {"refuse"}
        assert any("handed over to a person" in each["reason"] and left in each["reason"] for each in decided)

    def test_of_another_controller_is_none_and_left_alone(self, world: World, kind: str) -> None:
        make, there = KINDS[kind]
        stack = ended(world)
        left = make(world, OTHER_CONTROLLER)
        listed(world, kind, left, OTHER_CONTROLLER)
        assert confirm_gone(world, stack)["instances_left"] == 0
        assert left in there(world)


class TestRemnants:
    def test_that_stay_of_a_life_that_was_about_to_move_on_end_it_for_what_it_lacked(self, world: World) -> None:
        world.planned()
        world.change(stage="creating", no_capacity={f"{WORKLOAD_ACCOUNT}/us-east-1": "EC2 has no capacity for a"})
        left = KINDS["volume"][0](world, PROTECTED)
        listed(world, "volume", left, PROTECTED)
        last_look = {"order": an_order(), "stack": None, "now": AFTER, "looks_left": 0}
        with pytest.raises(function("confirm_gone").HandedOver):
            world.call("confirm_gone", last_look)
        ending = world.record()["ending"]
        assert (ending["by"], ending["reason"]) == ("failure", "CreationFailed: EC2 has no capacity for a")

    def test_go_instances_first(self, world: World) -> None:
        stack = ended(world)
        for make, _ in (KINDS[kind] for kind in ("security-group", "volume", "network-interface", "instance")):
            make(world, OURS)
        with pytest.raises(STILL_THERE, match="4 of them were deleted"):
            confirm_gone(world, stack)
        destroying = [name for name in world.wire.names() if name.startswith(("Delete", "Terminate"))]
        assert destroying == ["TerminateInstances", "DeleteNetworkInterface", "DeleteVolume", "DeleteSecurityGroup"]

    def test_that_cannot_go_yet_keep_no_other_from_going(self, world: World) -> None:
        """A volume goes after its instance; until then, the state machine looks again."""
        stack = ended(world)
        group, stuck = security_group(world, OURS), volume(world, OURS)
        world.wire.answer("DeleteVolume", error="VolumeInUse")
        with pytest.raises(STILL_THERE, match=rf"volume {stuck} \(VolumeInUse\).*; 1 of them were deleted"):
            confirm_gone(world, stack)
        assert group not in KINDS["security-group"][1](world)

    def test_that_were_deleted_are_not_seen_though_they_are_still_listed(self, world: World) -> None:
        """The listing is an hour behind."""
        stack = ended(world)
        for kind, gone in (("volume", "vol-0123456789abcdef0"), ("instance", "i-0123456789abcdef0")):
            listed(world, kind, gone, OURS)
            assert confirm_gone(world, stack)["instances_left"] == 0

    def test_are_looked_for_on_every_page(self, world: World) -> None:
        stack = ended(world)
        volume(world, OURS)
        security_group(world, OURS)
        world.wire.small_pages()
        with pytest.raises(STILL_THERE, match="2 resources are left"):
            confirm_gone(world, stack)

    def test_that_go_already_are_waited_for_and_not_ended_again(self, world: World) -> None:
        stack = ended(world)
        going = {
            "InstanceId": "i-1",
            "State": {"Name": "shutting-down"},
            "InstanceType": "t3.micro",
            "ImageId": "ami-12c6146b",
            "LaunchTime": datetime(2026, 11, 24, tzinfo=UTC),
            "Tags": [{"Key": k, "Value": v} for k, v in OURS.items()],
        }
        world.wire.answer("DescribeInstances", Reservations=[{"Instances": [going]}])
        with pytest.raises(STILL_THERE, match="1 resources are left of it: instance i-1; 0 of them"):
            confirm_gone(world, stack)
        assert "TerminateInstances" not in world.wire.names()

    def test_without_a_path_in_their_name_are_deleted_by_their_name(self, world: World) -> None:
        stack = ended(world)
        parameter(world, OURS, "note")
        with pytest.raises(STILL_THERE, match="parameter note; 1 of them"):
            confirm_gone(world, stack)
        assert "note" not in KINDS["parameter"][1](world)


# ---- what is of another kind, or has no tags at all


def database_arn(name: str = "orders") -> str:
    return f"arn:aws:rds:{REGION}:{WORKLOAD_ACCOUNT}:db:{name}"


def list_by_tag(world: World, *arns: str, **more: str) -> None:
    """The tagging API lists these as the environment's."""
    labels = [{"Key": key, "Value": value} for key, value in (OURS | more).items()]
    listing = [{"ResourceARN": arn, "Tags": labels} for arn in arns]
    world.wire.answer("GetResources", ResourceTagMappingList=listing)


def was_in_the_stack(world: World, kind: str, physical: str, status: str = "DELETE_COMPLETE") -> None:
    """The deleted stack's list of resources shows it."""
    summary = blocker("It", kind, "", physical) | {"ResourceStatus": status}
    world.wire.answer("ListStackResources", StackResourceSummaries=[summary])


class TestWhatOnlyAStackCanDelete:
    def test_is_named_as_kept_where_its_stack_retained_it(self, world: World) -> None:
        stack = ended(world)
        list_by_tag(world, database_arn())
        was_in_the_stack(world, "AWS::RDS::DBInstance", "orders", "DELETE_SKIPPED")
        assert confirm_gone(world, stack)["kept"] == ["It (AWS::RDS::DBInstance orders): its stack retained it"]
        assert world.record()["history"][-1]["why"].startswith("kept: It (AWS::RDS::DBInstance orders)")

    @pytest.mark.parametrize(
        ("kind", "physical", "arn"),
        [
            ("AWS::RDS::DBInstance", "orders", database_arn()),
            ("AWS::SQS::Queue", "https://sqs.us-east-1.amazonaws.com/2/jobs", f"arn:aws:sqs:{REGION}:2:jobs"),
            ("AWS::EC2::VPC", "vpc-1", f"arn:aws:ec2:{REGION}:2:vpc/vpc-1"),
            ("AWS::DynamoDB::Table", "orders", f"arn:aws:dynamodb:{REGION}:2:table/orders"),
        ],
    )
    def test_is_gone_where_its_stack_deleted_it_though_it_is_still_listed(
        self, world: World, kind: str, physical: str, arn: str
    ) -> None:
        stack = ended(world)
        list_by_tag(world, arn)
        was_in_the_stack(world, kind, physical)
        assert confirm_gone(world, stack)["kept"] == []

    @pytest.mark.parametrize(
        ("stack_name", "kept"), [(STACK, False), (f"{STACK}-Network-1ABC", False), (f"{STACK}ping", True)]
    )
    def test_is_its_stack_s_by_cloudformation_s_mark_where_the_stack_calls_it_otherwise(
        self, world: World, stack_name: str, kept: bool
    ) -> None:
        """An elastic IP by its address; a part of a nested stack not at all. Both are listed for a while."""
        stack = ended(world)
        address = f"arn:aws:ec2:{REGION}:{WORKLOAD_ACCOUNT}:elastic-ip/eipalloc-0123456789abcdef0"
        list_by_tag(world, address, **{"aws:cloudformation:stack-name": stack_name})
        was_in_the_stack(world, "AWS::EC2::EIP", "203.0.113.7")
        assert confirm_gone(world, stack)["kept"] == ([address] if kept else [])

    def test_is_waited_for_a_while_and_named_then_where_its_stack_never_had_it(self, world: World) -> None:
        stack = ended(world)
        list_by_tag(world, database_arn("by-hand"))
        early = {"order": an_order(), "stack": stack, "now": LATER, "looks_left": 15}
        with pytest.raises(STILL_THERE, match=r"AWS still lists arn:aws:rds:.*:db:by-hand"):
            world.call("confirm_gone", early)
        assert world.call("confirm_gone", early | {"looks_left": 10})["kept"] == [database_arn("by-hand")]


class TestWhatAwsMakesBesideAStack:
    def logs(self, world: World, function: str, **tags: str) -> str:
        name = f"/aws/lambda/{function}"
        world.there("logs").create_log_group(logGroupName=name, tags=tags)
        was_in_the_stack(world, "AWS::Lambda::Function", function)
        return name

    def test_a_function_s_log_group_is_deleted(self, world: World) -> None:
        stack = ended(world)
        name = self.logs(world, f"{STACK}-Count-1ABC")
        assert confirm_gone(world, stack)["kept"] == []
        assert name not in KINDS["log-group"][1](world)

    def test_one_of_a_function_with_its_own_name_is_kept_and_named(self, world: World) -> None:
        stack = ended(world)
        name = self.logs(world, "count")
        assert confirm_gone(world, stack)["kept"] == [f"log group {name}: its function has a name of its own"]
        assert name in KINDS["log-group"][1](world)

    def test_one_that_is_protected_is_kept_and_named(self, world: World) -> None:
        stack = ended(world)
        name = self.logs(world, f"{STACK}-Count-1ABC", **{"mayfly:protected": "yes"})
        (said,) = confirm_gone(world, stack)["kept"]
        assert said.startswith(f"log group {name}: it is protected")

    def test_none_goes_while_the_kill_switch_is_on(self, world: World) -> None:
        stack = ended(world)
        name = self.logs(world, f"{STACK}-Count-1ABC")
        world.switch()
        with pytest.raises(kill_switch.KillSwitchOn):
            confirm_gone(world, stack)
        assert name in KINDS["log-group"][1](world)

    def test_a_database_s_final_snapshot_is_kept_and_named(self, world: World) -> None:
        stack = ended(world)
        rds = world.there("rds")
        sizes = {"DBInstanceClass": "db.t3.micro", "AllocatedStorage": 20}
        rds.create_db_instance(DBInstanceIdentifier="orders", Engine="mysql", MasterUsername="a", **sizes)
        rds.create_db_snapshot(DBSnapshotIdentifier="final", DBInstanceIdentifier="orders")
        was_in_the_stack(world, "AWS::RDS::DBInstance", "orders")
        assert confirm_gone(world, stack)["kept"] == ["snapshot final of It (AWS::RDS::DBInstance orders)"]

    def test_a_volume_s_snapshot_is_kept_and_named(self, world: World) -> None:
        stack = ended(world)
        made = volume(world, {"Name": "somebody's"})
        snapshot = world.there("ec2").create_snapshot(VolumeId=made)["SnapshotId"]
        was_in_the_stack(world, "AWS::EC2::Volume", made)
        assert confirm_gone(world, stack)["kept"] == [f"snapshot {snapshot} of It (AWS::EC2::Volume {made})"]


class TestAnInterfaceOfAFunction:
    """It carries no tags, and stays in a subnet of the environment's for up to 45 minutes."""

    def held(self, world: World) -> tuple[str, str]:
        """A subnet whose deletion fails, and the interface in it."""
        ec2 = world.there("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
        made = ec2.create_network_interface(SubnetId=subnet, Description="AWS Lambda VPC ENI-count")
        blocked(world, blocker("Subnet", "AWS::EC2::Subnet", "has dependencies", subnet))
        return subnet, str(made["NetworkInterface"]["NetworkInterfaceId"])

    def test_is_named_with_the_subnet_that_it_holds(self, world: World) -> None:
        subnet, interface = self.held(world)
        end(world)
        held = f"Subnet (AWS::EC2::Subnet {subnet}): has dependencies; held by {interface} (AWS Lambda VPC ENI-count)"
        assert held in said(world)["why"]

    def test_lets_the_last_deletion_keep_its_subnet(self, world: World) -> None:
        self.held(world)
        world.change(deletions=3)
        end(world)
        assert world.wire.heard("DeleteStack")[-1]["RetainResources"] == ["Subnet"]

    def test_that_is_gone_by_then_lets_its_subnet_go_too(self, world: World) -> None:
        _, interface = self.held(world)
        world.there("ec2").delete_network_interface(NetworkInterfaceId=interface)
        world.change(deletions=3)
        end(world)
        assert "RetainResources" not in world.wire.heard("DeleteStack")[-1]
