"""Somebody needs an environment for longer: up to its ceiling, before its deadline, and with one winner."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from mayfly.aws.events import NotTaken
from tests.integration.world import (
    AFTER,
    CEILING,
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NEXT_TOKEN,
    NOW,
    TOKEN,
    Json,
    World,
    an_order,
    deletion,
    finished,
    function,
    on_the_bus,
)

HANDLER = "accept_extension"
AN_HOUR_MORE = "2026-11-24T08:47:34.120Z"


def asked(minutes: Any = 60, **more: Any) -> Json:
    """A request of its own: another is another message."""
    detail = {"environment": ENVIRONMENT, "minutes": minutes, "why": "a failure to look at", "requested_by": "dev"}
    return on_the_bus("Environment Extension Requested", detail | more)


def at(time: str, event: Json, identity: str = "a0a7c1b2-0000-4000-8000-000000000001") -> Json:
    """The event as sent at another time, and so as another message."""
    return event | {"time": time, "sent": time, "id": identity}


def told(world: World) -> list[tuple[str, str]]:
    """What waiting executions were told: the error, and its text."""
    return [(each["error"], each["cause"]) for each in world.settled]


class TestAnExtensionIsGranted:
    def test_and_the_deadline_moves(self, world: World) -> None:
        world.ready()
        answer = world.call(HANDLER, asked())
        assert (answer["accepted"], answer["environment"], answer["deadline"]) == (True, ENVIRONMENT, AN_HOUR_MORE)
        assert (world.record()["deadline"], world.record()["ceiling"]) == (AN_HOUR_MORE, CEILING)

    def test_and_whoever_waits_for_the_tests_is_told_the_new_deadline(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked())
        assert told(world) == [("Extended", AN_HOUR_MORE)]
        assert world.settled[0]["taskToken"] == TOKEN

    def test_and_recorded_before_anybody_is_told(self, world: World) -> None:
        world.ready()
        world.wire.forget()
        world.call(HANDLER, asked())
        assert world.wire.names() == ["GetItem", "UpdateItem", "SendTaskFailure", "PutEvents"]

    def test_and_the_history_says_who_and_why(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked())
        assert world.record()["history"][-1] == {
            "at": "2026-11-24T06:47:33.000Z",
            "who": "dev",
            "what": "Environment Extension Requested",
            "why": f"a failure to look at: until {AN_HOUR_MORE}",
        }

    def test_and_announced(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked())
        ((what, detail),) = world.said
        assert what == "Environment Extended"
        expected = {"environment": ENVIRONMENT, "deadline": AN_HOUR_MORE, "ceiling": CEILING, "by": "dev"}
        assert {key: detail[key] for key in expected} == expected
        assert (detail["application"], detail["suite"], detail["why"]) == ("webshop", "smoke", "a failure to look at")

    def test_while_it_is_built_and_nobody_s_wait_is_disturbed(self, world: World) -> None:
        world.created()
        assert world.call(HANDLER, asked())["accepted"]
        assert world.record()["deadline"] == AN_HOUR_MORE
        assert world.settled == []

    def test_up_to_the_ceiling_and_no_further(self, world: World) -> None:
        world.ready()
        answer = world.call(HANDLER, asked(30 * 24 * 60))
        assert answer["deadline"] == world.record()["deadline"] == CEILING
        assert "its ceiling" in answer["reason"]
        assert told(world) == [("Extended", CEILING)]

    def test_again_and_again_up_to_the_ceiling(self, world: World) -> None:
        world.ready()
        granted = [
            world.call(HANDLER, at("2026-11-24T06:50:00Z", asked(100), f"a0a7c1b2-0000-4000-8000-00000000000{number}"))
            for number in range(3)
        ]
        assert [answer["accepted"] for answer in granted] == [True, True, False]
        assert world.record()["deadline"] == CEILING

    def test_and_of_the_new_deadline_its_owner_is_warned_anew(self, world: World) -> None:
        world.ready()
        world.change(warned=[30])
        world.call(HANDLER, asked())
        assert "warned" not in world.record()


class TestAnExtensionIsRefused:
    def refused(self, world: World, event: Json) -> str:
        """Why; and that nothing is changed, nobody told and nothing announced."""
        before = world.record()
        world.wire.forget()
        answer = world.call(HANDLER, event)
        assert not answer["accepted"]
        after = world.record()
        assert {key: after[key] for key in after if key != "history"} == {
            key: before[key] for key in before if key != "history"
        }
        assert after["history"][:-1] == before["history"]
        assert after["history"][-1]["why"] == f"refused: {answer['reason']}"
        assert (world.settled, world.said, world.dead_letters()) == ([], [], [])
        return str(answer["reason"])

    def test_from_the_deadline_on(self, world: World) -> None:
        world.ready()
        world.change(deadline="2026-11-24T07:47:34.000Z")
        assert "has passed" in self.refused(world, at("2026-11-24T07:47:34Z", asked()))

    def test_but_not_a_second_before(self, world: World) -> None:
        world.ready()
        assert world.call(HANDLER, at("2026-11-24T07:47:34Z", asked()))["accepted"]

    def test_at_the_ceiling(self, world: World) -> None:
        world.ready()
        world.change(deadline=CEILING)
        assert "at most" in self.refused(world, asked())

    def test_more_often_than_its_application_permits(self, world: World) -> None:
        world.planned(most_extensions=2)
        identities = [f"a0a7c1b2-0000-4000-8000-00000000000{number}" for number in range(3)]
        granted = [
            world.call(HANDLER, at("2026-11-24T06:50:00Z", asked(1), each))["accepted"] for each in identities[:2]
        ]
        assert granted == [True, True]
        assert "most_extensions" in self.refused(world, at("2026-11-24T06:50:00Z", asked(1), identities[2]))

    @pytest.mark.parametrize("by", ["tests", "request", "failure"])
    def test_after_an_ending(self, world: World, by: str) -> None:
        world.ready()
        world.change(ending={"by": by, "outcome": "broken", "reason": "so it is", "at": LATER})
        assert self.refused(world, asked()) == f"it was ended by {by}: so it is"

    def test_of_one_whose_record_was_begun_anew_by_its_ending(self, world: World) -> None:
        world.ready()
        world.lose()
        world.call("delete_environment", deletion("tests", token=NEXT_TOKEN))
        assert "it was ended by tests" in self.refused(world, asked())


class TestNobodyLivesForEver:
    """102 extensions of a minute each, with long reasons, once filled a record: then no ending could be written."""

    WHY = "é" * 1_024

    def test_by_extensions_with_long_reasons(self, world: World) -> None:
        world.planned(most_extensions=500)
        line = {"at": NOW, "who": "ada", "what": "Environment Extension Requested", "why": self.WHY}
        world.change(history=[line] * 140, report_token="its digest")  # 300 KB, and it was ready
        answers = [
            world.call(HANDLER, at("2026-11-24T06:50:00Z", asked(1, why=self.WHY), f"{number:036}"))
            for number in range(60)
        ]
        assert all(answer["accepted"] for answer in answers)
        assert world.call("accept_test_result", finished("failed", reason=self.WHY))["recorded"]
        world.call("delete_environment", deletion("tests"))
        assert (world.record()["stage"], world.record()["ending"]["outcome"]) == ("terminating", "failed")
        assert world.call("confirm_gone", {"order": an_order(), "stack": None, "now": LATER})["ending"]["by"] == "tests"
        assert world.record()["stage"] == "terminated"

    def test_by_a_record_that_an_earlier_version_filled(self, world: World) -> None:
        world.planned()
        line = {"at": NOW, "who": "ada", "what": "Environment Extension Requested", "why": "x" * 3_900}
        world.change(history=[line] * 100)
        with pytest.raises(ClientError, match="maximum allowed size"):
            world.own("dynamodb").update_item(
                TableName=world.table,
                Key={"pk": {"S": f"environment#{ENVIRONMENT}"}},
                UpdateExpression="SET filler = :filler",
                ExpressionAttributeValues={":filler": {"S": "x" * 16_000}},
            )
        ended = on_the_bus(
            "Environment Termination Requested", {"environment": ENVIRONMENT, "why": "x" * 1_024, "requested_by": "ops"}
        )
        assert world.call("accept_termination", ended)["recorded"]
        world.call("delete_environment", deletion("tests"))
        assert (world.record()["stage"], world.record()["ending"]["by"]) == ("terminating", "request")


class TestARequestIsGrantedOnce:
    def test_however_late_it_is_delivered_again(self, world: World) -> None:
        world.ready()
        first, second = (at("2026-11-24T06:50:00Z", asked(10), f"{number:036}") for number in (1, 2))
        for event in (first, second, first):
            assert world.call(HANDLER, event)["accepted"]
        assert world.record()["deadline"] == "2026-11-24T08:07:34.120Z"

    def test_also_where_an_earlier_version_granted_it(self, world: World) -> None:
        world.ready()
        event = at("2026-11-24T06:50:00Z", asked(10))
        world.change(extended_by=f"EventBridge {event['id']}")
        assert world.call(HANDLER, event)["reason"] == "granted already"
        assert world.record()["deadline"] == DEADLINE


class TestInTheSameSecond:
    def test_an_ending_wins_that_comes_first(self, world: World) -> None:
        world.ready()
        result = finished()
        world.wire.before("UpdateItem", lambda: world.call("accept_test_result", result))
        answer = world.call(HANDLER, asked())
        assert not answer["accepted"]
        assert "at the same time" in answer["reason"]
        assert (world.record()["deadline"], world.record()["ending"]["outcome"]) == (DEADLINE, "passed")
        assert [each["told"] for each in world.settled] == ["Success"]
        assert world.said == []

    def test_an_extension_wins_that_comes_first(self, world: World) -> None:
        """The execution's own look at the deadline comes second, and finds it moved."""
        world.ready()
        world.wire.before("UpdateItem", lambda: world.call(HANDLER, asked()))
        with pytest.raises(function("delete_environment").Extended, match=f"^{AN_HOUR_MORE}$"):
            world.call("delete_environment", deletion("deadline", now="2026-11-24T07:47:35.000Z"))
        assert "ending" not in world.record()
        assert world.stack()

    def test_one_of_two_extensions_wins(self, world: World) -> None:
        world.ready()
        other = at("2026-11-24T06:47:33Z", asked(30, requested_by="other"))
        world.wire.before("UpdateItem", lambda: world.call(HANDLER, other))
        answer = world.call(HANDLER, asked())
        assert not answer["accepted"]
        assert world.record()["deadline"] == "2026-11-24T08:17:34.120Z"
        assert [detail["by"] for _, detail in world.said] == ["other"]
        assert told(world) == [("Extended", "2026-11-24T08:17:34.120Z")]


class TestTheSameMessageAgain:
    def test_extends_once(self, world: World) -> None:
        """EventBridge delivers at least once, which is sometimes twice."""
        world.ready()
        first, second = world.call(HANDLER, asked()), world.call(HANDLER, asked())
        assert first["deadline"] == second["deadline"] == world.record()["deadline"] == AN_HOUR_MORE
        assert world.history().count("Environment Extension Requested") == 1

    @pytest.mark.parametrize("operation", ["SendTaskFailure", "PutEvents"])
    def test_mends_a_death_after_the_record(self, world: World, operation: str) -> None:
        world.ready()
        world.wire.answer(operation, error="ThrottlingException")
        with pytest.raises((ClientError, NotTaken)):
            world.call(HANDLER, asked())
        world.wire.reset()
        assert world.call(HANDLER, asked())["accepted"]
        assert told(world) == [("Extended", AN_HOUR_MORE)]
        assert [what for what, _ in world.said] == ["Environment Extended"]

    def test_is_refused_where_an_ending_came_between(self, world: World) -> None:
        world.ready()
        world.call(HANDLER, asked())
        world.change(ending={"by": "request", "outcome": "cancelled", "reason": "enough", "at": LATER})
        assert not world.call(HANDLER, asked())["accepted"]


def test_an_event_that_the_bus_does_not_take_is_an_error(world: World) -> None:
    world.ready()
    world.wire.answer("PutEvents", FailedEntryCount=1, Entries=[{"ErrorCode": "x", "ErrorMessage": "not now"}])
    with pytest.raises(RuntimeError, match="EventBridge did not take Environment Extended: not now"):
        world.call(HANDLER, asked())


WRONG: dict[str, tuple[Json, str]] = {
    "no minutes": (asked(0), "minutes: Input should be greater than or equal to 1, but it is 0"),
    "minutes without end": (asked(10**9), "minutes: Input should be less than or equal to 43200"),
    "a shortening": (asked(-30), "minutes: "),
    "words for minutes": (asked("an hour"), "minutes: Input should be a valid integer"),
    "no reason": (asked(why=""), "why: String should have at least 1 character"),
    "nobody": (asked(requested_by=None), "requested_by: "),
    "an unknown field": (asked(ceiling=10**6), "ceiling: Extra inputs are not permitted"),
    "no detail": (on_the_bus("Environment Extension Requested", {}), "environment: Field required"),
    "an unknown environment": (
        asked(environment="webshop-9-smoke"),
        "environment: expected one that Mayfly built, but it is 'webshop-9-smoke'",
    ),
}


@pytest.mark.parametrize(("event", "expected"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_followed_lands_among_the_dead_letters(world: World, event: Json, expected: str) -> None:
    world.ready()
    before = world.record()
    answer = world.call(HANDLER, event)
    assert not answer["accepted"]
    assert expected in answer["reason"]
    assert world.dead_letters() == [{"function": HANDLER, "reason": answer["reason"], "message": event}]
    assert world.record() == before
    assert world.records().get("webshop-9-smoke") is None
    assert world.said == []


def test_at_the_moved_deadline_it_ends(world: World) -> None:
    world.ready()
    world.call(HANDLER, asked())
    world.call("delete_environment", deletion("deadline", deadline=AN_HOUR_MORE, now=AFTER))
    assert world.record()["ending"]["reason"] == f"no test result before the deadline {AN_HOUR_MORE}"
    assert world.stack() is None
