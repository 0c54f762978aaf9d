"""The console script `mayfly` as people install it: from a wheel, in an environment of its own, against the deployed
installation."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.cloud import CONTROLLER_ACCOUNT, PATIENCE_SECONDS, REGION, WORKLOAD_ACCOUNT, LocalCloud
from local.install import ROOT, configure
from mayfly.domain.cost import cost
from mayfly.domain.identity import environment_id, release_id
from mayfly.domain.records import Environment, read
from mayfly.domain.text import principal
from mayfly.prices import list_prices
from tests.e2e.driver import Driver
from tests.e2e.services import Service

type Json = dict[str, Any]


@dataclass
class Script:
    """The installed script, with the surroundings of somebody who may do everything."""

    path: Path
    environ: dict[str, str]

    def run(self, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command."""
        return subprocess.run(
            [self.path, *words],
            env=self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Begins a command that takes its time."""
        return subprocess.Popen(
            [self.path, *words], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def asked(self, *words: str) -> Json:
        """What a command answers that does well."""
        ran = self.run(*words, "--json")
        assert ran.returncode == 0, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return dict(json.loads(ran.stdout))

    def refused(self, *words: str, **environ: str) -> tuple[int, str]:
        """How a command ends that does not, and what it says. It prints nothing for programs then."""
        ran = self.run(*words, **environ)
        assert ran.returncode != 0, ran.stdout
        return ran.returncode, ran.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel and installs it beside the tests' own libraries; nothing of this tree is in its path."""
    folder = tmp_path_factory.mktemp("script")

    def uv(*words: str) -> None:
        subprocess.run(["uv", *words], cwd=ROOT, check=True, capture_output=True)

    uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder), ".")
    uv("venv", "--python", sys.executable, str(folder / "venv"))
    (wheel,) = folder.glob("*.whl")
    uv("pip", "install", "--no-deps", "--python", str(folder / "venv"), str(wheel))
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "libraries.pth").write_text("\n".join(libraries))
    return folder / "venv" / "bin" / "mayfly"


@pytest.fixture
def script(installed: Path, cloud: LocalCloud, mayfly: Driver) -> Script:
    """The script, pointed at the local cloud like any other AWS tool."""
    plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return Script(installed, plain | cloud.environ)


@pytest.fixture
def who(cloud: LocalCloud) -> str:
    """Who the script is run by."""
    return principal(str(cloud.client("sts").get_caller_identity()["Arn"]))


class TestALife:
    def test_is_pushed_watched_extended_and_found_good(self, script: Script, mayfly: Driver, who: str) -> None:
        application = mayfly.application()
        release = script.asked("push", application, "1.0.0", "s3://artifacts/1", "--commit", "9fceb02")["release"]
        environment = environment_id(release, "smoke")
        watched = script.start("watch", release, "--json")
        mayfly.life(environment, "awaiting tests")
        (shown,) = script.asked("list", "--application", application)["environments"]
        assert (shown["id"], shown["stage"], shown["instances_built"]) == (environment, "awaiting tests", 1)
        # The script reads this machine's clock. Where the local cloud's is ahead, nothing has cost anything yet.
        spent = cost(read(Environment, mayfly.record(environment)), mayfly.cloud.now(), list_prices())
        assert (shown["instance_type"], spent.usd_per_hour) == ("t3.micro", pytest.approx(0.0104, rel=0.2))
        assert shown["usd_per_hour"] in (0.0, round(spent.usd_per_hour, 4))

        extended = script.asked("extend", environment, "60", "--why", "a bug")["environment"]
        assert extended["deadline"] == mayfly.record(environment)["deadline"] > shown["deadline"]

        script.asked(
            "result", environment, "passed", "--report", "https://ci.example/7", "--token", mayfly.token(environment)
        )
        printed, told = watched.communicate(timeout=PATIENCE_SECONDS)
        assert watched.returncode == 0, told
        said = json.loads(printed)
        assert (said["passed"], said["reason"]) == (True, "passed: its one suite passed")
        assert "awaiting tests" in told
        record = mayfly.record(environment)
        assert record["instance_types"] == {"t3.micro": 1}
        assert record["launched_at"] < record["terminated_at"]
        says = f"{who} (says mayfly.app.{record['application']})"  # nobody has verified who speaks by the bus
        mine = [line["what"] for line in record["history"] if line["who"] == says]
        assert mine == ["Environment Extension Requested", "Test Finished"]
        assert mayfly.release(release)["pushed_by"] == who

        (bill,) = script.asked("costs", "--application", application)["applications"]
        assert (bill["application"], bill["usd_per_hour"]) == (application, 0)
        assert [suite["suite"] for suite in bill["suites"]] == ["smoke"]
        (ended,) = script.asked("list", "--application", application, "--days", "1")["environments"]
        assert (ended["ending"]["outcome"], ended["usd_per_hour"]) == ("passed", 0)

    def test_that_is_found_bad_ends_the_watch_with_1(self, script: Script, mayfly: Driver) -> None:
        application = mayfly.application()
        pushed = script.start("push", application, "1.0.0", "s3://artifacts/1", "--watch")
        environment = environment_id(release_id(application, "1.0.0", 1), "smoke")
        mayfly.life(environment, "awaiting tests")
        script.asked("result", environment, "failed", "--reason", "the basket was empty")
        printed, told = pushed.communicate(timeout=PATIENCE_SECONDS)
        assert (pushed.returncode, "the basket was empty" in printed) == (1, True), told

    def test_is_ended_by_a_person(self, script: Script, mayfly: Driver, who: str) -> None:
        environment = mayfly.begin(mayfly.application())
        code, told = script.refused("end", environment, "--why", "over")  # nobody is there to confirm it
        assert code == 1
        assert f"End {environment}: 1 instance of" in told
        assert "ending" not in mayfly.record(environment)
        script.asked("end", environment, "--why", "over", "--yes")
        mayfly.end(environment)
        record = mayfly.record(environment)
        assert record["ending"]["reason"] == f"{who} (says mayfly.app.{record['application']}): over"
        assert mayfly.nothing_is_left(environment)
        assert script.refused("watch", environment)[0] == 1
        code, told = script.refused("extend", environment, "5", "--why", "late")
        assert (code, "it was ended by request" in told) == (1, True)

    def test_that_was_pushed_already_is_refused_and_a_further_attempt_is_not(
        self, script: Script, mayfly: Driver
    ) -> None:
        application = mayfly.application()
        words = ("push", application, "1.0.0", "s3://artifacts/1")
        first = script.asked(*words)["release"]
        code, told = script.refused(*words)
        assert (code, "--attempt 2" in told) == (1, True)
        second = script.asked(*words, "--attempt", "2")["release"]
        for release in (first, second):
            mayfly.life(environment_id(release, "smoke"), "awaiting tests")
            mayfly.finish(environment_id(release, "smoke"))
            mayfly.verdict(release)


class TestAPermanentEnvironment:
    def test_is_made_once_a_person_approves(self, script: Script, mayfly: Driver, who: str) -> None:
        service = Service(mayfly, when="approved")
        rollout = f"{service.id}-1"
        service.gallery.promoted(service.gallery.image(), "stable")
        service.passes("1.0.0")

        def waits() -> bool:
            shown = {each["id"]: each for each in script.asked("services")["services"]}
            return shown.get(service.id, {}).get("rollout") == rollout

        mayfly.until(waits, f"{rollout} awaits approval")
        said = script.asked("approve", rollout, "--why", "looks good")
        assert (said["rollout"], said["stage"]) == (rollout, "running")
        watched = script.start("watch", rollout, "--json")
        service.ended("Rollout Completed")
        printed, told = watched.communicate(timeout=PATIENCE_SECONDS)
        assert (watched.returncode, json.loads(printed)["rollout"]["stage"]) == (0, "completed"), told
        found = script.asked("services", service.id)
        assert [(each["id"], each["percent"]) for each in found["rollouts"]] == [(rollout, 100)]

        def counted() -> bool:  # by the look that follows the rollout's end
            [shown] = script.asked("services", service.id)["services"]
            return (shown["version"], shown["instance_count"]) == ("1.0.0", 3)

        mayfly.until(counted, "its instances are counted", lambda: script.asked("services", service.id))
        assert (f"{who} (says mayfly.operator)", "approved") in [
            (line["who"], line["what"]) for line in service.record["history"]
        ]
        code, told = script.refused("roll-out", service.id, "--back", "--why", "an incident")
        assert (code, "there is no step before" in told) == (1, True)


class TestWhatIsWrong:
    def test_is_said_with_what_to_do(self, script: Script) -> None:
        code, told = script.refused("push", "unheard-of", "1", "s3://artifacts/1")
        assert (code, "mayfly app init unheard-of" in told) == (3, True), told
        code, told = script.refused("list", "--stack", "elsewhere")
        assert (code, "no stack 'elsewhere'" in told) == (3, True)
        assert script.refused("watch", "nobody")[0] == 3
        assert script.refused("extend", "nobody", "many", "--why", "x")[0] == 2

    def test_without_credentials_it_says_how_to_get_some(self, script: Script) -> None:
        nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        code, told = script.refused("list", **nobody)
        assert (code, "aws sso login" in told) == (4, True)

    def test_without_permission_it_names_the_permission(self, script: Script, cloud: LocalCloud) -> None:
        pages = cloud.client("lambda").get_paginator("list_functions").paginate()
        functions = [one for page in pages for one in page["Functions"]]
        role = next(one["Role"] for one in functions if one["FunctionName"] == "mayfly-confirm-ready")
        keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="probe")["Credentials"]
        code, told = script.refused(
            "list",
            AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
            AWS_SESSION_TOKEN=keys["SessionToken"],
        )
        assert (code, "cloudformation:DescribeStacks" in told) == (4, True), told


class TestOperations:
    def test_a_dry_sweep_reports(self, script: Script, who: str) -> None:
        report = script.asked("sweep", "--dry-run", "--why", "curious")
        assert report["asked_by"] == f"{who} (says mayfly.operator)"
        assert report["halted"] == ""

    def test_the_kill_switch_is_turned_and_told(self, script: Script, who: str) -> None:
        try:
            assert script.asked("kill-switch", "on", "--why", "an incident")["on"]
            shown = script.asked("kill-switch")
            assert who in shown["why"]
            assert "an incident" in shown["why"]
        finally:
            assert script.asked("kill-switch", "off", "--why", "over") == {"on": False, "why": ""}

    def test_images_are_shown(self, script: Script) -> None:
        assert script.asked("images").keys() == {"now", "families", "failures"}
        assert script.refused("bake", "unheard-of", "--why", "x")[0] == 1


def test_people_are_told_of_a_verdict(mayfly: Driver, cloud: LocalCloud) -> None:
    anybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [anybody]})
    url = cloud.client("sqs").create_queue(QueueName="people", Attributes={"Policy": policy})["QueueUrl"]
    arn = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    cloud.client("sns").subscribe(TopicArn=mayfly.outputs["NotificationsTopic"], Protocol="sqs", Endpoint=arn)
    application = mayfly.application()
    environment = mayfly.begin(application)
    mayfly.finish(environment, "failed", reason="the basket was empty")

    def look() -> str | None:
        for message in cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            said = json.loads(message["Body"])
            if said.get("Subject") == f"{application} 1.0.0 FAILED":
                return str(said["Message"])
        return None

    assert "the basket was empty" in mayfly.until(look, "a note about the release")


@pytest.fixture(scope="module")
def read_only(cloud: LocalCloud) -> str:
    """A role of the workload account that whoever runs the doctor may assume: Mayfly's own may look at less, and is
    open to its functions only. It has what docs/cli.md says that doctor looks at."""
    iam = cloud.workload_client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": CONTROLLER_ACCOUNT}, "Action": "sts:AssumeRole"}
    looks = ["ec2:Describe*", "events:Describe*", "events:List*", "iam:Get*", "servicequotas:Get*"]
    may = {"Effect": "Allow", "Action": looks, "Resource": "*"}
    policies = [json.dumps({"Version": "2012-10-17", "Statement": [statement]}) for statement in (trust, may)]
    iam.create_role(RoleName="ReadOnly", AssumeRolePolicyDocument=policies[0])
    iam.put_role_policy(RoleName="ReadOnly", PolicyName="looks", PolicyDocument=policies[1])
    return "ReadOnly"


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _swept(self, script: Script) -> None:
        script.asked("sweep", "--dry-run", "--why", "for the doctor")

    @pytest.fixture
    def broken(self, cloud: LocalCloud) -> Iterator[str]:
        """An application that no release of can be planned."""
        application = {"owner": "team", "blueprint": "nowhere.yaml", "image": {"family": "base"}}
        configure(cloud, "broken", application | {"account": WORKLOAD_ACCOUNT, "suites": [{"name": "smoke"}]})
        yield "broken"
        cloud.client("ssm").delete_parameter(Name="/mayfly/applications/broken")

    @pytest.fixture
    def deaf(self, cloud: LocalCloud) -> Iterator[str]:
        """A workload account whose rule is off."""
        events = cloud.workload_client("events")
        rules = [rule["Name"] for rule in events.list_rules()["Rules"] if "cloudformation" in rule["EventPattern"]]
        for rule in rules:
            events.disable_rule(Name=rule)
        yield f"forwarding in {WORKLOAD_ACCOUNT}/{REGION}"
        for rule in rules:
            events.enable_rule(Name=rule)

    def test_finds_a_fresh_installation_well(self, script: Script, read_only: str) -> None:
        checks = script.asked("doctor", "--role", read_only)["checks"]
        assert [each for each in checks if each["state"] == "failure"] == []
        well = {each["check"] for each in checks if each["state"] == "ok"}
        place = f"{WORKLOAD_ACCOUNT}/{REGION}"
        assert {"stack", "bus", "rules", "schedules", "application webshop", "family base"} <= well
        assert {f"workload role in {place}", f"forwarding in {place}", f"role that builds in {place}"} <= well

    def test_finds_an_application_that_cannot_be_built(self, script: Script, broken: str) -> None:
        ran = script.run("doctor", "--json")
        checks = {each["check"]: each for each in json.loads(ran.stdout)["checks"]}
        assert (ran.returncode, checks[f"application {broken}"]["state"]) == (1, "failure")
        assert "no blueprint nowhere.yaml" in checks[f"application {broken}"]["said"]

    def test_finds_a_rule_that_is_off(self, script: Script, deaf: str, read_only: str) -> None:
        ran = script.run("doctor", "--role", read_only, "--json")
        checks = {each["check"]: each for each in json.loads(ran.stdout)["checks"]}
        assert (ran.returncode, checks[deaf]["state"]) == (1, "failure")
        assert "it is off" in checks[deaf]["said"]
