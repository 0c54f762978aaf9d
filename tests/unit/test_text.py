"""Text from outside is cleaned once, where it comes in."""

import pytest

from mayfly.contract.requests import EnvironmentTerminationRequested
from mayfly.domain import report
from mayfly.domain.ending import by_failure
from mayfly.domain.records import Entry
from mayfly.domain.text import clean, clean_lines, principal


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("as it is: ünïcode, 猫, 🦋, 👩‍🔬 and e\u0301", "as it is: ünïcode, 猫, 🦋, 👩‍🔬 and e\u0301"),
        ("\x1b[2J\x1b]0;owned\x07", " [2J ]0;owned "),
        ("one\r\ntwo\u2028three\x85", "one two three "),
        ("safe\u202egnp.exe\u2066x\u2069", "safegnp.exex"),
        ("a\u200b\ufeff\u2060b\U000e0041", "ab"),
        ("\ud83d", "\ufffd"),
    ],
    ids=["words", "a terminal's commands", "lines", "another direction", "nothing to see", "half a character"],
)
def test_what_a_terminal_or_a_page_would_obey_is_taken_out(said, shown):
    assert clean(said) == shown
    assert clean(shown) == shown


def test_what_a_machine_prints_keeps_its_lines_and_loses_its_colours():
    assert clean_lines("\x1b[32m[  OK  ]\x1b[0m Reached\u202e target\r\nlogin:") == "[  OK  ] Reached target\nlogin:"
    assert clean_lines("\x1b]0;owned\x07\n") == " ]0;owned\n"
    assert clean_lines("") == ""


def test_a_request_s_text_is_cleaned_before_anybody_reads_it():
    asked = {"environment": "web-1", "why": "\x1b[31mseen\u202e", "requested_by": "dev\n"}
    message = EnvironmentTerminationRequested.model_validate(asked)
    assert (message.why, message.requested_by) == (" [31mseen", "dev ")


def test_a_text_of_nothing_else_is_none():
    with pytest.raises(ValueError, match="at least 1 character"):
        EnvironmentTerminationRequested.model_validate({"environment": "web-1", "why": "\u202e", "requested_by": "dev"})


EVIL = "\x1b[2Jsafe\u202egnp.exe\n"


def test_what_aws_an_instance_or_a_test_says_is_cleaned_in_a_history_a_reason_and_a_report():
    line = Entry("2026-11-24T06:47:34.120Z", EVIL, EVIL, EVIL).shortened()
    assert {line.who, line.what, line.why} == {clean(EVIL)}
    assert by_failure("CreationFailed", EVIL).reason == f"CreationFailed: {clean(EVIL)}"
    case = '<testcase classname="a\u2066" name="b&#10;\u202ec"><failure/></testcase>'
    assert report.read(f"<testsuite>{case}</testsuite>".encode()).failed == ("a.b c",)


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        (
            "arn:aws:sts::111111111111:assumed-role/Admin/ann@example.com",
            "ann@example.com (role Admin of 111111111111)",
        ),
        ("arn:aws:iam::111111111111:user/people/ann", "ann (111111111111)"),
        ("arn:aws-cn:iam::111111111111:root", "root (111111111111)"),
        ("ann@example.com", "ann@example.com"),
        ("", ""),
    ],
)
def test_a_principal_of_aws_is_shown_by_its_name(arn, name):
    assert principal(arn) == name
