"""What can go wrong in every history, whatever it is about."""

import json
from random import Random
from typing import Any, Protocol

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.model.conftest import FIRST_SEED, STEPS
from tests.model.interpreter import Execution
from tests.model.world import ROOT, Version, World

FUNCTIONS = sorted(file.parent.name for file in ROOT.glob("functions/*/app.py"))
DEPENDENCIES = ["workload", "dynamodb", "events", "stepfunctions", "ssm", "s3", "sqs", "sns", "sts"]
"""What may be out of reach: all of the workload accounts, or a service of the controller's."""

any_one = st.integers(0, 40)
"""Which of those there are; counted round."""


def try_histories(of: type[RuleBasedStateMachine], part: int, profile: str) -> None:
    """Has hypothesis invent histories: always the same few, or as many as `make model` says, each part with a seed of
    its own."""
    seeded = seed(FIRST_SEED + part)(of) if STEPS else of
    run_state_machine_as_test(seeded, settings=settings.get_profile(profile))


class Promised(Protocol):
    """What must hold in a history."""

    def kept(self) -> None:
        """Raises where a promise is broken now."""

    def open(self) -> list[str]:
        """Lists what Mayfly still has to finish before a history is over."""


class Disturbed[W: World, P: Promised](RuleBasedStateMachine):
    """One installation, and the faults of AWS, of people and of time."""

    LOOKS, EVERY, QUIET = 48 * 6, 600, 4
    """When a history ends, how often it is looked at, in how many seconds, and how often in a row nothing is open."""

    def __init__(self, world: W) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self.world = world
        self._installed = self.world.installed(self._patch)
        self._installed.__enter__()
        self.promises = self.promised()

    def promised(self) -> P:
        """What must hold in this world."""
        raise NotImplementedError

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
        self.world.faults.clear()
        self._no_more_goes_wrong()
        self.world.timeline.advance(600)  # what died is tried for the last time
        self.switch(False)
        quiet = 0
        for _ in range(self.LOOKS):
            self._look_in()
            self.world.timeline.advance(self.EVERY)
            self.promises.kept()
            quiet = quiet + 1 if not self.promises.open() else 0
            if quiet == self.QUIET:
                break

    def _no_more_goes_wrong(self) -> None:
        """Ends the faults that are this history's own."""

    def _look_in(self) -> None:
        """Does what people do while it calms down."""

    def _all_is_well(self) -> None:
        still_open = self.promises.open()
        assert not still_open, still_open

    def vary(self, lag: int, jitter: int) -> None:
        """Sets how many seconds indexes, lists and new stacks are behind, and how retries are spread: 0 waits the
        longest that it may."""
        world = self.world
        world.dynamodb.lag = world.stepfunctions.lag = lag
        world.account.lag(lag)
        if jitter:
            world.machines.jitter = Random(jitter).random

    # ---- what people do

    @rule(on=st.booleans())
    def switch(self, on: bool) -> None:
        self._say("set_kill_switch", "Kill Switch Set", {"on": on, "why": "an incident", "set_by": "ops"})

    @precondition(lambda self: self.world.delivered)
    @rule(one=any_one)
    def bring_again(self, one: int) -> None:
        """Any message may come twice, now or much later."""
        function, event = self.world.delivered[-1 - one % len(self.world.delivered)]
        self.world.deliver(function, event)

    @precondition(lambda self: self._running())
    @rule(one=any_one)
    def abort(self, one: int) -> None:
        """An operator stops an execution, of an environment or of a release."""
        running = self._running()
        execution = running[one % len(running)]
        self.world.machines.stop(execution)
        self.world.disturb(None)

    @rule(version=st.sampled_from(["this", "before"]))
    def deploy(self, version: Version) -> None:
        """What begins now runs on the machines of another version, and both call the functions of this one."""
        self.world.deploy(version)

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

    # ---- time

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

    # ---- helpers of the rules

    def _say(self, function: str, detail_type: str, detail: dict[str, Any], topic: bool = False) -> None:
        event = self.world.on_the_bus(detail_type, detail)
        self.world.deliver(function, self.world.on_the_topic(json.dumps(detail)) if topic else event)

    def _running(self) -> list[Execution]:
        return [one for one in self.world.machines.executions.values() if one.running]
