"""The whole lifecycle under everything that can go wrong, in any order: hypothesis invents the histories.

Each rule is one thing that happens in the world; after each, all of `promises.Promises` must hold. When a history
ends, all faults end with it, and after a while of quiet everything must be as it should be for good.
"""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mayfly.domain import tags
from tests.model.conftest import FIRST_SEED, PARTS, STEPS
from tests.model.interpreter import Execution
from tests.model.promises import LIFETIME_UNKNOWN, STRATEGY, Promises
from tests.model.workload import Block, Creation, Stack
from tests.model.world import ACCOUNTS, CEILING, CONTROLLER, LIFETIME, ROOT, STRANGER, SUITES, Version, World

FUNCTIONS = sorted(file.parent.name for file in ROOT.glob("functions/*/app.py"))
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

DEPENDENCIES = ["workload", "dynamodb", "events", "stepfunctions", "ssm", "s3", "sqs", "sns", "sts"]
"""What may be out of reach: all of the workload accounts, or a service of the controller's."""
ITS_STACKS = tuple(f"mayfly-{application}-" for application in SUITES)

any_one = st.integers(0, 40)
"""Which of those there are; counted round."""


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


class Lifecycle(RuleBasedStateMachine):
    """One installation and all that happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self.world = World()
        self._installed = self.world.installed(self._patch)
        self._installed.__enter__()
        add_strangers(self.world)
        self.promises = Promises(self.world)
        self.bad = 0
        self.backup: dict[str, Any] | None = None

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
        world = self.world
        world.dynamodb.lag = world.stepfunctions.lag = lag
        world.account.lag(lag)
        if jitter:
            world.machines.jitter = Random(jitter).random
        world.configure(*lives)
        self.push("webshop", "1.0.0", 1, False)
        world.timeline.advance(minutes * 60)

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

    @rule(on=st.booleans())
    def switch(self, on: bool) -> None:
        self._say("set_kill_switch", "Kill Switch Set", {"on": on, "why": "an incident", "set_by": "ops"})

    @rule()
    def say_nonsense(self) -> None:
        self.bad += 1
        self._say("accept_extension", "Environment Extension Requested", {"environment": "x y", "number": self.bad})

    @precondition(lambda self: self.world.delivered)
    @rule(one=any_one)
    def bring_again(self, one: int) -> None:
        """Any message may come twice, now or much later."""
        function, event = self.world.delivered[-1 - one % len(self.world.delivered)]
        self.world.deliver(function, event)

    # ---- what goes wrong

    @rule(calls=st.integers(0, 25), kind=st.sampled_from(["throttled", "reply lost", "dies before", "dies after"]))
    def fail_a_call(self, calls: int, kind: str) -> None:
        """One of the next calls fails, or the function that makes it dies before or after it."""
        self.world.faults.calls_until, self.world.faults.call = calls, kind  # type: ignore[assignment]

    @rule(service=st.sampled_from(DEPENDENCIES), minutes=st.sampled_from([1, 10, 60, 400]))
    def have_an_outage(self, service: str, minutes: int) -> None:
        """A service answers nothing for a while; longer than any retry, now and then."""
        self.world.faults.down[service] = self.world.timeline.now + minutes * 60
        self.world.disturb(None)

    @rule(function=st.sampled_from(FUNCTIONS), moment=st.sampled_from(["before", "after"]))
    def let_a_function_die(self, function: str, moment: str) -> None:
        self.world.faults.deaths[function] = moment  # type: ignore[assignment]

    @rule(fates=st.lists(st.sampled_from(["lost", "late", "twice"]), min_size=1, max_size=4))
    def disturb_events(self, fates: list[str]) -> None:
        self.world.faults.events.extend(fates)  # type: ignore[arg-type]

    @rule(creation=st.sampled_from(Creation), leaves=st.lists(st.sampled_from(LEFT_BEHIND), max_size=2))
    def choose_creation(self, creation: Creation, leaves: list[str]) -> None:
        """How the stacks that are created from now on go, and what will outlive them."""
        self.world.next.creation, self.world.next.leaves = creation, tuple(leaves)

    @rule(block=st.sampled_from(Block), fails=st.integers(1, 5))
    def choose_deletion(self, block: Block, fails: int) -> None:
        """What will block the deletion of the stacks that are created from now on."""
        self.world.next.block, self.world.next.fails = block, fails

    @precondition(lambda self: self._running())
    @rule(one=any_one)
    def abort(self, one: int) -> None:
        """An operator stops an execution, of an environment or of a release."""
        running = self._running()
        execution = running[one % len(running)]
        self.world.machines.stop(execution)
        self.world.disturb(None)

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

    @rule(version=st.sampled_from(["this", "before"]))
    def deploy(self, version: Version) -> None:
        """What begins now runs on the machines of another version, and both call the functions of this one."""
        self.world.deploy(version)

    # ---- time and sweeps

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5]))
    def wait_a_moment(self, seconds: float) -> None:
        self.world.timeline.advance(seconds)

    @rule(minutes=st.sampled_from([1, 3, 7, 20, 40]))
    def wait(self, minutes: int) -> None:
        self.world.timeline.advance(minutes * 60)

    @rule(hours=st.sampled_from([5, 26]))
    def wait_long(self, hours: int) -> None:
        """What is brought again after that is brought again days later."""
        self.world.timeline.advance(hours * 3600)

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

    # ---- what holds

    @invariant()
    def promises_are_kept(self) -> None:
        self.promises.kept()

    def teardown(self) -> None:
        try:
            self._calm_down()
            self._all_is_well()
        finally:
            self._installed.__exit__(None, None, None)
            self._patch.undo()

    def _calm_down(self) -> None:
        """No more faults; then time, until nothing is open any more, or until nothing may be."""
        world = self.world
        world.faults.clear()
        world.dynamodb.lost = False
        world.timeline.advance(600)  # what died is tried for the last time
        self.switch(False)
        quiet = 0
        for _ in range((max(LIFETIME_UNKNOWN, world.ceiling * 60) + 2 * STRATEGY) // 300):
            if self.promises.halted:
                self.let_through(100)
            world.timeline.advance(300)
            self.promises.kept()
            quiet = quiet + 1 if not self.promises.open() else 0
            if quiet == 6:
                break
        self._nothing_is_tried_for_ever()

    def _nothing_is_tried_for_ever(self) -> None:
        """What was handed over, refused or done is left alone."""
        before = list(self.world.machines.executions)
        self.world.timeline.advance(3600)
        assert list(self.world.machines.executions) == before

    def _all_is_well(self) -> None:
        still_open = self.promises.open()
        assert not still_open, still_open
        letters = [json.loads(letter)["message"] for letter in self.world.sqs.messages]
        assert all(event in letters for _, event in self.world.delivered if _is_nonsense(event))

    # ---- helpers of the rules

    def _say(self, function: str, detail_type: str, detail: dict[str, Any], topic: bool = False) -> None:
        event = self.world.on_the_bus(detail_type, detail)
        self.world.deliver(function, self.world.on_the_topic(json.dumps(detail)) if topic else event)

    def _name(self, one: int) -> str:
        """An environment, or, once in a while, one that there never was."""
        names = [*self.world.environments(), "webshop-9-9-9-00000000-smoke"]
        return names[one % len(names)]

    def _running(self) -> list[Execution]:
        return [one for one in self.world.machines.executions.values() if one.running]

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
    seeded = seed(FIRST_SEED + part)(Lifecycle) if STEPS else Lifecycle
    run_state_machine_as_test(seeded, settings=settings.get_profile("model"))
