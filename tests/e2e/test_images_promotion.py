"""Channels: moved in all Regions or in none, rolled back, followed; and images retired when nobody can need them."""

import json
from collections.abc import Iterator

import pytest

from local.cloud import CONTROLLER_ACCOUNT, REGION
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver
from tests.e2e.gallery import ANOTHER_ACCOUNT, REGIONS, Gallery, stop_schedules


@pytest.fixture
def gallery(mayfly: Driver, names: Iterator[str]) -> Gallery:
    """A family whose images go to four Regions, and nothing that happens by itself."""
    stop_schedules(mayfly.cloud)
    return Gallery(mayfly, next(names).replace("shop", "image"), regions=REGIONS)


@pytest.fixture
def alone(mayfly: Driver, names: Iterator[str]) -> Gallery:
    """A family in one Region, of which only the newest image is kept for its own sake."""
    stop_schedules(mayfly.cloud)
    return Gallery(mayfly, next(names).replace("shop", "image"), keep_newest=1)


class TestAPromotion:
    def test_moves_the_channel_in_all_regions_once_every_copy_is_there(self, gallery: Gallery) -> None:
        image = gallery.image()
        channel = gallery.promoted(image)
        assert channel["image"] == channel["regions"][REGION] == image
        assert set(channel["regions"]) == set(REGIONS)
        for region, copy in channel["regions"].items():
            shown = gallery.shown(copy, region)
            assert shown["State"] == "available"
            labels = {tag["Key"]: tag["Value"] for tag in shown["Tags"]}
            assert labels["mayfly:image-family"] == gallery.family
            assert region == REGION or labels["mayfly:source-image"] == image
            assert gallery.parameter(region=region) == copy
            assert shown["DeregistrationProtection"].startswith("enabled")
        (line,) = channel["history"]
        assert line["who"] == "tester (says mayfly.operator)"
        assert line["what"] == f"promote to {image}"

    def test_that_fails_in_one_region_moves_nothing_anywhere(self, gallery: Gallery) -> None:
        first, second = gallery.image(), gallery.image()
        before = gallery.promoted(first)
        gallery.cloud.fault("workload", image="copy", region="eu-central-1", effect="fail", reason="no room", times=1)
        gallery.promote(second)
        (failure,) = gallery.heard("Image Promotion Failed", image=second)
        assert "no room" in failure["reason"]
        assert gallery.channel() == before
        assert {region: gallery.parameter(region=region) for region in REGIONS} == before["regions"]
        assert sorted(one["status"] for one in gallery.all_over(2)) == ["FAILED", "SUCCEEDED"]

        # The next try uses the copies that are there, and makes the missing one.
        gallery.promoted(second)
        copies = gallery.ec2("eu-west-1").describe_images(
            Filters=[{"Name": "tag:mayfly:source-image", "Values": [second]}]
        )
        assert len(copies["Images"]) == 1

    def test_is_never_seen_half_done_by_an_environment_that_is_planned(self, gallery: Gallery) -> None:
        old, new = gallery.image(), gallery.image()
        gallery.promoted(old, "stable")
        application = gallery.mayfly.application(image={"family": gallery.family})
        gallery.cloud.fault("workload", image="copy", region="us-west-2", effect="slow", times=1)
        gallery.promote(new, "stable")
        ec2 = gallery.ec2("eu-west-1")
        wanted = [{"Name": "tag:mayfly:source-image", "Values": [new]}, {"Name": "state", "Values": ["available"]}]
        gallery.mayfly.until(lambda: ec2.describe_images(Filters=wanted)["Images"], "one copy is there")
        during = environment_id(gallery.mayfly.push(application, version="1.0.0"), "smoke")
        gallery.mayfly.until(lambda: gallery.mayfly.record(during).get("image"), "it is planned")
        assert gallery.mayfly.record(during)["image"] == old
        assert gallery.channel("stable")["image"] == old
        assert {region: gallery.parameter("stable", region) for region in REGIONS} == gallery.channel("stable")[
            "regions"
        ]
        gallery.cloud.clear_faults()
        gallery.heard("Image Promoted", image=new)
        after = gallery.mayfly.begin(application, version="1.0.1")
        assert gallery.mayfly.record(after)["image"] == new
        for environment in (during, after):
            gallery.mayfly.life(environment, "awaiting tests")
            gallery.mayfly.finish(environment)
            assert gallery.mayfly.end(environment)["status"] == "SUCCEEDED"

    def test_shares_the_image_first_and_reads_it_back(self, gallery: Gallery) -> None:
        gallery.configure(regions=REGIONS[:2], share_accounts=[CONTROLLER_ACCOUNT, ANOTHER_ACCOUNT])
        channel = gallery.promoted(gallery.image())
        for region, image in channel["regions"].items():
            assert gallery.shared_with(image, region) == {CONTROLLER_ACCOUNT, ANOTHER_ACCOUNT}
        own = gallery.cloud.client("ssm").get_parameter(Name=f"/mayfly/images/{gallery.family}/candidate")
        assert own["Parameter"]["Value"] == channel["image"]

    def test_that_cannot_share_the_image_does_not_move(self, gallery: Gallery) -> None:
        gallery.configure(share_accounts=[ANOTHER_ACCOUNT])
        image = gallery.image()
        gallery.cloud.fault(
            "workload", action="ModifyImageAttribute", environment=f"promote-{image}", error="AccessDenied"
        )
        gallery.promote(image)
        assert "AccessDenied" in gallery.heard("Image Promotion Failed")[0]["reason"]
        assert gallery.channel() == {}

    @pytest.mark.parametrize("stage", ["rejected", "proving"])
    def test_of_an_image_without_a_proof_is_refused(self, gallery: Gallery, stage: str) -> None:
        image = gallery.image(stage)
        gallery.promote(image)
        (refusal,) = gallery.heard("Image Promotion Refused", image=image)
        assert "expected a proven one" in refusal["reason"]
        assert gallery.channel() == {}

    def test_of_an_unknown_family_is_a_dead_letter(self, mayfly: Driver) -> None:
        asked = {
            "family": "nobody",
            "channel": "stable",
            "image": "ami-0123456789abcdef0",
            "why": "x",
            "requested_by": "x",
        }
        mayfly.say("Image Promotion Requested", [asked])
        assert "families/nobody" in json.dumps(mayfly.letter("families/nobody"))

    def test_whose_copy_s_event_is_lost_goes_on_by_a_look(self, gallery: Gallery) -> None:
        gallery.configure(regions=REGIONS[:2])
        gallery.cloud.fault("workload", event="EC2 AMI State Change", effect="lose")
        image = gallery.image()
        gallery.promote(image)
        ec2 = gallery.ec2("eu-west-1")
        wanted = [{"Name": "tag:mayfly:source-image", "Values": [image]}, {"Name": "state", "Values": ["available"]}]
        gallery.mayfly.until(lambda: ec2.describe_images(Filters=wanted)["Images"], "the copy is there")
        assert gallery.channel() == {}
        gallery.cloud.advance(3600)
        gallery.heard("Image Promoted", image=image)

    def test_waits_for_ec2_where_it_copies_as_much_as_it_may(self, gallery: Gallery) -> None:
        """Twelve refusals are three quarters of an hour."""
        gallery.configure(regions=REGIONS[:2])
        gallery.cloud.fault("workload", action="CopyImage", error="ResourceLimitExceeded", times=12)
        gallery.promote(image := gallery.image())
        gallery.heard("Image Promoted", image=image)
        assert set(gallery.channel()["regions"]) == set(REGIONS[:2])
        asked = [row for row in gallery.cloud.ledger()["calls"] if row["action"] == "CopyImage"]
        assert [row["error"] for row in asked[-13:]] == ["ResourceLimitExceeded"] * 12 + [None]

    def test_whose_events_all_come_twice_moves_once(self, gallery: Gallery) -> None:
        gallery.configure(regions=REGIONS[:2])
        gallery.cloud.fault("workload", event="*", effect="duplicate")
        for kind in ("Image Promotion Requested", "Image Rollback Requested"):
            gallery.cloud.fault("controller", event={"detail-type": kind}, effect="duplicate")
        first, second = gallery.image(), gallery.image()
        gallery.promoted(first)
        gallery.promoted(second)
        gallery.roll_back()
        gallery.heard("Image Rolled Back")
        gallery.all_over(3)
        assert gallery.said() == ["Image Promoted", "Image Promoted", "Image Rolled Back"]
        assert (gallery.channel()["image"], gallery.channel()["version"]) == (first, 3)

    def test_that_is_asked_for_again_is_nothing_to_do(self, gallery: Gallery) -> None:
        image = gallery.image()
        gallery.promoted(image)
        gallery.promote(image, times=2)
        gallery.all_over(3)
        assert gallery.said() == ["Image Promoted"]
        assert gallery.channel()["version"] == 1


class TestARollback:
    def test_takes_one_event_and_copies_nothing(self, gallery: Gallery) -> None:
        first, second = gallery.image(), gallery.image()
        before = gallery.promoted(first)
        gallery.promoted(second)
        gallery.cloud.reset_ledger()
        gallery.roll_back()
        (said,) = gallery.heard("Image Rolled Back")
        assert (said["image"], said["from"]) == (first, second)
        assert gallery.channel()["regions"] == before["regions"]
        assert {region: gallery.parameter(region=region) for region in REGIONS} == before["regions"]
        assert "CopyImage" not in {row["action"] for row in gallery.cloud.ledger()["calls"]}

    def test_without_a_previous_image_is_refused(self, gallery: Gallery) -> None:
        gallery.promoted(gallery.image())
        gallery.roll_back()
        assert "no previous image" in gallery.heard("Image Promotion Refused")[0]["reason"]

    def test_that_names_the_bad_image_goes_back_only_once(self, gallery: Gallery) -> None:
        first, second, third = gallery.image(), gallery.image(), gallery.image()
        for image in (first, second, third):
            gallery.promoted(image)
        gallery.roll_back(image=third, times=3)
        gallery.all_over(6)
        assert gallery.channel()["image"] == second

    def test_that_races_a_promotion_has_one_winner(self, gallery: Gallery) -> None:
        first, second, third = gallery.image(), gallery.image(), gallery.image()
        gallery.promoted(first)
        gallery.promoted(second)
        # The promotion plans first, and is overtaken while it copies.
        gallery.cloud.fault("workload", image="copy", region="us-west-2", effect="slow", times=1)
        gallery.promote(third)
        gallery.mayfly.until(lambda: "wanted_until" in gallery.record(third), "the promotion is planned")
        gallery.roll_back()
        gallery.heard("Image Rolled Back", image=first)
        gallery.cloud.clear_faults()
        (refusal,) = gallery.heard("Image Promotion Refused", image=third)
        assert refusal["error"] == "Overtaken"
        channel = gallery.channel()
        assert (channel["image"], channel["version"]) == (first, 3)
        assert {region: gallery.parameter(region=region) for region in REGIONS} == channel["regions"]
        assert {one["status"] for one in gallery.all_over(4)} == {"SUCCEEDED"}


class TestFollowing:
    def test_stable_follows_after_so_many_passed_releases(self, gallery: Gallery) -> None:
        gallery.configure(stable={"after_releases": 2})
        image = gallery.image()
        gallery.promoted(image)
        gallery.cloud.fault("controller", event={"detail-type": "Release Passed"}, effect="duplicate")
        application = gallery.mayfly.application(image={"family": gallery.family, "channel": "candidate"})
        for version in ("1.0.0", "1.0.1"):
            assert gallery.channel("stable") == {}
            environment = gallery.mayfly.begin(application, version=version)
            gallery.mayfly.finish(environment)
            gallery.mayfly.verdict(gallery.mayfly.record(environment)["release"])
        (said,) = gallery.heard("Image Promoted", channel="stable")
        assert (said["image"], said["requested_by"]) == (image, "policy")
        assert len(gallery.record(image)["releases_passed"]) == 2

    def test_the_reach_is_a_number_and_ends_with_image_replaced_once(self, gallery: Gallery) -> None:
        gallery.configure()
        old, new = gallery.image(), gallery.image()
        gallery.promoted(old, "stable")
        application = gallery.mayfly.application(image={"family": gallery.family}, instances=1)
        environment = gallery.mayfly.begin(application)
        gallery.promoted(new, "stable")
        gallery.cloud.advance(1800)
        reach = gallery.reach()["stable"]
        assert (reach["on_old_images"], reach["instances"]) == (1, {old: 1})
        assert reach["hours"] >= 0.5
        gallery.mayfly.finish(environment)
        gallery.mayfly.end(environment)
        assert gallery.reach()["stable"]["replaced"] == [old]
        gallery.heard("Image Replaced", image=old, by=new)
        assert gallery.reach()["stable"]["replaced"] == []
        assert gallery.said().count("Image Replaced") == 1
        logged = _metrics(gallery, "measure-reach")
        assert "ImageReachHours" in logged
        assert "InstancesOnOldImages" in logged


def _metrics(gallery: Gallery, function: str) -> str:
    """What a function logged, where its metrics are."""
    logs = gallery.cloud.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/mayfly/mayfly/functions")
    return "".join(event["message"] for page in pages for event in page["events"])


class TestRetirement:
    def test_goes_through_its_stages_each_after_its_time(self, alone: Gallery) -> None:
        alone.configure(keep_newest=1, regions=REGIONS[:2], share_accounts=[ANOTHER_ACCOUNT])
        images = [alone.image() for _ in range(6)]
        for image in images:
            alone.promoted(image)
        old, copy = images[0], _copy(alone, images[0])
        snapshots = [
            device["Ebs"]["SnapshotId"] for device in alone.shown(old)["BlockDeviceMappings"] if "Ebs" in device
        ]
        alone.settle_reports()
        assert alone.retire()["steps"] == []

        alone.days_pass(31)
        assert {one["ami"]: one["step"] for one in alone.retire_with_reports()["steps"]} == {
            each: "deprecate" for pair in ((old, copy), (images[1], _copy(alone, images[1]))) for each in pair
        }
        assert alone.shown(old)["DeprecationTime"]
        assert alone.retire()["steps"] == []

        alone.days_pass(15)
        steps = alone.retire_with_reports()["steps"]
        assert {one["ami"] for one in steps if one["step"] == "disable"} >= {old, copy}
        assert alone.shown(old)["State"] == alone.shown(copy, REGIONS[1])["State"] == "disabled"
        assert alone.record(old)["shares"] == [{"UserId": ANOTHER_ACCOUNT}]

        alone.days_pass(31)
        alone.retire_with_reports()
        assert alone.shown(old) == alone.shown(copy, REGIONS[1]) == {}
        ec2 = alone.cloud.workload_client("ec2")
        left = {
            one["SnapshotId"]
            for page in ec2.get_paginator("describe_snapshots").paginate()
            for one in page["Snapshots"]
        }
        assert snapshots
        assert not left & set(snapshots)
        # The newest, and what the channel could be rolled back to.
        assert all(alone.shown(image)["State"] == "available" for image in images[2:])
        assert alone.record(old)["stage"] == "retired"
        retired = alone.heard("Image Retired", ami=old)
        stages = [one["stage"] for one in retired]
        assert stages == ["deprecated", "disabled", "deregistered"]

    def test_brings_back_what_is_used_after_all_for_everybody_it_was_shared_with(self, alone: Gallery) -> None:
        alone.configure(keep_newest=1, share_accounts=[ANOTHER_ACCOUNT])
        old, _ = alone.promoted(alone.image())["image"], alone.image()
        _forget_channel(alone)
        alone.days_pass(31)
        alone.retire_with_reports()
        alone.days_pass(15)
        alone.retire_with_reports()
        assert alone.shown(old)["State"] == "disabled"
        assert alone.shared_with(old) == set()
        _name_in_template(alone, old)
        assert [one["ami"] for one in alone.retire()["restored"]] == [old]
        shown = alone.shown(old)
        assert shown["State"] == "available"
        assert not shown.get("DeprecationTime")
        assert alone.shared_with(old) == {ANOTHER_ACCOUNT}
        assert alone.heard("Image Restored", ami=old)

    def test_keeps_an_image_in_an_old_version_of_a_launch_template(self, alone: Gallery) -> None:
        old, other, newest = (alone.image() for _ in range(3))
        template = _name_in_template(alone, old)
        for _ in range(12):  # past the ten versions that EC2 itself looks at unasked
            alone.cloud.workload_client("ec2").create_launch_template_version(
                LaunchTemplateName=template, LaunchTemplateData={"ImageId": newest}
            )
        alone.days_pass(31)
        assert [one["ami"] for one in alone.retire_with_reports()["steps"]] == [other]
        assert not alone.shown(old).get("DeprecationTime")

    def test_keeps_an_image_while_nobody_knows_what_another_account_does_with_it(self, alone: Gallery) -> None:
        old, _ = alone.image(), alone.image()
        alone.days_pass(31)
        first = alone.retire()
        assert first["steps"] == []
        assert old in first["asked_about"]
        alone.settle_reports()
        assert [one["ami"] for one in alone.retire(dry_run=True)["steps"]] == [old]

    def test_keeps_an_image_that_another_account_uses(self, alone: Gallery) -> None:
        old, _ = alone.image(), alone.image()
        alone.cloud.fault("workload", usage=old, account=ANOTHER_ACCOUNT, resource="ec2:Instance", count=3)
        alone.days_pass(31)
        assert alone.retire_with_reports()["steps"] == []

    def test_keeps_everything_where_something_cannot_be_looked_at(self, alone: Gallery) -> None:
        old, _ = alone.image(), alone.image()
        alone.days_pass(31)
        alone.retire()
        alone.settle_reports()
        alone.cloud.fault("workload", action="DescribeLaunchConfigurations", error="AccessDenied")
        assert alone.retire()["steps"] == []
        alone.cloud.clear_faults()
        assert [one["ami"] for one in alone.retire()["steps"]] == [old]

    def test_that_is_throttled_in_the_middle_goes_on_with_the_others_and_ends_the_next_time(
        self, alone: Gallery
    ) -> None:
        first, second, _ = (alone.image() for _ in range(3))
        alone.days_pass(31)
        alone.retire()
        alone.settle_reports()
        alone.cloud.fault(
            "workload", action="EnableImageDeprecation", environment=f"retire-{first}", error="RequestLimitExceeded"
        )
        report = alone.retire()
        assert [(one["ami"], "RequestLimitExceeded" in one["error"]) for one in report["failed"]] == [(first, True)]
        assert alone.shown(second)["DeprecationTime"]
        assert not alone.shown(first).get("DeprecationTime")
        alone.cloud.clear_faults()
        assert [one["ami"] for one in alone.retire()["steps"]] == [first]
        assert alone.shown(first)["DeprecationTime"]

    def test_says_in_a_dry_run_what_the_real_one_does_then(self, alone: Gallery) -> None:
        first, second, _ = (alone.image() for _ in range(3))
        alone.days_pass(31)
        alone.retire()
        alone.settle_reports()
        dry, again = alone.retire(dry_run=True), alone.retire(dry_run=True)
        assert not alone.shown(first).get("DeprecationTime")
        real = alone.retire()
        assert dry["steps"] == again["steps"] == real["steps"]
        assert {one["ami"] for one in real["steps"]} == {first, second}
        assert dry["counts"] == real["counts"]

    def test_run_twice_at_once_harms_nothing(self, alone: Gallery) -> None:
        old, newest = alone.image(), alone.image()
        alone.days_pass(31)
        alone.retire()
        alone.settle_reports()
        alone.retire()
        alone.retire()
        assert alone.shown(old)["DeprecationTime"]
        assert not alone.shown(newest).get("DeprecationTime")

    def test_does_not_touch_what_is_being_promoted(self, alone: Gallery) -> None:
        old, _ = alone.image(), alone.image()
        alone.days_pass(31)
        alone.retire()
        alone.settle_reports()
        alone.cloud.client("dynamodb").update_item(
            TableName=alone.mayfly.outputs["TableName"],
            Key={"pk": {"S": f"image#{old}"}},
            UpdateExpression="SET wanted_until = :late",
            ExpressionAttributeValues={":late": {"S": "2099-01-01T00:00:00.000Z"}},
        )
        (failed,) = alone.retire()["failed"]
        assert "being promoted" in failed["error"]
        assert not alone.shown(old).get("DeprecationTime")

    def test_stops_at_the_kill_switch(self, alone: Gallery) -> None:
        old, _ = alone.image(), alone.image()
        alone.days_pass(31)
        alone.retire()
        alone.settle_reports()
        ssm = alone.cloud.client("ssm")
        ssm.put_parameter(Name="/mayfly/kill-switch", Value="tester: a test", Type="String", Overwrite=True)
        try:
            assert "tester" in alone.retire()["halted"]
            assert not alone.shown(old).get("DeprecationTime")
        finally:
            ssm.put_parameter(Name="/mayfly/kill-switch", Value="off", Type="String", Overwrite=True)


def _copy(gallery: Gallery, image: str) -> str:
    ec2 = gallery.ec2(REGIONS[1])
    found = ec2.describe_images(Filters=[{"Name": "tag:mayfly:source-image", "Values": [image]}])["Images"]
    return str(found[0]["ImageId"])


def _name_in_template(gallery: Gallery, image: str) -> str:
    """A launch template of somebody else that names the image."""
    name = f"template-{image}"
    gallery.cloud.workload_client("ec2").create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"ImageId": image}
    )
    return name


def _forget_channel(gallery: Gallery) -> None:
    """As if the channel had never been: its record, its parameter, and the protection that came with it."""
    gallery.cloud.client("dynamodb").delete_item(
        TableName=gallery.mayfly.outputs["TableName"], Key={"pk": {"S": f"channel#{gallery.family}/candidate"}}
    )
    gallery.cloud.workload_client("ssm").delete_parameter(Name=f"/mayfly/images/{gallery.family}/candidate")
    ec2 = gallery.cloud.workload_client("ec2")
    for image in ec2.describe_images(Filters=[{"Name": "tag:mayfly:image-family", "Values": [gallery.family]}])[
        "Images"
    ]:
        ec2.disable_image_deregistration_protection(ImageId=image["ImageId"])
