"""The contract in machines and template: their literals are words of the catalogue, and what a machine announces is
what the catalogue says of the event."""

import ast
import json
import re
from pathlib import Path

import pytest

from mayfly.contract import vocabulary
from mayfly.contract.announcements import Announcement
from mayfly.contract.vocabulary import AwsEvent, EnvironmentStage, Event, RolloutStage, Source, Wait
from tests.blueprint import INSTALLATION, template
from tests.contract import CATALOGUE, EXAMPLES, checked
from tests.model.interpreter import expression

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = template(INSTALLATION)["Resources"]
MACHINES = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in ROOT.glob("statemachines/*.json")}
OURS = {str(event) for event in Event}
NAME = re.compile(r"(?:[A-Z][a-z]+ )+(?:Requested|[A-Z][a-z]+)")


def states(definition):
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def texts(value):
    """Every text in a definition, comments left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner) if key != "Comment" else ()
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def patterns(node):
    """Every event pattern of a rule in the template."""
    if isinstance(node, dict):
        for key, inner in node.items():
            if key in ("Pattern", "EventPattern"):
                yield inner
            else:
                yield from patterns(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from patterns(inner)


def evaluated(value, variables):
    """What a part of a state is once its expressions are evaluated."""
    if isinstance(value, str) and value.startswith("{%"):
        return expression(value[2:-2].strip(), variables)
    if isinstance(value, dict):
        return {key: evaluated(inner, variables) for key, inner in value.items()}
    return [evaluated(inner, variables) for inner in value] if isinstance(value, list) else value


ENVIRONMENT = EXAMPLES["Environment Requested"]
SUBJECT = {key: ENVIRONMENT[key] for key in ENVIRONMENT if key != "deadline"}
FACTS = {"deadline": ENVIRONMENT["deadline"], "order": SUBJECT, "instances": 45, "outputs": {"Url": "http://x"}}
BAKED = {key: EXAMPLES["Image Baked"][key] for key in EXAMPLES["Image Baked"] if key not in ("candidate", "promotion")}
MOVE = {key: EXAMPLES["Image Promoted"][key] for key in ("family", "channel", "image", "why", "requested_by")}
PLAN = MOVE | {"from": EXAMPLES["Image Promoted"]["from"], "regions": {}, "copies": [], "version": 6, "reason": "-"}
CAUGHT = {"Error": "Refused", "Cause": json.dumps({"errorMessage": "it cannot be", "errorType": "Refused"})}
SETUP = {"image": "ami-0a1b2c3d4e5f60718", "version": "1", "artifact": "s3://a/1", "parameters": {}, "blueprint": None}
ROLLOUT = {key: value for key, value in EXAMPLES["Rollout Started"].items() if key not in ("from", "to")}
PUSHED = EXAMPLES["Code Version Pushed"] | {"commit": None}
SUITE = {"suite": "smoke", "environment": ENVIRONMENT["environment"], "kind": "automated"}
VERDICT = {key: EXAMPLES["Release Passed"][key] for key in ("release", "reason", "suites")}


SCOPES = {
    ("run_release", "Announce Start"): [
        ({"input": {"release": VERDICT["release"], "orders": [SUITE] * count}, "execution": {"pushed": PUSHED}}, {})
        for count in (1, 2)
    ],
    ("run_release", "Announce Verdict"): [
        ({"input": VERDICT | {"passed": True}, "execution": {"pushed": PUSHED}}, {}),
        ({"input": VERDICT | {"passed": False, "suites": []}, "execution": {"pushed": PUSHED}}, {}),
    ],
    ("run_environment", "Announce Leak"): [({}, FACTS | {"leak": CAUGHT}), ({}, FACTS | {"leak": {"Error": "X"}})],
    ("bake_image", "Announce Baked"): [({}, {"detail": BAKED, "candidate": False, "promotion": "not now"})],
    ("bake_image", "Announce Rejected"): [({}, {"detail": BAKED | {"image": "", "log": ""}})],
    ("promote_image", "Announce Move"): [
        ({}, {"plan": PLAN | {"action": action}, "regions": {"us-east-1": "ami-1"}, "moved": {"version": 7}})
        for action in ("promote", "roll back")
    ],
    ("promote_image", "Announce Outcome"): [
        ({"execution": execution}, {"failure": failure, "outcome": f"Image Promotion {outcome}"})
        for execution in (MOVE, {key: MOVE[key] for key in MOVE if key != "image"})
        for failure, outcome in ((CAUGHT, "Refused"), ({"Error": "X", "Cause": "no JSON"}, "Failed"))
    ],
    ("roll_out", "Announce Start"): [
        ({"execution": ROLLOUT | {"before": SETUP, "after": SETUP}}, {}),
        ({"execution": ROLLOUT | {"before": None, "after": SETUP}}, {}),
    ],
    ("roll_out", "Announce End"): [
        ({}, {"verdict": EXAMPLES["Rollout Started"] | {"outcome": outcome, "reason": "-"}})
        for outcome in ("completed", "rolled back", "failed")
    ],
}
"""For each state that announces something, the scopes it may run in: `input` and `execution` (the execution's input),
and the variables. What functions return in them is held to the catalogue by the functions' own tests."""

ANNOUNCING = {
    (machine, name): state
    for machine, definition in MACHINES.items()
    for name, state in states(definition)
    if state.get("Resource") == "arn:aws:states:::events:putEvents"
}


def said(machine, name, given, variables):
    """The events that a state puts on the bus."""
    context = {"Execution": {"Input": given.get("execution", SUBJECT)}}
    scope = variables | {"states": {"input": given.get("input", {}), "context": context}}
    arguments = json.loads(json.dumps(ANNOUNCING[machine, name]["Arguments"]).replace("${Facts}", "facts"))
    return evaluated(arguments, scope)["Entries"]


def test_every_state_that_announces_something_is_looked_at():
    assert set(SCOPES) == set(ANNOUNCING)


@pytest.mark.parametrize(
    ("machine", "name", "scope"),
    [(*state, scope) for state, scopes in SCOPES.items() for scope in scopes],
    ids=[f"{machine}-{name}-{n}" for (machine, name), scopes in SCOPES.items() for n in range(len(scopes))],
)
def test_what_a_machine_announces_is_what_the_catalogue_says(machine, name, scope):
    for entry in said(machine, name, *scope):
        assert entry["Source"] == Source.MAYFLY
        assert issubclass(CATALOGUE[entry["DetailType"]], Announcement)
        checked(entry["DetailType"], entry["Detail"])


def test_each_event_is_announced_by_a_machine_or_a_function():
    by_machines = {
        entry["DetailType"] for state, scopes in SCOPES.items() for scope in scopes for entry in said(*state, *scope)
    }
    named = {
        node.id
        for path in (*ROOT.glob("functions/**/*.py"), *ROOT.glob("layers/mayfly/mayfly/workflows/*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name)
    }
    by_functions = {event for event in OURS if CATALOGUE[event].__name__ in named}
    announcements = {event for event, model in CATALOGUE.items() if issubclass(model, Announcement)}
    assert announcements <= by_machines | by_functions


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_s_words_are_the_catalogue_s(machine):
    for text in texts(MACHINES[machine]["States"]):
        quoted = re.findall(r"'([^']*)'", text) if text.startswith("{%") else [text]
        for word in quoted:
            if NAME.fullmatch(word) and word.split()[0] in {event.split()[0] for event in OURS}:
                assert word in OURS | {name for name, _ in states(MACHINES[machine])}, word


def test_stages_and_waits_that_a_machine_writes_are_the_catalogue_s():
    wait = MACHINES["run_environment"]["States"]["Await Tests"]["Arguments"]["ExpressionAttributeValues"]
    assert EnvironmentStage(wait[":stage"]["S"]) is EnvironmentStage.AWAITING_TESTS
    assert Wait(wait[":waiting"]["M"]["for"]["S"]) is Wait.TESTS
    steps = {
        state["Arguments"]["Payload"]["step"]
        for _, state in states(MACHINES["roll_out"])
        if "step" in state.get("Arguments", {}).get("Payload", {})
    }
    assert {Wait(step) for step in steps} == {
        *(Wait.PREPARE, Wait.REPLACE, Wait.SETTLE),
        *(Wait.RETURN_INSTANCES, Wait.RETURN_STACK),
    }


def test_outcomes_that_a_machine_compares_with_are_the_catalogue_s():
    compared = {
        word for text in texts(MACHINES["roll_out"]["States"]) for word in re.findall(r"outcome = '([^']*)'", text)
    }
    assert compared <= {str(stage) for stage in RolloutStage}
    assert compared


def test_rules_of_the_template_speak_of_events_that_there_are():
    known = OURS | {str(event) for event in AwsEvent}
    found = [pattern for pattern in patterns(RESOURCES) if "detail-type" in pattern]
    assert len(found) > 10
    for pattern in found:
        names = [name["prefix"] if isinstance(name, dict) else name for name in pattern["detail-type"]]
        for name in names:
            assert any(event.startswith(name) for event in known) if name.endswith(" ") else name in known, name
        aws = set(names) & set(AwsEvent)
        for source in pattern.get("source", []):
            assert source.startswith("aws.") if aws else source in set(Source), pattern


@pytest.mark.parametrize("event", sorted(OURS))
def test_every_event_has_a_class_and_an_example_that_is_one(event):
    assert checked(event, EXAMPLES[event])
    assert CATALOGUE[event].event == event


def test_no_word_of_an_enum_is_there_twice():
    for each in vars(vocabulary).values():
        if isinstance(each, type) and issubclass(each, vocabulary.StrEnum) and each is not vocabulary.StrEnum:
            assert len(each) == len(each.__members__), each
