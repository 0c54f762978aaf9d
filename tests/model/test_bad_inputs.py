"""Ten thousand and more messages that are wrong in some way, through every message handler that there is.

Each is a good message with one thing broken, from a seeded generator: the same ones every time. Whatever it is, there
is an answer that says what is wrong, the message lies whole in the dead letters, and nothing has happened besides.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random
from typing import Any

import pytest

from tests.model.world import World

type Json = dict[str, Any]

EACH = 1600
"""Bad messages for each message handler and way in."""
OVERSIZED = 40
"""Of them so large that their size is the trouble: they take their time."""

ENVIRONMENT = "webshop-1-0-0-a7fd7e60-smoke"
STACK = f"arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-{ENVIRONMENT}/3c2b6a60"
ODD_TEXTS = ("", " ", "\n", "\x00", "\ud800", "💥" * 9, "ÄÖÜ", "'; DROP TABLE", "{{x}}", "../../etc", "a b", "x" * 5000)
NOT_TEXT: tuple[Any, ...] = (None, 7, 1.5, True, [], ["a"], {}, {"a": {"b": 1}})
NOT_A_NUMBER: tuple[Any, ...] = (None, "", "many", 1.5, [], {}, [1], -1, 0, 10**30)
NOT_A_SWITCH: tuple[Any, ...] = (None, "", "true", "off", 0, 1, 2.5, [], {})
NOT_A_DETAIL: tuple[Any, ...] = (None, 7, "text", [], [{}], "", True, "{}")
NOT_A_TIME: tuple[str, ...] = (
    "",
    "yesterday",
    "24.11.2026",
    "2026-99-99T00:00:00Z",
    "2026-11-24T06:55:00",
    "9" * 30,
    "7",
)
NOT_A_TIME += ("0001-01-01T00:00:00Z", "1969-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
NOT_JSON = (
    "",
    "{",
    "nope",
    "null",
    "[]",
    "7",
    '"text"',
    '{"a": 1,}',
    "{'a': 1}",
    "\ufeff{}",
    '{"a": "\x00"}',
    "[" * 90,
)


@dataclass(frozen=True)
class Handler:
    """A function that takes messages, and what a good one looks like.

    Attributes:
        texts, numbers, switches: required fields by their kind. Each text is one that may not be just anything.
        optional: fields that may be left out.
        topic: whether messages come by SNS as well.
    """

    function: str
    detail_type: str
    good: Json
    texts: tuple[str, ...] = ()
    free_texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    topic: bool = False

    @property
    def required(self) -> list[str]:
        return [name for name in self.good if name not in self.optional]


PUSHED = {"application": "webshop", "version": "1.0.0", "artifact": "s3://artifacts/1", "attempt": 3}
ASKED = {"environment": ENVIRONMENT, "why": "looking", "requested_by": "dev"}
HANDLERS = (
    Handler(
        "accept_code_version",
        "Code Version Pushed",
        PUSHED,
        texts=("application", "version"),
        free_texts=("artifact",),
        numbers=("attempt",),
        optional=("attempt",),
        topic=True,
    ),
    Handler(
        "accept_test_result",
        "Test Finished",
        {"environment": ENVIRONMENT, "outcome": "passed"},
        texts=("environment", "outcome"),
        topic=True,
    ),
    Handler(
        "accept_extension",
        "Environment Extension Requested",
        ASKED | {"minutes": 30},
        texts=("environment",),
        free_texts=("why", "requested_by"),
        numbers=("minutes",),
    ),
    Handler(
        "accept_termination",
        "Environment Termination Requested",
        ASKED,
        texts=("environment",),
        free_texts=("why", "requested_by"),
    ),
    Handler(
        "set_kill_switch",
        "Kill Switch Set",
        {"on": True, "why": "an incident", "set_by": "ops"},
        free_texts=("why", "set_by"),
        switches=("on",),
    ),
    Handler(
        "sweep_environments",
        "Sweep Requested",
        {"why": "to see", "requested_by": "ops", "dry_run": False},
        free_texts=("why", "requested_by"),
        switches=("dry_run",),
        optional=("dry_run",),
    ),
)


@dataclass(frozen=True)
class Bad:
    """A bad message, and the field that its refusal has to name, where one field is to blame."""

    event: Any
    named: str = ""


# ---- what can be wrong


def broken_details(handler: Handler, random: Random) -> Iterator[tuple[Any, str]]:
    """Details with one thing wrong, without end."""
    breaks = [_without, _misspelt, _extra, _odd_text, _no_text, _no_number, _no_switch, _nobody, _no_detail]
    while True:
        if found := random.choice(breaks)(handler, random):
            yield found


def _without(handler: Handler, random: Random) -> tuple[Any, str]:
    gone = random.choice(handler.required)
    rest = {key: value for key, value in handler.good.items() if key != gone}
    # A test result names its environment in one of two ways, so that no single field is missing.
    return rest, "expected either environment" if gone == "environment" and "outcome" in rest else gone


def _misspelt(handler: Handler, random: Random) -> tuple[Any, str]:
    name = random.choice(list(handler.good))
    wrong = random.choice([name.upper(), name + "s", name[1:] or "_", f" {name}", name.title()])
    return {(wrong if key == name else key): value for key, value in handler.good.items()}, wrong


def _extra(handler: Handler, random: Random) -> tuple[Any, str]:
    name = random.choice(["extra", "Ünïcode", "a.b", "__class__", "$ref", "e" * 200, "\n", "💥"]) + str(random.random())
    return handler.good | {name: _anything(random)}, name


def _odd_text(handler: Handler, random: Random) -> tuple[Any, str] | None:
    if handler.free_texts and random.random() < 0.3:
        name = random.choice(handler.free_texts)
        return handler.good | {name: random.choice(["", "\u202e", "x" * 1025, "💥" * 2000])}, name
    if not handler.texts:
        return None
    name = random.choice(handler.texts)
    return handler.good | {name: random.choice(ODD_TEXTS) + random.choice(["", "!", "\t"])}, name


def _no_text(handler: Handler, random: Random) -> tuple[Any, str] | None:
    name = random.choice((*handler.texts, *handler.free_texts))
    value = random.choice(NOT_TEXT)
    # The environment of a test result may be left out, and null says the same.
    either = value is None and name == "environment" and "outcome" in handler.good
    return handler.good | {name: value}, "expected either environment" if either else name


def _no_number(handler: Handler, random: Random) -> tuple[Any, str] | None:
    return _replaced(handler, random, handler.numbers, NOT_A_NUMBER)


def _no_switch(handler: Handler, random: Random) -> tuple[Any, str] | None:
    return _replaced(handler, random, handler.switches, NOT_A_SWITCH)


def _replaced(
    handler: Handler, random: Random, names: tuple[str, ...], values: tuple[Any, ...]
) -> tuple[Any, str] | None:
    if not names:
        return None
    name = random.choice(names)
    return handler.good | {name: random.choice(values)}, name


def _nobody(handler: Handler, random: Random) -> tuple[Any, str] | None:
    """Well said, but of an environment that there is not."""
    if "environment" not in handler.good:
        return None
    return handler.good | {"environment": f"webshop-{random.randrange(10**9)}-smoke"}, "environment"


def _no_detail(handler: Handler, random: Random) -> tuple[Any, str]:
    return random.choice(NOT_A_DETAIL), ""


def _anything(random: Random, depth: int = 0) -> Any:
    """Any JSON."""
    if depth < 4 and random.random() < 0.4:
        parts = [_anything(random, depth + 1) for _ in range(random.randrange(4))]
        return parts if random.random() < 0.5 else {random.choice(ODD_TEXTS): part for part in parts}
    return random.choice((*ODD_TEXTS, *NOT_TEXT, *NOT_A_NUMBER))


def broken_envelopes(good: Json, random: Random) -> Iterator[Any]:
    """An event of EventBridge that is none, without end."""
    while True:
        name = random.choice([key for key in good if key not in ("detail-type", "detail")])
        wrong: Any = random.choice([None, [], {}, 1.5, ["x", 7]])
        wrong = {} if name == "resources" or (name == "time" and wrong == 1.5) else wrong
        yield random.choice(
            [
                {key: value for key, value in good.items() if key != name},
                good | {name: wrong},
                {key.upper(): value for key, value in good.items()},
                good | {"time": random.choice(NOT_A_TIME)},
                good | {"detail-type": random.choice([None, 7, [], {}])},
                {"detail-type": good["detail-type"], "detail": good["detail"]},
                {"detail-type": good["detail-type"]},
                random.choice([{}, [], None, 7, "text", [good], {"Records": []}, {"detail": good["detail"]}]),
            ]
        )


def broken_notifications(good: Json, random: Random) -> Iterator[Any]:
    """A notification of SNS that is none, without end."""
    (record,) = good["Records"]
    note = record["Sns"]
    while True:
        wrong: Any = random.choice([None, [], "text", 7])
        gone = random.choice(["Message", "MessageId", "Timestamp", "TopicArn", "Type"])
        cut = note["Message"][: -random.randrange(1, 20)]
        yield random.choice(
            [
                _notification(record, note | {"Message": random.choice(NOT_JSON)}),
                _notification(record, note | {"Message": cut}),
                _notification(record, {key: value for key, value in note.items() if key != gone}),
                _notification(record, note | {"Timestamp": random.choice([*NOT_A_TIME, wrong])}),
                _notification(record, wrong),
                _notification(record | {"EventSource": random.choice(["aws:sqs", wrong])}, note),
                {"Records": random.choice([[], {}, "text", 7, [None], [[]], ["x"], [record, record]])},
            ]
        )


def _notification(record: Json, note: Any) -> Json:
    return {"Records": [record | {"Sns": note}]}


def oversized(handler: Handler, random: Random) -> Iterator[tuple[Any, str]]:
    """As large as EventBridge lets pass, or with more faults than anybody would read."""
    while True:
        yield handler.good | {"extra": random.choice(["x", "ä", "💥", "\\", "\ud800"]) * 150_000}, "extra"
        yield handler.good | {f"extra-{number}": number for number in range(random.randrange(5_000, 20_000))}, "extra-"
        yield handler.good | {"e" * 300_000: 1}, "e" * 100
        yield handler.good | {"extra": [[{"deep": [0] * 100}] * 100] * 10}, "extra"
        deep: Any = 0
        for _ in range(300):
            deep = [deep]
        yield handler.good | {"extra": deep}, "extra"


# ---- by which way


def by_bus(handler: Handler, world: World) -> Iterator[Bad]:
    random = Random(handler.function)
    good = world.on_the_bus(handler.detail_type, handler.good)
    yield from (Bad(good | {"detail": detail}, name) for detail, name in islice(oversized(handler, random), OVERSIZED))
    for (detail, name), envelope in zip(broken_details(handler, random), broken_envelopes(good, random), strict=False):
        yield Bad(good | {"detail": detail}, name)
        yield Bad(good | {"detail": detail}, name) if random.random() < 0.5 else Bad(envelope)


def by_topic(handler: Handler, world: World) -> Iterator[Bad]:
    random = Random(handler.function)
    good = world.on_the_topic(json.dumps(handler.good))
    details = (found for found in broken_details(handler, random) if isinstance(found[0], dict))
    for (detail, name), notification in zip(details, broken_notifications(good, random), strict=False):
        text = json.dumps(detail)
        # Half a character is no JSON at all, so that no field is to blame.
        yield Bad(world.on_the_topic(text), "message" if "\\ud800" in text else name)
        yield Bad(notification)


def by_cloudformation(world: World) -> Iterator[Bad]:
    """Events of stacks: AWS's own, so that what we do not know in them is AWS's business, but what we need is not."""
    random = Random("resume_environment")
    status = {"status": "CREATE_COMPLETE", "status-reason": ""}
    detail = {"stack-id": STACK, "status-details": status}
    good = world.on_the_bus("CloudFormation Stack Status Change", detail, "aws.cloudformation")
    envelopes = broken_envelopes(good, random)
    while True:
        yield Bad(good | {"detail": random.choice(NOT_A_DETAIL)})
        yield Bad(good | {"detail": {"status-details": status}}, "stack-id")
        yield Bad(
            good | {"detail": {"stack-id": random.choice((*NOT_TEXT, *ODD_TEXTS)), "status-details": status}},
            "stack-id",
        )
        wrong = random.choice(NOT_TEXT)  # an odd text is a status that nobody knows yet, and counts as going on
        yield Bad(good | {"detail": {"stack-id": STACK, "status-details": {"status": wrong}}}, "status")
        yield Bad(good | {"detail": {"stack-id": STACK, "status-details": random.choice(NOT_TEXT)}}, "status")
        yield Bad(next(envelopes))


def by_schedule(world: World) -> Iterator[Bad]:
    """What the Scheduler or a person hands to a sweep."""
    random = Random("schedule")
    good = {"now": world.timeline.text}
    while True:
        yield Bad({"now": random.choice((*NOT_TEXT, *ODD_TEXTS, *NOT_A_TIME))}, "now")
        yield Bad({"dry_run": True}, "now")
        yield Bad(good | {"dry_run": random.choice(NOT_A_SWITCH)}, "dry_run")
        yield Bad(random.choice([[], None, 7, "text", [good]]))


WAYS: dict[str, tuple[str, Callable[[World], Iterator[Bad]]]] = {
    **{f"{handler.function} by bus": (handler.function, partial(by_bus, handler)) for handler in HANDLERS},
    **{
        f"{handler.function} by topic": (handler.function, partial(by_topic, handler))
        for handler in HANDLERS
        if handler.topic
    },
    "resume_environment by bus": ("resume_environment", by_cloudformation),
    "sweep_environments by schedule": ("sweep_environments", by_schedule),
}


def test_there_are_ten_thousand_of_them() -> None:
    assert len(WAYS) * EACH >= 10_000


@pytest.mark.parametrize("way", WAYS)
def test_a_bad_message_is_refused_kept_and_followed_by_nobody(world: World, way: str) -> None:
    function, generate = WAYS[way]
    world.deliver("accept_code_version", world.on_the_bus("Code Version Pushed", PUSHED | {"attempt": 1}))
    world.timeline.advance(240)
    assert world.record(ENVIRONMENT)["stage"] == "awaiting tests"
    before = traces(world)
    tried = 0
    for bad in islice(generate(world), EACH):
        event = json.loads(json.dumps(bad.event))
        world.sqs.messages.clear()
        answer = world.invoke(function, event)
        assert answer["accepted"] is False, event
        assert answer["reason"], event
        assert bad.named[:100] in answer["reason"], (bad.named, answer["reason"][:500])
        (letter,) = world.sqs.messages
        assert json.loads(letter) == {"function": function, "reason": answer["reason"], "message": event}
        assert traces(world) == before, event
        tried += 1
    assert tried == EACH


def traces(world: World) -> Json:
    """All that a message could have done."""
    return {
        "executions": [(one.name, one.status) for one in world.machines.executions.values()],
        "records": dict(world.dynamodb.items),
        "parameters": dict(world.ssm.parameters),
        "objects": list(world.s3.objects),
        "said": len(world.events.said),
        "published": len(world.sns.published),
        "destroyed": dict(world.destroyed),
        "violations": list(world.violations),
        "stacks": [(stack.id, stack.status) for stack in world.account.stacks.values()],
    }
