"""The workload account enforces its roles' policies at every call, as IAM does."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import ADMIN_KEYS, REGION, SECRET, WORKLOAD_ACCOUNT, LocalCloud
from local.install import let_in
from tests.local.local_toys import Toys, eventually

CONTROLLER = "111111111111/us-east-1/mayfly"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A strict cloud with what lets Mayfly into its workload account, and a bus to tell it on."""
    with LocalCloud(tmp_path_factory.mktemp("strict"), image_seconds=0.2, strict=True) as cloud:
        let_in(cloud, CONTROLLER)
        cloud.client("events").create_event_bus(Name="mayfly")
        yield cloud


class Session:
    """A session of Mayfly's role, with a tag as functions pass it."""

    def __init__(self, cloud: LocalCloud, role: str = "mayfly-workload", **tags: str) -> None:
        given = cloud.workload_client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{cloud.workload_account}:role/{role}",
            RoleSessionName="session",
            Tags=[{"Key": f"mayfly:{key}", "Value": value} for key, value in tags.items()],
        )["Credentials"]
        self._cloud, self._keys = (
            cloud,
            {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            },
        )

    def client(self, service: str, **options: Any) -> Any:
        return self._cloud.workload_client(service, **self._keys, **options)


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


def test_a_role_that_is_not_there_lets_nobody_in(account: LocalCloud) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        Session(account, "second-workload", environment="shop-1")


def test_the_controller_s_administrator_is_no_function_of_mayfly_s(account: LocalCloud) -> None:
    keys = {"aws_access_key_id": ADMIN_KEYS["controller"], "aws_secret_access_key": SECRET}
    arn, assume = f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role", account.workload_client("sts", **keys).assume_role
    assert refused(assume, RoleArn=f"{arn}/mayfly-workload", RoleSessionName="admin") == "AccessDenied"
    trust = {"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    account.workload_client("iam").create_role(RoleName="ReadOnly", AssumeRolePolicyDocument=policy)
    assert assume(RoleArn=f"{arn}/ReadOnly", RoleSessionName="admin")["Credentials"]


def test_a_tag_that_the_role_does_not_trust_lets_nobody_in(account: LocalCloud) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        Session(account, administrator="true")


def test_a_session_deletes_its_own_stack_and_no_other(account: LocalCloud) -> None:
    body = '{"Resources": {"Note": {"Type": "AWS::SNS::Topic"}}}'
    labels = {"mayfly:controller": CONTROLLER, "mayfly:environment": "shop-1"}
    stack = account.workload_client("cloudformation").create_stack(
        StackName="mayfly-shop-1",
        TemplateBody=body,
        Tags=[{"Key": key, "Value": value} for key, value in labels.items()],
    )["StackId"]
    for session in (Session(account, environment="shop-2"), Session(account)):
        assert refused(session.client("cloudformation").delete_stack, StackName=stack) == "AccessDenied"
    Session(account, environment="shop-1").client("cloudformation").delete_stack(StackName=stack)


def test_a_session_of_one_account_reaches_nothing_in_another(account: LocalCloud) -> None:
    other = account.beside("444444444444")
    with pytest.raises(ClientError, match="AccessDenied"):
        Session(other, environment="shop-3")
    let_in(other, CONTROLLER)
    labels = {"mayfly:controller": CONTROLLER, "mayfly:environment": "shop-3"}
    stack = other.workload_client("cloudformation").create_stack(
        StackName="mayfly-shop-3",
        TemplateBody='{"Resources": {"Note": {"Type": "AWS::SNS::Topic"}}}',
        Tags=[{"Key": key, "Value": value} for key, value in labels.items()],
    )["StackId"]
    assert stack.split(":")[4] == "444444444444"
    here = Session(account, environment="shop-3")
    assert refused(here.client("cloudformation").delete_stack, StackName=stack) == "AccessDenied"
    stacks = here.client("cloudformation").describe_stacks()["Stacks"]
    assert {each["StackId"].split(":")[4] for each in stacks} == {WORKLOAD_ACCOUNT}
    role = "arn:aws:iam::444444444444:role/mayfly-workload"
    assert refused(here.client("sts").assume_role, RoleArn=role, RoleSessionName="on") == "AccessDenied"
    there = Session(other, environment="shop-3").client("cloudformation")
    assert there.describe_stacks(StackName=stack)["Stacks"]
    there.delete_stack(StackName=stack)


def test_a_fault_may_be_of_one_account_only(account: LocalCloud) -> None:
    other = account.beside("444444444444")
    let_in(other, CONTROLLER)
    here, there = Session(account).client("ec2"), Session(other).client("ec2")
    account.fault("workload", action="DescribeVpcs", error="Gone", account=other.workload_account)
    assert here.describe_vpcs()["Vpcs"]
    assert refused(there.describe_vpcs) == "Gone"
    account.clear_faults()


def test_a_session_launches_only_what_carries_its_tag(account: LocalCloud) -> None:
    image = account.workload_client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    labels = {"mayfly:controller": CONTROLLER, "mayfly:expires-at": "2026-11-25T00:00:00Z", "mayfly:bake": "base-1"}
    ec2 = Session(account, bake="base-1").client("ec2")

    def launch(**change: str) -> Any:
        tags = [{"Key": key, "Value": value} for key, value in (labels | change).items()]
        kinds = ("instance", "volume")
        return {
            "ImageId": image,
            "MinCount": 1,
            "MaxCount": 1,
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in kinds],
        }

    assert refused(ec2.run_instances, **launch(**{"mayfly:bake": "other-1"})) == "UnauthorizedOperation"
    assert refused(ec2.run_instances, ImageId=image, MinCount=1, MaxCount=1) == "UnauthorizedOperation"
    instance = ec2.run_instances(**launch())["Instances"][0]["InstanceId"]
    other = Session(account, bake="other-1").client("ec2")
    assert refused(other.terminate_instances, InstanceIds=[instance]) == "UnauthorizedOperation"
    ec2.terminate_instances(InstanceIds=[instance])


def test_looking_is_permitted_and_what_nobody_calls_is_not(account: LocalCloud) -> None:
    session = Session(account)
    session.client("ec2").describe_instances()
    session.client("resourcegroupstaggingapi").get_resources()
    assert refused(session.client("ec2").describe_customer_gateways) == "UnauthorizedOperation"
    assert refused(session.client("ssm").describe_instance_information) == "AccessDeniedException"
    assert refused(session.client("iam").list_users) == "AccessDenied"


def test_the_administrator_of_the_account_may_do_everything(account: LocalCloud) -> None:
    assert account.workload_client("iam").list_roles()["Roles"]
    assert account.workload_client("ec2").meta.region_name == REGION


def test_a_second_region_tells_of_itself_once_it_was_let_in(account: LocalCloud) -> None:
    toys, events = Toys(account), account.client("events")
    queue, arn = toys.queue()
    events.put_rule(Name="listen", EventBusName="mayfly", EventPattern=json.dumps({"source": ["aws.ec2"]}))
    events.put_targets(Rule="listen", EventBusName="mayfly", Targets=[{"Id": "queue", "Arn": arn}])
    source = account.workload_client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]

    heard: list[dict[str, Any]] = []

    def copied(region: str, name: str) -> str:
        ec2 = account.workload_client("ec2", region_name=region)
        copy: str = ec2.copy_image(Name=name, SourceImageId=source, SourceRegion=REGION)["ImageId"]
        eventually(lambda: ec2.describe_images(ImageIds=[copy])["Images"][0]["State"] == "available")
        return copy

    def regions(copy: str) -> list[str]:
        heard.extend(toys.messages(queue))
        return [each["region"] for each in heard if each["detail"].get("ImageId") == copy]

    before = copied("eu-west-1", "before")
    let_in(account, CONTROLLER, (REGION, "eu-west-1"))
    after = copied("eu-west-1", "after")
    eventually(lambda: regions(after) == ["eu-west-1"])
    assert regions(before) == []
