"""The world with a permanent environment in it, whose rollouts run the real functions and the real machine."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.model import production
from tests.model.interpreter import Execution
from tests.model.production import Fleet, Fleets
from tests.model.world import ACCOUNTS, SETTINGS, Version, World, definition

type Json = dict[str, Any]

APPLICATION, SERVICE, ACCOUNT = "billing", "billing-production", ACCOUNTS[1]
INSTANCES = 3
ROLLOUT_MACHINE = SETTINGS["MAYFLY_ROLLOUT_MACHINE_ARN"]
LOOKS_EVERY = 600
STABLE = "/mayfly/images/base/stable"
_LOOKED_AT_AFTER = ("Release Passed", "Rollout Completed", "Rollout Rolled Back", "Rollout Failed")
ENDS = ("Rollout Completed", "Rollout Rolled Back", "Rollout Failed", "Rollout Superseded")


@dataclass(frozen=True)
class Restored:
    """What there was when the table was restored."""

    rollouts: int
    delivered: int
    version: str


class Production(World):
    """An installation whose application `billing` has a permanent environment."""

    SWEEPS_EVERY = 4 * 3600

    def __init__(self, policy: Json | None = None) -> None:
        self.policy = policy or {}
        self.restored: Restored | None = None
        self.fleets = Fleets(self._aws_says)
        super().__init__()
        found = next(one for one in self.account.accounts if one.name == ACCOUNT)
        for service, kind in (
            ("cloudformation", production.CloudFormation),
            ("ec2", production.EC2),
            ("autoscaling", production.AutoScaling),
        ):
            one = self._services[ACCOUNT, service] = kind(found, self._read, self._destroying)
            one.fleets = self.fleets
        self._services[ACCOUNT, "cloudformation"].next = self.next
        self.s3.objects["service.yaml"] = b"{Parameters: {LaunchTemplateVersion: {Type: String}}, Resources: {}}"
        self.events.heard = self._fact
        self.timeline.after(LOOKS_EVERY, self._scheduled_look)

    def configure(self, lifetime: int, ceiling: int) -> None:
        super().configure(lifetime, ceiling)
        parameter = f"/mayfly/applications/{APPLICATION}"
        permanent = {"name": "production", "instance_count": INSTANCES, "rollout": self.policy}
        configured = json.loads(self.ssm.parameters[parameter]) | {"permanent": [permanent]}
        self.ssm.parameters[parameter] = json.dumps(configured)

    def deploy(self, version: Version) -> None:
        super().deploy(version)
        self.machines.definitions = {**self.machines.definitions, ROLLOUT_MACHINE: definition("roll_out", version)}

    def restore_table(self, items: Json) -> None:
        super().restore_table(items)
        stood = self.fleet.parameters["CodeVersion"] if self.fleet else ""
        self.restored = Restored(len(self.rollouts), len(self.delivered), stood)

    @property
    def fleet(self) -> Fleet | None:
        return self.fleets.of.get(f"mayfly-{SERVICE}")

    @property
    def rollouts(self) -> list[Execution]:
        """The executions of all rollouts, in their order."""
        return [one for one in self.machines.executions.values() if one.machine == ROLLOUT_MACHINE]

    def _fact(self, what: str, detail: Json) -> None:
        if what in _LOOKED_AT_AFTER:
            self.timeline.after(1, partial(self.deliver, "plan_rollouts", self.on_the_bus(what, detail, "mayfly")))

    def _scheduled_look(self) -> None:
        self.deliver("plan_rollouts", {"now": self.timeline.text})
        self.timeline.after(LOOKS_EVERY, self._scheduled_look)

    def _aws_says(self, what: str, detail: Json) -> None:
        source = "aws.cloudformation" if what.startswith("CloudFormation") else "aws.autoscaling"
        self.bring("resume_rollout", self.on_the_bus(what, detail, source))


class ProductionPromises:
    """What is promised of rollouts; it shares no decision with the functions."""

    def __init__(self, world: Production) -> None:
        self._world = world
        self.offered: set[str] = {world.ssm.parameters[STABLE]}
        """Images that the channel ever pointed to."""
        self.asked: set[str] = set()
        """Requests to roll out, and to step back, by their ids."""

    def kept(self) -> None:
        """Raises where a promise is broken now."""
        world = self._world
        assert not world.violations, world.violations
        assert not world.machines.broken, world.machines.broken
        running = [one.name for one in world.rollouts if one.running]
        assert len(running) <= 1, f"two rollouts at once: {running}"
        self._not_taken_back()
        self._one_number_each()
        by_hand = [one.name for one in world.rollouts if one.input["cause"] in ("request", "step back")]
        # What was asked for, and brought again, nobody knows any more where the table was restored.
        assert world.restored or len(by_hand) <= len(self.asked), f"{by_hand} for {len(self.asked)} requests"
        if fleet := world.fleet:
            assert not fleet.versions or len(fleet.members) >= INSTANCES, "production has too few instances"
            assert {image for image, _ in fleet.versions} <= self.offered, "an image that nobody wanted"

    def _not_taken_back(self) -> None:
        """A restored table takes production to no older version, unless a person has said something since."""
        world, restored = self._world, self._world.restored
        if restored is None or restored.version not in (order := self._pushed()):
            return
        since = (event["detail-type"] for _, event in world.delivered[restored.delivered :] if "detail-type" in event)
        if not any(what.startswith("Rollout ") and what.split()[-1] in ("Approved", "Requested") for what in since):
            for one in world.rollouts[restored.rollouts :]:
                to = one.input["after"]["version"]
                assert order.index(to) >= order.index(restored.version), f"{one.name} takes production back to {to}"

    def _pushed(self) -> list[str]:
        """The versions in the order in which they were pushed."""
        details = (event["detail"] for name, event in self._world.delivered if name == "accept_code_version")
        return list(dict.fromkeys(one["version"] for one in details if one["application"] == APPLICATION))

    def _one_number_each(self) -> None:
        """A rollout's number says one thing, whatever became of the table since."""
        to: dict[str, Any] = {}
        for what, detail in self._world.events.said:
            if what in ("Rollout Started", *ENDS) and "to" in detail:
                seen = to.setdefault(detail["rollout"], detail["to"])
                same = all(seen[key] == detail["to"][key] for key in ("image", "version"))
                assert same, f"{detail['rollout']} is to {seen} and to {detail['to']}"

    def open(self) -> list[str]:
        """Lists what Mayfly still has to finish before a history is over."""
        return [*self._going_on(), *self._unsaid(), *self._not_as_recorded()]

    def _going_on(self) -> Iterator[str]:
        world, fleet = self._world, self._world.fleet
        yield from (f"{one.name} runs, in {one.state}" for one in world.rollouts if one.running)
        if fleet and fleet.stack.status.endswith("IN_PROGRESS"):
            yield f"the stack is {fleet.stack.status}"
        if fleet and fleet.latest and fleet.latest.active:
            yield f"the instance refresh is {fleet.latest.status}"

    def _unsaid(self) -> Iterator[str]:
        """Each rollout that began has one outcome in its record, and that was said; where the table was restored, it
        may be unknown, or said once more."""
        world = self._world
        for one in world.rollouts:
            record = world.record(one.name, "rollout")
            if "live" in record or ("ended_at" not in record and (record or not world.restored)):
                yield f"the record of {one.name} is open"
            said = [what for what in ENDS if world.events.about(what, one.name)]
            if not said or (len(said) > 1 and not world.restored):
                yield f"of {one.name}, {record.get('stage')}, was said {said}"

    def _not_as_recorded(self) -> Iterator[str]:
        """Production is what its record says, whole, or people were told; and what is wanted, or what it went back
        from."""
        world, fleet = self._world, self._world.fleet
        service = world.record(SERVICE, "service")
        if "rollout" in service:
            yield f"{service['rollout']} has the turn"
        if fleet is None or "setup" not in service or "held" in service:
            return
        if world.restored and "pending" in service:
            return
        setup = service["setup"]
        made = {(one.image, fleet.versions[int(one.template) - 1][1]) for one in fleet.members}
        if made != {(setup["image"], setup["version"])}:
            yield f"instances are of {made}, and its record says {setup['image']}, {setup['version']}"
        if fleet.template != fleet.parameters["LaunchTemplateVersion"]:
            yield f"the group launches {fleet.template}, its stack pins {fleet.parameters['LaunchTemplateVersion']}"
        image = world.ssm.parameters[STABLE]
        wanted = image, service.get("passed", setup)["version"]
        refused = service.get("refused", {})
        waits = service.get("pending", {}).get("to", {})
        there = [(one.get("image"), one.get("version")) for one in (setup, refused, waits)]
        if wanted not in there:
            yield f"{wanted} is wanted, and neither there, refused nor waiting: {there}"
