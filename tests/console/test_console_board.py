"""The live board: what it shows, how it moves, and that five hundred environments are no burden."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tests.console.conftest import BEGIN
from tests.console.made_up import World, text

COUNT_MUTATIONS = """() => {
  const seen = { nodes: 0, texts: 0, attributes: 0 };
  new MutationObserver((changes) => {
    for (const one of changes) {
      if (one.type === "childList") seen.nodes += one.addedNodes.length + one.removedNodes.length;
      if (one.type === "characterData") seen.texts += 1;
      if (one.type === "attributes") seen.attributes += 1;
    }
  }).observe(document.getElementById("main"),
    { subtree: true, childList: true, characterData: true, attributes: true });
  window.seen = seen;
}"""


def first(fake, **facts):
    """The first environment with these facts."""
    return next(one for one in fake.world.environments.values() if facts.items() <= one.items())


def row(page, environment):
    """An environment's row."""
    return page.locator(".row").filter(has=page.locator(f"a[title='{environment}']"))


def test_each_environment_has_its_row_under_its_release(console, fake):
    page = console()
    expect(page.locator(".row")).to_have_count(40)
    one = first(fake, stage="awaiting tests")
    shown = row(page, one["id"])
    for said in (one["suite"], "awaiting tests", "left", "t3.small", one["image"], "base/stable", "/h"):
        expect(shown).to_contain_text(said)
    group = page.locator(f"section[aria-label='Release {one['release']}']")
    expect(group.locator("header")).to_contain_text(f"{one['application']} {one['version']}")
    expect(group.locator("header")).to_contain_text(fake.world.releases[one["release"]]["pushed_by"])
    assert page.locator(".figure strong").first.inner_text() == "40"


def test_instances_that_are_still_missing_are_counted(console, fake):
    one = first(fake, stage="creating")
    one["instances_built"] = 17
    expect(row(console(), one["id"])).to_contain_text(f"17/{one['instance_count']}")


def test_a_life_moves_by_itself_every_second(frozen, fake):
    one = first(fake, stage="awaiting tests")
    one |= {
        "planned_at": text(BEGIN - timedelta(minutes=50)),
        "deadline": text(BEGIN + timedelta(minutes=9, seconds=30)),
    }
    page = frozen()
    left, sky = row(page, one["id"]).locator(".left"), row(page, one["id"]).locator(".sky")
    expect(left).to_contain_text("min left")
    page.clock.run_for(500)
    reads = len(fake.reads)
    seen = [(left.inner_text(), float(sky.evaluate("node => node.style.getPropertyValue('--at')")))]
    for _ in range(3):
        page.clock.run_for(1000)
        seen.append((left.inner_text(), float(sky.evaluate("node => node.style.getPropertyValue('--at')"))))
    assert len(fake.reads) == reads, "it moved without asking anybody"
    assert len({said for said, _ in seen}) == 4
    assert [at for _, at in seen] == sorted({at for _, at in seen})
    assert 60 < seen[-1][1] < 84


def test_what_outlives_its_deadline_cannot_be_missed(frozen, fake):
    one = first(fake, stage="awaiting tests")
    one |= {"deadline": text(BEGIN + timedelta(minutes=5))}
    page = frozen()
    life = row(page, one["id"]).locator(".life")
    expect(life).to_be_visible()
    before = page.locator(".figure", has_text="past deadline").locator("strong").inner_text()
    fake.world.advance(timedelta(minutes=5))
    page.clock.run_for(6_000)
    expect(life).to_have_class("life late")
    expect(life.locator(".left")).to_contain_text("past its deadline")
    expect(life.locator(".overdue")).to_be_visible()
    expect(page.locator(".figure", has_text="past deadline").locator("strong")).to_have_text(str(int(before) + 1))


def test_says_where_an_environment_stands_in_the_queue_and_for_what_it_waits(console, fake):
    one = first(fake, stage="creating")
    lacks = "the ceiling of environments of the application webshop: 1 needed, 0 free"
    queue = {"position": 3, "lacks": lacks, "behind": "", "about_minutes": 25}
    one |= {"stage": "queued", "tone": "warn", "queue": queue}
    said = row(console(), one["id"]).get_by_title(lacks)
    expect(said).to_have_text("number 3 in the queue, about 25 minutes")


def test_says_which_instances_were_not_launched_for_want_of_capacity(console, fake):
    one = first(fake, stage="creating")
    one |= {"not_launched": ["m5.large in us-east-1a", "Spot c5.large in us-east-1b"]}
    said = console(f"environments/{one['id']}").locator("#drawer .problem")
    expect(said).to_have_text("Not launched: m5.large in us-east-1a, Spot c5.large in us-east-1b. EC2 had no capacity.")


def test_says_what_is_running_low_while_somebody_waits_for_room(console, fake):
    reason = "the application webshop has US$ 8.20 of 10 for 2026-11-24"
    fake.low = [
        {"of": "application", "name": "webshop", "what": "usd", "period": "2026-11-24"}
        | {"used": 8.2, "most": 10, "percent": 82, "reason": reason}
    ]
    expect(console().get_by_text(f"Room is running low: {reason} (82 %)")).to_be_visible()


def test_filters_by_text_application_and_stage(console, fake):
    page = console()
    expect(page.locator(".row")).to_have_count(40)
    page.get_by_label("Filter environments").fill("payments explore")
    wanted = [
        one for one in fake.world.environments.values() if (one["application"], one["suite"]) == ("payments", "explore")
    ]
    expect(page.locator(".row")).to_have_count(len(wanted))
    expect(page.locator("output.shown")).to_have_text(f"{len(wanted)} of 40")
    page.get_by_label("Filter environments").fill("")
    page.get_by_label("Application").select_option("search")
    page.get_by_label("Stage").select_option("terminating")
    ending = [
        one
        for one in fake.world.environments.values()
        if (one["application"], one["stage"]) == ("search", "terminating")
    ]
    expect(page.locator(".row")).to_have_count(len(ending))
    page.get_by_label("Filter environments").fill("nothing has this name")
    expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()
    page.get_by_role("button", name="Clear the filter").click()
    expect(page.locator(".row")).to_have_count(40)


def test_orders_by_deadline(console, fake):
    page = console()
    page.get_by_label("Order").select_option("deadline")
    expect(page.locator(".release")).to_have_count(0)
    shown = page.locator(".row .name").evaluate_all("nodes => nodes.map((node) => node.title)")
    deadlines = [fake.world.environments[name]["deadline"] for name in shown]
    assert deadlines == sorted(deadlines)
    assert len(shown) == 40


def test_shows_what_has_ended_when_asked(console, fake):
    one = first(fake, stage="terminating")
    one |= {
        "stage": "terminated",
        "ended_at": text(BEGIN),
        "ending": {"by": "tests", "outcome": "failed", "reason": "no"},
    }
    page = console()
    expect(page.locator(".row")).to_have_count(39)
    page.get_by_label("Stage").select_option("ended")
    expect(page.locator(".row")).to_have_count(1)
    expect(row(page, one["id"])).to_contain_text("failed")
    expect(row(page, one["id"])).to_contain_text("lived")


def test_data_is_text_whatever_it_says(console, fake):
    evil = "<img src=x onerror='window.pwned = 1'><script>window.pwned = 1</script>"
    one = first(fake, stage="awaiting tests")
    one |= {
        "owner": evil,
        "version": evil,
        "image": evil,
        "region": evil,
        "outputs": {evil: "javascript:window.pwned=1"},
    }
    one |= {"links": {"stack": "javascript:window.pwned=1"}, "report": "javascript:window.pwned=1"}
    one["history"].append({"at": text(BEGIN), "who": evil, "what": evil, "why": evil})
    fake.world.releases[one["release"]] |= {"pushed_by": evil, "commit": evil}
    fake.world.kill_switch.update(on=True, why=evil)
    page = console()
    expect(page.locator(".banner.kill")).to_contain_text("<img src=x")
    row(page, one["id"]).locator(".name").click()
    expect(page.locator("#drawer .history")).to_contain_text("<script>")
    assert page.evaluate("window.pwned") is None
    assert page.locator("img, main script, #drawer script, a[href^='javascript']").count() == 0


class TestMoreEnvironmentsThanAPageHas:
    @pytest.fixture
    def fake(self, fake):
        fake.world, fake.page = World(BEGIN, environments=120), 50
        return fake

    def test_are_shown_as_far_as_somebody_wants(self, console, fake):
        page = console()
        expect(page.locator(".row")).to_have_count(50)
        page.get_by_role("button", name="Show more").click()
        expect(page.locator(".row")).to_have_count(100)
        page.get_by_role("button", name="Show more").click()
        expect(page.locator(".row")).to_have_count(120)
        expect(page.get_by_role("button", name="Show more")).to_have_count(0)

    def test_stay_when_the_first_page_is_looked_at_again(self, frozen, fake):
        page = frozen()
        page.get_by_role("button", name="Show more").click()
        expect(page.locator(".row")).to_have_count(100)
        gone = max(fake.world.environments.values(), key=lambda one: (one["planned_at"], one["id"]))["id"]
        del fake.world.environments[gone]
        page.clock.run_for(31_000)
        expect(row(page, gone)).to_have_count(0)
        expect(page.locator(".row")).to_have_count(100)

    def test_have_their_figures_from_the_sums(self, console, fake):
        page = console()
        expect(page.locator(".figure strong").first).to_have_text("120")
        expect(page.locator(".figure", has_text="await a verdict").locator("strong")).to_have_text("77")
        expect(page.locator("figure svg")).to_have_attribute("aria-label", re.compile("24 hours: 24, at most 1"))

    def test_are_filtered_by_the_api(self, console, fake):
        page = console()
        expect(page.locator(".row")).to_have_count(50)
        last = min(fake.world.environments.values(), key=lambda one: (one["planned_at"], one["id"]))
        page.get_by_role("searchbox").fill(last["id"])
        expect(page.locator(".row")).to_have_count(1)
        expect(row(page, last["id"])).to_be_visible()
        page.get_by_role("searchbox").fill("")
        expect(page.locator(".row")).to_have_count(50)

    def test_have_the_heads_of_their_releases_looked_at_less_often(self, frozen, fake):
        page = frozen()
        expect(page.locator(".row")).to_have_count(50)
        fake.reads.clear()
        for _ in range(5):
            with page.expect_response(re.compile("/api/environments")):
                page.clock.run_for(15_100)
            # What was answered is shown, and the next look is set: on a clock that stands still, not before.
            expect(page.locator(".updated")).to_have_text("Updated just now")
        assert fake.reads.count("environments") in (5, 6)
        assert fake.reads.count("releases") <= 2


class TestFiveHundredEnvironments:
    @pytest.fixture
    def fake(self, fake):
        fake.world = World(BEGIN, environments=500)
        return fake

    def test_the_first_load_transfers_less_than_200_kb_in_five_answers(self, console, fake):
        page = console(signed_in=False)
        received: list[int] = []
        page.on(
            "requestfinished",
            lambda one: received.append(sum(one.sizes()[part] for part in ("responseBodySize", "responseHeadersSize"))),
        )
        page.context.new_cdp_session(page).send("Network.clearBrowserCache")
        fake.served.clear()
        page.reload()
        page.get_by_role("button", name="Sign in").wait_for()
        assert sorted(set(fake.served) - {"/icon.svg"}) == ["/", "/config.json", "/console.css", "/console.js"]
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".row")).to_have_count(500)
        page.wait_for_load_state("networkidle")
        print(f"first load: {sum(received):,} bytes in {len(received)} answers, gzipped")  # noqa: T201
        assert sum(received) < 200_000

    def test_from_then_on_only_the_page_and_its_settings_are_asked_for(self, console, fake):
        page = console()
        expect(page.locator(".row")).to_have_count(500)
        fake.served.clear()
        page.reload()
        expect(page.locator(".row")).to_have_count(500)
        assert sorted(fake.served) == ["/", "/config.json"]

    def test_a_refresh_changes_only_what_has_changed(self, frozen, fake):
        page = frozen()
        expect(page.locator(".row")).to_have_count(500)
        one = first(fake, stage="creating")
        one["instances_built"] = 31
        gone = first(fake, stage="terminating")["id"]
        del fake.world.environments[gone]
        looks = []
        page.on("request", lambda one: looks.append(one.url) if one.url.endswith("/api/kill-switch") else None)
        page.evaluate(COUNT_MUTATIONS)
        page.clock.run_for(6_000)
        expect(page.locator(".row")).to_have_count(499)
        expect(row(page, one["id"])).to_contain_text("31/")
        seen = page.evaluate("window.seen")
        assert seen["nodes"] < 20, seen
        assert looks
        # Of each look, a row's time and a little more; what the first one found may be drawn after it.
        assert seen["texts"] < 600 * (len(looks) + 1), (seen, looks)

    def test_a_second_writes_only_what_is_to_be_seen(self, frozen, fake):
        page = frozen()
        expect(page.locator(".row")).to_have_count(500)
        page.evaluate(COUNT_MUTATIONS)
        page.clock.run_for(3_000)
        seen = page.evaluate("window.seen")
        assert 0 < seen["attributes"] < 3 * 500, seen
        assert seen["nodes"] < 3 * 100, seen
