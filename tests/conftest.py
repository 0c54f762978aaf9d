"""What tests of several kinds need."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Chromium; where it is absent and cannot be installed, the tests are skipped and say why. Playwright's synchronous
    API keeps an event loop running in its thread, which no other module may find there."""
    from playwright.sync_api import sync_playwright  # most runs never need it

    from tests.console.browser import launch

    with sync_playwright() as playwright:
        yield launch(playwright)
