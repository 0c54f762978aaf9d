"""Dead letters: whoever sends them they become one thing, which is counted, shown, redriven or discarded once."""

import json
from itertools import count
from typing import Any

import pytest

from mayfly.contract.dead_letters import TOPICS
from tests.integration.api import Api
from tests.integration.world import (
    CONTROLLER_ACCOUNT,
    PUSHED,
    REGION,
    REPORT_TOKEN,
    Json,
    World,
    on_the_bus,
    on_the_topic,
)
from tests.unit.policies import Template

ACCEPT = "mayfly-accept-code-version"
BAD = on_the_bus("Code Version Pushed", PUSHED | {"application": "nobody-knows-it"})
ARN = f"arn:aws:lambda:{REGION}:{CONTROLLER_ACCOUNT}:function:{ACCEPT}"
AT = "1795503000000"
_numbers = count()


def queued(body: Any, attributes: Json | None = None, sqs_id: str = "", at: str = AT) -> Json:
    """A message of the queue, as Lambda's poller hands it over."""
    said = {name: {"stringValue": value, "dataType": "String"} for name, value in (attributes or {}).items()}
    return {
        "messageId": sqs_id or f"0f4f3c1e-0000-4000-8000-{next(_numbers):012}",
        "receiptHandle": "AQEB",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": at, "SenderId": "AIDA"},
        "messageAttributes": said,
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{CONTROLLER_ACCOUNT}:mayfly-dead-letters",
        "awsRegion": REGION,
    }


def refused(event: Json = BAD, reason: str = "application: expected one that is configured") -> Json:
    return {"function": ACCEPT, "reason": reason, "message": event}


def failed(event: Json = BAD) -> Json:
    return {
        "version": "1.0",
        "timestamp": "2026-11-24T06:50:00.000Z",
        "requestContext": {
            "requestId": "e4b46cbf",
            "functionArn": f"{ARN}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "Rate exceeded", "errorType": "ClientError", "stackTrace": []},
    }


UNDELIVERED = {
    "RULE_ARN": f"arn:aws:events:{REGION}:{CONTROLLER_ACCOUNT}:rule/mayfly/mayfly-AcceptCodeVersionBus-1",
    "TARGET_ARN": ARN,
    "ERROR_CODE": "SDK_CLIENT_ERROR",
    "ERROR_MESSAGE": "Lambda was throttled",
    "EXHAUSTED_RETRY_CONDITION": "MaximumEventAgeInSeconds",
    "RETRY_ATTEMPTS": "185",
}


def of_sns(topic: str = "mayfly_webshop_code-versions") -> Json:
    """A notification as SNS writes it into a dead-letter queue."""
    note = on_the_topic(topic, json.dumps(PUSHED))["Records"][0]["Sns"]
    renamed = {"SigningCertUrl": "SigningCertURL", "UnsubscribeUrl": "UnsubscribeURL"}
    return {renamed.get(key, key): value for key, value in note.items() if value not in (None, {})}


def kept(world: World, *messages: Json) -> Json:
    return world.call("keep_dead_letters", {"Records": [*messages]})


def waiting(world: World) -> list[Json]:
    return sorted(world.records("dead-letter").live(), key=lambda one: one["id"])


def ask(what: str, at: str = "2026-11-24T08:00:00Z", **choice: Any) -> Json:
    detail = {"why": "mended", "requested_by": "ops"} | choice
    return on_the_bus(f"Dead Letters {what} Requested", detail) | {"time": at, "sent": at}


@pytest.fixture
def redriven(world: World) -> World:
    """A world whose functions are invoked as far as a test hears it."""
    world.wire.answer("Invoke")
    return world


def invoked(world: World) -> list[tuple[str, Json]]:
    calls = world.wire.heard("Invoke")
    assert all(call["InvocationType"] == "Event" for call in calls)
    return [(call["FunctionName"], json.loads(call["Payload"])) for call in calls]


class TestOneFormat:
    @pytest.mark.parametrize(
        ("message", "kind", "reason", "event"),
        [
            (queued(refused()), "refused", "application: expected one that is configured", "Code Version Pushed"),
            (queued(failed()), "failed", "ClientError: Rate exceeded", "Code Version Pushed"),
            (
                queued(BAD, UNDELIVERED),
                "undelivered",
                "SDK_CLIENT_ERROR: Lambda was throttled (185 retries of mayfly-AcceptCodeVersionBus-1)",
                "Code Version Pushed",
            ),
            (
                queued(of_sns(), {"ErrorCode": "403", "ErrorMessage": "Access denied", "RequestID": "7"}),
                "undelivered",
                "403: Access denied",
                "mayfly_webshop_code-versions",
            ),
        ],
        ids=["a function's refusal", "Lambda's destination", "a rule's queue", "SNS's queue"],
    )
    def test_is_made_of_what_each_sender_writes(
        self, world: World, message: Json, kind: str, reason: str, event: str
    ) -> None:
        assert kept(world, message) == {"batchItemFailures": []}
        (letter,) = waiting(world)
        assert (letter["kind"], letter["function"], letter["reason"]) == (kind, ACCEPT, reason)
        assert (letter["event"], letter["stage"]) == (event, "waiting for a person")

    def test_shows_nothing_that_a_terminal_would_obey(self, world: World) -> None:
        event = BAD | {"id": "22222222-b491-4cf7-a9f1-bf3703467718", "detail-type": "\x1b[2JCode\u202e Version"}
        kept(world, queued(refused(event, "source: expected mayfly.api, but it is \x1b]0;owned\x07\u2066x")))
        (letter,) = waiting(world)
        assert letter["event"] == " [2JCode Version"
        assert letter["reason"] == "source: expected mayfly.api, but it is  ]0;owned x"

    @pytest.mark.parametrize("body", ["", "no JSON", "[1]", '{"hello": "world"}', "null", '"\\ud800"'])
    def test_takes_in_what_nobody_knows(self, world: World, body: str) -> None:
        assert kept(world, queued(body)) == {"batchItemFailures": []}
        assert [letter["kind"] for letter in waiting(world)] == ["unreadable"]

    def test_knows_whose_each_topic_is_as_the_template_says(self) -> None:
        template = Template("template.yaml")
        named = {}
        for each in template.resources.values():
            topics = (
                [one for one in each["Properties"].get("Events", {}).values() if one["Type"] == "SNS"]
                if each["Type"] == "AWS::Serverless::Function"
                else []
            )
            for one in topics:
                topic = template.resources[one["Properties"]["Topic"]["Ref"]]["Properties"]["TopicName"]
                function = each["Properties"]["FunctionName"]
                named[str(topic).partition("}-")[2].rstrip("'}")] = str(function).partition("}-")[2].rstrip("'}")
        own = Template("blueprints/application.yaml").resources
        for each in own.values():
            if each["Type"] == "AWS::SNS::Subscription":
                topic = own[each["Properties"]["TopicArn"]["Ref"]]["Properties"]["TopicName"]
                function = each["Properties"]["Endpoint"]
                named[str(topic).rpartition("_")[2].rstrip("'}")] = str(function).rpartition("}-")[2].rstrip("'}")
        assert named == TOPICS


class TestTheSameMessage:
    def test_that_comes_back_is_the_same_letter_counted(self, world: World) -> None:
        kept(world, queued(refused()))
        kept(world, queued(refused(reason="another")))
        (letter,) = waiting(world)
        assert (letter["times"], letter["reason"]) == (2, "another")
        assert [line["why"] for line in letter["history"]] == [
            "application: expected one that is configured",
            "another",
        ]

    def test_that_the_queue_delivers_twice_is_counted_once(self, world: World) -> None:
        twice = queued(refused())
        kept(world, twice, twice)
        kept(world, twice)
        assert [letter["times"] for letter in waiting(world)] == [1]

    def test_refused_by_two_functions_is_two_letters(self, world: World) -> None:
        kept(world, queued(refused()), queued(refused() | {"function": "mayfly-count-release"}))
        assert len(waiting(world)) == 2


def test_what_cannot_be_kept_stays_in_the_queue_and_the_others_do_not(world: World) -> None:
    world.wire.answer("UpdateItem", error="ProvisionedThroughputExceededException")
    one = queued(refused())
    assert kept(world, one) == {"batchItemFailures": [{"itemIdentifier": one["messageId"]}]}
    world.wire.recover("UpdateItem")
    kept(world, one)
    assert [letter["times"] for letter in waiting(world)] == [1]


class TestRedriving:
    def test_hands_the_message_as_it_was_to_its_function(self, redriven: World) -> None:
        kept(redriven, queued(refused()))
        assert redriven.call("work_dead_letters", ask("Redrive")) == {"accepted": True, "done": 1, "left": 0}
        assert invoked(redriven) == [(ACCEPT, BAD)]
        assert waiting(redriven) == []

    def test_hands_a_notification_over_as_sns_does(self, redriven: World) -> None:
        kept(redriven, queued(of_sns(), {"ErrorCode": "403", "ErrorMessage": "denied"}))
        redriven.call("work_dead_letters", ask("Redrive"))
        ((function, event),) = invoked(redriven)
        assert function == ACCEPT
        redriven.configure()
        assert redriven.call("accept_code_version", event)["accepted"]

    def test_of_five_hundred_is_one_request(self, redriven: World) -> None:
        events = [BAD | {"id": f"6a7e8feb-b491-4cf7-a9f1-{number:012}"} for number in range(500)]
        kept(redriven, *(queued(refused(event)) for event in events))
        assert redriven.call("work_dead_letters", ask("Redrive"))["done"] == 500
        assert sorted(event["id"] for _, event in invoked(redriven)) == [event["id"] for event in events]
        assert waiting(redriven) == []

    def test_twice_hands_nothing_over_twice(self, redriven: World) -> None:
        kept(redriven, queued(refused()))
        for _ in range(2):
            redriven.call("work_dead_letters", ask("Redrive"))
        assert len(invoked(redriven)) == 1

    def test_of_what_is_refused_again_leaves_the_same_letter_waiting(self, redriven: World) -> None:
        kept(redriven, queued(refused()))
        redriven.call("work_dead_letters", ask("Redrive"))
        kept(redriven, queued(refused()))
        (letter,) = waiting(redriven)
        assert (letter["times"], letter["stage"]) == (2, "waiting for a person")

    def test_of_what_came_back_before_it_was_put_away_leaves_it_waiting(self, redriven: World) -> None:
        kept(redriven, queued(refused()))
        redriven.wire.before("Invoke", lambda: kept(redriven, queued(refused())))
        assert redriven.call("work_dead_letters", ask("Redrive"))["left"] == 1
        assert len(waiting(redriven)) == 1

    def test_that_fails_for_one_leaves_it_waiting_and_is_repeated(self, redriven: World) -> None:
        kept(redriven, queued(refused()))
        redriven.wire.answer("Invoke", error="TooManyRequestsException")
        with pytest.raises(RuntimeError, match="1 of 1 dead letters still wait"):
            redriven.call("work_dead_letters", ask("Redrive"))
        redriven.wire.answer("Invoke")
        assert redriven.call("work_dead_letters", ask("Redrive"))["done"] == 1

    def test_of_what_nobody_knows_says_so_in_its_history(self, redriven: World) -> None:
        kept(redriven, queued("no JSON"), queued(refused() | {"function": "another-stack-s"}))
        assert redriven.call("work_dead_letters", ask("Redrive")) == {"accepted": True, "done": 0, "left": 2}
        assert {letter["history"][-1]["what"] for letter in waiting(redriven)} == {"not redriven"}
        assert invoked(redriven) == []


class TestAChoice:
    @pytest.mark.parametrize(
        ("choice", "left"),
        [
            ({"kind": "failed"}, ["refused"]),
            ({"reason": "is configured"}, ["failed"]),
            ({"function": ACCEPT}, []),
            ({"function": "mayfly-count-release"}, ["failed", "refused"]),
            ({"kind": "failed", "reason": "is configured"}, ["failed", "refused"]),
            ({}, []),
        ],
        ids=str,
    )
    def test_is_by_kind_function_and_reason(self, redriven: World, choice: Json, left: list[str]) -> None:
        other = BAD | {"id": "11111111-b491-4cf7-a9f1-bf3703467718"}
        kept(redriven, queued(refused()), queued(failed(other)))
        redriven.call("work_dead_letters", ask("Discard", **choice))
        assert sorted(letter["kind"] for letter in waiting(redriven)) == left

    def test_is_by_name(self, redriven: World) -> None:
        kept(redriven, queued(refused()), queued("no JSON"))
        (name,) = [letter["id"] for letter in waiting(redriven) if letter["kind"] == "unreadable"]
        redriven.call("work_dead_letters", ask("Discard", letters=[name]))
        assert [letter["kind"] for letter in waiting(redriven)] == ["refused"]
        assert redriven.record(name, "dead-letter")["stage"] == "discarded"

    def test_is_of_what_waited_when_it_was_made(self, redriven: World) -> None:
        kept(redriven, queued(refused()))
        assert redriven.call("work_dead_letters", ask("Discard", at="2026-11-24T06:00:00Z"))["done"] == 0
        assert len(waiting(redriven)) == 1

    @pytest.mark.parametrize("choice", [{"kind": "odd"}, {"letters": []}, {"letters": ["x"]}, {"all": True}], ids=str)
    def test_that_cannot_be_understood_is_refused(self, redriven: World, choice: Json) -> None:
        assert not redriven.call("work_dead_letters", ask("Discard", **choice))["accepted"]


class TestTheApi:
    def test_counts_by_kind_and_reason(self, api: Api) -> None:
        events = [BAD | {"id": f"6a7e8feb-b491-4cf7-a9f1-{number:012}"} for number in range(3)]
        said = "version: expected no blank, but it is"
        kept(api.world, *(queued(refused(event, f"{said} '{event['id']}'")) for event in events), queued("no JSON"))
        shown = api.get("/api/dead-letters").json
        assert shown["count"] == len(shown["dead_letters"]) == 5  # with the one that was there
        groups = [(group["count"], group["kind"]) for group in shown["groups"]]
        assert groups == [(3, "refused"), (1, "refused"), (1, "unreadable")]

    def test_shows_one_whole(self, api: Api) -> None:
        kept(api.world, queued(refused()))
        (letter,) = (one for one in waiting(api.world) if one["id"] != "dl-9f86d081884c7d65")
        shown = api.get(f"/api/dead-letters/{letter['id']}").json
        assert (shown["message"], shown["tone"], len(shown["history"])) == (BAD, "warn", 1)

    @pytest.mark.parametrize("way", ["bus", "topic"])
    def test_shows_nobody_the_report_token_that_is_in_one(self, api: Api, way: str) -> None:
        """A viewer would have what passes a suite. Who has it redriven needs not see it."""
        detail = {"environment": "webshop-1-smoke", "outcome": "passed", "token": REPORT_TOKEN}
        on_topic = on_the_topic("mayfly_webshop_test-results", json.dumps(detail))
        event = on_the_bus("Test Finished", detail) if way == "bus" else on_topic
        kept(api.world, queued(refused(event, "time: expected another one")))
        (letter,) = (one for one in waiting(api.world) if one["id"] != "dl-9f86d081884c7d65")
        shown = api.of("viewer").get(f"/api/dead-letters/{letter['id']}")
        assert shown.status == 200
        assert REPORT_TOKEN not in str(shown.text)
        assert "webshop-1-smoke" in str(shown.text)
        api.world.wire.answer("Invoke")
        api.world.call("work_dead_letters", ask("Redrive", letters=[letter["id"]]))
        assert invoked(api.world) == [(ACCEPT, event)]

    @pytest.mark.parametrize("what", ["redrive", "discard"])
    def test_asks_for_what_an_operator_wants(self, api: Api, what: str) -> None:
        answer = api.post(f"/api/dead-letters/{what}", {"kind": "refused", "why": "because"})
        assert answer.status == 202
        ((event, detail),) = api.world.said
        assert event == f"Dead Letters {what.title()} Requested"
        assert detail == {"kind": "refused", "why": "because", "requested_by": "operator"}

    def test_refuses_a_developer(self, api: Api) -> None:
        assert api.of("developer").post("/api/dead-letters/discard", {"why": "because"}).status == 403
