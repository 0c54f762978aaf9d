"""Rollouts: what is decided about a permanent environment, and what the steps of one say."""

import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayfly.contract.configuration import RolloutPolicy
from mayfly.contract.vocabulary import Wait
from mayfly.domain import office_hours, rollout
from mayfly.domain.guard import may_destroy
from mayfly.domain.office_hours import Window
from mayfly.domain.records import Checkpoint
from mayfly.domain.rollout import (
    Member,
    Pace,
    RolloutAction,
    RolloutDecision,
    RolloutRules,
    Standing,
    decide_rollout,
)
from mayfly.domain.stack import PHASES
from mayfly.domain.sweep import Found, SweepPolicy
from mayfly.domain.sweep import decide_environment as sweep
from mayfly.domain.tags import of_service

type Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)  # a Tuesday
CONTROLLER = "111111111111/us-east-1/mayfly"


def a_setup(image: str = "ami-1", version: str = "1.0.0", **more: Any) -> Json:
    return {"image": image, "version": version, "artifact": "x", "parameters": {}, "instance_count": 3} | more


OLD, NEW, NEWER = a_setup(), a_setup("ami-2"), a_setup("ami-3")
AUTOMATIC, APPROVED = RolloutRules(), RolloutRules(needs_approval=True)


def standing(**more: Any) -> Standing:
    return Standing(**{"current": OLD, "wanted": NEW, "oldest": NOW - timedelta(days=1)} | more)


class TestDeciding:
    def test_rolls_out_what_is_wanted_and_not_there(self) -> None:
        said = decide_rollout(NOW, standing(), AUTOMATIC)
        assert said == RolloutDecision(RolloutAction.START, "image from ami-1 to ami-2", NEW, "change")

    def test_leaves_alone_what_has_what_is_wanted(self) -> None:
        assert decide_rollout(NOW, standing(current=NEW), AUTOMATIC).action is RolloutAction.NOTHING

    def test_makes_what_does_not_exist(self) -> None:
        said = decide_rollout(NOW, standing(current=None, oldest=None), AUTOMATIC)
        assert (said.action, said.to, said.cause) == (RolloutAction.START, NEW, "creation")

    def test_does_nothing_while_something_is_missing(self) -> None:
        said = decide_rollout(NOW, standing(wanted=None, lacking="no release has passed yet"), AUTOMATIC)
        assert (said.action, said.reason) == (RolloutAction.NOTHING, "no release has passed yet")

    def test_one_rollout_at_a_time(self) -> None:
        said = decide_rollout(NOW, standing(running="web-production-1", asked="latest"), AUTOMATIC)
        assert said.action is RolloutAction.NOTHING
        assert "web-production-1" in said.reason

    def test_what_was_rolled_back_from_is_not_rolled_out_again_by_itself(self) -> None:
        refused = standing(refused=NEW)
        assert decide_rollout(NOW, refused, AUTOMATIC).action is RolloutAction.NOTHING
        assert decide_rollout(NOW, standing(refused=NEW, wanted=NEWER), AUTOMATIC).to == NEWER
        assert decide_rollout(NOW, standing(refused=NEW, asked="latest"), AUTOMATIC).action is RolloutAction.START

    def test_the_kill_switch_lets_nothing_begin(self) -> None:
        halted = RolloutRules(halted="the kill switch is on: ada")
        for asked in (None, "latest", "previous"):
            said = decide_rollout(NOW, standing(asked=asked, previous=NEWER), halted)
            assert said.action is RolloutAction.AWAIT_SWITCH
            assert "ada" in said.reason

    def test_nothing_begins_by_itself_while_an_alarm_fires(self) -> None:
        said = decide_rollout(NOW, standing(firing=("errors",)), AUTOMATIC)
        assert said.action is RolloutAction.AWAIT_ALARMS
        assert "errors fires already" in said.reason

    def test_a_person_may_step_back_while_one_does(self) -> None:
        said = decide_rollout(NOW, standing(firing=("errors",), asked="previous", previous=NEWER), AUTOMATIC)
        assert said.action is RolloutAction.START


class TestApproval:
    def test_a_change_waits_for_a_person(self) -> None:
        assert decide_rollout(NOW, standing(), APPROVED).action is RolloutAction.AWAIT_APPROVAL

    def test_and_goes_once_it_is_approved(self) -> None:
        assert decide_rollout(NOW, standing(pending=NEW, approved=True), APPROVED).action is RolloutAction.START

    def test_an_approval_is_for_what_was_waiting_and_nothing_newer(self) -> None:
        said = decide_rollout(NOW, standing(pending=NEW, approved=True, wanted=NEWER), APPROVED)
        assert (said.action, said.to) == (RolloutAction.AWAIT_APPROVAL, NEWER)

    def test_new_instances_of_the_same_need_nobody(self) -> None:
        old = standing(wanted=OLD, oldest=NOW - timedelta(days=31))
        assert decide_rollout(NOW, old, APPROVED).action is RolloutAction.START

    def test_what_failed_holds_everything_until_a_person_comes(self) -> None:
        held = standing(held="web-production-3: it could not be brought back")
        said = decide_rollout(NOW, held, AUTOMATIC)
        assert said.action is RolloutAction.AWAIT_APPROVAL
        assert "could not be brought back" in said.reason
        assert (
            decide_rollout(NOW, standing(held="x", pending=NEW, approved=True), AUTOMATIC).action is RolloutAction.START
        )
        assert decide_rollout(NOW, standing(held="x", asked="latest"), AUTOMATIC).action is RolloutAction.START

    def test_a_creation_that_failed_is_tried_again_when_a_person_asks(self) -> None:
        said = decide_rollout(NOW, standing(current=None, refused=NEW, held="x", asked="latest"), AUTOMATIC)
        assert (said.action, said.cause) == (RolloutAction.START, "creation")


class TestAPersonsWish:
    def test_one_step_back_goes_at_once(self) -> None:
        closed = RolloutRules(needs_approval=True, window=Window(("sun",), time(1), time(2)))
        said = decide_rollout(NOW, standing(asked="previous", previous=NEWER), closed)
        assert (said.action, said.to, said.cause) == (RolloutAction.START, NEWER, "step back")

    def test_there_may_be_no_step_to_go_back(self) -> None:
        assert decide_rollout(NOW, standing(asked="previous"), AUTOMATIC).action is RolloutAction.NOTHING

    def test_the_same_again_means_new_instances(self) -> None:
        said = decide_rollout(NOW, standing(asked="latest", wanted=OLD), AUTOMATIC)
        assert (said.action, said.to, said.cause) == (RolloutAction.START, OLD, "request")


class TestRenewing:
    def test_no_instance_gets_older_than_the_policy_says(self) -> None:
        policy = RolloutRules(most_age=timedelta(days=30))
        for days, action in ((29, RolloutAction.NOTHING), (30, RolloutAction.START)):
            said = decide_rollout(NOW, standing(wanted=OLD, oldest=NOW - timedelta(days=days)), policy)
            assert said.action is action
        assert said.cause == "age"

    def test_drift_is_replaced_only_where_that_is_configured(self) -> None:
        odd = standing(wanted=OLD, odd=("i-1 is of version 3 of the launch template, not 2",))
        assert decide_rollout(NOW, odd, AUTOMATIC).action is RolloutAction.NOTHING
        said = decide_rollout(NOW, odd, RolloutRules(replaces_drift=True))
        assert (said.action, said.to, said.cause) == (RolloutAction.START, OLD, "drift")

    def test_what_failed_is_tried_again_a_day_later(self) -> None:
        for hours, action in ((23, RolloutAction.NOTHING), (24, RolloutAction.START)):
            old = standing(wanted=OLD, oldest=NOW - timedelta(days=99), failed_at=NOW - timedelta(hours=hours))
            assert decide_rollout(NOW, old, AUTOMATIC).action is action

    def test_a_service_that_was_rolled_back_is_renewed_with_what_it_has(self) -> None:
        said = decide_rollout(NOW, standing(refused=NEW, oldest=NOW - timedelta(days=99)), AUTOMATIC)
        assert (said.to, said.cause) == (OLD, "age")


setups = st.sampled_from([OLD, NEW, NEWER])
standings = st.builds(
    Standing,
    current=st.none() | setups,
    previous=st.none() | setups,
    wanted=st.none() | setups,
    running=st.none() | st.just("web-production-1"),
    pending=st.none() | setups,
    approved=st.booleans(),
    refused=st.none() | setups,
    held=st.sampled_from(["", "it failed"]),
    asked=st.none() | st.sampled_from(["latest", "previous"]),
    oldest=st.none() | st.integers(0, 90).map(lambda days: NOW - timedelta(days=days)),
    odd=st.lists(st.just("i-1 differs"), max_size=1).map(tuple),
    failed_at=st.none() | st.just(NOW - timedelta(hours=1)),
)
windows = st.builds(
    Window,
    st.lists(st.sampled_from(office_hours._DAYS), min_size=1, max_size=7, unique=True).map(tuple),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
)
policies = st.builds(
    RolloutRules,
    needs_approval=st.booleans(),
    window=st.none() | windows,
    replaces_drift=st.booleans(),
    halted=st.sampled_from(["", "the kill switch is on"]),
)
moments = st.integers(0, 365 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))


class TestWhateverComes:
    @given(service=standings, policy=policies, now=moments)
    def test_nothing_starts_beside_another_or_against_the_kill_switch(
        self, service: Standing, policy: RolloutRules, now: datetime
    ) -> None:
        said = decide_rollout(now, service, policy)
        if service.running or policy.halted:
            assert said.action is not RolloutAction.START
        assert (said.to is None) == (said.action is RolloutAction.NOTHING)
        assert said.reason or service.wanted is None

    @given(service=standings, policy=policies, now=moments)
    def test_what_starts_is_wanted_asked_for_or_there_already(
        self, service: Standing, policy: RolloutRules, now: datetime
    ) -> None:
        said = decide_rollout(now, service, policy)
        if said.action is not RolloutAction.START:
            return
        assert said.to in (service.wanted, service.current, service.previous)
        if not service.asked:
            assert said.to in (service.wanted, service.current)
            assert said.cause != "change" or said.to != service.refused
            assert not service.held or (service.approved and service.pending == said.to)
            assert policy.window is None or policy.window.is_open(now)

    @given(service=standings, policy=policies, now=moments)
    def test_the_same_look_twice_decides_the_same(self, service: Standing, policy: RolloutRules, now: datetime) -> None:
        assert decide_rollout(now, service, policy) == decide_rollout(now, service, policy)

    @given(wishes=st.lists(setups, min_size=1, max_size=6), now=moments)
    def test_of_many_wishes_the_last_one_is_rolled_out_and_the_others_are_not(
        self, wishes: list[Json], now: datetime
    ) -> None:
        """Those that come while a rollout runs leave nothing behind but what is wanted in the end."""
        current, rolled_out = OLD, []
        for wish in wishes:
            assert (
                decide_rollout(
                    now, standing(current=current, wanted=wish, running="web-1", oldest=now), AUTOMATIC
                ).action
                is RolloutAction.NOTHING
            )
        while (said := decide_rollout(now, standing(current=current, wanted=wishes[-1], oldest=now), AUTOMATIC)).to:
            assert said.to is not None
            rolled_out.append(said.to)
            current = dict(said.to)
        assert rolled_out == [wishes[-1]] * (wishes[-1] != OLD)


class TestTheWindow:
    NIGHTS = Window(("fri", "sat"), time(22), time(4))

    @pytest.mark.parametrize(
        ("day", "hour", "is_open"),
        [
            (27, 21, False),  # Friday
            (27, 22, True),
            (28, 3, True),
            (28, 4, False),
            (28, 23, True),
            (29, 3, True),  # Sunday, in the window of Saturday
            (29, 22, False),
        ],
    )
    def test_reaches_past_midnight(self, day: int, hour: int, is_open: bool) -> None:
        assert self.NIGHTS.is_open(datetime(2026, 11, day, hour, tzinfo=UTC)) is is_open

    @given(window=windows, now=moments)
    def test_is_open_exactly_for_its_length_from_each_of_its_starts(self, window: Window, now: datetime) -> None:
        lasts = (datetime.combine(now, window.end) - datetime.combine(now, window.start)) % timedelta(days=1)
        lasts = lasts or timedelta(days=1)
        starts = [datetime.combine(now + timedelta(days=back), window.start, UTC) for back in range(-2, 2)]
        inside = any(
            start <= now < start + lasts and office_hours._DAYS[start.weekday()] in window.days for start in starts
        )
        assert window.is_open(now) is inside

    @given(window=windows, now=moments)
    def test_what_waits_for_it_starts_within_a_week(self, window: Window, now: datetime) -> None:
        policy = RolloutRules(window=window)
        looks = (
            decide_rollout(now + timedelta(minutes=n), standing(oldest=None), policy) for n in range(7 * 24 * 60 + 1)
        )
        assert next(said for said in looks if said.action is RolloutAction.START).to == NEW


class TestTheRefresh:
    PACE = Pace(100, 110, (10, 50, 100), timedelta(minutes=10))

    def test_never_below_the_minimum_and_back_by_itself(self) -> None:
        said = rollout.preferences("change", self.PACE, True, ["a", "b"])
        assert said == {
            "MinHealthyPercentage": 100,
            "MaxHealthyPercentage": 110,
            "CheckpointPercentages": [10, 50, 100],
            "CheckpointDelay": 600,
            "BakeTime": 600,
            "SkipMatching": True,
            "AutoRollback": True,
            "AlarmSpecification": {"Alarms": ["a", "b"]},
            "ScaleInProtectedInstances": "Refresh",
            "StandbyInstances": "Terminate",
        }

    def test_without_a_change_everything_is_replaced_and_there_is_nothing_to_go_back_to(self) -> None:
        said = rollout.preferences("age", self.PACE, False, [])
        assert (said["SkipMatching"], said["AutoRollback"]) == (False, False)

    def test_drift_replaces_only_what_differs(self) -> None:
        assert rollout.preferences("drift", self.PACE, False, [])["SkipMatching"] is True

    def test_the_way_back_does_not_stop_at_checkpoints_or_alarms(self) -> None:
        said = rollout.preferences_back(self.PACE)
        assert said["MinHealthyPercentage"] == 100
        assert not {"CheckpointPercentages", "AlarmSpecification"} & said.keys()

    def test_a_group_of_several_types_keeps_them_and_what_else_its_policy_says(self) -> None:
        overrides = [{"InstanceType": "m5.large"}, {"InstanceType": "c5.large"}]
        shown = {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "web", "Version": "3"}
        distribution = {"OnDemandAllocationStrategy": "prioritized"}
        mixed = {
            "LaunchTemplate": {"LaunchTemplateSpecification": shown, "Overrides": overrides},
            "InstancesDistribution": distribution,
        }
        wanted = {"LaunchTemplateId": "lt-1", "Version": "4"}  # by its id alone: AWS refuses both
        assert rollout.desired("lt-1", "4", None) == {"LaunchTemplate": wanted}
        policy = rollout.desired("lt-1", "4", mixed)["MixedInstancesPolicy"]
        assert policy["LaunchTemplate"] == {"LaunchTemplateSpecification": wanted, "Overrides": overrides}
        assert policy["InstancesDistribution"] == distribution

    def test_every_preference_is_one_of_aws_s(self) -> None:
        model = botocore.session.get_session().get_service_model("autoscaling")
        known = set(model.shape_for("RefreshPreferences").members)
        assert rollout.preferences("change", self.PACE, True, []).keys() <= known

    @pytest.mark.parametrize(
        ("status", "forward", "back"),
        [
            ("Successful", None, None),
            ("RollbackSuccessful", "RolledBack", None),
            ("Failed", "RefreshFailed", "RefreshFailed"),
            ("RollbackFailed", "RefreshFailed", "RefreshFailed"),
            ("Cancelled", "RefreshCancelled", "RefreshCancelled"),
        ],
    )
    def test_each_end_means_one_thing(self, status: str, forward: str | None, back: str | None) -> None:
        for step, error in (("replace", forward), ("return instances", back)):
            answer = rollout.refresh_answer(step, status, "why")  # type: ignore[arg-type]
            assert answer is not None
            assert answer.error == error
            assert "why" in answer.reason

    def test_every_documented_status_is_known(self) -> None:
        model = botocore.session.get_session().get_service_model("autoscaling")
        for status in model.shape_for("InstanceRefreshStatus").enum:
            answer = rollout.refresh_answer("replace", status)
            assert (answer is None) == (status in rollout.ACTIVE)


class TestTheStack:
    @pytest.mark.parametrize("status", PHASES)
    def test_every_documented_status_is_known(self, status: str) -> None:
        answer = rollout.stack_answer(status)
        if status.endswith("_IN_PROGRESS") and not status.startswith("DELETE"):
            assert answer is None
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            assert answer is not None
            assert answer.error is None

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            ("UPDATE_ROLLBACK_COMPLETE", "UpdateFailed"),
            ("UPDATE_ROLLBACK_FAILED", "UpdateFailed"),
            ("ROLLBACK_COMPLETE", "CreationFailed"),
            ("CREATE_FAILED", "CreationFailed"),
            ("DELETE_COMPLETE", "UpdateFailed"),
        ],
    )
    def test_what_ends_alike_is_told_apart(self, status: str, error: str) -> None:
        answer = rollout.stack_answer(status, "why")
        assert answer is not None
        assert (answer.error, answer.reason) == (error, f"the stack is {status}: why")

    def test_each_step_asks_under_a_name_of_its_own(self) -> None:
        steps = [Wait.PREPARE, Wait.REPLACE, Wait.SETTLE, Wait.RETURN_INSTANCES, Wait.RETURN_STACK]
        names = {rollout.request("a-name-of-20-letters-operations1234-99999", step) for step in steps}
        assert len(names) == len(steps)
        assert all(re.fullmatch(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}", name) for name in names), (
            "as CloudFormation wants it"
        )

    def test_its_events_are_picked_by_that_name(self) -> None:
        assert f"client-request-token: [prefix: {rollout.REQUEST}]" in (ROOT / "template.yaml").read_text()


def a_member(**more: Any) -> Member:
    own = {"id": "i-1", "template": "2", "image": "ami-2", "state": "InService", "health": "Healthy"}
    return Member(**own | {"launched_at": NOW} | more)  # type: ignore[arg-type]


class TestVerifying:
    def test_whole_is_every_instance_on_the_image_and_version_and_healthy(self) -> None:
        assert rollout.unsettled([a_member()] * 3, 3, "ami-2", "2", "2") == []

    @pytest.mark.parametrize(
        ("members", "group", "said"),
        [
            ([a_member(template="1")], "2", "i-1 is of version 1 of the launch template, not 2"),
            ([a_member(image="ami-1")], "2", "i-1 runs ami-1, not ami-2"),
            ([a_member(health="Unhealthy")], "2", "i-1 is InService, Unhealthy"),
            ([a_member(state="Terminating")], "2", "i-1 is Terminating, Healthy"),
            ([], "2", "0 of 1 instances"),
            ([a_member()], "1", "the group launches version 1 of the launch template, not 2"),
            ([a_member()], "", "the group launches version (none) of the launch template, not 2"),
        ],
    )
    def test_anything_else_is_named(self, members: list[Member], group: str, said: str) -> None:
        assert said in rollout.unsettled(members, 1, "ami-2", "2", group)

    @pytest.mark.parametrize(
        ("failure", "creation", "verified", "outcome"),
        [
            ("", False, "", "completed"),
            ("", False, "2 of 3 instances", "failed"),
            ("an alarm", False, "", "rolled back"),
            ("an alarm", False, "i-1 runs ami-2", "failed"),
            ("no capacity", True, "", "failed"),
        ],
    )
    def test_the_verdict(self, failure: str, creation: bool, verified: str, outcome: str) -> None:
        said, reason = rollout.judge_rollout(failure, creation, verified)
        assert said == outcome
        assert failure in reason
        assert verified in reason

    def test_a_checkpoint_keeps_its_first_moment(self) -> None:
        begun = [Checkpoint(10), Checkpoint(50), Checkpoint(100)]
        first = rollout.reached(begun, 10, "a")
        assert first == (Checkpoint(10, "a"), Checkpoint(50), Checkpoint(100))
        second = rollout.reached(first, 50, "b")
        assert rollout.reached(second, 10, "late") == second
        assert second[0].reached_at == "a"


class TestNothingEndsAService:
    LABELS = of_service("web-production", "web", CONTROLLER)

    def found(self, labels: Json, protection: bool = True) -> Found:
        stack = "arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-web-production/1"
        created = NOW - timedelta(days=400)
        return Found("web-production", labels, stack, "UPDATE_COMPLETE", created, protection)

    def test_a_sweep_keeps_it_and_alarms_nobody(self) -> None:
        said = sweep(NOW, self.found(self.LABELS), None, False, SweepPolicy(CONTROLLER))
        assert said.action.value == "keep"

    def test_even_without_both_signals_of_protection(self) -> None:
        labels = {key: value for key, value in self.LABELS.items() if key != "mayfly:protected"}
        assert sweep(NOW, self.found(labels, False), None, False, SweepPolicy(CONTROLLER)).action.value == "keep"
        assert not may_destroy("web-production", CONTROLLER, labels).granted

    def test_one_that_lost_its_mark_is_refused_and_people_are_told(self) -> None:
        labels = {key: value for key, value in self.LABELS.items() if key != "mayfly:service"}
        assert sweep(NOW, self.found(labels), None, False, SweepPolicy(CONTROLLER)).action.value == "refuse"


class TestThePolicy:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"checkpoints": [50, 10, 100]}, "expected checkpoints that ascend up to 100"),
            ({"checkpoints": [10, 50]}, "expected checkpoints that ascend up to 100"),
            ({"checkpoints": []}, "expected checkpoints that ascend up to 100"),
            ({"most_healthy_percent": 100}, "expected most_healthy_percent above least_healthy_percent"),
            ({"soak_minutes": 120}, "expected limit_minutes above the 360 that are soaked"),
        ],
    )
    def test_what_cannot_work_is_refused(self, change: Json, expected: str) -> None:
        with pytest.raises(ValueError, match=expected):
            RolloutPolicy.model_validate(change)
