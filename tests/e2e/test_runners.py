"""Tests that start by themselves: a push, and then nobody does anything until the verdict."""

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local import github
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver
from tests.e2e.test_ci import run

type Json = dict[str, Any]

SHA = "9fceb02d0ae598e95dc970b74767f19372d61af8"
REPORT = """cat >junit.xml <<'XML'
<testsuite><testcase name="adds"/><testcase name="pays">%s</testcase></testsuite>
XML
"""
PASSES = f"""
test -n "$MAYFLY_OUTPUT_InstanceId" || exit 3
echo "testing $MAYFLY_VERSION in $MAYFLY_ENVIRONMENT"
{REPORT % ""}"""
FAILS = f"{REPORT % '<failure>402</failure>'}exit 1"


def command(script: str, **more: Any) -> Json:
    return {"name": "smoke", "runner": {"type": "command", "script": script, **more}}


class TestACommand:
    def test_tests_a_version_and_nobody_does_anything(self, mayfly: Driver) -> None:
        application = mayfly.application(suites=[command(PASSES, report="junit.xml")])
        verdict = mayfly.verdict(mayfly.push(application))
        assert verdict["detail-type"] == "Release Passed", verdict
        [suite] = verdict["detail"]["suites"]
        assert suite["tests"] == {"tests": 2, "failures": 0, "skipped": 0, "failed": []}
        assert mayfly.nothing_is_left(suite["environment"])
        log = mayfly.left(suite["log"])
        assert log == f"testing 1.0.0 in {suite['environment']}\n"
        assert "<testcase" in mayfly.left(suite["report"])

    def test_adds_four_transitions_and_four_invocations_at_most(self, mayfly: Driver) -> None:
        application = mayfly.application(suites=[{"name": "look"}, command("true")])
        release = mayfly.push(application)
        by_hand, by_command = environment_id(release, "look"), environment_id(release, "smoke")
        mayfly.life(by_hand, "awaiting tests")
        mayfly.finish(by_hand)
        for environment in (by_hand, by_command):
            assert mayfly.end(environment)["status"] == "SUCCEEDED"
        mayfly.verdict(release)
        one, other = mayfly.costs(by_hand), mayfly.costs(by_command)
        assert other["outcome"] == "passed"
        assert other["state_transitions"] - one["state_transitions"] <= 4
        # What somebody else reports is taken by a function as well.
        assert other["lambda_invocations"] - (one["lambda_invocations"] - 1) <= 4

    def test_that_fails_names_the_tests(self, mayfly: Driver) -> None:
        application = mayfly.application(suites=[command(FAILS, report="junit.xml")])
        verdict = mayfly.verdict(mayfly.push(application))
        assert verdict["detail-type"] == "Release Failed"
        [suite] = verdict["detail"]["suites"]
        assert (suite["outcome"], suite["tests"]["failed"]) == ("failed", ["pays"])
        assert suite["reason"].startswith("1 of 2 tests failed: pays (the script exited with 1 on i-")

    def test_that_failed_is_repeated_on_a_fresh_environment_and_that_is_counted(self, mayfly: Driver) -> None:
        flaky = 'case $MAYFLY_ENVIRONMENT in *-2) ;; *) echo "a race" && exit 1 ;; esac'
        application = mayfly.application(suites=[{**command(flaky), "retries": 2}])
        release = mayfly.push(application)
        verdict = mayfly.verdict(release)
        assert verdict["detail-type"] == "Release Passed", verdict
        [suite] = verdict["detail"]["suites"]
        first = environment_id(release, "smoke")
        assert (suite["environment"], suite["attempts"]) == (f"{first}-2", 2)
        assert "failed before: the script exited with 1" in suite["reason"]
        assert verdict["detail"]["reason"] == "its one suite passed; smoke at attempt 2"
        for environment in (first, suite["environment"]):
            assert mayfly.nothing_is_left(environment)

    def test_that_breaks_is_repeated_as_often_as_its_suite_says(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", command="*", effect="undeliverable", times=2)
        application = mayfly.application(suites=[{**command("true"), "retries": 1}])
        [suite] = mayfly.verdict(mayfly.push(application))["detail"]["suites"]
        assert (suite["outcome"], suite["attempts"]) == ("broken", 2)

    def test_runs_on_all_instances(self, mayfly: Driver) -> None:
        suites = [command("true", instances="all")]
        application = mayfly.application(suites=suites, instances=3, blueprint="fleet.yaml")
        environment = environment_id(mayfly.push(application), "smoke")
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.record(environment)["ending"]["outcome"] == "passed"
        assert len(mayfly.invocations("judge-command", environment)) == 1, "one event for all of them"

    def test_whose_instance_cannot_be_reached_is_broken(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", command="*", effect="undeliverable")
        application = mayfly.application(suites=[command("true")])
        verdict = mayfly.verdict(mayfly.push(application))
        [suite] = verdict["detail"]["suites"]
        assert suite["outcome"] == "broken"
        assert "Undeliverable" in suite["reason"]

    def test_that_never_answers_is_broken_when_its_time_is_over(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", command="*", effect="silent")
        application = mayfly.application(suites=[command("true", minutes=10)])
        environment = mayfly.begin(application)
        mayfly.cloud.advance(26 * 60)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        ending = mayfly.record(environment)["ending"]
        assert (ending["by"], ending["outcome"]) == ("tests", "broken")
        assert "NoResult" in ending["reason"]
        assert mayfly.nothing_is_left(environment)


@pytest.fixture
def hub(mayfly: Driver) -> Iterator[github.GitHub]:
    """GitHub, with one repository."""
    with github.serve(github.GitHub("acme/shop", "secret", commits={SHA}, pulls={7})) as running:
        mayfly.cloud.stand_in(github.HOST, running.url)
        yield running


def connection(mayfly: Driver, name: str, secret: str = "secret") -> str:
    made = mayfly.cloud.client("events").create_connection(
        Name=name,
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "Authorization", "ApiKeyValue": f"Bearer {secret}"}},
    )
    return str(made["ConnectionArn"])


def by_github(arn: str, **more: Any) -> Json:
    runner = {
        "type": "http",
        "url": "https://api.github.com/repos/acme/shop/dispatches",
        "connection": arn,
        "body": {"event_type": "mayfly-tests", "client_payload": "$document"},
    }
    return {"name": "smoke", "runner": runner | more}


def configure_forge(mayfly: Driver, application: str, used: str) -> None:
    """Has an application's developers see what came of their commits, by this connection."""
    ssm, name = mayfly.cloud.client("ssm"), f"/mayfly/applications/{application}"
    document = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    forge = {"type": "github", "repository": "acme/shop", "connection": used}
    ssm.put_parameter(Name=name, Value=json.dumps(document | {"forge": forge}), Type="String", Overwrite=True)


class TestAnApi:
    def test_starts_a_workflow_beside_a_script_and_reports_verdict_and_commit_follow(
        self, mayfly: Driver, hub: github.GitHub, tmp_path: Path
    ) -> None:
        script = command(PASSES, report="junit.xml") | {"name": "script"}
        arn = connection(mayfly, "mayfly-one")
        application = mayfly.application(suites=[by_github(arn), script])

        def workflow(payload: Json) -> None:
            """What a job of GitHub Actions does (`ci/github/tests.yml`): runs tests, and says how they went."""
            report = tmp_path / "junit.xml"
            report.write_text((REPORT % "").splitlines()[1])
            known = {name: str(payload[name]) for name in ("application", "environment", "token", "report_url")}
            done = run(
                mayfly, "report.sh", "passed", str(report), **{f"MAYFLY_{k.upper()}": v for k, v in known.items()}
            )
            assert done.returncode == 0, done.stderr

        hub.workflow = workflow
        configure_forge(mayfly, application, arn)
        verdict = mayfly.verdict(mayfly.push(application, commit=SHA, pull_request=7))
        assert verdict["detail-type"] == "Release Passed", (verdict, hub.refused)
        suites = verdict["detail"]["suites"]
        assert {one["suite"]: one["tests"]["tests"] for one in suites} == {"smoke": 2, "script": 2}
        assert hub.dispatches[0]["client_payload"]["commit"] == SHA
        for one in suites:
            assert "<testcase" in mayfly.left(one["report"])
            assert mayfly.nothing_is_left(one["environment"])
        mayfly.until(
            lambda: [one["state"] for one in hub.statuses.get(SHA, [])][-1:] == ["success"],
            "the status of the commit",
            lambda: hub.statuses,
        )
        *before, _ = [one["state"] for one in hub.statuses[SHA]]
        assert set(before) == {"pending"}
        assert 2 <= len(before) <= 3, "at first, and as environments have addresses"
        told = lambda: [one for one in list(hub.comments.values()) if "passed" in one["body"]]  # noqa: E731
        [comment] = mayfly.until(told, "the comment", lambda: hub.comments)
        assert len(hub.comments) == 1
        assert comment["issue"] == 7
        assert hub.refused == []

    def test_that_is_away_for_hours_is_told_the_verdict_when_it_is_back(
        self, mayfly: Driver, hub: github.GitHub
    ) -> None:
        application = mayfly.application(suites=[command("true")])
        configure_forge(mayfly, application, connection(mayfly, "mayfly-away"))
        hub.away = 503
        verdict = mayfly.verdict(mayfly.push(application, commit=SHA, pull_request=7))
        assert verdict["detail-type"] == "Release Passed", verdict
        begun = mayfly.cloud.now()
        later = lambda: mayfly.cloud.advance(600) or mayfly.cloud.now() - begun > timedelta(hours=3)  # noqa: E731
        mayfly.until(lambda: later() and len(hub.refused) > 30, "it is asked for hours", lambda: hub.refused)
        assert {status for status, _ in hub.refused} == {503}
        assert (hub.statuses, hub.comments) == ({}, {})
        hub.away = 0
        told = lambda: [one for one in list(hub.comments.values()) if "passed" in one["body"]]  # noqa: E731
        mayfly.until(lambda: later() and told(), "the comment", lambda: (hub.statuses, hub.refused[-3:]))
        assert {one["state"] for one in hub.statuses[SHA]} == {"success"}
        assert len(hub.comments) == 1

    def test_that_refuses_breaks_the_suite_with_the_reason(self, mayfly: Driver, hub: github.GitHub) -> None:
        wrong = connection(mayfly, "mayfly-wrong", "another")
        application = mayfly.application(suites=[by_github(wrong)])
        verdict = mayfly.verdict(mayfly.push(application))
        [suite] = verdict["detail"]["suites"]
        assert suite["outcome"] == "broken"
        assert "401" in suite["reason"]
        assert "Bad credentials" in suite["reason"]

    def test_whose_workflow_never_answers_is_broken_when_its_time_is_over(
        self, mayfly: Driver, hub: github.GitHub
    ) -> None:
        arn = connection(mayfly, "mayfly-silent")
        application = mayfly.application(suites=[by_github(arn, minutes=20)])
        environment = mayfly.begin(application)
        mayfly.until(lambda: hub.dispatches, "the workflow is started")
        mayfly.cloud.advance(21 * 60)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        ending = mayfly.record(environment)["ending"]
        assert (ending["by"], ending["outcome"]) == ("tests", "broken")


PASSES_BY_FUNCTION = """
def handler(event, context):
    return {"outcome": "passed" if event["outputs"]["InstanceId"] else "failed"}
"""
DIES = "def handler(event, context):\n    raise RuntimeError('no cart')\n"
BUILDSPEC = """
version: 0.2
phases:
  build:
    commands:
      - test "$MAYFLY_VERSION" = 1.0.0
      - test -n "$MAYFLY_OUTPUT_InstanceId"
"""


def role(mayfly: Driver, name: str, service: str) -> str:
    """A role without permissions; its ARN."""
    trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    made = mayfly.cloud.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy)
    return str(made["Role"]["Arn"])


def function(mayfly: Driver, name: str, source: str) -> Json:
    """A function of the platform team's."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("app.py", source)
    mayfly.cloud.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="app.handler",
        Role=role(mayfly, name, "lambda"),
        Code={"ZipFile": archive.getvalue()},
    )
    return {"name": "smoke", "runner": {"type": "lambda", "function": name}}


def machine(mayfly: Driver, name: str, state: Json, **more: Any) -> Json:
    """A state machine of the platform team's, of one state."""
    mayfly.cloud.client("stepfunctions").create_state_machine(
        name=name,
        definition=json.dumps({"StartAt": "Test", "States": {"Test": state}}),
        roleArn=role(mayfly, name, "states"),
    )
    return {"name": "smoke", "runner": {"type": "statemachine", "machine": name, **more}}


class TestWhatRunsInTheAccountOfTheInstallation:
    def suite(self, mayfly: Driver, suite: Json) -> Json:
        [part] = mayfly.verdict(mayfly.push(mayfly.application(suites=[suite])))["detail"]["suites"]
        assert mayfly.nothing_is_left(part["environment"])
        return dict(part)

    def test_a_function_s_answer_is_the_result(self, mayfly: Driver) -> None:
        assert self.suite(mayfly, function(mayfly, "mayfly-tests-one", PASSES_BY_FUNCTION))["outcome"] == "passed"

    def test_a_function_that_dies_breaks_its_suite(self, mayfly: Driver) -> None:
        suite = self.suite(mayfly, function(mayfly, "mayfly-tests-two", DIES))
        assert (suite["outcome"], "no cart" in suite["reason"]) == ("broken", True), suite

    def test_a_function_that_is_not_there_breaks_its_suite(self, mayfly: Driver) -> None:
        suite = self.suite(mayfly, {"name": "smoke", "runner": {"type": "lambda", "function": "mayfly-tests-none"}})
        assert suite["outcome"] == "broken", suite

    def test_an_execution_s_end_is_the_result(self, mayfly: Driver) -> None:
        well = machine(mayfly, "mayfly-tests-well", {"Type": "Succeed"})
        ill = machine(mayfly, "mayfly-tests-ill", {"Type": "Fail", "Error": "Assertion", "Cause": "402"})
        assert self.suite(mayfly, well)["outcome"] == "passed"
        suite = self.suite(mayfly, ill)
        assert (suite["outcome"], "Assertion: 402" in suite["reason"]) == ("failed", True), suite

    def test_an_execution_is_stopped_with_its_environment(self, mayfly: Driver) -> None:
        wait = machine(mayfly, "mayfly-tests-wait", {"Type": "Wait", "Seconds": 90_000, "End": True})
        environment = mayfly.begin(mayfly.application(suites=[wait]))
        states = mayfly.cloud.client("stepfunctions")
        arn = f"arn:aws:states:us-east-1:111111111111:execution:mayfly-tests-wait:{environment}"
        mayfly.until(lambda: described(states, arn), "the execution has begun")
        mayfly.finish(environment, "failed")
        mayfly.end(environment)
        mayfly.until(lambda: described(states, arn) == "ABORTED", "the execution is stopped")

    def test_a_build_s_end_is_the_result(self, mayfly: Driver) -> None:
        mayfly.cloud.client("codebuild").create_project(
            name="mayfly-tests-build",
            source={"type": "NO_SOURCE", "buildspec": BUILDSPEC},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={"type": "LINUX_CONTAINER", "image": "standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"},
            serviceRole="arn:aws:iam::111111111111:role/mayfly-tests",
        )
        build = {"name": "smoke", "runner": {"type": "codebuild", "project": "mayfly-tests-build"}}
        suite = self.suite(mayfly, build)
        assert suite["outcome"] == "passed", suite
        assert suite["log"].startswith("https://console.aws.amazon.com/")


def described(states: Any, arn: str) -> str | None:
    """How an execution stands; None where there is none yet."""
    try:
        return str(states.describe_execution(executionArn=arn)["status"])
    except states.exceptions.ExecutionDoesNotExist:
        return None
