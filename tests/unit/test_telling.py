"""What people are told, and in which words."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samtranslator.yaml_helper import yaml_parse

from mayfly.domain.telling import tell

TEMPLATE = yaml_parse((Path(__file__).resolve().parents[2] / "template.yaml").read_text())
RULE = TEMPLATE["Resources"]["TellPeople"]["Properties"]["Events"]["Bus"]["Properties"]["Pattern"]
TOLD = [each for each in RULE["detail-type"] if isinstance(each, str)]
PASSED = {"release": "web-1-ab", "application": "web", "version": "1", "reason": "all 2 suites passed"}
CONSOLE = "https://console.example/"


def test_a_verdict_is_one_line_with_its_reason_and_a_link():
    told = tell("Release Passed", PASSED, CONSOLE)
    assert told.subject == "web 1 passed"
    assert told.text == "all 2 suites passed\n\nhttps://console.example/#/releases/web-1-ab"


def test_there_is_no_link_where_there_is_no_console():
    assert "http" not in tell("Release Passed", PASSED, "").text


@pytest.mark.parametrize("what", ["Release Passed", "Release Failed", "Environment Failed"])
def test_owners_are_told_of_what_is_theirs(what):
    assert tell(what, PASSED, "").to_owner


@pytest.mark.parametrize("what", sorted(set(TOLD) - {"Release Passed", "Release Failed", "Environment Failed"}))
def test_owners_are_spared_the_rest(what):
    assert not tell(what, PASSED, "").to_owner


@pytest.mark.parametrize("what", ["Rollout Started", "Rollout Rolled Back", "Rollout Awaiting Approval"])
def test_every_step_of_a_rollout_is_told_with_the_service(what):
    told = tell(what, {"rollout": "r-1", "service": "web-production", "reason": "5xx"}, CONSOLE)
    assert (told.subject, told.about) == (f"{what}: web-production", "r-1")
    assert told.text.startswith("5xx")


@pytest.mark.parametrize("what", ["Environment Ready", "Environment Terminated", "Sweep Completed", "Image Replaced"])
def test_what_is_no_news_is_not_told(what):
    assert tell(what, PASSED, CONSOLE) is None


@pytest.mark.parametrize("what", TOLD)
def test_what_the_rule_lets_through_is_told(what):
    assert tell(what, {}, CONSOLE).subject


def test_who_asked_and_why_is_told():
    told = tell("Image Promoted", {"family": "base", "channel": "stable", "image": "ami-1", "why": "a CVE",
                                   "requested_by": "alice"}, "")  # fmt: skip
    assert told.subject == "base/stable promoted to ami-1"
    assert told.text == "a CVE\n\nAsked for by alice."


def test_a_warning_says_how_to_extend():
    warned = {"environment": "web-1-ab-smoke", "application": "web", "suite": "smoke", "minutes_left": 30}
    assert "mayfly extend web-1-ab-smoke 60" in tell("Environment Expiring", warned, "").text


def test_tellings_of_one_release_share_a_thread():
    failed = tell("Environment Failed", PASSED | {"environment": "web-1-ab-smoke"}, "")
    assert failed.about == tell("Release Failed", PASSED, "").about


def test_what_may_not_be_gone_is_told_so():
    left = {"application": "web", "version": "1", "suite": "smoke", "instances_left": "unknown"}
    assert "may not be gone" in tell("Environment Failed", left, "").subject


def test_a_chat_is_told_in_its_own_schema():
    told = tell("Release Failed", PASSED, CONSOLE)
    said = json.loads(told.for_chat())
    assert (said["version"], said["source"]) == ("1.0", "custom")
    assert said["content"] == {"textType": "client-markdown", "title": told.subject, "description": told.text}
    assert said["metadata"] == {"threadId": "web-1-ab", "summary": "web 1 FAILED"}


@given(st.sampled_from(TOLD), st.text(), st.text(max_size=3000))
def test_a_subject_is_what_sns_takes(what, name, reason):
    detail = dict.fromkeys(("application", "version", "suite", "family", "image", "channel", "service"), name)
    told = tell(what, detail | {"reason": reason}, CONSOLE)
    assert 0 < len(told.subject) <= 100
    assert told.subject.isascii()
    assert told.subject.isprintable()
    assert len(told.text) < 2000
