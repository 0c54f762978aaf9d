"""Stacks that are updated, protected, and compared to their template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_toys import SERVICE, TEMPLATE, Toys, ToyService, eventually

from local.cloud import WORKLOAD_ACCOUNT, LocalCloud


@pytest.fixture
def service(cloud: LocalCloud, toys: Toys) -> Iterator[ToyService]:
    with cloud.hurry(60):
        service = toys.service()
        yield service
        cloud.clear_faults()
        service.gone()


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    error = refused.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


def statuses(service: ToyService) -> list[str]:
    """The stack's own statuses, the oldest first."""
    events = service.cloudformation.describe_stack_events(StackName=service.stack)["StackEvents"]
    own = [event for event in events if event["PhysicalResourceId"] == service.stack]
    return [event["ResourceStatus"] for event in sorted(own, key=lambda event: event["Timestamp"])]


def instances(service: ToyService) -> set[str]:
    return {one["InstanceId"] for one in service.group()["Instances"]}


def hold_update(cloud: LocalCloud, service: ToyService) -> None:
    """The stack's next update goes on until the faults are cleared, however long the test takes."""
    cloud.fault("workload", stack="update", environment=service.environment, effect="slow")


def test_a_new_code_version_makes_one_more_version_of_the_same_launch_template(
    cloud: LocalCloud, service: ToyService
) -> None:
    template, before = service.output("LaunchTemplateId"), instances(service)
    hold_update(cloud, service)
    service.begin_update(CodeVersion="2.0")
    assert service.toys.described(service.stack)["StackStatus"] == "UPDATE_IN_PROGRESS"
    assert service.output("LatestLaunchTemplateVersion") == "1"
    cloud.clear_faults()
    described = service.toys.stack_becomes(service.stack, "UPDATE_COMPLETE")
    assert service.output("LaunchTemplateId") == template
    assert service.output("LatestLaunchTemplateVersion") == "2"
    assert {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}["CodeVersion"] == "2.0"
    assert described["LastUpdatedTime"] > described["CreationTime"]
    versions = service.cloud.workload_client("ec2").describe_launch_template_versions(LaunchTemplateId=template)
    assert [one["VersionNumber"] for one in versions["LaunchTemplateVersions"]] == [1, 2]
    assert service.group()["LaunchTemplate"]["Version"] == "1"
    assert instances(service) == before
    assert statuses(service)[2:] == ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]


def test_a_group_that_is_pinned_to_another_version_keeps_its_instances(service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    before = instances(service)
    service.update(LaunchTemplateVersion=2)
    assert service.group()["LaunchTemplate"]["Version"] == "2"
    assert instances(service) == before
    assert service.versions() == ["1"] * 3


def test_a_larger_group_launches_what_is_missing_from_the_version_that_it_is_pinned_to(service: ToyService) -> None:
    service.update(InstanceCount=5)
    eventually(lambda: service.targets() == {"healthy": 5})
    assert sorted(service.zones()) == ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1b", "us-east-1c"]
    service.update(InstanceCount=3)
    eventually(lambda: service.targets() == {"healthy": 3})


def test_a_change_set_takes_over_lists_however_often(cloud: LocalCloud) -> None:
    """As `aws cloudformation deploy` does, with the parameters of before."""
    cloudformation, name = cloud.workload_client("cloudformation"), "with-a-list"
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Fn::Join": ["-", {"Ref": "Names"}]}}}
    parameters = {"Names": {"Type": "CommaDelimitedList", "Default": "one,two"}, "Count": {"Type": "String"}}
    body = json.dumps({"Parameters": parameters, "Resources": {"Topic": topic}})
    for number in range(3):
        before = [{"ParameterKey": "Names", "UsePreviousValue": True}] if number else []
        change = {"StackName": name, "ChangeSetName": f"change-{number}"}
        cloudformation.create_change_set(
            TemplateBody=body,
            Parameters=[*before, {"ParameterKey": "Count", "ParameterValue": str(number)}],
            ChangeSetType="UPDATE" if number else "CREATE",
            **change,
        )
        cloudformation.execute_change_set(**change)
    assert "COMPLETE" in cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    assert not cloud.crashes()
    cloudformation.delete_stack(StackName=name)


def test_an_update_without_a_change_is_refused(service: ToyService) -> None:
    assert refusal(service.begin_update) == ("ValidationError", "No updates are to be performed.")
    assert refusal(service.begin_update, CodeVersion="1.0") == ("ValidationError", "No updates are to be performed.")


def test_an_update_of_a_stack_that_is_being_updated_is_refused(cloud: LocalCloud, service: ToyService) -> None:
    hold_update(cloud, service)
    service.begin_update(CodeVersion="2.0")
    code, message = refusal(service.begin_update, CodeVersion="3.0")
    assert code == "ValidationError"
    assert message == f"Stack:{service.stack} is in UPDATE_IN_PROGRESS state and can not be updated."
    cloud.clear_faults()
    service.toys.stack_becomes(service.stack, "UPDATE_COMPLETE")


def test_a_value_is_held_to_the_pattern_of_its_parameter(toys: Toys) -> None:
    kind = {"Type": "String", "Default": "m5.large", "AllowedPattern": "[a-z0-9.]+(,[a-z0-9.]+)?"}
    body = json.loads(TEMPLATE)
    body["Parameters"] |= {"Kind": kind, "Said": kind | {"ConstraintDescription": "one or two types"}}
    for name, why in (
        ("Kind", "Parameter 'Kind' must match pattern [a-z0-9.]+(,[a-z0-9.]+)?"),
        ("Said", "Parameter Said failed to satisfy constraint: one or two types"),
    ):
        given = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in (("EnvironmentId", "x"), (name, "a,b,c"))
        ]
        said = refusal(toys.stack, TemplateBody=json.dumps(body), Parameters=given)
        assert said == ("ValidationError", why)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "Parameters: [EnvironmentId] must have values"),
        ([{"ParameterKey": "Colour", "ParameterValue": "red"}], "Parameters: [Colour] do not exist in the template"),
    ],
)
def test_parameters_are_checked(service: ToyService, parameters: list[Any], message: str) -> None:
    arguments = {"StackName": service.stack, "TemplateBody": SERVICE, "Parameters": parameters}
    assert refusal(service.cloudformation.update_stack, **arguments) == ("ValidationError", message)


def test_a_failed_update_is_rolled_back(cloud: LocalCloud, service: ToyService) -> None:
    cloud.fault("workload", stack="update", environment=service.environment, effect="fail", resource="Fleet", times=1)
    service.begin_update(CodeVersion="2.0", InstanceCount=4)
    described = service.toys.stack_becomes(service.stack, "UPDATE_ROLLBACK_COMPLETE")
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}
    assert (parameters["CodeVersion"], parameters["InstanceCount"]) == ("1.0", "3")
    assert service.group()["DesiredCapacity"] == 3
    assert statuses(service)[2:] == [
        "UPDATE_IN_PROGRESS",
        "UPDATE_ROLLBACK_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE",
    ]
    ec2, template = cloud.workload_client("ec2"), service.output("LaunchTemplateId")
    found = ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"]
    contents = [one["LaunchTemplateData"]["UserData"] for one in sorted(found, key=lambda one: one["VersionNumber"])]
    assert contents[0] == contents[-1] != contents[1]  # one more version, with the old content
    service.update(CodeVersion="2.0")


def test_a_version_is_made_by_the_role_that_its_stack_was_given_last(service: ToyService) -> None:
    """Roles bear the name of the installation: who takes CloudFormation for somebody else is seen here."""

    def update(version: str, **how: str) -> None:
        names = [one["ParameterKey"] for one in service.toys.described(service.stack)["Parameters"]]
        kept = [{"ParameterKey": name, "UsePreviousValue": True} for name in names if name != "CodeVersion"]
        changed = [*kept, {"ParameterKey": "CodeVersion", "ParameterValue": version}]
        service.cloudformation.update_stack(
            StackName=service.stack, UsePreviousTemplate=True, Parameters=changed, **how
        )
        service.toys.stack_becomes(service.stack, "UPDATE_COMPLETE")

    update("2.0", RoleARN=f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/two-cloudformation-services")
    update("3.0")
    ec2, template = service.cloud.workload_client("ec2"), service.output("LaunchTemplateId")
    found = ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"]
    role = f"arn:aws:sts::{WORKLOAD_ACCOUNT}:assumed-role/two-cloudformation-services/AWSCloudFormation"
    makers = {one["VersionNumber"]: one["CreatedBy"] for one in found}
    assert makers == {1: f"arn:aws:iam::{WORKLOAD_ACCOUNT}:root", 2: role, 3: role}


def test_a_protected_stack_is_not_deleted(service: ToyService) -> None:
    service.cloudformation.update_termination_protection(StackName=service.stack, EnableTerminationProtection=True)
    code, message = refusal(service.cloudformation.delete_stack, StackName=service.stack)
    assert code == "ValidationError"
    assert "TerminationProtection is enabled" in message
    assert service.toys.described(service.stack)["StackStatus"] == "CREATE_COMPLETE"
    service.cloudformation.update_termination_protection(StackName=service.stack, EnableTerminationProtection=False)


# ---- drift ---------------------------------------------------------------------------------------------


def drifts(service: ToyService) -> dict[str, list[str]]:
    """What differs, by resource."""
    detection = service.cloudformation.detect_stack_drift(StackName=service.stack)["StackDriftDetectionId"]
    status = service.cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    found = service.cloudformation.describe_stack_resource_drifts(
        StackName=service.stack, StackResourceDriftStatusFilters=["MODIFIED", "DELETED"]
    )["StackResourceDrifts"]
    assert status["DetectionStatus"] == "DETECTION_COMPLETE"
    assert status["StackDriftStatus"] == ("DRIFTED" if found else "IN_SYNC")
    assert status["DriftedStackResourceCount"] == len(found)
    return {
        one["LogicalResourceId"]: [difference["PropertyPath"] for difference in one.get("PropertyDifferences", [])]
        for one in found
    }


def test_what_nobody_has_touched_has_not_drifted(service: ToyService) -> None:
    assert drifts(service) == {}
    service.update(CodeVersion="2.0", LaunchTemplateVersion=2)
    assert drifts(service) == {}
    every = service.cloudformation.describe_stack_resource_drifts(StackName=service.stack)["StackResourceDrifts"]
    checked = {one["LogicalResourceId"] for one in every if one["StackResourceDriftStatus"] == "IN_SYNC"}
    assert checked == {"Access", "TargetGroup", "Template", "Fleet", "Errors", "Unhealthy"}


def test_changes_by_hand_are_drift(service: ToyService) -> None:
    ec2, resource = service.cloud.workload_client("ec2"), service.cloudformation.describe_stack_resource
    physical = {
        name: resource(StackName=service.stack, LogicalResourceId=name)["StackResourceDetail"]["PhysicalResourceId"]
        for name in ("Access", "TargetGroup", "Template", "Errors")
    }
    service.autoscaling.update_auto_scaling_group(AutoScalingGroupName=service.name, HealthCheckGracePeriod=7)
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=physical["Access"], IpPermissions=[permission])
    data = {"ImageId": "ami-12c6146b", "InstanceType": "m5.4xlarge"}
    ec2.create_launch_template_version(LaunchTemplateId=physical["Template"], LaunchTemplateData=data)
    service.cloud.workload_client("elbv2").modify_target_group(
        TargetGroupArn=physical["TargetGroup"], HealthCheckPath="/other"
    )
    service.cloud.workload_client("cloudwatch").delete_alarms(AlarmNames=[physical["Errors"]])
    found = drifts(service)
    assert found["Fleet"] == ["/HealthCheckGracePeriod"]
    assert all(path.startswith("/SecurityGroupIngress/1") for path in found["Access"])
    assert "/LaunchTemplateData/InstanceType" in found["Template"]
    assert found["TargetGroup"] == ["/HealthCheckPath"]
    assert found["Errors"] == []
    assert set(found) == {"Fleet", "Access", "Template", "TargetGroup", "Errors"}


def test_one_resource_is_compared_at_once(service: ToyService) -> None:
    service.autoscaling.update_auto_scaling_group(AutoScalingGroupName=service.name, MaxSize=9)
    drift = service.cloudformation.detect_stack_resource_drift(StackName=service.stack, LogicalResourceId="Fleet")
    [difference] = drift["StackResourceDrift"]["PropertyDifferences"]
    assert difference == {
        "PropertyPath": "/MaxSize",
        "ExpectedValue": "3",
        "ActualValue": "9",
        "DifferenceType": "NOT_EQUAL",
    }
