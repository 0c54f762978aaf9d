"""What Mayfly promises, checked against a world from the outside: it shares no decision with the functions."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mayfly.domain import tags
from tests.model.workload import Block, Resource, Stack
from tests.model.world import CONTROLLER, ENVIRONMENT_MACHINE, RELEASE_MACHINE, World, is_ours_to_end

BOUND = 45 * 60
"""Seconds past its time, or past the last thing that went wrong, after which nothing of an environment is left: one
sweep (5 min), the grace (15), another sweep, and a teardown with all its waits."""

STRATEGY = 120 * 60
"""The same where something blocks the stack's deletion: the waits between the four deletions of the strategy, and
before a person is told, are 83 minutes by themselves."""

ADOPTED = 20 * 60
"""Seconds after which somebody waits again for what nobody waited for: a sweep, at most one adoption in ten minutes."""

LIFETIME_UNKNOWN = 24 * 3600
"""Seconds that an environment lives which nothing says a deadline of."""


class Promises:
    """Watches one world. `kept` is asked after every step, `open` once all is quiet."""

    def __init__(self, world: World) -> None:
        self._world = world
        account = world.account
        self._foreign_stacks = {stack.id: _seen(stack) for stack in account.stacks.values()}
        self._foreign = {one.id: _seen(one) for one in account.resources.values()}

    # ---- after every step

    def kept(self) -> None:
        """Raises where a promise is broken now."""
        world = self._world
        if world.switch != "off" or self.halted:
            world.disturbed[None] = world.timeline.now
        assert not world.violations, world.violations
        assert not world.machines.broken, world.machines.broken
        self._foreign_untouched()
        self._one_stack_each()
        self._somebody_waits_for_each()
        self._nothing_outlives_its_time()
        self._no_lease_above_its_ceiling()

    @property
    def halted(self) -> bool:
        """Whether the latest sweep stopped at its caps, and said so."""
        return bool(self._world.reports) and "may be" in self._world.reports[-1]["halted"]

    def _foreign_untouched(self) -> None:
        there: dict[str, Stack | Resource] = {**self._world.account.stacks, **self._world.account.resources}
        for identity, seen in {**self._foreign_stacks, **self._foreign}.items():
            assert _seen(there[identity]) == seen, f"{identity} is not ours and was touched"

    def _one_stack_each(self) -> None:
        """In each account one, and in all of them one at a time: a life may go on at another target."""
        accounts = self._world.account.accounts
        names = [[stack.name for stack in one.stacks.values()] for one in accounts]
        names.append([stack.name for one in accounts for stack in one.stacks.values() if stack.there])
        for each in names:
            assert len(each) == len(set(each)), f"two stacks for one environment: {sorted(each)}"

    def _nothing_outlives_its_time(self) -> None:
        now, account = self._world.timeline.now, self._world.account
        for stack in account.stacks.values():
            if stack.there and stack.id not in self._foreign_stacks and not self.excused(stack):
                late = now - self._until(stack)
                assert late <= 0, f"{stack.name} ({stack.status}) outlives its time by {late:.0f} s"

    def _somebody_waits_for_each(self) -> None:
        """An environment whose execution is gone is adopted by a sweep, before its time as after it."""
        now = self._world.timeline.now
        heard: dict[str, float] = {}
        for one in self._world.machines.executions.values():
            name = one.name.partition("__")[0]
            heard[name] = max(heard.get(name, 0), now if one.running else one.ended_at)
        for stack in self._world.account.stacks.values():
            environment = stack.name.removeprefix("mayfly-")
            if stack.there and stack.id not in self._foreign_stacks and not self.excused(stack):
                since = max(heard.get(environment, 0), self._disturbed(environment))
                assert now < since + ADOPTED, f"nobody waits for {stack.name}"

    def _disturbed(self, environment: str) -> float:
        """When something last went wrong that could concern this environment."""
        disturbed = self._world.disturbed
        return max(disturbed.get(environment, 0), disturbed.get(None, 0))

    def _until(self, stack: Stack) -> float:
        """The moment after which this stack must not be there any more."""
        environment = stack.name.removeprefix("mayfly-")
        # With the table it is forgotten how far the teardown strategy has come, and it begins again.
        bound = BOUND if stack.block is Block.NOTHING else STRATEGY
        again = 2 if self._world.records_were_lost else 1
        return max(self.due(stack), self._disturbed(environment)) + again * bound

    def due(self, stack: Stack) -> float:
        """When a stack's time is over: its deadline, never past its ceiling, or an ending before that."""
        record = self._world.record(stack.name.removeprefix("mayfly-"))
        if record.get("ending"):
            return _seconds(record["ending"]["at"])
        if "deadline" in record:
            # Where neither a record nor a tag says the ceiling any more, there is none but the unknown's lifetime.
            ceiling = self._world.ceiling * 60
            ceiling = max(LIFETIME_UNKNOWN, ceiling) if self._world.records_were_lost else ceiling
            return min(_seconds(record["deadline"]), stack.created_at + ceiling)
        try:
            # Its execution may know of an extension that the table does not know any more.
            return max(_seconds(stack.labels[tags.EXPIRES_AT]), stack.created_at + self._world.ceiling * 60)
        except (KeyError, ValueError):
            return stack.created_at + LIFETIME_UNKNOWN

    def excused(self, stack: Stack) -> bool:
        """Whether it stands for a reason that people were told, or will be when its time has come."""
        environment = stack.name.removeprefix("mayfly-")
        return not is_ours_to_end(environment, stack.labels, stack.protected) or self.handed_over(environment)

    def handed_over(self, environment: str) -> bool:
        """Whether people were told that it is theirs now: nothing deletes it, or something in it is protected. Each
        sweep says it besides."""
        failed = self._world.events.of["Environment Failed", environment]
        theirs = ("HandedOver", "because of what is in it")
        by_sweep = {name for name, reason in self._refusals() if reason.startswith("it was handed over to a person")}
        return environment in by_sweep or any(words in said.get("reason", "") for said in failed for words in theirs)

    def _no_lease_above_its_ceiling(self) -> None:
        for environment in self._world.environments():
            record = self._world.record(environment)
            if "ceiling" in record:
                assert record["deadline"] <= record["ceiling"], f"{environment} may live until {record['deadline']}"

    # ---- when all is quiet

    def open(self) -> list[str]:
        """Lists what Mayfly still has to finish before a history is over."""
        world = self._world
        stacks = [one for one in world.account.stacks.values() if one.there and one.id not in self._foreign_stacks]
        excused = {one.name.removeprefix("mayfly-") for one in stacks if self.excused(one)}
        left = [f"stack {one.name} is {one.status}" for one in stacks if not self.excused(one)]
        left += [
            f"{one.id} of {one.labels[tags.ENVIRONMENT]} is there"
            for one in world.account.resources.values()
            if one.there and one.id not in self._foreign and self._ours(one)
            if one.labels[tags.ENVIRONMENT] not in excused | self._refused()
        ]
        left += [
            f"{one.name} runs, in {one.state}"
            for machine in (ENVIRONMENT_MACHINE, RELEASE_MACHINE)
            for one in world.machines.running(machine)
            if one.name.partition("__")[0] not in excused
        ]
        left += [f"the record of {name} is open" for name in self._open_records() if name not in excused]
        left += [f"nobody was told of {name}" for name in excused if not self._told(name)]
        return left + list(self._unsaid(excused))

    def _unsaid(self, excused: set[str]) -> Iterator[str]:
        """What stands in a record, and was announced to nobody."""
        said = {about for about, details in self._world.events.of.items() if details}
        for key in list(self._world.dynamodb.items):
            kind, _, name = key.partition("#")
            if kind == "environment" and name not in excused and ("Environment Terminated", name) not in said:
                yield f"that {name} has ended"
            if kind == "release":
                record = self._world.record(name, "release")
                verdict = record.get("verdict", {}).get("passed")
                if ("Release Passed" if verdict else "Release Failed", name) not in said or "live" in record:
                    suites = {name for part in record.get("suites", []) for name in _attempts(part)}
                    if not suites & excused:
                        yield f"the verdict {verdict} on {name}"

    def _ours(self, resource: Resource) -> bool:
        labels = resource.labels
        return labels.get(tags.CONTROLLER) == CONTROLLER and tags.ENVIRONMENT in labels

    def _open_records(self) -> list[str]:
        records = {name: self._world.record(name) for name in self._world.environments()}
        return [name for name, one in records.items() if one and (one.get("stage") != "terminated" or "live" in one)]

    def _told(self, environment: str) -> bool:
        """By the report of the latest sweep, or by an event."""
        return environment in self._refused() or self._world.events.about("Environment Failed", environment)

    def _refused(self) -> set[str]:
        """What the latest sweep left standing, and said so."""
        return {name for name, _ in self._refusals()}

    def _refusals(self) -> list[tuple[str, str]]:
        decisions = self._world.reports[-1]["decisions"] if self._world.reports else []
        return [(each["environment"], each["reason"]) for each in decisions if each["action"] == "refuse"]


def _seen(one: Stack | Resource) -> tuple[object, ...]:
    state = one.status if isinstance(one, Stack) else one.state
    return one.id, tuple(sorted(one.labels.items())), state


def _seconds(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _attempts(suite: dict[str, Any]) -> list[str]:
    """The environments of a suite of a release, as far as they come to be built."""
    return [suite["environment"], *suite.get("repetitions", [])]
