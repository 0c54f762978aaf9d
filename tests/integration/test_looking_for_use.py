"""Every kind of use of an image is seen, past the first page, and what cannot be looked at is unknown."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mayfly.aws import clients
from mayfly.domain.retirement import Usage
from mayfly.workflows import image_usage
from tests.integration.world import REGION, WORKLOAD_ACCOUNT, World

IMAGE, OTHER = "ami-0123456789abcdef0", "ami-0fedcba9876543210"
NOW = datetime(2026, 11, 24, 4, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_image_builder(world: World) -> None:
    """Moto has none: empty unless a test says otherwise."""
    world.wire.answer("ListImageRecipes", imageRecipeSummaryList=[])
    world.wire.answer("ListContainerRecipes", containerRecipeSummaryList=[])


def look(world: World) -> image_usage.Look:
    return image_usage.find_usage(clients.workload(WORKLOAD_ACCOUNT, REGION, "mayfly-workload", None))


def template(world: World, *images: str) -> None:
    """A launch template with a version for each image."""
    ec2 = world.there("ec2")
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": images[0]})
    for image in images[1:]:
        ec2.create_launch_template_version(LaunchTemplateName="web", LaunchTemplateData={"ImageId": image})


def configuration(world: World) -> None:
    world.there("autoscaling").create_launch_configuration(
        LaunchConfigurationName="web", ImageId=IMAGE, InstanceType="t3.small"
    )


def stack(world: World) -> None:
    body = {
        "Parameters": {"Image": {"Type": "String"}},
        "Resources": {
            "Note": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "n", "Type": "String", "Value": "x"}}
        },
    }
    world.there("cloudformation").create_stack(
        StackName="web",
        TemplateBody=json.dumps(body),
        Parameters=[{"ParameterKey": "Image", "ParameterValue": IMAGE}],
    )


def parameter(world: World) -> None:
    for number in range(12):  # Parameter Store's pages have ten
        world.there("ssm").put_parameter(Name=f"/a/{number}", Value="nothing", Type="String")
    world.there("ssm").put_parameter(Name="/web/image", Value=f"is {IMAGE}, {OTHER}", Type="String")


def recipe(world: World) -> None:
    world.wire.answer("ListImageRecipes", imageRecipeSummaryList=[{"name": "web", "parentImage": IMAGE}])


def instance(world: World) -> None:
    world.there("ec2").run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)


def spot_fleet(world: World) -> None:
    """One that wants nothing now, and would launch again."""
    world.there("ec2").request_spot_fleet(
        SpotFleetRequestConfig={
            "IamFleetRole": f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/fleet",
            "TargetCapacity": 0,
            "AllocationStrategy": "lowestPrice",
            "LaunchSpecifications": [{"ImageId": IMAGE, "InstanceType": "t3.small", "SubnetId": "subnet-1"}],
        }
    )


def fleet(world: World) -> None:
    overrides = [{"ImageId": IMAGE, "InstanceType": "t3.small"}]
    configs = [{"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1"}, "Overrides": overrides}]
    one = {"FleetId": "fleet-1", "FleetState": "active", "LaunchTemplateConfigs": configs}
    world.wire.answer("DescribeFleets", Fleets=[one, one | {"FleetId": "fleet-2", "FleetState": "deleted"}])


def spot_request(world: World) -> None:
    one = {"SpotInstanceRequestId": "sir-1", "State": "open", "LaunchSpecification": {"ImageId": IMAGE}}
    world.wire.answer("DescribeSpotInstanceRequests", SpotInstanceRequests=[one, one | {"State": "cancelled"}])


KINDS: dict[str, Callable[[World], None]] = {
    "instance i-": instance,
    "launch template web:1": lambda world: template(world, IMAGE, *[OTHER] * 15),
    "launch configuration web": configuration,
    "stack web": stack,
    "parameter /web/image": parameter,
    "recipe web": recipe,
    "Spot Fleet sfr-": spot_fleet,
    "EC2 Fleet fleet-1": fleet,
    "Spot request sir-1": spot_request,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_use_is_seen_and_named(world: World, kind: str) -> None:
    KINDS[kind](world)
    seen = look(world)
    assert [use.startswith(kind) for use in seen.uses[IMAGE]] == [True]
    assert not seen.unknown


def test_a_use_that_is_over_is_none(world: World) -> None:
    instance(world)
    (only,) = world.states()
    world.there("ec2").terminate_instances(InstanceIds=[only])
    assert not look(world).uses


def test_more_launch_templates_than_a_page_are_seen(world: World) -> None:
    for number in range(30):
        data = {"ImageId": IMAGE if number == 29 else OTHER}
        world.there("ec2").create_launch_template(LaunchTemplateName=f"web-{number}", LaunchTemplateData=data)
    assert look(world).uses[IMAGE] == ["launch template web-29:1"]


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("DescribeInstances", "instances"),
        ("DescribeLaunchTemplates", "launch templates"),
        ("DescribeLaunchConfigurations", "launch configurations"),
        ("DescribeAutoScalingGroups", "Auto Scaling groups"),
        ("DescribeStacks", "stack parameters"),
        ("GetParametersByPath", "parameters"),
        ("ListContainerRecipes", "recipes"),
        ("DescribeSpotFleetRequests", "Spot Fleets"),
        ("DescribeFleets", "EC2 Fleets"),
        ("DescribeSpotInstanceRequests", "Spot requests"),
    ],
)
def test_what_is_denied_is_unknown_and_the_rest_is_seen(world: World, operation: str, kind: str) -> None:
    world.wire.answer(operation, "AccessDenied")
    assert look(world).unknown == {kind: "AccessDenied"}


class TestWhatEc2Knows:
    def references(self, world: World, seen: image_usage.Look) -> Usage:
        workload = clients.workload(WORKLOAD_ACCOUNT, REGION, "mayfly-workload", None)
        return image_usage.references(workload, [IMAGE], seen)[IMAGE]

    def test_answers_for_recipes_where_those_cannot_be_listed(self, world: World) -> None:
        world.wire.answer("ListImageRecipes", "AccessDenied")
        world.wire.answer("DescribeImageReferences", ImageReferences=[{"ImageId": IMAGE, "Arn": "arn:recipe"}])
        assert self.references(world, look(world)) == Usage(uses=("arn:recipe",))

    def test_does_not_answer_for_what_it_does_not_look_at(self, world: World) -> None:
        world.wire.answer("DescribeStacks", "AccessDenied")
        world.wire.answer("DescribeImageReferences", ImageReferences=[])
        assert self.references(world, look(world)) == Usage(unknown=("stack parameters: AccessDenied",))

    @pytest.mark.parametrize("why", ["UnauthorizedOperation", "InvalidAction"])
    def test_where_it_cannot_be_asked_any_image_may_be_in_use(self, world: World, why: str) -> None:
        world.wire.answer("DescribeImageReferences", why)
        assert self.references(world, look(world)) == Usage(unknown=(f"references: {why}",))

    @pytest.mark.parametrize("operation", ["describe_image_references", "describe_image_usage_reports"])
    def test_an_sdk_that_does_not_know_an_operation_leaves_it_unknown(
        self, world: World, operation: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workload = clients.workload(WORKLOAD_ACCOUNT, REGION, "mayfly-workload", None)
        monkeypatch.delattr(type(workload.ec2), operation)
        asked: Any = {
            "describe_image_references": lambda: image_usage.references(workload, [IMAGE], look(world)),
            "describe_image_usage_reports": lambda: image_usage.elsewhere(workload, [IMAGE], NOW),
        }[operation]
        (unknown,) = asked()[IMAGE].unknown
        assert unknown.endswith("SdkTooOld")

    def test_looks_at_all_versions_of_a_launch_template(self, world: World) -> None:
        world.wire.answer("DescribeImageReferences", ImageReferences=[])
        self.references(world, image_usage.Look())
        (asked,) = world.wire.heard("DescribeImageReferences")
        depth = {"OptionName": "version-depth", "OptionValues": ["10000"]}
        assert {"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": [depth]} in asked["ResourceTypes"]


REPORT: dict[str, Any] = {
    "ImageId": IMAGE,
    "ReportId": "amiur-1",
    "State": "available",
    "CreationTime": NOW - timedelta(days=1),
    "ResourceTypes": [{"ResourceType": "ec2:Instance"}, {"ResourceType": "ec2:LaunchTemplate"}],
}


class TestOtherAccounts:
    def elsewhere(self, world: World, *entries: Any, **change: Any) -> Usage:
        world.wire.answer("DescribeImageUsageReports", ImageUsageReports=[REPORT | change])
        world.wire.answer("DescribeImageUsageReportEntries", ImageUsageReportEntries=list(entries))
        return image_usage.elsewhere(clients.workload(WORKLOAD_ACCOUNT, REGION, "mayfly-workload", None), [IMAGE], NOW)[
            IMAGE
        ]

    def test_that_use_it_are_named(self, world: World) -> None:
        entry = {"ReportId": "amiur-1", "AccountId": "333333333333", "ResourceType": "ec2:Instance", "UsageCount": 2}
        assert self.elsewhere(world, entry) == Usage(uses=("account 333333333333 (ec2:Instance)",))

    def test_that_do_not_use_it_any_more_are_not(self, world: World) -> None:
        entry = {"ReportId": "amiur-1", "AccountId": "333333333333", "ResourceType": "ec2:Instance", "UsageCount": 0}
        assert self.elsewhere(world, entry) == Usage()

    @pytest.mark.parametrize(
        "change",
        [
            {"CreationTime": NOW - timedelta(days=8)},
            {"AccountIds": ["444444444444"]},
            {"ResourceTypes": [{"ResourceType": "ec2:Instance"}]},
            {"ImageId": OTHER},
        ],
        ids=["old", "of some accounts", "of some types", "of another image"],
    )
    def test_are_unknown_by_a_report_that_does_not_say_it_all(self, world: World, change: dict[str, Any]) -> None:
        assert self.elsewhere(world, **change) == Usage(unknown=(image_usage.NO_REPORT,))

    @pytest.mark.parametrize("state", ["pending", "error"])
    def test_are_unknown_while_the_report_is_not_there(self, world: World, state: str) -> None:
        assert self.elsewhere(world, State=state).unknown

    def test_are_unknown_where_ec2_reports_nothing(self, world: World) -> None:
        self.elsewhere(world)
        world.wire.answer("DescribeImageUsageReports", "InvalidAction")
        workload = clients.workload(WORKLOAD_ACCOUNT, REGION, "mayfly-workload", None)
        assert image_usage.elsewhere(workload, [IMAGE], NOW)[IMAGE] == Usage(unknown=("other accounts: InvalidAction",))
