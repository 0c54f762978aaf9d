"""Histories in which an execution is stopped, as a person would stop it, in any state that it comes to."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest

from local.github import LIMITS
from tests.model.imaging_world import (
    BAKE_ENDS,
    BAKE_MACHINE,
    HOME,
    MINUTE,
    NOT_MOVED,
    PROMOTION_MACHINE,
    Imaging,
    ImagingPromises,
)
from tests.model.interpreter import Execution, Failure
from tests.model.production_world import (
    APPLICATION,
    ENDS,
    ROLLOUT_MACHINE,
    STABLE,
    Production,
    ProductionPromises,
)
from tests.model.promises import Promises
from tests.model.test_image_histories import ask, promote
from tests.model.test_production_histories import release
from tests.model.test_scenarios import SMOKE, finish, push
from tests.model.workload import Block, Creation
from tests.model.world import ACCOUNTS, ENVIRONMENT_MACHINE, RELEASE_MACHINE, SETTINGS, World, definition

type Json = dict[str, Any]

TESTS_MACHINE = SETTINGS["MAYFLY_TESTS_MACHINE_ARN"]
OWN_MACHINE = TESTS_MACHINE.replace("mayfly-run-tests", "mayfly-tests-own")
MACHINES = {
    "run_environment": ENVIRONMENT_MACHINE,
    "run_release": RELEASE_MACHINE,
    "run_tests": TESTS_MACHINE,
    "roll_out": ROLLOUT_MACHINE,
    "bake_image": BAKE_MACHINE,
    "promote_image": PROMOTION_MACHINE,
}
_NOW, _AFTER_ITS_CALL = 0.0, 0.75
"""Seconds after a state is entered: before its call, and when it is made. Then it waits, or its result is not used."""
MOMENTS = {"before its call": _NOW, "after its call": _AFTER_ITS_CALL}
_HOURS = 30
"""Until what was stopped must be over, however long it may have lived."""


BY_HTTP = {
    "type": "http",
    "url": "https://ci.example.com/start",
    "connection": "arn:aws:events:us-east-1:111111111111:connection/mayfly-ci/5f1c3b4e-3b2a-4c1d-9e8f-0a1b2c3d4e5f",
}


class Runners(World):
    """An installation that runs tests: each kind of runner, in its simplest form."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = 0
        """How many calls of an API are too many for it."""
        self.machines.integrations = {
            **self.machines.integrations,
            "arn:aws:states:::states:startExecution": self._start,
            "arn:aws:states:::http:invoke": self._call,
            "arn:aws:states:::codebuild:startBuild": lambda _: {"Build": {"BuildStatus": "SUCCEEDED"}},
        }

    def deploy(self, version: Any) -> None:
        super().deploy(version)
        own = {"StartAt": "Test", "States": {"Test": {"Type": "Wait", "Seconds": 60, "End": True}}}
        more = {TESTS_MACHINE: definition("run_tests", version), OWN_MACHINE: own}
        self.machines.definitions = {**self.machines.definitions, **more}

    def _call(self, _: Json) -> Json:
        if self.limits:
            self.limits -= 1
            raise Failure("States.Http.StatusCode.403", json.dumps({"message": LIMITS["secondary"][1]}))
        return {"ResponseBody": {}}

    def _start(self, arguments: Json) -> Json:
        if self.machines.start(arguments["StateMachineArn"], arguments["Name"], arguments["Input"]) is None:
            raise Failure("StepFunctions.ExecutionAlreadyExistsException", arguments["Name"])
        return {}

    def _invoke_by_machine(self, arguments: Json) -> Json:
        if arguments["FunctionName"].startswith("mayfly-tests-"):
            return {"Payload": {"outcome": "passed"}}
        return super()._invoke_by_machine(arguments)


@dataclass(frozen=True)
class Stop:
    """An execution of a machine is stopped in a state: the first that comes to it once `armed`."""

    machine: str
    state: str
    seconds: float


class Stopper:
    """Stops the one execution."""

    def __init__(self, world: World, stop: Stop) -> None:
        self._world, self._stop = world, stop
        self.stopped: Execution | None = None
        self.adopted = False
        """Whether one that a sweep began is meant."""

    def arm(self, adopted: bool = False, there: bool = False) -> None:
        """From now on it may happen: what came before is only how it began. Where one is `there`, it waits already."""
        self.adopted = adopted
        self._world.machines.entering = self._entering
        if there:
            [one] = self._world.machines.running(self._stop.machine)
            self._entering(one, one.state)

    def _entering(self, execution: Execution, state: str) -> None:
        name, _, _ = execution.name.partition("[")  # of a Map's branch
        if (execution.machine, state) != (self._stop.machine, self._stop.state) or ("__" in name) != self.adopted:
            return
        self._world.machines.entering = lambda *_: None
        one = self._world.machines.executions[execution.machine, name]
        self._world.timeline.after(self._stop.seconds, partial(self._end, one))

    def _end(self, one: Execution) -> None:
        assert one.running, f"{one.name} is over before it is stopped"
        self._world.machines.stop(one)
        self.stopped = one


type Play = Callable[[Any, Callable[..., None]], None]


@dataclass(frozen=True)
class History:
    """How something comes about, in which it is stopped; and where its machines' executions are stopped."""

    of: Callable[[], World]
    play: Play
    states: dict[str, tuple[str, ...]]


# ---- lives and releases


def passes(world: World, arm: Callable[..., None]) -> None:
    """A release, whose tests pass."""
    arm()
    push(world)
    _finish_all(world)


def expires(world: World, arm: Callable[..., None]) -> None:
    """A release that nobody reports on, and of which one life is extended."""
    arm()
    push(world)
    detail = {"environment": SMOKE, "minutes": 20, "why": "looking", "requested_by": "dev"}
    world.deliver("accept_extension", world.on_the_bus("Environment Extension Requested", detail))
    world.timeline.advance(60 * MINUTE)


def breaks(world: World, arm: Callable[..., None]) -> None:
    """A release whose first stacks fail; its suite is tried again."""
    world.next.creation = Creation.FAILS
    arm()
    push(world, 20)


def waits(world: World, arm: Callable[..., None]) -> None:
    """A life for which there is no room until the other one has ended."""
    configure(world, ceilings={"environments": 1})
    arm()
    push(world)
    _finish_all(world)
    world.timeline.advance(10 * MINUTE)
    _finish_all(world)


def moves_on(world: World, arm: Callable[..., None]) -> None:
    """A life for which EC2 has no capacity in one account, and some in the other one."""
    targets = [{"account": account, "region": "us-east-1"} for account in ACCOUNTS]
    configure(world, account=None, targets=targets, suites=[{"name": "smoke"}])
    world.next.creation = Creation.LACKS
    push(world, 1)
    world.next.creation = Creation.WELL
    arm()
    world.timeline.advance(20 * MINUTE)
    _finish_all(world)


def launches_later(world: World, arm: Callable[..., None]) -> None:
    """Lives for which EC2 has no tokens yet."""
    rate = {"burst": 2, "a_second": 1}
    world.ssm.parameters["/mayfly/admission"] = json.dumps({"launches": {f"{ACCOUNTS[0]}/us-east-1": rate}})
    group = "{Type: 'AWS::AutoScaling::AutoScalingGroup', Properties: {DesiredCapacity: {Ref: InstanceCount}}}"
    blueprint = f"{{Parameters: {{InstanceCount: {{Type: Number}}}}, Resources: {{Fleet: {group}}}}}"
    world.s3.objects["fleet.yaml"] = blueprint.encode()
    configure(world, instance_count=90)
    arm()
    push(world)
    _finish_all(world)


def waits_for_its_turn(world: World, arm: Callable[..., None]) -> None:
    """A life while many others call CloudFormation."""
    arm()
    push(world, 0)
    _crowd(world)
    push(world, 5)
    _crowd(world)
    _finish_all(world)


def leaks(world: World, arm: Callable[..., None]) -> None:
    """A life whose stack nothing can delete."""
    world.next.block = Block.ENDLESS
    arm()
    push(world)
    _finish_all(world)
    world.timeline.advance(4 * 60 * MINUTE)


def is_protected(world: World, arm: Callable[..., None]) -> None:
    """A life whose stack somebody protects while its tests run."""
    arm()
    push(world)
    stack = world.stack_of(SMOKE)
    assert stack
    stack.protected = True
    _finish_all(world)
    world.timeline.advance(4 * 60 * MINUTE)


def is_adopted(world: World, arm: Callable[..., None]) -> None:
    """A life that was stopped already, and that a sweep has adopted."""
    push(world)
    arm(adopted=True)
    world.machines.stop(world.machines.executions[ENVIRONMENT_MACHINE, SMOKE])
    world.timeline.advance(20 * MINUTE)
    _finish_all(world)


def is_ended_by_a_sweep(world: World, arm: Callable[..., None]) -> None:
    """A life that was stopped while it ended, and that a sweep ends."""
    push(world)
    arm(adopted=True)
    finish(world)
    world.timeline.advance(2)
    world.machines.stop(world.machines.executions[ENVIRONMENT_MACHINE, SMOKE])
    world.timeline.advance(40 * MINUTE)


def shows(world: World, arm: Callable[..., None]) -> None:
    """The preview of a pull request, which is closed then."""
    configure(world, suites=[{"name": "smoke"}, {"name": "show", "kind": "preview"}])
    world.events.heard = partial(_keep_previews, world)
    detail = {"application": "webshop", "version": "1.0.0", "artifact": "s3://artifacts/1", "pull_request": 7}
    world.deliver("accept_code_version", world.on_the_bus("Code Version Pushed", detail))
    world.timeline.advance(1.5)
    arm()
    world.timeline.advance(5 * MINUTE)
    closed = {"application": "webshop", "pull_request": 7}
    world.deliver("keep_previews", world.on_the_bus("Pull Request Closed", closed))
    world.timeline.advance(10 * MINUTE)


def _keep_previews(world: World, what: str, detail: Json) -> None:
    started = what == "Release Started"
    if started or (detail.get("kind") == "preview" and what in ("Environment Ready", "Environment Terminated")):
        world.timeline.after(1, partial(world.deliver, "keep_previews", world.on_the_bus(what, detail, "mayfly")))


def with_runner(**runner: Any) -> Play:
    """A life whose tests Mayfly starts."""

    def play(world: World, arm: Callable[..., None]) -> None:
        configure(world, suites=[{"name": "smoke", "runner": runner}])
        arm()
        push(world, 10)
        if runner["type"] == "http":
            _finish_all(world)

    return play


def asks_too_often(runners: Runners, arm: Callable[..., None]) -> None:
    """A life whose tests an API begins once it is asked less often."""
    runners.limits = 3
    with_runner(**BY_HTTP)(runners, arm)


def configure(world: World, **more: Any) -> None:
    """Changes what the application's document says."""
    parameter = "/mayfly/applications/webshop"
    world.ssm.parameters[parameter] = json.dumps(json.loads(world.ssm.parameters[parameter]) | more)


def _finish_all(world: World) -> None:
    for environment in world.environments():
        finish(world, environment)
    world.timeline.advance(10 * MINUTE)


def _crowd(world: World) -> None:
    """Turns are given out for half a minute."""
    for lane in ("end", "build"):
        free_at = str(int(world.timeline.now * 1000) + 30_000)
        world.dynamodb.update_item(
            "",
            TableName=SETTINGS["MAYFLY_TABLE"],
            Key={"pk": {"S": f"pace#{ACCOUNTS[0]}/us-east-1/{lane}"}},
            UpdateExpression="SET #free_at = :free_at",
            ExpressionAttributeNames={"#free_at": "free_at"},
            ExpressionAttributeValues={":free_at": {"N": free_at}},
        )


# ---- rollouts


def rolls_out(world: Production, arm: Callable[..., None]) -> None:
    """Production is replaced by a new image."""
    _in_production(world)
    arm()
    world.ssm.parameters[STABLE] = "ami-2"
    world.timeline.advance(120 * MINUTE)


def is_paused(world: Production, arm: Callable[..., None]) -> None:
    """The rollout of a new image stands still at a checkpoint, until somebody has it go on."""
    rollout = _paused(world)
    arm(there=True)
    world.timeline.advance(30 * MINUTE)
    _ask(world, "Resume", rollout)
    world.timeline.advance(120 * MINUTE)


def goes_on(world: Production, arm: Callable[..., None]) -> None:
    """The rollout of a new image goes on after a pause."""
    rollout = _paused(world)
    arm()
    _ask(world, "Resume", rollout)
    world.timeline.advance(120 * MINUTE)


def _paused(world: Production) -> str:
    _in_production(world)
    world.ssm.parameters[STABLE] = "ami-2"
    while not (running := world.machines.running(ROLLOUT_MACHINE)):
        world.timeline.advance(MINUTE)
    world.timeline.advance(5 * MINUTE)
    rollout = running[0].name
    _ask(world, "Pause", rollout)
    world.timeline.advance(60 * MINUTE)
    assert world.record(rollout, "rollout")["stage"] == "paused"
    return rollout


def _ask(world: Production, what: str, rollout: str) -> None:
    detail = {"rollout": rollout, "why": "to see", "requested_by": "dev"}
    world.deliver("resume_rollout", world.on_the_bus(f"Rollout {what} Requested", detail))


def goes_back(world: Production, arm: Callable[..., None]) -> None:
    """A new image never becomes healthy."""
    _in_production(world)
    arm()
    world.fleets.bad.add("ami-2")
    world.ssm.parameters[STABLE] = "ami-2"
    world.timeline.advance(120 * MINUTE)


def is_made(world: Production, arm: Callable[..., None]) -> None:
    """The first version makes production."""
    arm()
    _in_production(world)


def _in_production(world: Production) -> None:
    release(world, APPLICATION, "1.0.0")
    world.timeline.advance(30 * MINUTE)


# ---- images


def bakes(world: Imaging, arm: Callable[..., None]) -> None:
    """An image is baked, and the channel `candidate` moves to it; another bake stands back meanwhile."""
    arm()
    ask(world)
    world.timeline.advance(3 * MINUTE)
    ask(world, "another one")
    world.timeline.advance(60 * MINUTE)


def rejects(world: Imaging, arm: Callable[..., None]) -> None:
    """An image is baked whose checks disagree."""
    world.line.spoils.append("disagree")
    arm()
    ask(world)
    world.timeline.advance(60 * MINUTE)


def moves(world: Imaging, arm: Callable[..., None]) -> None:
    """A person promotes an image that is proven."""
    ask(world)
    world.timeline.advance(60 * MINUTE)
    arm()
    promote(world, "stable", world.channel("candidate")["image"])
    world.timeline.advance(60 * MINUTE)


def steps_back(world: Imaging, arm: Callable[..., None]) -> None:
    """A person takes a channel back."""
    for why in ("so", "again"):
        ask(world, why)
        world.timeline.advance(60 * MINUTE)
    arm()
    detail = {"family": "base", "channel": "candidate", "why": "so", "requested_by": "dev"}
    world.deliver("accept_promotion", world.on_the_bus("Image Rollback Requested", detail))
    world.timeline.advance(60 * MINUTE)


def moves_nowhere(world: Imaging, arm: Callable[..., None]) -> None:
    """A person promotes what is no image of the family's."""
    ask(world)
    world.timeline.advance(60 * MINUTE)
    arm()
    promote(world, "stable", next(iter(world.regions[HOME].amis)))
    world.timeline.advance(60 * MINUTE)


# ---- what must be so afterwards


def stopped_in(history: History, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plays a history, stops the execution in its state, lets time pass, and demands that all is as it should be."""
    world = history.of()
    with world.installed(monkeypatch):
        stopper, promises = Stopper(world, stop), promises_of(world)
        history.play(world, stopper.arm)
        assert stopper.stopped, f"no execution came to {stop.state}"
        quiet, left = 0, list[str]()
        for _ in range(_HOURS * 6):
            world.timeline.advance(10 * MINUTE)
            promises.kept()
            left = [*promises.open(), *still_open(world)]
            quiet = 0 if left else quiet + 1
            if quiet == 2:
                break
        assert not left, left
        assert is_told(world, stopper.stopped), f"nobody was told of the end of {stopper.stopped.name}"


def promises_of(world: World) -> Any:
    """What is promised in this world."""
    if isinstance(world, Production):
        promises = ProductionPromises(world)
        promises.offered.add("ami-2")
        return promises
    return ImagingPromises(world) if isinstance(world, Imaging) else Promises(world)


def still_open(world: World) -> Iterator[str]:
    """What goes on, or is held, of what is not a person's by now."""
    yield from (f"{one.name} runs, in {one.state}" for one in world.machines.executions.values() if one.running)
    protected = {stack.name.removeprefix("mayfly-") for stack in world.account.stacks.values() if stack.protected}
    theirs = protected | {name for name in world.environments() if "handed_over" in world.record(name)}
    for key in world.dynamodb.items:
        kind, _, name = key.partition("#")
        record = world.record(name, cast(Any, kind))
        if name in theirs:
            continue
        waits = kind == "rollout" and record.get("stage") == "awaiting approval"
        if kind not in _GO_ON and not waits and ("live" in record or "#live#" in record.get("shelf", "")):
            yield f"{key} is open"
        yield from (f"{key} holds its {each}" for each in _HELD.get(kind, ()) if record.get(each) and not theirs)
        if kind == "ledger" and not theirs:
            counts = {name: count for name, count in record["counts"].items() if "usd" not in name and count}
            yield from (f"room is held: {name} {count}" for name, count in counts.items())


_GO_ON = ("channel", "image", "service")
"""Kinds of records that are open as long as what they are of is there. A person's word is what a rollout that waits for
an approval waits for."""
_HELD = {
    "family": ("bake", "wanted"),
    "service": ("rollout",),
    "ledger": ("queue", "holding"),
    "environment": ("reserved", "waiting"),
}
"""Turns, places and room, by the kind of the record that says who has them."""


def is_told(world: World, one: Execution) -> bool:
    """Whether people heard what came of what this execution was for, from it or from somebody else."""
    name, asked = one.name.partition("__")[0], one.input
    ends = _ENDS[one.machine]
    if one.machine == ENVIRONMENT_MACHINE and not world.record(name):
        ends = (*ends, *_ENDS[RELEASE_MACHINE])  # nobody has heard of it; the verdict says that it was not built
    said = [(what, detail) for what, detail in world.events.said if what in ends]
    bake = {BAKE_MACHINE: name, ENVIRONMENT_MACHINE: asked.get("release"), PROMOTION_MACHINE: asked.get("requested_by")}
    if any(detail["bake"] == bake.get(one.machine) for what, detail in said if what in BAKE_ENDS):
        return True
    if one.machine == PROMOTION_MACHINE:
        wanted = [(key, asked[key]) for key in ("family", "channel", "why")]
        return any(all(detail.get(key) == value for key, value in wanted) for _, detail in said)
    return any(f'"{name}"' in json.dumps(detail) for _, detail in said)


_OF_A_LIFE = ("Environment Terminated", "Environment Failed")
_ENDS = {
    ENVIRONMENT_MACHINE: (*_OF_A_LIFE, *BAKE_ENDS),
    TESTS_MACHINE: _OF_A_LIFE,
    RELEASE_MACHINE: ("Release Passed", "Release Failed"),
    ROLLOUT_MACHINE: ENDS,
    BAKE_MACHINE: BAKE_ENDS,
    PROMOTION_MACHINE: (*NOT_MOVED, "Image Promoted", "Image Rolled Back", *BAKE_ENDS),
}
"""What says the end of that for which an execution ran, by its machine."""
