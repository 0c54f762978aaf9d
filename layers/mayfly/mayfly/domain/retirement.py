"""Retirement: which images nobody can need any more, and the next step of each on its way out.

An image goes in stages, each with a waiting time of its own: deprecated (nobody new finds it), disabled (nobody can
launch it), deregistered (gone). Up to the last it can be brought back. What is needed or used is brought back; what
is not known to be unused stays as it is.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from mayfly.domain.timestamp import utc_text


class Stage(StrEnum):
    """Where an image stands on its way out."""

    AVAILABLE = "available"
    DEPRECATED = "deprecated"
    DISABLED = "disabled"


class Step(StrEnum):
    """What is done with an image."""

    KEEP = "keep"
    DEPRECATE = "deprecate"
    DISABLE = "disable"
    DEREGISTER = "deregister"
    RESTORE = "restore"


class Usage(Struct, frozen=True):
    """What is known of an image's use.

    Attributes:
        uses: what uses it. unknown: what could not be established, and why; it may be in use there.
    """

    uses: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class Ami(Struct, frozen=True):
    """An image in one Region, as EC2 shows it.

    Attributes:
        since: when it came into its stage; None where nobody knows.
        protected: by what it is protected from retirement, "" where it is not.
        snapshots: the ids of its snapshots.
    """

    id: str
    account: str
    region: str
    stage: Stage
    since: datetime | None
    protected: str = ""
    snapshots: tuple[str, ...] = ()


class Image(Struct, frozen=True):
    """An image of a family with its copies: they are needed and used together, and go together.

    Attributes:
        id: of the original. made_at: when that was made.
        rejected: whether it failed its proof. It does not count among the newest then.
        amis: the original and its copies, as far as they exist.
    """

    id: str
    family: str
    made_at: datetime
    rejected: bool
    amis: tuple[Ami, ...]


class RetirementPolicy(Struct, frozen=True):
    """A family's policy: how many of its newest are kept, and how long each stage lasts at least."""

    keep_newest: int = 5
    deprecate_after: timedelta = timedelta(days=30)
    disable_after: timedelta = timedelta(days=14)
    deregister_after: timedelta = timedelta(days=30)


class RetirementDecision(Struct, frozen=True):
    """What is done with an image in one Region, and why."""

    image: str
    family: str
    ami: Ami
    step: Step
    made_at: datetime
    reason: str


_NEXT = {Stage.AVAILABLE: Step.DEPRECATE, Stage.DEPRECATED: Step.DISABLE, Stage.DISABLED: Step.DEREGISTER}
_SHOWN = 3


def decide_retirement(
    now: datetime,
    images: Sequence[Image],
    policy: RetirementPolicy,
    needed: Mapping[str, str],
    usage: Mapping[str, Usage],
) -> list[RetirementDecision]:
    """Decides about every image of one family.

    Args:
        needed: ids that a channel needs, each with the reason.
        usage: what is known of each id's use. What is missing here is unknown.
    """
    newest = f"it is one of the newest {policy.keep_newest} of its family"
    needed = dict.fromkeys(_newest(images, policy.keep_newest), newest) | dict(needed)
    return [
        RetirementDecision(image.id, image.family, ami, step, image.made_at, reason)
        for image in images
        for ami, step, reason in _of_image(now, image, policy, needed, usage)
    ]


def _newest(images: Iterable[Image], count: int) -> set[str]:
    good = sorted((image for image in images if not image.rejected), key=lambda image: (image.made_at, image.id))
    return {image.id for image in good[-count:]} if count else set()


def _of_image(
    now: datetime,
    image: Image,
    policy: RetirementPolicy,
    needed: Mapping[str, str],
    usage: Mapping[str, Usage],
) -> Iterable[tuple[Ami, Step, str]]:
    if reason := _why_kept(image, needed, usage):
        for ami in image.amis:
            yield ami, Step.KEEP if ami.stage is Stage.AVAILABLE else Step.RESTORE, reason
        return
    doubt = _why_unknown(image, usage)
    for ami in image.amis:
        due, reason = _due(now, image, ami, policy)
        if not due:
            yield ami, Step.KEEP, reason
        elif doubt or ami.protected:
            yield ami, Step.KEEP, doubt or ami.protected
        else:
            yield ami, _NEXT[ami.stage], reason


def _why_kept(image: Image, needed: Mapping[str, str], usage: Mapping[str, Usage]) -> str:
    """Tells why an image is needed for certain, or ""."""
    ids = [image.id, *(ami.id for ami in image.amis)]
    if reason := next((needed[each] for each in ids if each in needed), ""):
        return reason
    uses = [f"{use} ({ami.region})" for ami in image.amis for use in usage.get(ami.id, Usage()).uses]
    return f"in use by {_shown(uses)}" if uses else ""


def _why_unknown(image: Image, usage: Mapping[str, Usage]) -> str:
    unestablished = Usage(unknown=("nobody looked",))
    doubts = [f"{doubt} ({ami.region})" for ami in image.amis for doubt in usage.get(ami.id, unestablished).unknown]
    return f"its use is not known: {_shown(doubts)}" if doubts else ""


def _due(now: datetime, image: Image, ami: Ami, policy: RetirementPolicy) -> tuple[bool, str]:
    """Tells whether the next step of an image that nobody needs is due, and when it is or was."""
    since, wait = {
        Stage.AVAILABLE: (image.made_at, policy.deprecate_after),
        Stage.DEPRECATED: (ami.since, policy.disable_after),
        Stage.DISABLED: (ami.since, policy.deregister_after),
    }[ami.stage]
    if since is None:
        return False, f"nobody knows since when it is {ami.stage.value}: somebody else did that"
    at = since + wait
    return now >= at, f"nobody needs it, and its {_NEXT[ami.stage].value} step is due {utc_text(at)}"


def _shown(many: Sequence[str]) -> str:
    more = f" and {len(many) - _SHOWN} more" if len(many) > _SHOWN else ""
    return ", ".join(many[:_SHOWN]) + more


def steps(decisions: Iterable[RetirementDecision]) -> list[RetirementDecision]:
    """Sorts the steps on the way out, oldest image first, and of an image its copies before the original."""
    out = (each for each in decisions if each.step in (Step.DEPRECATE, Step.DISABLE, Step.DEREGISTER))
    return sorted(out, key=lambda each: (each.made_at, each.image, each.ami.id == each.image, each.ami.id))


def limit(
    ordered: Sequence[RetirementDecision], most: int
) -> tuple[list[RetirementDecision], list[RetirementDecision]]:
    """Splits steps into those that this run takes and those that wait for the next one. Restoring has no limit."""
    return list(ordered[:most]), list(ordered[most:])


def counts(decisions: Collection[RetirementDecision]) -> dict[str, int]:
    """Counts the decisions of each step."""
    return {step.value: sum(each.step is step for each in decisions) for step in Step}
