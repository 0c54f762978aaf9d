"""Text from outside is cleaned once, where it comes in."""

import pytest

from mayfly.contract.requests import EnvironmentTerminationRequested
from mayfly.domain.text import clean


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


def test_a_request_s_text_is_cleaned_before_anybody_reads_it():
    asked = {"environment": "web-1", "why": "\x1b[31mseen\u202e", "requested_by": "dev\n"}
    message = EnvironmentTerminationRequested.model_validate(asked)
    assert (message.why, message.requested_by) == (" [31mseen", "dev ")


def test_a_text_of_nothing_else_is_none():
    with pytest.raises(ValueError, match="at least 1 character"):
        EnvironmentTerminationRequested.model_validate({"environment": "web-1", "why": "\u202e", "requested_by": "dev"})
