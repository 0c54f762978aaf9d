"""States that are no success, the keyboard, narrow screens, and what bars people from using it."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

ROUTES = [
    "",
    "applications",
    "application",
    "application/webshop",
    "images",
    "rollouts",
    "sweeps",
    "dead-letters",
    "costs",
    "deploy",
    "blueprint",
]
ROUTES += ["ENVIRONMENT", "RELEASE", "ROLLOUT", "SWEEP", "dead-letter/dl-0000000000000001"]


def opened(console, fake, route, **more):
    """The console at a route, with everything there that is going to be."""
    one = next(one for one in fake.world.environments.values() if one["stage"] == "awaiting tests")
    named = {
        "ENVIRONMENT": f"environments/{one['id']}",
        "RELEASE": f"releases/{one['release']}",
        "ROLLOUT": "rollout/payments-production-12",
        "SWEEP": fake.world.sweeps[4]["key"].replace("sweeps/", "sweep/").removesuffix(".json"),
    }
    page = console(named.get(route, route), **more)
    expect(page.locator(".skeleton")).to_have_count(0)
    return page


def barriers(page):
    """What axe-core finds on a page that bars somebody from using it: by rule, with the elements. How many texts had
    enough contrast, so that it is known to have looked."""
    found = Axe().run(page, options={}).response
    wrong = [(one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]]) for one in found["violations"]]
    contrast = next((one for one in found["passes"] if one["id"] == "color-contrast"), {"nodes": []})
    return wrong, len(contrast["nodes"])


class TestStates:
    def test_loading_shows_the_shape_of_what_comes(self, console, fake):
        held = fake.hold("/api/environments")
        page = console()
        expect(page.get_by_role("status", name="Loading")).to_be_visible()
        held.set()
        expect(page.locator(".row")).to_have_count(40)
        expect(page.get_by_role("status", name="Loading")).to_have_count(0)

    def test_nothing_lives(self, console, fake):
        fake.world.environments.clear()
        expect(console().get_by_role("heading", name="Nothing lives right now")).to_be_visible()

    def test_what_cannot_be_shown_says_why_and_can_be_tried_again(self, console, fake):
        fake.fail("/api/images", 500, "the table is lost")
        page = console("images")
        expect(page.locator(".empty")).to_contain_text("the table is lost")
        fake.mend()
        page.get_by_role("button", name="Try now").click()
        expect(page.locator(".channel").first).to_be_visible()

    def test_what_was_seen_stays_while_the_api_is_away_and_tries_grow_rarer(self, frozen, fake):
        page = frozen()
        expect(page.locator(".row")).to_have_count(40)
        fake.fail("/api/", 503, "Service Unavailable")
        page.clock.run_for(6_000)
        expect(page.locator(".banner.stale")).to_contain_text("Service Unavailable")
        expect(page.locator(".banner.stale")).to_contain_text("What you see is of 2026-11-25")
        expect(page.locator(".row")).to_have_count(40)
        expect(page.locator("footer")).to_contain_text("next try in")
        reads = len(fake.reads)
        fake.mend()
        page.clock.run_for(4_000)
        assert len(fake.reads) == reads, "it waits longer than at first"
        page.get_by_role("button", name="Try now").click()
        expect(page.locator(".banner.stale")).to_have_count(0)

    def test_no_answer_at_all(self, console, fake):
        page = console()
        expect(page.locator(".row")).to_have_count(40)
        page.context.set_offline(True)
        page.get_by_role("link", name="Costs").click()
        expect(page.get_by_role("heading", name="No answer")).to_be_visible()

    def test_an_environment_that_there_is_not(self, console, fake):
        page = console("environments/webshop-never")
        expect(page.locator("#drawer")).to_contain_text("There is no such thing")
        page.get_by_role("button", name="Close").click()
        expect(page.locator(".row")).to_have_count(40)


def test_everything_can_be_done_by_keyboard(console, fake):
    page = console()
    expect(page.locator(".row")).to_have_count(40)
    one = next(
        one
        for one in fake.world.environments.values()
        if (one["stage"], one["kind"]) == ("awaiting tests", "automated")
    )

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.title || document.activeElement.textContent").strip() == name:
                assert page.evaluate("document.activeElement.matches(':focus-visible')")
                return
        raise AssertionError(f"no Tab leads to {name}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    page.keyboard.type(one["id"])
    expect(page.locator(".row")).to_have_count(1)
    tab_to(one["id"])
    page.keyboard.press("Enter")
    expect(page.locator("#drawer").get_by_role("button", name="End now…")).to_be_visible()
    tab_to("End now…")
    page.keyboard.press("Enter")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text(f"Ending {one['id']}")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    assert page.evaluate("document.activeElement.title") == one["id"], "the focus is back where it was"
    assert fake.asked == [("POST", f"environments/{one['id']}/termination", {"why": "by keyboard"})]


def test_a_refresh_leaves_the_focus_and_what_was_typed_alone(frozen):
    page = frozen("deploy")
    page.locator("form.deploy").get_by_label("Version").type("9.9")
    page.clock.run_for(31_000)
    page.keyboard.type(".9")
    expect(page.locator("form.deploy").get_by_label("Version")).to_have_value("9.9.9")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_is_wider_than_the_screen(console, fake, route, width):
    fake.world.kill_switch.update(on=True, why="olga@example.com at 2026-11-25T13:40:00Z: " + "x" * 200)
    page = opened(console, fake, route, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if page.locator("#drawer").is_visible():
        assert page.locator("#drawer").evaluate("node => node.scrollWidth <= node.clientWidth")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_bars_anybody(console, fake, route, scheme):
    if route == "rollouts":
        fake.world.kill_switch.update(on=True, why="to see the banner")
    wrong, texts = barriers(opened(console, fake, route, color_scheme=scheme))
    assert wrong == []
    assert texts > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nor_does_the_first_page_or_a_question(console, fake, scheme):
    page = console(signed_in=False, color_scheme=scheme)
    page.get_by_role("button", name="Sign in").wait_for()
    assert barriers(page)[0] == []
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Kill switch off").click()
    assert barriers(page)[0] == []
    page.locator("#ask").get_by_label("Why").fill("to see a message")
    page.locator("#ask button[type=submit]").click()
    page.locator(".toast").wait_for()
    assert barriers(page)[0] == []


def test_the_theme_can_be_chosen_and_is_kept(console, fake):
    page = console(color_scheme="light")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(paper)
    page.get_by_role("button", name="Theme: as the system").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(paper) != before
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
