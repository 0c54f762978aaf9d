"""People are told: on the topic of all, and on the owner's where it is theirs."""

import json
from datetime import UTC, datetime

import pytest

from mayfly.domain.records import Environment, read
from mayfly.observability import metrics
from mayfly.settings import load_settings
from mayfly.workflows import gauges
from tests.integration.world import ENVIRONMENT, REGION, RELEASE, Json, World, on_the_bus

FAILED = {
    "release": RELEASE,
    "application": "webshop",
    "version": "0.0.1",
    "reason": "smoke failed",
    "suites": [{"suite": "smoke", "environment": ENVIRONMENT, "outcome": "failed"}],
}


@pytest.fixture
def topic(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where people are told."""
    arn = str(world.own("sns").create_topic(Name="mayfly-notifications")["TopicArn"])
    monkeypatch.setenv("MAYFLY_NOTIFICATIONS_TOPIC", arn)
    monkeypatch.setenv("MAYFLY_CONSOLE_URL", "https://console.example")
    load_settings.cache_clear()
    return arn


def told(world: World, what: str, detail: Json) -> Json:
    """What the function answers to an announcement."""
    world.wire.forget()
    return world.call("notify_people", on_the_bus(what, detail, source="mayfly"))


def test_a_verdict_reaches_all_and_the_owner(world: World, topic: str) -> None:
    world.planned(owner_topic=world.topic)
    answer = told(world, "Release Failed", FAILED)
    assert answer == {"told": [topic, world.topic], "subject": "webshop 0.0.1 FAILED"}
    for call, arn in zip(world.wire.heard("Publish"), (topic, world.topic), strict=True):
        message = json.loads(call["Message"])
        assert (call["TopicArn"], call["MessageStructure"]) == (arn, "json")
        assert message["email"] == message["default"]
        assert f"https://console.example/#/releases/{RELEASE}" in message["email"]
        assert json.loads(message["https"])["content"]["title"] == call["Subject"] == "webshop 0.0.1 FAILED"


def test_ready_is_told_to_the_owner_and_marked_with_who_pushed_it(world: World, topic: str) -> None:
    world.planned(owner_topic=world.topic)
    world.records("release").change(RELEASE, {"pushed_by": "ada@example.com"})
    ready = {"release": RELEASE, "environment": ENVIRONMENT, "application": "webshop", "version": "0.0.1"}
    answer = told(world, "Environment Ready", ready | {"suite": "smoke", "deadline": "2026-11-25T06:00:00.000Z"})
    assert answer["told"] == [world.topic]
    (call,) = world.wire.heard("Publish")
    said = {name: one["StringValue"] for name, one in call["MessageAttributes"].items()}
    assert said == {"event": "Environment Ready", "application": "webshop", "pushed_by": "ada@example.com"}


def test_ready_is_told_to_all_where_nobody_owns_it(world: World, topic: str) -> None:
    world.planned(owner_topic=None)
    ready = {"release": RELEASE, "environment": ENVIRONMENT, "application": "webshop", "version": "0.0.1"}
    assert told(world, "Environment Ready", ready)["told"] == [topic]


def test_an_owner_is_warned_of_a_deadline_and_told_how_to_move_it(world: World, topic: str) -> None:
    world.planned(owner_topic=world.topic)
    asked = {"environment": ENVIRONMENT, "minutes": 60, "why": "...", "requested_by": "..."}
    answer = told(world, "Environment Expiring", FAILED | {"environment": ENVIRONMENT, "to_extend": asked})
    assert answer["told"] == [topic, world.topic]
    mail = json.loads(world.wire.heard("Publish")[1]["Message"])["email"]
    assert f"mayfly extend {ENVIRONMENT} 60" in mail
    assert f"'Environment Extension Requested': {json.dumps(asked)}" in mail


def test_an_owner_without_a_topic_is_not_told_besides(world: World, topic: str) -> None:
    world.planned(owner_topic=None)
    assert told(world, "Release Failed", FAILED)["told"] == [topic]


def test_a_lost_record_keeps_nobody_from_being_told(world: World, topic: str) -> None:
    assert told(world, "Environment Failed", FAILED | {"environment": ENVIRONMENT})["told"] == [topic]


def test_what_is_no_news_is_not_told(world: World, topic: str) -> None:
    assert told(world, "Image Replaced", {})["told"] == []
    assert not world.wire.heard("Publish")


def test_what_does_not_parse_is_kept(world: World, topic: str) -> None:
    answer = told(world, "Release Failed", FAILED | {"release": "No Release"})
    (letter,) = world.dead_letters()
    assert (answer["accepted"], "release" in letter["reason"]) == (False, True)


class TestGauges:
    def published(self, records: list[Json], capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, ...], float]:
        """What is published, by name and dimensions."""
        gauges.publish(
            [read(Environment, {"id": "some"} | each) for each in records], datetime(2026, 11, 24, 8, tzinfo=UTC)
        )
        metrics.flush_metrics()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
        found = {}
        for line in lines:
            said = line["_aws"]["CloudWatchMetrics"][0]
            for name in (metric["Name"] for metric in said["Metrics"]):
                value = line[name][0] if isinstance(line[name], list) else line[name]
                found[name, *(line[key] for key in said["Dimensions"][0] if key != "service")] = value
        return found

    def test_tell_the_dashboard_what_there_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        since = {"planned_at": "2026-11-24T06:00:00.000Z", "launched_at": "2026-11-24T06:00:00.000Z", "region": REGION}
        shop = since | {"application": "shop", "suite": "smoke", "stage": "awaiting tests"}
        records = [shop | {"instance_types": {"m5.large": 10}}, shop | {"stage": "creating", "application": "blog"}]
        found = self.published(records, capsys)
        assert {key[1]: value for key, value in found.items() if key[0] == "Environments"} == {
            "planned": 0,
            "queued": 0,
            "creating": 1,
            "awaiting tests": 1,
            "terminating": 0,
            "adopted": 0,
        }
        assert found[("OldestEnvironmentHours",)] == 2
        assert found[("UsdPerHour",)] == found["UsdPerHour", "shop"] == pytest.approx(0.96)
        assert found["UsdPerHour", "blog"] == 0

    def test_come_down_to_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert set(self.published([], capsys).values()) == {0}
