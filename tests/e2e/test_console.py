"""The console in a real browser on the real deployment: signed in through the hosted page, everything by hand."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from local.cloud import LocalCloud
from local.install import configure_family
from local.users import PASSWORD
from mayfly.domain.identity import environment_id, release_id, stack_name
from tests.console.browser import window
from tests.e2e.driver import Driver, Json
from tests.e2e.gallery import Gallery, family_document
from tests.e2e.services import Service
from tests.e2e.test_office_hours_kept import over

PATIENT = 600_000
"""Milliseconds: behind each page are functions and state machines, on a machine that others keep busy."""

pytestmark = pytest.mark.usefixtures("no_images")

expect.set_options(timeout=PATIENT)


@pytest.fixture
def page(mayfly: Driver, browser: Browser) -> Iterator[Page]:
    """The console's first page, before anybody has signed in."""
    with window(browser) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENT)
        page.goto(f"{mayfly.cloud.console_url}/")
        yield page


@pytest.fixture(scope="module")
def desk(cloud: LocalCloud, heard: str, browser: Browser) -> Iterator[Page]:
    """The console as an operator has it open all day."""
    with window(browser) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENT)
        page.goto(f"{cloud.console_url}/")
        sign_in(page, "operator")
        yield page


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """What one test hands on to the next: making it takes longest."""
    return {}


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


def told(page: Page, text: str) -> None:
    """Waits until the newest message says this: what was asked for has had its effect."""
    expect(page.locator(".toast").last).to_contain_text(text)


def view(page: Page, name: str) -> None:
    """Goes to a view, and sees to it that it shows what the API says."""
    page.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()
    expect(page.locator(".view:not(:has(.skeleton))")).to_be_visible()
    expect(page.locator(".banner.stale")).to_have_count(0)


def row(page: Page, environment: str) -> Locator:
    """An environment's row on the board."""
    return page.locator(".row").filter(has=page.locator(f"a[title='{environment}']"))


def test_a_version_is_deployed_its_environment_extended_and_ended(mayfly: Driver, page: Page) -> None:
    application = mayfly.application(lifetime_minutes=60, ceiling_minutes=240)
    release = release_id(application, "1.4.2", 1)
    environment = environment_id(release, "smoke")
    sign_in(page, "operator")

    page.get_by_role("link", name="Deploy", exact=True).click()
    form = page.locator("form.deploy")
    form.get_by_label("Application").select_option(application)
    expect(form).to_contain_text("1 environment of 1 instance")
    form.get_by_label("Version").fill("1.4.2")
    form.get_by_label("Artifact").fill("s3://artifacts/1.4.2.tgz")
    form.get_by_role("button", name=f"Deploy {application}").click()
    expect(page.locator(".toast").last).to_contain_text(f"{application} 1.4.2 is being built.")
    page.keyboard.press("Escape")
    expect(row(page, environment).locator(".stage")).to_have_text("awaiting tests")
    deadline = mayfly.record(environment)["deadline"]

    row(page, environment).locator(".name").click()
    drawer = page.locator("#drawer")
    drawer.locator("summary").filter(has_text="1 instance when it became ready").click()
    drawer.get_by_role("link", name="what it prints").click()
    expect(drawer.locator("pre")).to_contain_text("Kernel command line")
    drawer.get_by_role("link", name=environment).click()
    drawer.get_by_role("button", name="Extend…").click()
    page.locator("#ask").get_by_text("1 h", exact=True).click()
    confirm(page, "one more look")
    expect(page.locator(".toast").last).to_contain_text("lives until")
    expect(drawer.locator(".history")).to_contain_text("one more look")
    assert mayfly.record(environment)["deadline"] > deadline

    drawer.get_by_role("button", name="End now…").click()
    expect(page.locator("#ask").get_by_role("heading")).to_have_text(f"End {environment}?")
    confirm(page, "seen enough")
    expect(drawer.locator(".history")).to_contain_text("terminated")
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
    expect(page.get_by_role("link", name="Deploy", exact=True)).to_have_count(0)
    mayfly.finish(environment)
    mayfly.end(environment)


def test_signing_out_ends_it(mayfly: Driver, page: Page) -> None:
    sign_in(page, "operator")
    page.locator("details.who summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_what_sleeps_by_its_office_hours_is_woken_by_a_message_s_link_and_stays_awake(
    mayfly: Driver, desk: Page
) -> None:
    hours = {"office_hours": over(mayfly.cloud.now())}
    application = mayfly.application(instances=2, blueprint="fleet.yaml", kind="manual", **hours)
    environment = mayfly.begin(application)
    page, drawer = f"{mayfly.cloud.console_url}/#/environments/{environment}", desk.locator("#drawer")
    mayfly.passes(310, "keep-office-hours")
    mayfly.announcement("Environment Asleep", environment)
    desk.goto(page)
    expect(drawer.locator(".lead .chip").first).to_have_text("asleep")
    expect(drawer).to_contain_text("no instance runs")
    mayfly.until(lambda: mayfly.instances_left(environment) == 0, "its instances are gone")

    desk.goto(f"{page}?do=wake")
    expect(desk.locator("#ask").get_by_role("heading")).to_have_text(f"Wake {environment}?")
    confirm(desk, "a demo")
    told(desk, f"{environment} wakes.")
    expect(drawer).to_contain_text("operator wants it awake until")
    mayfly.announcement("Environment Awake", environment)
    mayfly.until(lambda: mayfly.instances_left(environment) == 2, "it has as many as before")
    mayfly.passes(310, "keep-office-hours")  # its office hours are over still, and the override wins
    assert not mayfly.record(environment).get("asleep_since")
    expect(drawer.get_by_role("button", name="Sleep…")).to_be_visible()

    drawer.get_by_role("button", name="Sleep…").click()
    confirm(desk, "the demo is over")
    told(desk, f"{environment} sleeps.")
    expect(drawer.locator(".lead .chip").first).to_have_text("asleep")
    drawer.get_by_role("button", name="End now…").click()
    confirm(desk, "seen enough")
    expect(drawer.locator(".history")).to_contain_text("terminated")
    assert mayfly.nothing_is_left(environment)
    desk.keyboard.press("Escape")


def test_an_application_s_page_shows_its_configuration_and_who_wrote_it(mayfly: Driver, desk: Page) -> None:
    application = mayfly.application(lifetime_minutes=60, ceiling_minutes=240)
    desk.goto(f"{mayfly.cloud.console_url}/#/application/{application}")
    drawer = desk.locator("#drawer")
    expect(drawer.get_by_label("Lifetime minutes").first).to_have_value("60")
    expect(drawer.get_by_label("The document")).to_have_value(re.compile(r'"ceiling_minutes": 240'))
    desk.keyboard.press("Escape")


def test_a_channel_is_promoted_and_rolled_back(mayfly: Driver, desk: Page, names: Iterator[str]) -> None:
    gallery = Gallery(mayfly, f"line-of-{next(names)}")
    first, second = gallery.image(), gallery.image()
    view(desk, "Images")
    family = desk.get_by_role("region", name=f"Family {gallery.family}")
    card = family.locator(".channel").filter(has=desk.get_by_role("heading", name="candidate"))
    expect(card.locator(".points")).to_have_text("points to nothing yet")
    expect(family.get_by_role("row").filter(has_text=first)).to_contain_text("proven")

    for image, why in ((first, "the first one"), (second, "openssl")):
        card.get_by_role("button", name="Promote…").click()
        desk.locator("#ask").get_by_label("Image").select_option(image)
        confirm(desk, why)
        told(desk, f"{gallery.family}/candidate points to {image}.")
        expect(card.locator(".points")).to_have_text(image)
        assert gallery.heard("Image Promoted", image=image, channel="candidate")
        assert gallery.parameter() == image

    card.get_by_role("button", name="Roll back…").click()
    expect(desk.locator("#ask")).to_contain_text(f"It leaves {second} and points to {first} again.")
    confirm(desk, "it does not boot")
    told(desk, f"{gallery.family}/candidate points to {first}.")
    expect(card.locator(".points")).to_have_text(first)
    assert gallery.heard("Image Rolled Back", image=first, channel="candidate")
    assert gallery.parameter() == first

    card.get_by_text("lines of history").click()
    for why in ("the first one", "openssl", "it does not boot"):
        expect(card.locator(".history li").filter(has_text=why)).to_contain_text("operator")
    moves = [line["what"] for line in gallery.channel()["history"] if line["who"] == "operator"]
    assert moves == [f"promote to {first}", f"promote to {second}", f"roll back to {first}"]


def test_a_bake_is_asked_for_and_watched_to_its_end(mayfly: Driver, desk: Page, names: Iterator[str]) -> None:
    family = f"line-of-{next(names)}"
    checks = [{"name": "puppet converges", "command": "true"}]
    configure_family(mayfly.cloud, family, family_document("applied") | {"checks": checks})
    mayfly.cloud.fault("workload", bake=f"{family}-*", effect="slow", times=1)  # until the faults are cleared
    view(desk, "Images")
    shown = desk.get_by_role("region", name=f"Family {family}")
    shown.get_by_role("button", name="Bake…").click()
    confirm(desk, "a new kernel")
    told(desk, f"The bake {family}-")
    bake = shown.get_by_role("region", name="Bakes").get_by_role("row").filter(has_text="a new kernel")
    expect(bake).to_contain_text("operator")
    expect(bake.locator(".chip")).to_have_text("building")
    mayfly.cloud.clear_faults()
    expect(bake.locator(".chip")).to_have_text("proven")

    image = bake.locator("code").nth(1).inner_text()
    view(desk, "Costs")
    view(desk, "Images")  # at once, instead of in a while
    expect(shown.get_by_role("region", name="Images").get_by_role("row").filter(has_text=image)).to_contain_text(
        "1 check"
    )
    candidate = shown.locator(".channel").filter(has=desk.get_by_role("heading", name="candidate"))
    expect(candidate.locator(".points")).to_have_text(image)
    assert mayfly.cloud.workload_client("ec2").describe_images(ImageIds=[image])["Images"][0]["State"] == "available"


def test_a_rollout_is_approved_and_stepped_back(mayfly: Driver, desk: Page, kept: Json) -> None:
    service = kept["service"] = Service(mayfly)
    first = service.made()["to"]["image"]
    service.configure(when="approved")
    second = service.gets_image()

    view(desk, "Rollouts")
    card = desk.locator(".card").filter(has_text=service.application)
    for said in ("production", "steady", "1.0.0", first, "old", f"{service.id}-2"):
        expect(card).to_contain_text(said)
    waiting = desk.locator(".rollout").filter(has_text=service.id).first
    expect(waiting.locator(".chip")).to_have_text("awaiting approval")
    expect(waiting.locator(".change")).to_contain_text(second)
    assert service.runs() == {(first, "1")}

    waiting.get_by_role("button", name="Approve…").click()
    expect(desk.locator("#ask")).to_contain_text("checkpoints at 10 %, 50 %, 100 %")
    confirm(desk, "the release notes are read")
    told(desk, f"The rollout to {service.id} is ")
    expect(card.get_by_role("button", name="Step back…")).to_have_attribute("aria-disabled", "true")
    service.ended("Rollout Completed", 2)
    expect(waiting.locator(".chip")).to_have_text("completed")
    expect(waiting.locator(".mark.reached")).to_have_count(3)
    expect(card).to_contain_text(second)
    waiting.get_by_role("link").click()
    approved = desk.locator("#drawer .history li").filter(has_text="approved").first
    expect(approved).to_contain_text("operator")
    expect(approved).to_contain_text("the release notes are read")
    expect(desk.locator("#drawer .facts")).not_to_contain_text("not yet")
    desk.keyboard.press("Escape")
    assert service.runs() == {(second, "2")}
    lines = service.rollout(2)["history"]
    assert ("approved", "operator") in [(line["what"], line["who"]) for line in lines]

    card.get_by_role("button", name="Step back…").click()
    expect(desk.locator("#ask .change")).to_contain_text(first)
    confirm(desk, "baskets are slow")
    told(desk, f"{service.id}-3 has begun.")
    assert service.ended("Rollout Completed", 3)["cause"] == "step back"
    expect(card).to_contain_text(first)
    assert {image for image, _ in service.runs()} == {first}
    assert ("asked for previous", "operator") in [(line["what"], line["who"]) for line in service.record["history"]]


def test_a_dry_run_tells_what_it_would_do_and_why(mayfly: Driver, desk: Page, kept: Json) -> None:
    environment = kept["environment"] = mayfly.begin(mayfly.application(lifetime_minutes=60, ceiling_minutes=120))
    protect(mayfly, environment, True)
    arn = mayfly.execution(environment)["executionArn"]
    mayfly.cloud.client("stepfunctions").stop_execution(executionArn=arn)

    view(desk, "Sweeps")
    desk.get_by_role("button", name="Dry run").click()
    confirm(desk, "before the weekend")
    told(desk, "The dry run is done: 0 to end")
    latest = desk.get_by_role("region", name="Sweeps").locator("tbody tr").filter(has_text="dry run").first
    expect(latest).to_contain_text("operator")
    latest.get_by_role("link").click()
    decision = desk.locator("#drawer .decisions li").filter(has_text=environment)
    expect(decision.locator(".chip")).to_have_text("refuse")
    expect(decision).to_contain_text("its execution may not be listed yet")
    expect(decision).to_contain_text("termination protection is on")
    expect(desk.locator("#drawer .note")).to_contain_text("asked by operator, a dry run")
    permanent = desk.locator("#drawer .decisions li").filter(has_text=kept["service"].id)
    expect(permanent).to_contain_text("it is permanent: it has no deadline")
    desk.keyboard.press("Escape")
    assert mayfly.instances_left(environment) == 1
    assert "adopted" not in dict(mayfly.history(mayfly.record(environment)))


def protect(mayfly: Driver, environment: str, on: bool) -> None:
    """Has CloudFormation refuse to delete an environment's stack, or not any longer."""
    mayfly.cloud.workload_client("cloudformation").update_termination_protection(
        StackName=stack_name(environment), EnableTerminationProtection=on
    )


def test_while_the_kill_switch_is_on_nothing_ends_and_no_rollout_begins(mayfly: Driver, desk: Page, kept: Json) -> None:
    environment, service = kept["environment"], kept["service"].again(mayfly)
    desk.get_by_role("button", name="Kill switch off").click()
    confirm(desk, "the network is ill")
    told(desk, "The kill switch is on.")
    banner = desk.locator(".banner.kill")
    expect(banner).to_contain_text("operator at ")
    expect(banner).to_contain_text("the network is ill")

    protect(mayfly, environment, False)
    mayfly.cloud.advance(3600)
    service.passes("2.0.0")
    view(desk, "Live board")
    expect(row(desk, environment)).to_contain_text("past its deadline")
    view(desk, "Sweeps")
    desk.get_by_role("button", name="Sweep now…").click()
    confirm(desk, "is anything late?")
    told(desk, "The sweep is done")
    halted = desk.get_by_role("region", name="Sweeps").locator("tbody tr").filter(has_text="operator").first
    expect(halted).to_contain_text("the kill switch is on: operator at ")
    assert mayfly.instances_left(environment) == 1
    view(desk, "Rollouts")
    waiting = desk.locator(".rollout").filter(has_text="2.0.0")
    expect(waiting.locator(".chip")).to_have_text("awaiting kill switch")
    expect(waiting).to_contain_text("the network is ill")

    banner.get_by_role("button", name="Turn off…").click()
    confirm(desk, "the network is well")
    told(desk, "The kill switch is off.")
    expect(banner).to_have_count(0)
    service.look()
    expect(waiting.locator(".chip")).to_have_text("awaiting approval")
    mayfly.cloud.advance(600)  # the next sweep by schedule
    mayfly.until(lambda: mayfly.record(environment)["stage"] == "terminated", f"{environment} is gone")
    assert mayfly.nothing_is_left(environment)
