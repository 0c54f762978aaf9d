"""CloudFormation's Express mode, in which it says COMPLETE before anything runs or is gone: Mayfly believes neither."""

import pytest

from mayfly.domain.identity import stack_name
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
    assert len(mayfly.invocations("confirm-gone", environment)) == 1
