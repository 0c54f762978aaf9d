"""Instances fail at their first boot: one is replaced, one too many ends the environment, and each says why."""

import json
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from local.workload.mixed import NO_SPOT
from mayfly.aws.records import Conflict
from tests.integration.world import (
    LATER,
    NOW,
    OURS,
    REGION,
    ROOT,
    TOKEN,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    creation,
)

FAILED = "failed after 19 s: deploy: exit code 1: no executable start"


def built(world: World, replace: str = "1") -> None:
    """An environment is being built, of which so many instances may be replaced."""
    world.planned()
    world.call("create_environment", creation(order=an_order(parameters={"ReplaceFailed": replace})))


def an_instance(world: World, **tags: str) -> str:
    """One of its instances, and what it says of itself."""
    [instance] = world.launch(OURS | {f"mayfly:{key.replace('_', '-')}": value for key, value in tags.items()})
    return instance


def stopped(world: World, instance: str, account: str = WORKLOAD_ACCOUNT) -> Json:
    event = {
        "version": "0", "id": "6a7e8feb", "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2",
        "account": account, "region": REGION, "time": NOW, "resources": [],
        "detail": {"instance-id": instance, "state": "stopped"},
    }  # fmt: skip
    return world.call("judge_instance", event)


def test_as_many_as_may_be_are_replaced_and_one_more_ends_it_with_the_reason(world: World) -> None:
    built(world)
    first, second = (an_instance(world, boot=FAILED) for _ in range(2))
    assert stopped(world, first)["replaced"]
    assert stopped(world, first)["replaced"], "the event came twice"
    assert world.settled == []
    assert not stopped(world, second)["replaced"]
    [end] = world.settled
    assert (end["taskToken"], end["error"]) == (TOKEN, "CreationFailed")
    assert f"2 failed where 1 may be replaced; {second}: {FAILED}" in end["cause"]
    assert world.record()["failed_instances"] == [first, second]


@pytest.mark.parametrize(
    "tags",
    [
        {"boot": "ready after 70 s"},
        {},
        {"boot": FAILED, "controller": "333333333333/us-east-1/mayfly"},
        {"boot": FAILED, "environment": "webshop-9-9-9-smoke-0a1b2c3d"},
    ],
    ids=["was ready", "says nothing", "another's", "no environment of ours"],
)
def test_what_stopped_for_another_reason_is_not_counted(world: World, tags: dict[str, str]) -> None:
    built(world, "0")
    assert not stopped(world, an_instance(world, **tags))["judged"]
    assert world.settled == []


def test_an_account_that_is_not_ours_is_not_entered(world: World) -> None:
    built(world)
    world.wire.forget()
    assert not stopped(world, "i-0123456789abcdef0", "999999999999")["judged"]
    assert world.wire.heard("AssumeRole") == []


def test_what_fails_after_its_environment_was_ready_is_not_counted(world: World) -> None:
    world.ready()
    assert not stopped(world, an_instance(world, boot=FAILED))["judged"]


class TestUnderTest:
    """Auto Scaling terminates an instance of an environment that is being tested."""

    SAMPLE: Json = json.loads((ROOT / "events" / "judge_instance_lost.json").read_text())

    def taken_out(self, world: World, instance: str, group: str, account: str = WORKLOAD_ACCOUNT) -> Json:
        detail = self.SAMPLE["detail"] | {"EC2InstanceId": instance, "AutoScalingGroupName": group}
        return world.call("judge_instance", self.SAMPLE | {"account": account, "detail": detail})

    def grouped(self, world: World, **tags: str) -> str:
        """A group that carries the environment's tags."""
        labels = [{"Key": key, "Value": value} for key, value in (OURS | tags).items()]
        described = {"AutoScalingGroupName": "mayfly-group", "Tags": labels}
        world.wire.answer("DescribeAutoScalingGroups", AutoScalingGroups=[described])
        return "mayfly-group"

    def test_its_owner_is_told_once_for_each(self, world: World) -> None:
        world.ready()
        group = self.grouped(world)
        for instance in ("i-1", "i-2"):
            assert self.taken_out(world, instance, group)["judged"]
        said = [detail for name, detail in world.said if name == "Environment Instance Lost"]
        assert [(one["instance"], one["reason"], one["lost"]) for one in said] == [
            ("i-1", "i-1: failed a status check", 1),
            ("i-2", "i-2: failed a status check", 2),
        ]
        assert world.record()["lost_instances"] == ["i-1", "i-2"]

    def test_a_repetition_says_the_same_and_counts_once(self, world: World) -> None:
        world.ready()
        group = self.grouped(world)
        for _ in range(2):
            self.taken_out(world, "i-1", group)
        said = [detail["lost"] for name, detail in world.said if name == "Environment Instance Lost"]
        assert said == [1, 1]
        assert world.record()["lost_instances"] == ["i-1"]
        assert [line["what"] for line in world.record()["history"]].count("instance lost") == 1

    def test_another_one_at_the_same_moment_is_not_written_over(self, world: World) -> None:
        world.ready()
        group = self.grouped(world)
        world.wire.before("UpdateItem", lambda: world.change(lost_instances=["i-2"]))
        with pytest.raises(Conflict):
            self.taken_out(world, "i-1", group)
        self.taken_out(world, "i-1", group)
        assert world.record()["lost_instances"] == ["i-2", "i-1"]

    @pytest.mark.parametrize(
        "tags",
        [
            {"mayfly:controller": "333333333333/us-east-1/mayfly"},
            {"mayfly:environment": "webshop-9-9-9-smoke-0a1b2c3d"},
            {"mayfly:environment": ""},
        ],
        ids=["another's", "no environment of ours", "a permanent one"],
    )
    def test_what_is_none_of_ours_is_not_counted(self, world: World, tags: dict[str, str]) -> None:
        world.ready()
        assert not self.taken_out(world, "i-1", self.grouped(world, **tags))["judged"]

    def test_before_it_is_ready_and_after_its_end_nobody_is_told(self, world: World) -> None:
        built(world)
        group = self.grouped(world)
        assert not self.taken_out(world, "i-1", group)["judged"]
        world.change(ending={"by": "tests", "outcome": "passed", "reason": "ok", "at": LATER})
        assert not self.taken_out(world, "i-1", group)["judged"]
        assert "lost_instances" not in world.record()

    def test_an_account_that_is_not_ours_is_not_entered(self, world: World) -> None:
        world.ready()
        world.wire.forget()
        assert not self.taken_out(world, "i-1", "mayfly-x", "999999999999")["judged"]
        assert world.wire.heard("AssumeRole") == []


def test_the_reason_of_a_failed_creation_names_who_hangs_where(world: World) -> None:
    stack = world.created()
    hangs = an_instance(world, boot="certificate 4 s; deploy since 10:41:07Z")
    an_instance(world, boot="ready after 70 s")
    world.set_stack(stack, status="CREATE_FAILED")
    event: Any = {
        "version": "0", "id": "1", "detail-type": "CloudFormation Stack Status Change", "source": "aws.cloudformation",
        "account": WORKLOAD_ACCOUNT, "region": REGION, "time": LATER, "resources": [],
        "detail": {"stack-id": stack, "status-details": {"status": "CREATE_FAILED", "status-reason": "no signals"}},
    }  # fmt: skip
    reason = world.call("resume_environment", event)["reason"]
    assert f"{hangs}: certificate 4 s; deploy since 10:41:07Z" in reason


def test_another_version_than_the_one_that_was_pushed_is_not_ready(world: World) -> None:
    stack = world.created()
    [only] = [name for name, state in world.states().items() if state == "running"]
    world.there("ec2").create_tags(Resources=[only], Tags=[{"Key": "mayfly:version", "Value": "0.0.0"}])
    with pytest.raises(Exception, match=rf"{only} runs 0\.0\.0, not 0\.0\.1"):
        world.call("confirm_ready", {"order": an_order(), "stack": stack, "now": LATER})


def test_who_watches_an_environment_sees_where_it_hangs_once_for_each_news(world: World) -> None:
    world.created()
    hangs = an_instance(world, boot="deploy since 10:41:07Z")
    for _ in range(2):
        world.call("measure_reach", {"now": LATER})
    notes = [line["why"] for line in world.record()["history"] if line["what"] == "booting"]
    [note] = notes
    assert f"{hangs}: deploy since 10:41:07Z" in note
    world.there("ec2").create_tags(Resources=[hangs], Tags=[{"Key": "mayfly:boot", "Value": FAILED}])
    world.call("measure_reach", {"now": LATER})
    assert FAILED in world.record()["history"][-1]["why"]


class TestNotLaunched:
    """Auto Scaling cannot launch an instance of an environment that is being built."""

    SAMPLE: Json = json.loads((ROOT / "events" / "judge_instance_not_launched.json").read_text())

    def failed(self, world: World, kind: str, zone: str, account: str = WORKLOAD_ACCOUNT) -> Json:
        said = self.SAMPLE["detail"]["StatusMessage"].replace("m5.large", kind).replace("us-east-1a", zone)
        detail = self.SAMPLE["detail"] | {"StatusMessage": said, "Details": {"Availability Zone": zone}}
        return world.call("judge_instance", self.SAMPLE | {"account": account, "detail": detail})

    def grouped(self, world: World, distribution: Json | None = None, **tags: str) -> None:
        labels = [{"Key": key, "Value": value} for key, value in (OURS | tags).items()]
        overrides = [{"InstanceType": "m5.large"}, {"InstanceType": "c5.large"}]
        described = {
            "AutoScalingGroupName": "mayfly-group",
            "Tags": labels,
            "DesiredCapacity": 2,
            "Instances": [],
            "AvailabilityZones": ["us-east-1a", "us-east-1b"],
            "MixedInstancesPolicy": {
                "LaunchTemplate": {"Overrides": overrides},
                "InstancesDistribution": distribution or {},
            },
        }
        world.wire.answer("DescribeAutoScalingGroups", AutoScalingGroups=[described])

    def told(self, world: World) -> list[str]:
        return [line["why"] for line in world.record()["history"] if line["what"] == "not launched"]

    def test_is_told_once_by_type_and_zone_and_ends_what_gets_no_instance_anywhere(self, world: World) -> None:
        built(world)
        self.grouped(world)
        for zone in ("us-east-1a", "us-east-1a", "us-east-1b"):
            assert not self.failed(world, "m5.large", zone)["ends"]
        assert [why.partition(":")[0] for why in self.told(world)] == [
            "no capacity for m5.large in us-east-1a",
            "no capacity for m5.large in us-east-1b",
        ]
        assert not self.failed(world, "c5.large", "us-east-1a")["ends"]
        assert world.settled == []
        assert self.failed(world, "c5.large", "us-east-1b")["ends"]
        [end] = world.settled
        assert (end["taskToken"], end["error"]) == (TOKEN, "CreationFailed")
        assert end["cause"].startswith("EC2 has no capacity for m5.large in us-east-1a, nor for m5.large in us-east-1b")

    def test_tells_by_its_record_what_nobody_waits_for_any_more(self, world: World) -> None:
        built(world)  # in Express mode: its stack is complete, and its instances are looked at
        self.grouped(world)
        world.wire.answer("SendTaskFailure", error="TaskTimedOut")
        pools = [(kind, zone) for kind in ("m5.large", "c5.large") for zone in ("us-east-1a", "us-east-1b")]
        assert [self.failed(world, *pool)["ends"] for pool in pools] == [False, False, False, True]
        lacks, lines = world.record()["no_capacity"], len(world.record()["history"])
        assert lacks["222222222222/us-east-1"].startswith("EC2 has no capacity for m5.large in us-east-1a, nor for")
        assert self.failed(world, *pools[-1])["ends"]
        assert len(world.record()["history"]) == lines, "once"

    SPOT: ClassVar[Json] = {"OnDemandBaseCapacity": 0, "OnDemandPercentageAboveBaseCapacity": 40, "SpotMaxPrice": ""}

    def no_spot(self, world: World, zone: str, said: str = NO_SPOT) -> Json:
        detail = self.SAMPLE["detail"] | {"StatusMessage": said, "Details": {"Availability Zone": zone}}
        return world.call("judge_instance", self.SAMPLE | {"detail": detail})

    def test_for_want_of_spot_instances_has_the_rest_launched_on_demand_once(self, world: World) -> None:
        built(world)
        self.grouped(world, self.SPOT)
        (spot,) = (
            one for each in world.there("ec2").describe_instances(InstanceIds=[an_instance(world)])["Reservations"]
            for one in each["Instances"]
        )  # fmt: skip
        world.wire.answer("DescribeInstances", Reservations=[{"Instances": [spot | {"InstanceLifecycle": "spot"}]}])
        world.wire.answer("UpdateAutoScalingGroup")
        assert not self.no_spot(world, "us-east-1a")["ends"]
        assert world.wire.heard("UpdateAutoScalingGroup") == [], "there may be some in the other zone"
        assert not self.no_spot(world, "us-east-1b")["ends"]
        (call,) = world.wire.heard("UpdateAutoScalingGroup")
        shares = call["MixedInstancesPolicy"]["InstancesDistribution"]
        wanted = {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 0}
        assert shares == self.SPOT | wanted, "the Spot Instance that there is stays"
        (line,) = [line for line in world.record()["history"] if line["what"] == "On-Demand instead"]
        assert line["why"] == "EC2 has no Spot Instances for it: 1 of 2 are launched On-Demand"
        (detail,) = [detail for what, detail in world.said if what == "Environment On-Demand"]
        assert (detail["on_demand"], detail["instances"], detail["reason"]) == (1, 2, line["why"])
        *_, role = world.wire.heard("AssumeRole")
        assert role["Tags"] == [{"Key": "mayfly:environment", "Value": world.record()["id"]}]

        self.grouped(world, shares)
        assert not self.no_spot(world, "us-east-1b")["ends"]
        assert len(world.wire.heard("UpdateAutoScalingGroup")) == 1
        for kind in ("m5.large", "c5.large"):
            ends = [self.failed(world, kind, zone)["ends"] for zone in ("us-east-1a", "us-east-1b")]
        assert ends[-1], "neither is there any On-Demand"

    def test_a_protected_group_keeps_its_share_of_spot_instances(self, world: World) -> None:
        built(world)
        self.grouped(world, self.SPOT, **{"mayfly:protected": "true"})
        for zone in ("us-east-1a", "us-east-1b"):
            assert not self.no_spot(world, zone)["ends"]
        assert world.wire.heard("UpdateAutoScalingGroup") == []

    def test_that_auto_scaling_did_not_hear_of_it_is_asked_again_and_told_once(self, world: World) -> None:
        built(world)
        self.grouped(world, self.SPOT)
        world.wire.answer("DescribeInstances", Reservations=[])
        world.wire.answer("UpdateAutoScalingGroup", error="ScalingActivityInProgress")
        self.no_spot(world, "us-east-1a")
        for _ in range(2):
            with pytest.raises(ClientError, match="ScalingActivityInProgress"):
                self.no_spot(world, "us-east-1b")
        assert [line["what"] for line in world.record()["history"]].count("On-Demand instead") == 1

    def test_above_the_account_s_quota_of_spot_instances_is_on_demand_at_once(self, world: World) -> None:
        built(world)
        self.grouped(world, self.SPOT)
        world.wire.answer("DescribeInstances", Reservations=[])
        world.wire.answer("UpdateAutoScalingGroup")
        self.no_spot(world, "us-east-1a", "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot "
                     "instance count exceeded. Launching EC2 instance failed.")  # fmt: skip
        (call,) = world.wire.heard("UpdateAutoScalingGroup")
        assert call["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandBaseCapacity"] == 2

    def test_of_others_is_left_alone(self, world: World) -> None:
        built(world)
        self.grouped(world, **{"mayfly:controller": "333333333333/us-east-1/mayfly"})
        assert not self.failed(world, "m5.large", "us-east-1a")["judged"]
        world.wire.forget()
        assert not self.failed(world, "m5.large", "us-east-1a", "999999999999")["judged"]
        assert world.wire.heard("AssumeRole") == []
        assert self.told(world) == []

    def test_of_one_that_is_ready_is_left_alone(self, world: World) -> None:
        world.ready()
        self.grouped(world)
        assert not self.failed(world, "m5.large", "us-east-1a")["judged"]
