"""Rollouts: when a permanent environment (a service) gets a new image or code version, or new instances of the same;
and what the steps of one say.

A service is looked at, and what is wanted is compared with what it has. So events only cause a look, and a lost one
costs time: the next look finds the same. Of many that are wanted one after the other, the last one is rolled out.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec import Struct

from mayfly.contract.vocabulary import AwsEvent, RolloutCause, RolloutStage, Wait
from mayfly.domain.office_hours import Window
from mayfly.domain.records import Checkpoint, Rollout
from mayfly.domain.stack import PHASES, Phase, TaskResult
from mayfly.domain.timestamp import utc_text

type Setup = Mapping[str, Any]
"""What a service consists of: image, version, artifact, blueprint, parameters, instance count."""

ONCE_MORE = timedelta(days=1)
"""What failed without anything new to roll out (age, drift) is tried again this much later."""

_NEW = (RolloutCause.CREATION, RolloutCause.CHANGE)
"""What brings something that nobody has seen run."""


class RolloutRules(Struct, frozen=True):
    """How a service is rolled out.

    Attributes:
        needs_approval: whether a person has to let a change through.
        window: when rollouts may begin; None for always. One that has begun goes on past its end: half a service on
            each image is no state to stay in.
        most_age: of its oldest instance, before all are replaced without a change.
        replaces_drift: whether instances are replaced that are not as its blueprint says.
        halted: why nothing may begin at all, "" where nothing stops it.
    """

    needs_approval: bool = False
    window: Window | None = None
    most_age: timedelta = timedelta(days=30)
    replaces_drift: bool = False
    halted: str = ""


class Standing(Struct, frozen=True):
    """A service as it stands.

    Attributes:
        current: its setup, None where it does not exist yet. previous: the one before, for a step back.
        wanted: the setup it should have by its configuration, channel and last passed release; None where one of them
            is missing. lacking: which.
        running: the rollout that has its turn.
        pending: the setup that a rollout waits with, and whether a person `approved` that.
        refused: the setup that was rolled back from. Only something new, or a person, rolls out again.
        held: why only a person may start the next one, "" where anybody may.
        asked: what a person asked for.
        oldest: when its oldest instance was launched.
        odd: what of its instances is not as its blueprint says.
        failed_at: when its last rollout failed.
        firing: which of its alarms fire now.
        asleep: whether it sleeps: then it has no instance.
    """

    current: Setup | None = None
    previous: Setup | None = None
    wanted: Setup | None = None
    lacking: str = ""
    running: str | None = None
    pending: Setup | None = None
    approved: bool = False
    refused: Setup | None = None
    held: str = ""
    asked: str | None = None
    oldest: datetime | None = None
    odd: Collection[str] = ()
    failed_at: datetime | None = None
    firing: Collection[str] = ()
    asleep: bool = False


class RolloutAction(StrEnum):
    """What is done about a service."""

    NOTHING = "nothing"
    START = "start"
    AWAIT_APPROVAL = RolloutStage.AWAITING_APPROVAL.value
    AWAIT_WINDOW = RolloutStage.AWAITING_WINDOW.value
    AWAIT_SWITCH = RolloutStage.AWAITING_KILL_SWITCH.value
    AWAIT_ALARMS = RolloutStage.AWAITING_ALARMS.value
    AWAIT_WAKING = RolloutStage.AWAITING_WAKING.value

    @property
    def waits(self) -> bool:
        """Whether a rollout is wanted and may not begin yet."""
        return self not in (RolloutAction.NOTHING, RolloutAction.START)


class RolloutDecision(Struct, frozen=True):
    """What is done about a service, and why; `to` which setup, because of what."""

    action: RolloutAction
    reason: str
    to: Setup | None = None
    cause: RolloutCause | None = None


def decide_rollout(now: datetime, service: Standing, policy: RolloutRules) -> RolloutDecision:
    """Decides about one service. What has to wait is found again by the next look, as long as it is still wanted."""
    if service.running:
        return RolloutDecision(RolloutAction.NOTHING, f"{service.running} runs; what is wanted by then follows it")
    cause, to, why = _wanted(now, service, policy)
    if cause is None or to is None:
        return RolloutDecision(RolloutAction.NOTHING, why)
    if policy.halted or service.asleep:
        waits = RolloutAction.AWAIT_SWITCH if policy.halted else RolloutAction.AWAIT_WAKING
        return RolloutDecision(waits, f"{why}; but {policy.halted or 'it sleeps'}", to, cause)
    if service.asked:
        return RolloutDecision(RolloutAction.START, why, to, cause)
    approved = service.approved and service.pending == to
    if not approved and (service.held or (policy.needs_approval and cause in _NEW)):
        return RolloutDecision(
            RolloutAction.AWAIT_APPROVAL, f"{why}; {service.held or 'a person has to approve'}", to, cause
        )
    if policy.window and not policy.window.is_open(now):
        return RolloutDecision(RolloutAction.AWAIT_WINDOW, f"{why}; its maintenance window is closed", to, cause)
    if service.firing:
        # It would be rolled back at once, and blamed for what was there before.
        return RolloutDecision(
            RolloutAction.AWAIT_ALARMS, f"{why}; but {', '.join(service.firing)} fires already", to, cause
        )
    return RolloutDecision(RolloutAction.START, why, to, cause)


def _wanted(now: datetime, service: Standing, policy: RolloutRules) -> tuple[RolloutCause | None, Setup | None, str]:
    """Returns what is to be rolled out, and because of what."""
    if service.asked:
        return _asked(service)
    if service.wanted is None:
        return None, None, service.lacking
    if service.current is None:
        return RolloutCause.CREATION, service.wanted, "it does not exist yet"
    if service.wanted not in (service.current, service.refused):
        return RolloutCause.CHANGE, service.wanted, difference(service.current, service.wanted)
    return _renewal(now, service, policy)


def _asked(service: Standing) -> tuple[RolloutCause | None, Setup | None, str]:
    to = service.wanted if service.asked == "latest" else service.previous
    if to is None:
        return None, None, service.lacking if service.asked == "latest" else "there is no step before to go back to"
    cause = RolloutCause.REQUEST if service.asked == "latest" else RolloutCause.STEP_BACK
    if service.current is None:
        return RolloutCause.CREATION, to, "it does not exist yet"
    return cause, to, f"a person asked for it: {difference(service.current, to)}"


def _renewal(now: datetime, service: Standing, policy: RolloutRules) -> tuple[RolloutCause | None, Setup | None, str]:
    """New instances of what it has: because of what was changed by hand, or because of their age."""
    rest = "it was rolled back from what is wanted" if service.wanted == service.refused else "it has what is wanted"
    if service.failed_at and now < service.failed_at + ONCE_MORE:
        return None, None, f"{rest}; its last rollout failed at {utc_text(service.failed_at)}"
    if policy.replaces_drift and service.odd:
        why = f"{len(service.odd)} differ from the blueprint: {'; '.join(service.odd)[:500]}"
        return RolloutCause.DRIFT, service.current, why
    if service.oldest and now >= service.oldest + policy.most_age:
        return RolloutCause.AGE, service.current, f"its oldest instance is of {utc_text(service.oldest)}"
    return None, None, rest


def difference(before: Setup | None, after: Setup) -> str:
    """Returns what changes, for people."""
    if before is None:
        return f"image {after['image']}, version {after['version']}"
    said = [f"{key} from {before[key]} to {after[key]}" for key in ("image", "version") if before[key] != after[key]]
    rest = [key for key in after if key not in ("image", "version", "artifact") and before.get(key) != after[key]]
    return ", ".join([*said, *(f"new {key.replace('_', ' ')}" for key in rest)]) or "the same, on new instances"


class Pace(Struct, frozen=True):
    """How instances are replaced: the bounds in per cent of the service, where it stops to be watched, and how long."""

    least_healthy: int = 100
    most_healthy: int = 110
    checkpoints: tuple[int, ...] = (10, 50, 100)
    soak: timedelta = timedelta(minutes=10)


def preferences(cause: RolloutCause, pace: Pace, changes: bool, alarms: Collection[str]) -> dict[str, Any]:
    """Returns an instance refresh's preferences, as StartInstanceRefresh takes them, of the way forward.

    Auto Scaling never goes below the healthy minimum, stops at the checkpoints, watches the alarms all the while and
    goes back by itself. Without a change there is nothing to go back to, and nothing that could be skipped.

    Args:
        changes: whether there is a new setup. alarms: names of CloudWatch alarms.
    """
    return _bounds(pace) | {
        "CheckpointPercentages": list(pace.checkpoints),
        "CheckpointDelay": int(pace.soak.total_seconds()),
        "BakeTime": int(pace.soak.total_seconds()),
        "SkipMatching": changes or cause == RolloutCause.DRIFT,
        "AutoRollback": changes,
        **({"AlarmSpecification": {"Alarms": list(alarms)}} if alarms else {}),
    }


def preferences_back(pace: Pace) -> dict[str, Any]:
    """Returns an instance refresh's preferences of the way back, where Auto Scaling has not gone it by itself: at once,
    whatever alarms say."""
    return _bounds(pace) | {"SkipMatching": True, "AutoRollback": False}


def desired(template: str, version: str, mixed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns an instance refresh's desired configuration, as StartInstanceRefresh takes it. A group of several
    instance types keeps them: a launch template alone would make it a group of one.

    Args:
        mixed: the group's policy, as DescribeAutoScalingGroups shows it.
    """
    wanted = {"LaunchTemplateId": template, "Version": version}
    if not mixed:
        return {"LaunchTemplate": wanted}
    return {
        "MixedInstancesPolicy": {
            **mixed,
            "LaunchTemplate": {**mixed["LaunchTemplate"], "LaunchTemplateSpecification": wanted},
        }
    }


def _bounds(pace: Pace) -> dict[str, Any]:
    return {
        "MinHealthyPercentage": pace.least_healthy,
        "MaxHealthyPercentage": pace.most_healthy,
        # Who protected an instance, or took it out for a look, must not keep an old image in production.
        "ScaleInProtectedInstances": "Refresh",
        "StandbyInstances": "Terminate",
    }


ACTIVE = ("Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress")
"""Statuses of an instance refresh that goes on."""

ENDS = {
    AwsEvent.REFRESH_SUCCEEDED: "Successful",
    AwsEvent.REFRESH_FAILED: "Failed",
    AwsEvent.REFRESH_CANCELLED: "Cancelled",
    AwsEvent.ROLLBACK_SUCCEEDED: "RollbackSuccessful",
    AwsEvent.ROLLBACK_FAILED: "RollbackFailed",
}
"""Which status an event of Auto Scaling says."""


def refresh_answer(step: Wait, status: str, why: str = "") -> TaskResult | None:
    """Returns what an instance refresh's status tells an execution that waits for it, or None where it goes on waiting.

    Raises:
        KeyError: the status is none that Auto Scaling documents.
    """
    if status in ACTIVE:
        return None
    back = step == Wait.RETURN_INSTANCES
    error: Any = {
        "Successful": None,
        "RollbackSuccessful": None if back else "RolledBack",
        "Cancelled": "RefreshCancelled",
        "Failed": "RefreshFailed",
        "RollbackFailed": "RefreshFailed",
    }[status]
    return TaskResult(error, f"the instance refresh is {status}" + (f": {why}" if why else ""))


def stack_answer(status: str, why: str = "") -> TaskResult | None:
    """Returns what a stack's status tells an execution that waits for its creation or update, or None where that goes
    on, as with a status nobody knows yet."""
    phase, reason = PHASES.get(status), f"the stack is {status}" + (f": {why}" if why else "")
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return TaskResult(None, reason)
    if phase is Phase.CREATION_FAILED and status != "ROLLBACK_IN_PROGRESS":
        return TaskResult("CreationFailed", reason)
    if status in ("UPDATE_FAILED", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"):
        return TaskResult("UpdateFailed", reason)
    if phase in (Phase.DELETING, Phase.DELETED, Phase.DELETION_FAILED):
        return TaskResult("UpdateFailed", reason)
    return None


REQUEST = "rollout-"
"""What the tokens of all rollouts' requests begin with: by it the rule in the template picks their events."""


def request(rollout: str, step: Wait) -> str:
    """Returns the token of a step's request to CloudFormation, whose events bring it back: the event of another step,
    or of a person's update, is not this one's."""
    return f"{REQUEST}{rollout}-{step.replace(' ', '-')}"


class Member(Struct, frozen=True):
    """An instance of a service's group. `template` is the version of the launch template that it was made of."""

    id: str
    template: str
    image: str
    state: str
    health: str
    launched_at: datetime


def odd(members: Iterable[Member], template: str, group_template: str) -> list[str]:
    """Returns what of the instances, and of what the group launches next, is not on the version of the launch template
    that the blueprint pins."""
    said = [f"{one.id} is of version {one.template or '(none)'}" for one in members if one.template != template]
    if group_template != template:
        said.append(f"the group launches version {group_template or '(none)'}")
    return [f"{each} of the launch template, not {template}" for each in said]


def newest(pinned: str, makers: Mapping[int, str], roles: Collection[str]) -> tuple[str, list[str]]:
    """Returns the version of a launch template that a rollout brings: the newest that its stack has made since the one
    that is pinned, or that one; and a sentence for each that somebody else has made. Those never reach an instance.

    Args:
        makers: who made each newer version. roles: the names of the roles in which CloudFormation builds.
    """
    ours = [f":assumed-role/{role}/" for role in roles]
    strange = {number: who for number, who in makers.items() if not any(role in who for role in ours)}
    made = [number for number in makers if number not in strange]
    said = [f"version {number} of the launch template is left out: {who} made it" for number, who in strange.items()]
    return str(max(made)) if made else pinned, said


def unsettled(members: Collection[Member], count: int, image: str, template: str, group_template: str) -> list[str]:
    """Returns what keeps a service from being whole: every instance on this image and version of the launch template,
    in service and healthy, and as many as there should be at least."""
    said = odd(members, template, group_template)
    said += [f"{one.id} runs {one.image}, not {image}" for one in members if one.image != image]
    said += [
        f"{one.id} is {one.state}, {one.health}"
        for one in members
        if (one.state, one.health) != ("InService", "Healthy")
    ]
    return [*said, f"{len(members)} of {count} instances"] if len(members) < count else said


def no_abort(stage: str, step: str | None, service: str) -> str:
    """Tells why a rollout cannot be stopped, "" where it can: from its beginning until its last instance is
    replaced."""
    match stage, step:
        case (RolloutStage.RUNNING | RolloutStage.REPLACING | RolloutStage.PAUSED, None | Wait.PREPARE | Wait.REPLACE):
            return ""
        case (RolloutStage.RUNNING | RolloutStage.REPLACING, Wait.SETTLE):
            return f"every instance is replaced; to step back: mayfly roll-out {service} --back"
        case (RolloutStage.RUNNING | RolloutStage.REPLACING | RolloutStage.ROLLING_BACK, _):
            return "it goes back already"
    return f"it is {stage}, and replaces nothing"


def no_pause(record: Rollout) -> str:
    """Tells why a rollout cannot be paused, "" where it can: as long as instances are left to be replaced."""
    step = record.waiting.for_ if record.waiting else None
    if record.aborted:
        return "it was stopped, and goes back"
    return no_abort(str(record.stage), step, record.service)


def soaks(checkpoints: Iterable[Checkpoint], soak: timedelta, now: datetime) -> bool:
    """Tells whether an instance refresh stands at a checkpoint and is watched there."""
    times = [datetime.fromisoformat(each.reached_at) for each in checkpoints if each.reached_at]
    return bool(times) and now < max(times) + soak


class Aborted(Exception):
    """A person has stopped the rollout; says who, and why."""


def heed_abort(record: Rollout) -> None:
    """Ends a step that must not begin any more, because somebody stopped the rollout.

    Args:
        record: as the write returned it that says that the step waits: whoever aborts writes to the same record, so
            one of the two sees the other.

    Raises:
        Aborted: a person has stopped the rollout.
    """
    if record.aborted:
        raise Aborted(record.aborted)


def judge_rollout(failure: str, creation: bool, verified: str) -> tuple[RolloutStage, str]:
    """Decides what a rollout came to.

    Args:
        failure: why it was broken off, "" where it was not. creation: whether there was nothing to go back to.
        verified: what is not as it should be in the end, "" where all is.
    """
    if not failure and not verified:
        return (
            RolloutStage.COMPLETED,
            f"every instance is {'made' if creation else 'replaced'}, healthy, and as the blueprint says",
        )
    if failure and not verified and not creation:
        return RolloutStage.ROLLED_BACK, failure
    return RolloutStage.FAILED, "; ".join(part for part in (failure, verified) if part)


def reached(checkpoints: Iterable[Checkpoint], percent: int, at: str) -> tuple[Checkpoint, ...]:
    """Returns the checkpoints with what was reached until now; a repeated or late event changes no timestamp that is
    known."""
    return tuple(
        Checkpoint(each.percent, each.reached_at or (at if each.percent <= percent else None)) for each in checkpoints
    )
