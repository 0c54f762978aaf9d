"""Who may say what: each event by each kind of sender, before the function that receives it and before IAM."""

import json
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from mayfly.contract import announcements, requests
from mayfly.contract.fields import Announcement
from mayfly.contract.messages import Request
from mayfly.contract.reader import Refused, receive
from mayfly.contract.vocabulary import Event
from tests import envelopes
from tests.contract import EXAMPLES, example
from tests.unit.policies import CONTROLLER, REGION, Template

APPLICATION = "webshop"
SENDERS = {
    "the API": "mayfly.api",
    "an operator": "mayfly.operator",
    "the application's CI server": f"mayfly.app.{APPLICATION}",
    "another application's CI server": "mayfly.app.billing",
    "who writes the application's name in capitals": "mayfly.app.WEBSHOP",
    "who speaks for no application": "mayfly.app.",
    "the Puppet code's CI server": "mayfly.puppet",
    "who says to be Mayfly": "mayfly",
    "anybody": "ci.example",
    "who says to be AWS": "aws.cloudformation",
}
PEOPLE = {"the API", "an operator"}
ANY_APPLICATION = {name for name, source in SENDERS.items() if source.startswith("mayfly.app.")}
"""The environment's record says whose it is: the functions ask it after this (tests/integration)."""
MAY_SAY = {
    Event.CODE_VERSION_PUSHED: PEOPLE | {"the application's CI server"},
    Event.PULL_REQUEST_CLOSED: PEOPLE | {"the application's CI server"},
    Event.TEST_FINISHED: PEOPLE | ANY_APPLICATION,
    Event.ENVIRONMENT_EXTENSION_REQUESTED: PEOPLE | ANY_APPLICATION,
    Event.ENVIRONMENT_SLEEP_REQUESTED: PEOPLE | ANY_APPLICATION,
    Event.ENVIRONMENT_WAKE_REQUESTED: PEOPLE | ANY_APPLICATION,
    Event.ENVIRONMENT_TERMINATION_REQUESTED: PEOPLE | ANY_APPLICATION,
    Event.PUPPET_CODE_PUSHED: PEOPLE | {"the Puppet code's CI server"},
}
"""All other requests are people's, and all announcements are Mayfly's."""


def classes(base: type[Any], module: Any) -> dict[Event, type[Any]]:
    return {
        one.event: one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, base) and "event" in vars(one)
    }


REQUESTS, ANNOUNCEMENTS = classes(Request, requests), classes(Announcement, announcements)


def said(event: Event, source: str, **more: Any) -> dict[str, Any]:
    detail = dict(example(event)) | ({"application": APPLICATION} if event is Event.CODE_VERSION_PUSHED else {})
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": event,
        "source": source,
        "account": CONTROLLER,
        "time": "2026-11-24T06:47:33Z",
        "sent": "2026-11-24T06:47:33Z",
        "region": REGION,
        "resources": [],
        "detail": detail,
    } | more


def test_the_matrix_holds_every_event_of_the_catalogue():
    assert REQUESTS.keys() | ANNOUNCEMENTS.keys() == set(Event) == EXAMPLES.keys()


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("event", Event)
def test_an_event_is_taken_from_those_who_may_say_it(event: Event, sender: str):
    model = REQUESTS.get(event) or ANNOUNCEMENTS[event]
    may = MAY_SAY.get(event, PEOPLE) if event in REQUESTS else {"who says to be Mayfly"}
    message = said(event, SENDERS[sender])
    if sender in may:
        assert receive(model, message).source == SENDERS[sender]
    else:
        with pytest.raises(Refused, match=r"^source: expected "):
            receive(model, message)


@pytest.mark.parametrize("event", sorted(REQUESTS))
@pytest.mark.parametrize("sent", ["2027-11-24T06:47:33Z", "2199-01-01T00:00:00Z", "2026-11-24T06:42:32Z", None, "noon"])
def test_a_request_of_another_time_is_refused(event: Event, sent: Any):
    with pytest.raises(Refused, match=r"time|timestamp|datetime"):
        receive(REQUESTS[event], said(event, "mayfly.api", sent=sent))


@pytest.mark.parametrize(
    ("event", "sender"), [(event, sender) for event in REQUESTS for sender in sorted(MAY_SAY.get(event, PEOPLE))]
)
def test_a_name_in_a_payload_is_shown_as_a_claim_unless_the_api_verified_it(event: Event, sender: str):
    """Whoever is written there: an owner, an operator, or what looks like one that is verified."""
    source, names = SENDERS[sender], {name for name in REQUESTS[event].model_fields if name.endswith("_by")}
    shown = "boss@example.com" if sender == "the API" else f"boss@example.com (says {source})"
    names -= {"pushed_by"}  # told by the record, as its push says
    message = said(event, source)
    message["detail"] |= dict.fromkeys(names, "boss@example.com")
    received = receive(REQUESTS[event], message)
    assert [getattr(received.message, name) for name in names] == [shown] * len(names)
    assert received.claimed("boss@example.com") == shown
    message["detail"] |= dict.fromkeys(names, "b" * 1024)
    long = receive(REQUESTS[event], message).message
    assert all(getattr(long, name).endswith(shown[16:]) for name in names)


@pytest.mark.parametrize("commit", ["../../user/repos", "..", "a/../b", "9fceb02?x", "9fceb02#x", "a%2fb", "-x", ""])
def test_a_commit_leads_to_no_other_address_of_the_forge(commit: str):
    """Mayfly calls it with the token of the application's connection."""
    event = said(Event.CODE_VERSION_PUSHED, f"mayfly.app.{APPLICATION}")
    event["detail"]["commit"] = commit
    with pytest.raises(Refused, match=r"^commit: "):
        receive(REQUESTS[Event.CODE_VERSION_PUSHED], event)


@pytest.mark.parametrize("event", sorted(REQUESTS))
def test_a_request_is_of_the_time_at_which_eventbridge_took_it(event: Event):
    received = receive(REQUESTS[event], said(event, "mayfly.api", sent="2026-11-24T06:52:33Z"))
    assert received.at.isoformat() == "2026-11-24T06:47:33+00:00"


def test_every_rule_of_requests_hands_over_eventbridge_s_own_time():
    seen = set()
    for resource in Template("template.yaml").resources.values():
        for source in resource.get("Properties", {}).get("Events", {}).values():
            heard = source["Properties"].get("Pattern", {}).get("detail-type", ())
            types = {str(one) for one in REQUESTS if str(one) in heard}
            if types:
                transformer = source["Properties"]["InputTransformer"]
                template = transformer["InputTemplate"]
                assert '"time": <aws.events.event.ingestion-time>, "sent": <sent>' in " ".join(template.split())
                assert transformer["InputPathsMap"]["sent"] == "$.time"
                seen |= types
    assert seen == {str(one) for one in REQUESTS}


@pytest.mark.parametrize("topic", ["mayfly_billing_code-versions", "mayfly-code-versions", "mayfly_webshop", "a_b_c_d"])
def test_a_topic_speaks_for_its_own_application_only(topic: str):
    event = envelopes.notification(topic, json.dumps(said(Event.CODE_VERSION_PUSHED, "")["detail"]))
    with pytest.raises(Refused, match=r"^source: expected "):
        receive(REQUESTS[Event.CODE_VERSION_PUSHED], event)


# ---- what IAM lets a principal say that has one of the policies which Mayfly brings -----------------------------

ONE = Template("blueprints/application.yaml", Mayfly="mayfly", Application=APPLICATION)
POLICIES = {
    "an operator": (Template("template.yaml"), "OperatorPolicy"),
    "the Puppet code's CI server": (Template("template.yaml"), "PuppetPolicy"),
    "the application's CI server": (ONE, "CiPolicy"),
    "a tester of the application": (ONE, "TesterPolicy"),
}
OF_TESTERS = (
    *(Event.TEST_FINISHED, Event.ENVIRONMENT_EXTENSION_REQUESTED, Event.ENVIRONMENT_TERMINATION_REQUESTED),
    *(Event.ENVIRONMENT_SLEEP_REQUESTED, Event.ENVIRONMENT_WAKE_REQUESTED),
)
PUTS = {
    "an operator": lambda source, _: source == "mayfly.operator" or source.startswith("mayfly.app."),
    "the Puppet code's CI server": lambda source, what: (source, what) == ("mayfly.puppet", Event.PUPPET_CODE_PUSHED),
    "the application's CI server": lambda source, what: (
        source == f"mayfly.app.{APPLICATION}"
        and what in (*OF_TESTERS, Event.CODE_VERSION_PUSHED, Event.PULL_REQUEST_CLOSED)
    ),
    "a tester of the application": lambda source, what: source == f"mayfly.app.{APPLICATION}" and what in OF_TESTERS,
}


def allowed(who: str, sources: list[str], types: list[str]) -> bool:
    template, name = POLICIES[who]
    document = template.resolved(template.resources[name]["Properties"]["PolicyDocument"])
    (put,) = (one for one in document["Statement"] if one["Action"] == "events:PutEvents")
    asked = EvalContext(
        principal_arn=f"arn:aws:iam::{CONTROLLER}:role/x",
        principal_type="AssumedRole",
        principal_account=CONTROLLER,
        action="events:PutEvents",
        resource_arn=str(put["Resource"]),
        region=REGION,
        service_context={"events:source": sources, "events:detail-type": types} if sources else {},
    )
    return evaluate(asked, [parse_policy_document(json.dumps(document))]).decision == "Allow"


@pytest.mark.parametrize("who", POLICIES)
def test_a_policy_lets_its_principal_say_what_is_theirs_and_nothing_else(who: str):
    for source in SENDERS.values():
        for event in Event:
            assert allowed(who, [source], [event]) == PUTS[who](source, event), (who, source, event)


@pytest.mark.parametrize("who", POLICIES)
def test_a_call_that_smuggles_one_event_among_others_is_denied_whole(who: str):
    own = next((source, event) for source in SENDERS.values() for event in Event if PUTS[who](source, event))
    assert allowed(who, [own[0]], [own[1]])
    assert not allowed(who, [own[0], "mayfly"], [own[1], Event.RELEASE_PASSED])
    assert not allowed(who, [], [])
