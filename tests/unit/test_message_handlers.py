"""Message handlers: good messages come through both ways, bad ones are refused by field, value and expectation."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mayfly.contract.aws_events import StackStatus
from mayfly.contract.configuration import Application
from mayfly.contract.messages import explain
from mayfly.contract.reader import Refused, receive
from mayfly.contract.requests import CodeVersionPushed, TestFinished
from tests import envelopes

ROOT = Path(__file__).resolve().parents[2]
PUSHED = json.loads(json.loads((ROOT / "events" / "code_version_pushed.json").read_text())[0]["Detail"])


def on_the_bus(detail, detail_type="Code Version Pushed"):
    ours = not detail_type.startswith("CloudF")
    return envelopes.event(detail_type, detail, "mayfly.app.webshop" if ours else "aws.cloudformation")


def on_the_topic(text):
    return envelopes.notification("mayfly_webshop_code-versions", text)


class TestBothWays:
    def test_the_bus_and_the_topic_bring_the_same_message(self):
        by_bus = receive(CodeVersionPushed, on_the_bus(PUSHED))
        by_topic = receive(CodeVersionPushed, on_the_topic(json.dumps(PUSHED)))
        assert by_bus.message == by_topic.message == CodeVersionPushed(**PUSHED)

    def test_each_says_when_and_how_it_came(self):
        received = receive(CodeVersionPushed, on_the_bus(PUSHED))
        assert received.at.isoformat() == "2026-11-24T06:47:33+00:00"
        assert received.via == "EventBridge 6a7e8feb-b491-4cf7-a9f1-bf3703467718"
        assert received.source == on_the_bus(PUSHED)["source"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"application": "Web Shop"}, ["application", "'Web Shop'", "pattern"]),
            ({"version": ""}, ["version", "''"]),
            ({"verison": "1"}, ["verison", "Extra inputs are not permitted", "'1'"]),
            ({"attempt": 0}, ["attempt", "greater than or equal to 1", "0"]),
            ({"artifact": None}, ["artifact", "valid string", "None"]),
        ],
    )
    def test_a_refusal_names_field_value_and_expectation(self, change, expected):
        with pytest.raises(Refused) as refusal:
            receive(CodeVersionPushed, on_the_bus(PUSHED | change))
        assert all(part in str(refusal.value) for part in expected), str(refusal.value)

    def test_every_wrong_field_is_named_at_once(self):
        with pytest.raises(Refused, match=r"application.*version.*artifact"):
            receive(CodeVersionPushed, on_the_bus({}))

    def test_what_is_no_json_is_refused(self):
        with pytest.raises(Refused, match="Invalid JSON"):
            receive(CodeVersionPushed, on_the_topic("version 1.4.2 is out"))

    def test_what_is_no_event_at_all_is_refused(self):
        with pytest.raises(Refused, match="detail-type"):
            receive(CodeVersionPushed, {"hello": "world"})

    def test_a_long_value_is_shown_shortened(self):
        with pytest.raises(Refused) as refusal:
            receive(CodeVersionPushed, on_the_bus(PUSHED | {"artifact": "x" * 5000}))
        assert len(str(refusal.value)) < 400

    @settings(max_examples=300)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
            max_leaves=12,
        )
    )
    def test_anything_else_is_refused_and_never_an_error_of_ours(self, anything):
        for event in (on_the_bus(anything), on_the_topic(json.dumps(anything))):
            with pytest.raises(Refused):
                receive(CodeVersionPushed, event)


class TestTestFinished:
    def test_the_environment_is_enough(self):
        assert TestFinished(environment="webshop-1-smoke", outcome="passed").environment

    def test_release_and_suite_are_enough(self):
        assert TestFinished(release="webshop-1", suite="smoke", outcome="passed").suite

    @pytest.mark.parametrize(
        "names",
        [
            {},
            {"release": "webshop-1"},
            {"suite": "smoke"},
            {"environment": "webshop-1-smoke", "release": "webshop-1", "suite": "smoke"},
        ],
    )
    def test_one_way_of_naming_is_needed_and_only_one(self, names):
        with pytest.raises(ValidationError, match="either environment, or release and suite"):
            TestFinished(**names, outcome="passed")

    def test_an_outcome_is_passed_or_failed(self):
        with pytest.raises(Refused, match=r"outcome: Input should be 'passed' or 'failed', but it is 'maybe'"):
            receive(TestFinished, on_the_bus({"environment": "webshop-1-smoke", "outcome": "maybe"}))


class TestAwsEvents:
    def test_what_aws_adds_is_no_error(self):
        detail = {
            "stack-id": "arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-a/1",
            "status-details": {"status": "CREATE_COMPLETE", "status-reason": "", "new": 1},
            "client-request-token": "",
            "new": True,
        }
        assert receive(StackStatus, on_the_bus(detail)).message.details.status == "CREATE_COMPLETE"


class TestApplications:
    @pytest.mark.parametrize("file", sorted((ROOT / "applications").glob("*.json")), ids=lambda file: file.stem)
    def test_the_ones_that_ship_are_good(self, file):
        assert Application.model_validate_json(file.read_text()).suites

    def good(self, **change):
        return json.loads((ROOT / "applications" / "webshop.json").read_text()) | change

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"suites": []}, "suites"),
            ({"suites": [{"name": "a"}, {"name": "a"}]}, "expected each name once, but a is there more often"),
            (
                {"suites": [{"name": "a", "kind": "magic"}]},
                "suites.0.kind: Input should be 'automated', 'manual' or 'preview'",
            ),
            ({"instance_count": -1}, "instance_count: Input should be greater than or equal to 0, but it is -1"),
            ({"lifetime_minutes": 10**6}, "lifetime_minutes: Input should be less than or equal to 43200"),
            ({"account": "1234"}, "account"),
            ({"image": {"family": "base", "chanel": "stable"}}, "image.chanel: Extra inputs are not permitted"),
            ({"lifetime": 3}, "lifetime: Extra inputs are not permitted, but it is 3"),
        ],
    )
    def test_a_wrong_one_names_the_field(self, change, expected):
        with pytest.raises(ValidationError) as error:
            Application.model_validate(self.good(**change))
        assert expected in explain(error.value)

    def test_a_life_is_24_hours_unless_told_otherwise(self):
        small = {"owner": "me", "blueprint": "b.yaml", "image": {"family": "base"}, "suites": [{"name": "smoke"}]}
        application = Application.model_validate(small)
        assert (application.lifetime_minutes, application.instance_count) == (1440, 45)
        assert application.image.channel == "stable"
