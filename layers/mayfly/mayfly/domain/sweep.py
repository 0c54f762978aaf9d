"""What a sweep makes of what it finds. It works when the lives themselves have failed: from tags first, and from
records where there are any."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from mayfly.domain import tags
from mayfly.domain.guard import may_remove, may_terminate
from mayfly.domain.identity import is_environment
from mayfly.domain.moment import text


class Action(StrEnum):
    """What is done with an environment."""

    KEEP = "keep"
    """Nothing: it lives, or its own execution is ending it."""
    END = "end"
    """A termination is started for it, on the same way as every other."""
    WAKE = "wake"
    """Its execution is told that its time is over; it should have noticed."""
    ADOPT = "adopt"
    """Nobody waits for it; an execution is started that waits until its deadline."""
    REFUSE = "refuse"
    """It is past its end and must not be touched; people are told."""


@dataclass(frozen=True, slots=True)
class Found:
    """An environment as AWS shows it, at one place.

    Attributes:
        environment: its name: the stack's without its prefix, or from the tag of what is left without a stack.
        labels: the tags of its stack, or of what is left without one.
        stack: the stack's id; None where resources are left without a stack.
        stack_status: as CloudFormation says it; "" without a stack.
        created_at: when the stack was created.
        termination_protection: the stack's.
        remains: ids of tagged resources that are not the stack.
        names_ours: whether resources of this controller carry the name of the stack's environment.
    """

    environment: str
    labels: Mapping[str, str]
    stack: str | None = None
    stack_status: str = ""
    created_at: datetime | None = None
    termination_protection: bool = False
    remains: tuple[str, ...] = ()
    names_ours: bool = False

    def is_anothers(self, controller: str) -> bool:
        """Whether it is a stack of another controller, and nothing of ours goes by its name."""
        return self.labels.get(tags.CONTROLLER, controller) != controller and not self.names_ours


@dataclass(frozen=True, slots=True)
class Remembered:
    """An environment as its record shows it."""

    deadline: datetime
    ceiling: datetime
    planned_at: datetime
    ended_by: str | None = None
    waiting_for: str | None = None
    handed_over: str | None = None
    """Why its teardown was given up and a person is needed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a sweep decides.

    Attributes:
        controller: the value of the tag ``mayfly:controller`` of this installation.
        grace: how long past its deadline an environment's own execution may take before it is woken.
        lifetime: what an environment without any readable deadline gets, counted from its stack's creation.
        most: terminations of one sweep, in number.
        share: and as a share of what exists, which does not bind the first few.
    """

    controller: str
    grace: timedelta = timedelta(minutes=15)
    lifetime: timedelta = timedelta(hours=24)
    most: int = 20
    share: float = 0.3


_FEW = 3
"""Terminations that no share forbids: in a small account three of four may well be due."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one environment, and why."""

    environment: str
    action: Action
    reason: str


def decide(now: datetime, found: Found | None, record: Remembered | None, waited_for: bool, policy: Policy) -> Decision:
    """Decides about one environment.

    Args:
        now: when the sweep began. found: what AWS shows of it, None if nothing.
        record: what is remembered of it, None if nothing; not both are None.
        waited_for: whether an execution of it runs.
    """
    if found is None:
        return _of_memory_only(now, record, waited_for, policy)
    if found.stack and tags.SERVICE in found.labels:
        return Decision(found.environment, Action.KEEP, "it is permanent: it has no deadline")
    if found.stack is None:
        return _of_remains(found, waited_for, policy)
    deadline, source = deadline_of(found, record, policy)
    until = f"its deadline {text(deadline)} ({source})"
    if waited_for:
        return _of_waited_for(now, found, record, deadline, policy)
    if record and record.handed_over:
        return Decision(found.environment, Action.REFUSE, f"it was handed over to a person: {record.handed_over}")
    if now >= deadline:
        return _unless_protected(found, policy, Action.END, f"{until} has passed, and no execution ends it")
    if record and record.ended_by:
        ended = f"it was ended by {record.ended_by}, and no execution carries it out"
        return _unless_protected(found, policy, Action.END, ended)
    return _unless_protected(found, policy, Action.ADOPT, f"no execution waits for {until}")


def _of_waited_for(
    now: datetime, found: Found, record: Remembered | None, deadline: datetime, policy: Policy
) -> Decision:
    if now < deadline:
        return Decision(found.environment, Action.KEEP, f"until {text(deadline)}")
    if now < deadline + policy.grace or (record and record.waiting_for == "deletion"):
        return Decision(found.environment, Action.KEEP, "its execution is ending it")
    return _unless_protected(found, policy, Action.WAKE, f"its execution let its deadline {text(deadline)} pass")


def _of_remains(found: Found, waited_for: bool, policy: Policy) -> Decision:
    if waited_for:
        return Decision(found.environment, Action.KEEP, "its execution clears up what its stack left")
    left = f"{len(found.remains)} resources are left without a stack"
    return _unless_protected(found, policy, Action.END, left)


def _of_memory_only(now: datetime, record: Remembered | None, waited_for: bool, policy: Policy) -> Decision:
    if record is None or waited_for or now < record.planned_at + policy.grace:
        return Decision("", Action.KEEP, "its execution has yet to build it, or closes its record")
    return Decision("", Action.END, "its record is open, but nothing of it exists: to be closed")


def _unless_protected(found: Found, policy: Policy, action: Action, reason: str) -> Decision:
    if not is_environment(found.environment):
        named = f"'{found.environment}' is no name that Mayfly gives"
        return Decision(found.environment, Action.REFUSE, f"{reason}; but {named}")
    permission = may_terminate(found.environment, policy.controller, found.labels, found.termination_protection)
    if not permission.granted:
        return Decision(found.environment, Action.REFUSE, f"{reason}; but {permission.reason}")
    return Decision(found.environment, action, reason)


def decide_builder(now: datetime, bake: str, labels: Mapping[str, str], waited_for: bool, policy: Policy) -> Decision:
    """Decides about a bake's builder, or a volume of it. A bake that runs removes it by itself."""
    if waited_for:
        return Decision(bake, Action.KEEP, "its bake runs, and removes it")
    deadline = _moment(labels.get(tags.EXPIRES_AT))
    if deadline and now < deadline:
        return Decision(bake, Action.KEEP, f"until {text(deadline)}")
    reason = f"its bake does not run, and its deadline {labels.get(tags.EXPIRES_AT, '(none)')} has passed"
    permission = may_remove(bake, policy.controller, labels)
    if not permission.granted:
        return Decision(bake, Action.REFUSE, f"{reason}; but {permission.reason}")
    return Decision(bake, Action.END, reason)


def deadline_of(found: Found, record: Remembered | None, policy: Policy) -> tuple[datetime, str]:
    """An environment's deadline, and where it is written.

    The record knows of extensions, the tag of the ceiling: what runs inside an environment can change neither, and
    a record that was tampered with does not outlive the tag.
    """
    written = _moment(found.labels.get(tags.EXPIRES_AT))
    ceiling = _moment(found.labels.get(tags.CEILING))
    if record:
        return (min(record.deadline, ceiling), "record") if ceiling else (record.deadline, "record")
    if written:
        return written, "tag"
    if found.created_at:
        return found.created_at + policy.lifetime, "no deadline is written, so counted from its creation"
    return datetime.min.replace(tzinfo=UTC), "nothing says until when"


def _moment(value: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if value else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many terminations a sweep may start, and whether it may start those it has decided on."""

    allowed: int
    exceeded: bool
    reason: str


def limit(ends: int, existing: int, policy: Policy, approved: int = 0) -> Limit:
    """The caps. Above them nothing is terminated at all: a policy gone awry is stopped as a whole, not in part.

    Args:
        ends: terminations decided on. existing: environments that exist. approved: how many a person let through.
    """
    allowed = max(min(policy.most, max(_FEW, int(existing * policy.share))), approved)
    return Limit(
        allowed,
        ends > allowed,
        f"{ends} of {existing} environments are to be ended; {allowed} may be "
        + (f"({approved} approved)" if approved >= allowed and approved else f"({policy.most}, {policy.share:.0%})"),
    )


def counts(decisions: Collection[Decision]) -> dict[str, int]:
    """How many of each action."""
    return {action.value: sum(decision.action is action for decision in decisions) for action in Action}
