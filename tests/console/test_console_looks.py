"""States that are no success, the keyboard, narrow screens, and contrast."""

import pytest
from playwright.sync_api import expect

ROUTES = ["", "images", "rollouts", "sweeps", "costs", "deploy", "ENVIRONMENT"]

FAINT_TEXTS = """() => {
  const parse = (text) => {
    const numbers = text.match(/[\\d.]+(e-?\\d+)?/g).map(Number);
    const rgb = numbers.slice(0, 3).map((n) => (text.startsWith("color(") ? n * 255 : n));
    return [...rgb, numbers[3] ?? 1];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((n, i) => n * a + below[i] * (1 - a));
  const light = (rgb) => rgb.map((n) => n / 255).map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4))
    .reduce((sum, n, i) => sum + n * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) {
      const style = getComputedStyle(one);
      if (style.backgroundImage !== "none") return null;  // judged by eye
      layers.push(parse(style.backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const top = document.querySelector("#drawer[open]") ?? document.body;
  const walker = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  const found = [];
  let looked = 0;
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (node.closest("[aria-disabled=true], :disabled, .unseen, .skip, option, noscript")) continue;
    const background = behind(node);
    if (!background) continue;
    const style = getComputedStyle(node);
    const [one, two] = [light(over(parse(style.color), background)), light(background)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    looked += 1;
    if (ratio >= needed) continue;
    found.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className}: ${text.data.trim().slice(0, 40)}`);
  }
  return [looked, [...new Set(found)]];
}"""


def opened(console, fake, route, **more):
    """The console at a route, with everything there that is going to be."""
    one = next(one["id"] for one in fake.world.environments.values() if one["stage"] == "awaiting tests")
    page = console(route.replace("ENVIRONMENT", f"environments/{one}"), **more)
    expect(page.locator(".skeleton")).to_have_count(0)
    return page


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
def test_every_text_has_enough_contrast(console, fake, route, scheme):
    if route == "rollouts":
        fake.world.kill_switch.update(on=True, why="to see the banner")
    page = opened(console, fake, route, color_scheme=scheme)
    looked, faint = page.evaluate(FAINT_TEXTS)
    assert looked > 15
    assert faint == []


def test_the_theme_can_be_chosen_and_is_kept(console, fake):
    page = console(color_scheme="light")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(paper)
    page.get_by_role("button", name="Theme: as the system").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(paper) != before
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
