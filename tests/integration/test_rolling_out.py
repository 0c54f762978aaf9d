"""Rollouts function by function: what is planned, asked of AWS, heard from it, and remembered."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from moto.stepfunctions.models import stepfunctions_backends

from mayfly.aws.records import Records
from mayfly.domain.records import Rollout
from mayfly.domain.rollout import request
from tests.contract import example
from tests.integration.world import (
    CONTROLLER,
    CONTROLLER_ACCOUNT,
    LATER,
    NEXT_TOKEN,
    NOW,
    REGION,
    ROOT,
    TOKEN,
    WORKLOAD_ACCOUNT,
    World,
    of_the_stack,
    on_the_bus,
)

type Json = dict[str, Any]

SERVICE, FIRST, SECOND = "webshop-production", "webshop-production-1", "webshop-production-2"
IMAGE, NEWER = "ami-12c6146b", "ami-0b301ce3ce347599f"
BLUEPRINT = ROOT / "tests" / "blueprints" / "group.yaml"


def configure(world: World, instances: int = 3, **rollout: Any) -> None:
    own = {"name": "production", "blueprint": "group.yaml", "instance_count": instances, "rollout": rollout}
    world.configure(permanent=[own])


def passed(world: World, version: str, release: str | None = None, source: str = "mayfly") -> Json:
    """The announcement of a release that passed, by its record too."""
    release = release or f"webshop-{version}-0a1b2c3d".replace(".", "-")
    detail = example("Release Passed", release=release, version=version, artifact=f"s3://artifacts/{version}")
    facts = {name: detail[name] for name in ("application", "version", "artifact")}
    world.records("release").change(release, {"stage": "passed", "pushed_by": "bob", **facts})
    return on_the_bus("Release Passed", detail, source)


def approved(rollout: str, by: str = "ada") -> Json:
    return on_the_bus("Rollout Approved", {"rollout": rollout, "why": "looks good", "approved_by": by})


def wanted(to: str, by: str = "ada") -> Json:
    asked = {"service": SERVICE, "to": to, "why": "an incident", "requested_by": by}
    return on_the_bus("Rollout Requested", asked)


def sent(at: str, to: str, identity: str) -> Json:
    """A request for a rollout as it was sent at a time, and so as a message of its own."""
    return wanted(to) | {"time": at, "sent": at, "id": identity}


def plans(world: World) -> list[Json]:
    """The inputs of the executions that were started, in order; what was started again counts once."""
    inputs = [json.loads(call["input"]) for call in world.wire.heard("StartExecution")]
    return list({plan["rollout"]: plan for plan in inputs}.values())


def look(world: World, now: str = NOW) -> Json:
    (said,) = world.call("plan_rollouts", {"now": now})["services"]
    return dict(said)


def is_over(world: World) -> None:
    """Every execution that was started has ended."""
    states = world.own("stepfunctions")
    for one in states.list_executions(stateMachineArn=world.rollout_machine)["executions"]:
        states.stop_execution(executionArn=one["executionArn"])


def declare(world: World, **rollout: Any) -> None:
    """An application with a permanent environment that does not exist yet."""
    configure(world, **rollout)
    world.upload(BLUEPRINT.read_text(), "group.yaml")
    world.wire.answer("DetectStackDrift", StackDriftDetectionId="b78ac9b0-dec1-11e7-a451-503a3example")
    world.wire.answer("DetectStackResourceDrift", StackResourceDrift={"PropertyDifferences": []})
    world.wire.answer("DescribeStackDriftDetectionStatus", DetectionStatus="DETECTION_IN_PROGRESS")


@pytest.fixture
def production(world: World) -> World:
    declare(world)
    return world


@pytest.fixture
def standing(production: World) -> World:
    """The same after its creation: a stack with three instances on the first image and version."""
    world = production
    world.call("plan_rollouts", passed(world, "1.0.0"))
    (plan,) = plans(world)
    world.call("update_service", step(plan, "prepare"))
    world.call("judge_rollout", {"plan": plan, "failure": False, "unverified": False, "now": NOW})
    world.wire.forget()
    return world


def completed(world: World, plan: Json, at: str = LATER) -> None:
    """A rollout is completed: its stack says so, and it is judged."""
    world.call("update_service", step(plan, "prepare"))
    world.call("judge_rollout", {"plan": plan, "failure": False, "unverified": False, "now": at})


def step(plan: Json, name: str, token: str = TOKEN, now: str = NOW) -> Json:
    return {"plan": plan, "step": name, "token": token, "now": now}


class TestARequestIsDoneOnce:
    FIRST_ID, SECOND_ID = "6a7e8feb-0000-4cf7-a9f1-000000000001", "6a7e8feb-0000-4cf7-a9f1-000000000002"

    def over(self, world: World, at: str) -> None:
        """The rollout that runs is completed."""
        completed(world, plans(world)[-1], at)

    def test_where_the_function_dies_after_its_work(self, standing: World) -> None:
        event = sent("2026-11-24T07:00:00Z", "latest", self.FIRST_ID)
        standing.call("plan_rollouts", event)
        self.over(standing, "2026-11-24T07:10:00.000Z")
        assert len(plans(standing)) == 1
        standing.call("plan_rollouts", event)
        assert len(plans(standing)) == 1
        assert "asked" not in standing.record(SERVICE, "service")

    def test_and_never_for_another_state_than_it_was_asked_in(self, standing: World) -> None:
        """A step back that is delivered again after a later rollout does not take production further back."""
        standing.call("plan_rollouts", passed(standing, "1.1.0") | {"time": "2026-11-24T07:00:00Z"})
        self.over(standing, "2026-11-24T07:10:00.000Z")
        back = sent("2026-11-24T07:20:00Z", "previous", self.FIRST_ID)
        standing.call("plan_rollouts", back)
        self.over(standing, "2026-11-24T07:30:00.000Z")
        assert standing.record(SERVICE, "service")["version"] == "1.0.0"
        for minute, version in (("40", "1.2.0"), ("50", "1.3.0")):
            event = passed(standing, version) | {"time": f"2026-11-24T07:{minute}:00Z"}
            standing.record(SERVICE, "service")
            standing.call("plan_rollouts", event)
            self.over(standing, f"2026-11-24T07:{minute}:30.000Z")
        assert standing.record(SERVICE, "service")["version"] == "1.3.0"
        standing.wire.forget()
        standing.call("plan_rollouts", back)
        assert plans(standing) == []
        assert standing.dead_letters() == []

    def test_and_is_refused_where_it_comes_only_after_a_rollout_began(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "1.1.0") | {"time": "2026-11-24T07:00:00Z"})
        self.over(standing, "2026-11-24T07:10:00.000Z")
        standing.call("plan_rollouts", sent("2026-11-24T06:59:00Z", "previous", self.FIRST_ID))
        (letter,) = standing.dead_letters()
        assert "sent at 2026-11-24T06:59:00.000Z, before the last rollout began" in letter["reason"]

    def test_two_of_the_same_second_are_two(self, standing: World) -> None:
        for identity, to in ((self.FIRST_ID, "previous"), (self.SECOND_ID, "latest")):
            standing.call("plan_rollouts", sent("2026-11-24T07:00:00Z", to, identity))
        assert [plan["cause"] for plan in plans(standing)] == ["request"]


class TestPlanning:
    def test_a_release_that_passed_makes_the_service(self, production: World) -> None:
        production.call("plan_rollouts", passed(production, "1.0.0"))
        (plan,) = plans(production)
        assert (plan["rollout"], plan["cause"], plan["before"]) == (FIRST, "creation", None)
        assert (plan["after"]["image"], plan["after"]["version"]) == (IMAGE, "1.0.0")
        assert production.record(FIRST, "rollout")["stage"] == "running"
        assert production.record(SERVICE, "service")["rollout"] == FIRST

    def test_before_any_release_has_passed_there_is_nothing_to_make(self, production: World) -> None:
        assert "no release of webshop has passed yet" in look(production)["reason"]
        assert not plans(production)

    def test_the_same_event_again_starts_nothing_twice(self, production: World) -> None:
        for _ in range(3):
            production.call("plan_rollouts", passed(production, "1.0.0"))
        assert {call["name"] for call in production.wire.heard("StartExecution")} == {FIRST}
        assert production.record(SERVICE, "service")["serial"] == 1

    def test_who_dies_between_its_turn_and_the_start_is_made_up_for_by_the_next_look(self, production: World) -> None:
        production.wire.answer("StartExecution", error="ThrottlingException", message="slow down")
        production.call("plan_rollouts", passed(production, "1.0.0"))
        assert production.record(SERVICE, "service")["rollout"] == FIRST
        production.wire.recover("StartExecution")
        production.wire.forget()
        look(production)
        assert [plan["rollout"] for plan in plans(production)] == [FIRST]

    def test_a_release_that_was_pushed_before_does_not_take_a_newer_one_s_place(self, production: World) -> None:
        releases = production.records("release")
        for release, at in (("webshop-old", NOW), ("webshop-new", LATER)):
            releases.change(release, {"history": [{"at": at, "who": "-", "what": "-", "why": "-"}]})
        production.call("plan_rollouts", passed(production, "2.0.0", "webshop-new"))
        production.call("plan_rollouts", passed(production, "1.0.0", "webshop-old"))
        assert production.record(SERVICE, "service")["passed"]["version"] == "2.0.0"

    def test_a_wrong_configuration_is_named_and_hides_no_other(self, production: World) -> None:
        production.put("/mayfly/applications/broken", '{"owner": "x"}')
        said = production.call("plan_rollouts", passed(production, "1.0.0") | {"detail-type": "Image Promoted"})
        assert "suites" in said["wrong"]["broken"]
        assert [one["service"] for one in said["services"]] == [SERVICE]

    def test_what_aws_refuses_of_one_service_stops_no_other(self, production: World) -> None:
        own = [{"name": name, "blueprint": "group.yaml", "instance_count": 3} for name in ("production", "staging")]
        production.configure(permanent=own)
        production.wire.before("DescribeStacks", lambda: production.wire.answer("DescribeStacks", error="Throttling"))
        production.wire.before("UpdateItem", lambda: None)
        said = production.call("plan_rollouts", {"now": NOW})
        assert said["services"] == []
        production.wire.recover("DescribeStacks")
        assert len(production.call("plan_rollouts", {"now": NOW})["services"]) == 2


class TestTheNextOne:
    def test_what_comes_while_one_runs_follows_it_and_only_the_last(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        standing.put("/mayfly/images/base/stable", NEWER)
        look(standing)
        standing.put("/mayfly/images/base/stable", "ami-0ff8a91507f77f867")
        look(standing)
        (plan,) = plans(standing)
        assert (plan["rollout"], plan["after"]["image"], plan["after"]["version"]) == (SECOND, IMAGE, "2.0.0")
        assert plan["before"]["version"] == "1.0.0"
        completed(standing, plan)
        look(standing, LATER)
        assert [plan["after"]["image"] for plan in plans(standing)] == [IMAGE, "ami-0ff8a91507f77f867"]

    def test_one_that_has_ended_is_found_by_the_day_on_which_it_began(self, standing: World) -> None:
        (found,) = Records(standing.table, Rollout).recent(datetime.fromisoformat(LATER), 1)
        assert (found.id, found.stage) == (FIRST, "completed")

    def test_one_that_has_ended_is_open_until_its_end_was_heard(self, standing: World) -> None:
        assert standing.record(FIRST, "rollout")["live"] == "rollout"
        said = example("Rollout Completed", rollout=FIRST)
        standing.call("plan_rollouts", on_the_bus("Rollout Completed", said, "mayfly"))
        assert "live" not in standing.record(FIRST, "rollout")

    def test_one_that_was_rolled_back_is_not_started_again_until_a_person_approves(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        failure = {"Error": "RolledBack", "Cause": "an alarm"}
        said = standing.call("judge_rollout", {"plan": plan, "failure": failure, "unverified": False, "now": LATER})
        assert (said["outcome"], said["reason"]) == ("rolled back", "RolledBack: an alarm")
        assert look(standing, LATER)["action"] == "nothing"
        standing.call("plan_rollouts", approved(SECOND))
        assert [plan["rollout"] for plan in plans(standing)] == [SECOND, "webshop-production-3"]

    def test_one_step_back_goes_to_exactly_what_was_before_and_stays_there(self, standing: World) -> None:
        first = standing.record(SERVICE, "service")["setup"]
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        completed(standing, plan)
        standing.call("plan_rollouts", wanted("previous"))
        back = plans(standing)[-1]
        assert (back["cause"], back["after"]) == ("step back", first)
        completed(standing, back)
        assert look(standing, LATER)["action"] == "nothing"
        assert "previous" not in standing.record(SERVICE, "service")

    def test_what_could_not_be_brought_back_holds_everything_for_a_person(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        verdict = {"failure": {"Error": "RolledBack"}, "unverified": {"Error": "NotSettled", "Cause": "i-1 runs ami-2"}}
        standing.call("judge_rollout", {"plan": plan, "now": LATER} | verdict)
        assert standing.record(SERVICE, "service")["stage"] == "needs a person"
        said = standing.call("plan_rollouts", passed(standing, "3.0.0"))["services"][0]
        assert said["action"] == "awaiting approval"

    def test_an_execution_that_ended_without_a_verdict_gives_its_turn_up(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        is_over(standing)
        look(standing)
        record = standing.record(SERVICE, "service")
        assert (record["stage"], record.get("rollout")) == ("needs a person", None)
        assert standing.record(SECOND, "rollout")["stage"] == "failed"
        assert "Rollout Failed" in [what for what, _ in standing.said]

    def test_a_service_whose_stack_is_gone_is_not_made_again_by_itself(self, standing: World) -> None:
        standing.there("cloudformation").delete_stack(StackName=f"mayfly-{SERVICE}")
        said = look(standing)
        assert said["action"] == "awaiting approval"
        assert "its stack is gone" in said["reason"]

    def test_without_its_record_it_is_known_by_its_stack(self, standing: World) -> None:
        machines = stepfunctions_backends[CONTROLLER_ACCOUNT][REGION].state_machines
        (first,) = [one for machine in machines for one in machine.executions]
        first.status = "SUCCEEDED"  # moto ends none
        standing.own("dynamodb").delete_item(TableName=standing.table, Key={"pk": {"S": f"service#{SERVICE}"}})
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        assert (plan["cause"], plan["before"]["version"], plan["before"]["image"]) == ("change", "1.0.0", IMAGE)
        assert plan["before"]["blueprint"] is None

    def test_instances_get_no_older_than_the_policy_says(self, standing: World) -> None:
        look(standing)
        launched = standing.record(SERVICE, "service")["oldest_instance_at"]
        assert look(standing, f"{int(launched[:4]) + 1}{launched[4:]}")["action"] == "start"
        (plan,) = plans(standing)
        assert (plan["cause"], plan["before"]) == ("age", plan["after"])


class TestApproval:
    @pytest.fixture
    def waiting(self, standing: World) -> World:
        configure(standing, when="approved")
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        return standing

    def test_people_are_told_once(self, waiting: World) -> None:
        for _ in range(3):
            look(waiting)
        assert [what for what, _ in waiting.said] == ["Rollout Awaiting Approval"]
        assert waiting.record(SECOND, "rollout")["stage"] == "awaiting approval"
        assert not plans(waiting)

    def test_who_dies_before_people_are_told_is_made_up_for_by_the_next_look(self, standing: World) -> None:
        configure(standing, when="approved")
        standing.wire.answer("PutEvents", error="ThrottlingException", message="slow down")
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        assert not standing.record(SECOND, "rollout")
        standing.wire.recover("PutEvents")
        standing.wire.forget()
        look(standing)
        assert [what for what, _ in standing.said] == ["Rollout Awaiting Approval"]
        assert standing.record(SECOND, "rollout")["stage"] == "awaiting approval"

    def test_what_is_approved_starts_under_its_number(self, waiting: World) -> None:
        waiting.call("plan_rollouts", approved(SECOND))
        assert [plan["rollout"] for plan in plans(waiting)] == [SECOND]
        assert waiting.record(SECOND, "rollout")["stage"] == "running"
        assert "approved" in waiting.history(SECOND, "rollout")

    def test_a_newer_one_takes_its_place_and_its_approval_is_no_use_any_more(self, waiting: World) -> None:
        waiting.call("plan_rollouts", passed(waiting, "3.0.0"))
        assert waiting.record(SECOND, "rollout")["stage"] == "superseded"
        assert [what for what, _ in waiting.said] == [
            "Rollout Awaiting Approval",
            "Rollout Superseded",
            "Rollout Awaiting Approval",
        ]
        said = waiting.call("plan_rollouts", approved(SECOND))
        assert not said["accepted"]
        assert f"{SECOND} is superseded" in said["reason"]
        assert not plans(waiting)

    def test_what_is_not_wanted_any_more_is_dropped(self, waiting: World) -> None:
        waiting.records("service").change(SERVICE, {"passed": {"version": "1.0.0", "artifact": "s3://artifacts/1.0.0"}})
        assert look(waiting)["action"] == "nothing"
        assert waiting.record(SECOND, "rollout")["stage"] == "superseded"

    @pytest.mark.parametrize(
        "event", [approved("webshop-production-99"), wanted("latest") | {"detail": {"to": "moon"}}]
    )
    def test_what_cannot_be_followed_is_kept(self, waiting: World, event: Json) -> None:
        assert not waiting.call("plan_rollouts", event)["accepted"]
        assert waiting.dead_letters()[0]["message"] == event

    def test_while_an_alarm_fires_nothing_begins_by_itself(self, standing: World) -> None:
        standing.wire.answer("DescribeAlarms", MetricAlarms=[{"AlarmName": "errors", "StateValue": "ALARM"}])
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        assert standing.record(SECOND, "rollout")["stage"] == "awaiting alarms"
        standing.wire.answer("DescribeAlarms", MetricAlarms=[])
        assert look(standing)["action"] == "start"

    def test_the_kill_switch_stops_the_start_and_lets_it_go_on_later(self, standing: World) -> None:
        standing.switch()
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        assert standing.record(SECOND, "rollout")["stage"] == "awaiting kill switch"
        standing.switch("off")
        assert look(standing)["action"] == "start"
        assert [plan["rollout"] for plan in plans(standing)] == [SECOND]


class TestTwoPeople:
    """Who pushed a version does not let it into production alone."""

    @pytest.fixture
    def waiting(self, standing: World) -> World:
        configure(standing, when="approved", two_people=True)
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        return standing

    @pytest.mark.parametrize("by", ["bob", " BOB "])
    @pytest.mark.parametrize("asked", [lambda by: approved(SECOND, by), lambda by: wanted("latest", by)])
    def test_who_pushed_is_refused(self, waiting: World, asked: Callable[[str], Json], by: str) -> None:
        said = waiting.call("plan_rollouts", asked(by) | {"source": "mayfly.api"})
        assert "expected another person than bob" in said["reason"]
        assert waiting.record(SERVICE, "service")["history"][-1]["why"].startswith("refused: ")
        assert look(waiting)["action"] == "awaiting approval"

    @pytest.mark.parametrize("asked", [approved(SECOND), wanted("latest")])
    def test_a_name_that_nobody_has_verified_is_refused(self, waiting: World, asked: Json) -> None:
        said = waiting.call("plan_rollouts", asked | {"source": "mayfly.operator"})
        assert "expected mayfly.api" in said["reason"]
        assert look(waiting)["action"] == "awaiting approval"

    def test_nobody_approves_what_nobody_is_known_to_have_pushed(self, waiting: World) -> None:
        waiting.records("service").change(SERVICE, {"pushed_by": ""})
        said = waiting.call("plan_rollouts", approved(SECOND) | {"source": "mayfly.api"})
        assert "nobody said it" in said["reason"]

    @pytest.mark.parametrize("asked", [approved(SECOND), wanted("latest")])
    def test_another_person_lets_it_through(self, waiting: World, asked: Json) -> None:
        (said,) = waiting.call("plan_rollouts", asked | {"source": "mayfly.api"})["services"]
        assert said["action"] == "start"

    def test_nobody_has_to_be_found_for_a_step_back(self, waiting: World) -> None:
        waiting.records("service").change(SERVICE, {"previous": waiting.record(SERVICE, "service")["setup"]})
        assert "services" in waiting.call("plan_rollouts", wanted("previous", "bob"))


class TestTheStack:
    def test_is_made_protected_marked_and_with_the_token_stored_before(self, production: World) -> None:
        production.call("plan_rollouts", passed(production, "1.0.0"))
        (plan,) = plans(production)
        production.wire.forget()
        production.call("update_service", step(plan, "prepare"))
        (call,) = production.wire.heard("CreateStack")
        assert call["EnableTerminationProtection"] is True
        labels = {tag["Key"]: tag["Value"] for tag in call["Tags"]}
        assert labels == {
            "mayfly:environment": SERVICE,
            "mayfly:service": SERVICE,
            "mayfly:application": "webshop",
            "mayfly:controller": CONTROLLER,
            "mayfly:protected": "true",
        }
        names = production.wire.names()
        assert names.index("UpdateItem") < names.index("CreateStack")
        assert production.record(FIRST, "rollout")["waiting"] == {"for": "prepare", "token": TOKEN}
        (session,) = production.wire.heard("AssumeRole")
        assert session["Tags"] == [{"Key": "mayfly:service", "Value": SERVICE}]

    def prepared(self, world: World, name: str = "prepare", **answer: Any) -> Json:
        """The one UpdateStack call of a step of the second rollout."""
        world.call("plan_rollouts", passed(world, "2.0.0"))
        (plan,) = plans(world)
        world.wire.answer("UpdateStack", **answer or {"StackId": "-"})
        world.call("update_service", step(plan, name))
        (call,) = world.wire.heard("UpdateStack")
        return dict(call)

    def test_an_update_leaves_the_group_on_its_version(self, standing: World) -> None:
        call = self.prepared(standing)
        given = {each["ParameterKey"]: each["ParameterValue"] for each in call["Parameters"]}
        assert (given["CodeVersion"], given["LaunchTemplateVersion"]) == ("2.0.0", "1")
        assert call["TemplateBody"] == BLUEPRINT.read_text()
        assert "Tags" not in call
        assert not standing.settled

    def test_the_way_back_says_what_was_there_before(self, standing: World) -> None:
        call = self.prepared(standing, "return stack")
        given = {each["ParameterKey"]: each["ParameterValue"] for each in call["Parameters"]}
        assert (given["CodeVersion"], given["LaunchTemplateVersion"]) == ("1.0.0", "1")

    def test_settling_pins_what_the_group_has(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        standing.records("rollout").change(SECOND, {"template": "2"})
        standing.wire.answer("UpdateStack", StackId="-")
        standing.call("update_service", step(plan, "settle"))
        (call,) = standing.wire.heard("UpdateStack")
        given = {each["ParameterKey"]: each["ParameterValue"] for each in call["Parameters"]}
        assert (given["CodeVersion"], given["LaunchTemplateVersion"]) == ("2.0.0", "2")

    def test_nothing_to_update_settles_the_wait_at_once(self, standing: World) -> None:
        self.prepared(standing, error="ValidationError", message="No updates are to be performed.")
        assert [one["told"] for one in standing.settled] == ["Success"]

    def test_while_something_else_goes_on_it_waits(self, standing: World) -> None:
        busy = "Stack:arn is in UPDATE_IN_PROGRESS state and can not be updated."
        self.prepared(standing, error="ValidationError", message=busy)
        assert not standing.settled

    def test_what_a_person_has_to_mend_is_not_touched(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        stack = standing.stack(f"mayfly-{SERVICE}")
        assert stack
        standing.set_stack(stack["StackId"], status="UPDATE_ROLLBACK_FAILED")
        standing.call("update_service", step(plan, "prepare"))
        assert not standing.wire.heard("UpdateStack")
        (told,) = standing.settled
        assert (told["told"], told["error"]) == ("Failure", "UpdateFailed")

    def test_somebody_else_s_stack_of_this_name_is_not_touched(self, production: World) -> None:
        production.call("plan_rollouts", passed(production, "1.0.0"))
        (plan,) = plans(production)
        production.stand(f"mayfly-{SERVICE}", {"mayfly:controller": CONTROLLER})
        with pytest.raises(Exception, match="stands already") as refused:
            production.call("update_service", step(plan, "prepare"))
        assert type(refused.value).__name__ == "NotOurs"

    def test_a_lost_event_is_made_up_for_by_a_look(self, standing: World) -> None:
        self.prepared(standing)
        (plan,) = plans(standing)
        mine = request(SECOND, "prepare")
        standing.wire.answer("DescribeStackEvents", StackEvents=[{"ClientRequestToken": mine}])
        standing.call("update_service", step(plan, "prepare", NEXT_TOKEN))
        assert len(standing.wire.heard("UpdateStack")) == 1, "it was not asked twice"
        assert [(one["told"], one["taskToken"]) for one in standing.settled] == [("Success", NEXT_TOKEN)]

    def test_who_died_before_the_call_makes_it_when_run_again(self, standing: World) -> None:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        standing.records("rollout").change(SECOND, {"waiting": {"for": "prepare", "token": TOKEN}})
        standing.wire.answer("DescribeStackEvents", StackEvents=[{"ClientRequestToken": "somebody else's"}])
        standing.wire.answer("UpdateStack", StackId="-")
        standing.call("update_service", step(plan, "prepare", NEXT_TOKEN))
        assert len(standing.wire.heard("UpdateStack")) == 1


def a_refresh(status: str = "InProgress", template: str = "1", **more: Any) -> Json:
    wanted = {"LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": template}}
    return {"InstanceRefreshId": "r-1", "Status": status, "DesiredConfiguration": wanted, **more}


class TestTheInstances:
    @pytest.fixture
    def plan(self, standing: World) -> Json:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        self.there(standing)
        standing.wire.answer("StartInstanceRefresh", InstanceRefreshId="r-1")
        standing.wire.answer("RollbackInstanceRefresh", InstanceRefreshId="r-1")
        return plan

    def there(self, world: World, *refreshes: Json) -> None:
        world.wire.answer("DescribeInstanceRefreshes", InstanceRefreshes=list(refreshes))

    def test_are_replaced_within_bounds_at_checkpoints_under_alarms(self, standing: World, plan: Json) -> None:
        standing.call("replace_instances", step(plan, "replace"))
        (call,) = standing.wire.heard("StartInstanceRefresh")
        assert call["DesiredConfiguration"]["LaunchTemplate"]["Version"] == "1"  # moto has not updated the stack
        said = call["Preferences"]
        assert (said["MinHealthyPercentage"], said["MaxHealthyPercentage"]) == (100, 110)
        assert (said["CheckpointPercentages"], said["AutoRollback"]) == ([10, 50, 100], True)
        assert said["AlarmSpecification"] == {"Alarms": ["errors", "unhealthy"]}
        assert not standing.settled

    def by_hand(self, world: World) -> str:
        """Somebody makes a version of the launch template with another instance type. Returns its number."""
        stack = world.stack(f"mayfly-{SERVICE}")
        assert stack
        (template,) = [one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "LaunchTemplateId"]
        made = world.there("ec2").create_launch_template_version(
            LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.large"}
        )
        return str(made["LaunchTemplateVersion"]["VersionNumber"])

    def test_never_get_a_version_that_was_made_by_hand_and_that_is_said(self, standing: World, plan: Json) -> None:
        assert self.by_hand(standing) == "2"
        standing.call("replace_instances", step(plan, "replace"))
        (call,) = standing.wire.heard("StartInstanceRefresh")
        assert call["DesiredConfiguration"]["LaunchTemplate"]["Version"] == "1"
        record = standing.record(SECOND, "rollout")
        (said,) = [one["why"] for one in record["history"] if one["what"] == "left out"]
        assert said == f"version 2 of the launch template is left out: arn:aws:iam::{WORKLOAD_ACCOUNT}:root made it"
        assert record["template"] == "1"

    @pytest.mark.parametrize("role", ["mayfly-cloudformation-services", "mayfly-cloudformation"])
    def test_get_what_the_stack_has_made_after_one_made_by_hand(self, standing: World, plan: Json, role: str) -> None:
        made = f"arn:aws:sts::{WORKLOAD_ACCOUNT}:assumed-role/{role}/AWSCloudFormation"
        makers = {1: made, 2: f"arn:aws:iam::{WORKLOAD_ACCOUNT}:user/ada", 3: made}
        versions = [{"VersionNumber": number, "CreatedBy": who} for number, who in makers.items()]
        standing.wire.answer("DescribeLaunchTemplateVersions", LaunchTemplateVersions=versions)
        standing.call("replace_instances", step(plan, "replace"))
        (call,) = standing.wire.heard("StartInstanceRefresh")
        assert call["DesiredConfiguration"]["LaunchTemplate"]["Version"] == "3"
        assert standing.record(SECOND, "rollout")["template"] == "3"

    @pytest.mark.parametrize(("cause", "watched"), [("change", ["errors", "unhealthy"]), ("step back", ["unhealthy"])])
    def test_what_fires_already_stops_nobody_who_asks(
        self, standing: World, plan: Json, cause: str, watched: list[str]
    ) -> None:
        standing.wire.answer("DescribeAlarms", MetricAlarms=[{"AlarmName": "errors", "StateValue": "ALARM"}])
        standing.call("replace_instances", step(plan | {"cause": cause}, "replace"))
        (call,) = standing.wire.heard("StartInstanceRefresh")
        assert call["Preferences"]["AlarmSpecification"]["Alarms"] == watched

    def test_take_ec2_s_tokens_from_those_of_environments_once(self, standing: World, plan: Json) -> None:
        full = lambda: standing.record("room", "ledger")["launches"][f"{WORKLOAD_ACCOUNT}/{REGION}"]  # noqa: E731
        before = datetime.fromisoformat(full())
        assert before == datetime.fromisoformat(NOW) + timedelta(seconds=1.5)  # three, with which its stack began
        self.there(standing, a_refresh())
        standing.call("replace_instances", step(plan | {"launches_a_second": 6}, "replace"))
        assert datetime.fromisoformat(full()) == before + timedelta(seconds=0.5)
        standing.call("replace_instances", step(plan, "replace", NEXT_TOKEN))
        standing.call("update_service", step(plan, "settle"))
        assert datetime.fromisoformat(full()) == before + timedelta(seconds=0.5)

    def test_one_refresh_is_asked_for_however_often_it_is_run(self, standing: World, plan: Json) -> None:
        standing.call("replace_instances", step(plan, "replace"))
        self.there(standing, a_refresh())
        standing.call("replace_instances", step(plan, "replace", NEXT_TOKEN))
        assert len(standing.wire.heard("StartInstanceRefresh")) == 1
        waiting = standing.record(SECOND, "rollout")["waiting"]
        assert (waiting["refresh"], waiting["token"]) == ("r-1", NEXT_TOKEN)

    @pytest.mark.parametrize(
        ("status", "told"),
        [("Successful", None), ("Failed", "RefreshFailed"), ("RollbackSuccessful", "RolledBack")],
    )
    def test_a_lost_event_is_made_up_for_by_a_look(
        self, standing: World, plan: Json, status: str, told: str | None
    ) -> None:
        standing.call("replace_instances", step(plan, "replace"))
        self.there(standing, a_refresh(status, StatusReason="an alarm"))
        standing.call("replace_instances", step(plan, "replace", NEXT_TOKEN))
        (said,) = standing.settled
        assert (said["taskToken"], said.get("error")) == (NEXT_TOKEN, told)

    def test_somebody_else_s_refresh_has_to_end_first(self, standing: World, plan: Json) -> None:
        standing.wire.answer("StartInstanceRefresh", error="InstanceRefreshInProgress", message="one goes on")
        self.there(standing, a_refresh(template="7"))
        standing.call("replace_instances", step(plan, "replace"))
        assert not standing.settled
        assert standing.record(SECOND, "rollout")["waiting"]["refresh"] == ""

    def test_on_the_way_back_what_goes_on_is_undone(self, standing: World, plan: Json) -> None:
        self.there(standing, a_refresh(template="2"))
        standing.call("replace_instances", step(plan, "return instances"))
        assert len(standing.wire.heard("RollbackInstanceRefresh")) == 1
        assert not standing.wire.heard("StartInstanceRefresh")
        assert not standing.settled

    def test_what_cannot_be_undone_is_stopped(self, standing: World, plan: Json) -> None:
        standing.wire.answer("RollbackInstanceRefresh", error="IrreversibleInstanceRefresh", message="no way back")
        standing.wire.answer("CancelInstanceRefresh", InstanceRefreshId="r-1")
        self.there(standing, a_refresh(template="2"))
        standing.call("replace_instances", step(plan, "return instances"))
        assert len(standing.wire.heard("CancelInstanceRefresh")) == 1

    def test_where_auto_scaling_has_gone_back_by_itself_nothing_is_left(self, standing: World, plan: Json) -> None:
        self.there(standing, a_refresh("RollbackSuccessful", "2"))
        standing.call("replace_instances", step(plan, "return instances"))
        assert [one["told"] for one in standing.settled] == ["Success"]
        assert not standing.wire.heard("StartInstanceRefresh")

    def test_what_was_left_halfway_is_replaced_back(self, standing: World, plan: Json) -> None:
        self.there(standing, a_refresh("Cancelled", "2"))
        plan = plan | {"template_version": "9"}  # as if the members were on another version than before
        standing.call("replace_instances", step(plan, "return instances"))
        (call,) = standing.wire.heard("StartInstanceRefresh")
        assert call["DesiredConfiguration"]["LaunchTemplate"]["Version"] == "9"
        assert call["Preferences"]["SkipMatching"] is True


class TestHearing:
    @pytest.fixture
    def waiting(self, standing: World) -> World:
        """The second rollout waits for its instance refresh."""
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        standing.records("group").change("mayfly-group", {"service": SERVICE})
        facts = {"for": "replace", "token": TOKEN, "refresh": "r-1", "since": NOW}
        standing.records("rollout").change(SECOND, {"waiting": facts})
        standing.wire.answer(
            "DescribeInstanceRefreshes", InstanceRefreshes=[a_refresh("Failed", StatusReason="Alarm 'errors' fired")]
        )
        return standing

    def said(self, what: str, refresh: str = "r-1", **more: str) -> Json:
        detail = {"InstanceRefreshId": refresh, "AutoScalingGroupName": "mayfly-group", **more}
        what = f"EC2 Auto Scaling Instance Refresh {what}"
        return on_the_bus(what, detail, "aws.autoscaling", WORKLOAD_ACCOUNT)

    @pytest.mark.parametrize(
        ("what", "error"),
        [("Succeeded", None), ("Failed", "RefreshFailed"), ("Rollback Succeeded", "RolledBack")],
    )
    def test_the_end_of_a_refresh_resumes_the_rollout(self, waiting: World, what: str, error: str | None) -> None:
        assert waiting.call("resume_rollout", self.said(what))["resumed"]
        (told,) = waiting.settled
        assert (told["taskToken"], told.get("error")) == (TOKEN, error)
        assert error is None or "Alarm 'errors' fired" in told["cause"]

    def test_a_checkpoint_is_written_down_once_and_resumes_nothing(self, waiting: World) -> None:
        event = self.said("Checkpoint Reached", CheckpointPercentage="10", CheckpointDelay="600")
        for _ in range(2):
            waiting.call("resume_rollout", event)
        record = waiting.record(SECOND, "rollout")
        assert record["percent"] == 10
        assert [point.get("reached_at") is not None for point in record["checkpoints"]] == [True, False, False]
        assert waiting.history(SECOND, "rollout").count("checkpoint") == 1
        assert not waiting.settled

    @pytest.mark.parametrize("event", [("Succeeded", "r-0"), ("Cancelled", "r-2")])
    def test_another_refresh_is_not_this_one(self, waiting: World, event: tuple[str, str]) -> None:
        assert not waiting.call("resume_rollout", self.said(*event))["resumed"]

    def test_a_group_that_nobody_knows_is_left_alone(self, waiting: World) -> None:
        event = self.said("Succeeded")
        event["detail"]["AutoScalingGroupName"] = "somebody-else-s"
        assert not waiting.call("resume_rollout", event)["resumed"]

    def of_stack(self, name: str, status: str, reason: str = "") -> Json:
        arn = f"arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-{SERVICE}/1"
        event = of_the_stack(arn, status, reason)
        event["detail"]["client-request-token"] = request(SECOND, name)  # type: ignore[arg-type]
        return event

    def test_an_update_resumes_the_step_that_asked_for_it(self, waiting: World) -> None:
        waiting.records("rollout").change(SECOND, {"waiting": {"for": "settle", "token": TOKEN}})
        assert not waiting.call("resume_rollout", self.of_stack("prepare", "UPDATE_COMPLETE"))["resumed"]
        assert waiting.call("resume_rollout", self.of_stack("settle", "UPDATE_COMPLETE"))["resumed"]

    def test_an_update_that_failed_says_why(self, waiting: World) -> None:
        waiting.records("rollout").change(SECOND, {"waiting": {"for": "prepare", "token": TOKEN}})
        event = {
            "ResourceStatus": "UPDATE_FAILED",
            "LogicalResourceId": "Fleet",
            "ResourceStatusReason": "no such image",
        }
        waiting.wire.answer("DescribeStackEvents", StackEvents=[event | {"PhysicalResourceId": "x", "StackId": "y"}])
        waiting.call("resume_rollout", self.of_stack("prepare", "UPDATE_ROLLBACK_COMPLETE"))
        (told,) = waiting.settled
        assert (told["error"], "Fleet: no such image" in told["cause"]) == ("UpdateFailed", True)

    def test_what_cannot_be_read_is_kept(self, waiting: World) -> None:
        assert not waiting.call("resume_rollout", self.said("Succeeded") | {"detail": {}})["accepted"]
        assert len(waiting.dead_letters()) == 1


class TestPausing:
    """A person has a rollout stand still at a checkpoint, and go on."""

    @pytest.fixture
    def replacing(self, standing: World) -> World:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        standing.wire.answer("DescribeInstanceRefreshes", InstanceRefreshes=[])
        standing.wire.answer("StartInstanceRefresh", InstanceRefreshId="r-1")
        standing.wire.answer("CancelInstanceRefresh", InstanceRefreshId="r-1")
        standing.call("update_service", step(plan, "prepare"))
        self.there(standing, a_refresh(Preferences={"CheckpointDelay": 600}))
        standing.call("replace_instances", step(plan, "replace"))
        standing.records("group").change("mayfly-group", {"service": SERVICE})
        standing.wire.forget()
        standing.plan = plan  # type: ignore[attr-defined]
        return standing

    @staticmethod
    def there(world: World, *refreshes: Json) -> None:
        world.wire.answer("DescribeInstanceRefreshes", InstanceRefreshes=list(refreshes))

    @staticmethod
    def said(what: str, **more: str) -> Json:
        detail = {"InstanceRefreshId": "r-1", "AutoScalingGroupName": "mayfly-group", **more}
        return on_the_bus(f"EC2 Auto Scaling Instance Refresh {what}", detail, "aws.autoscaling", WORKLOAD_ACCOUNT)

    @staticmethod
    def asked(what: str = "Pause", who: str = "ada") -> Json:
        return on_the_bus(f"Rollout {what} Requested", {"rollout": SECOND, "why": "let us see", "requested_by": who})

    def reaches(self, world: World) -> None:
        world.call("resume_rollout", self.said("Checkpoint Reached", CheckpointPercentage="10"))

    def test_where_it_soaks_it_stops_at_once(self, replacing: World) -> None:
        self.reaches(replacing)
        answer = replacing.call("resume_rollout", self.asked())
        assert (answer["reason"], len(replacing.wire.heard("CancelInstanceRefresh"))) == ("it stops here", 1)
        replacing.call("resume_rollout", self.said("Cancelled"))
        record = replacing.record(SECOND, "rollout")
        assert (record["stage"], record["paused"]) == ("paused", "ada paused it: let us see")
        assert not replacing.settled, "the execution waits"
        (said,) = (detail for what, detail in replacing.said if what == "Rollout Paused")
        assert (said["percent"], said["why"]) == (10, "ada paused it: let us see")

    def test_before_a_checkpoint_it_goes_on_to_that(self, replacing: World) -> None:
        answer = replacing.call("resume_rollout", self.asked())
        assert answer["reason"] == "it pauses at its next checkpoint"
        assert not replacing.wire.heard("CancelInstanceRefresh")
        self.reaches(replacing)
        assert len(replacing.wire.heard("CancelInstanceRefresh")) == 1

    def test_a_second_event_says_nothing_again(self, replacing: World) -> None:
        self.reaches(replacing)
        for _ in range(2):
            replacing.call("resume_rollout", self.asked())
            replacing.call("resume_rollout", self.said("Cancelled"))
        assert [what for what, _ in replacing.said].count("Rollout Paused") == 1
        assert replacing.history(SECOND, "rollout").count("paused") == 1

    def test_a_look_of_the_execution_changes_nothing(self, replacing: World) -> None:
        self.reaches(replacing)
        replacing.call("resume_rollout", self.asked())
        self.there(replacing, a_refresh("Cancelled"))
        plan = replacing.plan  # type: ignore[attr-defined]
        for _ in range(2):  # the event was lost; then it stands already
            replacing.call("replace_instances", step(plan, "replace", NEXT_TOKEN))
            assert replacing.record(SECOND, "rollout")["stage"] == "paused"
        assert not replacing.settled
        assert not replacing.wire.heard("StartInstanceRefresh")

    def test_it_goes_on_with_what_is_left(self, replacing: World) -> None:
        self.reaches(replacing)
        replacing.call("resume_rollout", self.asked())
        replacing.call("resume_rollout", self.said("Cancelled"))
        replacing.call("resume_rollout", self.asked("Resume"))
        (told,) = replacing.settled
        assert (told["taskToken"], told["error"]) == (TOKEN, "Resumed")
        assert "paused" not in replacing.record(SECOND, "rollout")
        self.there(replacing, a_refresh("Cancelled"))
        replacing.call("replace_instances", step(replacing.plan, "replace", NEXT_TOKEN))  # type: ignore[attr-defined]
        (call,) = replacing.wire.heard("StartInstanceRefresh")
        assert call["Preferences"]["CheckpointPercentages"] == [50, 100]
        assert call["Preferences"]["SkipMatching"] is True

    def test_resumed_while_it_stops_it_goes_on_by_itself(self, replacing: World) -> None:
        self.reaches(replacing)
        replacing.call("resume_rollout", self.asked())
        replacing.call("resume_rollout", self.asked("Resume"))
        assert not replacing.settled
        assert replacing.call("resume_rollout", self.said("Cancelled"))["resumed"]
        assert [told["error"] for told in replacing.settled] == ["Resumed"]

    def test_a_paused_one_can_be_stopped(self, replacing: World) -> None:
        self.reaches(replacing)
        replacing.call("resume_rollout", self.asked())
        replacing.call("resume_rollout", self.said("Cancelled"))
        assert replacing.call("resume_rollout", self.asked("Abort"))["resumed"]
        assert [told["error"] for told in replacing.settled] == ["Aborted"]
        assert not replacing.call("resume_rollout", self.asked("Resume"))["accepted"]

    def test_what_is_not_paused_is_not_resumed(self, replacing: World) -> None:
        assert not replacing.call("resume_rollout", self.asked("Resume"))["accepted"]
        assert replacing.record(SECOND, "rollout")["history"][-1]["why"].startswith("refused: it is replacing")

    def test_what_goes_back_is_not_paused(self, replacing: World) -> None:
        replacing.call("replace_instances", step(replacing.plan, "return instances"))  # type: ignore[attr-defined]
        assert not replacing.call("resume_rollout", self.asked())["accepted"]
        assert "it goes back already" in replacing.record(SECOND, "rollout")["history"][-1]["why"]

    def test_a_refresh_that_somebody_else_cancelled_is_gone_back_from(self, replacing: World) -> None:
        assert replacing.call("resume_rollout", self.said("Cancelled"))["resumed"]
        assert [told["error"] for told in replacing.settled] == ["RefreshCancelled"]


class TestAborting:
    """A person stops a rollout that runs."""

    @pytest.fixture
    def plan(self, standing: World) -> Json:
        standing.call("plan_rollouts", passed(standing, "2.0.0"))
        (plan,) = plans(standing)
        standing.wire.answer("DescribeInstanceRefreshes", InstanceRefreshes=[])
        standing.wire.answer("StartInstanceRefresh", InstanceRefreshId="r-1")
        standing.wire.answer("RollbackInstanceRefresh", InstanceRefreshId="r-1")
        standing.call("update_service", step(plan, "prepare"))
        return plan

    @pytest.fixture
    def replacing(self, standing: World, plan: Json) -> World:
        standing.call("replace_instances", step(plan, "replace"))
        standing.wire.answer("DescribeInstanceRefreshes", InstanceRefreshes=[a_refresh()])
        standing.wire.forget()
        return standing

    @staticmethod
    def asked(rollout: str = SECOND) -> Json:
        detail = {"rollout": rollout, "why": "logins fail", "requested_by": "ada"}
        return on_the_bus("Rollout Abort Requested", detail)

    def test_has_the_execution_go_back_at_once_and_says_who_and_why(self, replacing: World) -> None:
        assert replacing.call("resume_rollout", self.asked())["resumed"]
        (told,) = replacing.wire.heard("SendTaskFailure")
        assert (told["error"], told["cause"]) == ("Aborted", "ada stopped it: logins fail")
        line = replacing.record(SECOND, "rollout")["history"][-1]
        assert (line["who"], line["what"], line["why"]) == ("ada", "Rollout Abort Requested", "logins fail")

    def test_twice_is_the_same_as_once(self, replacing: World) -> None:
        for _ in range(2):
            replacing.call("resume_rollout", self.asked())
        assert len(replacing.wire.heard("SendTaskFailure")) == 1
        assert len(replacing.wire.heard("UpdateItem")) == 1

    def test_before_an_instance_is_replaced_replaces_none(self, standing: World, plan: Json) -> None:
        assert not standing.call("resume_rollout", self.asked())["resumed"]
        standing.wire.forget()
        with pytest.raises(Exception, match="ada stopped it: logins fail") as error:
            standing.call("replace_instances", step(plan, "replace"))
        assert type(error.value).__name__ == "Aborted"
        assert not standing.wire.heard("StartInstanceRefresh")

    def test_that_meets_the_end_of_the_refresh_settles_nothing(self, replacing: World, plan: Json) -> None:
        replacing.call("resume_rollout", self.asked())
        replacing.wire.forget()
        with pytest.raises(Exception, match="ada stopped it"):
            replacing.call("update_service", step(plan, "settle"))
        assert not replacing.wire.heard("UpdateStack")

    @pytest.mark.parametrize(
        ("steps", "said"),
        [
            ([("update_service", "settle")], "every instance is replaced; to step back: mayfly roll-out"),
            ([("replace_instances", "return instances")], "it goes back already"),
        ],
    )
    def test_too_late_is_refused_with_what_to_do(
        self, replacing: World, plan: Json, steps: list[tuple[str, str]], said: str
    ) -> None:
        for function, name in steps:
            replacing.call(function, step(plan, name))
        replacing.wire.forget()
        refused = replacing.call("resume_rollout", self.asked())
        assert (refused["accepted"], said in refused["reason"]) == (False, True)
        assert said in replacing.record(SECOND, "rollout")["history"][-1]["why"]
        assert not replacing.wire.heard("SendTaskFailure")

    @pytest.mark.parametrize("rollout", [FIRST, "nobody-production-1"])
    def test_of_what_does_not_run_is_refused(self, replacing: World, rollout: str) -> None:
        assert not replacing.call("resume_rollout", self.asked(rollout))["accepted"]

    def test_that_another_write_overtakes_is_tried_again(self, replacing: World) -> None:
        def goes_on() -> None:
            replacing.records("rollout").change(SECOND, {"waiting": {"for": "settle", "token": NEXT_TOKEN}})

        replacing.wire.before("UpdateItem", goes_on)
        with pytest.raises(Exception, match=SECOND):
            replacing.call("resume_rollout", self.asked())
        assert not replacing.wire.heard("SendTaskFailure")


class TestVerifying:
    def verify(self, world: World, failure: Json | None = None, **change: Any) -> Json:
        (plan,) = plans(world)
        return world.call("verify_service", {"plan": plan | change, "failure": failure or False, "now": NOW})

    @pytest.fixture
    def made(self, production: World) -> World:
        """Created, and not yet judged."""
        production.call("plan_rollouts", passed(production, "1.0.0"))
        (plan,) = plans(production)
        production.call("update_service", step(plan, "prepare"))
        return production

    def test_every_instance_is_looked_at(self, made: World) -> None:
        assert self.verify(made) == {"rollout": FIRST, "instances": 3, "template": "1"}

    def test_an_instance_on_another_image_or_version_keeps_it_from_being_whole(self, made: World) -> None:
        (plan,) = plans(made)
        for change, said in (
            ({"after": plan["after"] | {"image": NEWER}}, f"runs {IMAGE}, not {NEWER}"),
            ({"template_version": "2"}, "of version 1 of the launch template, not 2"),
            ({"after": plan["after"] | {"instance_count": 4}}, "3 of 4 instances"),
        ):
            with pytest.raises(Exception, match=said) as wrong:
                self.verify(made, **change)
            assert type(wrong.value).__name__ == "NotSettled"

    def test_a_group_that_was_changed_by_hand_keeps_it_from_being_whole(self, made: World) -> None:
        differs = [{"PropertyPath": "/LaunchTemplate/Version", "ExpectedValue": "1", "ActualValue": "$Latest"}]
        made.wire.answer("DetectStackResourceDrift", StackResourceDrift={"PropertyDifferences": differs})
        with pytest.raises(Exception, match="/LaunchTemplate/Version of the group differs"):
            self.verify(made)

    def test_after_a_failure_it_is_what_was_there_before(self, made: World) -> None:
        (plan,) = plans(made)
        change = {"before": plan["after"], "after": plan["after"] | {"image": NEWER}}
        assert self.verify(made, failure={"Error": "RolledBack"}, **change)["instances"] == 3


class TestDrift:
    def test_is_found_announced_and_remembered(self, standing: World) -> None:
        look(standing)
        differs = [{"PropertyPath": "/SecurityGroupIngress", "ExpectedValue": "[]", "ActualValue": "[0.0.0.0/0]"}]
        found = {"LogicalResourceId": "Group", "StackResourceDriftStatus": "MODIFIED", "PropertyDifferences": differs}
        standing.wire.answer(
            "DescribeStackDriftDetectionStatus", DetectionStatus="DETECTION_COMPLETE", StackDriftStatus="DRIFTED"
        )
        standing.wire.answer("DescribeStackResourceDrifts", StackResourceDrifts=[found])
        for _ in range(2):
            look(standing)
        expected = "Group: /SecurityGroupIngress is [0.0.0.0/0], not []"
        assert standing.record(SERVICE, "service")["drift"] == [expected]
        assert [detail["drift"] for what, detail in standing.said if what == "Service Drifted"] == [[expected]]

    def test_is_looked_for_from_time_to_time(self, standing: World) -> None:
        standing.wire.answer(
            "DescribeStackDriftDetectionStatus", DetectionStatus="DETECTION_COMPLETE", StackDriftStatus="IN_SYNC"
        )
        standing.wire.answer("DescribeStackResourceDrifts", StackResourceDrifts=[])
        for now in (NOW, NOW, "2026-11-24T12:47:35.000Z"):
            look(standing, now)
        assert len(standing.wire.heard("DetectStackDrift")) == 2

    @pytest.mark.parametrize(("policy", "action"), [("report", "nothing"), ("replace", "start")])
    def test_instances_that_differ_are_replaced_where_that_is_configured(
        self, standing: World, policy: str, action: str
    ) -> None:
        configure(standing, drift=policy)
        group = standing.there("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
        template = {"LaunchTemplateId": group["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}
        standing.there("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=group["AutoScalingGroupName"], LaunchTemplate=template
        )
        assert look(standing)["action"] == action
        assert standing.record(SERVICE, "service")["odd"]


class TestNothingEndsAService:
    def test_a_termination_request_is_refused(self, standing: World) -> None:
        asked = {"environment": SERVICE, "why": "-", "requested_by": "ada"}
        said = standing.call("accept_termination", on_the_bus("Environment Termination Requested", asked))
        assert not said["accepted"]
        assert standing.stack(f"mayfly-{SERVICE}")

    def test_a_sweep_keeps_it_years_after(self, standing: World) -> None:
        report = standing.call("sweep_environments", {"now": "2030-01-01T00:00:00.000Z"})
        assert (report["counts"]["keep"], report["counts"]["refuse"], report["counts"]["end"]) == (1, 0, 0)
        assert standing.stack(f"mayfly-{SERVICE}")

    def test_its_images_are_needed(self, standing: World) -> None:
        from mayfly.settings import load_settings
        from mayfly.workflows import inventory

        look(standing)
        assert inventory._named(load_settings())[IMAGE] == [
            f"service {SERVICE} (setup)",
            f"rollout {FIRST} (to)",
            "parameter /mayfly/images/base/stable",
        ]

    def test_its_instances_count_for_the_reach_of_its_channel(self, standing: World) -> None:
        record = standing.record(SERVICE, "service")
        assert record["channel"] == "base/stable"

    def test_one_that_people_removed_is_forgotten(self, standing: World) -> None:
        standing.configure()
        standing.call("plan_rollouts", {"now": NOW})
        assert standing.record(SERVICE, "service")["live"] == "service"
        standing.there("cloudformation").delete_stack(StackName=f"mayfly-{SERVICE}")
        standing.call("plan_rollouts", {"now": NOW})
        assert "live" not in standing.record(SERVICE, "service")
