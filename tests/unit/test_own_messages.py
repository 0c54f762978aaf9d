"""Mayfly's own messages and AWS's, which msgspec reads: what is wrong is named, and nothing that was sent breaks the
reader itself."""

import json

import msgspec
import pytest
from msgspec import ValidationError

from mayfly.contract import dead_letters
from mayfly.contract.announcements import EnvironmentTerminated, ReleasePassed, ToExtend
from mayfly.contract.aws_events import BaseImagesPublished
from mayfly.contract.fields import Part, from_json
from mayfly.contract.reader import Refused, receive
from mayfly.contract.requests import CodeVersionPushed, EnvironmentExtensionRequested
from mayfly.contract.vocabulary import DeadLetterKind
from mayfly.settings import Incomplete, Settings, read
from tests.contract import EXAMPLES
from tests.unit.test_message_handlers import on_the_bus, on_the_topic

PASSED = EXAMPLES["Release Passed"]


def all_parts(kind=Part):
    return [kind, *(each for below in kind.__subclasses__() for each in all_parts(below))]


@pytest.mark.parametrize(
    "text",
    ['{"application":' + "[" * 9_999 + "]" * 9_999 + "}", '{"a":' * 900 + "{}" + "}" * 900, '{"artifact":"\ud800"}'],
    ids=["deep arrays", "deep objects", "half a character"],
)
@pytest.mark.parametrize("model", [CodeVersionPushed, BaseImagesPublished])
def test_what_no_reader_can_follow_is_refused(model, text):
    with pytest.raises(Refused):
        receive(model, on_the_topic(text))


def test_text_that_is_no_json_is_shown():
    with pytest.raises(ValidationError, match=r"Invalid JSON: .*but it is 'Windows images are out'"):
        from_json("Windows images are out")


def test_a_word_that_there_is_not_is_answered_with_those_that_there_are():
    suites = [PASSED["suites"][0] | {"outcome": "nope"}]
    with pytest.raises(ValidationError, match=r"^suites\.0\.outcome: expected .*passed.*, but it is 'nope'$"):
        ReleasePassed.read(PASSED | {"suites": suites})


@pytest.mark.parametrize("word", ["x - at `$.foo.bar", "x - at `$.suites[9]`"])
def test_a_word_that_looks_like_a_fault_s_path_is_none(word):
    suites = [PASSED["suites"][0] | {"outcome": word}]
    with pytest.raises(ValidationError, match=r"^suites\.0\.outcome: expected "):
        ReleasePassed.read(PASSED | {"suites": suites})


def test_one_image_of_many_that_is_none_is_named_by_its_region():
    regions = {f"eu-west-{n}": [{"ImageId": "ami-0123456789abcdef0"}] for n in range(9)} | {
        "us-east-1": [{"ImageId": "AMI"}]
    }
    with pytest.raises(ValidationError, match=r"^regions\.us-east-1\.0\.ImageId: .*\$'?`?, but it is 'AMI'$"):
        BaseImagesPublished.read({"v1": {"Regions": regions}})


def test_what_is_announced_has_no_more_in_its_parts_than_the_contract():
    example = EXAMPLES["Environment Terminated"]
    ending = example["ending"] | {"secret": "kept"}
    said = json.loads(EnvironmentTerminated(**example | {"ending": ending}).written())
    assert said == json.loads(EnvironmentTerminated(**example).written())


def test_half_a_character_is_not_announced():
    with pytest.raises(ValidationError):
        ReleasePassed.read(PASSED | {"artifact": "\ud800"}).written()


def test_a_sender_s_time_is_named_as_they_know_it():
    event = on_the_bus({"application": "shop", "version": "1", "artifact": "none"}) | {"sent": "yesterday"}
    with pytest.raises(Refused, match=r"^time: .*but it is yesterday$"):
        receive(CodeVersionPushed, event)


@pytest.mark.parametrize("missing", ["account", "region", "id", "time", "source"])
def test_an_envelope_lacks_nothing(missing):
    event = on_the_bus({"application": "shop", "version": "1", "artifact": "none"})
    with pytest.raises(Refused, match=f"^{missing}: Field required$"):
        receive(CodeVersionPushed, {name: value for name, value in event.items() if name != missing})


@pytest.mark.parametrize(
    "body",
    [
        '{"a":' * 50_000,
        '{"function": 5, "reason": "", "message": ""}',
        '{"requestPayload": 1}',
        '{"Type": "Notification"}',
    ],
    ids=["deep", "of no function", "of Lambda", "of SNS"],
)
def test_a_dead_letter_that_nobody_knows_is_kept(body):
    assert dead_letters.read(body, {}, "1").kind == DeadLetterKind.UNREADABLE


def test_a_setting_ends_where_its_line_does():
    with pytest.raises(Incomplete, match=r"MAYFLY_ACCOUNTS: .*but it is '111111111111"):
        read(Settings, {"MAYFLY_ACCOUNTS": "111111111111\n"})


def test_how_to_extend_is_a_request_for_it():
    told = ToExtend(environment="shop-1-0-0-a7fd7e60-smoke", minutes=60, why="...", requested_by="...")
    assert EnvironmentExtensionRequested.model_validate(told.plain())


@pytest.mark.parametrize("kind", [each for each in all_parts() if not getattr(each, "__parameters__", ())])
def test_every_message_can_say_what_it_expects(kind):
    assert msgspec.json.schema(kind)
