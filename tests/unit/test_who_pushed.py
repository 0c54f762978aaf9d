"""Whoever is said to have pushed is shown as the history tells it."""

from datetime import UTC, datetime

import pytest

from mayfly import views
from mayfly.domain.records import Entry, Release
from mayfly.prices import list_prices


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("ada@example.com", "ada@example.com"),
        ("boss@example.com (says mayfly.app.web)", "boss@example.com (says mayfly.app.web)"),
    ],
)
def test_a_name_that_a_program_says_is_its_claim(who: str, shown: str) -> None:
    entry = Entry("2026-11-24T06:47:33.000Z", who, "Code Version Pushed", "by an event of mayfly.app.web")
    release = Release(id="web-1", pushed_by=who.partition(" ")[0], history=(entry,))
    assert views.release(release, {}, datetime(2026, 11, 24, 7, tzinfo=UTC), list_prices())["pushed_by"] == shown


def test_nobody_is_shown_where_nobody_said_it() -> None:
    release = Release(id="web-1", history=(Entry("2026-11-24T06:47:33.000Z", "mayfly.app.web", "x", "y"),))
    assert "pushed_by" not in views.release(release, {}, datetime(2026, 11, 24, 7, tzinfo=UTC), list_prices())
