"""Channels function by function: what is refused, what is done twice, and what a race leaves."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mayfly.aws.images import CopyLimitReached
from tests.integration.world import (
    CONTROLLER,
    CONTROLLER_ACCOUNT,
    NEXT_TOKEN,
    NOW,
    REGION,
    ROOT,
    TOKEN,
    WORKLOAD_ACCOUNT,
    World,
    announced,
    on_the_bus,
    session,
)

type Json = dict[str, Any]

EU = "eu-west-1"
FAMILY: Json = json.loads((ROOT / "tests" / "families" / "plain.json").read_text())
ASKED: Json = {"family": "base", "channel": "candidate", "why": "a test", "requested_by": "tester"}
MOVE = "base-candidate-3f2a9c1e5b7d"


@pytest.fixture(autouse=True)
def _unprotected(world: World) -> None:
    """Moto knows no protection from deregistration: what EC2 says where it does not know it either."""
    for operation in ("EnableImageDeregistrationProtection", "DisableImageDeregistrationProtection"):
        world.wire.answer(operation, "InvalidAction")
    configure(world)


def configure(world: World, **change: Any) -> None:
    world.put("/mayfly/families/base", json.dumps(FAMILY | change))


def image(world: World, stage: str = "proven", family: str = "base") -> str:
    """An image as a bake leaves it, in the family's own Region."""
    made: str = world.there("ec2").create_image(InstanceId=world.launch()[0], Name=f"image-{len(world.wire.calls)}")[
        "ImageId"
    ]
    labels = {"mayfly:image-family": family, "mayfly:controller": CONTROLLER}
    world.there("ec2").create_tags(Resources=[made], Tags=[{"Key": k, "Value": v} for k, v in labels.items()])
    world.records("image").change(made, {"id": made, "family": family, "stage": stage})
    return made


def copy_of(source: str, region: str = EU) -> str:
    """A copy in another Region, ready and tagged."""
    ec2 = session(WORKLOAD_ACCOUNT).client("ec2", region_name=region)
    made: str = ec2.copy_image(SourceImageId=source, SourceRegion=REGION, Name=f"copy-{source}")["ImageId"]
    labels = {"mayfly:image-family": "base", "mayfly:controller": CONTROLLER, "mayfly:source-image": source}
    ec2.create_tags(Resources=[made], Tags=[{"Key": key, "Value": value} for key, value in labels.items()])
    return made


def plan(world: World, image: str | None, **change: Any) -> Json:
    asked = ASKED | ({"image": image} if image else {}) | change
    return world.call("plan_promotion", {"move": asked, "now": NOW})


def move(world: World, planned: Json, by: str = MOVE, now: str = NOW) -> Json:
    shared = world.call("share_image", {"plan": planned, "copies": [], "now": now})
    return world.call("move_channel", {"plan": planned, "regions": shared["regions"], "move": by, "now": now})


def channel(world: World) -> Json:
    return world.record("base/candidate", "channel")


class TestAsking:
    def event(self, detail_type: str, **change: Any) -> Json:
        return on_the_bus(detail_type, ASKED | {"image": "ami-0123456789abcdef0"} | change)

    def test_starts_one_move_for_one_event(self, world: World) -> None:
        event = self.event("Image Promotion Requested")
        first = world.call("accept_promotion", event)
        assert world.call("accept_promotion", event)["move"] == first["move"]
        started = {call["name"]: json.loads(call["input"]) for call in world.wire.heard("StartExecution")}
        assert started == {
            first["move"]: ASKED | {"image": "ami-0123456789abcdef0", "action": "promote", "by_policy": False}
        }

    def test_for_a_rollback_starts_a_move_back(self, world: World) -> None:
        world.call("accept_promotion", on_the_bus("Image Rollback Requested", ASKED))
        (call,) = world.wire.heard("StartExecution")
        assert json.loads(call["input"])["action"] == "roll back"

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"family": "nobody"}, "families/nobody"),
            ({"image": "latest"}, "image"),
            ({"chanel": "stable"}, "chanel"),
            ({"requested_by": None}, "requested_by"),
        ],
    )
    def test_what_cannot_be_followed_is_a_dead_letter(self, world: World, change: Json, said: str) -> None:
        assert not world.call("accept_promotion", self.event("Image Promotion Requested", **change))["accepted"]
        (letter,) = world.dead_letters()
        assert said in letter["reason"]
        assert not world.wire.heard("StartExecution")

    def test_the_sample_is_understood(self, world: World) -> None:
        assert world.call("accept_promotion", json.loads((ROOT / "events" / "accept_promotion.json").read_text()))[
            "accepted"
        ]


class TestWhatAPromotionOwes:
    """What a sweep says of one that is over before it has said anything."""

    LATER, MUCH_LATER = "2026-11-24T06:57:34.120Z", "2026-11-24T07:47:34.120Z"

    def asked(self, world: World, image: str = "ami-0123456789abcdef0") -> str:
        event = on_the_bus("Image Promotion Requested", ASKED | {"image": image})
        return str(world.call("accept_promotion", event)["move"])

    def stop(self, world: World, name: str) -> None:
        execution = f"{world.promotion_machine.replace(':stateMachine:', ':execution:')}:{name}"
        world.own("stepfunctions").stop_execution(executionArn=execution)

    def said(self, world: World, now: str = MUCH_LATER) -> list[Json]:
        world.call("sweep_environments", {"now": now})
        return [detail for what, detail in world.said if what == "Image Promotion Failed"]

    def test_is_said_once_where_somebody_stopped_it(self, world: World) -> None:
        name = self.asked(world)
        assert self.said(world) == []
        self.stop(world, name)
        world.wire.forget()
        assert self.said(world, self.LATER) == []  # Step Functions may not list yet what has begun
        self.said(world)
        (failed,) = self.said(world)
        assert failed == ASKED | {"image": "ami-0123456789abcdef0", "error": "Aborted", "reason": failed["reason"]}
        assert world.record(name, "unsaid")["forget_after"]

    def test_is_nothing_where_its_channel_has_moved_and_it_died_before_it_wrote_that_down(self, world: World) -> None:
        made = image(world)
        copy_of(made)
        name = self.asked(world, made)
        self.stop(world, name)
        move(world, plan(world, made), by=name)
        world.records("unsaid").change(name, {"live": "unsaid"})
        assert self.said(world) == []

    def test_is_nothing_where_the_channel_points_there_already(self, world: World) -> None:
        made = image(world)
        copy_of(made)
        move(world, plan(world, made))
        with pytest.raises(Exception, match="points to"):
            world.call("plan_promotion", {"move": ASKED | {"image": made}, "name": "again", "now": NOW})
        assert "live" not in world.record("again", "unsaid")

    def test_is_not_owed_again_where_the_same_request_comes_when_it_is_over(self, world: World) -> None:
        name = self.asked(world)
        self.stop(world, name)
        assert len(self.said(world)) == 1
        self.asked(world)
        world.wire.forget()
        assert self.said(world) == []


class TestPlanning:
    def test_says_what_is_there_and_what_is_missing(self, world: World) -> None:
        configure(world, regions=[EU, "us-west-2"])
        made = image(world)
        copy = copy_of(made)
        planned = plan(world, made)
        assert planned["regions"] == {REGION: made, EU: copy}
        assert [each["region"] for each in planned["copies"]] == ["us-west-2"]
        assert (planned["version"], planned["from"]) == (0, "")

    @pytest.mark.parametrize("stage", ["imaging", "baked", "rejected", "retired"])
    def test_refuses_what_is_not_proven(self, world: World, stage: str) -> None:
        with pytest.raises(Exception, match="expected a proven one"):
            plan(world, image(world, stage))

    def test_refuses_an_image_of_another_family(self, world: World) -> None:
        with pytest.raises(Exception, match="expected a proven one of base"):
            plan(world, image(world, family="other"))

    def test_refuses_an_image_whose_tags_say_otherwise(self, world: World) -> None:
        made = image(world)
        world.there("ec2").create_tags(Resources=[made], Tags=[{"Key": "mayfly:controller", "Value": "another"}])
        with pytest.raises(Exception, match="by its tags"):
            plan(world, made)

    def test_refuses_an_image_that_is_gone(self, world: World) -> None:
        made = image(world)
        world.there("ec2").deregister_image(ImageId=made)
        with pytest.raises(Exception, match="is gone"):
            plan(world, made)

    def test_refuses_an_image_that_retirement_has_its_hands_on(self, world: World) -> None:
        made = image(world)
        world.records("image").change(made, {"retiring_until": "2099-01-01T00:00:00.000Z"})
        with pytest.raises(Exception, match="being retired"):
            plan(world, made)

    def test_has_nothing_to_do_where_the_channel_points_there(self, world: World) -> None:
        made = image(world)
        move(world, plan(world, made))
        with pytest.raises(Exception, match="already"):
            plan(world, made)

    def test_keeps_retirement_away_and_the_record_for_good(self, world: World) -> None:
        made = image(world)
        world.records("image").change(made, {"forget_after": 1})
        plan(world, made)
        assert world.record(made, "image")["wanted_until"] > NOW
        assert "forget_after" not in world.record(made, "image")


class TestCopying:
    def copy(self, world: World, source: str, token: str = TOKEN) -> Json:
        asked = {"family": "base", "image": source, "region": EU}
        return world.call("copy_image", {"copy": asked, "move": MOVE, "token": token, "now": NOW})

    def test_asks_for_a_tagged_copy_and_answers_where_it_is_there_at_once(self, world: World) -> None:
        made = image(world)
        answer = self.copy(world, made)
        (asked,) = world.wire.heard("CopyImage")
        kinds = {
            each["ResourceType"]: {t["Key"]: t["Value"] for t in each["Tags"]} for each in asked["TagSpecifications"]
        }
        assert kinds["image"] == kinds["snapshot"]
        assert kinds["image"] | {"mayfly:source-image": made, "mayfly:image-family": "base"} == kinds["image"]
        assert [told["told"] for told in world.settled] == ["Success"]
        assert world.record(answer["image"], "image")["waiting"] == {"for": "image", "token": TOKEN}

    def test_a_repetition_looks_at_the_copy_that_was_begun(self, world: World) -> None:
        made = image(world)
        copy = copy_of(made)
        assert self.copy(world, made, NEXT_TOKEN)["image"] == copy
        assert not world.wire.heard("CopyImage")
        assert world.settled[-1]["taskToken"] == NEXT_TOKEN

    def test_the_same_request_bears_the_same_client_token(self, world: World) -> None:
        made = image(world)
        self.copy(world, made)
        self.copy(world, made)  # moto drops the tags of a copy, so this one does not find the first
        first, second = world.wire.heard("CopyImage")
        assert first["ClientToken"] == second["ClientToken"]

    @pytest.mark.parametrize("code", ["ResourceLimitExceeded", "PendingSnapshotLimitExceeded"])
    def test_that_ec2_takes_no_more_of_now_is_to_be_asked_for_again(self, world: World, code: str) -> None:
        made = image(world)
        world.wire.answer("CopyImage", error=code)
        with pytest.raises(CopyLimitReached, match=f"{EU} takes no copy of {made} now: .*{code}"):
            self.copy(world, made)
        assert not world.settled

    def test_that_is_refused_for_another_reason_is_that_error(self, world: World) -> None:
        world.wire.answer("CopyImage", error="UnauthorizedOperation")
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            self.copy(world, image(world))


class TestSharing:
    def test_shares_what_is_lacking_only_and_reads_it_back(self, world: World) -> None:
        configure(world, share_accounts=[CONTROLLER_ACCOUNT, "333333333333"])
        made = image(world)
        planned = plan(world, made)
        share = {"plan": planned, "copies": [], "now": NOW}
        assert world.call("share_image", share) == {"regions": {REGION: made}}
        world.call("share_image", share)
        (asked,) = world.wire.heard("ModifyImageAttribute")
        assert {each["UserId"] for each in asked["LaunchPermission"]["Add"]} == {CONTROLLER_ACCOUNT, "333333333333"}

    def test_does_not_believe_an_answer_that_nothing_followed_from(self, world: World) -> None:
        configure(world, share_accounts=["333333333333"])
        planned = plan(world, image(world))
        world.wire.answer("ModifyImageAttribute")
        with pytest.raises(Exception, match="is not shared with 333333333333"):
            world.call("share_image", {"plan": planned, "copies": [], "now": NOW})

    def test_notices_a_region_without_a_copy(self, world: World) -> None:
        configure(world, regions=[EU])
        planned = plan(world, image(world))
        with pytest.raises(Exception, match=f"has no copy in {EU}"):
            world.call("share_image", {"plan": planned, "copies": [], "now": NOW})

    def test_grants_the_use_of_the_key_that_encrypts_a_region(self, world: World) -> None:
        key = world.there("kms").create_key()["KeyMetadata"]["Arn"]
        configure(world, share_accounts=["333333333333"], kms_key_ids={REGION: key})
        planned = plan(world, image(world))
        world.call("share_image", {"plan": planned, "copies": [], "now": NOW})
        world.call("share_image", {"plan": planned, "copies": [], "now": NOW})
        granted = [each["GranteePrincipal"] for each in world.there("kms").list_grants(KeyId=key)["Grants"]]
        # Auto Scaling's own role has no permission on a key of one's own, and launches what a channel points to.
        auto_scaling = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
        assert sorted(granted) == [
            f"arn:aws:iam::{WORKLOAD_ACCOUNT}:{auto_scaling}",
            "arn:aws:iam::333333333333:root",
        ]


class TestMoving:
    def test_writes_once_and_tells_parameter_store(self, world: World) -> None:
        configure(world, share_accounts=[CONTROLLER_ACCOUNT])
        made = image(world)
        move(world, plan(world, made))
        assert channel(world)["regions"] == {REGION: made}
        for ssm in (world.own("ssm"), world.there("ssm")):
            assert ssm.get_parameter(Name="/mayfly/images/base/candidate")["Parameter"]["Value"] == made

    def test_leaves_the_controller_alone_where_it_cannot_launch_the_image(self, world: World) -> None:
        move(world, plan(world, image(world)))
        with pytest.raises(world.own("ssm").exceptions.ParameterNotFound):
            world.own("ssm").get_parameter(Name="/mayfly/images/base/candidate")

    def test_a_repetition_finds_its_own_work(self, world: World) -> None:
        planned = plan(world, image(world))
        assert move(world, planned) == move(world, planned)
        assert channel(world)["version"] == 1
        assert len(channel(world)["history"]) == 1

    def test_of_two_that_planned_on_the_same_channel_one_wins(self, world: World) -> None:
        first, second = plan(world, image(world)), plan(world, image(world))
        move(world, first, by="first")
        with pytest.raises(Exception, match="by first"):
            move(world, second, by="second")
        assert channel(world)["image"] == first["image"]

    def test_of_two_in_the_same_moment_one_wins(self, world: World) -> None:
        first, second = plan(world, image(world)), plan(world, image(world))
        shared = world.call("share_image", {"plan": first, "copies": [], "now": NOW})
        world.wire.before("UpdateItem", lambda: move(world, second, by="second"))
        with pytest.raises(Exception, match="by second"):
            world.call("move_channel", {"plan": first, "regions": shared["regions"], "move": "first", "now": NOW})
        assert (channel(world)["image"], channel(world)["version"]) == (second["image"], 1)

    def test_back_restores_what_was_there_in_every_region(self, world: World) -> None:
        first, second = image(world), image(world)
        move(world, plan(world, first), by="first")
        move(world, plan(world, second), by="second")
        move(world, plan(world, None, action="roll back"), by="third")
        assert (channel(world)["image"], channel(world)["rolled_back"]) == (first, [second])

    def test_protects_what_the_channel_needs_and_nothing_else_any_more(self, world: World) -> None:
        images = [image(world) for _ in range(5)]
        for number, made in enumerate(images):
            move(world, plan(world, made), by=str(number))
        world.wire.answer("EnableImageDeregistrationProtection")
        world.wire.answer("DisableImageDeregistrationProtection")
        world.wire.forget()
        sixth = image(world)
        move(world, plan(world, sixth), by="sixth")
        assert {call["ImageId"] for call in world.wire.heard("EnableImageDeregistrationProtection")} == {
            *images[2:],
            sixth,
        }
        assert [call["ImageId"] for call in world.wire.heard("DisableImageDeregistrationProtection")] == [images[1]]


class TestPlanningAReleaseReads:
    def release(self, world: World) -> Json:
        event = json.loads((ROOT / "events" / "plan_release.json").read_text())
        world.call("accept_code_version", json.loads((ROOT / "events" / "accept_code_version.json").read_text()))
        return world.call("plan_release", event)

    def test_the_channel_s_record_and_not_the_parameter(self, world: World) -> None:
        made = image(world)
        move(world, plan(world, made, channel="stable"))
        world.put("/mayfly/images/base/stable", "ami-0ffffffffffffffff")
        assert {order["image"] for order in self.release(world)["orders"]} == {made}
        assert {order["channel"] for order in self.release(world)["orders"]} == {"base/stable"}

    def test_the_parameter_of_a_family_that_somebody_else_bakes(self, world: World) -> None:
        assert {order["image"] for order in self.release(world)["orders"]} == {"ami-12c6146b"}


class TestCounting:
    def passed(self, world: World, release: str) -> Json:
        return world.call("count_release", announced("Release Passed", release=release))

    def ran(self, world: World, release: str, made: str) -> None:
        world.records("release").change(release, {"image": made, "stage": "passed"})

    def test_promotes_to_stable_after_so_many_and_counts_each_once(self, world: World) -> None:
        configure(world, stable={"after_releases": 2})
        made = image(world)
        move(world, plan(world, made))
        for release in ("webshop-1", "webshop-2"):
            self.ran(world, release, made)
        self.passed(world, "webshop-1")
        self.passed(world, "webshop-1")
        assert not world.wire.heard("StartExecution")
        self.passed(world, "webshop-2")
        (call,) = world.wire.heard("StartExecution")
        said = json.loads(call["input"])
        assert (said["channel"], said["image"], said["by_policy"]) == ("stable", made, True)

    @pytest.mark.parametrize(("failed", "promoted"), [(3, False), (2, True)])
    def test_leaves_an_image_to_a_person_whose_instances_fail_more_often(
        self, world: World, failed: int, promoted: bool
    ) -> None:
        configure(world, stable={"after_releases": 1})
        before, made = image(world), image(world)
        move(world, plan(world, before, channel="stable"), by="1")
        move(world, plan(world, made))
        for release, ran_on, launched, lost in (("webshop-1", before, 1000, 3), ("webshop-2", made, 100, failed)):
            self.ran(world, release, ran_on)
            failures = {"launched": launched, "failed": {"failed a status check": lost}}
            world.records("release").change(release, {"id": release, "instance_failures": failures})
        world.records("image").change(before, {"releases_passed": ["webshop-1"]})
        answer = self.passed(world, "webshop-2")
        assert ("move" in answer) is promoted
        if not promoted:
            assert f"{made} is left to a person: 3 of 100 instances failed" in answer["reason"]
            assert f"on {before}, 3 of 1000 instances failed" in answer["reason"]

    def test_counts_nothing_for_an_image_that_no_candidate_points_to(self, world: World) -> None:
        self.ran(world, "webshop-1", "ami-12c6146b")
        assert not self.passed(world, "webshop-1")["counted"]
        assert not self.passed(world, "webshop-unknown")["accepted"]

    def test_leaves_stable_to_people_where_there_is_no_policy(self, world: World) -> None:
        made = image(world)
        move(world, plan(world, made))
        self.ran(world, "webshop-1", made)
        assert "only a person" in self.passed(world, "webshop-1")["reason"]

    def test_does_not_undo_a_rollback(self, world: World) -> None:
        first, second = image(world), image(world)
        move(world, plan(world, first, channel="stable"), by="1")
        move(world, plan(world, second, channel="stable"), by="2")
        move(world, plan(world, None, channel="stable", action="roll back"), by="3")
        with pytest.raises(Exception, match="a person may promote it"):
            plan(world, second, channel="stable", by_policy=True)
