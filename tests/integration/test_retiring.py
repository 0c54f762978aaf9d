"""A run of retirement where something is wrong: what it does not see whole, it leaves alone."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.test_moving_channels import configure, image
from tests.integration.world import RELEASE, WORKLOAD_ACCOUNT, World

type Json = dict[str, Any]

LATER = "2027-03-01T04:00:00.000Z"
REPORTED: Json = {
    "State": "available",
    "CreationTime": datetime(2027, 3, 1, 3, tzinfo=UTC),
    "ResourceTypes": [{"ResourceType": "ec2:Instance"}, {"ResourceType": "ec2:LaunchTemplate"}],
}


@pytest.fixture
def old(world: World) -> str:
    """The older one of two images, of which a family keeps the newer one; nothing uses it."""
    configure(world, keep_newest=1)
    both = [image(world) for _ in range(2)]
    dated = world.there("ec2").describe_images(ImageIds=both)["Images"]
    # moto dates them to the second: mostly to the same one, and then the id decides.
    made = [one["ImageId"] for one in sorted(dated, key=lambda one: (one["CreationDate"], one["ImageId"]))]
    world.there("ec2").terminate_instances(InstanceIds=list(world.states()))
    for operation in ("EnableImageDeregistrationProtection", "EnableImageDeprecation", "DescribeImageReferences"):
        world.wire.answer(operation)
    world.wire.answer("DescribeImageReferences", ImageReferences=[])
    world.wire.answer("DescribeImageUsageReportEntries", ImageUsageReportEntries=[])
    world.wire.answer("ListImageRecipes", imageRecipeSummaryList=[])
    world.wire.answer("ListContainerRecipes", containerRecipeSummaryList=[])
    reports = [REPORTED | {"ImageId": one, "ReportId": f"amiur-{one}"} for one in made]
    world.wire.answer("DescribeImageUsageReports", ImageUsageReports=reports)
    return made[0]


def retire(world: World, **more: Any) -> Json:
    return world.call("retire_images", {"now": LATER} | more)


def test_what_nobody_needs_is_deprecated_announced_and_remembered(world: World, old: str) -> None:
    report = retire(world)
    assert [(one["ami"], one["step"]) for one in report["steps"]] == [(old, "deprecate")], report
    assert [call["ImageId"] for call in world.wire.heard("EnableImageDeprecation")] == [old]
    assert [(what, said["ami"]) for what, said in world.said] == [("Image Retired", old)]
    assert world.history(old, "image")[-1] == "deprecate"
    assert "retiring_until" not in world.record(old, "image")


def test_a_report_is_kept_with_every_decision(world: World, old: str) -> None:
    key = retire(world, dry_run=True)["key"]
    kept = json.loads(world.own("s3").get_object(Bucket=world.reports, Key=key)["Body"].read())
    assert len(kept["steps"]) + len(kept["kept"]) == 2
    assert not world.wire.heard("EnableImageDeprecation")


def test_a_report_that_s3_does_not_take_keeps_no_image_and_is_written_by_a_sweep(world: World, old: str) -> None:
    world.wire.answer("PutObject", "AccessDenied", "not now")
    report = retire(world)
    assert "AccessDenied" in report["unwritten"]
    assert [call["ImageId"] for call in world.wire.heard("EnableImageDeprecation")] == [old]
    world.wire.recover("PutObject")
    assert report["key"] in world.call("sweep_environments", {"now": LATER})["late"]
    kept = json.loads(world.own("s3").get_object(Bucket=world.reports, Key=report["key"])["Body"].read())
    assert len(kept["steps"]) + len(kept["kept"]) == 2


def test_one_that_nothing_takes_is_in_the_log(world: World, old: str, caplog: pytest.LogCaptureFixture) -> None:
    world.wire.answer("PutObject", "AccessDenied", "not now")
    refused = [("UpdateItem", "ProvisionedThroughputExceededException")]
    world.wire.before("PutObject", lambda: [world.wire.answer(*each, "not now") for each in refused])
    retire(world, dry_run=True)
    (logged,) = [vars(line)["report"] for line in caplog.records if "report" in vars(line)]
    assert [one["ami"] for one in logged["steps"]] == [old]


@pytest.mark.parametrize(
    "operation",
    ["DescribeLaunchConfigurations", "DescribeStacks", "DescribeImageUsageReports", "DescribeImageUsageReportEntries"],
)
def test_what_cannot_be_looked_at_keeps_everything(world: World, old: str, operation: str) -> None:
    world.wire.answer(operation, "AccessDenied")
    assert retire(world)["steps"] == []
    world.wire.recover(operation)


def test_an_account_of_which_a_region_cannot_be_listed_is_left_alone(world: World, old: str) -> None:
    world.wire.answer("DescribeImages", "UnauthorizedOperation")
    report = retire(world)
    assert report["steps"] == []
    assert "cannot be listed" in report["left_alone"][0]


def test_a_family_that_is_configured_wrongly_is_left_alone_and_named(world: World, old: str) -> None:
    world.put("/mayfly/families/base", "{}")
    report = retire(world)
    assert report["steps"] == []
    assert report["left_alone"][0].startswith("base: the parameter /mayfly/families/base is wrong")


def test_an_image_that_is_planned_to_be_used_is_kept(world: World, old: str) -> None:
    world.planned(image=old)
    assert retire(world)["steps"] == []


def test_an_image_that_one_who_waits_may_boot_at_another_target_is_kept(world: World, old: str) -> None:
    world.planned()
    place = {"account": WORKLOAD_ACCOUNT, "region": "us-east-1", "image": old}
    world.change(wanted={"demand": {"places": [place]}})
    assert retire(world)["steps"] == []
    world.change(wanted={})
    assert retire(world)["steps"]


def test_an_image_that_a_release_may_boot_at_another_target_is_kept(world: World, old: str) -> None:
    release = {"id": RELEASE, "live": "release", "image": "ami-elsewhere", "images": ["ami-elsewhere", old]}
    world.records("release").change(RELEASE, release)
    assert retire(world)["steps"] == []
    world.records("release").change(RELEASE, {"images": ["ami-elsewhere"]})
    assert retire(world)["steps"]


def test_an_image_that_a_parameter_of_a_channel_names_is_kept(world: World, old: str) -> None:
    world.put("/mayfly/images/base/stable", old)
    assert retire(world)["steps"] == []


def test_the_cap_lets_no_more_go(world: World, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYFLY_RETIRE_MOST", "0")
    assert retire(world)["steps"] == []
    assert not world.wire.heard("EnableImageDeprecation")


def test_instances_in_whatever_place_hold_an_image(world: World, old: str) -> None:
    world.own("ec2").run_instances(ImageId=old, MinCount=1, MaxCount=1)
    assert retire(world)["steps"] == []


def test_the_guard_is_asked_by_tags_that_are_read_right_before_a_step(world: World, old: str) -> None:
    """The run has listed the image without the tag; somebody protects it meanwhile."""
    protect = {"Resources": [old], "Tags": [{"Key": "mayfly:protected", "Value": "yes"}]}
    world.wire.before("DescribeImageReferences", lambda: world.there("ec2").create_tags(**protect))
    report = retire(world)
    assert [one["error"] for one in report["failed"]] == ["it is protected by its tag mayfly:protected=yes"]
    assert not world.wire.heard("EnableImageDeprecation")


def test_an_image_goes_with_no_snapshot_that_is_protected(world: World, old: str) -> None:
    (shown,) = world.there("ec2").describe_images(ImageIds=[old])["Images"]
    snapshots = [one["Ebs"]["SnapshotId"] for one in shown["BlockDeviceMappings"] if "Ebs" in one]
    assert snapshots
    world.there("ec2").create_tags(Resources=snapshots[:1], Tags=[{"Key": "mayfly:protected", "Value": ""}])
    report = retire(world)
    assert (report["steps"], report["failed"]) == ([], [])
    kept = json.loads(world.own("s3").get_object(Bucket=world.reports, Key=report["key"])["Body"].read())["kept"]
    assert f"{snapshots[0]}: it is protected by its tag mayfly:protected=" in [one["reason"] for one in kept]


def test_nor_with_one_that_is_protected_meanwhile(world: World, old: str) -> None:
    (shown,) = world.there("ec2").describe_images(ImageIds=[old])["Images"]
    snapshots = [one["Ebs"]["SnapshotId"] for one in shown["BlockDeviceMappings"] if "Ebs" in one]
    protect = {"Resources": snapshots, "Tags": [{"Key": "mayfly:protected", "Value": "true"}]}
    world.wire.before("DescribeImageReferences", lambda: world.there("ec2").create_tags(**protect))
    assert f"{snapshots[0]}: it is protected" in retire(world)["failed"][0]["error"]
