"""The console in a real browser on the real deployment: signed in through the hosted page, everything by hand."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from local.users import PASSWORD
from mayfly.domain.identity import environment_id, release_id
from tests.e2e.driver import Driver

PATIENT = 60_000
"""Milliseconds for what waits for a state machine."""


@pytest.fixture
def page(mayfly: Driver, browser: Browser) -> Iterator[Page]:
    """The console's first page, before anybody has signed in."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(f"{mayfly.cloud.console_url}/")
        yield page


def sign_in(page: Page, name: str) -> None:
    """Signs in on the hosted page."""
    page.get_by_role("button", name="Sign in").click()
    page.locator("#username").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation", name="Views").wait_for()


def confirm(page: Page, why: str) -> None:
    """Answers what is asked, and sends it."""
    page.locator("#ask").get_by_label("Why").fill(why)
    page.locator("#ask button[type=submit]").click()


def row(page: Page, environment: str) -> Locator:
    """An environment's row on the board."""
    return page.locator(".row").filter(has=page.locator(f"a[title='{environment}']"))


def test_a_version_is_deployed_its_environment_extended_and_ended(mayfly: Driver, page: Page) -> None:
    application = mayfly.application(lifetime_minutes=60, ceiling_minutes=240)
    release = release_id(application, "1.4.2", 1)
    environment = environment_id(release, "smoke")
    sign_in(page, "operator")

    page.get_by_role("link", name="Deploy").click()
    form = page.locator("form.deploy")
    form.get_by_label("Application").select_option(application)
    expect(form).to_contain_text("1 environment of 1 instance")
    form.get_by_label("Version").fill("1.4.2")
    form.get_by_label("Artifact").fill("s3://artifacts/1.4.2.tgz")
    form.get_by_role("button", name=f"Deploy {application}").click()
    expect(page.locator(".toast").last).to_contain_text(f"{application} 1.4.2 is being built.", timeout=PATIENT)
    page.keyboard.press("Escape")
    expect(row(page, environment).locator(".stage")).to_have_text("awaiting tests", timeout=PATIENT)
    deadline = mayfly.record(environment)["deadline"]

    row(page, environment).locator(".name").click()
    drawer = page.locator("#drawer")
    drawer.get_by_role("button", name="Extend…").click()
    page.locator("#ask").get_by_text("1 h", exact=True).click()
    confirm(page, "one more look")
    expect(page.locator(".toast").last).to_contain_text("lives until", timeout=PATIENT)
    expect(drawer.locator(".history")).to_contain_text("one more look")
    assert mayfly.record(environment)["deadline"] > deadline

    drawer.get_by_role("button", name="End now…").click()
    expect(page.locator("#ask").get_by_role("heading")).to_have_text(f"End {environment}?")
    confirm(page, "seen enough")
    expect(drawer.locator(".history")).to_contain_text("terminated", timeout=PATIENT)
    expect(drawer).to_contain_text("seen enough")
    mayfly.end(environment)
    assert mayfly.nothing_is_left(environment)

    assert mayfly.release(release)["pushed_by"] == "operator"
    said = {line["why"].rpartition(": ")[2]: line["who"] for line in mayfly.record(environment)["history"]}
    assert said["seen enough"] == "operator"


def test_a_viewer_sees_what_lives_and_is_offered_no_change(mayfly: Driver, page: Page) -> None:
    environment = mayfly.begin(mayfly.application())
    sign_in(page, "viewer")
    row(page, environment).locator(".name").click()
    expect(page.locator("#drawer .note")).to_contain_text("You may look at this environment")
    expect(page.get_by_role("link", name="Deploy")).to_have_count(0)
    mayfly.finish(environment)
    mayfly.end(environment)


@pytest.mark.parametrize("view", ["Images", "Rollouts", "Sweeps", "Costs"])
def test_every_view_shows_what_the_real_api_says(mayfly: Driver, page: Page, view: str) -> None:
    sign_in(page, "operator")
    page.get_by_role("link", name=view).click()
    expect(page.locator(".view:not(:has(.skeleton))")).to_be_visible()
    expect(page.locator(".banner.stale")).to_have_count(0)


def test_signing_out_ends_it(mayfly: Driver, page: Page) -> None:
    sign_in(page, "operator")
    page.locator("details.who summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
