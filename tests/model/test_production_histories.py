"""Rollouts of production under everything that can go wrong, in any order: hypothesis invents the histories."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.model.conftest import PARTS
from tests.model.disturbed import Disturbed, any_one, try_histories
from tests.model.production_world import (
    ACCOUNT,
    APPLICATION,
    ENDS,
    INSTANCES,
    SERVICE,
    STABLE,
    Production,
    ProductionPromises,
)
from tests.model.world import World

MINUTE = 60
IMAGES = ["ami-12c6146b", "ami-2", "ami-3"]
POLICIES: list[dict[str, Any]] = [{}, {}, {"when": "approved"}, {"soak_minutes": 0, "limit_minutes": 30}]


def release(world: World, application: str, version: str) -> None:
    """A version passes its tests."""
    detail = {"application": application, "version": version, "artifact": f"s3://artifacts/{version}"}
    world.deliver("accept_code_version", world.on_the_bus("Code Version Pushed", detail))
    world.timeline.advance(5 * MINUTE)
    finish(world, application)
    world.timeline.advance(10 * MINUTE)


def finish(world: World, application: str) -> None:
    """The tests of all environments of an application pass that are ready."""
    for environment in world.environments():
        token = world.events.token(environment)
        if token and environment.startswith(f"{application}-"):
            detail = {"environment": environment, "outcome": "passed", "token": token}
            world.deliver("accept_test_result", world.on_the_bus("Test Finished", detail))


class Rollouts(Disturbed[Production, ProductionPromises]):
    """One permanent environment and all that happens to it."""

    def __init__(self) -> None:
        super().__init__(Production())
        self.backup: dict[str, Any] | None = None

    def promised(self) -> ProductionPromises:
        return ProductionPromises(self.world)

    @initialize(
        policy=st.sampled_from(POLICIES),
        lag=st.sampled_from([0, 0, 3, 60]),
        jitter=st.integers(0, 3),
    )
    def begin(self, policy: dict[str, Any], lag: int, jitter: int) -> None:
        """A history begins with production in place."""
        world = self.world
        world.policy = policy
        world.configure(world.lifetime, world.ceiling)
        release(world, APPLICATION, "1.0.0")
        self._approve_all()
        world.timeline.advance(30 * MINUTE)
        assert world.fleet
        assert len(world.fleet.members) == INSTANCES
        self.vary(lag, jitter)

    # ---- what people and machines want

    @rule(version=st.sampled_from(["1.1.0", "1.2.0", "2.0.0"]))
    def push(self, version: str) -> None:
        release(self.world, APPLICATION, version)

    @rule(image=st.sampled_from(IMAGES), bad=st.booleans())
    def move_the_channel(self, image: str, bad: bool) -> None:
        """To an image that perhaps never becomes healthy."""
        self.promises.offered.add(image)
        self.world.ssm.parameters[STABLE] = image
        (self.world.fleets.bad.add if bad else self.world.fleets.bad.discard)(image)

    @rule(to=st.sampled_from(["latest", "previous"]))
    def ask(self, to: str) -> None:
        self._say(
            "plan_rollouts", "Rollout Requested", {"service": SERVICE, "to": to, "why": "so", "requested_by": "dev"}
        )
        self.promises.asked.add(self.world.delivered[-1][1]["id"])

    @precondition(lambda self: self.world.environments())
    @rule(one=any_one)
    def approve(self, one: int) -> None:
        self._say("plan_rollouts", "Rollout Approved", {"rollout": self._name(one), "why": "so", "approved_by": "ops"})
        self.promises.asked.add(self.world.delivered[-1][1]["id"])

    @rule(one=any_one, what=st.sampled_from(["Abort", "Pause", "Pause", "Resume"]))
    def interfere(self, one: int, what: str) -> None:
        """Somebody stops a rollout, has it pause, or go on."""
        detail = {"rollout": self._name(one), "why": "so", "requested_by": "ops"}
        self._say("resume_rollout", f"Rollout {what} Requested", detail)

    # ---- what goes wrong

    @rule()
    def fail_the_next_update(self) -> None:
        """Of the stack, by CloudFormation."""
        if self.world.fleet:
            self.world.fleet.update_fails = True

    @rule()
    def back_the_table_up(self) -> None:
        self.backup = dict(self.world.dynamodb.items)

    @precondition(lambda self: self.backup is not None and not self.world.restored)
    @rule()
    def restore_the_table(self) -> None:
        """Somebody restores the DynamoDB table as it was backed up, a moment ago or yesterday, whatever goes on."""
        self.world.restore_table(self.backup or {})

    def _no_more_goes_wrong(self) -> None:
        if self.world.fleet:
            self.world.fleet.update_fails = False

    # ---- helpers of the rules

    def _approve_all(self) -> None:
        self.world.timeline.advance(10 * MINUTE)
        self.approve(0)

    def _name(self, one: int) -> str:
        """A rollout: the latest ones first, and one that there never was."""
        serial = int(self.world.record(SERVICE, "service").get("serial", 1))
        return f"{SERVICE}-{max(serial - one % 3, 0)}"


@pytest.mark.parametrize("part", PARTS)
def test_every_history_of_production_keeps_the_promises(part: int) -> None:
    try_histories(Rollouts, part, "rollouts")


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> Iterator[Production]:
    with Production().installed(monkeypatch) as world:
        assert isinstance(world, Production)
        yield world


def test_a_release_that_passes_makes_production_and_a_new_image_replaces_it(production: Production) -> None:
    promises = ProductionPromises(production)
    release(production, APPLICATION, "1.0.0")
    production.timeline.advance(30 * MINUTE)
    promises.kept()
    assert production.fleet
    assert len(production.fleet.members) == INSTANCES
    production.ssm.parameters[STABLE] = "ami-2"
    promises.offered.add("ami-2")
    production.timeline.advance(120 * MINUTE)
    promises.kept()
    assert not promises.open()
    assert {one.image for one in production.fleet.members} == {"ami-2"}


def test_a_table_that_is_restored_takes_production_nowhere_unless_a_person_says_so(production: Production) -> None:
    """Its record says what stood then. Whatever is wanted afterwards has a number of its own, and waits."""
    release(production, APPLICATION, "1.0.0")
    production.timeline.advance(60 * MINUTE)
    backup = dict(production.dynamodb.items)
    release(production, APPLICATION, "1.1.0")
    production.timeline.advance(120 * MINUTE)
    production.restore_table(backup)
    production.timeline.advance(60 * MINUTE)
    asked = [detail for what, detail in production.events.said if what == "Rollout Awaiting Approval"]
    assert [one["rollout"] for one in asked] == [f"{SERVICE}-3"]
    assert "its stack has ami-12c6146b with 1.1.0, and its record says ami-12c6146b with 1.0.0" in asked[0]["why"]
    assert production.fleet
    assert production.fleet.parameters["CodeVersion"] == "1.1.0"
    release(production, APPLICATION, "1.2.0")
    production.timeline.advance(30 * MINUTE)
    approval = {"rollout": f"{SERVICE}-4", "why": "so", "approved_by": "ops"}
    production.deliver("plan_rollouts", production.on_the_bus("Rollout Approved", approval))
    production.timeline.advance(120 * MINUTE)
    assert production.fleet.parameters["CodeVersion"] == "1.2.0"
    assert ends(production) == [
        *((f"{SERVICE}-{number}", "Rollout Completed") for number in (1, 2)),
        (f"{SERVICE}-3", "Rollout Superseded"),
        (f"{SERVICE}-4", "Rollout Completed"),
    ]


@pytest.mark.parametrize("meanwhile", ["the kill switch is on", "another rollout runs"])
def test_what_a_person_asked_for_before_a_restored_table_was_saved_waits_for_a_person(
    production: Production, meanwhile: str
) -> None:
    """It was done long ago."""
    promises = ProductionPromises(production)
    for version in ("1.0.0", "1.1.0"):
        release(production, APPLICATION, version)
        production.timeline.advance(120 * MINUTE)
    if meanwhile == "another rollout runs":
        promises.offered.add("ami-2")
        production.ssm.parameters[STABLE] = "ami-2"
        while production.rollouts[-1].state != "Replace Instances":
            production.timeline.advance(30)
    else:
        switch(production, True)
    asked = {"service": SERVICE, "to": "previous", "why": "so", "requested_by": "dev"}
    production.deliver("plan_rollouts", production.on_the_bus("Rollout Requested", asked))
    production.timeline.advance(MINUTE)
    backup = dict(production.dynamodb.items)
    switch(production, False)
    production.timeline.advance(120 * MINUTE)
    release(production, APPLICATION, "1.2.0")
    production.timeline.advance(120 * MINUTE)
    assert production.fleet
    assert production.fleet.parameters["CodeVersion"] == "1.2.0"
    production.restore_table(backup)
    for _ in range(60):
        production.timeline.advance(10 * MINUTE)
        promises.asked.add("before")
        promises.kept()
    assert production.fleet.parameters["CodeVersion"] == "1.2.0"
    assert not promises.open()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_rollout_that_a_restored_table_does_not_know_gets_its_turn_back(
    production: Production, stopped: bool
) -> None:
    """Step Functions knows it, and its plan. What is wanted meanwhile follows; where it was stopped, a person looks."""
    promises = ProductionPromises(production)
    promises.offered |= {"ami-2", "ami-3"}
    release(production, APPLICATION, "1.0.0")
    production.timeline.advance(60 * MINUTE)
    backup = dict(production.dynamodb.items)
    production.ssm.parameters[STABLE] = "ami-2"
    while production.rollouts[-1].state != "Replace Instances":
        production.timeline.advance(30)
    if stopped:
        production.machines.stop(production.rollouts[-1])
    production.restore_table(backup)
    production.ssm.parameters[STABLE] = "ami-3"
    for _ in range(240):
        production.timeline.advance(MINUTE)
        promises.kept()
    assert not promises.open()
    if stopped:
        assert "held" in production.record(SERVICE, "service")
        assert ends(production) == [(f"{SERVICE}-1", "Rollout Completed"), (f"{SERVICE}-2", "Rollout Failed")]
    else:
        assert ends(production) == [(f"{SERVICE}-{number}", "Rollout Completed") for number in (1, 2, 3)]


@pytest.mark.parametrize("restored_in", ["Prepare Stack", "Settle Stack"])
def test_a_rollout_that_a_restored_table_does_not_know_is_said_though_it_is_stopped_at_its_end(
    production: Production, restored_in: str
) -> None:
    """The rollout's execution begins the DynamoDB record anew, whole, before it writes anything else of it."""
    release(production, APPLICATION, "1.0.0")
    production.timeline.advance(60 * MINUTE)
    backup = dict(production.dynamodb.items)
    production.ssm.parameters[STABLE] = "ami-2"
    while production.rollouts[-1].state != restored_in:
        production.timeline.advance(30)
    production.restore_table(backup)
    production.faults.down["events"] = production.timeline.now + 24 * 60 * MINUTE
    while production.rollouts[-1].state != "Announce End":
        production.timeline.advance(10)
    record = production.record(f"{SERVICE}-2", "rollout")
    assert (record["account"], record["to"]["image"]) == (ACCOUNT, "ami-2")
    production.machines.stop(production.rollouts[-1])
    production.faults.clear()
    production.timeline.advance(60 * MINUTE)
    outcome = f"Rollout {record['stage'].title()}"  # Failed, where what its launch template was is lost
    assert [what for rollout, what in ends(production) if rollout == f"{SERVICE}-2"] == [outcome]
    assert "live" not in production.record(f"{SERVICE}-2", "rollout")


def switch(world: Production, on: bool) -> None:
    detail = {"on": on, "why": "an incident", "set_by": "ops"}
    world.deliver("set_kill_switch", world.on_the_bus("Kill Switch Set", detail))


def ends(world: Production) -> list[tuple[str, str]]:
    """What was said of the ends of rollouts."""
    return [(detail["rollout"], what) for what, detail in world.events.said if what in ENDS]


class TestAnEndThatIsNotSaid:
    """It stands in the rollout's record, which stays open until it is said."""

    @pytest.fixture(autouse=True)
    def _announcing(self, production: Production) -> None:
        release(production, APPLICATION, "1.0.0")
        production.ssm.parameters[STABLE] = "ami-2"
        while production.rollouts[-1].state != "Settle Stack":
            production.timeline.advance(30)
        production.faults.down["events"] = production.timeline.now + 24 * 60 * MINUTE
        production.timeline.advance(5 * MINUTE)
        assert production.rollouts[-1].state == "Announce End"

    def test_because_the_bus_is_down_for_a_day_is_said_when_it_is_back(self, production: Production) -> None:
        production.timeline.advance(26 * 60 * MINUTE)
        assert ends(production) == [(f"{SERVICE}-{number}", "Rollout Completed") for number in (1, 2)]
        assert not ProductionPromises(production).open()

    def test_because_its_execution_was_stopped_is_said_by_a_later_look(self, production: Production) -> None:
        production.machines.stop(production.rollouts[-1])
        production.faults.clear()
        production.timeline.advance(40 * MINUTE)
        assert ends(production) == [(f"{SERVICE}-{number}", "Rollout Completed") for number in (1, 2)]
        assert not ProductionPromises(production).open()
