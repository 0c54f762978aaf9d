"""Crowds that ask for room get it in fair order, none twice, none never, and no quota is ever exceeded."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from bench import crowds
from bench.crowds import Crowd

DOCS = Path(__file__).resolve().parents[2] / "docs" / "admission.md"


@cache
def crowd(name: str) -> Crowd:
    found: Crowd = getattr(crowds, name)()
    return found


@pytest.mark.parametrize(("name", "count"), [("thousand", 1000), ("day", 10_000)])
class TestACrowd:
    def test_is_admitted_to_its_last_one_and_nobody_twice(self, name, count):
        names = [each.environment for each in crowd(name).admitted]
        assert len(names) == len(set(names)) == count
        assert not crowd(name).queue

    def test_exceeds_no_quota_at_any_moment(self, name, count):
        assert max(crowd(name).fullest.values()) <= 100

    def test_never_launches_without_ec2_s_tokens(self, name, count):
        for launches in crowd(name).launches.values():
            tokens, last = 1000, 0
            for at, instances in sorted(launches):
                tokens, last = min(1000, tokens + 2 * (at - last)) - instances, at
                assert tokens >= 0

    def test_leaves_no_reservation(self, name, count):
        assert not any(crowd(name).counts.values())


def test_a_thousand_use_all_the_room_there_is():
    assert max(crowd("thousand").fullest.values()) == 100


def test_of_a_thousand_each_application_gets_its_next_one_before_any_gets_the_one_after():
    """After those that found room at once: 60, in the order in which they came."""
    got = Counter[str]()
    for number, each in enumerate(crowd("thousand").admitted):
        got[each.application] += 1
        if number >= 60:
            least = min(got[f"app-{application:03}"] for application in range(200))
            assert got[each.application] - least <= 2, each.environment


def test_within_an_application_the_oldest_is_first():
    for application in ("app-000", "app-117"):
        asked = [each.since for each in crowd("thousand").admitted if each.application == application]
        assert asked == sorted(asked)


def test_the_docs_say_what_binds_at_which_number():
    assert crowds.table() in DOCS.read_text()


def test_the_docs_say_what_binds_at_which_number_a_day():
    assert crowds.rates() in DOCS.read_text()
