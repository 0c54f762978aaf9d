"""Each function's role, tried out: the local cloud enforces IAM, and these are the role's own credentials."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud import CONTROLLER_ACCOUNT, REGION, LocalCloud
from local.facts import Facts
from tests.e2e.driver import Driver

FUNCTIONS = frozenset(
    {
        "accept-code-version",
        "plan-release",
        "judge-release",
        "plan-environment",
        "admit-environment",
        "create-environment",
        "resume-environment",
        "confirm-ready",
        "accept-test-result",
        "delete-environment",
        "confirm-gone",
        "accept-termination",
        "accept-extension",
        "keep-office-hours",
        "set-kill-switch",
        "sweep-environments",
        "serve-api",
        "accept-bake",
        "plan-bake",
        "launch-builder",
        "create-image",
        "remove-builder",
        "resume-image",
        "check-image",
        "judge-checks",
        "judge-instance",
        "judge-bake",
        "accept-promotion",
        "plan-promotion",
        "copy-image",
        "share-image",
        "move-channel",
        "count-release",
        "measure-reach",
        "retire-images",
        "notify-people",
        "plan-rollouts",
        "update-service",
        "replace-instances",
        "resume-rollout",
        "verify-service",
        "judge-rollout",
        "start-command",
        "judge-command",
        "plan-tests",
        "judge-tests",
        "tell-forge",
        "keep-previews",
        "configure-application",
        "keep-dead-letters",
        "work-dead-letters",
    }
)
REFUSALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")

type Clients = Callable[[str], Any]
type Attempt = Callable[[Clients, dict[str, str]], object]

KEY = {"pk": {"S": "environment#nobody"}}
ELSEWHERE = "someone-else"

# What is tried, and which functions may. `its` gives clients with a function's credentials, `at` the stack's outputs.
ATTEMPTS: dict[str, tuple[set[str], Attempt]] = {
    "look at stacks of the controller account": (
        set(),
        lambda its, _: its("cloudformation").describe_stacks(),
    ),
    "delete Mayfly itself": (
        set(),
        lambda its, _: its("cloudformation").delete_stack(StackName="mayfly"),
    ),
    "look at instances of the controller account": (
        set(),
        lambda its, _: its("ec2").describe_instances(),
    ),
    "terminate instances of the controller account": (
        set(),
        lambda its, _: its("ec2").terminate_instances(InstanceIds=["i-0123456789abcdef0"]),
    ),
    "read a record": (
        FUNCTIONS - {"accept-promotion", "set-kill-switch", "share-image", "plan-tests"},
        lambda its, at: its("dynamodb").get_item(TableName=at["TableName"], Key=KEY),
    ),
    "delete a record": (
        set(),
        lambda its, at: its("dynamodb").delete_item(TableName=at["TableName"], Key=KEY),
    ),
    "list records": (
        {"sweep-environments", "move-channel", "count-release", "measure-reach", "retire-images", "serve-api"}
        | {
            "plan-rollouts",
            "work-dead-letters",
            "admit-environment",
            "plan-environment",
            "confirm-gone",
            "keep-office-hours",
        },
        lambda its, at: its("dynamodb").query(
            TableName=at["TableName"],
            IndexName="live",
            KeyConditionExpression="live = :kind",
            ExpressionAttributeValues={":kind": {"S": "nobody"}},
        ),
    ),
    "write to another table": (
        set(),
        lambda its, _: its("dynamodb").update_item(TableName=ELSEWHERE, Key=KEY),
    ),
    "write a dead letter": (
        {"accept-code-version", "accept-test-result", "accept-termination", "accept-extension", "keep-office-hours"}
        | {"resume-environment", "set-kill-switch", "sweep-environments", "notify-people"}
        | {"plan-rollouts", "resume-rollout", "judge-instance"}
        | {"accept-bake", "accept-promotion", "resume-image", "check-image", "judge-checks", "count-release"}
        | {"work-dead-letters", "judge-command", "tell-forge", "keep-previews", "configure-application"}
        | {"measure-reach", "retire-images"},  # scheduled: where their invocations go that failed
        lambda its, at: its("sqs").send_message(QueueUrl=at["DeadLettersUrl"], MessageBody='{"mark": "permissions"}'),
    ),
    "read dead letters": (
        {"keep-dead-letters"},
        lambda its, at: its("sqs").receive_message(QueueUrl=at["DeadLettersUrl"]),
    ),
    "write to another queue": (
        set(),
        lambda its, at: its("sqs").send_message(QueueUrl=at["OtherQueueUrl"], MessageBody="{}"),
    ),
    "start a life past its release": (
        {"sweep-environments", "accept-termination", "keep-previews"},
        lambda its, at: its("stepfunctions").start_execution(stateMachineArn=at["EnvironmentMachine"], input="{}"),
    ),
    "start a bake": (
        {"accept-bake", "judge-bake", "sweep-environments"},
        lambda its, at: its("stepfunctions").start_execution(stateMachineArn=at["BakeMachine"], input="{}"),
    ),
    "start a promotion": (
        {"accept-promotion", "count-release"},
        lambda its, at: its("stepfunctions").start_execution(stateMachineArn=at["PromotionMachine"], input="{}"),
    ),
    "start a rollout": (
        {"plan-rollouts"},
        lambda its, at: its("stepfunctions").start_execution(stateMachineArn=at["RolloutMachine"], input="{}"),
    ),
    "read a blueprint": (
        {"plan-release", "create-environment", "plan-bake", "plan-rollouts", "update-service", "serve-api"}
        | {"keep-previews", "configure-application"},
        lambda its, at: its("s3").get_object(Bucket=at["BlueprintsBucket"], Key="single.yaml"),
    ),
    "change a blueprint": (
        set(),
        lambda its, at: its("s3").put_object(Bucket=at["BlueprintsBucket"], Key="single.yaml", Body=b""),
    ),
    "read an application's configuration": (
        {"plan-release", "plan-rollouts", "tell-forge", "serve-api", "keep-previews", "configure-application"}
        | {"keep-office-hours"},
        lambda its, _: its("ssm").get_parameter(Name="/mayfly/applications/webshop"),
    ),
    "change an application's configuration": (
        {"configure-application"},
        lambda its, _: its("ssm").put_parameter(Name="/mayfly/applications/webshop", Value="{}", Overwrite=True),
    ),
    "read a family's configuration": (
        {
            "plan-release",
            "accept-bake",
            "plan-bake",
            "accept-promotion",
            "plan-promotion",
            "copy-image",
            "keep-previews",
            "configure-application",
        }
        | {"share-image", "move-channel", "count-release", "retire-images"},
        lambda its, _: its("ssm").get_parameter(Name="/mayfly/families/base"),
    ),
    "change a channel's parameter": (
        {"move-channel"},
        lambda its, _: its("ssm").put_parameter(
            Name="/mayfly/images/nobody/stable", Value="ami-0", Type="String", Overwrite=True
        ),
    ),
    "read another parameter": (
        set(),
        lambda its, _: its("ssm").get_parameter(Name="/someone/else"),
    ),
    "turn the kill switch off": (
        {"set-kill-switch"},
        lambda its, _: its("ssm").put_parameter(Name="/mayfly/kill-switch", Value="off", Type="String", Overwrite=True),
    ),
    "announce anything": (
        {"accept-extension", "set-kill-switch", "sweep-environments", "measure-reach", "retire-images"}
        | {"plan-rollouts", "create-environment", "confirm-ready", "confirm-gone", "admit-environment"}
        | {"replace-instances", "resume-rollout", "keep-office-hours", "judge-instance"},
        lambda its, at: its("events").put_events(
            Entries=[{"Source": "mayfly", "DetailType": "x", "Detail": "{}", "EventBusName": at["FactsBusName"]}]
        ),
    ),
    "say what a person asked for": (
        {"serve-api"},
        lambda its, at: its("events").put_events(
            Entries=[{"Source": "mayfly.api", "DetailType": "x", "Detail": "{}", "EventBusName": at["BusName"]}]
        ),
    ),
    "ask in somebody else's name": (
        set(),
        lambda its, at: its("events").put_events(
            Entries=[{"Source": "mayfly.operator", "DetailType": "x", "Detail": "{}", "EventBusName": at["BusName"]}]
        ),
    ),
    "list reports": (
        # Besides who shows them: who reads one, so that S3 says of what is not there that it is not there.
        {"serve-api", "start-command", "judge-command", "judge-tests", "accept-test-result", "work-dead-letters"},
        lambda its, at: its("s3").list_objects_v2(Bucket=at["ReportsBucket"]),
    ),
    "become someone else": (
        set(),
        lambda its, _: its("sts").assume_role(
            RoleArn=f"arn:aws:iam::{CONTROLLER_ACCOUNT}:role/admin", RoleSessionName="probe"
        ),
    ),
    "widen its own role": (
        set(),
        lambda its, _: its("iam").put_role_policy(RoleName="mayfly", PolicyName="all", PolicyDocument="{}"),
    ),
}


@pytest.fixture(scope="module")
def roles(cloud: LocalCloud, heard: Facts) -> dict[str, boto3.Session]:
    """A session of each function's role, by the function's name."""
    pages = cloud.client("lambda").get_paginator("list_functions").paginate()
    found = [one for page in pages for one in page["Functions"]]
    return {one["FunctionName"].removeprefix("mayfly-"): _session(cloud, one["Role"]) for one in found}


def _session(cloud: LocalCloud, role: str) -> boto3.Session:
    answer = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="probe")["Credentials"]
    return boto3.Session(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], region_name=REGION)


def _permitted(session: boto3.Session, cloud: LocalCloud, attempt: Attempt, at: dict[str, str]) -> bool:
    make: Any = session.client
    try:
        attempt(lambda service: make(service, endpoint_url=cloud.controller_url), at)
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSALS:
            raise
        return False
    return True


def test_every_function_is_here(roles: dict[str, boto3.Session]) -> None:
    assert roles.keys() == FUNCTIONS


@pytest.mark.parametrize("what", ATTEMPTS)
def test_only_those_functions_that_must_can(
    mayfly: Driver, heard: Facts, roles: dict[str, boto3.Session], what: str
) -> None:
    may, attempt = ATTEMPTS[what]
    at = mayfly.outputs | {"OtherQueueUrl": heard.url}
    assert {name for name, role in roles.items() if _permitted(role, mayfly.cloud, attempt, at)} == may
