"""Teardowns that others got wrong, on the whole installation: what outlives a stack, and what keeps one standing."""

from typing import Any

import pytest

from local.install import ROOT, upload_blueprint
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
