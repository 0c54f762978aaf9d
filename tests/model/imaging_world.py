"""The world with an image family in it, whose bakes, promotions and retirement run the real functions and machines."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from mayfly.domain import tags
from tests.model import imaging, workload_api
from tests.model.imaging import Ami, Line
from tests.model.interpreter import Execution
from tests.model.workload import Account
from tests.model.world import ACCOUNTS, SETTINGS, SUITES, Version, World, definition

type Json = dict[str, Any]

FAMILY, ACCOUNT, BASE = "base", ACCOUNTS[1], "ami-0ba5e000"
HOME, AWAY = "us-east-1", "eu-west-1"
BAKE_MACHINE, PROMOTION_MACHINE = SETTINGS["MAYFLY_BAKE_MACHINE_ARN"], SETTINGS["MAYFLY_PROMOTION_MACHINE_ARN"]
BAKE_ENDS = ("Image Baked", "Image Rejected")
NOT_MOVED = ("Image Promotion Refused", "Image Promotion Failed")
MINUTE, DAY = 60, 24 * 3600
_MEASURED_EVERY, _RETIRES_EVERY = 30 * MINUTE, DAY
_LOCKED = (5 + 15 + 180 + 60) * MINUTE
"""Seconds that a family's lock holds at most: the builder's, the image's and the proof's."""
DOCUMENT = {
    "owner": "team-platform@example.com",
    "account": ACCOUNT,
    "region": HOME,
    "base": {"owner": ACCOUNT, "name": "al2023-*"},
    "subnet": "subnet-0a1b2c3d4e5f60718",
    "security_groups": ["sg-0a1b2c3d4e5f60718"],
    "puppet": {"mode": "apply", "artifact": "s3://code/base.tar.gz", "sha256": "0" * 64},
    "logs": "s3://bakes/logs",
    "bake_minutes": 5,
    "prove_minutes": 60,
    "blueprint": "booted.yaml",
    "checks": [{"name": "service runs", "command": "true"}],
    "regions": [HOME, AWAY],
    "share_accounts": [ACCOUNTS[0]],
    "keep_newest": 1,
    "stable": {"after_releases": 1},
    "retire": {"deprecate_after_days": 1, "disable_after_days": 1, "deregister_after_days": 1},
}
_BLUEPRINT = b"{Parameters: {InstanceCount: {Type: Number}, ImageId: {Type: String}}, Resources: {}}"


class Imaging(World):
    """An installation that bakes the images of a family, which both applications boot."""

    SWEEPS_EVERY = 60 * MINUTE

    def __init__(self) -> None:
        self.line = Line(self._aws_says, self._retires)
        self.deployed: list[tuple[float, Version]] = []
        super().__init__()
        self.regions: dict[str, imaging.EC2] = {}
        """EC2 of the family's account, by Region."""
        for home in self.account.accounts:
            away = Account(home.name, self.timeline, self._stack_turned, self.account.number)
            self._enter(home, home.name, HOME)
            self._enter(away, f"{home.name}@{AWAY}", AWAY)
        self.regions[HOME].add_base(BASE)
        self.ssm.parameters[f"/mayfly/families/{FAMILY}"] = json.dumps(DOCUMENT)
        self.s3.objects["booted.yaml"] = _BLUEPRINT
        for name, channel in zip(SUITES, ("stable", "candidate"), strict=True):
            parameter = f"/mayfly/applications/{name}"
            image = {"blueprint": "booted.yaml", "image": {"family": FAMILY, "channel": channel}}
            self.ssm.parameters[parameter] = json.dumps(json.loads(self.ssm.parameters[parameter]) | image)
        for channel in ("candidate", "stable"):
            self.ssm.parameters[f"/mayfly/images/{FAMILY}/{channel}"] = BASE
        self.events.heard = self._fact
        self.timeline.after(_MEASURED_EVERY, partial(self._every, _MEASURED_EVERY, "measure_reach"))
        self.timeline.after(_RETIRES_EVERY, partial(self._every, _RETIRES_EVERY, "retire_images"))

    def _enter(self, account: Account, name: str, region: str) -> None:
        arguments = (account, self._read, self._destroying)
        ec2, ssm = imaging.EC2(*arguments), imaging.SSM(*arguments)
        ec2.line = ssm.line = self.line
        ec2.amis, ec2.tokens, ssm.parameters, ssm.printed = {}, {}, {}, {}
        cloudformation = imaging.CloudFormation(*arguments)
        cloudformation.next, cloudformation.boots = self.next, self.boots
        self._services |= {
            (name, "ec2"): ec2,
            (name, "ssm"): ssm,
            (name, "cloudformation"): cloudformation,
            (name, "autoscaling"): imaging.AutoScaling(*arguments),
            (name, "s3"): imaging.S3(*arguments),
            (name, "imagebuilder"): imaging.ImageBuilder(*arguments),
            (name, "resourcegroupstaggingapi"): workload_api.Tagging(*arguments),
        }
        if account.name == ACCOUNT:
            self.regions[region] = ec2

    def deploy(self, version: Version) -> None:
        super().deploy(version)
        self.deployed.append((self.timeline.now, version))
        own = {BAKE_MACHINE: "bake_image", PROMOTION_MACHINE: "promote_image"}
        more = {arn: definition(name, version) for arn, name in own.items()}
        self.machines.definitions = {**self.machines.definitions, **more}

    def of_this_version(self, one: Execution) -> bool:
        """Whether an execution runs on the machines of this version."""
        return next(version for at, version in reversed(self.deployed) if at <= one.started) == "this"

    # ---- what happens by itself

    def _every(self, seconds: float, function: str) -> None:
        self.deliver(function, {"now": self.timeline.text})
        self.timeline.after(seconds, partial(self._every, seconds, function))

    def _aws_says(self, function: str, what: str, detail: Json) -> None:
        self.bring(function, self.on_the_bus(what, detail, "aws.ec2"))

    def _fact(self, what: str, detail: Json) -> None:
        hears = None
        if what == "Environment Ready" and detail["application"] == "image-proof":
            hears = "check_image"
        elif what == "Release Passed":
            hears = "count_release"
        elif what == "Image Promotion Failed":
            self._failed(detail)
        if hears:
            self.timeline.after(1, partial(self.deliver, hears, self.on_the_bus(what, detail, "mayfly")))

    # ---- what must hold at every step

    def _retires(self, one: Ami, step: str) -> None:
        original = one.labels.get(tags.SOURCE_IMAGE, one.id)
        for name, image in self.needed():
            if image == original:
                self.violations.append(f"{one.id} of {original} is {step}, and {name} needs it")
        if used := self.used().get(one.id):
            self.violations.append(f"{one.id} is {step}, and {used} run on it")
        if self.switch != "off":
            self.violations.append(f"{one.id} is {step} with the kill switch at {self.switch}")

    def _failed(self, detail: Json) -> None:
        """What failed, the channel did not move by."""
        channel = self.channel(detail["channel"])
        for one in self.machines.running(PROMOTION_MACHINE):
            if one.state == "Announce Outcome" and one.name == channel.get("moved_by") and self.of_this_version(one):
                self.violations.append(f"{one.name} has moved {detail['channel']} and says that it failed")

    # ---- looking at it

    def boots(self, image: str) -> bool:
        """Whether an image of the family's can be launched; it is shared with all accounts."""
        found = self.regions[HOME].amis.get(image)
        return found is not None and found.state == "available"

    def channel(self, name: str) -> Json:
        """The record of a channel, {} where it never moved."""
        return self.record(f"{FAMILY}/{name}", "channel")

    def channels(self) -> dict[str, Json]:
        """The records of the channels that have moved."""
        return {name: record for name in ("candidate", "stable") if (record := self.channel(name))}

    def needed(self) -> Iterator[tuple[str, str]]:
        """The images that channels point to, and the ones before, each with its channel."""
        for name, record in self.channels().items():
            yield name, record["image"]
            yield from ((f"{name}'s way back", each["image"]) for each in record["previous"])

    def used(self) -> dict[str, list[str]]:
        """The instances that run, by their images."""
        found: dict[str, list[str]] = {}
        for one in self.account.resources.values():
            if one.kind == "instance" and one.state in ("pending", "running"):
                found.setdefault(one.image, []).append(one.id)
        return found

    def builders(self) -> list[Any]:
        """The builders that are not terminated."""
        there = (one for one in self.account.resources.values() if one.kind == "instance" and one.there)
        return [one for one in there if tags.BAKE in one.labels]

    def executions(self, machine: str) -> list[Execution]:
        """Lists the executions of a state machine, the oldest first."""
        return [one for one in self.machines.executions.values() if one.machine == machine]

    def bakes(self) -> list[str]:
        """The names of the bakes that have a record."""
        return [key.removeprefix("bake#") for key in self.dynamodb.items if key.startswith("bake#")]


class ImagingPromises:
    """What is promised of images; it shares no decision with the functions."""

    LATE = 100 * MINUTE
    """Seconds past its deadline, or past the last thing that went wrong, after which no builder is left: a sweep and
    the next."""

    def __init__(self, world: Imaging) -> None:
        self._world = world

    def kept(self) -> None:
        """Raises where a promise is broken now."""
        world = self._world
        if world.switch != "off":
            world.disturbed[None] = world.timeline.now
        assert not world.violations, world.violations
        assert not world.machines.broken, world.machines.broken
        self._one_bake_at_once()
        for name, record in world.channels().items():
            assert record["image"] in world.line.proven, f"{name} points to {record['image']}, which passed no checks"
            for region, image in record["regions"].items():
                there = world.regions[region].amis.get(image)
                assert there, f"{name} points to {image}, which is gone from {region}"
                assert (there.state, there.deprecated_at) == ("available", None), f"{name} points to {there}"
        disturbed = max(world.disturbed.values(), default=0)
        for one in world.builders():
            late = world.timeline.now - max(disturbed, one.launched_at + _LOCKED) - self.LATE
            assert late <= 0, f"{one.id} of {one.labels[tags.BAKE]} lives on"

    def _one_bake_at_once(self) -> None:
        world, now = self._world, self._world.timeline.now
        begun = [one for one in world.executions(BAKE_MACHINE) if one.running and "Launch Builder" in one.entered]
        building = [one for one in begun if "Judge" not in one.entered and now < one.started + _LOCKED]
        assert len(building) <= 1, f"two bakes at once: {[one.name for one in building]}"

    def open(self) -> list[str]:
        """Lists what Mayfly still has to finish before a history is over."""
        return [*self._going_on(), *self._unsaid()]

    def _going_on(self) -> Iterator[str]:
        world = self._world
        yield from (f"{one.name} runs, in {one.state}" for one in world.machines.executions.values() if one.running)
        yield from (f"{one.id} of {one.labels[tags.BAKE]} is {one.state}" for one in world.builders())
        yield from (f"{one.name} is {one.status}" for one in world.account.stacks.values() if one.there)
        family = world.record(FAMILY, "family")
        if "wanted" in family:
            yield f"{family['wanted']} stood back, and no bake follows"

    def _moved_nothing(self, one: Execution) -> bool:
        """Whether a promotion is over, surely has not moved its channel, and has not found it there. One that a bake
        began and that was stopped before it began to plan is told by its bake."""
        if one.running or one.entered[-1:] in (["Already There"], ["Plan"]) or not self._world.of_this_version(one):
            return "Announce Outcome" in one.entered and one.status != "ABORTED"
        return "Keep Outcome" in one.entered or "Move" not in one.entered

    def _unsaid(self) -> Iterator[str]:
        """Each bake that began has one outcome in its record, and each move of a channel a version: they were said, and
        so was each promotion that moved nothing."""
        world = self._world
        said = {detail["bake"] for what, detail in world.events.said if what in BAKE_ENDS}
        by_this = {one.name for one in world.executions(BAKE_MACHINE) if world.of_this_version(one)}
        for bake in world.bakes():
            record = world.record(bake, "bake")
            if "live" in record:
                yield f"the record of {bake} is open, {record.get('stage')}"
            if bake not in said and record.get("stage") != "superseded" and bake in by_this:
                yield f"that {bake} is {record.get('stage')}"
        wanted = sum(map(self._moved_nothing, world.executions(PROMOTION_MACHINE)))
        if (heard := sum(what in NOT_MOVED for what, _ in world.events.said)) < wanted:
            yield f"that {wanted} promotions moved nothing: {heard} are"
        moves = ("Image Promoted", "Image Rolled Back")
        told = {(detail["channel"], detail["version"]) for what, detail in world.events.said if what in moves}
        for name, record in world.channels().items():
            if record.get("unsaid"):
                yield f"moves of {name}: {list(record['unsaid'])}"
            if all(version == "this" for _, version in world.deployed):
                versions = range(1, int(record["version"]) + 1)
                yield from (f"move {each} of {name}" for each in versions if (name, each) not in told)
