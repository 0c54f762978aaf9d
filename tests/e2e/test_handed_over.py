"""Teardowns that others got wrong, on the whole installation: what outlives a stack, and what keeps one standing."""

from datetime import timedelta
from typing import Any

import pytest

from local.install import ROOT, upload_blueprint
from mayfly.domain.identity import stack_name
from mayfly.domain.timestamp import utc_text
from tests.e2e.driver import Driver
from tests.e2e.test_reaping import decided, gone, sweep

pytestmark = pytest.mark.usefixtures("no_images")

BLUEPRINTS = ROOT / "tests" / "blueprints"


def instances(mayfly: Driver, environment: str) -> list[Any]:
    """Every instance that ever carried an environment's tag, terminated ones too."""
    by_tag = [{"Name": "tag:mayfly:environment", "Values": [environment]}]
    pages = mayfly.cloud.workload_client("ec2").get_paginator("describe_instances").paginate(Filters=by_tag)
    return [one for page in pages for each in page["Reservations"] for one in each["Instances"]]


def test_a_retained_group_is_deleted_before_its_instances_and_launches_none_again(mayfly: Driver) -> None:
    upload_blueprint(mayfly.cloud, mayfly.outputs, BLUEPRINTS / "retained_group.yaml")
    environment = mayfly.begin(mayfly.application(blueprint="retained_group.yaml"))
    before = {one["InstanceId"] for one in instances(mayfly, environment)}
    assert len(before) == 2
    mayfly.finish(environment)
    gone(mayfly, environment)
    assert {one["InstanceId"] for one in instances(mayfly, environment)} == before
    groups = mayfly.cloud.workload_client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert not [one for one in groups if environment in str(one["Tags"])]
    assert mayfly.calls(environment)["DeleteAutoScalingGroup"] == 1
    assert mayfly.calls(environment)["TerminateInstances"] == 0
    assert mayfly.end(environment)["status"] == "SUCCEEDED"


def test_nested_stacks_are_no_environments_of_their_own_and_alarm_nobody(mayfly: Driver) -> None:
    for file in (BLUEPRINTS / "foreign").glob("nested*.yaml"):
        upload_blueprint(mayfly.cloud, mayfly.outputs, file)
    parts = f"{mayfly.cloud.controller_url}/{mayfly.outputs['BlueprintsBucket']}"
    environment = mayfly.begin(mayfly.application(blueprint="nested.yaml", parameters={"Parts": parts}))
    own = stack_name(environment)
    stacks = mayfly.cloud.workload_client("cloudformation").describe_stacks()["Stacks"]
    (above,) = [one["StackId"] for one in stacks if one["StackName"] == own]
    assert [one["ParentId"] for one in stacks if one["StackName"].startswith(f"{own}-")] == [above, above]
    past = timedelta(hours=25)  # every deadline; of what a sweep keeps, its answer says nothing
    for later, expected in ((timedelta(), []), (past, [environment])):
        report = sweep(mayfly, now=utc_text(mayfly.cloud.now() + later), dry_run=True)
        mine = [one["environment"] for one in report["decisions"] if one["environment"].startswith(environment)]
        assert (mine, report["counts"]["refuse"]) == (expected, 0)
    mayfly.finish(environment)
    gone(mayfly, environment)


def test_an_instance_that_ec2_protects_is_left_named_and_handed_over_once(mayfly: Driver) -> None:
    environment = mayfly.begin(mayfly.application())
    ec2: Any = mayfly.cloud.workload_client("ec2")
    [instance] = [one["InstanceId"] for one in instances(mayfly, environment)]
    ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": True})
    mayfly.finish(environment)
    execution = mayfly.end(environment)
    assert (execution["status"], execution["error"]) == ("FAILED", "HandedOver")
    assert f"instance {instance} (OperationNotPermitted)" in execution["cause"]
    assert mayfly.instances_left(environment) == 1
    assert mayfly.calls(environment)["DeleteStack"] == 4
    said = mayfly.announcement("Environment Failed", environment)
    assert instance in said["reason"]
    assert "errorMessage" not in said["reason"]
    blocked = [why for what, why in mayfly.history(mayfly.record(environment)) if "what blocks" in what]
    assert all("may not be terminated. Modify its 'disableApiTermination'" in why for why in blocked)
    for _ in range(2):
        mayfly.cloud.advance(3600)
        action, reason = decided(sweep(mayfly), environment)
        assert (action, instance in reason) == ("refuse", True)
    assert mayfly.calls(environment)["DeleteStack"] == 4
    assert mayfly.announced(environment).count("Environment Failed") == 1
    # A person lifts the protection and has it ended once more.
    ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
    asked = {"environment": environment, "again": True, "why": "unprotected", "requested_by": "tester"}
    mayfly.say("Environment Termination Requested", [asked])
    gone(mayfly, environment)


def test_a_service_role_that_cannot_be_assumed_is_told_in_a_sentence(mayfly: Driver) -> None:
    environment = mayfly.begin(mayfly.application())
    said = "Role arn:aws:iam::222222222222:role/mayfly-cloudformation is invalid or cannot be assumed"
    mayfly.cloud.fault("workload", action="DeleteStack", environment=environment, error="ValidationError", message=said)
    mayfly.finish(environment)
    execution = mayfly.end(environment)
    assert (execution["status"], execution["error"]) == ("FAILED", "HandedOver")
    reason = mayfly.announcement("Environment Failed", environment)["reason"]
    for told in (execution["cause"], reason):
        assert said in told
        assert not [mark for mark in ("{", "errorMessage", "stackTrace") if mark in told]
    assert decided(sweep(mayfly), environment)[0] == "refuse"
    # A person mends the role and has it ended once more.
    mayfly.cloud.clear_faults()
    asked = {"environment": environment, "again": True, "why": "the role is back", "requested_by": "tester"}
    mayfly.say("Environment Termination Requested", [asked])
    gone(mayfly, environment)


def test_a_rule_of_its_vpc_s_default_group_does_not_keep_an_environment(mayfly: Driver) -> None:
    environment = mayfly.begin(mayfly.application(blueprint="fleet.yaml"))
    ec2: Any = mayfly.cloud.workload_client("ec2")
    by_tag = [{"Name": "tag:mayfly:environment", "Values": [environment]}]
    own = ec2.describe_security_groups(Filters=by_tag)["SecurityGroups"][0]
    by_name = [{"Name": "vpc-id", "Values": [own["VpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
    [default] = [one["GroupId"] for one in ec2.describe_security_groups(Filters=by_name)["SecurityGroups"]]
    pair = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": own["GroupId"]}]}
    ec2.authorize_security_group_ingress(GroupId=default, IpPermissions=[pair])
    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    said = [why for what, why in mayfly.history(mayfly.record(environment)) if "what blocks" in what]
    assert f"cut the reference of {default} to {own['GroupId']}" in said[0]
    gone(mayfly, environment)
