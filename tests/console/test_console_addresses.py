"""Addresses: filters and dialogs are in them, Back does what one expects, and what leads nowhere says so."""

import re

import pytest
from playwright.sync_api import expect

from mayfly.contract.vocabulary import SweepAction


def test_filters_are_in_the_address_and_come_back_with_it(console, fake):
    page = console()
    page.get_by_label("Filter environments").fill("payments")
    page.get_by_label("Order").select_option("deadline")
    address = page.url
    assert address.endswith("/#/?text=payments&order=deadline")
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_label("Filter environments")).to_have_value("payments")
    expect(page.get_by_label("Order")).to_have_value("deadline")


def test_closing_what_lies_over_a_view_comes_back_to_its_filters(console, fake):
    page = console()
    page.get_by_label("Filter environments").fill("payments")
    page.locator(".row .name").first.click()
    expect(page.locator("#drawer")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_label("Filter environments")).to_have_value("payments")
    expect(page).to_have_url(re.compile(re.escape("/#/?text=payments") + "$"))


def test_back_closes_a_dialog_and_not_what_is_below(console, fake):
    one = next(one for one in fake.world.environments.values() if one["stage"] == "awaiting tests")
    page = console(f"environments/{one['id']}")
    for leave in (page.go_back, lambda: page.keyboard.press("Escape")):
        page.locator("#drawer").get_by_role("button", name="Extend…").click()
        expect(page.locator("#ask")).to_be_visible()
        leave()
        expect(page.locator("#ask")).to_be_hidden()
        expect(page.locator("#drawer")).to_be_visible()
        expect(page).to_have_url(re.compile(re.escape(f"/#/environments/{one['id']}") + "$"))


@pytest.mark.parametrize("address", ["releasess", "images/base", "environments2/x"])
def test_an_unknown_address_says_so_and_leads_on(console, fake, address):
    page = console(address)
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    page.get_by_role("link", name="To the live board").click()
    expect(page.locator(".row")).to_have_count(40)


def test_a_link_of_a_message_asks_for_one_thing_after_signing_in(console, fake):
    one = next(one for one in fake.world.environments.values() if one["stage"] == "awaiting tests")
    page = console(f"environments/{one['id']}?do=extend")
    expect(page.locator("#ask")).to_contain_text(f"Extend {one['id']}")
    assert not fake.asked, "a person confirms it"
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    page.wait_for_function("!history.state?.asked")  # it goes one step back, which would end a reload
    page.reload()
    expect(page.locator("#drawer")).to_be_visible()
    expect(page.locator("#ask")).to_be_hidden()


def test_a_link_that_approves_asks_first(console, fake):
    page = console("rollout/payments-production-12?do=approve")
    expect(page.locator("#ask")).to_contain_text("Approve the rollout")


def test_a_bake_has_a_page_with_its_log(console, fake):
    page = console("images")
    bake = fake.world.families[0]["bakes"][0]["id"]
    page.get_by_role("link", name=bake).first.click()
    expect(page.locator("#drawer")).to_contain_text(f"Bake {bake}")
    expect(page.get_by_label("Log")).to_contain_text("puppet:")
    expect(page).to_have_url(re.compile(re.escape(f"#/bake/{bake}") + "$"))


def test_two_releases_are_compared(console, fake):
    release, before = list(fake.world.releases)[:2]
    page = console(f"releases/{release}")
    page.get_by_label("Another release").select_option(before)
    expect(page.locator(".differences")).to_contain_text("m7g.large")
    page.locator(".differences summary", has_text="parameter").click()
    expect(page.get_by_role("region", name="Changed parameters")).to_contain_text("t3.small")


@pytest.mark.parametrize(("view", "path"), [("rollouts", "rollouts"), ("sweeps", "sweeps"), ("images", "images")])
def test_lists_reach_as_far_back_as_records_are_kept(console, fake, view, path):
    page = console(view)
    with page.expect_request(lambda one: f"/api/{path}?days=90" in one.url):
        page.get_by_label("Days").first.select_option("90")
    expect(page).to_have_url(re.compile(re.escape(f"/#/{view}?days=90") + "$"))


def test_what_the_columns_of_sweeps_mean_is_said(console, fake):
    page = console("sweeps")
    page.get_by_text("What the columns mean").click()
    assert set(page.locator(".legend dt").all_inner_texts()) == set(map(str, SweepAction))


def test_an_empty_board_says_what_to_do_next(console, fake):
    fake.world.environments.clear()
    page = console()
    page.locator(".empty").get_by_role("link", name="Deploy a version").click()
    expect(page.locator("form.deploy")).to_be_visible()
