"""What tests of several kinds need."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from local.forks import begin_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest_plugins = ["tests.whole"]

KINDS = (("unit",), ("images", "e2e", "local", "console"), ("integration", "model", "attacks", "conformance"))
"""pytest runs quick modules first. Then modules that wait for other processes take turns with modules that compute, so
that both cores have work."""
STORY = 20
"""As how many tests pytest counts a module of one or two: it tells a long story."""

# How long an example takes says how busy the machine is, and how large the first ones are is chance.
CHANCE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much)
settings.register_profile("untimed", deadline=None, suppress_health_check=CHANCE)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """The local clouds of a test run have their origins together, whichever worker starts them."""
    begin_run()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the test modules by their kinds, for pytest to run in that order; of a kind the longest first, so that no
    worker is left alone with one in the end."""
    folder = Path(__file__).parent
    tests = Counter(item.path for item in items)
    kind_of = {path: path.relative_to(folder).parts[0] for path in tests}
    place: dict[Path, tuple[bool, float]] = {}
    for kinds in KINDS:
        modules = sorted(
            (path for path, kind in kind_of.items() if kind in kinds),
            key=lambda path: (kinds.index(kind_of[path]), -(STORY if tests[path] <= 2 else tests[path])),
        )
        for number, module in enumerate(modules):
            place[module] = (kinds != KINDS[0], (number + 0.5) / len(modules))
    items.sort(key=lambda item: place.get(item.path, (True, 1)))


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Chromium; where it is absent and cannot be installed, the tests are skipped and say why. Playwright's synchronous
    API keeps an event loop running in its thread, which no other module may find there."""
    from playwright.sync_api import sync_playwright  # most runs never need it

    from tests.console.browser import launch

    with sync_playwright() as playwright:
        yield launch(playwright)
