"""A code version is pushed: by the bus and by the topic, once, twice, and wrongly."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mayfly.observability import logger
from tests.integration.world import PUSHED, RELEASE, Json, World, on_the_bus, on_the_topic

HANDLER = "accept_code_version"


def pushed(**change: Any) -> Json:
    return on_the_bus("Code Version Pushed", PUSHED | change)


def announced(text: str) -> Json:
    return on_the_topic("mayfly_webshop_code-versions", text)


def started_with(world: World) -> list[Json]:
    """What each call of StartExecution handed over as pushed."""
    return [json.loads(call["input"])["pushed"] for call in world.wire.heard("StartExecution")]


class TestAPush:
    @pytest.mark.parametrize("event", [pushed(), announced(json.dumps(PUSHED))], ids=["bus", "topic"])
    def test_starts_the_release_that_is_named_after_it(self, world: World, event: Json) -> None:
        assert world.call(HANDLER, event) == {"accepted": True, "release": RELEASE, "started": True}
        assert world.executions() == [RELEASE]
        assert started_with(world) == [PUSHED | {"hotfix": False}]

    def test_begins_a_record_that_says_who_what_and_why(self, world: World) -> None:
        world.call(HANDLER, pushed())
        record = world.record(RELEASE, "release")
        assert {name: record[name] for name in PUSHED} == PUSHED
        assert (record["id"], record["stage"]) == (RELEASE, "requested")
        (entry,) = record["history"]
        assert entry == {
            "at": "2026-11-24T06:47:33.000Z",
            "who": "ci@example.com",
            "what": "Code Version Pushed",
            "why": "by an event of mayfly.api",
        }

    def test_is_not_forgotten_while_its_environments_may_live_however_few_days_are_set(self, world: World) -> None:
        world.call(HANDLER, pushed())
        assert world.record(RELEASE, "release")["forget_after"] == 1_795_502_853 + (32 + 90) * 86_400

    def test_without_a_name_was_done_by_whoever_aws_says_has_sent_it(self, world: World) -> None:
        world.call(HANDLER, announced(json.dumps(PUSHED | {"pushed_by": None})))
        assert world.record(RELEASE, "release")["history"][0]["who"] == "mayfly.app.webshop"

    def test_the_name_of_who_pushed_is_a_program_s_claim(self, world: World) -> None:
        world.call(HANDLER, announced(json.dumps(PUSHED | {"pushed_by": "boss@example.com"})))
        record = world.record(RELEASE, "release")
        assert record["history"][0]["who"] == "boss@example.com (says mayfly.app.webshop)"
        assert record["pushed_by"] == "boss@example.com", "whom it tells of the release"

    def test_is_recorded_before_it_is_started(self, world: World) -> None:
        world.call(HANDLER, pushed())
        assert world.wire.names() == ["UpdateItem", "StartExecution"]


class TestAPushThatComesTwice:
    def test_starts_one_release(self, world: World) -> None:
        world.call(HANDLER, pushed())
        world.call(HANDLER, pushed())
        assert world.executions() == [RELEASE]

    def test_is_noted(self, world: World) -> None:
        world.call(HANDLER, pushed())
        world.call(HANDLER, announced(json.dumps(PUSHED)))
        assert world.history(RELEASE, "release") == ["Code Version Pushed", "pushed again"]

    def test_mends_a_death_between_the_record_and_the_start(self, world: World) -> None:
        world.wire.answer("StartExecution", error="ThrottlingException")
        with pytest.raises(ClientError, match="ThrottlingException"):
            world.call(HANDLER, pushed())
        assert world.executions() == []
        world.wire.recover("StartExecution")
        assert world.call(HANDLER, pushed())["started"]
        assert world.executions() == [RELEASE]

    def test_after_the_release_is_over_starts_nothing(self, world: World) -> None:
        world.call(HANDLER, pushed())
        (running,) = world.own("stepfunctions").list_executions(stateMachineArn=world.machine)["executions"]
        world.own("stepfunctions").stop_execution(executionArn=running["executionArn"])
        assert world.call(HANDLER, pushed()) == {"accepted": True, "release": RELEASE, "started": False}

    def test_as_a_new_attempt_is_a_release_of_its_own(self, world: World) -> None:
        first, second = world.call(HANDLER, pushed()), world.call(HANDLER, pushed(attempt=2))
        assert first["release"] != second["release"]
        assert sorted(world.executions()) == sorted([first["release"], second["release"]])


class TestAnotherArtifactUnderTheSameVersion:
    other = pushed(artifact="https://elsewhere.example.com/webshop.tar.gz")

    def test_is_noted_and_changes_nothing(self, world: World) -> None:
        world.call(HANDLER, pushed())
        world.call(HANDLER, self.other)
        assert world.executions() == [RELEASE]
        assert world.record(RELEASE, "release")["artifact"] == PUSHED["artifact"]
        assert world.history(RELEASE, "release") == ["Code Version Pushed", "pushed again"]

    def test_does_not_slip_in_where_the_first_died_before_its_start(self, world: World) -> None:
        world.wire.answer("StartExecution", error="ThrottlingException")
        with pytest.raises(ClientError):
            world.call(HANDLER, pushed())
        world.wire.recover("StartExecution")
        world.call(HANDLER, self.other)
        assert [first["artifact"] for first in started_with(world)] == [PUSHED["artifact"]] * 2


WRONG = {
    "a wrong field": (pushed(application="Web Shop"), "application: "),
    "an unknown field": (pushed(verison="1"), "verison: Extra inputs are not permitted"),
    "no JSON": (announced("webshop 1.4.2 is out"), "Invalid JSON"),
    "no object": (announced("[]"), "message: Input should be"),
    "no event": ({"hello": "world"}, "detail-type: Field required"),
    "no notification": ({"Records": []}, "detail-type: Field required"),
}


class TestWhatCannotBeUnderstood:
    @pytest.mark.parametrize(("event", "expected"), WRONG.values(), ids=WRONG)
    def test_lands_whole_among_the_dead_letters_with_the_reason(self, world: World, event: Json, expected: str) -> None:
        answer = world.call(HANDLER, event)
        assert not answer["accepted"]
        assert expected in answer["reason"]
        assert world.dead_letters() == [{"function": HANDLER, "reason": answer["reason"], "message": event}]

    def test_starts_and_records_nothing(self, world: World) -> None:
        world.call(HANDLER, pushed(version=""))
        assert world.wire.names() == ["SendMessage"]

    def test_is_not_lost_where_the_queue_does_not_take_it(self, world: World) -> None:
        """The error makes Lambda try again, and keep the event itself in the end."""
        world.wire.answer("SendMessage", error="ThrottlingException")
        with pytest.raises(ClientError):
            world.call(HANDLER, pushed(version=""))

    def test_is_not_logged_under_the_name_of_the_message_before(self, world: World) -> None:
        world.call(HANDLER, pushed())
        assert logger.get_current_keys()["release"] == RELEASE
        world.call(HANDLER, pushed(version=""))
        assert "release" not in logger.get_current_keys()


def test_a_setting_that_is_missing_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAYFLY_TABLE")
    monkeypatch.setenv("MAYFLY_RECORD_DAYS", "soon")
    with pytest.raises(RuntimeError, match=r"MAYFLY_TABLE: Field required; MAYFLY_RECORD_DAYS: .*, but it is 'soon'"):
        world.call(HANDLER, pushed())


def test_where_the_table_is_lost_nothing_is_started_and_the_message_is_kept(world: World) -> None:
    """The error makes Lambda try again, and keep the event itself in the end."""
    world.own("dynamodb").delete_table(TableName=world.table)
    with pytest.raises(RuntimeError, match="the table is lost"):
        world.call(HANDLER, pushed())
    assert world.executions() == []
