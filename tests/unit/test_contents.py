"""What an image consists of: what an instance prints is read with care, and two images are compared part by part."""

import base64
import gzip
import json

from hypothesis import given
from hypothesis import strategies as st

from mayfly.domain.contents import KINDS, MOST_BYTES, Change, Contents, compare, read_contents


def printed(text: str) -> str:
    return json.dumps({"contents": base64.b64encode(gzip.compress(text.encode())).decode()})


OLD = "package\topenssl:amd64\t3.0.1\npackage\tvim:amd64\t9.0\nservice\tweb.service\tenabled\nfile\t/etc/web\t12ab\n"
NEW = "package\topenssl:amd64\t3.0.2\npackage\tzsh:amd64\t5.9\nservice\tweb.service\tenabled\nfile\t/etc/web\t34cd\n"


def test_what_changed_between_two_images_is_named_by_kind():
    before, after = read_contents(printed(OLD)), read_contents(printed(NEW))
    assert before
    assert after
    assert compare(before, after) == {
        "package": [
            Change("openssl:amd64", "3.0.1", "3.0.2"),
            Change("vim:amd64", "9.0", None),
            Change("zsh:amd64", None, "5.9"),
        ],
        "service": [],
        "file": [Change("/etc/web", "12ab", "34cd")],
    }


def test_it_is_found_among_the_answers_of_checks():
    found = read_contents('{"name": "a", "exit": 0, "stdout": ""}\nnoise\n' + printed(OLD))
    assert found
    assert found.parts["service"] == {"web.service": "enabled"}


def test_one_that_said_that_it_is_too_long_said_nothing():
    assert read_contents('{"contents": "", "characters": 30000}') is None


def test_what_unpacks_to_more_than_anything_real_is_not_read():
    assert read_contents(printed("x" * (MOST_BYTES + 1))) is None


@given(st.text())
def test_whatever_is_printed_is_no_error(text):
    read_contents(text)
    read_contents(json.dumps({"contents": text}))
    read_contents(printed(text))


@given(st.dictionaries(st.sampled_from(KINDS), st.dictionaries(st.text(), st.text())))
def test_an_image_does_not_differ_from_itself(parts):
    assert not any(compare(Contents(parts), Contents(parts)).values())
