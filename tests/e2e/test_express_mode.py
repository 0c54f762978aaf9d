"""CloudFormation's Express mode, in which it says COMPLETE before anything runs or is gone: Mayfly believes neither."""

import pytest

from local.cloud import REGION
from local.install import ROOT, upload_blueprint
from mayfly.domain.identity import environment_id, stack_name
from tests.e2e.driver import Driver

pytestmark = pytest.mark.usefixtures("no_images")

RETRY_SCALE = 0.05
"""So that what is held back can be seen, before Mayfly has looked as often as it does in half an hour."""

QUEUE = "Resources: {Jobs: {Type: 'AWS::SQS::Queue'}, Note: {Type: 'AWS::SNS::Topic'}}"


def modes(mayfly: Driver, environment: str) -> list[str]:
    """The deployment mode of each stack that stands under an environment's name."""
    stacks = mayfly.cloud.workload_client("cloudformation").describe_stacks()["Stacks"]
    named = [one for one in stacks if one["StackName"] == stack_name(environment)]
    return [one.get("DeploymentConfig", {}).get("Mode", "STANDARD") for one in named]


def test_is_taken_by_itself_where_nothing_is_left_to_wait_for(mayfly: Driver) -> None:
    mayfly.cloud.client("s3").put_object(
        Bucket=mayfly.outputs["BlueprintsBucket"], Key="queue.yaml", Body=QUEUE.encode()
    )
    environment = mayfly.begin(mayfly.application(blueprint="queue.yaml", image=None))
    assert modes(mayfly, environment) == ["EXPRESS"]
    before = len(mayfly.invocations("confirm-ready", environment))
    assert before == 1, "there is nothing to look at again"
    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    assert mayfly.nothing_is_left(environment)
    # It ends the execution itself, and is over a moment later.
    looks = mayfly.until(lambda: mayfly.invocations("confirm-gone", environment), "its last function is over")
    assert len(looks) == 1


def test_makes_no_environment_ready_before_its_instances_are_nor_gone_before_they_are(mayfly: Driver) -> None:
    upload_blueprint(mayfly.cloud, mayfly.outputs, ROOT / "blueprints" / "fleet.yaml")
    mayfly.cloud.fault("workload", stack="create", effect="slow", times=1)  # they boot until the fault is cleared
    application = mayfly.application(instances=3, blueprint="fleet.yaml", deployment="express")
    environment = environment_id(mayfly.push(application), "smoke")
    mayfly.until(lambda: mayfly.stacks(environment) == ["CREATE_COMPLETE"], "CloudFormation calls it complete")
    assert modes(mayfly, environment) == ["EXPRESS"]
    looked = mayfly.until(
        lambda: [one for one in mayfly.invocations("confirm-ready", environment) if one["error"]], "Mayfly has looked"
    )
    assert {one["error"] for one in looked} == {"StillBooting"}
    assert "Environment Ready" not in mayfly.announced(environment)
    mayfly.cloud.clear_faults()
    mayfly.life(environment, "awaiting tests")
    record = mayfly.record(environment)
    assert (record["instances_built"], record["instance_count"]) == (3, 3)

    # Its instances shut down until the fault is cleared; the stack is gone at once.
    mayfly.cloud.fault("workload", stack="delete", effect="slow", times=1)
    mayfly.finish(environment)
    mayfly.until(lambda: mayfly.stacks(environment) == ["DELETE_COMPLETE"], "CloudFormation calls it gone")
    looked = mayfly.until(
        lambda: [one for one in mayfly.invocations("confirm-gone", environment) if one["error"]], "Mayfly has looked"
    )
    assert {one["error"] for one in looked} == {"StillThere"}
    assert "Environment Terminated" not in mayfly.announced(environment)
    mayfly.cloud.clear_faults()
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    assert not mayfly.instances_left(environment)
    assert mayfly.calls(environment)["DeleteStack"] == 1


def test_ends_an_environment_for_which_ec2_has_no_capacity_at_the_next_look(mayfly: Driver) -> None:
    upload_blueprint(mayfly.cloud, mayfly.outputs, ROOT / "blueprints" / "fleet.yaml")
    mayfly.cloud.fault("workload", no_capacity="*")
    application = mayfly.application(instances=2, blueprint="fleet.yaml", deployment="express")
    release = mayfly.push(application)
    environment = environment_id(release, "smoke")
    assert mayfly.end(environment)["status"] == "FAILED"  # no time has passed but the local cloud's own
    told = [why.partition(":")[0] for what, why in mayfly.history(mayfly.record(environment)) if what == "not launched"]
    assert told[:1] in ([f"no capacity for t3.medium in {REGION}{zone}"] for zone in "ab")
    assert "EC2 has no capacity for t3.medium in" in mayfly.verdict(release)["detail"]["reason"]
    assert mayfly.nothing_is_left(environment)
