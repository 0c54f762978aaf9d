"""The whole lifecycle under everything that can go wrong, in any order: hypothesis invents the histories.

Each rule is one thing that happens in the world; after each, all of `promises.Promises` must hold. When a history
ends, all faults end with it, and after a while of quiet everything must be as it should be for good.
"""

import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
)

from mayfly.domain import tags
from tests.model.conftest import PARTS
from tests.model.disturbed import Disturbed, any_one, try_histories
from tests.model.promises import LIFETIME_UNKNOWN, STRATEGY, Promises
from tests.model.workload import Block, Creation, Stack
from tests.model.world import ACCOUNTS, CEILING, CONTROLLER, LIFETIME, STRANGER, SUITES, World

LEFT_BEHIND = ("instance", "volume", "network-interface", "launch-template", "key-pair", "log-group", "parameter")
TAMPERING: dict[str, dict[str, str | None]] = {
    "protect it by its tag": {tags.PROTECTED: "true"},
    "hand it to another controller": {tags.CONTROLLER: STRANGER},
    "drop its controller": {tags.CONTROLLER: None},
    "drop its environment": {tags.ENVIRONMENT: None},
    "drop its deadline": {tags.EXPIRES_AT: None, tags.CEILING: None},
    "write nonsense": {tags.EXPIRES_AT: "tomorrow", tags.CEILING: "never"},
    "write a later deadline": {tags.EXPIRES_AT: "2026-11-24T20:00:00.000Z", tags.CEILING: "2026-11-24T20:00:00.000Z"},
}

ITS_STACKS = tuple(f"mayfly-{application}-" for application in SUITES)


def add_strangers(world: World) -> None:
    """What is not ours, or must not be touched, and looks like it in one way or another."""
    account = world.account
    release = "webshop-1-0-0-a7fd7e60"  # the first version that is pushed
    theirs = {tags.CONTROLLER: STRANGER, tags.ENVIRONMENT: f"{release}-smoke", tags.EXPIRES_AT: world.timeline.text}
    ours = {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: "shop-production", tags.EXPIRES_AT: world.timeline.text}
    for kind in ("instance", "volume", "security-group", "network-interface"):
        account.add(kind, theirs)
        account.add(kind, ours | {tags.PROTECTED: "true"})
        account.add(kind, {"Name": "billing"})
        account.add(kind, {tags.CONTROLLER: CONTROLLER})
    for name, labels, protected in (
        ("mayfly-other-1", theirs | {tags.ENVIRONMENT: "other-1"}, False),
        ("mayfly-website", {}, False),
        ("mayfly-shop-production", ours, True),
        ("mayfly-shop-live", ours | {tags.ENVIRONMENT: "shop-live", tags.PROTECTED: "true"}, False),
        ("billing", {}, False),
    ):
        stack = Stack(f"arn:aws:cloudformation:us-east-1:222222222222:stack/{name}/0", name, labels, world.timeline.now)
        stack.status, stack.protected = "CREATE_COMPLETE", protected
        account.stacks[stack.id] = stack


class Lifecycle(Disturbed[World, Promises]):
    """One installation and all that happens to it."""

    def __init__(self) -> None:
        super().__init__(World())
        self.bad = 0
        self.backup: dict[str, Any] | None = None

    def promised(self) -> Promises:
        add_strangers(self.world)
        return Promises(self.world)

    @initialize(
        minutes=st.sampled_from([0, 1, 5, 20]),
        lag=st.sampled_from([0, 0, 3, 60]),
        jitter=st.integers(0, 3),
        lives=st.sampled_from([(LIFETIME, CEILING)] * 9 + [(26 * 60, 30 * 60)]),
    )
    def begin(self, minutes: int, lag: int, jitter: int, lives: tuple[int, int]) -> None:
        """A history begins with a push; otherwise too many would be about nothing.

        Args:
            lag: seconds that indexes, lists and new stacks are behind. jitter: 0 waits the longest that it may.
            lives: minutes of an environment at first and at most, now and then more than a day.
        """
        self.vary(lag, jitter)
        self.world.configure(*lives)
        self.push("webshop", "1.0.0", 1, False)
        self.world.timeline.advance(minutes * 60)

    # ---- what people and machines say to it

    @rule(
        application=st.sampled_from([*SUITES]),
        version=st.sampled_from(["1.0.0", "1.0.1", "2.0.0"]),
        attempt=st.integers(1, 2),
        topic=st.booleans(),
    )
    def push(self, application: str, version: str, attempt: int, topic: bool) -> None:
        detail = {"application": application, "version": version, "artifact": "s3://artifacts/1", "attempt": attempt}
        self._say("accept_code_version", "Code Version Pushed", detail, topic and application == "webshop")

    @rule(one=any_one, outcome=st.sampled_from(["passed", "failed"]), topic=st.booleans())
    def finish_tests(self, one: int, outcome: str, topic: bool) -> None:
        """Early, in time, late, or twice: as it comes. Who has not heard that it is ready, passes nothing."""
        environment = self._name(one)
        heard = self.world.events.token(environment)
        detail = {"environment": environment, "outcome": outcome} | ({"token": heard} if heard else {})
        self._say("accept_test_result", "Test Finished", detail, topic)

    @rule(one=any_one, minutes=st.sampled_from([1, 10, 45, 600]))
    def extend(self, one: int, minutes: int) -> None:
        detail = {"environment": self._name(one), "minutes": minutes, "why": "looking", "requested_by": "dev"}
        self._say("accept_extension", "Environment Extension Requested", detail)

    @rule(one=any_one)
    def terminate(self, one: int) -> None:
        detail = {"environment": self._name(one), "why": "seen enough", "requested_by": "dev"}
        self._say("accept_termination", "Environment Termination Requested", detail)

    @rule()
    def say_nonsense(self) -> None:
        self.bad += 1
        self._say("accept_extension", "Environment Extension Requested", {"environment": "x y", "number": self.bad})

    # ---- what goes wrong

    @rule(creation=st.sampled_from(Creation), leaves=st.lists(st.sampled_from(LEFT_BEHIND), max_size=2))
    def choose_creation(self, creation: Creation, leaves: list[str]) -> None:
        """How the stacks that are created from now on go, and what will outlive them."""
        self.world.next.creation, self.world.next.leaves = creation, tuple(leaves)

    @rule(block=st.sampled_from(Block), fails=st.integers(1, 5))
    def choose_deletion(self, block: Block, fails: int) -> None:
        """What will block the deletion of the stacks that are created from now on."""
        self.world.next.block, self.world.next.fails = block, fails

    @precondition(lambda self: self._stacks())
    @rule(one=any_one, how=st.sampled_from(sorted(TAMPERING)))
    def tamper(self, one: int, how: str) -> None:
        """Somebody changes the tags of a stack."""
        stack = self._stack(one)
        stack.labels = {key: value for key, value in {**stack.labels, **TAMPERING[how]}.items() if value is not None}
        self.world.disturb(None)

    @precondition(lambda self: len(self._stacks()) > 1)
    @rule(one=any_one, other=any_one)
    def swap_names(self, one: int, other: int) -> None:
        """Somebody gives a stack the environment's tag of another."""
        self._stack(one).labels[tags.ENVIRONMENT] = self._stack(other).name.removeprefix("mayfly-")
        self.world.disturb(None)

    @precondition(lambda self: self._stacks())
    @rule(one=any_one, protected=st.booleans())
    def protect(self, one: int, protected: bool) -> None:
        """Somebody turns a stack's termination protection on or off."""
        self._stack(one).protected = protected
        self.world.disturb(None)

    @precondition(lambda self: self._stacks())
    @rule(one=any_one)
    def set_right(self, one: int) -> None:
        """Somebody undoes what was done to a stack's tags and protection."""
        stack = self._stack(one)
        stack.labels, stack.protected = dict(stack.born_with), False
        self.world.disturb(None)

    @precondition(lambda self: self.world.environments())
    @rule(one=any_one, kind=st.sampled_from(LEFT_BEHIND))
    def leave_something(self, one: int, kind: str) -> None:
        """Something that carries an environment's tags and is in no stack."""
        account = self.world.account.accounts[one % len(ACCOUNTS)]
        account.add(kind, {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: self._name(one)})
        self.world.disturb(None)

    @rule(number=st.integers(1, 7), kind=st.sampled_from(LEFT_BEHIND))
    def find_orphans(self, number: int, kind: str) -> None:
        """What is left of environments that nobody remembers, perhaps more than a sweep may end by itself."""
        for each in range(number):
            labels = {tags.CONTROLLER: CONTROLLER, tags.ENVIRONMENT: f"webshop-0-0-{each}-00000000-smoke"}
            self.world.account.add(kind, labels)
        self.world.disturb(None)

    @precondition(lambda self: not self.world.records_were_lost)
    @rule()
    def lose_the_table(self) -> None:
        self.world.lose_table()
        self.world.disturb(None)

    @precondition(lambda self: self.world.dynamodb.lost)
    @rule()
    def make_a_new_table(self) -> None:
        self.world.dynamodb.lost = False

    @rule()
    def back_the_table_up(self) -> None:
        self.backup = dict(self.world.dynamodb.items)

    @precondition(lambda self: self.backup is not None and not self.world.records_were_lost)
    @rule()
    def restore_the_table(self) -> None:
        """The table is as it was when it was backed up, whatever happened since."""
        self.world.restore_table(self.backup or {})
        self.world.disturb(None)

    # ---- time and sweeps

    @rule(at_most=st.integers(0, 30))
    def let_through(self, at_most: int) -> None:
        """A person lets a sweep do what the caps stopped."""
        detail = {"at_most": at_most, "why": "these are right", "requested_by": "ops"}
        self._say("sweep_environments", "Sweep Requested", detail)

    @precondition(lambda self: self.world.faults.quiet(self.world.timeline.now))
    @rule()
    def rehearse(self) -> None:
        """A dry run reports what the real sweep in the same moment then does, and does nothing."""
        before = self._traces()
        rehearsed = self.world.sweep(dry_run=True)
        assert self._traces() == before
        assert rehearsed | {"dry_run": False} == self.world.sweep()

    # ---- when it ends

    EVERY, QUIET = 300, 6

    def _calm_down(self) -> None:
        self.LOOKS = (max(LIFETIME_UNKNOWN, self.world.ceiling * 60) + 2 * STRATEGY) // self.EVERY
        super()._calm_down()
        self._nothing_is_tried_for_ever()

    def _no_more_goes_wrong(self) -> None:
        self.world.dynamodb.lost = False

    def _look_in(self) -> None:
        if self.promises.halted:
            self.let_through(100)

    def _nothing_is_tried_for_ever(self) -> None:
        """What was handed over, refused or done is left alone, and nobody is told of it again once its time is over."""
        if stands := self._stacks():
            left = max(self.promises.due(stack) for stack in stands) - self.world.timeline.now
            self.world.timeline.advance(max(0, left) + STRATEGY)
        before = list(self.world.machines.executions), self._told()
        self.world.timeline.advance(3600)
        assert (list(self.world.machines.executions), self._told()) == before

    def _told(self) -> list[tuple[str, dict[str, Any]]]:
        """What people were told of environments and releases; each sweep says besides what it came to."""
        return [(what, detail) for what, detail in self.world.events.said if not what.startswith("Sweep ")]

    def _all_is_well(self) -> None:
        super()._all_is_well()
        letters = [json.loads(letter)["message"] for letter in self.world.sqs.messages]
        assert all(event in letters for _, event in self.world.delivered if _is_nonsense(event))

    # ---- helpers of the rules

    def _name(self, one: int) -> str:
        """An environment, or, once in a while, one that there never was."""
        names = [*self.world.environments(), "webshop-9-9-9-00000000-smoke"]
        return names[one % len(names)]

    def _stacks(self) -> list[Stack]:
        return [one for one in self.world.account.stacks.values() if one.there and one.name.startswith(ITS_STACKS)]

    def _stack(self, one: int) -> Stack:
        stacks = self._stacks()
        return stacks[one % len(stacks)]

    def _traces(self) -> object:
        """What a sweep could leave behind, besides its report and the line that lists it."""
        world = self.world
        records = {name: item for name, item in world.dynamodb.items.items() if not name.startswith("sweep#")}
        said = len(world.events.said), len(world.sns.published)
        return len(world.machines.executions), dict(world.destroyed), records, said


def _is_nonsense(event: dict[str, Any]) -> bool:
    detail = event.get("detail")
    return isinstance(detail, dict) and detail.get("environment") == "x y"


@pytest.mark.parametrize("part", PARTS)
def test_every_history_keeps_the_promises(part: int) -> None:
    try_histories(Lifecycle, part, "model")
