"""What people are told, and in which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayfly.domain.notification import notification_of
from tests.blueprint import INSTALLATION, template

TEMPLATE = template(INSTALLATION)
RULE = TEMPLATE["Resources"]["NotifyPeople"]["Properties"]["Events"]["Bus"]["Properties"]["Pattern"]
TOLD = [each for each in RULE["detail-type"] if isinstance(each, str)]
PASSED = {"release": "web-1-ab", "application": "web", "version": "1", "reason": "all 2 suites passed"}
CONSOLE = "https://console.example/"
OWNERS = [
    "Release Passed",
    "Release Failed",
    "Environment Ready",
    "Environment Failed",
    "Environment Expiring",
    "Environment Instance Lost",
    "Environment Asleep",
    "Environment Awake",
    "Room Running Low",
]


def test_a_verdict_is_one_line_with_its_reason_and_a_link():
    told = notification_of("Release Passed", PASSED, CONSOLE)
    assert told.subject == "web 1 passed"
    assert told.text == "all 2 suites passed\n\nhttps://console.example/#/releases/web-1-ab"


def test_there_is_no_link_where_there_is_no_console():
    assert "http" not in notification_of("Release Passed", PASSED, "").text


@pytest.mark.parametrize("what", OWNERS)
def test_owners_are_told_of_what_is_theirs(what):
    assert notification_of(what, PASSED, "").to_owner


@pytest.mark.parametrize("what", sorted(set(TOLD) - set(OWNERS)))
def test_owners_are_spared_the_rest(what):
    assert not notification_of(what, PASSED, "").to_owner


@pytest.mark.parametrize("what", ["Rollout Started", "Rollout Rolled Back", "Rollout Awaiting Approval"])
def test_every_step_of_a_rollout_is_told_with_the_service(what):
    told = notification_of(what, {"rollout": "r-1", "service": "web-production", "reason": "5xx"}, CONSOLE)
    assert (told.subject, told.about) == (f"{what}: web-production", "r-1")
    assert told.text.startswith("5xx")


@pytest.mark.parametrize(
    ("said", "subject"),
    [
        ({"name": "web", "what": "usd", "period": "2026-11-24"}, "web: 81 % of the budget for 2026-11-24"),
        ({"name": "", "what": "instances", "period": ""}, "the installation: 81 % of the ceiling of instances"),
    ],
)
def test_what_runs_low_is_one_line(said, subject):
    told = notification_of("Room Running Low", said | {"percent": 81, "reason": "all of it"}, CONSOLE)
    assert (told.subject, told.text.startswith("all of it")) == (subject, True)


@pytest.mark.parametrize("what", ["Environment Terminated", "Sweep Completed", "Image Replaced"])
def test_what_is_no_news_is_not_told(what):
    assert notification_of(what, PASSED, CONSOLE) is None


@pytest.mark.parametrize("what", TOLD)
def test_what_the_rule_lets_through_is_told(what):
    assert notification_of(what, {}, CONSOLE).subject


def test_who_owns_or_pushed_hears_that_an_environment_is_ready_with_its_address_and_what_may_be_done():
    ready = PASSED | {"environment": "web-1-ab-smoke", "suite": "smoke", "deadline": "2026-11-24T12:00:00.123Z",
                      "instances": 45, "outputs": {"Url": "http://10.0.0.7/", "Vpc": "vpc-1"}}  # fmt: skip
    del ready["reason"]
    told = notification_of("Environment Ready", ready, CONSOLE)
    assert told.subject == "web 1 smoke is ready: web-1-ab-smoke"
    page = "https://console.example/#/environments/web-1-ab-smoke"
    assert told.text.split("\n\n") == [
        "45 instances; it ends at 2026-11-24T12:00:00Z.",
        "Url: http://10.0.0.7/",
        page,
        f"To keep it for longer: {page}?do=extend",
        f"To end it: {page}?do=end",
    ]


def test_what_proves_an_image_is_nobody_s_to_use():
    assert notification_of("Environment Ready", {"application": "image-proof"}, CONSOLE) is None


def test_what_awaits_approval_has_a_link_that_asks_for_it():
    told = notification_of("Rollout Awaiting Approval", {"rollout": "r-1", "service": "web-production"}, CONSOLE)
    assert "To approve it: https://console.example/#/rollout/r-1?do=approve" in told.text


def test_an_owner_is_told_that_instances_failed_under_the_tests():
    lost = PASSED | {"suite": "smoke", "instances_failed": 2, "failures": {"failed a status check": 2}}
    told = notification_of("Environment Terminated", lost | {"ending": {"by": "tests"}}, "")
    assert told.subject == "2 instances of web 1, suite smoke, failed"
    assert "may be worth nothing. Of its instances, 2 failed a status check." in told.text
    assert told.to_owner


def test_of_one_that_could_not_be_built_its_failure_tells():
    lost = PASSED | {"instances_failed": 2, "failures": {"never signalled": 2}, "ending": {"by": "failure"}}
    assert notification_of("Environment Terminated", lost, "") is None


def test_a_warning_says_when_it_ends_and_both_ways_to_keep_it():
    asked = {"environment": "web-1-ab-smoke", "minutes": 60, "why": "...", "requested_by": "..."}
    warning = PASSED | {"environment": "web-1-ab-smoke", "suite": "smoke", "deadline": "2026-11-24T12:00:00Z",
                        "ceiling": "2026-11-26T12:00:00Z", "minutes_left": 30, "to_extend": asked}  # fmt: skip
    told = notification_of("Environment Expiring", warning, "")
    assert told.subject == "web smoke ends in 30 min: web-1-ab-smoke"
    assert "web-1-ab-smoke is terminated at 2026-11-24T12:00:00Z, with all that is in it." in told.text
    assert "until 2026-11-26T12:00:00Z at most: mayfly extend web-1-ab-smoke 60 --why '...'" in told.text
    assert f"'Environment Extension Requested': {json.dumps(asked)}" in told.text


def test_who_asked_and_why_is_told():
    told = notification_of("Image Promoted", {"family": "base", "channel": "stable", "image": "ami-1", "why": "a CVE",
                                   "requested_by": "alice"}, "")  # fmt: skip
    assert told.subject == "base/stable promoted to ami-1"
    assert told.text == "a CVE\n\nAsked for by alice."


def test_a_warning_says_how_to_extend():
    warned = {"environment": "web-1-ab-smoke", "application": "web", "suite": "smoke", "minutes_left": 30}
    assert "mayfly extend web-1-ab-smoke 60" in notification_of("Environment Expiring", warned, "").text


def test_tellings_of_one_release_share_a_thread():
    failed = notification_of("Environment Failed", PASSED | {"environment": "web-1-ab-smoke"}, "")
    assert failed.about == notification_of("Release Failed", PASSED, "").about


def test_what_may_not_be_gone_is_told_so():
    left = {"application": "web", "version": "1", "suite": "smoke", "instances_left": "unknown"}
    assert "may not be gone" in notification_of("Environment Failed", left, "").subject


def test_a_chat_is_told_in_its_own_schema():
    told = notification_of("Release Failed", PASSED, CONSOLE)
    said = json.loads(told.for_chat())
    assert (said["version"], said["source"]) == ("1.0", "custom")
    assert said["content"] == {"textType": "client-markdown", "title": told.subject, "description": told.text}
    assert said["metadata"] == {"threadId": "web-1-ab", "summary": "web 1 FAILED"}


@given(st.sampled_from(TOLD), st.text(), st.text(max_size=3000))
def test_a_subject_is_what_sns_takes(what, name, reason):
    detail = dict.fromkeys(("application", "version", "suite", "family", "image", "channel", "service"), name)
    told = notification_of(what, detail | {"reason": reason}, CONSOLE)
    assert 0 < len(told.subject) <= 100
    assert told.subject.isascii()
    assert told.subject.isprintable()
    assert len(told.text) < 2000


def test_an_owner_hears_at_once_that_an_instance_was_lost_under_test():
    lost = PASSED | {
        "environment": "web-1-ab-smoke",
        "suite": "smoke",
        "lost": 1,
        "reason": "i-1: failed a status check",
    }
    told = notification_of("Environment Instance Lost", lost, CONSOLE)
    assert told.subject == "An instance of web 1, suite smoke, was lost while it was tested"
    assert told.text.startswith("i-1: failed a status check\n\nWhat its tests find may be worth nothing.")
    assert told.to_owner


def test_who_owns_it_hears_that_it_sleeps_when_it_wakes_and_how_to_wake_it():
    asleep = {"environment": "web-1-look", "application": "web", "release": "web-1", "why": "its office hours are over",
              "wakes_at": "2026-11-25T06:00:00.000Z"}  # fmt: skip
    told = notification_of("Environment Asleep", asleep, CONSOLE)
    page = "https://console.example/#/environments/web-1-look"
    assert (told.subject, told.to_owner_alone) == ("web-1-look sleeps", True)
    assert told.text.split("\n\n") == [
        "its office hours are over",
        "It wakes at 2026-11-25T06:00:00Z. No instance of it runs until then. "
        "Whoever needs it otherwise: mayfly wake web-1-look --for 8h --why '...'",
        page,
        f"To wake it: {page}?do=wake",
    ]


def test_who_owns_it_hears_that_it_is_awake_and_until_when():
    awake = {"environment": "web-1-look", "application": "web", "release": "web-1", "why": "ada asked for it"}
    told = notification_of("Environment Awake", awake | {"sleeps_at": "2026-11-25T18:00:00.000Z"}, CONSOLE)
    assert told.subject == "web-1-look wakes"
    assert "It sleeps again at 2026-11-25T18:00:00Z." in told.text
    assert "mayfly sleep web-1-look --for 8h" in told.text
    assert told.text.endswith("?do=sleep")
    assert "It sleeps again when somebody asks for it." in notification_of("Environment Awake", awake, "").text


def test_of_a_permanent_one_the_page_of_all_of_them_is_shown():
    told = notification_of("Environment Asleep", {"environment": "web-staging", "application": "web"}, CONSOLE)
    assert told.text.endswith("https://console.example/#/rollouts")
