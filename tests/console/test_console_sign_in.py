"""Signing in with PKCE, staying signed in, and what each role is offered."""

import pytest
from playwright.sync_api import expect


def test_who_is_not_signed_in_sees_nothing_but_the_way_in(console, fake):
    page = console("images", signed_in=False)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.locator("#top, #main").all_inner_texts()[0] == ""
    assert not fake.reads


def test_signing_in_uses_a_code_with_pkce_and_returns_to_where_one_was(console, fake):
    page = console("images")
    expect(page.get_by_role("link", name="Images")).to_have_attribute("aria-current", "page")
    expect(page).to_have_url(f"{fake.url}/#/images")
    (asked,) = fake.sign_ins
    assert asked["redirect_uri"] == f"{fake.url}/"
    assert asked["client_id"] == "console"
    assert len(asked["code_challenge"]) == 43
    assert page.evaluate("localStorage.length") == 0


def test_an_answer_to_a_sign_in_of_somebody_else_is_not_taken(console, fake):
    page = console(signed_in=False)
    page.goto(f"{fake.url}/?code=stolen&state=another")
    expect(page.get_by_role("alert")).to_contain_text("not to a sign-in of this tab")
    assert not fake.tokens


def test_the_sign_in_page_says_why_it_refused(console, fake):
    page = console(signed_in=False)
    page.goto(f"{fake.url}/?error=access_denied&error_description=The+user+is+disabled")
    expect(page.get_by_role("alert")).to_have_text("The user is disabled")


def test_a_token_is_renewed_before_it_ends(console, fake):
    fake.lasts = 30  # less than the console renews ahead
    page = console()
    expect(page.locator(".life").first).to_be_visible()
    assert len(fake.tokens) > 1
    assert len(fake.sign_ins) == 1


def test_a_token_that_is_refused_is_renewed_once(console, fake):
    page = console()
    expect(page.locator(".life").first).to_be_visible()
    fake.tokens.clear()
    page.get_by_role("link", name="Costs").click()
    expect(page.locator(".costs")).to_be_visible()
    assert len(fake.tokens) == 1


def test_a_sign_in_that_is_over_says_so_and_goes_on_where_one_was(console, fake):
    page = console()
    expect(page.locator(".life").first).to_be_visible()
    fake.tokens.clear()
    fake.fail("/oauth2/token", 400, "invalid_grant")
    page.get_by_role("link", name="Costs").click()
    expect(page.get_by_role("alert")).to_contain_text("Your sign-in is over")
    assert page.evaluate("sessionStorage.getItem('mayfly.tokens')") is None
    fake.mend()
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".costs")).to_be_visible()


def test_what_was_typed_when_a_sign_in_ends_is_there_and_sent_after_the_next(console, fake):
    one = next(one for one in fake.world.environments.values() if one["stage"] == "awaiting tests")
    page = console(f"environments/{one['id']}")
    page.locator("#drawer").get_by_role("button", name="End now…").click()
    page.locator("#ask").get_by_label("Why").fill("nobody needs it")
    fake.tokens.clear()
    fake.fail("/oauth2/token", 400, "invalid_grant")
    page.locator("#ask button[type=submit]").click()
    expect(page.locator("#ask").get_by_role("alert")).to_contain_text("Your sign-in is over")
    assert not fake.asked
    fake.mend()
    with page.context.expect_page():
        page.locator("#ask").get_by_role("button", name="Sign in").click()
    expect(page.locator("#ask").get_by_role("alert")).to_have_count(0)
    expect(page.locator("#ask").get_by_label("Why")).to_have_value("nobody needs it")
    page.locator("#ask button[type=submit]").click()
    expect(page.locator(".toast").last).to_contain_text("is being ended")
    assert fake.asked == [("POST", f"environments/{one['id']}/termination", {"why": "nobody needs it"})]


def test_one_sign_in_is_for_all_tabs_and_so_is_signing_out(console, fake):
    page = console()
    other = page.context.new_page()
    other.goto(f"{fake.url}/#/costs")
    expect(other.locator(".costs")).to_be_visible()
    assert len(fake.sign_ins) == 1
    page.locator("details.who summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("button", name="Sign in")).to_be_visible()


def test_signing_out_forgets_the_tokens(console, fake):
    page = console()
    page.locator("details.who summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_who_is_in_no_group_is_told_so(console, fake):
    page = console(role="none")
    expect(page.get_by_role("heading", name="You may not look at this")).to_be_visible()
    expect(page.locator("main")).to_contain_text("no group")


class TestAViewer:
    @pytest.mark.parametrize("route", ["", "images", "rollouts", "sweeps", "dead-letters", "costs"])
    def test_is_offered_no_change_anywhere(self, console, fake, route):
        page = console(route, role="viewer")
        expect(page.locator(".view:not(:has(.skeleton))")).to_be_visible()
        offered = page.get_by_role("button", name="…").or_(page.get_by_role("button", name="Dry run"))
        assert offered.all_inner_texts() == []
        expect(page.get_by_role("link", name="Deploy")).to_have_count(0)
        expect(page.locator(".switch")).to_have_attribute("title", "Only an operator may turn the kill switch.")

    def test_reads_who_may_change_an_environment(self, console, fake):
        page = console(f"environments/{next(iter(fake.world.environments))}", role="viewer")
        expect(page.locator("#drawer .note")).to_contain_text("for developers of webshop and for operators")
        expect(page.locator("#drawer .actions")).to_have_count(0)

    def test_cannot_turn_the_kill_switch(self, console, fake):
        page = console(role="viewer")
        page.locator(".switch").click(force=True)
        expect(page.locator("#ask")).to_be_hidden()


class TestAnOwner:
    def test_rolls_out_own_permanent_environments_only(self, console, fake):
        page = console("rollouts", role="owner")
        expect(page.locator(".card", has_text="payments")).to_be_visible()
        expect(page.locator(".card", has_text="webshop").first.get_by_role("button", name="Roll out")).to_be_visible()
        expect(page.locator(".card", has_text="payments").get_by_role("button", name="Roll out")).to_have_count(0)
        expect(page.get_by_role("button", name="Approve…")).to_have_count(0)
        page.goto(f"{fake.url}/#/rollout/payments-production-12")
        expect(page.locator("#drawer .note").first).to_contain_text("an owner or an operator")


class TestADeveloper:
    def test_changes_own_environments_only(self, console, fake):
        mine, others = (
            next(one["id"] for one in fake.world.environments.values() if one["application"] == name)
            for name in ("webshop", "payments")
        )
        page = console(f"environments/{mine}", role="developer")
        expect(page.locator("#drawer").get_by_role("button", name="End now…")).to_be_visible()
        page.goto(f"{fake.url}/#/environments/{others}")
        expect(page.locator("#drawer .note")).to_contain_text("developers of payments")

    def test_deploys_own_applications_only(self, console, fake):
        page = console("deploy", role="developer")
        expect(page.locator("form.deploy").get_by_label("Application").locator("option")).to_have_text(["webshop"])

    def test_moves_no_channel(self, console, fake):
        page = console("images", role="developer")
        expect(page.locator(".channel").first).to_be_visible()
        expect(page.get_by_role("button", name="Promote…")).to_have_count(0)
