"""What Mayfly decides, decision by decision."""

import json
from datetime import UTC, datetime, timedelta, timezone

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayfly.domain import ending, guard, identity, stack, tags
from mayfly.domain.records import Ending, Suite, plain
from mayfly.domain.report import Report
from mayfly.domain.timestamp import utc_text

CONTROLLER = "111111111111/us-east-1/mayfly"
OURS = {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: "web-1-smoke", tags.APPLICATION: "web"}

applications = st.from_regex(r"[a-z][a-z0-9-]{0,18}[a-z0-9]", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", fullmatch=True)
suites = st.from_regex(r"[a-z]([a-z0-9-]{0,14}[a-z0-9])?", fullmatch=True)


class TestNames:
    @given(applications, versions, st.integers(1, 1000), suites)
    def test_an_environment_fits_every_place_that_bears_its_name(self, application, version, attempt, suite):
        name = identity.environment_id(identity.release_id(application, version, attempt), suite)
        assert len(name) <= 58
        assert len(name) <= 64  # role session name; execution names take 80, stacks 128
        assert name[0].isalpha()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")

    @given(applications, versions, versions)
    def test_versions_that_look_alike_have_releases_of_their_own(self, application, one, other):
        same = identity.release_id(application, one, 1) == identity.release_id(application, other, 1)
        assert same == (one == other)

    def test_a_repeated_event_gives_the_same_release_and_a_new_attempt_another(self):
        assert identity.release_id("web", "1.4.2", 1) == identity.release_id("web", "1.4.2", 1)
        assert identity.release_id("web", "1.4.2", 1) != identity.release_id("web", "1.4.2", 2)

    def test_a_release_can_be_read(self):
        assert identity.release_id("webshop", "1.4.2", 1).startswith("webshop-1-4-2-")

    def test_a_stack_leads_back_to_its_environment(self):
        name = identity.stack_name("web-1-smoke")
        arn = f"arn:aws:cloudformation:us-east-1:222222222222:stack/{name}/6a7e8feb-b491-4cf7-a9f1-bf3703467718"
        assert identity.environment_of(name) == "web-1-smoke"
        assert identity.environment_of(arn) == "web-1-smoke"

    def test_a_foreign_stack_leads_nowhere(self):
        assert identity.environment_of("arn:aws:cloudformation:us-east-1:222222222222:stack/shop/1") is None


class TestGuard:
    def test_what_carries_our_tags_may_be_terminated(self):
        assert guard.may_destroy("web-1-smoke", CONTROLLER, OURS).granted

    @pytest.mark.parametrize("missing", [tags.CONTROLLER, tags.ENVIRONMENT])
    def test_a_missing_tag_refuses_and_is_named(self, missing):
        found = {key: value for key, value in OURS.items() if key != missing}
        refused = guard.may_destroy("web-1-smoke", CONTROLLER, found)
        assert not refused.granted
        assert missing in refused.reason

    @pytest.mark.parametrize("changed", [tags.CONTROLLER, tags.ENVIRONMENT])
    def test_another_s_tag_refuses_and_both_values_are_named(self, changed):
        refused = guard.may_destroy("web-1-smoke", CONTROLLER, OURS | {changed: "other"})
        assert not refused.granted
        assert "other" in refused.reason
        assert OURS[changed] in refused.reason

    def test_termination_protection_alone_refuses(self):
        assert not guard.may_destroy("web-1-smoke", CONTROLLER, OURS, locked="it is locked").granted

    @pytest.mark.parametrize("value", ["true", "True", "yes", ""])
    def test_the_tag_of_protection_alone_refuses_whatever_it_says_but_false(self, value):
        assert not guard.may_destroy("web-1-smoke", CONTROLLER, OURS | {tags.PROTECTED: value}).granted

    @pytest.mark.parametrize("label", [tags.ENVIRONMENT, tags.BAKE, tags.IMAGE_FAMILY])
    def test_what_is_permanent_is_refused_whatever_else_it_carries(self, label):
        found = {tags.CONTROLLER: CONTROLLER, label: "web-1-smoke"}
        assert guard.may_destroy("web-1-smoke", CONTROLLER, found, label).granted
        assert not guard.may_destroy("web-1-smoke", CONTROLLER, found | {tags.SERVICE: "shop"}, label).granted

    def test_a_tag_that_says_unprotected_does_not_protect(self):
        assert guard.may_destroy("web-1-smoke", CONTROLLER, OURS | {tags.PROTECTED: "false"}).granted

    @given(st.dictionaries(st.sampled_from([*OURS, tags.PROTECTED]), st.text(max_size=8)), st.booleans())
    def test_nothing_but_exactly_ours_is_ever_granted(self, found, protected):
        granted = guard.may_destroy("web-1-smoke", CONTROLLER, found, locked="locked" if protected else "").granted
        exactly = all(found.get(key) == OURS[key] for key in (tags.CONTROLLER, tags.ENVIRONMENT))
        unprotected = not protected and found.get(tags.PROTECTED, "false").lower() == "false"
        assert granted == (exactly and unprotected)


class TestStackStatus:
    def test_every_status_that_cloudformation_documents_is_known(self):
        model = botocore.session.get_session().get_service_model("cloudformation")
        assert set(model.shape_for("StackStatus").enum) == set(stack.PHASES)

    @pytest.mark.parametrize("status", ["CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_COMPLETE"])
    def test_a_creation_that_ended_otherwise_failed(self, status):
        assert stack.answer("creation", status).error == "CreationFailed"

    def test_a_creation_ends_with_create_complete(self):
        assert stack.answer("creation", "CREATE_COMPLETE").error is None

    def test_a_deletion_ends_with_delete_complete_and_nothing_else(self):
        over = {status for status in stack.PHASES if (a := stack.answer("deletion", status)) and not a.error}
        assert over == {"DELETE_COMPLETE"}

    def test_a_failed_deletion_is_told_with_its_reason(self):
        answer = stack.answer("deletion", "DELETE_FAILED", "a network interface lingers")
        assert answer.error == "DeletionFailed"
        assert answer.reason == "the stack is DELETE_FAILED: a network interface lingers"

    @pytest.mark.parametrize("waiting_for", ["creation", "deletion"])
    def test_work_in_progress_ends_no_wait(self, waiting_for):
        own = {"creation": "CREATE_IN_PROGRESS", "deletion": "DELETE_IN_PROGRESS"}
        assert stack.answer(waiting_for, own[waiting_for]) is None

    def test_late_events_of_the_creation_do_not_end_the_wait_for_the_deletion(self):
        assert stack.answer("deletion", "CREATE_COMPLETE") is None
        assert stack.answer("deletion", "CREATE_FAILED") is None

    @pytest.mark.parametrize("status", stack.PHASES)
    def test_nothing_about_the_stack_ends_the_wait_for_the_tests(self, status):
        assert stack.answer("tests", status) is None


class TestEnding:
    def test_a_failure_of_a_function_is_told_in_its_own_words(self):
        cause = '{"errorMessage": "44 of 45 instances run", "errorType": "NotReady", "stackTrace": []}'
        assert ending.by_failure("NotReady", cause).reason == "NotReady: 44 of 45 instances run"

    @pytest.mark.parametrize("cause", ["plain words", "[1]", '"text"', "{}", "null"])
    def test_any_other_cause_is_kept_as_it_is(self, cause):
        assert ending.by_failure("Some.Error", cause).reason == f"Some.Error: {cause}"

    def test_an_error_without_a_cause_is_enough(self):
        assert ending.by_failure("States.Timeout", "").reason == "States.Timeout"

    def test_a_failed_environment_gave_its_suite_no_fair_chance(self):
        assert ending.by_failure("CreationFailed", "").outcome == "broken"

    def test_no_result_until_the_deadline_is_an_expiry(self):
        late = ending.by_deadline("2026-11-25T06:00:00.000Z")
        assert (late.by, late.outcome) == ("deadline", "expired")
        assert "2026-11-25T06:00:00.000Z" in late.reason


class TestVerdict:
    def test_a_release_passes_when_all_suites_passed(self):
        verdict = ending.judge_release(
            [ending.SuiteResult(name, f"e-{name}", "passed", "ok") for name in ("smoke", "load")]
        )
        assert verdict.passed
        assert verdict.reason == "all 2 suites passed"

    @given(st.lists(st.sampled_from(["passed", "failed", "expired", "broken"])))
    def test_it_passes_only_then(self, outcomes):
        results = [ending.SuiteResult(f"s{i}", f"e{i}", outcome, "why") for i, outcome in enumerate(outcomes)]
        assert ending.judge_release(results).passed == (bool(outcomes) and set(outcomes) == {"passed"})

    def test_what_did_not_pass_is_named_with_its_reason(self):
        verdict = ending.judge_release(
            [
                ending.SuiteResult("smoke", "e1", "passed", "ok"),
                ending.SuiteResult("load", "e2", "failed", "the tests failed: too slow"),
            ]
        )
        assert verdict.reason == "1 of 2 suites did not pass: load failed: the tests failed: too slow"

    @pytest.mark.parametrize("said", ["it was too slow, ", "ガス欠でした、", '"\\'])
    def test_a_hundred_long_reasons_fit_where_a_verdict_is_handed_on(self, said):
        tests = Report(500, 500, 0, tuple(f"test_{number}" * 20 for number in range(50)))
        results = [
            ending.SuiteResult(f"s{n}", f"e{n}", "failed", (said * 999)[:999], f"s3://r/{n}", None, tests)
            for n in range(99)
        ]
        verdict = ending.judge_release([*results, ending.SuiteResult("last", "e", "failed", "it was red")])
        assert len(json.dumps(plain(verdict))) < 256 * 1024 * 0.6
        assert [(one.suite, one.environment, one.outcome, one.report) for one in verdict.suites[:99]] == [
            (one.suite, one.environment, one.outcome, one.report) for one in results
        ]
        assert all(one.reason.startswith(said) and one.reason.endswith("…") for one in verdict.suites[:99])
        assert verdict.suites[99].reason == "it was red"

    def test_a_hundred_long_locations_fit_too(self):
        """They are what a test says who reports it."""
        tests = Report(50, 20, 0, ("ü" * 200,) * 20)
        one = ending.SuiteResult("s", "e" * 58, "failed", "ä" * 1000, "s3://r/" + "x" * 1000, "y" * 1000, tests)
        verdict = ending.judge_release([one] * 100)
        assert len(json.dumps(plain(verdict))) < 256 * 1024 * 0.6
        assert all(each.reason for each in verdict.suites)

    def test_a_life_without_a_recorded_ending_was_broken(self):
        assert ending.result_of(Suite("smoke", "e1"), {"e1": None}).outcome == "broken"
        assert ending.result_of(Suite("smoke", "e1"), {}).outcome == "broken"

    def test_of_a_suite_that_was_repeated_the_last_environment_counts_and_it_is_flaky(self):
        suite = Suite("smoke", "e1", ("e1-2", "e1-3"))
        endings = {
            "e1": Ending("tests", "failed", "1 test failed"),
            "e1-2": Ending("tests", "passed", "2 tests passed"),
        }
        result = ending.result_of(suite, endings)
        assert (result.environment, result.outcome, result.attempts, result.flaky) == ("e1-2", "passed", 2, True)
        assert result.reason == "2 tests passed; failed before: 1 test failed"
        verdict = ending.judge_release([result])
        assert (verdict.passed, verdict.reason) == (True, "its one suite passed; smoke at attempt 2")
        assert verdict.flaky == ("smoke",)

    def test_one_that_failed_as_often_as_it_was_tried_is_not_flaky(self):
        suite = Suite("smoke", "e1", ("e1-2",))
        result = ending.result_of(suite, {name: Ending("tests", "failed", "no") for name in suite.attempts})
        assert (result.outcome, result.attempts, result.flaky) == ("failed", 2, False)


class TestMoment:
    def test_it_is_utc_with_milliseconds_and_z(self):
        there = datetime(2026, 11, 24, 8, 0, 0, 5000, timezone(timedelta(hours=2)))
        assert utc_text(there) == "2026-11-24T06:00:00.005Z"

    @given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
    def test_sorting_the_text_sorts_the_time(self, one, other):
        if one <= other:
            assert utc_text(one) <= utc_text(other)
