"""What the reaper decides: leases, sweeps, the teardown strategy. The properties are promises that people rely on."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from mayfly.contract.vocabulary import SweepAction
from mayfly.domain import lease, sweep, tags, teardown
from mayfly.domain.sweep import Found, Remembered, SweepPolicy
from mayfly.domain.teardown import Mend, Step
from mayfly.domain.timestamp import utc_text

CONTROLLER = "111111111111/us-east-1/mayfly"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = SweepPolicy(CONTROLLER)
OURS = {
    tags.CONTROLLER: CONTROLLER,
    tags.ENVIRONMENT: "web-1-smoke",
    tags.EXPIRES_AT: utc_text(NOW + HOUR),
    tags.CEILING: utc_text(NOW + 3 * HOUR),
}
STACK = Found("web-1-smoke", OURS, "arn:stack", "CREATE_COMPLETE", NOW - HOUR)
LEFT = Found("web-1-smoke", OURS, remains=("instance i-1", "volume vol-1"))
RECORD = Remembered(NOW + HOUR, NOW + 3 * HOUR, NOW - HOUR)

spans = st.timedeltas(timedelta(days=-40), timedelta(days=40))
moments = spans.map(lambda span: NOW + span)
values = st.sampled_from([*OURS.values(), "other", "", "true", "false"]) | moments.map(utc_text) | st.text(max_size=5)
labels = st.dictionaries(st.sampled_from([*OURS, tags.PROTECTED]), values).map(lambda some: OURS | some) | (
    st.dictionaries(st.sampled_from([*OURS, tags.PROTECTED]), values)
)
names = st.just("web-1-smoke") | st.text(max_size=5)
found_stacks = st.builds(
    Found,
    names,
    labels,
    st.just("arn:stack"),
    st.sampled_from(["CREATE_COMPLETE", "DELETE_FAILED", "CREATE_IN_PROGRESS"]),
    moments,
    st.booleans(),
)
found_remains = st.builds(Found, names, labels, remains=st.just(("instance i-1",)))
remembered = st.none() | st.builds(
    Remembered,
    moments,
    moments,
    moments,
    st.sampled_from([None, "tests", "request"]),
    st.sampled_from([None, "creation", "tests", "deletion"]),
)


def decide(found, record=None, waited_for=False, now=NOW):
    return sweep.decide_environment(now, found, record, waited_for, POLICY)


class TestAnExtension:
    def test_moves_the_deadline_by_what_was_asked(self):
        granted = lease.extend(NOW + HOUR, NOW + 5 * HOUR, NOW, 2 * HOUR)
        assert (granted.granted, granted.deadline) == (True, NOW + 3 * HOUR)
        assert granted.reason == f"until {utc_text(NOW + 3 * HOUR)}"

    def test_is_cut_at_the_ceiling_and_says_so(self):
        granted = lease.extend(NOW + HOUR, NOW + 2 * HOUR, NOW, 5 * HOUR)
        assert (granted.granted, granted.deadline) == (True, NOW + 2 * HOUR)
        assert granted.reason == f"until {utc_text(NOW + 2 * HOUR)}, its ceiling"

    def test_that_just_reaches_the_ceiling_is_not_cut(self):
        assert lease.extend(NOW + HOUR, NOW + 2 * HOUR, NOW, HOUR).reason == f"until {utc_text(NOW + 2 * HOUR)}"

    @pytest.mark.parametrize("late", [timedelta(), timedelta(milliseconds=1), HOUR])
    def test_is_refused_from_the_deadline_on(self, late):
        refused = lease.extend(NOW - late, NOW + 5 * HOUR, NOW, HOUR)
        assert (refused.granted, refused.deadline) == (False, NOW - late)
        assert "has passed" in refused.reason

    def test_is_refused_at_the_ceiling(self):
        refused = lease.extend(NOW + HOUR, NOW + HOUR, NOW, HOUR)
        assert (refused.granted, refused.deadline) == (False, NOW + HOUR)
        assert utc_text(NOW + HOUR) in refused.reason

    @given(moments, moments, moments, st.timedeltas(timedelta(minutes=1), timedelta(days=30)))
    def test_never_passes_the_ceiling_and_never_shortens(self, deadline, ceiling, now, by):
        decided = lease.extend(deadline, ceiling, now, by)
        assert decided.reason
        if decided.granted:
            assert deadline < decided.deadline <= min(ceiling, deadline + by)
            assert now < deadline
        else:
            assert decided.deadline == deadline
            assert now >= deadline or deadline >= ceiling

    @given(moments, moments, st.lists(st.tuples(moments, st.timedeltas(timedelta(minutes=1), timedelta(days=30)))))
    def test_however_many_never_pass_the_ceiling(self, deadline, ceiling, asked):
        first = deadline
        for now, by in asked:
            deadline = lease.extend(deadline, ceiling, now, by).deadline
        assert first <= deadline <= max(first, ceiling)


class TestAWarning:
    @pytest.mark.parametrize(
        ("left", "given_before", "due"),
        [
            (121, [], []),
            (120, [], [120]),
            (31, [120], []),
            (30, [120], [30]),
            (5, [120, 30], []),
            (5, [], [120, 30]),
            (-1, [120], [30]),
        ],
    )
    def test_is_due_once_when_its_time_has_come(self, left, given_before, due):
        deadline = NOW + timedelta(minutes=left)
        assert lease.warnings_due(NOW, deadline, (120, 30), given_before) == due

    def test_of_an_application_that_wants_none_is_none(self):
        assert lease.warnings_due(NOW, NOW, (), []) == []

    @given(moments, st.lists(st.integers(1, 3000), max_size=5, unique=True), st.lists(moments, max_size=8))
    def test_is_never_given_twice(self, deadline, minutes, sweeps):
        given_before = []
        for now in sorted(sweeps):
            due = lease.warnings_due(now, deadline, minutes, given_before)
            assert not set(due) & set(given_before)
            assert all(deadline - now <= timedelta(minutes=each) for each in due)
            given_before += due
        if sweeps:
            assert set(given_before) == {m for m in minutes if deadline - max(sweeps) <= timedelta(minutes=m)}


class TestTheDeadline:
    def test_is_the_record_s_which_knows_of_extensions(self):
        assert sweep.deadline_of(STACK, replace(RECORD, deadline=NOW + 2 * HOUR), POLICY) == (NOW + 2 * HOUR, "record")

    def test_is_never_past_the_ceiling_of_the_tag(self):
        tampered = replace(RECORD, deadline=NOW + 99 * HOUR, ceiling=NOW + 99 * HOUR)
        assert sweep.deadline_of(STACK, tampered, POLICY)[0] == NOW + 3 * HOUR

    def test_is_the_record_s_alone_where_the_tag_of_the_ceiling_is_gone(self):
        without = replace(STACK, labels={tags.EXPIRES_AT: utc_text(NOW)})
        assert sweep.deadline_of(without, RECORD, POLICY)[0] == NOW + HOUR

    def test_is_the_tag_s_where_the_record_is_lost(self):
        assert sweep.deadline_of(STACK, None, POLICY) == (NOW + HOUR, "tag")

    @pytest.mark.parametrize("value", ["", "soon", "2026-11-24T12:00:00", "2026-13-01T00:00:00Z", "1e9"])
    def test_is_counted_from_the_creation_where_the_tag_is_none(self, value):
        odd = replace(STACK, labels=OURS | {tags.EXPIRES_AT: value})
        deadline, source = sweep.deadline_of(odd, None, POLICY)
        assert deadline == NOW - HOUR + POLICY.lifetime
        assert "counted from its creation" in source

    def test_is_long_gone_where_nothing_says_until_when(self):
        assert sweep.deadline_of(replace(LEFT, labels={}), None, POLICY)[0] < NOW - timedelta(days=36500)

    @given(found_stacks, remembered)
    def test_is_always_one_and_comparable(self, found, record):
        deadline, source = sweep.deadline_of(found, record, POLICY)
        assert deadline.tzinfo is not None
        assert source


class TestADecision:
    @pytest.mark.parametrize(
        ("found", "record", "waited_for", "now", "action"),
        [
            (STACK, RECORD, True, NOW, SweepAction.KEEP),
            (STACK, RECORD, False, NOW, SweepAction.ADOPT),
            (STACK, replace(RECORD, planned_at=NOW - timedelta(minutes=1)), False, NOW, SweepAction.KEEP),
            (replace(STACK, created_at=NOW - timedelta(minutes=1)), None, False, NOW, SweepAction.KEEP),
            (STACK, None, False, NOW, SweepAction.ADOPT),
            (STACK, None, True, NOW, SweepAction.KEEP),
            # At the deadline
            (STACK, RECORD, False, NOW + HOUR, SweepAction.END),
            (STACK, None, False, NOW + HOUR, SweepAction.END),
            (STACK, RECORD, True, NOW + HOUR, SweepAction.KEEP),
            (STACK, RECORD, True, NOW + HOUR + POLICY.grace - timedelta(seconds=1), SweepAction.KEEP),
            (STACK, RECORD, True, NOW + HOUR + POLICY.grace, SweepAction.WAKE),
            (STACK, None, True, NOW + HOUR + POLICY.grace - timedelta(seconds=1), SweepAction.KEEP),
            (STACK, None, True, NOW + HOUR + POLICY.grace, SweepAction.END),
            (STACK, replace(RECORD, waiting_for="tests"), True, NOW + 99 * HOUR, SweepAction.WAKE),
            (STACK, replace(RECORD, waiting_for="deletion"), True, NOW + 99 * HOUR, SweepAction.KEEP),
            # Ended before its deadline, and nobody carries it out
            (STACK, replace(RECORD, ended_by="tests"), False, NOW, SweepAction.END),
            (STACK, replace(RECORD, ended_by="tests"), True, NOW, SweepAction.KEEP),
            # Remains
            (LEFT, RECORD, False, NOW, SweepAction.END),
            (LEFT, None, False, NOW, SweepAction.END),
            (LEFT, RECORD, True, NOW + 99 * HOUR, SweepAction.KEEP),
            # Memory only
            (None, RECORD, False, NOW, SweepAction.END),
            (None, RECORD, True, NOW + 99 * HOUR, SweepAction.KEEP),
            (None, replace(RECORD, planned_at=NOW - POLICY.grace), False, NOW, SweepAction.END),
            (None, replace(RECORD, planned_at=NOW - POLICY.grace + timedelta(seconds=1)), False, NOW, SweepAction.KEEP),
        ],
    )
    def test_is(self, found, record, waited_for, now, action):
        decision = decide(found, record, waited_for, now)
        assert decision.action is action
        assert decision.reason

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"labels": OURS | {tags.CONTROLLER: "other"}}, "mayfly:controller is other"),
            ({"labels": OURS | {tags.ENVIRONMENT: "other"}}, "mayfly:environment is other"),
            ({"labels": OURS | {tags.PROTECTED: "true"}}, "protected by its tag"),
            ({"labels": {}}, "does not carry the tag"),
            ({"termination_protection": True}, "termination protection is on"),
            ({"environment": "Web 1"}, "'Web 1' is no name that Mayfly gives"),
        ],
    )
    @pytest.mark.parametrize("now", [NOW, NOW + 99 * HOUR], ids=["before", "after"])
    def test_is_a_refusal_with_both_reasons_where_it_must_not_be_touched(self, change, reason, now):
        decision = decide(replace(STACK, **change), None, False, now)
        assert decision.action is SweepAction.REFUSE
        assert reason in decision.reason
        assert "; but " in decision.reason

    def test_names_the_environment_but_for_a_mere_memory(self):
        assert decide(STACK).environment == decide(LEFT).environment == "web-1-smoke"

    @given(moments, found_stacks | found_remains, remembered, st.booleans())
    def test_never_touches_what_is_foreign_or_protected(self, now, found, record, waited_for):
        foreign = (
            found.labels.get(tags.CONTROLLER) != CONTROLLER or found.labels.get(tags.ENVIRONMENT) != found.environment
        )
        protected = found.termination_protection or found.labels.get(tags.PROTECTED, "false").lower() != "false"
        assume(foreign or protected)
        assert decide(found, record, waited_for, now).action in (SweepAction.KEEP, SweepAction.REFUSE)

    @given(moments, found_stacks, remembered)
    def test_always_ends_what_is_ours_past_its_deadline_and_not_waited_for(self, now, found, record):
        own = {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: "web-1-smoke"}
        kept = {key: found.labels[key] for key in (tags.EXPIRES_AT, tags.CEILING) if key in found.labels}
        ours = replace(found, environment="web-1-smoke", labels=own | kept, termination_protection=False)
        assume(now >= sweep.deadline_of(ours, record, POLICY)[0])
        assert decide(ours, record, False, now).action is SweepAction.END

    @given(moments, found_stacks | found_remains | st.none(), remembered, st.booleans())
    def test_disturbs_nothing_before_its_deadline_that_somebody_waits_for(self, now, found, record, waited_for):
        assume(waited_for)
        assume(not (record and record.ended_by and record.sleeps))
        if found and found.stack:
            assume(now < sweep.deadline_of(found, record, POLICY)[0] + POLICY.grace)
        assert decide(found, record, waited_for, now).action is SweepAction.KEEP

    @given(moments, spans, st.sampled_from([STACK, LEFT]), remembered)
    def test_to_end_stays_one_as_time_goes_by(self, now, later, found, record):
        if decide(found, record, False, now).action is SweepAction.END:
            assert decide(found, record, False, now + abs(later)).action is SweepAction.END

    @given(moments, found_stacks | found_remains | st.none(), remembered, st.booleans())
    def test_is_made_of_everything_with_a_reason(self, now, found, record, waited_for):
        assert decide(found, record, waited_for, now).reason


class TestWhatIsEndedAndSleeps:
    @pytest.mark.parametrize(
        ("by", "waits", "action"),
        [
            ("tests", "tests", "wake"),
            ("request", "tests", "wake"),
            ("request", "creation", "wake"),
            ("tests", "creation", "keep"),
            ("tests", "deletion", "keep"),
            ("tests", None, "keep"),
            (None, "tests", "keep"),
        ],
    )
    def test_is_woken_long_before_its_deadline(self, by, waits, action):
        assert decide(STACK, replace(RECORD, ended_by=by, waiting_for=waits), waited_for=True).action == action


class TestACreationThatWasBrokenOff:
    @pytest.mark.parametrize("status", ["CREATE_IN_PROGRESS", "CREATE_FAILED", "CREATE_COMPLETE", "ROLLBACK_COMPLETE"])
    def test_is_ended_and_not_adopted_as_its_record_says(self, status):
        assert decide(replace(STACK, stack_status=status), replace(RECORD, was_ready=False)).action == "end"

    @pytest.mark.parametrize(
        ("status", "action"),
        [
            ("CREATE_IN_PROGRESS", "end"),
            ("CREATE_FAILED", "end"),
            ("ROLLBACK_IN_PROGRESS", "end"),
            ("DELETE_FAILED", "end"),
            ("CREATE_COMPLETE", "adopt"),
            ("UPDATE_COMPLETE", "adopt"),
            ("A_STATUS_OF_TOMORROW", "adopt"),
        ],
    )
    def test_is_told_by_the_status_of_its_stack_where_there_is_no_record(self, status, action):
        assert decide(replace(STACK, stack_status=status)).action == action

    def test_is_left_alone_as_long_as_its_execution_may_not_be_listed_yet(self):
        young = replace(RECORD, planned_at=NOW - timedelta(minutes=5), was_ready=False)
        assert decide(STACK, young).action == "keep"


class TestWhatBindsTheCaps:
    END, WAKE, KEEP = (
        sweep.SweepDecision("web-1-smoke", sweep.SweepAction(each), "-") for each in ("end", "wake", "keep")
    )

    @pytest.mark.parametrize("decision", [END, WAKE])
    def test_is_what_tags_decide(self, decision):
        assert sweep.binds_caps(NOW, decision, None)
        assert sweep.binds_caps(NOW, decision, RECORD)

    @pytest.mark.parametrize("decision", [END, WAKE])
    def test_is_neither_what_has_an_ending_nor_what_is_past_a_deadline_of_its_own(self, decision):
        assert not sweep.binds_caps(NOW, decision, replace(RECORD, ended_by="tests"))
        assert not sweep.binds_caps(NOW, decision, replace(RECORD, deadline=NOW))

    def test_is_nothing_that_is_kept(self):
        assert not sweep.binds_caps(NOW, self.KEEP, None)


class TestTheLimit:
    @pytest.mark.parametrize(
        ("ends", "existing", "approved", "exceeded"),
        [
            (0, 0, 0, False),
            (3, 3, 0, False),
            (4, 4, 0, True),
            (4, 13, 0, True),
            (4, 14, 0, False),
            (20, 1000, 0, False),
            (21, 1000, 0, True),
            (21, 1000, 21, False),
            (22, 1000, 21, True),
            (20, 1000, 1, False),
        ],
    )
    def test_is(self, ends, existing, approved, exceeded):
        limit = sweep.limit(ends, existing, POLICY, approved)
        assert limit.exceeded is exceeded
        assert f"{ends} of {existing}" in limit.reason

    def test_says_what_sets_it(self):
        assert sweep.limit(30, 100, POLICY).reason.endswith("20 may be (20, 30%)")
        assert sweep.limit(30, 100, POLICY, 25).reason.endswith("25 may be (25 approved)")
        assert sweep.limit(30, 100, POLICY, 5).reason.endswith("20 may be (20, 30%)")

    def test_of_none_lets_none_through(self):
        assert sweep.limit(1, 100, replace(POLICY, most=0)).exceeded
        assert not sweep.limit(1, 100, replace(POLICY, most=0), approved=1).exceeded

    @given(
        st.integers(0, 5000),
        st.integers(0, 5000),
        st.integers(0, 5000),
        st.floats(0, 1),
        st.integers(0, 5000),
    )
    def test_never_lets_more_through_than_is_allowed(self, ends, existing, most, share, approved):
        limit = sweep.limit(ends, existing, SweepPolicy(CONTROLLER, most=most, share=share), approved)
        assert limit.exceeded == (ends > limit.allowed)
        if not limit.exceeded:
            assert ends <= max(most, approved)
            assert ends <= max(3, share * existing, approved)

    @given(st.lists(st.sampled_from(SweepAction)))
    def test_counts_every_decision_once(self, actions):
        counted = sweep.counts([sweep.SweepDecision("e", action, "-") for action in actions])
        assert sum(counted.values()) == len(actions)
        assert set(counted) == {action.value for action in SweepAction}
        assert all(counted[action.value] == actions.count(action) for action in SweepAction)


class TestTheLadder:
    def test_has_rungs_from_the_mildest_to_a_person(self):
        assert [teardown.next_step(tried) for tried in range(6)] == [
            Step.DELETE,
            Step.MEND,
            Step.MEND,
            Step.RETAIN,
            Step.HAND_OVER,
            Step.HAND_OVER,
        ]

    @given(st.integers(4, 10**6))
    def test_ends(self, tried):
        assert teardown.next_step(tried) is Step.HAND_OVER

    @pytest.mark.parametrize(
        ("kind", "reason", "mend"),
        [
            ("AWS::S3::Bucket", "The bucket you tried to delete is not empty", Mend.EMPTY_BUCKET),
            ("AWS::S3::Bucket", "Access Denied", Mend.WAIT),
            ("AWS::AutoScaling::AutoScalingGroup", "instances remain", Mend.END_INSTANCES),
            ("AWS::EC2::Instance", "whatever", Mend.END_INSTANCES),
            ("AWS::EC2::SecurityGroup", "resource sg-1 has a dependent object", Mend.CUT_REFERENCES),
            ("AWS::EC2::SecurityGroup", "sg-1 is Referenced by sg-2", Mend.CUT_REFERENCES),
            ("AWS::EC2::SecurityGroup", "throttled", Mend.WAIT),
            ("AWS::EC2::Subnet", "has dependencies and cannot be deleted", Mend.DELETE_INTERFACES),
            ("AWS::EC2::VPC", "has dependencies", Mend.DELETE_INTERFACES),
            ("AWS::EC2::VPCGatewayAttachment", "mapped public addresses", Mend.DELETE_INTERFACES),
            ("AWS::EC2::InternetGateway", "has dependencies", Mend.DELETE_INTERFACES),
            ("AWS::EC2::NetworkInterface", "in use", Mend.DELETE_INTERFACES),
            ("AWS::IAM::Role", "must detach all policies first", Mend.WAIT),
            ("Custom::AWS::S3::Bucket", "not empty", Mend.WAIT),
        ],
    )
    def test_knows_what_helps_against_a_blocker(self, kind, reason, mend):
        assert teardown.name("X", "x-1", kind, reason).mend is mend

    @given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=40), st.text(max_size=60))
    def test_names_whatever_blocks(self, logical, physical, kind, reason):
        blocker = teardown.name(logical, physical, kind, reason)
        assert str(blocker) == f"{logical} ({kind} {physical}): {reason}"

    def test_tells_all_blockers(self):
        blockers = [teardown.name(each, f"{each}-1", "AWS::EC2::VPC", "busy") for each in ("A", "B")]
        assert teardown.told(blockers) == "A (AWS::EC2::VPC A-1): busy; B (AWS::EC2::VPC B-1): busy"
