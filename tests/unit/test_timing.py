"""Where the time between a push and a ready environment goes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayfly.domain.timing import SLOWEST, Course, of_types, slowest, spans, told

PUSHED = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
BOOT = (
    "ready after 90 s: set the host name 2 s; certificate 4 s; catalogue 11 s; converge 20 s; deploy 18 s; health 3 s;"
)


def after(seconds):
    return PUSHED + timedelta(seconds=seconds)


WHOLE = Course(PUSHED, after(4), after(9), after(130), after(230), after(236))


def seconds(course, *boots):
    return {one.name: one.seconds for one in spans(course, boots)}


def test_the_whole_way_is_told_step_by_step():
    assert seconds(WHOLE, "ready after 40 s: deploy 1 s;", BOOT) == {
        "plan": 4,
        "queue": 5,
        "stack": 121,
        "boot": 100 - 35 - 21,
        "puppet": 35,
        "deploy": 21,
        "confirm": 6,
    }
    assert told(spans(WHOLE, [BOOT])[:2]) == "plan 4 s, queue 5 s"


def test_instances_that_say_nothing_boot():
    assert seconds(WHOLE) == {
        "plan": 4, "queue": 5, "stack": 121, "boot": 100, "puppet": 0, "deploy": 0, "confirm": 6
    }  # fmt: skip


def test_without_instances_there_is_only_the_stack():
    course = Course(PUSHED, after(4), after(9), None, after(60), after(61))
    assert seconds(course) == {"plan": 4, "queue": 5, "stack": 51, "confirm": 1}


def test_what_a_stack_does_not_wait_for_is_boot():
    express = Course(PUSHED, after(4), after(9), after(130), after(100), after(236))
    assert seconds(express, BOOT) == {
        "plan": 4, "queue": 5, "stack": 121, "boot": 106 - 35 - 21, "puppet": 35, "deploy": 21, "confirm": 0
    }  # fmt: skip


def test_what_nobody_knows_is_a_part_of_the_next_span():
    assert seconds(Course(None, after(4), None, None, after(60), after(61))) == {"stack": 56, "confirm": 1}
    assert seconds(Course(None, None, None, None, None, after(61))) == {}


@pytest.mark.parametrize(
    "said", ["", "deploy since 06:00:00Z", "failed after 3 s: deploy: exit code 1", "ready after soon"]
)
def test_a_boot_that_is_not_over_says_nothing(said):
    assert slowest([said]) == (0, 0)


def test_a_boot_that_only_says_how_long_it_took_has_no_steps():
    assert slowest(["ready after 70 s"]) == (0, 0)


moments = st.none() | st.integers(0, 10_000).map(after)


@given(pushed=moments, planned=moments, begun=moments, launched=moments, complete=moments, ready=st.integers(0, 20_000))
def test_no_span_is_negative_and_they_are_no_longer_than_the_whole(pushed, planned, begun, launched, complete, ready):
    course = Course(pushed, planned, begun, launched, complete, after(ready))
    found = spans(course, [BOOT])
    assert all(one.seconds >= 0 for one in found)
    known = [each for each in (pushed, planned, begun, launched, complete, after(ready)) if each]
    assert sum(one.seconds for one in found) <= (max(known) - min(known)).total_seconds()


def test_of_types_those_are_told_that_took_longest():
    many = {f"AWS::A::{n}": float(n) for n in range(20)} | {"AWS::B::C": 0.2}
    found = of_types(many)
    assert (len(found), found[0].name, found[0].seconds) == (SLOWEST, "AWS::A::19", 19)
    assert of_types({"AWS::B::C": 0.2}) == ()
