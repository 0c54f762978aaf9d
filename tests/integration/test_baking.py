"""Bakes, function by function: asked for once, one at a time for each family, and nothing of a builder left."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import AmiBackend
from moto.ec2.responses.instances import InstanceResponse

from mayfly.domain.bake import bake_id
from mayfly.domain.contents import Contents
from mayfly.domain.puppet_secret import derive
from mayfly.workflows import image_contents
from tests.integration.api import Api
from tests.integration.world import (
    AFTER,
    CONTROLLER,
    LATER,
    NEXT_TOKEN,
    NOW,
    REGION,
    ROOT,
    TOKEN,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    announced,
    function,
    on_the_bus,
    on_the_topic,
)

FAMILY = "base"
BAKE = "base-3f2a9c1e"
BASE_NAME = "al2023-ami-2023.12.20260930.0-kernel-6.1-x86_64"
CONFIGURATION: Json = json.loads((ROOT / "families" / "base.json").read_text())
CHECKS = [
    {"name": "service runs", "command": "systemctl is-active it", "stdout": "^active$"},
    {"name": "port", "command": "ss"},
]


class Line:
    """An image family in a world: its base image, its configuration, and its bakes up to where a test takes over."""

    def __init__(self, world: World) -> None:
        self.world = world
        ec2 = world.there("ec2")
        self.base: str = self.image(BASE_NAME)
        subnet = ec2.describe_subnets()["Subnets"][0]
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        world.there("iam").create_instance_profile(InstanceProfileName="mayfly-builder")
        self.own: Json = CONFIGURATION | {
            "base": {"owner": WORKLOAD_ACCOUNT, "name": "al2023-ami-2023.*-x86_64"},
            "subnet": subnet["SubnetId"],
            "security_groups": [group],
            "blueprint": "single.yaml",
            "parameters": {},
            "checks": CHECKS,
        }
        self.configure()
        world.wire.forget()

    def image(self, name: str) -> str:
        """An image in the workload account that somebody made."""
        ec2 = self.world.there("ec2")
        instance = self.world.launch({"Name": "by hand"})[0]
        image: str = ec2.create_image(InstanceId=instance, Name=name)["ImageId"]
        ec2.terminate_instances(InstanceIds=[instance])
        return image

    def configure(self, name: str = FAMILY, **change: Any) -> None:
        self.world.put(f"/mayfly/families/{name}", json.dumps(self.own | change))

    def ask(self, **change: Any) -> Json:
        detail = {"family": FAMILY, "why": "new packages", "requested_by": "ada"} | change
        return self.world.call("accept_bake", on_the_bus("Image Bake Requested", detail))

    def plan(self, bake: str = BAKE, now: str = NOW) -> Json:
        return self.world.call("plan_bake", {"bake": bake, "family": FAMILY, "now": now})

    def launch(self, plan: Json, token: str = TOKEN) -> str:
        launched = self.world.call("launch_builder", {"plan": plan, "token": token, "now": NOW})
        return str(launched["builder"])

    def stop(self, builder: str, result: str | None = "ok") -> None:
        """The builder's script is done: it says so and stops."""
        ec2 = self.world.there("ec2")
        if result:
            ec2.create_tags(Resources=[builder], Tags=[{"Key": "mayfly:bake-result", "Value": result}])
        ec2.stop_instances(InstanceIds=[builder])

    def make(self, plan: Json, token: str = NEXT_TOKEN) -> str:
        return str(self.world.call("create_image", {"plan": plan, "token": token, "now": LATER})["image"])

    def judge(self, failure: Any = False) -> Json:
        event = {"bake": BAKE, "family": FAMILY, "failure": failure, "now": LATER}
        return self.world.call("judge_bake", event)

    def begun(self) -> Json:
        """A bake of this name was asked for and planned."""
        self.world.records("bake").change(BAKE, {"id": BAKE, "family": FAMILY, "why": "w", "requested_by": "ada"})
        return self.plan()

    def made(self) -> tuple[Json, str]:
        """A bake's image is asked for."""
        plan = self.begun()
        self.stop(self.launch(plan))
        return plan, self.make(plan)

    def started(self) -> dict[str, Json]:
        """The executions of bakes that were asked for: their names and inputs."""
        calls = self.world.wire.heard("StartExecution")
        return {
            call["name"]: json.loads(call["input"])
            for call in calls
            if call["stateMachineArn"] == self.world.bake_machine
        }

    def record(self, identity: str = BAKE, kind: Any = "bake") -> Json:
        return self.world.record(identity, kind)

    def fail_next(self, operation: str) -> None:
        """A function's sandbox dies right before this call."""

        def die() -> None:
            raise RuntimeError("the sandbox died")

        self.world.wire.before(operation, die)


@pytest.fixture
def line(world: World, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A family in a world where, as on AWS, a volume without a size has its image's (moto wants one), and snapshots
    of an image can be tagged (moto gives up)."""
    run: Any = InstanceResponse.run_instances

    def run_instances(response: Any) -> Any:
        for device in response._get_param("BlockDeviceMappings", []):
            device["Ebs"].setdefault("VolumeSize", 15)
        return run(response)

    make: Any = AmiBackend.create_image

    def create_image(backend: Any, *args: Any, tag_specifications: list[Any], **named: Any) -> Any:
        own = [one for one in tag_specifications if one["ResourceType"] != "snapshot"]
        return make(backend, *args, tag_specifications=own, **named)

    monkeypatch.setattr(InstanceResponse, "run_instances", run_instances)
    monkeypatch.setattr(AmiBackend, "create_image", create_image)
    return Line(world)


class TestAskingForABake:
    def test_starts_it_under_a_name_that_follows_from_the_event(self, line: Line) -> None:
        name = bake_id(FAMILY, "EventBridge 6a7e8feb-b491-4cf7-a9f1-bf3703467718")
        assert line.ask() == {"accepted": True, "bakes": [{"family": FAMILY, "bake": name, "started": True}]}
        assert line.started() == {name: {"bake": name, "family": FAMILY, "why": "new packages", "requested_by": "ada"}}
        assert line.record(name)["stage"] == "requested"

    def test_a_second_time_by_the_same_event_starts_nothing_else(self, line: Line) -> None:
        assert line.ask()["bakes"][0]["bake"] == line.ask()["bakes"][0]["bake"]
        assert len(line.started()) == 1

    def test_is_made_up_for_where_the_function_died_between_record_and_execution(self, line: Line) -> None:
        line.fail_next("StartExecution")
        with pytest.raises(RuntimeError):
            line.ask()
        assert line.ask()["bakes"][0]["started"]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"family": "nobody-s"}, "there is no parameter /mayfly/families/nobody-s"),
            ({"family": "Base"}, "family: String should match pattern"),
            ({"why": ""}, "why: "),
            ({"urgent": True}, "urgent: Extra inputs are not permitted"),
        ],
    )
    def test_in_a_way_that_cannot_be_followed_lands_among_the_dead_letters(
        self, line: Line, change: Json, expected: str
    ) -> None:
        answer = line.ask(**change)
        assert not answer["accepted"]
        assert expected in answer["reason"]
        assert [letter["function"] for letter in line.world.dead_letters()] == ["accept_bake"]
        assert line.started() == {}

    def test_of_a_family_that_is_configured_wrongly_names_the_fields(self, line: Line) -> None:
        line.configure(base={"name": "al2023-*"}, instance_type="large")
        reason = line.ask()["reason"]
        assert "base: Value error, expected either parameter, or owner and name" in reason
        assert "instance_type: " in reason


class TestTheSchedule:
    def test_bakes_every_family_once(self, line: Line) -> None:
        line.configure("other")
        for _ in range(2):
            line.world.call("accept_bake", {"now": NOW})
        assert sorted(one["family"] for one in line.started().values()) == ["base", "other"]

    def test_bakes_one_that_is_wrong_too_so_that_its_bake_says_why(self, line: Line) -> None:
        line.world.put("/mayfly/families/wrong", "{}")
        answer = line.world.call("accept_bake", {"now": NOW})
        assert [bake["family"] for bake in answer["bakes"]] == ["base", "wrong"]


class TestPuppetCode:
    def push(self, line: Line, at: str = "2026-11-24T06:47:33Z", **change: Any) -> Json:
        detail = {"version": "7", "artifact": "s3://code/7.tar.gz", "sha256": "b" * 64, "pushed_by": "ci"} | change
        return line.world.call("accept_bake", on_the_bus("Puppet Code Pushed", detail) | {"time": at, "sent": at})

    def test_bakes_every_family_that_applies_it(self, line: Line) -> None:
        line.configure("asked", puppet={"mode": "agent", "server": "puppet.example"})
        line.configure("other")
        assert [bake["family"] for bake in self.push(line)["bakes"]] == ["base", "other"]

    def test_bakes_only_the_named_ones(self, line: Line) -> None:
        line.configure("other")
        assert [bake["family"] for bake in self.push(line, families=["other"])["bakes"]] == ["other"]

    def test_for_a_family_that_asks_a_server_is_refused(self, line: Line) -> None:
        line.configure("asked", puppet={"mode": "agent", "server": "puppet.example"})
        assert "but asked asks a server" in self.push(line, families=["base", "asked"])["reason"]
        assert line.started() == {}

    def test_on_the_puppet_servers_bakes_every_family_that_asks_one(self, line: Line) -> None:
        line.configure("asked", puppet={"mode": "agent", "server": "puppet.example"})
        assert [bake["family"] for bake in self.push(line, artifact=None, sha256=None)["bakes"]] == ["asked"]
        assert self.push(line, artifact=None, sha256=None, version="8")["bakes"], "and each version once"
        assert [bake["why"] for bake in line.started().values()] == ["Puppet code 7", "Puppet code 8"]

    def test_on_the_puppet_servers_is_not_for_a_family_with_an_artifact(self, line: Line) -> None:
        said = self.push(line, artifact=None, sha256=None, families=["base"])["reason"]
        assert "expected ones that ask a Puppet server, as there is no artifact, but base applies an artifact" in said
        assert "expected none without an artifact" in self.push(line, artifact=None, sha256="a" * 64)["reason"]

    def test_takes_the_place_of_the_configured_one_from_then_on(self, line: Line) -> None:
        line.configure(puppet=CONFIGURATION["puppet"] | {"sha256": "a" * 64})
        self.push(line)
        puppet = line.plan()["builder"]["puppet"]
        assert (puppet["artifact"], puppet["sha256"]) == ("s3://code/7.tar.gz", "b" * 64)
        assert puppet["package"] == CONFIGURATION["puppet"]["package"]

    def test_without_its_checksum_is_refused(self, line: Line) -> None:
        said = self.push(line, sha256=None)["reason"]
        assert "sha256: expected the checksum of the artifact s3://code/7.tar.gz, but there is none" in said
        assert line.started() == {}

    def test_that_an_earlier_version_kept_without_its_checksum_is_refused(self, line: Line) -> None:
        line.world.records("family").change("base", {"id": "base", "puppet": {"artifact": "s3://code/6.tar.gz"}})
        with pytest.raises(Exception, match=r"pushed for base: sha256: expected the checksum .* push it again with it"):
            line.plan()

    def test_that_arrives_late_does_not_take_the_place_of_a_newer_one(self, line: Line) -> None:
        self.push(line, "2026-11-24T08:00:00Z", version="8", artifact="s3://code/8.tar.gz")
        self.push(line, "2026-11-24T07:00:00Z")
        assert line.plan()["builder"]["puppet"]["artifact"] == "s3://code/8.tar.gz"

    def test_pushed_twice_is_one_bake(self, line: Line) -> None:
        assert self.push(line)["bakes"][0]["bake"] == self.push(line, "2026-11-24T06:48:00Z")["bakes"][0]["bake"]


AMAZON_LINUX = {
    "v1": {
        "ReleaseVersion": "2023",
        "ImageVersion": "2023.12.20260930.0",
        "Regions": {
            REGION: [{"ImageId": "ami-03c3da4cfa8e8943a", "Name": BASE_NAME}],
            "eu-west-1": [{"ImageId": "ami-0a0cac73a0cac7301", "Name": BASE_NAME}],
        },
    }
}
ECS = {
    "ECSAgent": {"ReleaseVersion": "1.16.1"},
    "ECSAmis": [
        {"OsType": "linux", "Regions": {REGION: {"Name": BASE_NAME, "ImageId": "ami-13401669"}}},
        {"OsType": "windows", "Regions": {REGION: {"Name": "Windows", "ImageId": "ami-13401670"}}},
    ],
}


class TestPublishersOfBaseImages:
    def publish(self, line: Line, message: Any) -> Json:
        text = message if isinstance(message, str) else json.dumps(message)
        return line.world.call("accept_bake", on_the_topic("mayfly-base-images", text))

    @pytest.mark.parametrize("message", [AMAZON_LINUX, ECS], ids=["Amazon Linux", "ECS"])
    def test_start_bakes_of_the_families_whose_base_they_may_have_published(self, line: Line, message: Json) -> None:
        line.configure("other", base={"owner": "amazon", "name": "amzn2-*"})
        line.configure("by-parameter", base={"parameter": "/aws/service/ami-amazon-linux-latest/al2023"})
        line.configure("far", base={"owner": "amazon", "name": "*"}, region="ap-south-1")
        assert [bake["family"] for bake in self.publish(line, message)["bakes"]] == ["base", "by-parameter"]

    def test_s_sample_event_is_understood(self, line: Line) -> None:
        event = json.loads((ROOT / "events" / "accept_bake_base_images.json").read_text())
        assert [bake["family"] for bake in line.world.call("accept_bake", event)["bakes"]] == ["base"]

    def test_twice_with_one_message_is_one_bake(self, line: Line) -> None:
        assert (
            self.publish(line, AMAZON_LINUX)["bakes"][0]["bake"] == self.publish(line, AMAZON_LINUX)["bakes"][0]["bake"]
        )
        assert len(line.started()) == 1

    @pytest.mark.parametrize("message", ["New AMIs are available", {"v1": {}}, {"v1": {"Regions": {REGION: [{}]}}}, []])
    def test_who_name_no_image_land_among_the_dead_letters(self, line: Line, message: Any) -> None:
        assert not self.publish(line, message)["accepted"]
        assert len(line.world.dead_letters()) == 1

    def test_a_family_that_is_wrong_hides_no_other(self, line: Line) -> None:
        line.world.put("/mayfly/families/a-wrong-one", "{}")
        assert [bake["family"] for bake in self.publish(line, AMAZON_LINUX)["bakes"]] == ["base"]


class TestAConfigurationThatIsChanged:
    def changed(self, line: Line, operation: str = "Update", **change: Any) -> list[str]:
        line.configure(**change)
        detail = {"name": f"/mayfly/families/{FAMILY}", "operation": operation, "type": "String"}
        event = on_the_bus("Parameter Store Change", detail, "aws.ssm")
        return [bake["family"] for bake in line.world.call("accept_bake", event)["bakes"]]

    def test_bakes_the_family_where_its_images_would_become_others(self, line: Line) -> None:
        line.begun()
        assert self.changed(line, checks=CHECKS[:1]) == [FAMILY]
        [started] = line.started().values()
        assert started["requested_by"] == "configuration"

    def test_twice_and_heard_of_only_then_is_one_bake(self, line: Line) -> None:
        line.begun()
        both = {"checks": CHECKS[:1], "owner": "another@example.com"}
        assert self.changed(line, checks=CHECKS[:1]) == self.changed(line, **both) == [FAMILY]
        assert len(line.started()) == 1

    def test_back_and_again_is_baked_each_time(self, line: Line) -> None:
        line.begun()
        for day, checks in enumerate((CHECKS[:1], CHECKS, CHECKS[:1]), 25):
            before = set(line.started())
            assert self.changed(line, checks=checks) == [FAMILY]
            [bake] = set(line.started()) - before
            line.plan(bake, f"2026-12-{day}T12:00:00Z")

    @pytest.mark.parametrize("change", [{}, {"keep_newest": 9}, {"owner": "another@example.com"}])
    def test_bakes_nothing_where_they_would_stay_the_same(self, line: Line, change: Json) -> None:
        line.begun()
        assert self.changed(line, **change) == []

    def test_bakes_nothing_before_the_first_bake_was_asked_for(self, line: Line) -> None:
        assert self.changed(line, checks=CHECKS[:1]) == []

    def test_is_heard_of_no_more_when_it_is_removed(self, line: Line) -> None:
        line.begun()
        assert self.changed(line, operation="Delete", checks=CHECKS[:1]) == []


class TestPlanning:
    def test_finds_the_newest_base_image_of_the_owner(self, line: Line) -> None:
        newer = line.image("al2023-ami-2023.13-x86_64")
        line.image("al2023-ami-2023.14-arm64")
        older, _ = line.base, line.world.there("ec2")
        assert line.plan()["builder"]["base_image"] in (newer, older)

    @pytest.mark.parametrize(("kind", "expected"), [("t3.medium", "rock-1-x86_64"), ("t4g.medium", "rock-2-arm64")])
    def test_leaves_out_base_images_of_another_architecture(self, line: Line, kind: str, expected: str) -> None:
        made = {name: line.image(name) for name in ("rock-1-x86_64", "rock-2-arm64")}
        newer = ec2_backends[WORKLOAD_ACCOUNT][REGION].amis[made["rock-2-arm64"]]
        newer.architecture = "arm64"
        line.configure(base={"owner": WORKLOAD_ACCOUNT, "name": "rock-*"}, instance_type=kind)
        assert line.plan()["builder"]["base_image"] == made[expected]

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("t4g.medium", "instance_type: expected one for x86_64, as .* is, but t4g.medium is for arm64"),
            ("t3.huge", "instance_type: expected one that EC2 has in us-east-1, but it is 't3.huge'"),
        ],
    )
    def test_refuses_an_instance_type_that_boots_none_of_them(self, line: Line, kind: str, expected: str) -> None:
        line.world.there("ssm").put_parameter(Name="/mayfly/images/rock/stable", Value=line.base, Type="String")
        line.configure(base={"parameter": "/mayfly/images/rock/stable"}, instance_type=kind)
        with pytest.raises(Exception, match=expected):
            line.plan()

    def test_finds_the_base_image_that_a_parameter_names(self, line: Line) -> None:
        line.world.there("ssm").put_parameter(Name="/mayfly/images/rock/stable", Value=line.base, Type="String")
        line.configure(base={"parameter": "/mayfly/images/rock/stable"})
        assert line.plan()["builder"]["base_image"] == line.base

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"base": {"owner": "amazon", "name": "none-*"}}, "there is none for none-\\* of amazon"),
            ({"base": {"parameter": "/aws/service/none"}}, "there is no parameter /aws/service/none"),
            ({"region": "ap-south-1"}, "account, region: expected one of .* but it is 222222222222/ap-south-1"),
            ({"blueprint": "none.yaml"}, "there is no blueprint none.yaml"),
        ],
    )
    def test_refuses_what_is_configured_wrongly(self, line: Line, change: Json, expected: str) -> None:
        line.configure(**change)
        with pytest.raises(Exception, match=expected) as refusal:
            line.plan()
        assert type(refusal.value).__name__ == "Refused"

    def test_says_all_that_the_bake_needs(self, line: Line) -> None:
        plan = line.begun()
        assert plan["builder"] == {
            "base_image": line.base,
            "root_device": "/dev/sda1",
            "subnet": line.own["subnet"],
            "security_groups": line.own["security_groups"],
            "instance_type": "t3.medium",
            "instance_profile": "mayfly-builder",
            "kms_key_id": None,
            "puppet": plan["builder"]["puppet"],
            "log": f"{CONFIGURATION['logs']}/{{builder}}/{BAKE}.log",
            "minutes": 60,
            "expires_at": "2026-11-24T08:02:34.120Z",
        }
        assert plan["proof"]["environment"] == f"{BAKE}-proof"
        assert plan["proof"]["blueprint"]["version_id"]
        record = line.record()
        assert record["stage"] == "planned"
        assert line.record(FAMILY, "family")["bake"] == BAKE

    def test_a_repetition_gives_the_same(self, line: Line) -> None:
        assert line.begun() == line.plan()

    def test_the_proof_is_an_order_once_there_is_an_image(self, line: Line) -> None:
        order = line.begun()["proof"] | {"image": "ami-0123456789abcdef0"}
        assert line.world.call("plan_environment", {"order": order, "now": NOW})["environment"] == f"{BAKE}-proof"


class TestTurns:
    def superseded(self, line: Line, bake: str, now: str = NOW) -> str:
        with pytest.raises(Exception, match="one bake follows it") as stood_back:
            line.plan(bake, now)
        assert type(stood_back.value).__name__ == "Superseded"
        return str(stood_back.value)

    def test_a_second_bake_of_the_family_stands_back_and_says_for_whom(self, line: Line) -> None:
        line.begun()
        said = self.superseded(line, "base-22222222")
        assert BAKE in said
        assert line.record("base-22222222")["stage"] == "superseded"
        assert line.record(FAMILY, "family")["wanted"] == "base-22222222"

    def test_one_bake_follows_for_all_that_stood_back(self, line: Line) -> None:
        line.begun()
        for other in ("base-22222222", "base-33333333"):
            line.world.records("bake").change(other, {"why": f"of {other}", "requested_by": "bob"})
            self.superseded(line, other)
        following = bake_id(FAMILY, f"after {BAKE}")
        assert line.judge()["following"] == following
        assert line.started()[following]["why"] == f"of base-33333333 (base-33333333 stood back for {BAKE})"
        line.plan(following, LATER)
        assert "wanted" not in line.record(FAMILY, "family")

    def test_a_verdict_that_is_repeated_starts_the_following_bake_once(self, line: Line) -> None:
        line.begun()
        self.superseded(line, "base-22222222")
        line.fail_next("StartExecution")
        with pytest.raises(RuntimeError):
            line.judge()
        line.judge()
        line.judge()
        assert list(line.started()) == [bake_id(FAMILY, f"after {BAKE}")]

    def test_none_follows_where_none_stood_back(self, line: Line) -> None:
        line.begun()
        assert line.judge()["following"] == ""
        assert line.started() == {}

    def test_a_dead_bake_holds_up_nobody_for_ever(self, line: Line) -> None:
        line.begun()
        self.superseded(line, "base-22222222", AFTER)
        assert line.plan("base-33333333", "2026-11-25T06:47:34.120Z")["bake"] == "base-33333333"

    def test_a_dead_bake_that_wakes_takes_no_turn_away(self, line: Line) -> None:
        line.begun()
        line.plan("base-33333333", "2026-11-25T06:47:34.120Z")
        line.judge()
        assert line.record(FAMILY, "family")["bake"] == "base-33333333"

    def test_where_the_turn_ends_in_the_same_moment_the_plan_is_tried_again(self, line: Line) -> None:
        line.begun()

        def meanwhile() -> None:
            line.world.wire.before(
                "UpdateItem", lambda: line.world.records("family").change(FAMILY, {"bake": "another"})
            )

        line.world.wire.before("UpdateItem", meanwhile)
        with pytest.raises(Exception, match="not as the change requires"):
            line.plan("base-22222222")
        assert "another" in self.superseded(line, "base-22222222")


class TestLaunching:
    def test_lets_auto_scaling_use_the_key_before_the_proof_launches_with_it(self, line: Line) -> None:
        key = line.world.there("kms").create_key()["KeyMetadata"]["Arn"]
        line.configure(kms_key_ids={REGION: key})
        line.launch(line.begun())
        (granted,) = line.world.there("kms").list_grants(KeyId=key)["Grants"]
        assert granted["GranteePrincipal"].endswith("/AWSServiceRoleForAutoScaling")
        assert "CreateGrant" in granted["Operations"]
        (asked,) = line.world.wire.heard("RunInstances")
        assert asked["BlockDeviceMappings"][0]["Ebs"]["KmsKeyId"] == key

    def test_takes_one_of_ec2_s_tokens_from_those_of_environments_however_often_it_is_repeated(
        self, line: Line
    ) -> None:
        plan = line.begun()
        line.launch(plan)
        line.launch(plan)
        ledger = line.record("room", "ledger")
        assert ledger["launches"] == {f"{WORKLOAD_ACCOUNT}/{REGION}": NOW.replace(".120Z", ".620Z")}

    def test_takes_it_at_the_rate_that_aws_has_raised_as_its_proof_does(self, line: Line) -> None:
        raised = {"burst": 4000, "a_second": 8}
        line.world.put("/mayfly/admission", json.dumps({"launches": {f"{WORKLOAD_ACCOUNT}/{REGION}": raised}}))
        plan = line.begun()
        for planned in (plan, plan["proof"]["demand"]):
            assert (planned["burst"], planned["launches_a_second"]) == (4000, 8)
        line.launch(plan)
        ledger = line.record("room", "ledger")
        assert ledger["launches"] == {f"{WORKLOAD_ACCOUNT}/{REGION}": NOW.replace(".120Z", ".245Z")}

    def test_goes_on_where_the_rate_is_configured_wrongly(self, line: Line) -> None:
        line.world.put("/mayfly/admission", "{")
        assert line.launch(line.begun())

    def test_what_ec2_does_not_show_yet_is_pending_and_not_lost(self, line: Line) -> None:
        plan = line.begun()
        line.world.wire.answer("DescribeInstances", "InvalidInstanceID.NotFound")
        assert line.launch(plan)
        assert line.world.wire.heard("SendTaskFailure") == []
        assert line.world.wire.heard("SendTaskSuccess") == []

    def test_starts_one_closed_and_tagged_machine_that_stops_itself(self, line: Line) -> None:
        plan = line.begun()
        line.world.wire.forget()
        builder = line.launch(plan)
        [asked] = line.world.wire.heard("RunInstances")
        assert asked["InstanceInitiatedShutdownBehavior"] == "stop"
        assert asked["MetadataOptions"]["HttpTokens"] == "required"
        assert not asked["NetworkInterfaces"][0]["AssociatePublicIpAddress"]
        assert asked["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"]
        assert "KeyName" not in asked
        tags = {"mayfly:bake": BAKE, "mayfly:image-family": FAMILY, "mayfly:controller": CONTROLLER}
        tags |= {"mayfly:expires-at": plan["builder"]["expires_at"], "Name": f"bake {BAKE}"}
        assert {one["ResourceType"] for one in asked["TagSpecifications"]} == {"instance", "volume"}
        for one in asked["TagSpecifications"]:
            assert {tag["Key"]: tag["Value"] for tag in one["Tags"]} == tags
        assert line.record()["waiting"] == {"for": "builder", "token": TOKEN}
        assert line.record(builder, "builder")["bake"] == BAKE
        assert line.world.settled == []

    def test_tells_the_script_what_it_is_to_do(self, line: Line) -> None:
        line.launch(line.begun())
        data = base64.b64decode(line.world.wire.heard("RunInstances")[0]["UserData"]).decode()
        assert f"\nMAYFLY_BAKE={BAKE}\n" in data
        own = f"arn:aws:ec2:{REGION}:{WORKLOAD_ACCOUNT}:instance"
        assert f"MAYFLY_LOG='{CONFIGURATION['logs']}/{own}/{{instance}}/{BAKE}.log'\n" in data
        assert f"MAYFLY_PUPPET_CODE={CONFIGURATION['puppet']['artifact']}\n" in data
        assert "MAYFLY_TIME_LIMIT=3600\n" in data
        assert data.endswith((Path(ROOT) / "images" / "bake.sh").read_text())

    def test_gives_it_what_proves_to_a_puppet_server_whose_it_is(self, line: Line) -> None:
        line.configure(puppet={"mode": "agent", "server": "puppet.example.com"})
        plan = line.begun()
        line.world.own("ssm").put_parameter(Name="/mayfly/puppet/key", Value="the-shared-key", Type="SecureString")
        line.launch(plan)
        data = base64.b64decode(line.world.wire.heard("RunInstances")[0]["UserData"]).decode()
        assert f"\nMAYFLY_PUPPET_SECRET={derive('the-shared-key', CONTROLLER, WORKLOAD_ACCOUNT, BAKE)}\n" in data
        assert f"\nMAYFLY_CONTROLLER={CONTROLLER}\n" in data

    def test_without_a_key_a_puppet_server_has_to_know_it_otherwise(self, line: Line) -> None:
        line.configure(puppet={"mode": "agent", "server": "puppet.example.com"})
        line.launch(line.begun())
        data = base64.b64decode(line.world.wire.heard("RunInstances")[0]["UserData"]).decode()
        assert "\nMAYFLY_PUPPET_SECRET=" not in data

    def test_enters_the_account_in_a_session_of_the_bake(self, line: Line) -> None:
        line.launch(line.begun())
        entered = line.world.wire.heard("AssumeRole")[-1]
        assert entered["RoleSessionName"] == BAKE
        assert entered["Tags"] == [{"Key": "mayfly:bake", "Value": BAKE}]

    def test_asks_ec2_again_under_the_same_token(self, line: Line) -> None:
        plan = line.begun()
        line.launch(plan)
        line.launch(plan, NEXT_TOKEN)
        first, second = line.world.wire.heard("RunInstances")
        assert first == second

    def test_a_repetition_finds_a_builder_that_stopped_meanwhile(self, line: Line) -> None:
        plan = line.begun()
        builder = line.launch(plan)
        line.stop(builder)
        line.world.wire.answer("RunInstances", Instances=[{"InstanceId": builder}])
        line.launch(plan, NEXT_TOKEN)
        assert [(one["told"], one["taskToken"]) for one in line.world.settled] == [("Success", NEXT_TOKEN)]


class TestMakingTheImage:
    def test_tags_image_and_snapshots_in_the_same_call(self, line: Line) -> None:
        _, image = line.made()
        [asked] = line.world.wire.heard("CreateImage")
        assert asked["Name"] == f"mayfly-{BAKE}"
        assert {one["ResourceType"] for one in asked["TagSpecifications"]} == {"image", "snapshot"}
        labels = {tag["Key"]: tag["Value"] for tag in asked["TagSpecifications"][0]["Tags"]}
        assert labels["mayfly:base-image"] == line.base
        digests = {name: labels[f"mayfly:made-of-{name}"] for name in ("code", "package", "script")}
        assert digests["code"] == CONFIGURATION["puppet"]["sha256"]
        assert digests["package"] == CONFIGURATION["puppet"]["package"].partition("#sha256=")[2]
        assert re.fullmatch("[0-9a-f]{64}", digests["script"])
        assert line.record(image, "image")["made_of"] == digests | {"base_image": line.base}
        assert labels["mayfly:image-family"] == FAMILY
        record = line.record(image, "image")
        assert record["waiting"] == {"for": "image", "token": NEXT_TOKEN}
        assert (record["family"], record["bake"], record["region"]) == (FAMILY, BAKE, REGION)
        assert line.record()["image"] == image

    @pytest.mark.parametrize(
        ("result", "stopped", "expected"),
        [
            ("failed: puppet exit code 6", True, "puppet exit code 6"),
            (None, True, "the builder stopped without a report"),
            (None, False, "the builder never reported; it is running"),
            ("ok", False, "the builder is done, but it is running and not stopped"),
        ],
    )
    def test_is_not_done_of_a_builder_that_did_not_do_its_work(
        self, line: Line, result: str | None, stopped: bool, expected: str
    ) -> None:
        plan = line.begun()
        builder = line.launch(plan)
        if stopped:
            line.stop(builder, result)
        elif result:
            tag = {"Key": "mayfly:bake-result", "Value": result}
            line.world.there("ec2").create_tags(Resources=[builder], Tags=[tag])
        own = f"arn:aws:ec2:{REGION}:{WORKLOAD_ACCOUNT}:instance/{builder}"
        kept = f"; log: s3://.*/{own}/{BAKE}.log; console: s3://mayfly-reports/consoles/{BAKE}.txt"
        with pytest.raises(function("create_image").BakeFailed, match=f"{expected}.*{kept}"):
            line.make(plan)
        assert line.world.wire.heard("CreateImage") == []

    def test_a_repetition_finds_the_image_by_its_name(self, line: Line) -> None:
        plan, image = line.made()
        line.world.wire.answer("CreateImage", error="InvalidAMIName.Duplicate")
        assert line.make(plan, TOKEN) == image
        assert [(one["told"], one["taskToken"]) for one in line.world.settled] == [("Success", TOKEN)]
        assert json.loads(line.world.settled[0]["output"]) == {"image": image}

    def test_another_refusal_of_ec2_is_an_error(self, line: Line) -> None:
        plan = line.begun()
        line.stop(line.launch(plan))
        line.world.wire.answer("CreateImage", error="IncorrectInstanceState")
        with pytest.raises(ClientError, match="IncorrectInstanceState"):
            line.make(plan)


def of_a_machine(instance: str, state: str) -> Json:
    detail = {"instance-id": instance, "state": state}
    return on_the_bus("EC2 Instance State-change Notification", detail, "aws.ec2", WORKLOAD_ACCOUNT)


def of_an_image(image: str, state: str, why: str = "") -> Json:
    detail = {"RequestId": "1", "ImageId": image, "State": state, "ErrorMessage": why}
    return on_the_bus("EC2 AMI State Change", detail, "aws.ec2", WORKLOAD_ACCOUNT)


class TestEventsOfEc2:
    @pytest.mark.parametrize(
        ("state", "told"), [("stopped", "Success"), ("terminated", "Failure"), ("running", None), ("stopping", None)]
    )
    def test_resume_who_waits_for_a_builder(self, line: Line, state: str, told: str | None) -> None:
        builder = line.launch(line.begun())
        answer = line.world.call("resume_image", of_a_machine(builder, state))
        assert [one["told"] for one in line.world.settled] == ([told] if told else [])
        assert answer["resumed"] == bool(told)

    @pytest.mark.parametrize(("state", "told"), [("available", "Success"), ("failed", "Failure"), ("pending", None)])
    def test_resume_who_waits_for_an_image(self, line: Line, state: str, told: str | None) -> None:
        _, image = line.made()
        line.world.call("resume_image", of_an_image(image, state, "no room"))
        assert [one["told"] for one in line.world.settled] == ([told] if told else [])
        if told == "Failure":
            assert line.world.settled[0]["error"] == "ImageFailed"
            assert line.world.settled[0]["cause"] == "the image is failed: no room"

    def test_of_others_change_nothing(self, line: Line) -> None:
        assert not line.world.call("resume_image", of_a_machine("i-0123456789abcdef0", "stopped"))["resumed"]
        assert not line.world.call("resume_image", of_an_image("ami-0123456789abcdef0", "available"))["resumed"]
        assert line.world.settled == []

    def test_of_a_builder_whose_image_is_being_made_change_nothing(self, line: Line) -> None:
        line.made()
        builder = line.record()["builder"]
        assert not line.world.call("resume_image", of_a_machine(builder, "terminated"))["resumed"]

    def test_that_cannot_be_understood_land_among_the_dead_letters(self, line: Line) -> None:
        for name in ("EC2 AMI State Change", "EC2 Instance State-change Notification"):
            assert not line.world.call("resume_image", on_the_bus(name, {}, "aws.ec2"))["accepted"]
        assert len(line.world.dead_letters()) == 2


class TestRemovingTheBuilder:
    def remove(self, line: Line, plan: Json) -> Json:
        return line.world.call("remove_builder", {"plan": plan, "now": LATER})

    def test_ends_it(self, line: Line) -> None:
        plan = line.begun()
        builder = line.launch(plan)
        assert self.remove(line, plan)["removed"] == [builder]
        assert line.world.states()[builder] == "terminated"

    def test_keeps_the_end_of_its_log_where_the_console_shows_it(self, line: Line) -> None:
        plan = line.begun()
        line.launch(plan)
        bucket, _, key = line.record()["log"].removeprefix("s3://").partition("/")
        line.world.there("s3").create_bucket(Bucket=bucket)
        text = "x" * 300_000 + "puppet: exit code 4"
        line.world.there("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
        assert self.remove(line, plan)["log_kept"]
        shown = Api(line.world).get(f"/api/bakes/{BAKE}").json
        assert shown["log_text"] == text[-262_144:]
        assert (shown["log"], shown["account"]) == (line.record()["log"], plan["account"])
        assert shown["history"] == line.world.record(BAKE, "bake")["history"]

    def test_goes_on_where_there_is_no_log(self, line: Line) -> None:
        plan = line.begun()
        builder = line.launch(plan)
        done = self.remove(line, plan)
        assert (done["log_kept"], done["removed"]) == (False, [builder])
        assert "log_text" not in Api(line.world).get(f"/api/bakes/{BAKE}").json

    def test_finds_one_that_no_record_knows(self, line: Line) -> None:
        plan = line.begun()
        stray = line.world.launch({"mayfly:bake": BAKE, "mayfly:controller": CONTROLLER})
        assert self.remove(line, plan)["removed"] == stray

    def test_deletes_loose_volumes_of_it(self, line: Line) -> None:
        plan = line.begun()
        tags = [{"Key": "mayfly:bake", "Value": BAKE}, {"Key": "mayfly:controller", "Value": CONTROLLER}]
        volume = line.world.there("ec2").create_volume(
            AvailabilityZone=f"{REGION}a", Size=8, TagSpecifications=[{"ResourceType": "volume", "Tags": tags}]
        )["VolumeId"]
        assert self.remove(line, plan)["removed"] == [volume]

    def test_touches_nothing_of_another_bake_or_controller(self, line: Line) -> None:
        plan = line.begun()
        others = line.world.launch({"mayfly:bake": "base-22222222", "mayfly:controller": CONTROLLER})
        others += line.world.launch({"mayfly:bake": BAKE, "mayfly:controller": "999999999999/us-east-1/mayfly"})
        assert self.remove(line, plan)["removed"] == []
        assert {line.world.states()[other] for other in others} == {"running"}

    def test_leaves_a_protected_one_and_says_so(self, line: Line) -> None:
        plan = line.begun()
        line.world.launch({"mayfly:bake": BAKE, "mayfly:controller": CONTROLLER, "mayfly:protected": "true"})
        with pytest.raises(function("remove_builder").RemovalRefused, match="is left: it is protected"):
            self.remove(line, plan)

    def test_waits_for_the_kill_switch(self, line: Line) -> None:
        plan = line.begun()
        builder = line.launch(plan)
        line.world.put("/mayfly/kill-switch", "ada: incident")
        with pytest.raises(Exception, match="the kill switch is on: ada: incident"):
            self.remove(line, plan)
        assert line.world.states()[builder] == "running"

    def test_twice_is_harmless(self, line: Line) -> None:
        plan = line.begun()
        line.launch(plan)
        self.remove(line, plan)
        assert self.remove(line, plan)["removed"] == []


class TestJudging:
    def ended(self, line: Line, outcome: str, reason: str) -> None:
        ending = {"by": "tests", "outcome": outcome, "reason": reason}
        line.world.records().change(f"{BAKE}-proof", {"ending": ending})

    def test_a_proof_that_passed_proves_the_image(self, line: Line) -> None:
        _, image = line.made()
        self.ended(line, "passed", "the tests passed: all 2 checks passed")
        verdict = line.judge()
        assert verdict["proven"]
        assert (verdict["image"], verdict["base_image"]) == (image, line.base)
        assert line.record(image, "image")["stage"] == line.record()["stage"] == "proven"
        [seen] = line.world.there("ec2").describe_images(ImageIds=[image])["Images"]
        assert {"Key": "mayfly:image-state", "Value": "proven"} in seen["Tags"]

    @pytest.mark.parametrize(
        ("outcome", "reason"), [("failed", "the tests failed: port: it did not answer"), ("expired", "no test result")]
    )
    def test_any_other_proof_rejects_it_and_says_why(self, line: Line, outcome: str, reason: str) -> None:
        _, image = line.made()
        self.ended(line, outcome, reason)
        verdict = line.judge()
        assert not verdict["proven"]
        assert verdict["reason"] == f"the proof {outcome}: {reason}"
        assert line.record(image, "image")["stage"] == "rejected"

    def test_an_image_without_a_proof_is_rejected(self, line: Line) -> None:
        line.made()
        assert line.judge()["reason"] == "the proof broken: its life left no ending"

    def test_a_step_that_failed_is_the_reason(self, line: Line) -> None:
        line.begun()
        failure = {"Error": "BakeFailed", "Cause": json.dumps({"errorMessage": "puppet exit code 6"})}
        verdict = line.judge(failure)
        assert (verdict["proven"], verdict["reason"]) == (False, "BakeFailed: puppet exit code 6")
        assert line.record()["stage"] == "rejected"
        assert line.world.wire.heard("CreateTags") == []


class TestChecking:
    def ready(self, line: Line) -> str:
        """The proof's environment has an instance of the image, and waits for its checks."""
        line.made()
        proof = {"id": f"{BAKE}-proof", "stage": "awaiting tests", "waiting": {"for": "tests", "token": TOKEN}}
        line.world.records("environment").change(f"{BAKE}-proof", proof)
        [instance] = line.world.launch({"mayfly:environment": f"{BAKE}-proof", "mayfly:controller": CONTROLLER})
        return instance

    def check(self, line: Line, environment: str = f"{BAKE}-proof") -> Json:
        facts = {"environment": environment, "release": BAKE, "account": WORKLOAD_ACCOUNT, "region": REGION}
        return line.world.call("check_image", announced("Environment Ready", **facts, suite="proof"))

    def answered(self, line: Line, command: str, status: str = "Success", printed: str = "") -> Json:
        line.world.wire.answer("GetCommandInvocation", Status=status, StandardOutputContent=printed)
        detail = {
            "command-id": command,
            "status": status,
            "document-name": "AWS-RunShellScript",
        }
        event = on_the_bus("EC2 Command Status-change Notification", detail, "aws.ssm", WORKLOAD_ACCOUNT)
        return line.world.call("judge_checks", event)

    def test_runs_the_family_s_checks_on_the_instance(self, line: Line) -> None:
        instance = self.ready(line)
        assert self.check(line)["checking"]
        [sent] = line.world.wire.heard("SendCommand")
        assert sent["InstanceIds"] == [instance]
        commands = sent["Parameters"]["commands"]
        assert commands[0] == '# checks: ["service runs", "port"]'
        checks = [one for one in commands if one.startswith("check ")]
        assert checks == ["check 'service runs' 'systemctl is-active it'", "check port ss"]

    def test_runs_them_once(self, line: Line) -> None:
        self.ready(line)
        self.check(line)
        assert "checks it already" in self.check(line)["reason"]
        assert len(line.world.wire.heard("SendCommand")) == 1

    def test_leaves_alone_what_proves_no_image(self, line: Line) -> None:
        self.ready(line)
        assert self.check(line, "webshop-1-0-0-12345678-proof")["reason"] == "it proves no image"
        assert line.world.wire.heard("SendCommand") == []

    def test_without_an_instance_is_an_error_and_repeated(self, line: Line) -> None:
        line.made()
        with pytest.raises(function("check_image").NoInstance):
            self.check(line)

    @pytest.mark.parametrize(
        ("printed", "outcome", "reason"),
        [
            (
                '{"name": "service runs", "exit": 0, "stdout": "active"}\n{"name": "port", "exit": 0, "stdout": ""}',
                "passed",
                "all 2 checks passed",
            ),
            (
                '{"name": "service runs", "exit": 0, "stdout": "activating"}\n'
                '{"name": "port", "exit": 2, "stdout": ""}',
                "failed",
                "2 of 2 checks failed: service runs: expected '^active$' in what it prints, but it is 'activating'; "
                "port: exit 2, expected 0",
            ),
            ("no JSON", "failed", "2 of 2 checks failed: service runs: it did not answer; port: it did not answer"),
        ],
    )
    def test_what_the_checks_say_is_the_result_of_the_tests(
        self, line: Line, printed: str, outcome: str, reason: str
    ) -> None:
        self.ready(line)
        answer = self.answered(line, self.check(line)["command"], printed=printed)
        assert (answer["recorded"], answer["resumed"]) == (True, True)
        record = line.record(f"{BAKE}-proof", "environment")
        assert record["ending"] == {
            "by": "tests",
            "outcome": outcome,
            "reason": f"the tests {outcome}: {reason}",
            "at": "2026-11-24T06:47:33.000Z",
        }
        assert (record["history"][-1]["who"], record["history"][-1]["what"]) == ("judge_checks", "checked")
        assert [one["told"] for one in line.world.settled] == ["Success"]
        assert line.world.said == []

    def test_a_command_that_did_not_run_through_fails_them(self, line: Line) -> None:
        self.ready(line)
        judged = self.answered(line, self.check(line)["command"], status="TimedOut")
        assert judged["reason"].startswith("2 of 2 checks failed (Run Command: TimedOut)")

    def test_what_two_images_consist_of_is_compared_for_whoever_promotes_one(self, line: Line) -> None:
        self.ready(line)
        said = base64.b64encode(gzip.compress(b"package\topenssl\t3.0.2\n")).decode()
        self.answered(line, self.check(line)["command"], printed=json.dumps({"contents": said}))
        before, after = "ami-0a1b2c3d4e5f60718", line.record()["image"]
        image_contents.keep(line.world.reports, before, Contents({"package": {"openssl": "3.0.1"}}))
        found = Api(line.world).get(f"/api/images/{after}/since/{before}")
        changed = [{"name": "openssl", "before": "3.0.1", "after": "3.0.2"}]
        assert found.json == {"before": before, "after": after, "packages": changed, "services": [], "files": []}

    def test_of_an_image_that_never_said_what_it_consists_of_nothing_is_compared(self, line: Line) -> None:
        found = Api(line.world).get("/api/images/ami-0a1b2c3d4e5f60718/since/ami-0a1b2c3d4e5f60719")
        assert (found.status, found.json["error"]) == (
            404,
            "nothing is recorded of what ami-0a1b2c3d4e5f60719 consists of: expected an image that proved itself",
        )

    def test_commands_of_others_say_nothing(self, line: Line) -> None:
        assert not self.answered(line, "e8d3c0e4-71f7-4491-898f-c9b35bee5f3b")["judged"]
        assert line.world.said == []

    @pytest.mark.parametrize("name", ["check_image", "judge_checks"])
    def test_an_event_that_cannot_be_understood_lands_among_the_dead_letters(self, line: Line, name: str) -> None:
        assert not line.world.call(name, on_the_bus("Environment Ready", {}))["accepted"]
        assert [letter["function"] for letter in line.world.dead_letters()] == [name]


class TestSweeping:
    def sweep(self, line: Line, now: str, **more: Any) -> Json:
        return line.world.call("sweep_environments", {"now": now, **more})

    def test_ends_a_dead_bake_s_builder_after_its_deadline(self, line: Line) -> None:
        builder = line.launch(line.begun())
        assert self.sweep(line, LATER)["counts"]["end"] == 0
        report = self.sweep(line, "2026-11-24T08:03:00.000Z")
        assert [one["environment"] for one in report["decisions"]] == [BAKE]
        assert "its bake does not run" in report["decisions"][0]["reason"]
        assert line.world.states()[builder] == "terminated"

    def test_leaves_the_builder_of_a_bake_that_runs(self, line: Line) -> None:
        builder = line.launch(line.begun())
        line.world.own("stepfunctions").start_execution(stateMachineArn=line.world.bake_machine, name=BAKE)
        assert self.sweep(line, "2026-11-25T08:03:00.000Z")["counts"]["end"] == 0
        assert line.world.states()[builder] == "running"

    def test_ends_one_that_says_nothing_of_a_deadline(self, line: Line) -> None:
        [stray] = line.world.launch({"mayfly:bake": BAKE, "mayfly:controller": CONTROLLER})
        self.sweep(line, NOW)
        assert line.world.states()[stray] == "terminated"

    def test_ends_nothing_in_a_dry_run_and_while_the_kill_switch_is_on(self, line: Line) -> None:
        [stray] = line.world.launch({"mayfly:bake": BAKE, "mayfly:controller": CONTROLLER})
        assert self.sweep(line, NOW, dry_run=True)["counts"]["end"] == 1
        line.world.put("/mayfly/kill-switch", "ada: incident")
        assert self.sweep(line, NOW)["halted"]
        assert line.world.states()[stray] == "running"

    def test_refuses_a_protected_one_and_tells(self, line: Line) -> None:
        tags = {"mayfly:bake": BAKE, "mayfly:controller": CONTROLLER, "mayfly:protected": "true"}
        [stray] = line.world.launch(tags)
        assert self.sweep(line, NOW)["counts"]["refuse"] == 1
        assert line.world.states()[stray] == "running"

    def test_counts_builders_into_its_caps(self, line: Line) -> None:
        for number in range(30):
            line.world.launch({"mayfly:bake": f"base-{number:08}", "mayfly:controller": CONTROLLER})
        report = self.sweep(line, NOW)
        assert "30 of 30" in report["halted"]
        assert set(line.world.states().values()) == {"running", "terminated"}
