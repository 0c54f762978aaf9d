"""What people change through the console: each asks, sends what the contract says, and is followed to its effect."""

import json
import re

import pytest
from playwright.sync_api import expect


def first(fake, **facts):
    """The first environment with these facts."""
    return next(one for one in fake.world.environments.values() if facts.items() <= one.items())


def drawer(page):
    """What lies over the page."""
    return page.locator("#drawer")


def toast(page):
    """The newest message."""
    return page.locator(".toast").last


class TestDeploying:
    def test_takes_a_version_and_one_click_and_follows_the_release(self, console, fake):
        page = console()
        expect(page.locator(".row")).to_have_count(40)
        page.get_by_role("link", name="Deploy").click()
        form = page.locator("form.deploy")
        form.get_by_label("Application").select_option("payments")
        for said in (
            "3 environments of 48 instances, t3.small",
            "smoke",
            "explore by hand",
            "1 d at most",
            "an hour",
            "team-payments",
        ):
            expect(form).to_contain_text(said.replace("1 d", "24 h"))
        form.get_by_label("Version").fill("9.9.9")
        expect(form.get_by_label("Artifact")).to_have_value("s3://artifacts-of-example/payments-9.9.9.tgz")
        form.get_by_role("button", name="Deploy payments").click()
        expect(toast(page)).to_contain_text("payments 9.9.9 is being built.")
        release = next(name for name, one in fake.world.releases.items() if one["version"] == "9.9.9")
        expect(page).to_have_url(re.compile(re.escape(f"#/releases/{release}") + "$"))
        expect(drawer(page)).to_contain_text(fake.who())
        page.keyboard.press("Escape")
        expect(page.locator(f"section[aria-label='Release {release}'] .row")).to_have_count(3)
        artifact = "s3://artifacts-of-example/payments-9.9.9.tgz"
        sent = {"application": "payments", "version": "9.9.9", "artifact": artifact}
        assert fake.asked == [("POST", "releases", sent)]

    def test_says_that_a_version_was_released_already_and_what_to_do(self, console, fake):
        last = next(one for one in fake.world.releases.values() if one["application"] == "webshop")
        page = console("deploy")
        form = page.locator("form.deploy")
        form.get_by_label("Application").select_option("webshop")
        form.get_by_label("Version").fill(last["version"])
        form.get_by_role("button", name="Deploy webshop").click()
        expect(form.get_by_role("alert")).to_contain_text("attempt 2 runs it again")
        form.get_by_text("Commit, another attempt").click()
        form.get_by_label("Attempt").fill("2")
        form.get_by_role("button", name="Deploy webshop").click()
        expect(drawer(page)).to_contain_text("attempt 2")
        assert fake.asked[-1][2]["attempt"] == 2

    def test_a_wrong_field_is_named_at_the_field(self, console, fake):
        wrong = {"field": "artifact", "value": "nowhere", "expected": "a location that exists"}
        page = console("deploy")
        form = page.locator("form.deploy")
        form.get_by_label("Version").fill("9.9.9")
        fake.fail("/api/releases", 422, "the release is wrong").body["fields"] = [wrong]
        form.get_by_role("button", name="Deploy").click()
        expect(form.locator("#field-artifact-problem")).to_have_text(
            "It is 'nowhere', but expected is a location that exists."
        )
        expect(form.get_by_label("Artifact")).to_have_attribute("aria-invalid", "true")

    def test_an_application_whose_configuration_is_wrong_cannot_be_deployed(self, console, fake):
        fake.world.applications[0]["problem"] = "suites.0.kind: expected automated or manual, but it is 'magic'"
        page = console("deploy")
        page.locator("form.deploy").get_by_label("Application").select_option("webshop")
        expect(page.locator("form.deploy").get_by_role("alert")).to_contain_text("but it is 'magic'")
        expect(page.get_by_role("button", name="Deploy webshop")).to_be_disabled()


class TestAConfiguration:
    def test_is_a_form_with_the_document_beside_it_and_who_changed_what(self, console, fake):
        page = console("applications")
        page.get_by_role("link", name="webshop", exact=True).click()
        expect(page).to_have_url(re.compile(re.escape("#/application/webshop") + "$"))
        expect(drawer(page).get_by_label("Owner", exact=True)).to_have_value("team-shop@example.com")
        expect(drawer(page).get_by_label("The document")).to_have_value(re.compile('"instance_count": 45,'))
        expect(drawer(page)).to_contain_text("as those of owner:<application> are")
        smoke = drawer(page).get_by_role("group", name="smoke", exact=True)
        expect(smoke.get_by_label("Kind of runner")).to_have_value("command")
        expect(smoke.get_by_label("Script")).to_have_value("/opt/shop/tests/smoke")
        versions = drawer(page).get_by_role("region", name="Versions")
        expect(versions).to_contain_text("version 2olga@example.com")
        expect(versions).to_contain_text("sam@example.com")
        versions.get_by_text(re.compile("changes$")).click()
        expect(versions).to_contain_text("suites.0.runner.script /opt/shop/tests/smoke")
        expect(drawer(page).get_by_role("button", name="Apply…")).to_have_attribute(
            "aria-description", "Nothing is changed."
        )

    def test_is_changed_in_the_form_or_in_the_document_and_each_follows_the_other(self, console, fake):
        page = console("application/webshop")
        document = drawer(page).get_by_label("The document")
        drawer(page).get_by_label("Instance count").first.fill("12")
        drawer(page).get_by_label("Warn minutes before").press_sequentially("60, 15")
        drawer(page).get_by_label("Parameters").first.fill("InstanceType=m7g.large\n")
        drawer(page).get_by_label("Parameters").first.press_sequentially("Environment = a=b")
        drawer(page).get_by_role("group", name="explore", exact=True).get_by_label("Kind", exact=True).select_option(
            "manual"
        )
        expect(document).to_have_value(re.compile('"kind": "manual"'))
        found = json.loads(document.input_value())
        assert (found["instance_count"], found["warn_minutes_before"]) == (12, [60, 15])
        assert found["parameters"] == {"InstanceType": "m7g.large", "Environment": "a=b"}
        assert found["suites"][1] == {"name": "explore", "kind": "manual"}
        found["suites"].append({"name": "load", "runner": "external"})
        document.fill(json.dumps(found))
        expect(drawer(page).get_by_role("group", name="load", exact=True).get_by_label("Kind of runner")).to_have_value(
            "external"
        )
        document.fill("{")
        expect(drawer(page)).to_contain_text("What stands beside is no JSON.")
        expect(drawer(page).get_by_role("button", name="Apply…")).to_have_attribute("aria-disabled", "true")
        assert fake.asked == []

    def test_is_applied_with_a_reason_after_what_changes_was_shown(self, console, fake):
        page = console("application/webshop")
        smoke = drawer(page).get_by_role("group", name="smoke", exact=True)
        smoke.get_by_label("Retries").fill("2")
        smoke.get_by_label("Script").fill("/opt/shop/tests/smoke --all")
        drawer(page).get_by_role("button", name="Apply…").click()
        asked = page.locator("#ask")
        expect(asked).to_contain_text("suites.0.retries 2")
        expect(asked).to_contain_text("suites.0.runner.script /opt/shop/tests/smoke /opt/shop/tests/smoke --all")
        asked.get_by_label("Why").fill("a race in the cart")
        asked.get_by_role("button", name="Apply").click()
        expect(toast(page)).to_contain_text("webshop is configured: version 3.")
        expect(drawer(page).get_by_role("region", name="Versions")).to_contain_text("a race in the cart")
        ((method, path, body),) = fake.asked
        assert (method, path, body["made_from"]) == ("PUT", "applications/webshop/configuration", 2)
        assert body["document"]["suites"][0]["retries"] == 2

    def test_that_is_wrong_says_so_where_it_is_asked_and_stays(self, console, fake):
        page = console("application/webshop")
        drawer(page).get_by_label("Retries").first.fill("9")
        drawer(page).get_by_role("button", name="Apply…").click()
        page.locator("#ask").get_by_label("Why").fill("often")
        page.locator("#ask").get_by_role("button", name="Apply").click()
        expect(page.locator("#ask").get_by_role("alert")).to_contain_text(
            "suites.0.retries: Input should be less than or equal to 3"
        )
        page.locator("#ask").get_by_role("button", name="Cancel").click()
        expect(drawer(page).get_by_label("Retries").first).to_have_value("9")

    def test_of_a_new_application_is_begun_with_its_name(self, console, fake):
        page = console("applications")
        page.get_by_role("link", name="Configure a new one").click()
        for label, value in (("Name", "shop"), ("Owner", "team@example.com"), ("Blueprint", "single.yaml")):
            drawer(page).get_by_label(label, exact=True).first.fill(value)
        drawer(page).get_by_role("button", name="Add to suites").click()
        drawer(page).get_by_role("group", name="1", exact=True).get_by_label("Name").fill("smoke")
        drawer(page).get_by_role("button", name="Apply…").click()
        page.locator("#ask").get_by_label("Why").fill("the first")
        page.locator("#ask").get_by_role("button", name="Apply").click()
        expect(toast(page)).to_contain_text("shop is configured: version 1.")
        document = {"owner": "team@example.com", "blueprint": "single.yaml", "suites": [{"name": "smoke"}]}
        assert fake.asked == [
            (
                "PUT",
                "applications/shop/configuration",
                {"document": document, "made_from": 0, "why": "the first"},
            )
        ]

    def test_that_somebody_else_has_changed_meanwhile_is_not_lost(self, console, fake):
        page = console("application/webshop")
        drawer(page).get_by_label("Owner", exact=True).fill("team-cart@example.com")
        expect(drawer(page).get_by_label("The document")).to_have_value(re.compile("team-cart"))
        versions = fake.world.configurations["webshop"]
        versions.insert(0, versions[0] | {"version": 3, "by": "sam@example.com"})
        drawer(page).get_by_role("button", name="Apply…").click()
        page.locator("#ask").get_by_label("Why").fill("another team")
        page.locator("#ask").get_by_role("button", name="Apply").click()
        expect(page.locator("#ask").get_by_role("alert")).to_contain_text("made_from: expected 3")

    def test_goes_back_to_an_earlier_one_and_is_removed(self, console, fake):
        page = console("application/webshop")
        drawer(page).get_by_role("button", name="Take this one").click()
        expect(drawer(page).get_by_label("The document")).not_to_have_value(re.compile("explore"))
        drawer(page).get_by_role("button", name="Begin anew").click()
        drawer(page).get_by_role("button", name="Remove…").click()
        page.locator("#ask").get_by_label("Why").fill("sold")
        page.locator("#ask").get_by_role("button", name="Remove webshop").click()
        expect(toast(page)).to_contain_text("webshop is removed.")
        assert fake.asked[-1][2]["document"] is None

    def test_is_looked_at_by_all_and_changed_by_operators(self, console, fake):
        page = console("application/webshop", role="viewer")
        drawer(page).get_by_label("Owner", exact=True).fill("me@example.com")
        expect(drawer(page).get_by_role("button", name="Apply…")).to_have_attribute("aria-disabled", "true")


class TestABlueprint:
    TEMPLATE = "Resources:\n  Jobs:\n    Type: AWS::SQS::Queue\n    Properties: {QueueName: jobs}\n"

    def test_is_checked_from_a_file_and_each_finding_has_its_line(self, console, fake):
        page = console("deploy", role="developer")
        page.get_by_role("link", name="Check a blueprint").click()
        file = {"name": "jobs.yaml", "mimeType": "text/yaml", "buffer": self.TEMPLATE.encode()}
        drawer(page).get_by_label("Template", exact=True).set_input_files(file)
        expect(drawer(page)).to_contain_text("jobs.yaml is read; nothing is uploaded or kept")
        drawer(page).get_by_role("button", name="Check").click()
        result = drawer(page).get_by_role("region", name="Result")
        expect(result.get_by_role("status")).to_contain_text(
            "1 error: an environment of it could not be built or ended"
        )
        first = result.get_by_role("region", name="Findings").locator("tbody tr").first
        expect(first.locator("td").nth(0)).to_have_text("error")
        expect(first.locator("td").nth(1)).to_have_text("4")
        expect(first).to_contain_text("QueueName is the same in each environment")
        expect(result.get_by_role("region", name="One environment takes")).to_contain_text("CloudFormation stacks")
        assert fake.asked == [("POST", "blueprints/check", {"template": self.TEMPLATE})]

    def test_that_an_application_names_is_checked_as_it_is(self, console, fake):
        page = console("blueprint")
        drawer(page).get_by_label("Application").select_option("webshop")
        drawer(page).get_by_role("button", name="Check the blueprint of webshop").click()
        expect(drawer(page).get_by_role("region", name="Result").get_by_role("status")).to_contain_text("fleet.yaml: ")
        drawer(page).get_by_text("Paste it instead").click()
        drawer(page).get_by_label("Template, as text").fill("no template")
        expect(drawer(page).get_by_role("region", name="Result")).to_have_count(0)
        drawer(page).get_by_role("button", name="Check").click()
        expect(drawer(page)).to_contain_text("expected a CloudFormation template with Resources")
        assert [body for _, _, body in fake.asked] == [
            {"application": "webshop"},
            {"application": "webshop", "template": "no template"},
        ]

    def test_is_checked_for_no_viewer(self, console, fake):
        page = console("blueprint", role="viewer")
        drawer(page).get_by_label("Application").select_option("webshop")
        drawer(page).get_by_role("button", name="Check the blueprint").click()
        expect(drawer(page).get_by_role("alert")).to_contain_text("only members of")


class TestAnEnvironment:
    def test_shows_its_history_outputs_and_links(self, console, fake):
        one = first(fake, stage="awaiting tests")
        one["history"][0]["why"] = "2026-12-01T06:03:59.599Z"
        page = console(f"environments/{one['id']}")
        expect(drawer(page).locator(".history li")).to_have_count(len(one["history"]))
        expect(drawer(page).locator(".history li").last).to_contain_text("2026-12-01T06:03:59Z")
        for said in ("instances run and have signalled", "VpcId", "vpc-0a1b2c3d4e5f60718", one["owner"], "stack"):
            expect(drawer(page)).to_contain_text(said)

    def test_shows_what_its_instances_print(self, console, fake):
        one = first(fake, stage="awaiting tests")
        page = console(f"environments/{one['id']}")
        drawer(page).locator("summary").filter(has_text="when it became ready").click()
        instance = one["instances"][1]["id"]
        drawer(page).locator(".ids li").filter(has_text=instance).get_by_role("link", name="what it prints").click()
        expect(drawer(page).get_by_role("heading", name=f"Console of {instance}")).to_be_visible()
        expect(drawer(page).locator("pre")).to_have_text(f"{instance} login:")
        drawer(page).get_by_role("link", name=one["id"]).click()
        expect(drawer(page).get_by_role("heading", name=one["id"], exact=True)).to_be_visible()

    def test_is_extended_and_shows_the_new_deadline_before(self, console, fake):
        one = first(fake, stage="awaiting tests")
        one["deadline"], one["ceiling"] = "2026-11-25T18:00:00Z", "2026-11-27T18:00:00Z"
        page = console(f"environments/{one['id']}")
        drawer(page).get_by_role("button", name="Extend…").click()
        ask = page.locator("#ask")
        expect(ask).to_contain_text("may live until 27 Nov 18:00 UTC, its ceiling")
        ask.get_by_text("4 h", exact=True).click()
        expect(ask).to_contain_text("New deadline: 22:00 UTC")
        ask.get_by_text("up to its ceiling").click()
        expect(ask).to_contain_text("New deadline: 27 Nov 18:00 UTC, its ceiling")
        ask.get_by_text("4 h", exact=True).click()
        ask.get_by_label("Why").fill("one more look")
        ask.get_by_role("button", name="Extend").click()
        expect(toast(page)).to_contain_text("lives until 22:00 UTC")
        expect(drawer(page).locator(".facts").first).to_contain_text("2026-11-25 22:00:00 UTC")
        expect(drawer(page).locator(".history")).to_contain_text("one more look")
        assert fake.asked == [("POST", f"environments/{one['id']}/extension", {"minutes": 240, "why": "one more look"})]

    def test_is_not_extended_without_a_reason(self, console, fake):
        page = console(f"environments/{first(fake, stage='awaiting tests')['id']}")
        drawer(page).get_by_role("button", name="Extend…").click()
        page.locator("#ask").get_by_role("button", name="Extend").click()
        expect(page.locator("#ask")).to_be_visible()
        assert fake.asked == []

    def test_is_ended_after_it_was_named_with_what_is_lost(self, console, fake):
        one = first(fake, stage="awaiting tests", kind="automated")
        page = console(f"environments/{one['id']}")
        drawer(page).get_by_role("button", name="End now…").click()
        ask = page.locator("#ask")
        expect(ask.get_by_role("heading")).to_have_text(f"End {one['id']}?")
        expect(ask).to_contain_text(
            f"{one['instance_count']} instances, the stack and all data in them are deleted for good"
        )
        ask.get_by_role("button", name="Cancel").click()
        assert fake.asked == []
        drawer(page).get_by_role("button", name="End now…").click()
        ask.get_by_label("Why").fill("not needed")
        ask.get_by_role("button", name=f"End {one['suite']}").click()
        expect(toast(page)).to_contain_text(f"{one['id']} is being ended.")
        expect(drawer(page)).to_contain_text("Ended by request: olga@example.com: not needed")
        expect(drawer(page).get_by_role("button", name="End now…")).to_have_attribute("aria-disabled", "true")
        assert fake.asked == [("POST", f"environments/{one['id']}/termination", {"why": "not needed"})]

    @pytest.mark.parametrize("outcome", ["passed", "failed"])
    def test_of_a_manual_suite_gets_its_verdict_from_a_person(self, console, fake, outcome):
        one = first(fake, stage="awaiting tests", kind="manual")
        page = console(f"environments/{one['id']}")
        drawer(page).get_by_role("button", name=f"Tests {outcome}").click()
        page.locator("#ask").locator("[name=reason]").fill("looked at everything")
        page.locator("#ask").get_by_role("button", name=f"Report {outcome}").click()
        expect(toast(page)).to_contain_text(f"{outcome}.")
        sent = {"outcome": outcome, "reason": "looked at everything"}
        assert fake.asked == [("POST", f"environments/{one['id']}/result", sent)]

    def test_of_an_automated_suite_waits_for_no_person(self, console, fake):
        page = console(f"environments/{first(fake, stage='awaiting tests', kind='automated')['id']}")
        expect(drawer(page).get_by_role("button", name="End now…")).to_be_visible()
        expect(drawer(page).get_by_role("button", name=re.compile("^Tests"))).to_have_count(0)

    def test_a_refusal_stays_in_the_question(self, console, fake):
        page = console(f"environments/{first(fake, stage='awaiting tests')['id']}")
        drawer(page).get_by_role("button", name="End now…").click()
        fake.fail("/api/environments", 403, "only developers of webshop may end this")
        page.locator("#ask").get_by_label("Why").fill("not needed")
        page.locator("#ask button[type=submit]").click()
        expect(page.locator("#ask").get_by_role("alert")).to_have_text("only developers of webshop may end this")
        expect(page.locator("#ask").get_by_label("Why")).to_have_value("not needed")


class TestImages:
    def test_shows_where_channels_point_and_how_far_that_has_got(self, console, fake):
        page = console("images")
        stable = page.locator(".channel", has_text="stable")
        expect(stable).to_contain_text("ami-0b2c4d6e8f0a1b2c3")
        expect(stable).to_contain_text("189 of 1605 instances on older images for 5 h 24 min")
        expect(page.locator("table").first).to_contain_text("the proof failed: service port")

    def test_an_operator_promotes_an_image(self, console, fake):
        page = console("images")
        page.locator(".channel", has_text="stable").get_by_role("button", name="Promote…").click()
        options = page.locator("#ask select option").evaluate_all("nodes => nodes.map((node) => node.value)")
        assert "ami-0f1e2d3c4b5a69788" not in options, "a rejected image"
        page.locator("#ask").get_by_label("Image").select_option("ami-0c9e8d7f6a5b4c3d2")
        page.locator("#ask").get_by_label("Why").fill("openssl")
        page.locator("#ask").get_by_role("button", name="Promote").click()
        expect(toast(page)).to_contain_text("base/stable points to ami-0c9e8d7f6a5b4c3d2.")
        expect(page.locator(".channel", has_text="stable").locator(".points")).to_have_text("ami-0c9e8d7f6a5b4c3d2")
        sent = {"image": "ami-0c9e8d7f6a5b4c3d2", "why": "openssl"}
        assert fake.asked == [("POST", "channels/base/stable/promotion", sent)]

    def test_what_a_promotion_would_change_stands_beside_it(self, console, fake):
        page = console("images")
        page.locator(".channel", has_text="stable").get_by_role("button", name="Promote…").click()
        asked = page.locator("#ask")
        asked.get_by_label("Image").select_option("ami-0c9e8d7f6a5b4c3d2")
        expect(asked.get_by_text("2 packages differ")).to_be_visible()
        row = asked.get_by_role("row", name="openssl-libs:x86_64")
        expect(row).to_contain_text("3.0.8-1.amzn2023.0.14")
        asked.get_by_label("Image").select_option("ami-0a1b2c3d4e5f60718")
        expect(asked).to_contain_text("nothing is recorded of what ami-0a1b2c3d4e5f60718 consists of")

    def test_a_rollback_names_the_image_to_get_away_from(self, console, fake):
        page = console("images")
        page.locator(".channel", has_text="stable").get_by_role("button", name="Roll back…").click()
        expect(page.locator("#ask")).to_contain_text("points to ami-0a1b2c3d4e5f60718 again")
        page.locator("#ask").get_by_label("Why").fill("it does not boot")
        page.locator("#ask").get_by_role("button", name="Roll back").click()
        expect(toast(page)).to_contain_text("base/stable points to ami-0a1b2c3d4e5f60718.")
        sent = {"image": "ami-0b2c4d6e8f0a1b2c3", "why": "it does not boot"}
        assert fake.asked == [("POST", "channels/base/stable/rollback", sent)]

    def test_a_bake_is_asked_for_and_found(self, console, fake):
        page = console("images")
        page.get_by_role("button", name="Bake…").click()
        page.locator("#ask").get_by_label("Why").fill("new kernel")
        page.locator("#ask").get_by_role("button", name="Bake").click()
        expect(toast(page)).to_contain_text("is requested.")
        assert fake.asked == [("POST", "bakes", {"family": "base", "why": "new kernel"})]


def test_an_environment_that_people_test_sleeps_and_is_woken(console, fake):
    one = first(fake, stage="awaiting tests", kind="manual")["id"]
    page = console(f"environments/{one}")
    drawer(page).get_by_role("button", name="Sleep…").click()
    expect(page.locator("#ask")).to_contain_text("Its instances end")
    page.locator("#ask").get_by_label("Why").fill("it is Friday")
    page.locator("#ask").get_by_role("button", name="Sleep").click()
    expect(toast(page)).to_contain_text("sleeps.")
    expect(drawer(page)).to_contain_text("no instance runs")
    expect(drawer(page)).to_contain_text("wants it asleep until")
    expect(drawer(page).locator(".lead .chip")).to_have_text("asleep")
    drawer(page).get_by_role("button", name="Wake…").click()
    page.locator("#ask").get_by_label("Why").fill("a demo")
    page.locator("#ask").get_by_role("button", name="Wake").click()
    expect(toast(page)).to_contain_text("wakes.")
    expect(drawer(page).get_by_role("button", name="Sleep…")).to_be_visible()
    assert fake.asked == [
        ("POST", f"environments/{one}/sleep", {"minutes": 720, "why": "it is Friday"}),
        ("POST", f"environments/{one}/waking", {"minutes": 480, "why": "a demo"}),
    ]


def test_what_tests_itself_or_is_production_does_not_sleep(console, fake):
    page = console(f"environments/{first(fake, stage='awaiting tests', kind='automated')['id']}")
    expect(drawer(page).get_by_role("button", name="Extend…")).to_be_visible()
    expect(drawer(page).get_by_role("button", name="Sleep…")).to_have_count(0)
    page.goto(f"{fake.url}/#/rollouts")
    staging = page.locator(".card", has_text="staging")
    expect(staging.get_by_role("button", name="Sleep…")).to_be_visible()
    expect(page.get_by_role("button", name="Sleep…")).to_have_count(1)
    staging.get_by_role("button", name="Sleep…").click()
    page.locator("#ask").get_by_label("Why").fill("nobody tests")
    page.locator("#ask").get_by_role("button", name="Sleep").click()
    expect(staging).to_contain_text("no instance runs")


def test_a_rollout_is_approved(console, fake):
    page = console("rollouts")
    waiting = page.locator(".rollout", has_text="awaiting approval")
    expect(waiting).to_contain_text("2.14.3")
    expect(page.locator(".card", has_text="staging")).to_contain_text("1 difference from what it should be")
    waiting.get_by_role("button", name="Approve…").click()
    expect(page.locator("#ask")).to_contain_text("checkpoints at 10 %, 50 %, 100 %")
    page.locator("#ask").get_by_label("Why").fill("release notes read")
    page.locator("#ask").get_by_role("button", name="Approve").click()
    expect(toast(page)).to_contain_text("is running.")
    assert fake.asked == [("POST", "rollouts/payments-production-12/approval", {"why": "release notes read"})]


def test_a_rollout_is_paused_and_let_go_on(console, fake):
    rollout = "webshop-production-31"
    page = console(f"rollout/{rollout}")
    drawer(page).get_by_role("button", name="Pause…").click()
    expect(page.locator("#ask")).to_contain_text("stops at its next checkpoint")
    page.locator("#ask").get_by_label("Why").fill("to look at it")
    page.locator("#ask").get_by_role("button", name="Pause").click()
    expect(toast(page)).to_contain_text("pauses.")
    expect(drawer(page)).to_contain_text("It stands still; no alarm is watched until it goes on.")
    drawer(page).get_by_role("button", name="Let it go on…").click()
    page.locator("#ask").get_by_label("Why").fill("it looks well")
    page.locator("#ask").get_by_role("button", name="Go on").click()
    expect(toast(page)).to_contain_text("goes on.")
    expect(drawer(page).get_by_role("button", name="Pause…")).to_be_visible()
    assert fake.asked == [
        ("POST", f"rollouts/{rollout}/pause", {"why": "to look at it"}),
        ("POST", f"rollouts/{rollout}/resumption", {"why": "it looks well"}),
    ]


@pytest.mark.parametrize(
    ("name", "to", "said"), [("Step back", "previous", "exactly what it had before"), ("Roll out", "latest", "wanted")]
)
def test_a_permanent_environment_is_rolled_out_by_hand(console, fake, name, to, said):
    page = console("rollouts")
    card = page.locator(".card", has_text="payments")
    expect(page.locator(".card", has_text="webshop-production-31").get_by_role("button", name=name)).to_have_attribute(
        "aria-disabled", "true"
    )
    card.get_by_role("button", name=name).click()
    expect(page.locator("#ask")).to_contain_text(said)
    page.locator("#ask").get_by_label("Why").fill("baskets are slow")
    page.locator("#ask").get_by_role("button", name=name).click()
    expect(toast(page)).to_contain_text("payments-production-13 has begun.")
    assert fake.asked == [("POST", "services/payments-production/rollout", {"to": to, "why": "baskets are slow"})]


def test_a_dry_run_is_asked_for_and_its_report_read(console, fake):
    page = console("sweeps")
    page.get_by_role("button", name="Dry run").click()
    page.locator("#ask").get_by_label("Why").fill("to see")
    page.locator("#ask").get_by_role("button", name="Dry run").click()
    expect(toast(page)).to_contain_text("The dry run is done: 0 to end, 40 to keep.")
    assert fake.asked == [("POST", "sweeps", {"dry_run": True, "why": "to see"})]
    page.locator("tbody a").first.click()
    expect(page.locator("#drawer-title")).to_have_text(re.compile(r"^Sweep \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$"))
    expect(drawer(page).locator(".decisions li")).to_have_count(40)
    drawer(page).get_by_label("Filter decisions").fill("webshop")
    webshop = [name for name in fake.world.environments if name.startswith("webshop")]
    expect(drawer(page).locator(".decisions li")).to_have_count(len(webshop))


def test_dead_letters_of_one_reason_are_redriven_together(console, fake):
    page = console("dead-letters")
    row = page.locator("tbody tr", has_text="expected one that is configured").first
    expect(row).to_contain_text("4")
    row.get_by_role("button", name="Redrive…").click()
    expect(page.locator("#ask")).to_contain_text("4 dead letters go once more to their functions")
    page.locator("#ask").get_by_label("Why").fill("it is configured now")
    page.locator("#ask").get_by_role("button", name="Redrive").click()
    expect(toast(page)).to_contain_text("4 dead letters: redriven.")
    expect(page.locator("main")).to_contain_text("3 messages could not be followed")
    reason = "application: expected one that is configured"
    choice = {"kind": "refused", "function": "mayfly-accept-code-version", "reason": reason}
    assert fake.asked == [("POST", "dead-letters/redrive", choice | {"why": "it is configured now"})]


def test_a_dead_letter_is_read_whole_and_discarded(console, fake):
    page = console("dead-letters")
    page.get_by_role("link", name="dl-0000000000000001").click()
    expect(drawer(page).locator("pre")).to_contain_text('"version": "1.1"')
    drawer(page).get_by_role("button", name="Discard…").click()
    page.locator("#ask").get_by_label("Why").fill("nobody needs it")
    page.locator("#ask").get_by_role("button", name="Discard").click()
    expect(toast(page)).to_contain_text("1 dead letter: discarded.")
    choice = {"letters": ["dl-0000000000000001"], "why": "nobody needs it"}
    assert fake.asked == [("POST", "dead-letters/discard", choice)]


def test_the_kill_switch_asks_why_and_cannot_be_overlooked(console, fake):
    page = console()
    page.get_by_role("button", name="Kill switch off").click()
    expect(page.locator("#ask")).to_contain_text("nothing is ended")
    page.locator("#ask").get_by_label("Why").fill("the sweep is wrong")
    page.locator("#ask").get_by_role("button", name="Turn it on").click()
    expect(page.locator(".banner.kill")).to_contain_text("the sweep is wrong")
    for view in ("Images", "Costs"):
        page.get_by_role("link", name=view).click()
        expect(page.locator(".banner.kill")).to_be_visible()
    page.get_by_role("button", name="Turn off…").click()
    page.locator("#ask").get_by_label("Why").fill("mended")
    page.locator("#ask").get_by_role("button", name="Turn it off").click()
    expect(page.locator(".banner.kill")).to_have_count(0)
    assert [body for _, _, body in fake.asked] == [
        {"on": True, "why": "the sweep is wrong"},
        {"on": False, "why": "mended"},
    ]


def test_costs_tell_application_suite_and_the_day_of_the_prices(console, fake):
    page = console("costs")
    expect(page.locator(".costs > li")).to_have_count(4)
    expect(page.locator("main")).to_contain_text("as of 2026-11-20")
    page.locator(".costs summary", has_text="webshop").click()
    expect(page.locator(".costs ul li", has_text="checkout")).to_be_visible()
    before = page.locator(".figure strong").first.inner_text()
    page.get_by_label("Days").select_option("30")
    expect(page.locator(".figure strong").first).not_to_have_text(before)
