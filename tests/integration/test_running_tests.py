"""Runners: how tests are started, what they are told, and the ending that follows from what they answer."""

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from mayfly.contract.configuration import Suite
from tests.integration.world import (
    CONTROLLER,
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NOW,
    REGION,
    TOKEN,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    deletion,
    on_the_bus,
)

SCRIPT: Json = {"type": "command", "script": "run-tests", "minutes": 30}
CONNECTION = f"arn:aws:events:{REGION}:111111111111:connection/mayfly-hub/1b6c2f0e-7d5a-4f57-9f0c-0a4d2a6b9c11"
HTTP: Json = {"type": "http", "url": "https://api.github.com/repos/acme/shop/dispatches", "connection": CONNECTION}
OUTPUTS = {"Url": "http://shop.example.com"}
REPORT_KEY = f"tests/{ENVIRONMENT}/report.xml"
PASSED = b'<testsuite><testcase name="adds"/><testcase name="pays"/></testsuite>'
FAILED = b'<testsuite><testcase name="adds"/><testcase name="pays"><failure/></testcase></testsuite>'


def started(world: World, **runner: Any) -> Json:
    event = {"order": an_order(runner=SCRIPT | runner), "deadline": DEADLINE, "outputs": OUTPUTS, "now": NOW}
    return world.call("start_command", event)


def status(command: str, status: str = "Success") -> Json:
    detail = {"command-id": command, "document-name": "AWS-RunShellScript", "status": status, "parameters": {}}
    return on_the_bus("EC2 Command Status-change Notification", detail, "aws.ssm", WORKLOAD_ACCOUNT)


def invocation(status: str = "Success", details: str = "", code: int = 0, instance: str = "i-1") -> Json:
    plugin = {"Name": "aws:runShellScript", "ResponseCode": code}
    known = {"InstanceId": instance, "Status": status, "StatusDetails": details or status}
    return known | {"CommandPlugins": [plugin]}


def going_on(world: World) -> None:
    world.wire.answer("ListCommandInvocations", CommandInvocations=[invocation("InProgress")])


def left(world: World, report: bytes) -> None:
    world.own("s3").put_object(Bucket=world.reports, Key=REPORT_KEY, Body=report)


class TestACommandIsStarted:
    @pytest.fixture(autouse=True)
    def _it_goes_on(self, world: World) -> None:
        world.ready()
        going_on(world)

    def test_on_one_instance_of_the_environment(self, world: World) -> None:
        [instance] = world.states()
        done = started(world)
        [sent] = world.wire.heard("SendCommand")
        assert sent["InstanceIds"] == [instance]
        assert sent["Parameters"]["executionTimeout"] == ["1800"]
        assert done["limit"] == "2026-11-24T07:32:34.120Z", "its minutes, and a quarter of an hour for the way"

    def test_on_every_instance_by_their_tags(self, world: World) -> None:
        started(world, instances="all")
        [sent] = world.wire.heard("SendCommand")
        assert {target["Key"]: target["Values"] for target in sent["Targets"]} == {
            "tag:mayfly:environment": [ENVIRONMENT],
            "tag:mayfly:controller": [CONTROLLER],
        }
        assert (sent["MaxConcurrency"], sent["MaxErrors"]) == ("100%", "100%")

    def test_with_what_the_tests_have_to_know(self, world: World) -> None:
        started(world, report="junit.xml")
        lines = world.wire.heard("SendCommand")[0]["Parameters"]["commands"]
        packed = next(line for line in lines if line.startswith("printf")).split()[2]
        script = base64.b64decode(packed).decode()
        assert f"export MAYFLY_ENVIRONMENT={ENVIRONMENT}\n" in script
        assert "export MAYFLY_OUTPUT_Url=http://shop.example.com\n" in script
        assert script.endswith("run-tests\n")
        assert REPORT_KEY in "".join(lines)

    def test_once(self, world: World) -> None:
        assert started(world) == started(world)
        assert len(world.wire.heard("SendCommand")) == 1

    def test_in_the_session_of_its_environment(self, world: World) -> None:
        world.wire.forget()
        started(world)
        mine = [{"Key": "mayfly:environment", "Value": ENVIRONMENT}]
        assert [entered["Tags"] for entered in world.wire.heard("AssumeRole")] == [mine, mine], "to send, and to look"

    def test_and_is_an_error_where_no_instance_runs(self, world: World) -> None:
        for instance in world.states():
            world.there("ec2").terminate_instances(InstanceIds=[instance])
        with pytest.raises(Exception, match=r"no instance of \S+ runs"):
            started(world)

    def test_and_is_judged_at_once_where_its_end_came_before_anybody_knew_whose_it_is(self, world: World) -> None:
        world.wire.answer("ListCommandInvocations", CommandInvocations=[invocation()])
        started(world)
        assert world.record()["ending"]["outcome"] == "passed"


class TestACommandEnds:
    def judged(self, world: World, *ended: Json, **runner: Any) -> Json:
        world.ready()
        going_on(world)
        command = started(world, **runner)["command"]
        world.wire.answer("ListCommandInvocations", CommandInvocations=list(ended or [invocation()]))
        answer = world.call("judge_command", status(command))
        assert answer["judged"]
        return dict(world.record()["ending"])

    def test_well_and_the_suite_has_passed(self, world: World) -> None:
        ending = self.judged(world)
        assert (ending["by"], ending["outcome"]) == ("tests", "passed")
        assert ending["log"] == f"s3://{world.reports}/tests/{ENVIRONMENT}/log.txt"
        assert world.settled[-1] == {"told": "Success", "taskToken": TOKEN, "output": "{}"}

    def test_with_a_report_that_is_read(self, world: World) -> None:
        left(world, FAILED)
        ending = self.judged(world, invocation("Failed", code=1), report="junit.xml")
        assert ending["reason"] == "1 of 2 tests failed: pays (the script exited with 1 on i-1)"
        assert ending["tests"] == {"tests": 2, "failures": 1, "skipped": 0, "failed": ["pays"]}
        assert ending["report"] == f"s3://{world.reports}/{REPORT_KEY}"

    def test_without_the_report_that_it_should_leave_and_is_broken(self, world: World) -> None:
        ending = self.judged(world, report="junit.xml")
        assert (ending["outcome"], ending["reason"]) == ("broken", "the tests left no report")

    def test_with_a_report_that_is_none_and_is_broken(self, world: World) -> None:
        left(world, b"no xml")
        ending = self.judged(world, report="junit.xml")
        assert (ending["outcome"], "cannot be read" in ending["reason"]) == ("broken", True)

    def test_without_having_run_and_is_broken(self, world: World) -> None:
        ending = self.judged(world, invocation("Failed", "Undeliverable", -1))
        assert ending["outcome"] == "broken"
        assert "i-1: Undeliverable" in ending["reason"]

    def test_twice_by_its_events_and_the_first_stands(self, world: World) -> None:
        self.judged(world)
        command = world.record()["command"]
        world.wire.answer("ListCommandInvocations", CommandInvocations=[invocation("Failed", code=1)])
        assert not world.call("judge_command", status(command))["recorded"]
        assert world.record()["ending"]["outcome"] == "passed"

    def test_of_somebody_else_and_nothing_is_judged(self, world: World) -> None:
        world.ready()
        answer = world.call("judge_command", status("e8d3c0e4-71f7-4491-898f-c9b35bee5f3b"))
        assert answer["reason"] == "it tests no environment"
        assert world.wire.heard("ListCommandInvocations") == []


class TestARunnerIsPlanned:
    def plan(self, world: World, **runner: Any) -> Json:
        event = {"order": an_order(runner=HTTP | runner, commit="9fceb02"), "deadline": DEADLINE, "outputs": OUTPUTS}
        return world.call("plan_tests", event | {"token": "T" * 43, "now": NOW})

    def test_with_a_document_that_github_takes(self, world: World) -> None:
        request = self.plan(world, body={"event_type": "tests", "client_payload": "$document"})["request"]
        payload = request["body"]["client_payload"]
        assert len(payload) <= 10
        assert (payload["environment"], payload["commit"], payload["token"]) == (ENVIRONMENT, "9fceb02", "T" * 43)
        assert payload["outputs"] == OUTPUTS
        assert REPORT_KEY in payload["report_url"]
        assert request["transform"] == {"RequestBodyEncoding": "NONE"}

    def test_with_variables_for_who_takes_texts_only(self, world: World) -> None:
        request = self.plan(world, body={"ref": "main", "inputs": "$variables"})["request"]
        assert {type(value) for value in request["body"]["inputs"].values()} == {str}
        assert request["body"]["inputs"]["MAYFLY_OUTPUT_Url"] == "http://shop.example.com"
        form = self.plan(world, body="$variables", encoding="form")["request"]
        assert form["transform"] == {"RequestBodyEncoding": "URL_ENCODED"}
        assert form["body"]["MAYFLY_ENVIRONMENT"] == ENVIRONMENT

    def test_as_the_variables_of_a_build(self, world: World) -> None:
        named = {each["Name"]: each for each in self.plan(world)["variables"]}
        assert named["MAYFLY_VERSION"] == {"Name": "MAYFLY_VERSION", "Value": "0.0.1", "Type": "PLAINTEXT"}


BUILD = {"BuildStatus": "FAILED", "Logs": {"DeepLink": "https://console.aws.amazon.com/logs"}}


class TestARunnerAnswers:
    @pytest.mark.parametrize(
        ("runner", "answer", "outcome", "reason"),
        [
            ("lambda", {"result": {"outcome": "passed"}}, "passed", "the tests passed"),
            ("lambda", {"result": {"outcome": "failed", "reason": "402"}}, "failed", "402"),
            ("lambda", {"result": {"status": 1}}, "broken", "expected an answer with outcome"),
            (
                "lambda",
                {"error": {"Error": "KeyError", "Cause": '{"errorMessage": "cart"}'}},
                "broken",
                "KeyError: cart",
            ),
            ("lambda", {"error": {"Error": "States.Timeout"}}, "broken", "longer than its minutes"),
            ("statemachine", {"result": {"anything": 1}}, "passed", "passed"),
            ("statemachine", {"result": {"outcome": "failed"}}, "failed", "says so"),
            (
                "statemachine",
                {"error": {"Error": "States.TaskFailed", "Cause": '{"Status": "FAILED", "Error": "Assertion"}'}},
                "failed",
                "Assertion",
            ),
            (
                "statemachine",
                {"error": {"Error": "States.TaskFailed", "Cause": '{"Status": "ABORTED"}'}},
                "broken",
                "ABORTED",
            ),
            ("codebuild", {"result": {"BuildStatus": "SUCCEEDED"}}, "passed", "passed"),
            ("codebuild", {"error": {"Error": "States.TaskFailed", "Cause": json.dumps(BUILD)}}, "failed", "FAILED"),
            (
                "codebuild",
                {
                    "error": {
                        "Error": "States.TaskFailed",
                        "Cause": json.dumps({"Build": BUILD | {"BuildStatus": "FAULT"}}),
                    }
                },
                "broken",
                "FAULT",
            ),
            (
                "http",
                {"error": {"Error": "States.Http.StatusCode.404", "Cause": "Not Found"}},
                "broken",
                "404: Not Found",
            ),
        ],
    )
    def test_and_that_is_the_ending(self, world: World, runner: str, answer: Json, outcome: str, reason: str) -> None:
        named = {"lambda": "function", "statemachine": "machine", "codebuild": "project"}
        own = HTTP if runner == "http" else {"type": runner, named[runner]: "mayfly-tests-shop"}
        world.ready()
        world.call("judge_tests", {"order": an_order(runner=own), "now": LATER, **answer})
        ending = world.record()["ending"]
        assert (ending["by"], ending["outcome"]) == ("tests", outcome)
        assert reason in ending["reason"]
        if runner == "codebuild" and "error" in answer:
            assert ending["log"] == "https://console.aws.amazon.com/logs"

    def test_and_its_report_counts_more_than_its_word(self, world: World) -> None:
        world.ready()
        left(world, FAILED)
        own = {"type": "lambda", "function": "mayfly-tests-shop"}
        world.call("judge_tests", {"order": an_order(runner=own), "now": LATER, "result": {"outcome": "passed"}})
        assert world.record()["ending"]["reason"] == "1 of 2 tests failed: pays"


class TestARunnerThatCannotBeStarted:
    def test_breaks_its_suite_and_not_the_environment(self, world: World) -> None:
        world.ready()
        error = {"Error": "NoInstance", "Cause": json.dumps({"errorMessage": "no instance runs"})}
        world.call("delete_environment", deletion("runner") | {"ended": {"by": "runner", "error": error}})
        ending = world.record()["ending"]
        assert (ending["by"], ending["outcome"]) == ("tests", "broken")
        assert ending["reason"] == "its tests were not run: NoInstance: no instance runs"


class TestTheEnvironmentEnds:
    @pytest.mark.parametrize("code", ["ExecutionDoesNotExist", "ValidationException", None])
    def test_and_what_runs_beside_it_is_stopped(self, world: World, code: str | None) -> None:
        world.ready()
        world.change(runner="http")
        world.wire.answer("StopExecution", error=code, stopDate=0)
        world.call("delete_environment", deletion())
        [stopped] = world.wire.heard("StopExecution")
        assert stopped["executionArn"].endswith(f":execution:mayfly-run-tests:{ENVIRONMENT}")

    def test_and_another_refusal_is_no_secret(self, world: World) -> None:
        world.ready()
        world.change(runner="http")
        world.wire.answer("StopExecution", error="AccessDeniedException")
        with pytest.raises(ClientError):
            world.call("delete_environment", deletion())

    @pytest.mark.parametrize("runner", [None, "command"])
    def test_and_nothing_is_stopped_where_nothing_runs_beside_it(self, world: World, runner: str | None) -> None:
        world.ready()
        world.change(runner=runner)
        world.call("delete_environment", deletion())
        assert world.wire.heard("StopExecution") == []


class TestTheConfiguration:
    @pytest.mark.parametrize(
        ("suite", "kind"), [({}, "automated"), ({"runner": "external"}, "automated"), ({"runner": "manual"}, "manual")]
    )
    def test_says_who_runs_a_suite_in_a_word(self, suite: Json, kind: str) -> None:
        read = Suite.model_validate({"name": "smoke"} | suite)
        assert (read.kind, read.runner) == (kind, None)

    @pytest.mark.parametrize(
        ("runner", "why"),
        [
            ({"type": "magic"}, "does not match any of the expected tags"),
            ({"type": "command"}, "script"),
            (SCRIPT | {"instances": "all", "report": "junit.xml"}, "only where the script runs on one instance"),
            ({"type": "lambda", "function": "anything"}, "mayfly-tests-"),
            ({"type": "lambda", "function": "mayfly-tests-a", "minutes": 16}, "less than or equal to 15"),
            (HTTP | {"url": "http://insecure.example.com"}, "https://"),
            (HTTP | {"connection": "arn:aws:events:us-east-1:111111111111:connection/other/1"}, "mayfly-"),
        ],
    )
    def test_is_refused_where_it_is_wrong(self, runner: Json, why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Suite.model_validate({"name": "smoke", "runner": runner})

    def test_has_no_runner_for_a_person(self) -> None:
        with pytest.raises(ValidationError, match="expected no runner of a manual suite"):
            Suite.model_validate({"name": "look", "kind": "manual", "runner": SCRIPT})
