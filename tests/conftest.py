"""What tests of several kinds need: one browser a process, for Playwright's synchronous API can run once in it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium; where it is absent and cannot be installed, the tests are skipped and say why."""
    from playwright.sync_api import sync_playwright  # most runs never need it

    from tests.console.browser import launch

    with sync_playwright() as playwright:
        yield launch(playwright)
