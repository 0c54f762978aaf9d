"""Previews: what shows a pull request, from its first version until it is closed."""

from typing import Any

import pytest

from mayfly.settings import load_settings
from tests.integration.world import APPLICATION, NOW, PUSHED, Json, World, an_order, announced, on_the_bus

SUITES = [{"name": "smoke"}, {"name": "show", "kind": "preview"}]
PULL = "webshop#7"
DOMAIN = "preview.example.com"
NAME = f"webshop-7.{DOMAIN}."
BALANCER = "http://shop-1.elb.amazonaws.com:8080/start"


@pytest.fixture
def zone(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hosted zone that the installation is configured with."""
    made = world.own("route53").create_hosted_zone(Name=DOMAIN, CallerReference="one")["HostedZone"]["Id"]
    monkeypatch.setenv("MAYFLY_PREVIEW_ZONE", zone := made.rpartition("/")[2])
    monkeypatch.setenv("MAYFLY_PREVIEW_DOMAIN", DOMAIN)
    load_settings.cache_clear()
    return str(zone)


@pytest.fixture(autouse=True)
def _its_application_wants_previews(world: World) -> None:
    world.configure(suites=SUITES)
    world.wire.answer("StartExecution", executionArn="arn:aws:states:us-east-1:111111111111:execution:x:y", startDate=0)


def started(world: World, version: str = "1.0.0", second: int = 33, minute: int = 47, **said: Any) -> str:
    """A version of the pull request is pushed, and its release has begun. Returns the preview's name."""
    pushed = PUSHED | {"version": version, "pull_request": 7} | said
    event = on_the_bus("Code Version Pushed", pushed) | {"time": f"2026-11-24T06:{minute}:{second:02}Z"}
    release = world.call("accept_code_version", event)["release"]
    world.call("plan_release", {"release": release, "pushed": pushed, "now": NOW})
    world.call("keep_previews", announced("Release Started", release=release))
    return f"{release}-show"


def lives(world: World, preview: str, **outputs: str) -> None:
    """Its execution waits for its end, and its stack stands."""
    order = an_order(environment=preview, release=preview.removesuffix("-show"), suite="show", kind="preview")
    world.call("plan_environment", {"order": order, "now": NOW})
    world.change(preview, stage="awaiting tests", waiting={"for": "tests", "token": preview}, outputs=outputs)


def told(world: World, event: str, preview: str) -> str:
    return str(world.call("keep_previews", announced(event, environment=preview, kind="preview"))["reason"])


def closed(world: World, second: int = 50) -> Json:
    event = on_the_bus("Pull Request Closed", {"application": "webshop", "pull_request": 7}, "mayfly.app.webshop")
    return world.call("keep_previews", event | {"time": f"2026-11-24T06:47:{second}Z"})


def addresses(world: World, zone: str) -> dict[str, tuple[str, str]]:
    listed = world.own("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return {
        each["Name"]: (each["Type"], each["ResourceRecords"][0]["Value"])
        for each in listed
        if each["Type"] not in ("SOA", "NS")
    }


def ending(world: World, preview: str) -> Json:
    return dict(world.record(preview).get("ending") or {})


class TestAVersionOfAPullRequest:
    def test_begins_a_preview_beside_its_suites(self, world: World) -> None:
        preview = started(world)
        order = world.started()[preview]
        assert (order["kind"], order["suite"], order["pull_request"]) == ("preview", "show", 7)
        assert world.record(PULL, "pull")["previews"] == [preview]
        release = world.record(preview.removesuffix("-show"), "release")
        assert [each["suite"] for each in release["suites"]] == ["smoke"], "no verdict waits for it"
        assert order["image"] == release["image"]

    def test_begins_it_once(self, world: World) -> None:
        preview = started(world)
        world.wire.forget()
        world.call("keep_previews", announced("Release Started", release=preview.removesuffix("-show")))
        assert list(world.started()) == [preview], "by its name"
        assert world.record(PULL, "pull")["previews"] == [preview]

    def test_supersedes_the_one_before(self, world: World) -> None:
        before = started(world)
        lives(world, before)
        now = started(world, "1.0.1", second=40)
        assert ending(world, before)["reason"] == "superseded by 1.0.1"
        assert [each["taskToken"] for each in world.settled] == [before]
        assert world.record(PULL, "pull")["previews"] == [before, now]

    def test_remembers_so_many_that_its_record_never_fills(self, world: World) -> None:
        names = [started(world, f"1.0.{number}", second=10 + number) for number in range(45)]
        later = [started(world, f"1.1.{number}", second=number, minute=48) for number in range(10)]
        assert world.record(PULL, "pull")["previews"] == [*names, *later][-50:]
        lives(world, names[0])
        assert "nobody needs it" in told(world, "Environment Ready", names[0])
        assert ending(world, names[0])

    def test_that_is_heard_late_supersedes_nothing(self, world: World) -> None:
        now = started(world, "1.0.1", second=40)
        lives(world, now)
        late = started(world, "1.0.0", second=33)
        assert late not in world.started()
        assert not ending(world, now)

    def test_begins_none_where_its_application_wants_none(self, world: World) -> None:
        world.configure(suites=APPLICATION["suites"])
        assert started(world) not in world.started()


class TestItsClosing:
    def test_ends_it(self, world: World) -> None:
        preview = started(world)
        lives(world, preview)
        assert closed(world)["ended"] == [preview]
        assert (ending(world, preview)["outcome"], ending(world, preview)["reason"]) == (
            "cancelled",
            "its pull request was closed",
        )

    def test_ends_one_whose_life_had_not_begun_when_it_is_ready(self, world: World) -> None:
        preview = started(world)
        closed(world)
        lives(world, preview)
        assert "nobody needs it" in told(world, "Environment Ready", preview)
        assert ending(world, preview)["reason"] == "its pull request was closed"

    def test_is_no_reason_to_show_what_was_pushed_before(self, world: World) -> None:
        started(world, "1.0.0", second=33)
        closed(world, 45)
        assert started(world, "1.0.1", second=40) not in world.started()
        assert started(world, "1.0.2", second=50) in world.started(), "it was opened again"

    def test_of_another_application_s_is_refused(self, world: World) -> None:
        preview = started(world)
        lives(world, preview)
        said = {"application": "webshop", "pull_request": 7}
        answer = world.call("keep_previews", on_the_bus("Pull Request Closed", said, "mayfly.app.other"))
        assert not answer["accepted"]
        assert not ending(world, preview)


class TestItsAddress:
    def test_is_the_same_for_each_version_until_it_is_closed(self, world: World, zone: str) -> None:
        first = started(world)
        lives(world, first, Url=BALANCER)
        assert told(world, "Environment Ready", first) == f"{NAME[:-1]} leads to shop-1.elb.amazonaws.com"
        assert addresses(world, zone) == {NAME: ("CNAME", "shop-1.elb.amazonaws.com")}
        second = started(world, "1.0.1", second=40)
        lives(world, second, Url="https://203.0.113.7/")
        told(world, "Environment Ready", second)
        assert addresses(world, zone) == {NAME: ("A", "203.0.113.7")}
        world.change(first, terminated_at=NOW)
        assert "stays" in told(world, "Environment Terminated", first)
        assert addresses(world, zone), "it is the next one's"
        closed(world)
        assert told(world, "Environment Terminated", second) == f"{NAME[:-1]} leads nowhere any more"
        assert addresses(world, zone) == {}
        assert world.record(PULL, "pull")["previews"] == []

    def test_is_none_where_its_name_is_somebody_else_s(self, world: World, zone: str) -> None:
        """A CI server says the number, and a zone may hold more than previews."""
        theirs = {"Name": NAME, "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": "198.51.100.1"}]}
        change: Any = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": theirs}]}
        world.own("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch=change)
        preview = started(world)
        lives(world, preview, Url=BALANCER)
        for _ in range(2):
            assert "Mayfly has not made it" in told(world, "Environment Ready", preview)
        closed(world)
        world.change(preview, terminated_at=NOW)
        assert told(world, "Environment Terminated", preview) == "it had no address"
        assert addresses(world, zone) == {NAME: ("A", "198.51.100.1")}

    def test_is_made_anew_where_it_is_opened_again(self, world: World, zone: str) -> None:
        for version, second in (("1.0.0", 33), ("1.0.1", 55)):
            preview = started(world, version, second=second)
            lives(world, preview, Url=BALANCER)
            told(world, "Environment Ready", preview)
            assert addresses(world, zone) == {NAME: ("CNAME", "shop-1.elb.amazonaws.com")}
            closed(world, second + 2)
            world.change(preview, terminated_at=NOW)
            told(world, "Environment Terminated", preview)
            assert addresses(world, zone) == {}

    def test_is_none_without_a_zone(self, world: World) -> None:
        preview = started(world)
        lives(world, preview, Url=BALANCER)
        assert "no zone" in told(world, "Environment Ready", preview)

    def test_is_none_where_no_output_is_a_web_address(self, world: World, zone: str) -> None:
        preview = started(world)
        lives(world, preview, Queue="arn:aws:sqs:us-east-1:111111111111:jobs")
        told(world, "Environment Ready", preview)
        assert addresses(world, zone) == {}


class TestAPreview:
    def test_has_no_result(self, world: World) -> None:
        preview = started(world)
        lives(world, preview)
        event = on_the_bus("Test Finished", {"environment": preview, "outcome": "failed"})
        answer = world.call("accept_test_result", event)
        assert not answer["accepted"]
        assert "is a preview" in answer["reason"]
        assert not ending(world, preview)
