"""The command line over an installation: what it puts on the bus, what it shows, and how it ends."""

import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from click.testing import CliRunner, Result

from local.install import ROOT
from mayfly.domain.contents import Contents
from mayfly.domain.identity import release_id
from mayfly.domain.needs import QUOTAS
from mayfly.domain.records import Entry
from mayfly.domain.timestamp import utc_text
from mayfly.workflows import image_contents
from mayfly_cli import installation as installations
from mayfly_cli import watching
from mayfly_cli.main import main
from tests.integration.test_dead_letters import BAD, kept, queued, refused, waiting
from tests.integration.test_moving_channels import FAMILY
from tests.integration.test_rolling_out import FIRST, IMAGE, SECOND, SERVICE, configure, declare, passed, step
from tests.integration.world import (
    CONTROLLER,
    CONTROLLER_ACCOUNT,
    ENVIRONMENT,
    REGION,
    RELEASE,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    on_the_bus,
)

type Run = Callable[..., Result]

WHO = f"moto ({CONTROLLER_ACCOUNT})"
SAID = f"{WHO} (says mayfly.operator)"
"""How records show them: the bus has verified nobody."""


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against the world's installation, which has a stack that says what it consists of."""
    outputs = {
        "TableName": world.table,
        "Controller": CONTROLLER,
        "BusName": world.bus,
        "FactsBusName": world.facts,
        "BusArn": f"arn:aws:events:{REGION}:{CONTROLLER_ACCOUNT}:event-bus/{world.bus}",
        "ReportsBucket": world.reports,
        "DeadLettersUrl": world.queue,
        "BlueprintsBucket": world.bucket,
        "ReleaseMachine": world.machine,
        "EnvironmentMachine": world.environment_machine,
        "TestsMachine": f"{world.machine}-run-tests",
        "ShowMachine": f"{world.machine}-show-release",
        "BakeMachine": world.bake_machine,
        "PromotionMachine": world.promotion_machine,
        "RolloutMachine": f"{world.machine}-roll-out",
    }
    parameters = {
        "WorkloadAccounts": WORKLOAD_ACCOUNT,
        "Regions": "",
        "SweepMost": "20",
        "SweepPercent": "30",
        "RetireMost": "100",
        "ParametersPath": "/mayfly",
        "WorkloadRoleName": "mayfly-workload",
        "StackRoleName": "mayfly-cloudformation",
        "RecordDays": "90",
    }
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "mayfly-alarms"}}
    listening = {"Name": "listen", "EventBusName": world.bus, "EventPattern": {"source": ["x"]}}
    rule = {"Type": "AWS::Events::Rule", "Properties": listening}
    template = {
        "Parameters": {name: {"Type": "String"} for name in parameters},
        "Resources": {"Alarms": topic, "Listen": rule},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    world.own("cloudformation").create_stack(
        StackName="mayfly",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    monkeypatch.setattr(installations, "LOOK_SECONDS", 0)
    monkeypatch.setattr(installations, "PATIENCE_SECONDS", 1.0)
    world.wire.reset()
    return lambda *words: CliRunner(mix_stderr=False).invoke(main, words)


def put(world: World) -> tuple[str, str, Json]:
    """The one event that was put on the bus: its source, its type and its detail."""
    (call,) = world.wire.heard("PutEvents")
    (entry,) = call["Entries"]
    assert entry["EventBusName"] == world.bus
    return entry["Source"], entry["DetailType"], json.loads(entry["Detail"])


def follows(world: World, function: str, what: str, detail: Json) -> None:
    """Has a function follow the next event on the bus, as its rule would."""
    said = on_the_bus(what, detail, source="mayfly.operator")
    world.wire.before("PutEvents", lambda: called(world, function, said))


def called(world: World, function: str, event: Json) -> None:
    """Calls a function with an event of this moment."""
    with redirect_stdout(StringIO()):  # its metrics
        now = utc_text(datetime.now(UTC))
        world.call(function, event | {"time": now, "sent": now})


def begun(world: World, **facts: Any) -> None:
    """An environment that waits for its tests, and whose deadline is yet to come."""
    now = datetime.now(UTC)
    world.ready()
    world.change(deadline=utc_text(now + timedelta(hours=1)), ceiling=utc_text(now + timedelta(hours=9)), **facts)


class TestDeadLetters:
    @pytest.fixture
    def letters(self, world: World, run: Run) -> World:
        """Three that wait: two of one reason."""
        events = [BAD | {"id": f"6a7e8feb-b491-4cf7-a9f1-{number:012}"} for number in range(2)]
        with redirect_stdout(StringIO()):
            kept(world, *(queued(refused(event)) for event in events), queued("no JSON"))
        world.wire.reset()
        world.wire.answer("Invoke")
        return world

    def test_are_counted_by_kind_and_reason(self, letters: World, run: Run) -> None:
        listed = run("dead-letters", "list")
        assert listed.exit_code == 0, listed.stderr
        assert "3 dead letters wait" in listed.stdout
        assert "application: expected one that is configured" in listed.stdout

    def test_are_shown_whole(self, letters: World, run: Run) -> None:
        (name,) = (one["id"] for one in waiting(letters) if one["kind"] == "unreadable")
        shown = run("dead-letters", "show", name, "--json")
        assert json.loads(shown.stdout)["message"] == "no JSON"
        assert run("dead-letters", "show", "dl-0000000000000000").exit_code == 3

    def test_are_redriven_together_and_that_is_seen(self, letters: World, run: Run) -> None:
        detail = {"kind": "refused", "why": "mended", "requested_by": WHO}
        follows(letters, "work_dead_letters", "Dead Letters Redrive Requested", detail)
        done = run("dead-letters", "redrive", "--kind", "refused", "--why", "mended")
        assert (done.exit_code, done.stdout) == (0, "2 of 2 dead letters were redriven\n"), done.stderr
        assert put(letters) == ("mayfly.operator", "Dead Letters Redrive Requested", detail)
        assert len(letters.wire.heard("Invoke")) == 2

    def test_that_could_not_be_redriven_are_told_of(self, letters: World, run: Run) -> None:
        detail = {"why": "mended", "requested_by": WHO}
        follows(letters, "work_dead_letters", "Dead Letters Redrive Requested", detail)
        done = run("dead-letters", "redrive", "--all", "--why", "mended")
        assert (done.exit_code, done.stdout) == (1, "2 of 3 dead letters were redriven\n")

    def test_are_discarded_by_name(self, letters: World, run: Run) -> None:
        name = waiting(letters)[0]["id"]
        detail = {"letters": [name], "why": "old", "requested_by": WHO}
        follows(letters, "work_dead_letters", "Dead Letters Discard Requested", detail)
        assert run("dead-letters", "discard", name, "--why", "old").exit_code == 0
        assert len(waiting(letters)) == 2

    @pytest.mark.parametrize("words", [(), ("--all", "--kind", "failed")])
    def test_that_are_not_chosen_are_left_alone(self, letters: World, run: Run, words: tuple[str, ...]) -> None:
        done = run("dead-letters", "discard", *words, "--why", "old")
        assert done.exit_code == 2
        assert "Name dead letters" in done.stderr

    def test_none_of_which_fits_is_said(self, letters: World, run: Run) -> None:
        assert run("dead-letters", "discard", "--reason", "nothing such", "--why", "old").exit_code == 3


class TestFindingTheInstallation:
    @pytest.mark.parametrize("words", [("list", "--stack", "other"), ("--stack", "other", "list")], ids=str)
    def test_that_is_not_there_is_said_with_what_to_do(self, run: Run, words: tuple[str, ...]) -> None:
        found = run(*words)
        assert found.exit_code == 3
        assert "There is no stack 'other' in us-east-1" in found.stderr
        assert "--stack" in found.stderr

    def test_in_a_stack_that_is_none_is_said(self, world: World, run: Run) -> None:
        world.own("cloudformation").create_stack(
            StackName="other", TemplateBody=json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
        )
        found = run("list", "--stack", "other")
        assert (found.exit_code, "is no installed Mayfly" in found.stderr) == (3, True)

    def test_denied_names_the_permission(self, world: World, run: Run) -> None:
        denied = "User: alice is not authorized to perform: cloudformation:DescribeStacks on resource: *"
        world.wire.answer("DescribeStacks", error="AccessDenied", message=denied)
        found = run("list")
        assert (found.exit_code, denied in found.stderr) == (4, True)

    def test_with_credentials_that_are_over_says_to_sign_in(self, world: World, run: Run) -> None:
        world.wire.answer("DescribeStacks", error="ExpiredToken", message="The security token is expired")
        found = run("list")
        assert (found.exit_code, "Sign in again" in found.stderr) == (4, True)


class TestPush:
    def test_puts_the_same_event_as_anybody_and_says_who(self, world: World, run: Run) -> None:
        release = release_id("webshop", "2.0.0", 1)
        follows(
            world,
            "accept_code_version",
            "Code Version Pushed",
            {"application": "webshop", "version": "2.0.0", "artifact": "s3://a/2"},
        )
        found = run("push", "webshop", "2.0.0", "s3://a/2", "--commit", "9fceb02", "--branch", "main", "--json")
        assert (found.exit_code, json.loads(found.stdout)) == (0, {"accepted": True, "release": release})
        source, what, detail = put(world)
        assert (source, what) == ("mayfly.app.webshop", "Code Version Pushed")
        assert detail == {
            "application": "webshop",
            "version": "2.0.0",
            "artifact": "s3://a/2",
            "commit": "9fceb02",
            "branch": "main",
            "attempt": 1,
            "hotfix": False,
            "pushed_by": WHO,
        }

    def test_of_what_cannot_be_planned_uses_no_version_up(self, world: World, run: Run) -> None:
        world.configure(blueprint="not-there.yaml")
        found = run("push", "webshop", "2.0.0", "s3://a/2")
        assert (found.exit_code, "there is no blueprint not-there.yaml" in found.stderr) == (1, True)
        assert not world.wire.heard("PutEvents")

    @pytest.mark.parametrize(
        ("name", "said"), [("webshopp", "Did you mean webshop?"), ("billing", "mayfly app init billing")]
    )
    def test_of_an_application_that_there_is_not_says_what_may_be_meant(self, run: Run, name: str, said: str) -> None:
        found = run("push", name, "2.0.0", "s3://a/2")
        assert (found.exit_code, said in found.stderr) == (3, True), found.stderr

    def test_of_a_version_that_was_pushed_already_says_how_to_repeat_it(self, world: World, run: Run) -> None:
        entry = Entry("2026-11-24T06:47:33Z", "ci", "Code Version Pushed", "")
        world.records("release").begin(release_id("webshop", "1", 1), {}, entry, datetime.now(UTC))
        world.wire.forget()
        found = run("push", "webshop", "1", "s3://a/1")
        assert (found.exit_code, "--attempt 2" in found.stderr) == (1, True)
        assert not world.wire.heard("PutEvents")

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("webshop", "no blank", "a"), 2, "version"),
            (("WEBSHOP", "1", "a"), 2, "application"),
            (("webshop", "1", "a", "--attempt", "0"), 2, "attempt"),
            (("unheard-of", "1", "a"), 3, "No application is called 'unheard-of'"),
        ],
    )
    def test_of_nonsense_names_the_field(
        self, world: World, run: Run, words: tuple[str, ...], code: int, said: str
    ) -> None:
        found = run("push", *words)
        assert (found.exit_code, said in found.stderr, found.stdout) == (code, True, "")
        assert not world.wire.heard("PutEvents")


class TestList:
    def test_shows_what_lives_with_its_cost(self, world: World, run: Run) -> None:
        begun(world, launched_at=utc_text(datetime.now(UTC) - timedelta(hours=10)), instance_types={"t3.small": 10})
        found = json.loads(run("list", "--json").stdout)
        (shown,) = found["environments"]
        assert (shown["id"], shown["stage"], shown["suite"]) == (ENVIRONMENT, "awaiting tests", "smoke")
        assert shown["usd"] == pytest.approx(0.0208 * 100, rel=0.01)
        assert shown["usd_per_hour"] == pytest.approx(0.208, rel=0.01)

    def test_is_a_table_for_people(self, world: World, run: Run) -> None:
        begun(world)
        found = run("list")
        assert "1 environment at" in found.stdout
        assert "awaiting tests" in found.stdout

    def test_leaves_out_other_applications_and_what_has_ended(self, world: World, run: Run) -> None:
        begun(world)
        assert json.loads(run("list", "--json", "--application", "other").stdout)["environments"] == []
        world.records().change(ENVIRONMENT, {"stage": "terminated"}, drop=("live",))
        assert json.loads(run("list", "--json").stdout)["environments"] == []

    def test_shows_what_has_ended_where_it_is_asked_for(self, world: World, run: Run) -> None:
        entry = Entry(utc_text(datetime.now(UTC)), "plan", "planned", "")
        world.records().begin("gone-1-smoke", {"region": REGION, "deadline": entry.at}, entry, datetime.now(UTC))
        world.records().change("gone-1-smoke", {"stage": "terminated", "terminated_at": entry.at}, drop=("live",))
        shown = json.loads(run("list", "--json", "--days", "1").stdout)["environments"]
        assert [(each["id"], each["ended_at"]) for each in shown] == [("gone-1-smoke", entry.at)]


class TestShow:
    def test_has_outputs_cost_and_history_as_the_api_answers(self, world: World, run: Run) -> None:
        begun(world, outputs={"Url": "http://shop.internal/"})
        found = json.loads(run("show", ENVIRONMENT, "--json").stdout)
        assert (found["id"], found["outputs"], found["tone"]) == (ENVIRONMENT, {"Url": "http://shop.internal/"}, "good")
        assert found["history"] == world.record()["history"]
        said = run("show", ENVIRONMENT).stdout
        assert "http://shop.internal/" in said
        assert "awaiting tests" in said


class TestSleep:
    def test_says_until_when_it_holds(self, world: World, run: Run) -> None:
        begun(world)
        world.configure()
        world.change(kind="manual")
        detail = {"environment": ENVIRONMENT, "minutes": 90, "why": "it is Friday", "requested_by": WHO}
        follows(world, "keep_office_hours", "Environment Sleep Requested", detail)
        found = run("sleep", ENVIRONMENT, "--for", "1h30m", "--why", "it is Friday")
        until = world.record()["override"]["until"]
        assert (found.exit_code, found.stdout) == (
            0,
            f"{ENVIRONMENT} is to sleep until {until}, whatever its office hours say\n",
        )

    def test_of_what_tests_itself_is_refused_with_the_reason(self, world: World, run: Run) -> None:
        begun(world)
        detail = {"environment": ENVIRONMENT, "minutes": 480, "why": "a demo", "requested_by": WHO}
        follows(world, "keep_office_hours", "Environment Wake Requested", detail)
        found = run("wake", ENVIRONMENT, "--why", "a demo")
        assert (found.exit_code, "only what people use sleeps" in found.stderr) == (1, True)


class TestExtend:
    def test_waits_for_what_came_of_it(self, world: World, run: Run) -> None:
        begun(world)
        before = world.record()["deadline"]
        detail = {"environment": ENVIRONMENT, "minutes": 60, "why": "a bug", "requested_by": WHO}
        follows(world, "accept_extension", "Environment Extension Requested", detail)
        found = run("extend", ENVIRONMENT, "60", "--why", "a bug", "--json")
        assert found.exit_code == 0, found.stderr
        moved = json.loads(found.stdout)["environment"]["deadline"]
        assert datetime.fromisoformat(moved) - datetime.fromisoformat(before) == timedelta(hours=1)
        events = [call["Entries"][0] for call in world.wire.heard("PutEvents")]
        asked = next(event for event in events if event["Source"].startswith(("mayfly.operator", "mayfly.app.")))
        assert (asked["DetailType"], json.loads(asked["Detail"])) == ("Environment Extension Requested", detail)

    def test_that_is_refused_ends_with_the_reason(self, world: World, run: Run) -> None:
        begun(world)
        world.change(ceiling=world.record()["deadline"])
        detail = {"environment": ENVIRONMENT, "minutes": 60, "why": "a bug", "requested_by": WHO}
        follows(world, "accept_extension", "Environment Extension Requested", detail)
        found = run("extend", ENVIRONMENT, "60", "--why", "a bug")
        assert (found.exit_code, "it may live until" in found.stderr) == (1, True)

    def test_that_nobody_follows_is_told(self, world: World, run: Run) -> None:
        begun(world)
        found = run("extend", ENVIRONMENT, "60", "--why", "a bug")
        assert (found.exit_code, "mayfly doctor" in found.stderr) == (5, True)

    @pytest.mark.parametrize(("said", "minutes"), [("2h", 120), ("90m", 90), ("1d", 1440), ("1h30m", 90), ("45", 45)])
    def test_takes_durations_as_people_write_them(self, world: World, run: Run, said: str, minutes: int) -> None:
        begun(world)
        assert run("extend", ENVIRONMENT, said, "--why", "a bug", "--no-wait").exit_code == 0
        assert put(world)[2]["minutes"] == minutes

    @pytest.mark.parametrize("said", ["2 hours", "soon", "", "h"])
    def test_of_no_duration_says_what_is_expected(self, world: World, run: Run, said: str) -> None:
        begun(world)
        found = run("extend", ENVIRONMENT, said, "--why", "a bug")
        assert (found.exit_code, "such as 90m, 2h, 1d" in found.stderr) == (2, True), found.stderr
        assert not world.wire.heard("PutEvents")

    def test_of_a_misspelt_name_says_what_may_be_meant(self, world: World, run: Run) -> None:
        begun(world)
        found = run("extend", ENVIRONMENT[:-1], "60", "--why", "a bug")
        assert (found.exit_code, f"Did you mean {ENVIRONMENT}?" in found.stderr) == (3, True)

    def test_of_a_release_names_its_environments(self, world: World, run: Run) -> None:
        facts = {"suites": [{"suite": "smoke", "environment": ENVIRONMENT}]}
        now = datetime.now(UTC)
        world.records("release").begin(RELEASE, facts, Entry(utc_text(now), "ci", "pushed", ""), now)
        found = run("end", RELEASE, "--why", "over", "--yes")
        assert (found.exit_code, f"its environments are: {ENVIRONMENT}" in found.stderr) == (3, True)

    def test_of_nothing_is_not_found(self, world: World, run: Run) -> None:
        found = run("extend", "nobody", "60", "--why", "a bug")
        assert (found.exit_code, "There is no environment 'nobody'" in found.stderr) == (3, True)
        assert not world.wire.heard("PutEvents")


class TestEnd:
    def test_asks_first_and_names_what_is_lost(self, world: World, run: Run) -> None:
        begun(world)
        found = CliRunner(mix_stderr=False).invoke(main, ["end", ENVIRONMENT, "--why", "over"], input="n\n")
        assert found.exit_code == 1
        assert f"End {ENVIRONMENT}: 1 instance of webshop 0.0.1, suite smoke?" in found.stderr
        assert not world.wire.heard("PutEvents")

    def test_ends_it_without_asking_where_that_is_said(self, world: World, run: Run) -> None:
        begun(world)
        detail = {"environment": ENVIRONMENT, "why": "over", "requested_by": WHO}
        follows(world, "accept_termination", "Environment Termination Requested", detail)
        found = run("end", ENVIRONMENT, "--why", "over", "--yes")
        assert (found.exit_code, found.stdout) == (0, f"{ENVIRONMENT} is being ended\n")
        assert world.record()["ending"]["reason"] == f"{SAID}: over"
        assert put(world)[2] == detail | {"again": False}

    def test_while_the_kill_switch_is_on_says_that_nothing_ends_yet(self, world: World, run: Run) -> None:
        begun(world)
        world.switch("ops: an incident")
        detail = {"environment": ENVIRONMENT, "why": "over", "requested_by": WHO}
        follows(world, "accept_termination", "Environment Termination Requested", detail)
        found = run("end", ENVIRONMENT, "--why", "over", "--yes")
        assert (found.exit_code, found.stdout) == (5, "")
        assert f"{ENVIRONMENT} is to be ended, but the kill switch is on: ops: an incident" in found.stderr

    def test_of_what_was_ended_already_says_by_whom(self, world: World, run: Run) -> None:
        begun(world, ending={"by": "tests", "outcome": "passed", "reason": "the tests passed"})
        found = run("end", ENVIRONMENT, "--why", "over", "--yes")
        assert (found.exit_code, "ended already by tests" in found.stderr) == (1, True)


def test_a_manual_suite_s_result_ends_its_environment(world: World, run: Run) -> None:
    begun(world)
    detail = {"environment": ENVIRONMENT, "outcome": "failed", "reason": "ugly", "finished_by": WHO}
    follows(world, "accept_test_result", "Test Finished", detail)
    assert run("result", ENVIRONMENT, "failed", "--reason", "ugly").exit_code == 0
    assert world.record()["ending"]["outcome"] == "failed"
    assert put(world)[2] == detail


class TestWatch:
    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        follow = watching.follow
        monkeypatch.setattr(watching, "follow", lambda *words: follow(*words, every=0))

    def test_names_the_kill_switch_where_an_ending_waits_for_it(self, world: World, run: Run) -> None:
        begun(world, ending={"by": "tests", "outcome": "passed", "reason": "the tests passed"})
        world.switch("ops: an incident")
        found = run("watch", ENVIRONMENT, "--timeout", "0")
        assert found.exit_code == 5
        assert "The kill switch is on, nothing ends or begins: ops: an incident" in found.stderr

    def test_tells_what_could_not_be_launched_and_so_does_show(self, world: World, run: Run) -> None:
        lacks = ["m5.large in us-east-1a", "c5.large in us-east-1b"]
        begun(world, without_capacity=lacks)
        why = "no capacity for m5.large in us-east-1a: We currently do not have sufficient m5.large capacity."
        world.records().change(ENVIRONMENT, {}, Entry(world.record()["planned_at"], "judge", "not launched", why))
        found = run("watch", ENVIRONMENT, "--timeout", "0")
        assert f"{ENVIRONMENT}  not launched  {why}" in found.stderr
        shown = run("show", ENVIRONMENT).stdout
        assert re.search(r"not launched +m5.large in us-east-1a, c5.large in us-east-1b", shown)

    def test_that_somebody_leaves_by_ctrl_c_has_not_failed(
        self, world: World, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def pressed(*_: object) -> None:
            raise KeyboardInterrupt

        begun(world)
        monkeypatch.setattr(watching, "follow", pressed)
        found = run("watch", ENVIRONMENT)
        assert (found.exit_code, "goes on" in found.stderr) == (130, True)

    @pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
    def test_of_a_release_ends_as_the_release_did(self, world: World, run: Run, passed: bool, code: int) -> None:
        begun(world)
        stage, now = "passed" if passed else "failed", utc_text(datetime.now(UTC))
        facts = {"stage": stage, "suites": [{"suite": "smoke", "environment": ENVIRONMENT}]}
        facts["verdict"] = {"passed": passed, "reason": "all said"}
        world.records("release").begin(RELEASE, facts, Entry(now, "judge", stage, "all said"), datetime.now(UTC))
        found = run("watch", RELEASE, "--json")
        assert found.exit_code == code
        said = json.loads(found.stdout)
        assert (said["passed"], said["reason"]) == (passed, f"{stage}: all said")
        assert [each["id"] for each in said["environments"]] == [ENVIRONMENT]
        assert "awaiting tests" not in found.stdout.splitlines()[0]
        assert f"{RELEASE}  {stage}  all said" in found.stderr

    def test_tells_every_line_of_a_history_once(self, world: World, run: Run) -> None:
        begun(world)
        ended = {"ending": {"by": "tests", "outcome": "passed", "reason": "good"}}
        world.records().change(ENVIRONMENT, ended, drop=("live",))
        found = run("watch", ENVIRONMENT)
        assert (found.exit_code, found.stdout) == (0, f"{ENVIRONMENT} passed: good\n")
        assert found.stderr.count("  planned  ") == 1

    def test_gives_up_where_that_is_said(self, world: World, run: Run) -> None:
        begun(world)
        found = run("watch", ENVIRONMENT, "--timeout", "0")
        assert (found.exit_code, "is awaiting tests still" in found.stderr) == (5, True)

    def test_of_nothing_is_not_found(self, run: Run) -> None:
        assert run("watch", "nobody").exit_code == 3

    def test_of_a_misspelt_name_says_what_may_be_meant(self, world: World, run: Run) -> None:
        begun(world)
        said = run("watch", ENVIRONMENT[:-1])
        assert (said.exit_code, f"Did you mean {ENVIRONMENT}?" in said.stderr) == (3, True)

    def test_tells_no_fraction_of_a_second(self, world: World, run: Run) -> None:
        begun(world)
        line = Entry(utc_text(datetime.now(UTC)), "plan", "planned", "until 2026-12-01T06:03:59.599Z")
        world.records().change(ENVIRONMENT, {}, line)
        assert "until 2026-12-01T06:03:59Z" in run("watch", ENVIRONMENT, "--timeout", "0").stderr

    def test_waits_only_until_tests_may_begin_where_that_is_wanted(self, world: World, run: Run) -> None:
        begun(world)
        suites = [{"suite": "smoke", "environment": ENVIRONMENT}]
        entry = Entry(utc_text(datetime.now(UTC)), "plan", "running", "")
        world.records("release").begin(RELEASE, {"stage": "running", "suites": suites}, entry, datetime.now(UTC))
        assert json.loads(run("watch", RELEASE, "--ready", "--json").stdout)["environments"][0]["ready"] is True
        assert ENVIRONMENT in run("watch", ENVIRONMENT, "--ready").stdout
        ended = {"ending": {"by": "failure", "outcome": "broken", "reason": "no capacity"}}
        world.records().change(ENVIRONMENT, ended, drop=("live",))
        found = run("watch", RELEASE, "--ready")
        assert (found.exit_code, f"{ENVIRONMENT} is broken: no capacity" in found.stderr) == (1, True)

    def test_of_a_rollout_has_no_tests_to_wait_for(self, world: World, run: Run) -> None:
        now = datetime.now(UTC)
        world.records("rollout").begin(f"{SERVICE}-1", {}, Entry(utc_text(now), "plan", "running", ""), now)
        assert run("watch", f"{SERVICE}-1", "--ready").exit_code == 2


class TestEvidence:
    def test_tells_every_line_of_a_period_for_people_programs_and_spreadsheets(self, world: World, run: Run) -> None:
        begun(world)
        found = json.loads(run("history", "--since", "2020-01-01", "--json").stdout)["lines"]
        assert {(line["kind"], line["id"]) for line in found} == {("environment", ENVIRONMENT)}
        assert "planned" in run("history", "--since", "2020-01-01", "--application", "webshop").stdout
        head, *rows = run("history", "--since", "2020-01-01", "--csv").stdout.splitlines()
        assert head == "at,kind,id,application,who,what,why"
        assert len(rows) == len(found)
        assert (
            json.loads(run("history", "--since", "2019-01-01", "--until", "2020-01-01", "--json").stdout)["lines"] == []
        )

    @pytest.mark.parametrize("words", [("--since", "yesterday"), ("--csv", "--json")])
    def test_is_told_what_it_does_not_understand(self, run: Run, words: tuple[str, ...]) -> None:
        assert run("history", *words).exit_code == 2

    def test_two_releases_are_compared(self, world: World, run: Run) -> None:
        entry, until = Entry(utc_text(datetime.now(UTC)), "plan", "planned", ""), datetime.now(UTC)
        for name, version in (("webshop-1", "1"), ("webshop-2", "2")):
            facts = {"version": version, "parameters": {"Size": version}}
            world.records("release").begin(name, facts, entry, until)
        found = json.loads(run("compare", "webshop-1", "webshop-2", "--json").stdout)
        assert found["parameters"] == [{"name": "Size", "before": "1", "after": "2"}]
        assert "parameter Size" in run("compare", "webshop-1", "webshop-2").stdout
        assert run("compare", "webshop-1", "webshop-3").exit_code == 3


class TestImages:
    def test_are_shown_with_their_bakes(self, world: World, run: Run) -> None:
        entry = Entry(utc_text(datetime.now(UTC)), "alice", "requested", "a fix")
        world.records("bake").begin(
            "base-1",
            {"family": "base", "stage": "requested", "why": "a fix", "requested_by": "alice"},
            entry,
            datetime.now(UTC),
        )
        facts = {"family": "base", "channel": "stable", "image": "ami-1", "regions": {REGION: "ami-1"}}
        world.records("channel").begin("base/stable", facts | {"version": 1}, entry, datetime.now(UTC))
        result = run("images", "--json")
        assert result.exit_code == 0, result.stderr
        found = json.loads(result.stdout)
        (base,) = found["families"]
        assert [(each["name"], each["image"]) for each in base["channels"]] == [("stable", "ami-1")]
        assert [(each["id"], each["stage"]) for each in base["bakes"]] == [("base-1", "requested")]
        told = run("images").stdout
        assert "base-1  requested" in told
        assert (run("images", "other").exit_code, run("images", "base").stdout) == (3, told)

    def test_a_bake_of_an_unknown_family_is_refused_at_once(self, world: World, run: Run) -> None:
        found = run("bake", "unheard", "--why", "a fix")
        assert (found.exit_code, "/mayfly/families/unheard" in found.stderr) == (1, True)
        assert not world.wire.heard("PutEvents")

    @pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
    @pytest.mark.parametrize("way", ["promote", "rollback"])
    def test_a_move_waits_for_its_end(self, world: World, run: Run, way: str, status: str, code: int) -> None:
        world.put("/mayfly/families/base", json.dumps(FAMILY))
        output = json.dumps({"moved": True, "reason": "because"})
        world.wire.answer("DescribeExecution", status=status, cause="the image is not proven", output=output)
        words = (
            ["promote", "base", "stable", "ami-0123456789abcdef0"]
            if way == "promote"
            else ["rollback", "base", "stable"]
        )
        found = run(*words, "--why", "good")
        assert found.exit_code == code, found.stderr
        assert ("the image is not proven" in found.stderr) == (code == 1)
        _, what, detail = put(world)
        assert what == ("Image Promotion Requested" if way == "promote" else "Image Rollback Requested")
        assert (detail["family"], detail["channel"], detail["requested_by"]) == ("base", "stable", WHO)

    @pytest.mark.parametrize(
        "words", [("promote", "base", "stable", "ami-0123456789abcdef0"), ("rollback", "base", "stable")]
    )
    def test_a_move_that_was_refused_ends_so_and_says_why(self, world: World, run: Run, words: tuple[str, ...]) -> None:
        world.put("/mayfly/families/base", json.dumps(FAMILY))
        output = json.dumps({"moved": False, "reason": "expected a proven one"})
        world.wire.answer("DescribeExecution", status="SUCCEEDED", output=output)
        found = run(*words, "--why", "good")
        assert (found.exit_code, found.stdout) == (1, "")
        assert "stable of base points to nothing still: expected a proven one" in found.stderr

    def test_a_promotion_shows_what_it_brings(self, world: World, run: Run) -> None:
        world.put("/mayfly/families/base", json.dumps(FAMILY))
        before, after = "ami-0123456789abcdef0", "ami-0fedcba9876543210"
        self.points(world, before)
        world.wire.answer(
            "DescribeExecution", status="SUCCEEDED", output=json.dumps({"moved": True, "reason": "because"})
        )
        promotion = ("promote", "base", "stable", after, "--why", "good")
        assert f"nothing is recorded of what {before} consists of" in run(*promotion).stderr
        for image, version in ((before, "3.0.1"), (after, "3.0.2")):
            image_contents.keep(world.reports, image, Contents({"package": {"openssl": version}}))
        found = run(*promotion)
        assert re.search(r"package\W+openssl\W+3\.0\.1\W+3\.0\.2", found.stderr)
        said = json.loads(run(*promotion, "--json").stdout)
        assert said["differences"]["packages"] == [{"name": "openssl", "before": "3.0.1", "after": "3.0.2"}]

    def points(self, world: World, image: str) -> None:
        """The channel stable of base points to an image."""
        facts = {"family": "base", "channel": "stable", "image": image, "regions": {REGION: image}, "version": 1}
        entry = Entry(utc_text(datetime.now(UTC)), "alice", "promoted", "")
        world.records("channel").begin("base/stable", facts, entry, datetime.now(UTC))

    def test_a_move_to_where_the_channel_points_already_is_done(self, world: World, run: Run) -> None:
        world.put("/mayfly/families/base", json.dumps(FAMILY))
        image = "ami-0123456789abcdef0"
        self.points(world, image)
        world.wire.answer(
            "DescribeExecution", status="SUCCEEDED", output=json.dumps({"moved": False, "reason": "there"})
        )
        assert run("promote", "base", "stable", image, "--why", "good").exit_code == 0
        assert run("rollback", "base", "stable", "--image", "ami-0fedcba9876543210", "--why", "bad").exit_code == 0
        assert run("rollback", "base", "stable", "--image", image, "--why", "bad").exit_code == 1


class TestServices:
    @pytest.fixture
    def waiting(self, world: World, run: Run) -> World:
        """A service whose first rollout waits for a person."""
        declare(world, when="approved")
        called(world, "plan_rollouts", passed(world, "1.0.0"))
        world.wire.forget()
        return world

    @pytest.fixture
    def standing(self, waiting: World) -> World:
        """The same after that rollout: it needs nobody any more, and has 1.0.0."""
        configure(waiting)
        called(waiting, "plan_rollouts", {})
        self.ends(waiting)
        waiting.wire.forget()
        return waiting

    def ends(self, world: World, failure: Json | bool = False) -> None:
        """The rollout that runs makes its stack, and gets its verdict."""
        plan = world.record(SERVICE, "service")["plan"]
        with redirect_stdout(StringIO()):
            world.call("update_service", step(plan, "prepare"))
            verdict = {"plan": plan, "failure": failure, "unverified": False, "now": utc_text(datetime.now(UTC))}
            world.call("judge_rollout", verdict)

    def test_are_shown_with_what_waits(self, waiting: World, run: Run) -> None:
        found = json.loads(run("services", "--json").stdout)
        (service,), (rollout,) = found["services"], found["rollouts"]
        assert (service["id"], service["stage"], service["instance_count"]) == (SERVICE, "planned", 0)
        assert service["rollout"] == FIRST
        assert (rollout["id"], rollout["stage"], rollout["percent"]) == (FIRST, "awaiting approval", 0)
        assert rollout["to"] == {"image": IMAGE, "version": "1.0.0"}
        assert f"{SERVICE}  planned" in run("services").stdout

    def test_are_shown_with_what_runs_and_what_has_been(self, standing: World, run: Run) -> None:
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        found = json.loads(run("services", SERVICE, "--json").stdout)
        (service,) = found["services"]
        assert (service["version"], service["image"], service["rollout"]) == ("1.0.0", IMAGE, SECOND)
        assert service["instance_count"] == 3
        assert [(each["id"], each["stage"]) for each in found["rollouts"]] == [
            (SECOND, "running"),
            (FIRST, "completed"),
        ]
        shown = run("services").stdout
        assert ("0 d 0 h" in shown, "every instance is made" in shown) == (True, True)

    def test_of_an_unknown_name_are_not_found(self, run: Run) -> None:
        found = run("services", "nobody")
        assert (found.exit_code, "no service 'nobody'" in found.stderr) == (3, True)

    def test_a_rollout_is_approved(self, waiting: World, run: Run) -> None:
        detail = {"rollout": FIRST, "why": "looks good", "approved_by": WHO}
        follows(waiting, "plan_rollouts", "Rollout Approved", detail)
        found = run("approve", FIRST, "--why", "looks good", "--json")
        assert found.exit_code == 0, found.stderr
        said = json.loads(found.stdout)
        assert (said["service"], said["rollout"], said["stage"]) == (SERVICE, FIRST, "running")
        assert put(waiting) == ("mayfly.operator", "Rollout Approved", detail)

    def test_one_that_went_badly_is_tried_again_under_a_new_number(self, standing: World, run: Run) -> None:
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        self.ends(standing, {"Error": "RolledBack", "Cause": "an alarm"})
        detail = {"rollout": SECOND, "why": "mended", "approved_by": WHO}
        follows(standing, "plan_rollouts", "Rollout Approved", detail)
        found = run("approve", SECOND, "--why", "mended")
        assert (found.exit_code, f"mayfly watch {SERVICE}-3" in found.stdout) == (0, True), found.stderr

    def test_one_that_waits_for_nobody_is_not_approved(self, standing: World, run: Run) -> None:
        found = run("approve", FIRST, "--why", "why not")
        assert (found.exit_code, f"{FIRST} is completed: nobody has to" in found.stderr) == (1, True)
        assert not standing.wire.heard("PutEvents")

    def test_is_rolled_out_at_once_whatever_its_policy_says(self, standing: World, run: Run) -> None:
        configure(standing, when="approved")
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        asked = {"service": SERVICE, "to": "latest", "why": "an incident", "requested_by": WHO}
        standing.wire.forget()
        follows(standing, "plan_rollouts", "Rollout Requested", asked)
        said = json.loads(run("roll-out", SERVICE, "--why", "an incident", "--json").stdout)
        assert (said["rollout"], said["stage"]) == (SECOND, "running")
        assert put(standing)[1:] == ("Rollout Requested", asked)
        assert standing.record(SECOND, "rollout")["to"]["version"] == "2.0.0"

    def test_goes_back_one_step_where_there_is_one(self, standing: World, run: Run) -> None:
        asked = {"service": SERVICE, "to": "previous", "why": "an incident", "requested_by": WHO}
        follows(standing, "plan_rollouts", "Rollout Requested", asked)
        found = run("roll-out", SERVICE, "--back", "--why", "an incident")
        assert (found.exit_code, "there is no step before to go back to" in found.stderr) == (1, True)
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        self.ends(standing)
        follows(standing, "plan_rollouts", "Rollout Requested", asked)
        found = run("roll-out", SERVICE, "--back", "--why", "an incident")
        assert (found.exit_code, "version from 2.0.0 to 1.0.0" in found.stdout) == (0, True), found.stderr

    def test_what_is_asked_for_while_one_runs_follows_it(self, standing: World, run: Run) -> None:
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        asked = {"service": SERVICE, "to": "latest", "why": "new ones", "requested_by": WHO}
        follows(standing, "plan_rollouts", "Rollout Requested", asked)
        found = run("roll-out", SERVICE, "--why", "new ones")
        assert (found.exit_code, "what was asked for follows it" in found.stdout) == (5, True), found.stderr
        assert f"mayfly abort {SECOND}" in found.stderr

    def test_while_the_kill_switch_is_on_nothing_begins(self, standing: World, run: Run) -> None:
        standing.switch("ops: an incident")
        asked = {"service": SERVICE, "to": "latest", "why": "new ones", "requested_by": WHO}
        for _ in range(2):
            follows(standing, "plan_rollouts", "Rollout Requested", asked)
            found = run("roll-out", SERVICE, "--why", "new ones", "--json")
            said = json.loads(found.stdout)
            assert (said["rollout"], said["stage"], found.exit_code) == (SECOND, "awaiting kill switch", 5)
            assert "the kill switch is on" in found.stderr or "nothing begins while it is on" in found.stderr

    def test_one_that_runs_is_stopped(self, standing: World, run: Run) -> None:
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        asked = {"rollout": SECOND, "why": "logins fail", "requested_by": WHO}
        follows(standing, "resume_rollout", "Rollout Abort Requested", asked)
        found = run("abort", SECOND, "--why", "logins fail")
        assert (found.exit_code, f"{SECOND} goes back" in found.stdout) == (0, True), found.stderr
        assert put(standing)[1:] == ("Rollout Abort Requested", asked)
        assert standing.record(SECOND, "rollout")["aborted"] == f"{SAID} stopped it: logins fail"
        again = run("abort", SECOND, "--why", "logins fail")
        assert (again.exit_code, "it was stopped already" in again.stderr) == (1, True)

    def test_one_that_runs_is_paused_and_resumed(self, standing: World, run: Run) -> None:
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        asked = {"rollout": SECOND, "why": "let us see", "requested_by": WHO}
        follows(standing, "resume_rollout", "Rollout Pause Requested", asked)
        found = run("pause", SECOND, "--why", "let us see")
        assert (found.exit_code, f"{SECOND} pauses, at a checkpoint" in found.stdout) == (0, True), found.stderr
        again = run("pause", SECOND, "--why", "let us see")
        assert (again.exit_code, "it is paused already" in again.stderr) == (1, True)
        follows(standing, "resume_rollout", "Rollout Resume Requested", asked)
        found = run("resume", SECOND, "--why", "let us see")
        assert (found.exit_code, f"{SECOND} goes on" in found.stdout) == (0, True), found.stderr
        assert "paused" not in standing.record(SECOND, "rollout")
        assert run("resume", SECOND, "--why", "again").exit_code == 1

    def test_one_that_is_over_is_not_stopped(self, standing: World, run: Run) -> None:
        found = run("abort", FIRST, "--why", "late")
        assert (found.exit_code, "it is completed, and replaces nothing" in found.stderr) == (1, True)
        assert not standing.wire.heard("PutEvents")

    @pytest.mark.parametrize(
        ("failure", "code", "stage"),
        [(False, 0, "completed"), ({"Error": "RolledBack", "Cause": "an alarm"}, 1, "rolled back")],
    )
    def test_a_rollout_is_followed_to_its_end(
        self, standing: World, run: Run, failure: Json | bool, code: int, stage: str
    ) -> None:
        called(standing, "plan_rollouts", passed(standing, "2.0.0"))
        assert run("watch", SECOND, "--timeout", "0").exit_code == 5
        self.ends(standing, failure)
        found = run("watch", SECOND, "--json")
        said = json.loads(found.stdout)
        assert (found.exit_code, said["kind"], said["rollout"]["stage"]) == (code, "rollout", stage)
        assert [each["percent"] for each in said["rollout"]["checkpoints"]] == [10, 50, 100]
        assert f"{SECOND}  running  version from 1.0.0 to 2.0.0" in found.stderr


class TestSweep:
    def test_shows_the_report_of_the_sweep_that_was_asked_for(self, world: World, run: Run) -> None:
        follows(
            world,
            "sweep_environments",
            "Sweep Requested",
            {"dry_run": True, "why": "curious", "requested_by": WHO},
        )
        found = run("sweep", "--dry-run", "--why", "curious", "--json")
        assert found.exit_code == 0, found.stderr
        report = json.loads(found.stdout)
        assert (report["asked_by"], report["decisions"]) == (SAID, [])
        assert put(world)[1:] == (
            "Sweep Requested",
            {"dry_run": True, "at_most": 0, "why": "curious", "requested_by": WHO},
        )


class TestTheKillSwitch:
    def test_is_shown(self, world: World, run: Run) -> None:
        assert run("kill-switch").stdout == "off\n"
        world.switch("ops at noon: an incident")
        assert json.loads(run("kill-switch", "--json").stdout) == {"on": True, "why": "ops at noon: an incident"}

    def test_is_turned_with_a_reason(self, world: World, run: Run) -> None:
        follows(world, "set_kill_switch", "Kill Switch Set", {"on": True, "why": "an incident", "set_by": WHO})
        found = run("kill-switch", "on", "--why", "an incident", "--json")
        assert json.loads(found.stdout)["on"] is True
        assert "an incident" in json.loads(found.stdout)["why"]

    def test_is_not_turned_without(self, world: World, run: Run) -> None:
        assert run("kill-switch", "on").exit_code == 2
        assert not world.wire.heard("PutEvents")


def test_costs_are_shown_by_application_and_suite(world: World, run: Run) -> None:
    begun(world, launched_at=utc_text(datetime.now(UTC) - timedelta(hours=10)), instance_types={"m5.large": 10})
    bill = json.loads(run("costs", "--json").stdout)
    assert bill["applications"][0]["application"] == "webshop"
    assert bill["total_usd"] == pytest.approx(9.6, rel=0.01)
    assert bill["prices"]["as_of"]
    assert "webshop" in run("costs").stdout


IN_README = {
    "application-load-balancers": "Application Load Balancers",
    "auto-scaling-groups": "Auto Scaling groups",
    "elastic-ips": "elastic IPs",
    "gateway-endpoints": "gateway endpoints",
    "gp3-gib": "TiB of gp3",
    "instance-profiles": "instance profiles",
    "internet-gateways": "internet gateways",
    "nat-gateways": "NAT gateways a zone",
    "network-interfaces": "network interfaces",
    "roles": "roles",
    "security-groups": "security groups",
    "stacks": "stacks",
    "target-groups": "target groups",
    "vcpus-standard": "vCPUs of standard instances",
    "vpcs": "VPCs",
}
"""What README.md calls the quotas of which blueprints/fleet.yaml and service.yaml take."""


BUILDING = ("mayfly-cloudformation", "mayfly-cloudformation-services", "mayfly-consoles", "mayfly-builder")


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _well(self, world: World) -> None:
        """What blueprints/workload-account.yaml leaves in a workload account, and a sweep that has got in."""
        bus = f"arn:aws:events:{REGION}:{CONTROLLER_ACCOUNT}:event-bus/{world.bus}"
        events = world.there("events")
        pattern = json.dumps({"source": ["aws.cloudformation"]})
        events.put_rule(Name="forward", EventPattern=pattern)
        events.put_targets(Rule="forward", Targets=[{"Id": "mayfly", "Arn": bus}])
        for role in BUILDING:
            world.there("iam").create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        self.swept(world, {})

    def swept(self, world: World, unseen: dict[str, str]) -> None:
        """The last sweep's report says that it could not look at these places."""
        now = datetime.now(UTC)
        report = {"at": utc_text(now), "asked_by": "schedule", "unseen": unseen}
        key = f"sweeps/{now:%Y/%m/%d/%H%M%S}-52fdfc07.json"
        world.own("s3").put_object(Bucket=world.reports, Key=key, Body=json.dumps(report).encode())

    def found(self, run: Run, code: int) -> dict[str, Json]:
        """What each check found."""
        result = run("doctor", "--json")
        assert result.exit_code == code, result.output
        return {each["check"]: each for each in json.loads(result.stdout)["checks"]}

    def test_finds_all_well(self, run: Run) -> None:
        checks = self.found(run, 0)
        assert {each["check"] for each in checks.values() if each["state"] == "failure"} == set()
        well = ("stack", "bus", "bus of facts", "rules", "application webshop", "dead letters", "kill switch")
        well += (f"workload role in {WORKLOAD_ACCOUNT}/{REGION}", f"forwarding in {WORKLOAD_ACCOUNT}/{REGION}")
        assert {checks[name]["state"] for name in well} == {"ok"}

    def test_says_what_to_do_about_whatever_is_not(self, run: Run) -> None:
        for each in self.found(run, 0).values():
            assert bool(each["todo"]) == (each["state"] != "ok"), each

    def test_is_a_table_for_people(self, run: Run) -> None:
        assert "what to do" in run("doctor").stdout

    @pytest.mark.parametrize(
        ("break_it", "check", "said"),
        [
            (lambda world: world.put("/mayfly/applications/webshop", "{}"), "application webshop", "owner"),
            (lambda world: world.configure(account="999999999999"), "application webshop", "expected one of"),
            (lambda world: world.configure(blueprint="no.yaml"), "application webshop", "no blueprint no.yaml"),
            (lambda world: world.configure(image={"family": "no"}), "application webshop", "/images/no/stable"),
            (lambda world: world.put("/mayfly/families/base", "{}"), "family base", "owner"),
            (
                lambda world: world.own("events").disable_rule(Name="listen", EventBusName="mayfly"),
                "rules",
                "listen off",
            ),
            (
                lambda world: world.there("events").disable_rule(Name="forward"),
                f"forwarding in {WORKLOAD_ACCOUNT}/{REGION}",
                "it is off",
            ),
            (
                lambda world: world.there("iam").delete_role(RoleName="mayfly-cloudformation"),
                f"role that builds in {WORKLOAD_ACCOUNT}/{REGION}",
                "no role mayfly-cloudformation",
            ),
            (
                lambda world: world.there("iam").delete_role(RoleName="mayfly-cloudformation-services"),
                f"role that builds in {WORKLOAD_ACCOUNT}/{REGION}",
                "no role mayfly-cloudformation-services",
            ),
            (
                lambda world: world.there("iam").delete_role(RoleName="mayfly-consoles"),
                f"role that builds in {WORKLOAD_ACCOUNT}/{REGION}",
                "no role mayfly-consoles",
            ),
            (
                lambda world: world.there("iam").delete_role(RoleName="mayfly-builder"),
                f"role that builds in {WORKLOAD_ACCOUNT}/{REGION}",
                "no role mayfly-builder",
            ),
            (lambda world: world.own("events").delete_event_bus(Name="mayfly"), "bus", "no bus mayfly"),
        ],
    )
    def test_finds_what_is_broken(
        self, world: World, run: Run, break_it: Callable[[World], object], check: str, said: str
    ) -> None:
        break_it(world)
        broken = self.found(run, 1)[check]
        assert (broken["state"], said in broken["said"], bool(broken["todo"])) == ("failure", True, True), broken

    def test_finds_a_place_that_functions_cannot_enter(self, world: World, run: Run) -> None:
        place = f"{WORKLOAD_ACCOUNT}/{REGION}"
        world.own("s3").delete_object(
            Bucket=world.reports, Key=world.own("s3").list_objects_v2(Bucket=world.reports)["Contents"][0]["Key"]
        )
        self.swept(world, {place: "AccessDenied: no such role"})
        assert "no such role" in self.found(run, 1)[f"workload role in {place}"]["said"]

    def test_looks_at_its_own_account_with_its_own_credentials(self, world: World, run: Run) -> None:
        stack = world.own("cloudformation").describe_stacks(StackName="mayfly")["Stacks"][0]
        kept = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
        world.own("cloudformation").update_stack(
            StackName="mayfly",
            UsePreviousTemplate=True,
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in (kept | {"WorkloadAccounts": CONTROLLER_ACCOUNT}).items()
            ],
        )
        world.configure(account=CONTROLLER_ACCOUNT)
        name = f"role that builds in {CONTROLLER_ACCOUNT}/{REGION}"
        assert self.found(run, 1)[name]["state"] == "failure"
        for role in BUILDING:
            world.own("iam").create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        assert run("doctor", "--json").stdout.count('"failure"') == 1  # the rule that forwards is missing still
        assert not world.wire.heard("AssumeRole")

    def test_says_how_to_look_at_an_account_that_it_may_not_enter(self, world: World, run: Run) -> None:
        world.wire.answer("AssumeRole", error="AccessDenied", message="not authorized to perform: sts:AssumeRole")
        account = self.found(run, 0)[f"account {WORKLOAD_ACCOUNT}/{REGION}"]
        assert (account["state"], "--role" in account["todo"]) == ("warning", True)

    def test_warns_of_what_waits_for_a_person(self, world: World, run: Run) -> None:
        world.own("sqs").send_message(QueueUrl=world.queue, MessageBody="{}")
        world.switch()
        checks = self.found(run, 0)
        assert (checks["dead letters"]["state"], checks["kill switch"]["state"]) == ("warning", "warning")
        assert checks["topic mayfly-alarms"]["said"] == "nobody is told"

    def test_compares_quotas_with_what_a_release_of_all_needs(self, world: World, run: Run) -> None:
        world.upload((ROOT / "blueprints" / "fleet.yaml").read_text(), "fleet.yaml")
        suites = [{"name": f"suite-{number}"} for number in range(9)]
        world.configure(blueprint="fleet.yaml", suites=suites, parameters={}, instance_count=2)
        quota = self.found(run, 0)[f"quota of VPCs per Region in {WORKLOAD_ACCOUNT}/{REGION}"]
        assert (quota["state"], quota["said"]) == ("warning", "5; a release of every application at once needs 9")

    def test_knows_every_quota_of_which_a_shipped_blueprint_takes_and_so_does_the_readme(
        self, world: World, run: Run
    ) -> None:
        for name in ("fleet.yaml", "service.yaml"):
            world.upload((ROOT / "blueprints" / name).read_text(), name)
        network = {"VpcId": "vpc-0a1b2c3d", "SubnetIds": "subnet-0a1b2c3d", "LoadBalancerSubnetIds": "subnet-0a1b2c3d"}
        own = {"name": "production", "instance_count": 3, "parameters": network}
        world.configure(blueprint="fleet.yaml", parameters={}, instance_count=45, permanent=[own])
        asked = {
            check.removeprefix("quota of ").rpartition(" in ")[0] for check in self.found(run, 0) if "quota" in check
        }
        assert asked == {QUOTAS[key].name for key in IN_README}
        said = (ROOT / "README.md").read_text()
        assert [what for key, what in IN_README.items() if f"{QUOTAS[key].default:,} {what}" not in said] == []

    def test_goes_on_where_it_may_not_look(self, world: World, run: Run) -> None:
        world.wire.answer("GetQueueAttributes", error="AccessDenied", message="not authorized to perform: sqs:Get")
        checks = self.found(run, 0)
        assert checks["dead letters"]["state"] == "warning"
        assert "sqs:Get" in checks["dead letters"]["said"]
        assert checks["kill switch"]["state"] == "ok"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_comes_as_the_shell_wants_it(shell: str) -> None:
    found = CliRunner(mix_stderr=False).invoke(main, ["completion", shell])
    assert (found.exit_code, "_MAYFLY_COMPLETE" in found.stdout) == (0, True)
