"""One browser for all tests here, the fake API, and a page of somebody who is signed in."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browser import window
from tests.console.fake_api import Fake, serving
from tests.console.made_up import World

BEGIN = datetime(2026, 11, 25, 14, 5, tzinfo=UTC)
PATIENCE = 120_000
"""Milliseconds until what does not show is given up: other tests may be busy on the same machine."""

expect.set_options(timeout=PATIENCE)

type Open = Callable[..., Page]


@pytest.fixture
def fake() -> Iterator[Fake]:
    """An installation with forty environments, to whose console an operator is about to sign in."""
    with serving(Fake(World(BEGIN, environments=40))) as one:
        yield one


@pytest.fixture
def console(browser: Browser, fake: Fake) -> Iterator[Open]:
    """Opens the console, signed in, at a route. A script error or a breach of its policy fails the test."""
    complaints: list[str] = []

    with ExitStack() as opened:

        def open_at(route: str = "", role: str = "operator", signed_in: bool = True, **more: Any) -> Page:
            fake.role = role
            context = opened.enter_context(window(browser, **more))
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
            page.goto(f"{fake.url}/#/{route}")
            if signed_in:
                page.get_by_role("button", name="Sign in").click()
                page.get_by_role("navigation", name="Views").wait_for()
            return page

        yield open_at
        fake.mend()
        assert not complaints


@pytest.fixture
def frozen(console: Open) -> Open:
    """Opens the console where its time stands still, but for `page.clock.run_for`."""

    def open_at(route: str = "", **more: Any) -> Page:
        page = console(route, signed_in=False, **more)
        page.clock.install(time=BEGIN)
        page.get_by_role("button", name="Sign in").click()
        page.locator("footer", has_text="Updated").wait_for()
        page.clock.pause_at(BEGIN + timedelta(minutes=1))
        # The jump made a look due, and the page sets the next one when that one is over: on a clock that stands still,
        # who moves it before then moves nothing.
        expect(page.locator(".updated")).to_have_text("Updated just now")
        return page

    return open_at
