"""A workload account: CloudFormation stacks that take their time and fail when told to, and what is in them."""

from collections import ChainMap
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tests.model.timeline import Timeline

type Json = dict[str, Any]

LISTED_WHEN_GONE = 3600
"""Seconds for which the Resource Groups Tagging API goes on listing what is gone."""
_ENDS_A_WAIT = {
    "CREATE_COMPLETE",
    "CREATE_FAILED",
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
    "DELETE_COMPLETE",
    "DELETE_FAILED",
}
"""The statuses whose events the rule of template.yaml lets through."""


class Creation(StrEnum):
    """How the creation of a stack goes."""

    WELL = "well"
    SLOWLY = "slowly"
    """Longer than a wait's timeout."""
    NEVER = "never"
    """It hangs, and no event comes."""
    FAILS = "fails"
    """One instance does not come."""
    LACKS = "lacks capacity"
    """EC2 has none for one instance."""
    ROLLS_BACK = "rolls back"
    SHORT = "short"
    """CREATE_COMPLETE, but an instance has died by then."""


class Block(StrEnum):
    """What keeps a stack from being deleted."""

    NOTHING = "nothing"
    INTERFACE = "a network interface that somebody attached"
    FOREIGN_INTERFACE = "a network interface of somebody else"
    BUCKET = "a bucket with objects"
    REFERENCE = "a security group that another refers to"
    PATIENCE = "something that AWS frees by itself"
    STUBBORN = "a resource that can be kept only"
    ENDLESS = "a stack that cannot be deleted at all"


@dataclass
class Resource:
    """Anything with tags that is not a stack."""

    kind: str
    id: str
    labels: dict[str, str]
    state: str = "running"
    stack: str | None = None
    gone_at: float | None = None
    attached: bool = False
    refers_to: str | None = None
    subnet: str | None = None
    """Where a network interface is, that is in a stack's way."""
    image: str = "ami-12c6146b"
    template: str = ""
    """The version of the launch template of an instance of a permanent environment."""
    launched_at: float = datetime(2026, 11, 24, 6, 47, 40, tzinfo=UTC).timestamp()

    @property
    def there(self) -> bool:
        return self.gone_at is None


@dataclass
class Stack:
    """A stack and how it behaves."""

    id: str
    name: str
    labels: dict[str, str]
    created_at: float
    request: str = ""
    """The ClientRequestToken of its CreateStack call."""
    creation: Creation = Creation.WELL
    block: Block = Block.NOTHING
    fails: int = 0
    """Deletions that PATIENCE lets fail."""
    leaves: tuple[str, ...] = ()
    """Kinds of resources that outlive it."""
    obstacle: "Resource | None" = None
    born_with: dict[str, str] = field(default_factory=dict)
    """Its tags as they were set by the call that created it."""
    status: str = "CREATE_IN_PROGRESS"
    protected: bool = False
    blocked_by: list[Json] = field(default_factory=list)
    objects: int = 0
    asked: str = ""
    """The ClientRequestToken of its latest DeleteStack call, which its events bear."""

    @property
    def there(self) -> bool:
        return self.status != "DELETE_COMPLETE"

    @property
    def subnet(self) -> str:
        return f"subnet-of-{self.name}"

    @property
    def bucket(self) -> str:
        return f"{self.name}-logs"


class Account:
    """What exists in the account, and how it changes with time."""

    def __init__(
        self, name: str, timeline: Timeline, tell: Callable[[Stack, str], None], number: Iterator[int]
    ) -> None:
        """`tell` hears of each status that ends a wait. `number` makes ids that no other account has."""
        self.name, self.timeline, self._tell, self.number = name, timeline, tell, number
        self.stacks: dict[str, Stack] = {}
        self.resources: dict[str, Resource] = {}
        self.lag = 0.0
        """Seconds for which a new stack is not described yet."""

    def named(self, name: str) -> Stack | None:
        """The stack that stands under a name."""
        return next((stack for stack in self.stacks.values() if stack.name == name and stack.there), None)

    def add(self, kind: str, labels: dict[str, str], stack: str | None = None, **more: Any) -> Resource:
        number = next(self.number)
        resource = Resource(kind, f"{kind}-{number}", dict(labels), stack=stack, **more)
        self.resources[resource.id] = resource
        return resource

    def of_stack(self, stack: Stack) -> list[Resource]:
        return [one for one in self.resources.values() if one.stack == stack.id and one.there]

    def turn(self, stack: Stack, status: str) -> None:
        """Sets a stack's status, and lets the world know where somebody may wait for it."""
        stack.status = status
        if status in _ENDS_A_WAIT:
            self._tell(stack, status)

    def end(self, resource: Resource) -> None:
        """Ends a resource: instances take a minute."""
        if resource.kind == "instance" and resource.state != "shutting-down":
            resource.state = "shutting-down"
            self.timeline.after(60, lambda: self._gone(resource))
        elif resource.kind != "instance":
            self._gone(resource)

    def _gone(self, resource: Resource) -> None:
        resource.gone_at, resource.state = self.timeline.now, "terminated"

    # ---- creation

    def create(self, stack: Stack, instances: int) -> None:
        self.stacks[stack.id], stack.born_with = stack, dict(stack.labels)
        for number in range(instances):
            if stack.creation not in _LACKING or number:
                self.add("instance", stack.labels, stack.id, state="pending")
        self.add("security-group", stack.labels, stack.id)
        stack.objects = 5 if stack.block is Block.BUCKET else 0
        took = {Creation.SLOWLY: 3000.0, Creation.NEVER: 1e9}.get(stack.creation, 120.0)
        self.timeline.after(took, lambda: self._created(stack))

    def _created(self, stack: Stack) -> None:
        if stack.status != "CREATE_IN_PROGRESS":
            return
        for instance in self.of_stack(stack):
            instance.state = "running"
        if stack.creation in _LACKING:
            stack.blocked_by = [_LACKING[stack.creation]]
            self.turn(stack, "CREATE_FAILED")
        elif stack.creation is Creation.ROLLS_BACK:
            stack.blocked_by = [_NO_SIGNALS]
            self.turn(stack, "ROLLBACK_IN_PROGRESS")
            self._end_resources(stack)
            self.timeline.after(60, lambda: self._rolled_back(stack))
        else:
            if stack.creation is Creation.SHORT:
                self._gone(next(one for one in self.of_stack(stack) if one.kind == "instance"))
            self.turn(stack, "CREATE_COMPLETE")

    def _rolled_back(self, stack: Stack) -> None:
        if stack.status == "ROLLBACK_IN_PROGRESS":
            self.turn(stack, "ROLLBACK_COMPLETE")

    # ---- deletion

    def delete(self, stack: Stack, kept: list[str]) -> None:
        self.turn(stack, "DELETE_IN_PROGRESS")
        self.timeline.after(120, lambda: self._deleted(stack, kept))

    def _deleted(self, stack: Stack, kept: list[str]) -> None:
        if stack.status != "DELETE_IN_PROGRESS":
            return
        self._obstruct(stack)
        blocker = self._blocker(stack)
        keeps = blocker and blocker["LogicalResourceId"] in kept and stack.block is not Block.ENDLESS
        self._end_resources(stack, all_but=blocker["PhysicalResourceId"] if blocker else "")
        if blocker and not keeps:
            stack.blocked_by = [blocker]
            self.turn(stack, "DELETE_FAILED")
            return
        for kind in stack.leaves:
            self.add(kind, stack.labels)
        self.timeline.after(60, lambda: self.turn(stack, "DELETE_COMPLETE"))

    def _obstruct(self, stack: Stack) -> None:
        """Puts into the way what lies in the way of this stack, once."""
        if stack.obstacle:
            return
        match stack.block:
            case Block.INTERFACE:
                stack.obstacle = self.add("network-interface", stack.labels, attached=True, subnet=stack.subnet)
            case Block.FOREIGN_INTERFACE:
                labels = {"Name": "somebody's"}
                stack.obstacle = self.add("network-interface", labels, attached=True, subnet=stack.subnet)
            case Block.REFERENCE:
                for group in [one for one in self.of_stack(stack) if one.kind == "security-group"]:
                    stack.obstacle = self.add("security-group", stack.labels, refers_to=group.id)

    def _blocker(self, stack: Stack) -> Json | None:
        """What keeps the stack from going now."""
        match stack.block:
            case Block.INTERFACE | Block.FOREIGN_INTERFACE if stack.obstacle and stack.obstacle.there:
                return _fault("Subnet", "AWS::EC2::Subnet", "has dependencies and cannot be deleted", stack.subnet)
            case Block.REFERENCE if stack.obstacle and stack.obstacle.there and stack.obstacle.refers_to:
                group = stack.obstacle.refers_to
                words = f"resource {group} has a dependent object"
                return _fault("Group", "AWS::EC2::SecurityGroup", words, group)
            case Block.BUCKET if stack.objects:
                return _fault("Logs", "AWS::S3::Bucket", "The bucket you tried to delete is not empty", stack.bucket)
            case Block.PATIENCE if stack.fails > 0:
                stack.fails -= 1
                return _fault("Network", "AWS::EC2::VPC", "has dependencies and cannot be deleted")
            case Block.STUBBORN | Block.ENDLESS:
                return _fault("Table", "AWS::RDS::DBInstance", "it has deletion protection")
        return None

    def _end_resources(self, stack: Stack, all_but: str = "") -> None:
        for resource in self.of_stack(stack):
            if resource.id != all_but:
                self.end(resource)


class Everywhere:
    """All accounts, looked at as one. What is added without saying where is in the first."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.accounts = accounts
        self.stacks: MutableMapping[str, Stack] = ChainMap(*(one.stacks for one in accounts))
        self.resources: MutableMapping[str, Resource] = ChainMap(*(one.resources for one in accounts))

    @property
    def number(self) -> Iterator[int]:
        return self.accounts[0].number

    def named(self, name: str) -> Stack | None:
        """The stack that stands under a name, wherever."""
        return next((found for one in self.accounts if (found := one.named(name))), None)

    def add(self, kind: str, labels: dict[str, str], **more: Any) -> Resource:
        return self.accounts[0].add(kind, labels, **more)

    def lag(self, seconds: float) -> None:
        """Has new stacks described only after so many seconds."""
        for one in self.accounts:
            one.lag = seconds


def _fault(logical: str, kind: str, reason: str, physical: str = "") -> Json:
    return {
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical or f"{logical.lower()}-1",
        "ResourceType": kind,
        "ResourceStatusReason": reason,
    }


_NO_SIGNALS = _fault("Fleet", "AWS::AutoScaling::AutoScalingGroup", "Received 0 SUCCESS signals")
_NO_CAPACITY = (
    "We currently do not have sufficient t3.medium capacity in the Availability Zone you requested (us-east-1a)."
)
_LACKING = {
    Creation.FAILS: _NO_SIGNALS,
    Creation.LACKS: _fault("Instance", "AWS::EC2::Instance", _NO_CAPACITY),
}
"""Why a stack fails that lacks an instance."""
