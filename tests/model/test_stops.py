"""Every execution, stopped in every state that it may be found in: nothing outlives its time, nothing is held, no
record stays open, and people are told. A state that no history comes to is listed here, with why."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.model import stopping
from tests.model.imaging_world import Imaging
from tests.model.production_world import Production
from tests.model.stopping import (
    BY_HTTP,
    MACHINES,
    MOMENTS,
    OWN_MACHINE,
    History,
    Runners,
    Stop,
    stopped_in,
    with_runner,
)
from tests.model.world import ROOT, World

type Json = dict[str, Any]

LIFE = ("Plan", "Create Stack", "Confirm Ready", "Await Tests", "Delete Stack", "Confirm Gone")
RELEASE = ("Plan", "Announce Start", "Run Suites", "Run Environment", "Judge", "Announce Verdict", "Close")
HISTORIES = {
    "a release passes": History(World, stopping.passes, {"run_release": RELEASE, "run_environment": LIFE}),
    "a life expires": History(World, stopping.expires, {"run_environment": LIFE, "run_release": RELEASE}),
    "its stacks fail": History(
        World, stopping.breaks, {"run_environment": (*LIFE[:2], "Delete Stack"), "run_release": RELEASE}
    ),
    "it waits for room": History(World, stopping.waits, {"run_environment": ("Await Room",)}),
    "it moves on to another target": History(
        World, stopping.moves_on, {"run_environment": ("Delete Stack", "Confirm Gone", "Await Room", *LIFE[1:5])}
    ),
    "it launches later": History(World, stopping.launches_later, {"run_environment": ("Await Launches",)}),
    "many call CloudFormation": History(
        World, stopping.waits_for_its_turn, {"run_environment": ("Await Turn To Build", "Await Turn To End")}
    ),
    "its stack cannot be deleted": History(
        World, stopping.leaks, {"run_environment": ("Delete Stack", "Announce Leak", "Remember Leak")}
    ),
    "its stack is protected": History(
        World, stopping.is_protected, {"run_environment": ("Delete Stack", "Announce Leak", "Remember Leak")}
    ),
    "a sweep adopted it": History(World, stopping.is_adopted, {"run_environment": ("Plan", *LIFE[3:])}),
    "a sweep ends it": History(World, stopping.is_ended_by_a_sweep, {"run_environment": ("Plan", *LIFE[4:])}),
    "a preview": History(World, stopping.shows, {"run_environment": LIFE}),
    "a function tests": History(
        Runners,
        with_runner(type="lambda", function="mayfly-tests-smoke"),
        {"run_environment": ("Start Tests",), "run_tests": ("Plan", "Invoke Function", "Judge")},
    ),
    "a machine tests": History(
        Runners,
        with_runner(type="statemachine", machine=OWN_MACHINE.rpartition(":")[2]),
        {"run_tests": ("Run Machine",)},
    ),
    "a build tests": History(
        Runners, with_runner(type="codebuild", project="mayfly-tests-smoke"), {"run_tests": ("Run Build",)}
    ),
    "an API tests": History(Runners, with_runner(**BY_HTTP), {"run_tests": ("Call",)}),
    "an API is asked too often": History(Runners, stopping.asks_too_often, {"run_tests": ("Call", "Pause")}),
    "production is made": History(
        Production,
        stopping.is_made,
        {"roll_out": ("Announce Start", "Prepare Stack", "Verify", "Judge", "Announce End")},
    ),
    "production is replaced": History(
        Production,
        stopping.rolls_out,
        {
            "roll_out": (
                *("Announce Start", "Prepare Stack", "Replace Instances", "Settle Stack", "Verify", "Judge"),
                "Announce End",
            )
        },
    ),
    "a rollout is paused": History(Production, stopping.is_paused, {"roll_out": ("Replace Instances",)}),
    "a rollout goes on after a pause": History(
        Production, stopping.goes_on, {"roll_out": ("Settle Stack", "Verify", "Judge")}
    ),
    "production goes back": History(
        Production,
        stopping.goes_back,
        {"roll_out": ("Return Instances", "Return Stack", "Verify", "Judge", "Announce End")},
    ),
    "an image is baked": History(
        Imaging,
        stopping.bakes,
        {
            "bake_image": (
                *("Plan", "Launch Builder", "Create Image", "Remove Builder", "Prove", "Judge", "Promote"),
                *("Announce Baked", "Close"),
            ),
            "promote_image": ("Plan", "Copy", "Copy Image", "Share", "Move", "Announce Move", "Close"),
            "run_environment": LIFE,
        },
    ),
    "an image is rejected": History(
        Imaging, stopping.rejects, {"bake_image": ("Judge", "Announce Rejected", "Close Rejected")}
    ),
    "a person moves a channel": History(
        Imaging, stopping.moves, {"promote_image": ("Plan", "Share", "Move", "Announce Move", "Close")}
    ),
    "a person takes a channel back": History(
        Imaging, stopping.steps_back, {"promote_image": ("Plan", "Share", "Move", "Announce Move", "Close")}
    ),
    "a person moves it nowhere": History(
        Imaging,
        stopping.moves_nowhere,
        {"promote_image": ("Plan", "Keep Outcome", "Announce Outcome", "Close Outcome")},
    ),
}
EXCEPTED = {
    "show_release": "it only shows what is said elsewhere, and tells nobody of itself; `test_first_comment` stops it",
}
UNREACHED = {
    ("run_environment", "Run Command"): "no instance here runs Systems Manager's agent; `tests/e2e` runs commands",
}
"""States that no history here comes to."""


def states_of(machine: Json) -> Iterator[str]:
    """The states in which an execution may be found. The others take no time: who is stopped there is stopped at the
    end of the one before."""
    for name, state in machine["States"].items():
        if state["Type"] not in ("Choice", "Pass", "Succeed", "Fail"):
            yield name
        for inner in [state.get("ItemProcessor"), *state.get("Branches", [])]:
            yield from states_of(inner) if inner else ()


STOPS = [
    pytest.param(history, machine, state, moment, id=f"{name}, {machine}, {state}, {moment}")
    for name, history in HISTORIES.items()
    for machine, states in history.states.items()
    for state in states
    for moment in MOMENTS
]


@pytest.mark.parametrize(("history", "machine", "state", "moment"), STOPS)
def test_what_is_stopped_leaves_nothing_and_people_are_told(
    history: History, machine: str, state: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_in(history, Stop(MACHINES[machine], state, MOMENTS[moment]), monkeypatch)


def test_every_state_of_every_machine_is_stopped_in_or_says_why_not() -> None:
    machines = {file.name.partition(".")[0]: json.loads(file.read_text()) for file in ROOT.glob("statemachines/*.json")}
    there = {(name, state) for name, one in machines.items() if name not in EXCEPTED for state in states_of(one)}
    stopped = {
        (machine, state) for one in HISTORIES.values() for machine, states in one.states.items() for state in states
    }
    assert stopped | set(UNREACHED) == there
    assert not stopped & set(UNREACHED)
    assert set(EXCEPTED) <= set(machines)
