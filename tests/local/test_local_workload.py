"""The workload account: stacks take their time, say so, and fail as on AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_toys import BUS_ARN, SOMEBODY, Toys, eventually

from local.cloud import LocalCloud
from tests.blueprint import template

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def heard(cloud: LocalCloud, toys: Toys) -> Any:
    """The status events of stacks that reach the bus `mayfly`, by way of a rule in the workload account."""
    queue, queue_arn = toys.queue()
    events, forward = cloud.client("events"), cloud.workload_client("events")
    if "mayfly" not in [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]:
        events.create_event_bus(Name="mayfly")
    listen = toys.name("listen")
    events.put_rule(Name=listen, EventBusName="mayfly", EventPattern=json.dumps({"source": ["aws.cloudformation"]}))
    events.put_targets(Rule=listen, EventBusName="mayfly", Targets=[{"Id": "queue", "Arn": queue_arn}])
    pattern = {"source": ["aws.cloudformation"], "detail-type": ["CloudFormation Stack Status Change"]}
    forward.put_rule(Name="forward", EventPattern=json.dumps(pattern))
    forward.put_targets(Rule="forward", Targets=[{"Id": "bus", "Arn": BUS_ARN}])
    collected: list[dict[str, Any]] = []

    def statuses(stack: str) -> list[str]:
        collected.extend(toys.messages(queue))
        mine = [event for event in collected if event["detail"]["stack-id"] == stack]
        statuses.events = mine  # type: ignore[attr-defined]
        return [event["detail"]["status-details"]["status"] for event in mine]

    yield statuses
    forward.remove_targets(Rule="forward", Ids=["bus"])
    events.remove_targets(Rule=listen, EventBusName="mayfly", Ids=["queue"])
    events.delete_rule(Name=listen, EventBusName="mayfly")


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    error = refused.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


def test_a_stack_is_in_progress_while_its_instances_boot_and_says_so_by_events(
    heard: Any, cloud: LocalCloud, toys: Toys
) -> None:
    stack, environment = toys.broken_stack(size=3, effect="slow")  # until the faults are cleared
    assert toys.described(stack)["StackStatus"] == "CREATE_IN_PROGRESS"
    assert "Outputs" not in toys.described(stack)
    states = eventually(lambda: toys.states_of(environment))
    assert "pending" in states
    assert set(states) <= {"pending", "running"}
    cloud.clear_faults()
    complete = toys.stack_becomes(stack, "CREATE_COMPLETE")
    assert complete["Outputs"][0]["OutputKey"] == "NetworkId"
    assert toys.states_of(environment) == ["running"] * 3
    eventually(lambda: heard(stack) == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"])
    event = heard.events[1]
    assert (event["account"], event["source"], event["resources"]) == ("222222222222", "aws.cloudformation", [stack])
    assert event["detail"]["client-request-token"] == environment


def test_a_request_for_a_stack_that_is_made_again_makes_none_when_its_stack_is_gone(
    cloud: LocalCloud, toys: Toys
) -> None:
    stack, environment = toys.stack()
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    cloud.workload_client("cloudformation").delete_stack(StackName=stack)
    toys.stack_becomes(stack, "DELETE_COMPLETE")
    with pytest.raises(ClientError, match="TokenAlreadyExistsException"):
        toys.stack(environment)  # as a client asks that has heard no answer
    another, _ = toys.stack(environment, ClientRequestToken="another")
    assert another != stack
    toys.stack_becomes(another, "CREATE_COMPLETE")


def test_a_deleted_stack_takes_its_instances_along(heard: Any, cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.stack()
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    cloud.fault("workload", stack="delete", environment=environment, effect="slow")
    cloudformation = cloud.workload_client("cloudformation")
    cloudformation.delete_stack(StackName=stack, ClientRequestToken="gone")
    assert toys.described(stack)["StackStatus"] == "DELETE_IN_PROGRESS"
    assert toys.states_of(environment) == ["shutting-down"] * 2
    cloud.clear_faults()
    toys.stack_becomes(stack, "DELETE_COMPLETE")
    assert toys.states_of(environment) == ["terminated"] * 2
    code, message = refusal(cloudformation.describe_stacks, StackName=f"mayfly-{environment}")
    assert (code, message) == ("ValidationError", f"Stack with id mayfly-{environment} does not exist")
    eventually(lambda: heard(stack)[2:] == ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"])
    assert heard.events[-1]["detail"]["client-request-token"] == "gone"
    cloudformation.delete_stack(StackName=stack)
    cloudformation.delete_stack(StackName="never-existed")


def test_without_a_rule_in_the_workload_account_nothing_is_heard(heard: Any, cloud: LocalCloud, toys: Toys) -> None:
    cloud.workload_client("events").remove_targets(Rule="forward", Ids=["bus"])
    stack, _ = toys.stack()
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    assert heard(stack) == []


def test_deleting_a_stack_that_is_still_being_created_wins(cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.broken_stack(effect="slow")
    cloud.workload_client("cloudformation").delete_stack(StackName=stack)
    toys.stack_becomes(stack, "DELETE_COMPLETE")
    assert set(toys.states_of(environment)) <= {"terminated"}


def test_tags_reach_the_group_its_instances_and_their_volumes(cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.stack(instances=1)
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    [instance] = toys.instances(environment)
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags["mayfly:application"] == "shop"
    assert tags["aws:cloudformation:stack-id"] == stack
    wanted = [{"Name": "tag:mayfly:environment", "Values": [environment]}]
    assert len(cloud.workload_client("ec2").describe_volumes(Filters=wanted)["Volumes"]) == 1
    groups = cloud.workload_client("autoscaling").describe_auto_scaling_groups(Filters=wanted)["AutoScalingGroups"]
    assert [group["DesiredCapacity"] for group in groups] == [1]


def test_a_next_page_of_what_is_tagged_is_found_whatever_was_launched_since(cloud: LocalCloud, toys: Toys) -> None:
    toys.stack_becomes(toys.stack()[0], "CREATE_COMPLETE")
    tagging = cloud.workload_client("resourcegroupstaggingapi")

    def page(**of: Any) -> tuple[str, str]:
        answer = tagging.get_resources(ResourceTypeFilters=["ec2:instance"], ResourcesPerPage=1, **of)
        return answer["ResourceTagMappingList"][0]["ResourceARN"], answer["PaginationToken"]

    first, token = page()
    toys.stack_becomes(toys.stack()[0], "CREATE_COMPLETE")
    second, _ = page(PaginationToken=token)
    assert second > first
    assert page(PaginationToken=token)[0] >= first  # a repeated request is answered, too


def test_an_instance_that_never_signals_fails_the_stack_as_on_aws(heard: Any, cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.broken_stack(size=5, effect="instances_never_signal", instances=2)
    failed = toys.stack_becomes(stack, "CREATE_FAILED")
    assert failed["StackStatusReason"] == "The following resource(s) failed to create: [Fleet]. "
    events = cloud.workload_client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    reasons = {
        event["LogicalResourceId"]: event["ResourceStatusReason"] for event in events if "ResourceStatusReason" in event
    }
    assert reasons["Fleet"].startswith("Received 3 SUCCESS signal(s) out of 5.  Unable to satisfy 100%")
    assert toys.states_of(environment) == ["running"] * 5
    eventually(lambda: heard(stack) == ["CREATE_IN_PROGRESS", "CREATE_FAILED"])


def test_missing_capacity_shows_in_the_scaling_activities(cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.broken_stack(size=3, effect="insufficient_capacity", instances=1)
    toys.stack_becomes(stack, "CREATE_FAILED")
    assert toys.states_of(environment) == ["running"] * 2
    autoscaling = cloud.workload_client("autoscaling")
    wanted = [{"Name": "tag:mayfly:environment", "Values": [environment]}]
    [group] = autoscaling.describe_auto_scaling_groups(Filters=wanted)["AutoScalingGroups"]
    [activity] = autoscaling.describe_scaling_activities(AutoScalingGroupName=group["AutoScalingGroupName"])[
        "Activities"
    ]
    assert activity["StatusCode"] == "Failed"
    assert "do not have sufficient m5.large capacity" in activity["StatusMessage"]
    cloud.workload_client("cloudformation").delete_stack(StackName=stack)
    toys.stack_becomes(stack, "DELETE_COMPLETE")


@pytest.mark.parametrize(
    ("on_failure", "said"),
    [
        ("ROLLBACK", ["ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"]),
        ("DELETE", ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]),
    ],
)
def test_on_failure_decides_what_happens_next(heard: Any, toys: Toys, on_failure: str, said: list[str]) -> None:
    stack, environment = toys.broken_stack(options={"OnFailure": on_failure}, effect="fail", reason="no quota")
    toys.stack_becomes(stack, said[-1])
    eventually(lambda: heard(stack) == ["CREATE_IN_PROGRESS", *said])
    assert set(toys.states_of(environment)) <= {"terminated"}


def test_a_template_that_cannot_be_made_fails_with_the_real_reason(toys: Toys, cloud: LocalCloud) -> None:
    broken = {
        "Resources": {
            "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": "vpc-none", "CidrBlock": "10.0.0.0/24"}}
        }
    }
    stack, _ = toys.stack(TemplateBody=json.dumps(broken), Parameters=[])
    toys.stack_becomes(stack, "CREATE_FAILED")
    events = cloud.workload_client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    assert any("vpc-none" in event.get("ResourceStatusReason", "") for event in events)


def test_a_stack_can_run_out_of_time(cloud: LocalCloud, toys: Toys) -> None:
    stack, _ = toys.broken_stack(options={"TimeoutInMinutes": 30}, effect="slow")
    assert toys.described(stack)["TimeoutInMinutes"] == 30
    cloud.advance(31 * 60)
    toys.stack_becomes(stack, "CREATE_FAILED")


def test_a_resource_that_stays_makes_the_deletion_fail_until_it_is_tried_again(cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.stack()
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    stays = {"effect": "delete_failed", "resource": "Subnet", "reason": "has dependencies"}
    cloud.fault("workload", stack="delete", environment=environment, times=1, **stays)
    cloudformation = cloud.workload_client("cloudformation")
    cloudformation.delete_stack(StackName=stack)
    failed = toys.stack_becomes(stack, "DELETE_FAILED")
    assert failed["StackStatusReason"] == "The following resource(s) failed to delete: [Subnet]. "
    cloudformation.delete_stack(StackName=stack)
    toys.stack_becomes(stack, "DELETE_COMPLETE")


def test_termination_protection_is_enforced(cloud: LocalCloud, toys: Toys) -> None:
    stack, environment = toys.stack(EnableTerminationProtection=True)
    cloudformation = cloud.workload_client("cloudformation")
    code, message = refusal(cloudformation.delete_stack, StackName=stack)
    assert code == "ValidationError"
    assert message == f"Stack [mayfly-{environment}] cannot be deleted while TerminationProtection is enabled"
    cloudformation.update_termination_protection(StackName=stack, EnableTerminationProtection=False)
    cloudformation.delete_stack(StackName=stack)
    toys.stack_becomes(stack, "DELETE_COMPLETE")


def test_a_name_that_is_taken_is_refused(cloud: LocalCloud, toys: Toys) -> None:
    _, environment = toys.stack()
    code, _ = refusal(
        cloud.workload_client("cloudformation").create_stack,
        StackName=f"mayfly-{environment}",
        TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}',
        ClientRequestToken=environment,
    )
    assert code == "AlreadyExistsException"


def test_status_events_get_lost_doubled_and_late(heard: Any, cloud: LocalCloud, toys: Toys) -> None:
    mine = {"environment": (environment := toys.name("shop")), "times": 1}
    cloud.fault("workload", event="CREATE_IN_PROGRESS", effect="lose", **mine)
    cloud.fault("workload", event="CREATE_COMPLETE", effect="duplicate", **mine)
    cloud.fault("workload", event="DELETE_IN_PROGRESS", effect="delay", seconds=10, **mine)
    stack, _ = toys.stack(environment)
    eventually(lambda: heard(stack) == ["CREATE_COMPLETE"] * 2)
    cloud.workload_client("cloudformation").delete_stack(StackName=stack)
    eventually(lambda: heard(stack)[2:] == ["DELETE_COMPLETE", "DELETE_IN_PROGRESS"])


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("cloudformation", "describe_stacks"),
        ("ec2", "describe_instances"),
        ("autoscaling", "describe_auto_scaling_groups"),
        ("ssm", "describe_parameters"),
    ],
)
def test_faults_of_calls_speak_each_services_language(cloud: LocalCloud, service: str, call: str) -> None:
    cloud.fault("workload", action=f"{service}:Describe*", error="SomethingOdd", message="as told <&>", times=1)
    getattr(cloud.workload_client(service), call)()  # an administrator looks at what the fault does to others
    client = cloud.workload_client(service, **SOMEBODY)
    assert refusal(getattr(client, call)) == ("SomethingOdd", "as told <&>")
    getattr(client, call)()


def test_a_group_whose_launch_template_is_gone_launches_nothing_and_says_so(cloud: LocalCloud, toys: Toys) -> None:
    stack, _ = toys.stack()
    eventually(lambda: toys.described(stack)["StackStatus"] == "CREATE_COMPLETE")
    ec2, autoscaling = cloud.workload_client("ec2"), cloud.workload_client("autoscaling")
    parts = cloud.workload_client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    named = {part["LogicalResourceId"]: part["PhysicalResourceId"] for part in parts}
    ec2.delete_launch_template(LaunchTemplateId=named["Template"])
    [group] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[named["Fleet"]])["AutoScalingGroups"]
    ec2.terminate_instances(InstanceIds=[group["Instances"][0]["InstanceId"]])
    [group] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[named["Fleet"]])["AutoScalingGroups"]
    assert len(group["Instances"]) == 1
    latest = autoscaling.describe_scaling_activities(AutoScalingGroupName=named["Fleet"])["Activities"][0]
    assert latest["StatusMessage"] == f"The launch template {named['Template']} does not exist."


def test_a_call_can_fail_after_it_has_had_its_effect(cloud: LocalCloud, toys: Toys) -> None:
    environment = toys.name("shop")
    cloud.fault("workload", action="CreateStack", error="Odd", when="after", times=1)
    with pytest.raises(ClientError, match="Odd"):
        toys.stack(environment)
    assert toys.described(f"mayfly-{environment}")["StackStatus"].startswith("CREATE_")


def test_the_ledger_knows_for_which_environment_a_call_was_made(cloud: LocalCloud) -> None:
    allowed = {"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*"}
    trusted = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    iam = cloud.workload_client("iam")
    iam.create_role(
        RoleName="looks", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    )
    iam.put_role_policy(
        RoleName="looks",
        PolicyName="look",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    cloud.reset_ledger()
    role = {"RoleArn": "arn:aws:iam::222222222222:role/looks", "RoleSessionName": "shop-1-smoke"}
    given = cloud.workload_client("sts").assume_role(**role)["Credentials"]
    credentials = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    cloud.fault("workload", action="DescribeVpcs", environment="shop-1-*", error="Odd", times=1)
    cloud.workload_client("ec2").describe_vpcs()
    assumed = cloud.workload_client("ec2", **credentials)
    assert refusal(assumed.describe_vpcs)[0] == "Odd"
    assumed.describe_vpcs()
    calls = [(call["action"], call["environment"], call["error"]) for call in cloud.ledger()["calls"]]
    assert calls == [
        ("AssumeRole", None, None),
        ("DescribeVpcs", None, None),
        ("DescribeVpcs", "shop-1-smoke", "Odd"),
        ("DescribeVpcs", "shop-1-smoke", None),
    ]


def test_creation_times_follow_the_virtual_clock_and_the_fleet_is_counted(cloud: LocalCloud, toys: Toys) -> None:
    cloud.advance(3600)
    stack, environment = toys.stack(instances=2)
    assert abs((toys.described(stack)["CreationTime"] - cloud.now()).total_seconds()) < 10
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    assert cloud.fleet()[environment] == {"running": 2}
    assert cloud.settings(boot_seconds=0.5)["delete_seconds"] == 0.3
    cloud.settings(boot_seconds=0.4)


def test_a_group_says_why_it_takes_an_instance_out_and_replaces_it(cloud: LocalCloud, toys: Toys) -> None:
    """The blueprint's rule lets through what failed, and not what goes with its group."""
    queue, queue_arn = toys.queue()
    events, forward = cloud.client("events"), cloud.workload_client("events")
    bus, listen = toys.name("bus"), toys.name("losses")
    arn = events.create_event_bus(Name=bus)["EventBusArn"]
    every = json.dumps({"source": ["aws.autoscaling"], "detail-type": ["EC2 Instance Terminate Successful"]})
    events.put_rule(Name=listen, EventBusName=bus, EventPattern=every)
    events.put_targets(Rule=listen, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue_arn}])
    forward.put_rule(Name=listen, EventPattern=every)
    forward.put_targets(Rule=listen, Targets=[{"Id": "bus", "Arn": arn}])
    stack, environment = toys.stack(instances=3)
    toys.stack_becomes(stack, "CREATE_COMPLETE")
    lost = toys.instances(environment)[0]["InstanceId"]
    cloud.workload_client("ec2").terminate_instances(InstanceIds=[lost])
    eventually(lambda: toys.states_of(environment).count("running") == 3)
    cloud.workload_client("cloudformation").delete_stack(StackName=stack)
    toys.stack_becomes(stack, "DELETE_COMPLETE")
    said: list[dict[str, Any]] = []

    def four() -> bool:
        said.extend(toys.messages(queue))
        return len(said) == 4

    eventually(four)
    region = template(ROOT / "blueprints" / "workload-region.yaml")
    pattern = json.dumps(region["Resources"]["LossEvents"]["Properties"]["EventPattern"])
    passed = [
        one["detail"]
        for one in said
        if events.test_event_pattern(EventPattern=pattern, Event=json.dumps(one))["Result"]
    ]
    [detail] = passed
    assert detail["EC2InstanceId"] == lost
    assert detail["Cause"].endswith("an EC2 health check indicating it has been terminated or stopped.")
    forward.remove_targets(Rule=listen, Ids=["bus"])
    forward.delete_rule(Name=listen)
