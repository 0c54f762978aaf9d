"""A strict local cloud is no more forgiving than AWS: it refuses and delays what AWS does."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud import LocalCloud
from local.install import let_in
from tests.local.test_local_permissions import CONTROLLER, Session

SHOP = {"mayfly:controller": CONTROLLER, "mayfly:environment": "shop-1", "mayfly:expires-at": "2026-11-25T00:00:00Z"}
BAKE = {"mayfly:controller": CONTROLLER, "mayfly:bake": "base-1", "mayfly:expires-at": "2026-11-25T00:00:00Z"}
ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A strict cloud with what lets Mayfly into its workload account."""
    with LocalCloud(tmp_path_factory.mktemp("strict"), image_seconds=0.2, boot_seconds=0.2, strict=True) as cloud:
        let_in(cloud, CONTROLLER)
        yield cloud


def listed(labels: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


def builder(cloud: LocalCloud, ec2: Any) -> str:
    image = cloud.workload_client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    specifications = [{"ResourceType": kind, "Tags": listed(BAKE)} for kind in ("instance", "volume")]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=specifications)
    return str(made["Instances"][0]["InstanceId"])


def stack(cloud: LocalCloud, name: str, *resources: str) -> Any:
    """Makes a stack of these kinds, as the administrator, and waits for its end."""
    cloudformation = cloud.workload_client("cloudformation")
    properties: dict[str, dict[str, Any]] = {"AWS::EC2::VPC": {"CidrBlock": "10.0.0.0/16"}, "AWS::EC2::EIP": {}}
    body = {f"R{n}": {"Type": kind, "Properties": properties[kind]} for n, kind in enumerate(resources)}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": body}), OnFailure="DO_NOTHING")
    waiter = cloudformation.get_waiter("stack_create_complete")
    try:
        waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    except Exception:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        failed = [
            one for one in events if one["ResourceStatus"] == "CREATE_FAILED" and one["LogicalResourceId"] != name
        ]
        return [one["ResourceStatusReason"] for one in failed]
    return cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]


class TestWhatWasJustMade:
    def test_is_not_found_by_its_id_at_first(self, account: LocalCloud) -> None:
        ec2 = Session(account, bake="base-1").client("ec2")
        made = builder(account, ec2)
        assert code(ec2.describe_instances, InstanceIds=[made]) == "InvalidInstanceID.NotFound"
        assert ec2.describe_instances(InstanceIds=[made])["Reservations"]

    def test_is_left_out_of_a_list_at_first(self, account: LocalCloud) -> None:
        ec2 = Session(account, bake="base-1").client("ec2")
        made = builder(account, ec2)
        filters = [{"Name": "tag:mayfly:bake", "Values": ["base-1"]}]

        def seen() -> set[str]:
            found = ec2.describe_instances(Filters=filters)["Reservations"]
            return {one["InstanceId"] for reservation in found for one in reservation["Instances"]}

        assert made not in seen()
        assert made in seen()

    def test_is_seen_by_the_administrator_who_watches(self, account: LocalCloud) -> None:
        made = builder(account, Session(account, bake="base-1").client("ec2"))
        assert account.workload_client("ec2").describe_instances(InstanceIds=[made])["Reservations"]

    def test_is_seen_a_minute_later_whoever_looks_first(self, account: LocalCloud) -> None:
        ec2 = Session(account, bake="base-1").client("ec2")
        made = builder(account, ec2)
        account.advance(61)
        assert ec2.describe_instances(InstanceIds=[made])["Reservations"]

    def test_is_listed_by_its_tags_late_and_still_when_it_is_gone(self, account: LocalCloud) -> None:
        session = Session(account, environment="shop-1")
        tagging, cloudformation = session.client("resourcegroupstaggingapi"), session.client("cloudformation")
        body = json.dumps({"Resources": {"Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}}})
        administrator = account.workload_client("cloudformation")
        administrator.create_stack(StackName="mayfly-shop-1", TemplateBody=body, Tags=listed(SHOP))
        administrator.get_waiter("stack_create_complete").wait(StackName="mayfly-shop-1", WaiterConfig={"Delay": 1})

        def seen() -> bool:
            filters = [{"Key": "mayfly:environment", "Values": ["shop-1"]}]
            found = tagging.get_resources(TagFilters=filters)["ResourceTagMappingList"]
            return any(":vpc/" in one["ResourceARN"] for one in found)

        assert [seen(), seen()] == [False, True]
        cloudformation.delete_stack(StackName="mayfly-shop-1")
        administrator.get_waiter("stack_delete_complete").wait(StackName="mayfly-shop-1", WaiterConfig={"Delay": 1})
        assert [seen(), seen()] == [True, False]


class TestRates:
    def test_count_instances_besides_calls(self, account: LocalCloud) -> None:
        account.advance(600)
        ec2 = Session(account, bake="base-1").client("ec2", config=ONCE)
        image = account.workload_client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        specifications = [{"ResourceType": kind, "Tags": listed(BAKE)} for kind in ("instance", "volume")]
        many = {"ImageId": image, "MinCount": 1, "TagSpecifications": specifications}
        assert code(ec2.run_instances, MaxCount=1001, **many) == "RequestLimitExceeded"

    def test_let_through_who_tries_again_as_the_sdk_does(self, account: LocalCloud) -> None:
        cloudformation = Session(account).client("cloudformation")
        for _ in range(30):
            cloudformation.describe_stacks()


class TestQuotas:
    def test_refuse_the_sixth_vpc_with_the_words_of_the_service(self, account: LocalCloud) -> None:
        standing = len(account.workload_client("ec2").describe_vpcs()["Vpcs"])
        kinds = ["AWS::EC2::VPC"] * (6 - standing)
        (why,) = stack(account, "five-and-one", *kinds)
        assert "The maximum number of VPCs has been reached." in why
        account.workload_client("cloudformation").delete_stack(StackName="five-and-one")

    def test_are_raised_by_the_account_s_administrator(self, account: LocalCloud) -> None:
        assert account.quotas(elastic_ips=7)["elastic_ips"] == 7
        assert stack(account, "seven", *["AWS::EC2::EIP"] * 7) == "CREATE_COMPLETE"
        (why,) = stack(account, "eight", "AWS::EC2::EIP")
        assert "The maximum number of addresses has been reached." in why

    def test_refuse_one_stack_too_many(self, account: LocalCloud) -> None:
        account.quotas(stacks=1)
        body = '{"Resources": {"Note": {"Type": "AWS::SNS::Topic"}}}'
        create = account.workload_client("cloudformation").create_stack
        assert code(create, StackName="more", TemplateBody=body) == "LimitExceededException"
        account.quotas(stacks=2000)
