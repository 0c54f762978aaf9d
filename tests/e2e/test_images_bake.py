"""Bakes: whatever happens in one, no builder is left, and its image is proven, or rejected for a named reason."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from bench import costs
from local.cloud import LocalCloud
from local.install import configure_family
from mayfly.domain.bake import bake_id
from mayfly.domain.records import Bake
from tests.e2e.driver import Driver, Json
from tests.e2e.gallery import family_document
from tests.items import all_items

# Near two at night the schedule would bake, too, what a test bakes.
pytestmark = pytest.mark.usefixtures("no_images")

MARGIN_MINUTES = 15
"""What Mayfly waits for a builder, besides the minutes of its family."""
"""A bake has the life of an environment in it, and machines that boot twice."""
CHECKS = ["puppet converges", "service runs"]


class Bakes:
    """What people who bake images can do and see, besides what the driver can."""

    def __init__(self, mayfly: Driver, names: Iterator[str]) -> None:
        self.mayfly, self._names = mayfly, names
        self.families: list[str] = []
        self._documents: dict[str, Json] = {}

    @property
    def cloud(self) -> LocalCloud:
        return self.mayfly.cloud

    def family(self, **more: Any) -> str:
        """Configures an image family under a name of its own and returns the name."""
        name = next(self._names)
        checks = [{"name": name, "command": "true"} for name in CHECKS]
        own = {"bake_minutes": 5, "prove_minutes": 60, "checks": checks}
        self._documents[name] = family_document("applied") | own | more
        configure_family(self.cloud, name, self._documents[name])
        self.families.append(name)
        return name

    def configure(self, family: str, **change: Any) -> None:
        """Changes a family's configuration."""
        self._documents[family] |= change
        configure_family(self.cloud, family, self._documents[family])

    def ask(self, family: str, why: str = "a test") -> str:
        """Asks for a bake as a person does, and returns its name."""
        before = set(self.of(family))
        detail = {"family": family, "why": why, "requested_by": "ada@example.com"}
        self.mayfly.say("Image Bake Requested", [detail])
        asked = self.mayfly.until(lambda: set(self.of(family)) - before, f"a bake of {family}", lambda: self.of(family))
        return asked.pop()

    def of(self, family: str) -> list[str]:
        """The bakes of a family, from the records."""
        records = all_items(self.cloud, self.mayfly.outputs["TableName"])
        return [one["id"] for one in records if one["pk"].startswith("bake#") and one["family"] == family]

    def record(self, bake: str, kind: str = "bake") -> Json:
        """A record of a bake, an image or a family, {} where there is none."""
        return self.mayfly.record(bake, kind)

    def end(self, bake: str) -> Json:
        """Waits until a bake's execution is over; returns its description."""
        return self.mayfly.end(bake, Bake)

    def stage(self, bake: str, stage: str) -> Json:
        """Waits until a bake has come to a stage; returns its record then."""

        def look() -> Json | None:
            record = self.record(bake)
            return record if record.get("stage") == stage else None

        return self.mayfly.until(look, f"{bake} is {stage}", lambda: self.record(bake))

    def announced(self, bake: str) -> Json:
        """What was said of a bake at its end; waits for it."""

        def look() -> list[Json]:
            return [one for one in self.mayfly.announcements() if one["detail"].get("bake") == bake]

        found = self.mayfly.until(look, f"an announcement of {bake}", self.mayfly.announcements)
        assert len(found) == 1, found
        return found[0]

    def machines(self, bake: str) -> Counter[str]:
        """The states of every builder that a bake ever had."""
        filters = [{"Name": "tag:mayfly:bake", "Values": [bake]}]
        reservations = self.cloud.workload_client("ec2").describe_instances(Filters=filters)["Reservations"]
        return Counter(one["State"]["Name"] for each in reservations for one in each["Instances"])

    def nothing_is_left(self, bake: str) -> bool:
        """Whether no builder, no volume of one and no proof of a bake is left."""
        filters = [{"Name": "tag:mayfly:bake", "Values": [bake]}]
        self.mayfly.until(
            lambda: set(self.machines(bake)) <= {"terminated"},
            f"the builders of {bake} are gone",
            lambda: self.machines(bake),
        )
        volumes = self.cloud.workload_client("ec2").describe_volumes(Filters=filters)["Volumes"]
        return not volumes and self.mayfly.nothing_is_left(f"{bake}-proof")

    def images(self, bake: str) -> list[Json]:
        """The images that a bake made."""
        filters = [{"Name": "tag:mayfly:bake", "Values": [bake]}]
        found: list[Json] = self.cloud.workload_client("ec2").describe_images(Owners=["self"], Filters=filters)[
            "Images"
        ]
        return found

    def candidate(self, family: str) -> str:
        """The image that the family's channel candidate points to."""
        found: str = self.record(f"{family}/candidate", "channel").get("image", "")
        return found

    def rejected(self, bake: str, reason: str) -> None:
        """Asserts that a bake ended as it has to when it failed: for this reason, and with nothing left."""
        execution = self.end(bake)
        assert (execution["status"], execution["error"]) == ("FAILED", "ImageRejected")
        assert reason in execution["cause"]
        said = self.announced(bake)
        assert said["detail-type"] == "Image Rejected"
        assert reason in said["detail"]["reason"]
        record = self.record(bake)
        assert record["stage"] == "rejected"
        assert reason in record["reason"]
        assert self.nothing_is_left(bake)
        assert "bake" not in self.record(record["family"], "family")


@pytest.fixture
def bakes(mayfly: Driver, names: Iterator[str]) -> Iterator[Bakes]:
    """Families of this test's own. Afterwards there are none of them: a schedule or a publisher bakes all that are."""
    made = Bakes(mayfly, (f"line-of-{name}" for name in names))
    yield made
    for family in made.families:
        mayfly.cloud.client("ssm").delete_parameter(Name=f"/mayfly/families/{family}")


def test_the_log_of_a_bake_that_failed_is_kept_where_the_console_shows_it(bakes: Bakes) -> None:
    cloudformation = bakes.cloud.workload_client("cloudformation")
    region = cloudformation.describe_stack_resource(
        StackName="workload-region-of-mayfly", LogicalResourceId="BakeLogs"
    )["StackResourceDetail"]
    bakes.cloud.fault("workload", bake="*", effect="fail", reason="puppet: exit code 6")
    bake = bakes.ask(bakes.family(logs=f"s3://{region['PhysicalResourceId']}/logs"))
    bakes.rejected(bake, "puppet: exit code 6")
    kept = bakes.mayfly.left(f"s3://{bakes.mayfly.outputs['ReportsBucket']}/bakes/{bake}.log")
    assert "failed: puppet: exit code 6" in kept


class TestAGoodBake:
    def test_makes_an_image_that_proved_itself_and_that_candidate_points_to(self, bakes: Bakes) -> None:
        family = bakes.family()
        bake = bakes.ask(family)
        execution = bakes.end(bake)
        assert execution["status"] == "SUCCEEDED", (execution, bakes.record(bake))
        said = bakes.announced(bake)
        assert said["detail-type"] == "Image Baked"
        [image] = bakes.images(bake)
        assert said["detail"]["image"] == image["ImageId"]
        assert said["detail"]["candidate"] is True, json.dumps(said["detail"])
        own = f"arn:aws:ec2:us-east-1:222222222222:instance/{bakes.record(bake)['builder']}"
        assert said["detail"]["log"] == f"s3://bake-logs/logs/{own}/{bake}.log"
        assert "all 2 checks passed" in said["detail"]["reason"]
        assert bakes.candidate(family) == image["ImageId"]
        assert bakes.record(image["ImageId"], "image")["stage"] == "proven"

        labels = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
        assert labels["mayfly:image-family"] == family
        assert labels["mayfly:base-image"] == bakes.record(bake)["base_image"]
        assert labels["mayfly:image-state"] == "proven"
        assert labels["mayfly:made-of-code"] == bakes.record(bake)["plan"]["builder"]["puppet"]["sha256"]
        assert bakes.record(image["ImageId"], "image")["made_of"]["script"] == labels["mayfly:made-of-script"]
        assert bakes.nothing_is_left(bake)
        assert bakes.machines(bake) == {"terminated": 1}

    def test_costs_22_state_transitions_at_most_and_looks_at_nothing_twice(self, bakes: Bakes) -> None:
        bake = bakes.ask(bakes.family())
        assert bakes.end(bake)["status"] == "SUCCEEDED"
        outputs, cloud = bakes.mayfly.outputs, bakes.cloud
        own = costs.state_transitions(costs.history(cloud, outputs["BakeMachine"], bake))
        history = costs.history(cloud, outputs["EnvironmentMachine"], f"{bake}-proof")
        proof, first = costs.state_transitions(history), "'Await Room'" in str(history)
        assert own + proof <= 22 + first, (own, proof)  # who comes first to a target looks at its quotas
        calls = bakes.mayfly.calls(bake)
        assert calls["DescribeInstances"] <= 3  # right after the launch, before the image, before the removal
        assert calls["DescribeImages"] == 1  # the base image
        assert (calls["RunInstances"], calls["CreateImage"], calls["TerminateInstances"]) == (1, 1, 1)

    def test_an_application_s_next_environment_boots_the_new_image(self, bakes: Bakes) -> None:
        family = bakes.family()
        assert bakes.end(bakes.ask(family))["status"] == "SUCCEEDED"
        application = bakes.mayfly.application(image={"family": family, "channel": "candidate"})
        environment = bakes.mayfly.begin(application)
        assert bakes.mayfly.record(environment)["image"] == bakes.candidate(family)
        bakes.mayfly.finish(environment)
        bakes.mayfly.end(environment)


class TestABakeThatFails:
    def test_in_puppet_is_rejected_with_the_step_that_failed(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", bake=f"{family}-*", effect="fail", reason="puppet exit code 6", times=1)
        bake = bakes.ask(family)
        bakes.rejected(bake, "BakeFailed: puppet exit code 6")
        assert bakes.images(bake) == []
        assert bakes.candidate(family) == ""

    def test_because_its_builder_never_reports_is_given_up_in_time(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", bake=f"{family}-*", effect="silent", times=1)
        bake = bakes.ask(family)
        bakes.mayfly.until(lambda: bakes.machines(bake) == {"running": 1}, "the builder runs")
        bakes.stage(bake, "building")
        bakes.cloud.advance((5 + MARGIN_MINUTES) * 60 + 1)
        bakes.rejected(bake, "the builder never reported; it is running")
        assert bakes.images(bake) == []
        key = f"consoles/{bake}.txt"
        assert f"console: s3://{bakes.mayfly.outputs['ReportsBucket']}/{key}" in bakes.record(bake)["reason"]
        kept = bakes.cloud.client("s3").get_object(Bucket=bakes.mayfly.outputs["ReportsBucket"], Key=key)
        assert kept["Body"].read()

    def test_because_its_builder_stops_without_a_word_is_rejected(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", bake=f"{family}-*", effect="no_result", times=1)
        bakes.rejected(bakes.ask(family), "the builder stopped without a report")

    def test_because_somebody_terminates_its_builder_is_rejected(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", bake=f"{family}-*", effect="silent", times=1)
        bake = bakes.ask(family)
        builder = bakes.mayfly.until(lambda: bakes.record(bake).get("builder"), "a builder")
        bakes.mayfly.until(lambda: bakes.machines(bake) == {"running": 1}, "the builder runs")
        bakes.cloud.workload_client("ec2").terminate_instances(InstanceIds=[builder])
        bakes.mayfly.until(lambda: bakes.machines(bake) == {"terminated": 1}, "the builder is terminated")
        # Terminations are not forwarded, of which each environment has as many as instances: the look finds it.
        bakes.cloud.advance((5 + MARGIN_MINUTES) * 60 + 1)
        bakes.rejected(bake, "it is terminated")

    def test_in_making_the_image_is_rejected_with_ec2_s_reason(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", image="create", effect="fail", reason="snapshot limit exceeded", times=1)
        bake = bakes.ask(family)
        bakes.rejected(bake, "snapshot limit exceeded")
        assert bakes.candidate(family) == ""

    def test_because_create_image_is_refused_is_rejected(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", action="CreateImage", error="InvalidParameterValue", message="not this way")
        bakes.rejected(bakes.ask(family), "not this way")

    def test_a_check_is_rejected_with_the_check_named(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", check="service runs", effect="fail", exit=3, stdout="inactive", times=1)
        bake = bakes.ask(family)
        bakes.rejected(bake, "1 of 2 checks failed: service runs: exit 3, expected 0: inactive")
        [image] = bakes.images(bake)
        assert {"Key": "mayfly:image-state", "Value": "rejected"} in image["Tags"]
        assert bakes.record(image["ImageId"], "image")["stage"] == "rejected"
        assert bakes.candidate(family) == ""

    def test_to_answer_its_checks_is_rejected_at_the_proof_s_deadline(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", check="*", effect="silent", times=1)
        bake = bakes.ask(family)
        bakes.mayfly.life(f"{bake}-proof", "awaiting tests")
        bakes.mayfly.until(lambda: bakes.record(bake).get("command"), "a command")
        bakes.cloud.advance(3601)
        bakes.rejected(bake, "the proof expired: no test result before the deadline")

    def test_to_boot_its_image_is_rejected_with_the_reason(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", stack="create", environment=f"{family}-*", effect="instances_never_signal")
        bakes.rejected(bakes.ask(family), "the proof broken: ")

    def test_because_there_is_no_base_image_is_rejected_before_anything_is_launched(self, bakes: Bakes) -> None:
        family = bakes.family(base={"owner": "amazon", "name": "no-such-*"})
        bake = bakes.ask(family)
        bakes.rejected(bake, "there is none for no-such-* of amazon")
        assert not bakes.machines(bake)


class TestTwoBakesAtOnce:
    def test_of_one_family_run_one_after_the_other_and_the_second_s_wish_is_kept(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", bake=f"{family}-*", effect="slow", times=1)
        first = bakes.ask(family)
        bakes.stage(first, "building")
        second = bakes.ask(family, "not less important")
        execution = bakes.end(second)
        bakes.cloud.clear_faults()
        assert execution["status"] == "SUCCEEDED"
        assert first in json.loads(execution["output"])["superseded"]
        assert bakes.record(second)["stage"] == "superseded"
        assert bakes.end(first)["status"] == "SUCCEEDED"
        third = bake_id(family, f"after {first}")
        assert bakes.end(third)["status"] == "SUCCEEDED"
        assert bakes.record(third)["why"].startswith("not less important")
        assert bakes.candidate(family) == bakes.images(third)[0]["ImageId"]
        assert sorted(bakes.of(family)) == sorted([first, second, third])
        assert [len(bakes.images(bake)) for bake in (first, second, third)] == [1, 0, 1]

    def test_of_two_families_do_not_wait_for_each_other(self, bakes: Bakes) -> None:
        asked = [bakes.ask(bakes.family()) for _ in range(2)]
        assert [bakes.end(bake)["status"] for bake in asked] == ["SUCCEEDED", "SUCCEEDED"]


class TestDisturbances:
    def test_every_event_twice_changes_nothing(self, bakes: Bakes) -> None:
        family = bakes.family()
        for where in ("controller", "workload"):
            bakes.cloud.fault(where, event={"detail-type": "*"} if where == "controller" else "*", effect="duplicate")
        bake = bakes.ask(family)
        assert bakes.end(bake)["status"] == "SUCCEEDED"
        bakes.cloud.clear_faults()
        assert bakes.nothing_is_left(bake)
        assert bakes.of(family) == [bake]
        assert bakes.machines(bake) == {"terminated": 1}
        assert len(bakes.images(bake)) == 1

    @pytest.mark.parametrize("effect", ["die_before", "die_after"])
    @pytest.mark.parametrize(
        "function",
        ["plan-bake", "launch-builder", "create-image", "remove-builder", "judge-bake", "check-image", "judge-checks"],
    )
    def test_a_function_that_dies_is_made_up_for(self, bakes: Bakes, function: str, effect: str) -> None:
        family = bakes.family()
        bakes.cloud.fault("controller", function=f"mayfly-{function}", effect=effect, times=1)
        bake = bakes.ask(family)
        assert bakes.end(bake)["status"] == "SUCCEEDED", bakes.record(bake)
        assert bakes.nothing_is_left(bake)
        assert bakes.machines(bake) == {"terminated": 1}
        assert len(bakes.images(bake)) == 1

    def test_a_lost_event_of_the_builder_costs_time_only(self, bakes: Bakes) -> None:
        bakes.cloud.fault("workload", event="stopped", effect="lose", times=1)
        bake = bakes.ask(bakes.family())
        bakes.mayfly.until(lambda: bakes.machines(bake) == {"stopped": 1}, "the builder has stopped")
        bakes.stage(bake, "building")
        bakes.cloud.advance((5 + MARGIN_MINUTES) * 60 + 1)
        assert bakes.end(bake)["status"] == "SUCCEEDED"

    def test_a_lost_event_of_the_image_costs_time_only(self, bakes: Bakes) -> None:
        bakes.cloud.fault("workload", event="available", effect="lose", times=1)
        bake = bakes.ask(bakes.family())
        bakes.stage(bake, "imaging")
        bakes.mayfly.until(lambda: [one["State"] for one in bakes.images(bake)] == ["available"], "the image is there")
        bakes.cloud.advance(3601)
        assert bakes.end(bake)["status"] == "SUCCEEDED"


class TestWhatStartsABake:
    def test_pushed_puppet_code_for_each_family_that_applies_it(self, bakes: Bakes) -> None:
        applied, asked = bakes.family(), bakes.family(puppet={"mode": "agent", "server": "puppet.example"})
        artifact = "s3://artifacts/puppet-7.tar.gz"
        detail = {"version": "7", "artifact": artifact, "sha256": "7" * 64, "families": [applied], "pushed_by": "ci"}
        bakes.mayfly.say("Puppet Code Pushed", [detail] * 2)
        bake = bake_id(applied, "Puppet code 7")
        assert bakes.end(bake)["status"] == "SUCCEEDED"
        assert bakes.record(bake)["plan"]["builder"]["puppet"]["artifact"] == artifact
        assert (bakes.of(applied), bakes.of(asked)) == ([bake], [])
        again = bakes.ask(applied)
        assert bakes.end(again)["status"] == "SUCCEEDED"
        assert bakes.record(again)["plan"]["builder"]["puppet"]["artifact"] == artifact

    def test_puppet_code_that_is_on_the_server_for_each_family_that_asks_it(self, bakes: Bakes) -> None:
        applied, asked = bakes.family(), bakes.family(puppet={"mode": "agent", "server": "puppet.example"})
        bakes.mayfly.say("Puppet Code Pushed", [{"version": "7", "pushed_by": "r10k"}] * 2)
        bake = bake_id(asked, "Puppet code 7")
        bakes.mayfly.until(lambda: bakes.mayfly.execution(bake, Bake), f"the bake {bake}")
        assert bakes.end(bake)["status"] == "SUCCEEDED"
        assert bakes.candidate(asked) == bakes.images(bake)[0]["ImageId"]
        assert (bakes.of(applied), bakes.of(asked)) == ([], [bake])

    def test_other_checks_once_for_each_version_of_them_and_nothing_else_of_the_configuration(
        self, bakes: Bakes
    ) -> None:
        family = bakes.family()
        first = bakes.ask(family)
        assert bakes.end(first)["status"] == "SUCCEEDED"
        bakes.configure(family, owner="others@example.com")
        bakes.configure(family, checks=[{"name": "no telnet", "command": "true"}])
        [bake] = bakes.mayfly.until(lambda: set(bakes.of(family)) - {first}, "a bake", lambda: bakes.of(family))
        assert bakes.end(bake)["status"] == "SUCCEEDED", bakes.record(bake)
        record = bakes.record(bake)
        assert "its configuration was changed from recipe" in record["why"]
        assert [check["name"] for check in record["checks"]] == ["no telnet"]
        assert sorted(bakes.of(family)) == sorted([first, bake])

    def test_a_publisher_of_base_images_for_families_that_start_from_such(self, bakes: Bakes) -> None:
        concerned = bakes.family(base={"owner": "137112412989", "name": "al2023-ami-2023.*-kernel-6.1-x86_64"})
        other = bakes.family(base={"owner": "137112412989", "name": "amzn2-ami-hvm-*"})
        image = {"ImageId": "ami-03c3da4cfa8e8943a", "Name": "al2023-ami-2023.12.20260930.0-kernel-6.1-x86_64"}
        message = {"v1": {"ReleaseVersion": "2023", "ImageVersion": "2023.12", "Regions": {"us-east-1": [image]}}}
        bakes.mayfly.publish("BaseImagesTopic", json.dumps(message))
        [bake] = bakes.mayfly.until(lambda: bakes.of(concerned), "a bake")
        assert bakes.end(bake)["status"] == "SUCCEEDED"
        assert "publisher" in bakes.record(bake)["requested_by"]
        assert bakes.of(other) == []

    @pytest.mark.parametrize(
        ("detail_type", "detail", "named"),
        [
            ("Image Bake Requested", {"family": "nowhere", "why": "x", "requested_by": "ada"}, "families/nowhere"),
            ("Image Bake Requested", {"family": "Bad Name", "why": "x", "requested_by": "ada"}, "'Bad Name'"),
            ("Puppet Code Pushed", {"version": "1", "artifact": "ftp://box/code"}, "ftp://box/code"),
        ],
    )
    def test_a_request_that_cannot_be_followed_lies_among_the_dead_letters(
        self, bakes: Bakes, detail_type: str, detail: Json, named: str
    ) -> None:
        bakes.mayfly.say(detail_type, [detail])
        letter = bakes.mayfly.letter(named)
        assert letter["function"] == "mayfly-accept-bake"
        assert letter["message"]["detail"] == detail

    def test_a_publisher_s_prose_lies_among_the_dead_letters(self, bakes: Bakes) -> None:
        bakes.mayfly.publish("BaseImagesTopic", "New AMIs dated 2026.11.24 are now available")
        assert "Invalid JSON" in bakes.mayfly.letter("New AMIs dated 2026.11.24")["reason"]


class TestWhatADeadBakeLeaves:
    def test_is_swept_after_its_deadline_and_holds_up_no_bake(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", bake=f"{family}-*", effect="silent", times=1)
        bake = bakes.ask(family)
        bakes.mayfly.until(lambda: bakes.machines(bake) == {"running": 1}, "the builder runs")
        bakes.mayfly.until(lambda: bakes.record(bake).get("builder"), "a builder")
        arn = bakes.mayfly.execution(bake, Bake)["executionArn"]
        bakes.cloud.client("stepfunctions").stop_execution(executionArn=arn)
        bakes.cloud.advance((5 + MARGIN_MINUTES) * 60 + 1)
        bakes.mayfly.say("Sweep Requested", [{"why": "a test", "requested_by": "ada@example.com"}])
        bakes.mayfly.until(
            lambda: bakes.machines(bake) == {"terminated": 1}, "the builder is swept", lambda: bakes.machines(bake)
        )
        bakes.cloud.advance(5 * 3600)
        assert bakes.end(bakes.ask(family))["status"] == "SUCCEEDED"

    def test_is_left_alone_where_it_is_protected(self, bakes: Bakes) -> None:
        family = bakes.family()
        bakes.cloud.fault("workload", bake=f"{family}-*", effect="slow", times=1)
        bake = bakes.ask(family)
        builder = bakes.mayfly.until(lambda: bakes.record(bake).get("builder"), "a builder")
        protected = [{"Key": "mayfly:protected", "Value": "true"}]
        ec2 = bakes.cloud.workload_client("ec2")
        ec2.create_tags(Resources=[builder], Tags=protected)
        bakes.cloud.clear_faults()
        execution = bakes.end(bake)
        assert execution["status"] == "FAILED"
        assert f"{builder} is left: it is protected" in execution["cause"]
        assert bakes.machines(bake) == {"stopped": 1}
        ec2.delete_tags(Resources=[builder], Tags=protected)
        ec2.terminate_instances(InstanceIds=[builder])
