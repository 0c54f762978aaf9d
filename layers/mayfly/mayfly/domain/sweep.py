"""Decides what a sweep does with what it finds: from tags first, and from records where there are any. It works where
the executions themselves have failed."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from mayfly.contract.vocabulary import EndingCause, SweepAction, Wait
from mayfly.domain import tags
from mayfly.domain.guard import TERMINATION_PROTECTED, may_destroy
from mayfly.domain.identity import is_environment
from mayfly.domain.stack import PHASES, Phase
from mayfly.domain.timestamp import read_timestamp, utc_text


class Found(Struct, frozen=True):
    """An environment as AWS shows it, at one target.

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


class Remembered(Struct, frozen=True):
    """An environment as its record shows it."""

    deadline: datetime
    ceiling: datetime
    planned_at: datetime
    ended_by: EndingCause | None = None
    waiting_for: Wait | None = None
    handed_over: str | None = None
    """Why its teardown was given up and a person is needed."""
    was_ready: bool = True
    """Whether its tests may have begun."""

    @property
    def sleeps(self) -> bool:
        """Whether its execution waits for what nobody needs any more once it is ended."""
        by_request = self.ended_by == EndingCause.REQUEST
        return self.waiting_for in (Wait.ROOM, Wait.TESTS) or (self.waiting_for == Wait.CREATION and by_request)


class SweepPolicy(Struct, frozen=True):
    """How a sweep decides.

    Attributes:
        controller: the value of the tag ``mayfly:controller`` of this installation.
        grace: how long past its deadline an environment's own execution may take before it is woken; and how long
            after its beginning lists and indexes may not show it yet.
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


class SweepDecision(Struct, frozen=True):
    """What is done with one environment, and why."""

    environment: str
    action: SweepAction
    reason: str


def decide_environment(
    now: datetime, found: Found | None, record: Remembered | None, waited_for: bool, policy: SweepPolicy
) -> SweepDecision:
    """Decides about one environment.

    Args:
        now: when the sweep began. found: what AWS shows of it, None if nothing.
        record: what is remembered of it, None if nothing; not both are None.
        waited_for: whether an execution of it runs.
    """
    if found is None:
        return _of_memory_only(now, record, waited_for, policy)
    if found.stack and tags.SERVICE in found.labels:
        return SweepDecision(found.environment, SweepAction.KEEP, "it is permanent: it has no deadline")
    if record and record.handed_over and not waited_for:
        handed = f"it was handed over to a person: {record.handed_over}"
        return SweepDecision(found.environment, SweepAction.REFUSE, handed)
    if found.stack is None:
        expected = waited_for or _has_just_begun(now, record.planned_at if record else None, policy)
        return _of_remains(found, expected, policy)
    deadline, source = deadline_of(found, record, policy)
    until = f"its deadline {utc_text(deadline)} ({source})"
    if waited_for:
        return _of_waited_for(now, found, record, deadline, policy)
    if now >= deadline:
        return _unless_protected(found, policy, SweepAction.END, f"{until} has passed, and no execution ends it")
    return _of_unwatched(now, found, record, until, policy)


def _of_unwatched(
    now: datetime, found: Found, record: Remembered | None, until: str, policy: SweepPolicy
) -> SweepDecision:
    if record and record.ended_by:
        ended = f"it was ended by {record.ended_by}, and no execution carries it out"
        return _unless_protected(found, policy, SweepAction.END, ended)
    if _has_just_begun(now, record.planned_at if record else found.created_at, policy):
        return _unless_protected(found, policy, SweepAction.KEEP, f"{until}; its execution may not be listed yet")
    if not may_be_ready(found, record):
        broken_off = "its creation was broken off, and no execution goes on with it"
        return _unless_protected(found, policy, SweepAction.END, broken_off)
    return _unless_protected(found, policy, SweepAction.ADOPT, f"no execution waits for {until}")


def may_be_ready(found: Found, record: Remembered | None) -> bool:
    """Whether an environment can have come to its tests: as its record says, or else by its stack's status."""
    return record.was_ready if record else PHASES.get(found.stack_status, Phase.CREATED) is Phase.CREATED


def _has_just_begun(now: datetime, begun: datetime | None, policy: SweepPolicy) -> bool:
    """Whether ListExecutions, DescribeStacks or the index of what lives may still lack what belongs to an environment:
    none of them is consistent at once."""
    return begun is not None and now < begun + policy.grace


def _of_waited_for(
    now: datetime, found: Found, record: Remembered | None, deadline: datetime, policy: SweepPolicy
) -> SweepDecision:
    if record and record.ended_by and record.sleeps:
        ended = f"it was ended by {record.ended_by}, and its execution does not know"
        return _unless_protected(found, policy, SweepAction.WAKE, ended)
    if now < deadline:
        return SweepDecision(found.environment, SweepAction.KEEP, f"until {utc_text(deadline)}")
    if now < deadline + policy.grace or (record and record.waiting_for == Wait.DELETION):
        return SweepDecision(found.environment, SweepAction.KEEP, "its execution is ending it")
    passed = f"its execution let its deadline {utc_text(deadline)} pass"
    if record is None:  # and with it the token that its execution could be woken by
        return _unless_protected(found, policy, SweepAction.END, f"{passed}, and its record is lost")
    return _unless_protected(found, policy, SweepAction.WAKE, passed)


def _of_remains(found: Found, expected: bool, policy: SweepPolicy) -> SweepDecision:
    if expected:
        return SweepDecision(found.environment, SweepAction.KEEP, "its execution builds it, or clears up after it")
    left = f"{len(found.remains)} resources are left without a stack"
    return _unless_protected(found, policy, SweepAction.END, left)


def _of_memory_only(now: datetime, record: Remembered | None, waited_for: bool, policy: SweepPolicy) -> SweepDecision:
    if record is None or waited_for or now < record.planned_at + policy.grace:
        return SweepDecision("", SweepAction.KEEP, "its execution has yet to build it, or closes its record")
    return SweepDecision("", SweepAction.END, "its record is open, but nothing of it exists: to be closed")


def _unless_protected(found: Found, policy: SweepPolicy, action: SweepAction, reason: str) -> SweepDecision:
    if not is_environment(found.environment):
        named = f"'{found.environment}' is no name that Mayfly gives"
        return SweepDecision(found.environment, SweepAction.REFUSE, f"{reason}; but {named}")
    locked = TERMINATION_PROTECTED if found.termination_protection else ""
    permission = may_destroy(found.environment, policy.controller, found.labels, locked=locked)
    if not permission.granted:
        return SweepDecision(found.environment, SweepAction.REFUSE, f"{reason}; but {permission.reason}")
    return SweepDecision(found.environment, action, reason)


def decide_builder(
    now: datetime, bake: str, labels: Mapping[str, str], waited_for: bool, policy: SweepPolicy
) -> SweepDecision:
    """Decides about a bake's builder, or a volume of it. A bake that runs removes it by itself."""
    if waited_for:
        return SweepDecision(bake, SweepAction.KEEP, "its bake runs, and removes it")
    deadline = read_timestamp(labels.get(tags.EXPIRES_AT))
    if deadline and now < deadline:
        return SweepDecision(bake, SweepAction.KEEP, f"until {utc_text(deadline)}")
    reason = f"its bake does not run, and its deadline {labels.get(tags.EXPIRES_AT, '(none)')} has passed"
    permission = may_destroy(bake, policy.controller, labels, tags.BAKE)
    if not permission.granted:
        return SweepDecision(bake, SweepAction.REFUSE, f"{reason}; but {permission.reason}")
    return SweepDecision(bake, SweepAction.END, reason)


def deadline_of(found: Found, record: Remembered | None, policy: SweepPolicy) -> tuple[datetime, str]:
    """An environment's deadline, and where it is written.

    The record knows of extensions, the tag of the ceiling: what runs inside an environment can change neither, and
    a record that was tampered with does not outlive the tag.
    """
    written = read_timestamp(found.labels.get(tags.EXPIRES_AT))
    ceiling = read_timestamp(found.labels.get(tags.CEILING))
    if record:
        return (min(record.deadline, ceiling), "record") if ceiling else (record.deadline, "record")
    if written:
        return written, "tag"
    if found.created_at:
        return found.created_at + policy.lifetime, "no deadline is written, so counted from its creation"
    return datetime.min.replace(tzinfo=UTC), "nothing says until when"


def is_leak(now: datetime, record: Remembered | None) -> bool:
    """Whether what a sweep leaves standing should be gone: it was ended, or its time is over."""
    return record is not None and (record.ended_by is not None or now >= record.deadline)


class Limit(Struct, frozen=True):
    """How many terminations a sweep may start, and whether it may start those it has decided on."""

    allowed: int
    exceeded: bool
    reason: str


def binds_caps(now: datetime, decision: SweepDecision, record: Remembered | None) -> bool:
    """Whether a termination counts against the caps. What has a recorded ending, or a deadline of its own that has
    passed, is no policy gone awry: caps are for what a sweep decides from tags. So an environment that cannot be ended
    keeps no other standing."""
    if decision.action not in (SweepAction.END, SweepAction.WAKE):
        return False
    return record is None or (record.ended_by is None and now < record.deadline)


def limit(ends: int, existing: int, policy: SweepPolicy, approved: int = 0) -> Limit:
    """The caps. Above them nothing is terminated at all: a policy gone awry is stopped as a whole, not in part.

    Args:
        ends: terminations decided on that count against the caps. existing: environments that exist.
        approved: how many a person let through.
    """
    allowed = max(min(policy.most, max(_FEW, int(existing * policy.share))), approved)
    return Limit(
        allowed,
        ends > allowed,
        f"{ends} of {existing} environments are to be ended; {allowed} may be "
        + (f"({approved} approved)" if approved >= allowed and approved else f"({policy.most}, {policy.share:.0%})"),
    )


def counts(decisions: Collection[SweepDecision]) -> dict[str, int]:
    """How many of each action."""
    return {action.value: sum(decision.action is action for decision in decisions) for action in SweepAction}
