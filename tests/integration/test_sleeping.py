"""Environments sleep and wake: by their office hours, and as a person asks."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mayfly.domain.ending import digest
from tests.integration.test_building import A_GROUP_OF_TWO
from tests.integration.test_rolling_out import declare, passed, plans, step
from tests.integration.world import (
    AFTER,
    ENVIRONMENT,
    LATER,
    NOW,
    RELEASE,
    REPORT_TOKEN,
    TOKEN,
    Json,
    World,
    an_order,
    creation,
    deletion,
    on_the_bus,
)

OFFICE = {"days": ["tue"], "start": "06:00", "end": "07:00"}
"""It is Tuesday: NOW and LATER are before and after seven."""
SERVICE = "webshop-staging"


def asked(what: str = "Sleep", minutes: int = 30, environment: str = ENVIRONMENT, **more: Any) -> Json:
    detail = {"environment": environment, "minutes": minutes, "why": "it is Friday", "requested_by": "ada"}
    return on_the_bus(f"Environment {what} Requested", detail, **more)


def look(world: World, now: str) -> list[tuple[str, str]]:
    """What a look decides of each environment, and why."""
    said = world.call("keep_office_hours", {"now": now})
    return [(each["action"], each["reason"]) for each in said["environments"]]


def sizes(world: World) -> list[tuple[int, int]]:
    found = world.there("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return [(group["MinSize"], group["DesiredCapacity"]) for group in found]


def running(world: World) -> int:
    pages = world.there("ec2").describe_instances()["Reservations"]
    return sum(one["State"]["Name"] == "running" for page in pages for one in page["Instances"])


@pytest.fixture
def manual(world: World) -> World:
    """An environment of a manual suite with a group of two, whose tests are waited for."""
    world.upload(A_GROUP_OF_TWO)
    world.planned()
    stack = world.call("create_environment", creation(order=an_order(kind="manual", instance_count=None)))["stack"]
    world.call("confirm_ready", {"order": an_order(instance_count=None), "stack": stack, "now": NOW})
    waiting = {"for": "tests", "token": TOKEN}
    world.change(kind="manual", stage="awaiting tests", waiting=waiting, report_token=digest(REPORT_TOKEN))
    world.configure(office_hours=OFFICE)
    world.wire.forget()
    return world


class TestOfficeHours:
    def test_end_with_its_instances_and_begin_with_as_many(self, manual: World) -> None:
        assert look(manual, NOW) == [("nothing", "these are its office hours")]
        assert look(manual, LATER) == [("sleep", "its office hours are over")]
        assert (sizes(manual), running(manual)) == ([(0, 0)], 0)
        assert manual.record()["sleep"]["since"] == LATER
        manual.configure()
        assert look(manual, AFTER) == [("wake", "it has no office hours")]
        assert (sizes(manual), running(manual)) == ([(2, 2)], 2)
        assert "sleep" not in manual.record()
        assert manual.record()["slept_seconds"] == 6000
        about = {"environment": ENVIRONMENT, "application": "webshop", "release": RELEASE}
        about |= {"account": "222222222222", "region": "us-east-1"}
        assert manual.said == [
            (
                "Environment Asleep",
                about | {"why": "its office hours are over", "wakes_at": "2026-12-01T06:00:00.000Z"},
            ),
            ("Environment Awake", about | {"why": "it has no office hours"}),
        ]
        assert manual.history()[-2:] == ["asleep", "awake"]

    def test_are_kept_however_often_somebody_looks(self, manual: World) -> None:
        for _ in range(3):
            look(manual, LATER)
        assert len(manual.wire.heard("UpdateAutoScalingGroup")) == 1
        assert [what for what, _ in manual.said] == ["Environment Asleep"]

    def test_are_kept_where_somebody_died_after_writing_it_down(self, manual: World) -> None:
        manual.wire.answer("UpdateAutoScalingGroup", "Throttling")
        look(manual, LATER)
        assert (manual.record()["sleep"]["since"], sizes(manual)) == (LATER, [(2, 2)])
        manual.wire.recover("UpdateAutoScalingGroup")
        look(manual, AFTER)
        assert sizes(manual) == [(0, 0)]
        assert list(manual.record()["sleep"]["groups"].values()) == [[2, 2]]

    def test_mean_nothing_to_tests_that_run_by_themselves(self, manual: World) -> None:
        manual.change(kind="automated")
        assert look(manual, LATER) == []

    def test_mean_nothing_to_what_is_ending(self, manual: World) -> None:
        manual.change(ending={"by": "request", "outcome": "cancelled", "reason": "x"})
        assert look(manual, LATER) == []

    def test_change_nothing_while_the_configuration_is_wrong(self, manual: World) -> None:
        look(manual, LATER)
        manual.put("/mayfly/applications/webshop", "{}")
        assert look(manual, AFTER) == []
        assert sizes(manual) == [(0, 0)]

    def test_leave_nothing_behind_when_its_life_ends_asleep(self, manual: World) -> None:
        """What fell asleep is no failure: Auto Scaling says why it ended it."""
        look(manual, LATER)
        manual.change(ending={"by": "request", "outcome": "cancelled", "reason": "x"})
        shrunk = {
            "ActivityId": "a",
            "AutoScalingGroupName": "g",
            "StartTime": datetime(2099, 1, 1, tzinfo=UTC),
            "StatusCode": "Successful",
            "Description": "Terminating EC2 instance: i-0a1b2c3d4e5f60718",
            "Cause": "At 2026-11-24T07:07:40Z an instance was taken out of service in response to a difference between "
            "desired and actual capacity, shrinking the capacity from 2 to 0.",
        }
        manual.wire.answer("DescribeScalingActivities", Activities=[shrunk, shrunk | {"ActivityId": "b"}])
        manual.call("delete_environment", deletion())
        assert manual.stack() is None
        assert "instance_failures" not in manual.record()


class TestWhatMustNotGo:
    def guarded(self, manual: World, why: str) -> None:
        ((action, reason),) = look(manual, LATER)
        assert (action, why in reason) == ("nothing", True), reason
        assert (sizes(manual), running(manual)) == ([(2, 2)], 2)
        assert "sleep" not in manual.record()

    def test_while_the_kill_switch_is_on(self, manual: World) -> None:
        manual.switch("ops: an incident")
        self.guarded(manual, "the kill switch is on: ops: an incident")

    def test_with_a_group_that_is_protected(self, manual: World) -> None:
        (group,) = manual.there("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        name = group["AutoScalingGroupName"]
        tag = {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
        manual.there("autoscaling").create_or_update_tags(Tags=[tag | {"Key": "mayfly:protected", "Value": "yes"}])
        self.guarded(manual, "it is protected by its tag mayfly:protected=yes")

    def test_with_an_instance_that_is_protected(self, manual: World) -> None:
        found = manual.there("ec2").describe_instances()["Reservations"][0]["Instances"][0]["InstanceId"]
        protected = [{"Key": "mayfly:protected", "Value": "true"}]
        manual.there("ec2").create_tags(Resources=[found], Tags=protected)
        self.guarded(manual, "it is protected by its tag mayfly:protected=true")

    def test_with_a_stack_whose_termination_protection_is_on(self, manual: World) -> None:
        manual.set_stack(manual.record()["stack"], enable_termination_protection=True)
        self.guarded(manual, "the stack's termination protection is on")


class TestWhoAsks:
    def test_wins_over_the_office_hours(self, manual: World) -> None:
        look(manual, LATER)
        said = manual.call("keep_office_hours", asked("Wake", minutes=60))
        assert said["environments"][0]["action"] == "wake"
        assert sizes(manual) == [(2, 2)]
        assert look(manual, LATER)[0][0] == "nothing"
        assert look(manual, AFTER)[0][0] == "sleep"  # it was for an hour
        assert manual.record()["override"]["by"] == "ada"

    def test_has_it_sleep_without_office_hours(self, manual: World) -> None:
        manual.configure()
        said = manual.call("keep_office_hours", asked("Sleep"))
        assert said["environments"][0]["action"] == "sleep"
        assert sizes(manual) == [(0, 0)]

    def test_last_wins(self, manual: World) -> None:
        later = asked("Wake", minutes=600) | {"time": "2026-11-24T06:50:00Z", "sent": "2026-11-24T06:50:00Z"}
        manual.call("keep_office_hours", later)
        said = manual.call("keep_office_hours", asked("Sleep", minutes=600))
        assert said == {"accepted": False, "environment": ENVIRONMENT, "reason": "a later request stands"}
        assert not manual.record()["override"]["asleep"]
        assert manual.record()["history"][-1]["why"] == "refused: a later request stands"

    def test_of_an_automated_suite_is_told_why_not(self, manual: World) -> None:
        manual.change(kind="automated")
        said = manual.call("keep_office_hours", asked())
        assert (said["accepted"], said["reason"]) == (False, "its suite is automated: only what people use sleeps")
        assert manual.record()["history"][-1]["why"].startswith("refused: its suite is automated")

    @pytest.mark.parametrize(
        ("event", "why"),
        [
            (asked(environment="nobody-1-2-3-smoke"), "environment: expected one that Mayfly built"),
            (asked(source="mayfly.app.billing"), "source: expected mayfly.app.webshop"),
            (asked(minutes=0), "minutes: Input should be greater than or equal to 1, but it is 0"),
        ],
    )
    def test_wrongly_is_refused(self, manual: World, event: Json, why: str) -> None:
        assert why in manual.call("keep_office_hours", event)["reason"]
        assert sizes(manual) == [(2, 2)]


def stage(world: World, kind: str, **more: Any) -> None:
    own = {"name": "staging", "blueprint": "group.yaml", "instance_count": 3, "kind": kind, **more}
    world.configure(permanent=[own])


@pytest.fixture
def staging(world: World) -> World:
    """A permanent environment of kind staging, after its creation."""
    declare(world)
    stage(world, "staging", office_hours=OFFICE)
    world.call("plan_rollouts", passed(world, "1.0.0"))
    (plan,) = plans(world)
    world.call("update_service", step(plan, "prepare"))
    world.call("judge_rollout", {"plan": plan, "failure": False, "unverified": False, "now": NOW})
    world.wire.forget()
    return world


class TestAPermanentEnvironment:
    def test_sleeps_and_wakes(self, staging: World) -> None:
        assert look(staging, NOW) == [("nothing", "these are its office hours")]
        assert look(staging, LATER) == [("sleep", "its office hours are over")]
        assert sizes(staging) == [(0, 0)]
        staging.call("keep_office_hours", asked("Wake", 600, SERVICE))
        assert sizes(staging) == [(3, 3)]

    def test_is_not_rolled_out_while_it_sleeps(self, staging: World) -> None:
        look(staging, LATER)
        (said,) = staging.call("plan_rollouts", passed(staging, "2.0.0") | {"time": LATER})["services"]
        assert (said["action"], said["reason"].endswith("; but it sleeps")) == ("awaiting waking", True)
        assert plans(staging) == []
        assert staging.record(f"{SERVICE}-2", "rollout")["stage"] == "awaiting waking"
        staging.call("keep_office_hours", asked("Wake", 600, SERVICE))
        (said,) = staging.call("plan_rollouts", {"now": LATER})["services"]
        assert said["action"] == "start"

    def test_that_is_rolled_out_stays_awake(self, staging: World) -> None:
        staging.call("plan_rollouts", passed(staging, "2.0.0"))
        ((action, reason),) = look(staging, LATER)
        assert (action, reason) == ("nothing", f"its office hours are over; but {SERVICE}-2 runs")
        assert sizes(staging) == [(3, 3)]

    def test_asks_for_no_new_instances_because_of_its_sleep(self, staging: World) -> None:
        """Neither the age of what is gone nor what differs from the blueprint meanwhile begins anything."""
        look(staging, LATER)
        staging.wire.forget()
        in_a_year = "2027-11-24T07:07:35.000Z"
        (said,) = staging.call("plan_rollouts", {"now": in_a_year})["services"]
        assert said["action"] == "nothing"
        assert not staging.wire.heard("DetectStackDrift")

    def test_that_becomes_production_is_woken(self, staging: World) -> None:
        look(staging, LATER)
        stage(staging, "production")
        assert look(staging, AFTER) == [("wake", "it has no office hours")]
        assert sizes(staging) == [(3, 3)]

    @pytest.mark.parametrize("what", ["Sleep", "Wake"])
    def test_is_not_its_ci_server_s_to_put_to_sleep_nor_to_wake(self, staging: World, what: str) -> None:
        """EventBridge sees one source for all programs of an application, so none may stop what others work on."""
        if what == "Wake":
            look(staging, LATER)
        before = sizes(staging)
        for source in ("mayfly.app.webshop", "mayfly.app.billing"):
            said = staging.call("keep_office_hours", asked(what, 600, SERVICE, source=source))
            assert said["reason"].startswith("source: expected mayfly.a"), said
        assert sizes(staging) == before
        assert "override" not in staging.record(SERVICE, "service")

    @pytest.mark.parametrize(
        ("source", "who"), [("mayfly.api", "ada"), ("mayfly.operator", "ada (says mayfly.operator)")]
    )
    def test_says_who_had_it_sleep(self, staging: World, source: str, who: str) -> None:
        staging.call("keep_office_hours", asked("Sleep", 600, SERVICE, source=source))
        assert sizes(staging) == [(0, 0)]
        assert staging.record(SERVICE, "service")["override"]["by"] == who

    def test_of_kind_production_never_sleeps(self, staging: World) -> None:
        stage(staging, "production")
        said = staging.call("keep_office_hours", asked("Sleep", 600, SERVICE))
        assert said["reason"] == "only permanent environments of kind staging sleep"
        assert look(staging, LATER) == []
        assert sizes(staging) == [(3, 3)]
