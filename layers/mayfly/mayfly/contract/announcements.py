"""What Mayfly says on its bus: each class is the detail of the event that it names."""

from typing import Any, Literal, Self

from msgspec import field
from msgspec.structs import replace

from mayfly.contract.fields import (
    Announcement,
    ApplicationName,
    Identity,
    Line,
    Part,
    ReportToken,
    Version,
    without_nulls,
)
from mayfly.contract.vocabulary import (
    EndingCause,
    Event,
    Outcome,
    Retirement,
    RolloutCause,
    RolloutStage,
)


class Heard(Part):
    """The detail of any announcement, as far as people are told of it."""

    environment: Identity | None = None
    release: Identity | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    """Whatever it carries."""

    @classmethod
    def read(cls, said: Any, strict: bool = True) -> Self:
        """Reads any announcement."""
        return replace(super().read(said, strict), detail=without_nulls(said))


# ---- releases


class Tests(Part):
    """What a report in JUnit's XML says."""

    tests: int
    """Test cases, those that were skipped among them."""
    failures: int
    """How many failed or broke."""
    skipped: int
    """How many were left out."""
    failed: tuple[str, ...]
    """Names of the first that failed."""


class SuiteResult(Part):
    """One suite's part in a verdict."""

    suite: str
    environment: str
    outcome: Outcome
    reason: str
    """For people."""
    report: str | None = None
    """Where the tests left their report."""
    log: str | None = None
    """Where the log of the tests is, if Mayfly ran them."""
    tests: Tests | None = None
    """What the report says, if Mayfly could read it."""
    attempts: int = 1
    """On how many environments it was tried. One that passed at a later attempt is flaky."""


class StartedSuite(Part):
    """A suite of a release, and the environment that is built for it."""

    suite: str
    environment: str


class ReleaseStarted(Announcement, event=Event.RELEASE_STARTED):
    """A release is planned: an environment is built for each of its suites."""

    release: Identity
    application: ApplicationName
    version: Version
    artifact: Line
    commit: str | None = None
    pull_request: int | None = None
    """The number of the pull request that the version is of."""
    attempt: int = 1
    """Counts the runs of the same version, from 1."""
    suites: tuple[StartedSuite, ...]


class _Release(Announcement):
    release: Identity
    application: ApplicationName
    version: Version
    artifact: Line
    """Where the version is fetched from, as it was pushed."""
    commit: str | None = None
    pull_request: int | None = None
    """The number of the pull request that the version is of."""
    attempt: int = 1
    """Counts the runs of the same version, from 1."""
    passed: bool
    reason: str
    """For people."""
    suites: tuple[SuiteResult, ...]


class ReleasePassed(_Release, event=Event.RELEASE_PASSED):
    """Every suite of a release passed."""


class ReleaseFailed(_Release, event=Event.RELEASE_FAILED):
    """A suite of a release did not pass, or the release could not be planned: then it has no suites."""


# ---- environments


class _Environment(Announcement):
    environment: Identity
    release: str
    """Of a proof, the bake. This and what follows is `unknown` where the record was lost and no tag says it."""
    application: str
    version: str
    suite: str
    kind: str
    """`automated` or `manual`: whether tests report by themselves, or a person does; `preview` of a pull request."""
    owner: str
    account: str
    region: str
    pull_request: int | None = None
    """The number of the pull request that the version is of."""


class EnvironmentRequested(_Environment, event=Event.ENVIRONMENT_REQUESTED):
    """An environment is planned, and its stack is asked for next: once more where it goes on at another target."""

    deadline: str
    """When it is terminated, whatever its tests say."""
    no_capacity: dict[str, str] = field(default_factory=dict)
    """Targets (account/Region) where EC2 had no capacity for it before, each with which."""


class EnvironmentQueued(_Environment, event=Event.ENVIRONMENT_QUEUED):
    """An environment waits for room before it is built. Its lifetime counts from when it gets some."""

    deadline: str
    """Until when it waits at most."""
    lacks: str
    """What it waits for: a ceiling, a budget or a quota, with both numbers. For people."""
    behind: str
    """The environment that is before it in the queue; empty for the first."""
    position: int
    """In the queue, from 1."""
    about_minutes: int | None = None
    """How long that takes: until EC2 has tokens for its launches where it lacks nothing else, otherwise by how long
    others have had their room; null where none has ended yet."""
    waiting: int
    """How many wait, in all."""


class EnvironmentReady(_Environment, event=Event.ENVIRONMENT_READY):
    """An environment is whole, every instance runs: its tests may begin. `Test Finished` ends it."""

    deadline: str
    """When it is terminated, if no result has come."""
    instances: int
    """How many run."""
    outputs: dict[str, str]
    """Of its stack, by name: addresses among them."""
    token: ReportToken | None = None
    """What `Test Finished` carries to show that its sender heard this. It is kept nowhere: a lost one is lost."""


class EnvironmentInstanceLost(_Environment, event=Event.ENVIRONMENT_INSTANCE_LOST):
    """Auto Scaling took an instance out while an environment was tested: what the tests find may be worth nothing."""

    instance: str
    """Its id. Its group launches another in its place, which deploys the same version."""
    reason: str
    """Why. For people."""
    lost: int
    """How many were lost since the environment got ready, this one included."""


class EnvironmentOnDemand(_Environment, event=Event.ENVIRONMENT_ON_DEMAND):
    """EC2 has no Spot Instances for an environment that is being built: the rest of it is launched On-Demand, and costs
    that."""

    on_demand: int
    """How many instances of one of its groups are On-Demand, those among them that always were to be."""
    instances: int
    """How many the group has in all."""
    reason: str
    """The same, for people."""


class EnvironmentExtended(_Environment, event=Event.ENVIRONMENT_EXTENDED):
    """An environment may live longer."""

    deadline: str
    """The new one."""
    ceiling: str
    """No extension reaches past it."""
    by: str
    """Who asked."""
    why: str


class ToExtend(Part):
    """Whoever extends an environment sends this, as the detail of `Environment Extension Requested`."""

    environment: Identity
    minutes: int
    """To be added to its deadline, in minutes."""
    why: str
    requested_by: str


class EnvironmentExpiring(_Environment, event=Event.ENVIRONMENT_EXPIRING):
    """An environment that waits for its tests is ended soon: its deadline comes near, or nobody uses it."""

    deadline: str
    """When it is ended."""
    ceiling: str
    """No extension reaches past it."""
    minutes_left: int
    """Until the deadline, in minutes."""
    why: str | None = None
    """Why it ends before its deadline; null where it is ended by that."""
    to_extend: ToExtend
    """The detail of the event that keeps it for an hour more: with the reason and the name filled in."""


class _Sleep(Announcement):
    environment: Identity
    """Of a manual suite, or a permanent one."""
    application: str
    account: str
    region: str
    why: str
    """For people: its office hours, or who asked for it."""
    release: Identity | None = None
    """Null of a permanent one."""


class EnvironmentAsleep(_Sleep, event=Event.ENVIRONMENT_ASLEEP):
    """An environment sleeps: Auto Scaling is told to end its instances. All the rest stays, its deadline too."""

    wakes_at: str | None = None
    """If nobody asks for anything else; null where nothing wakes it by itself."""


class EnvironmentAwake(_Sleep, event=Event.ENVIRONMENT_AWAKE):
    """An environment wakes: Auto Scaling is told to launch as many instances as it had. They boot as they did first."""

    sleeps_at: str | None = None
    """If nobody asks for anything else; null where nothing puts it to sleep by itself."""


class Ending(Part):
    """Why an environment ended."""

    by: EndingCause
    outcome: Outcome
    reason: str
    """For people."""
    at: str
    report: str | None = None
    """Where the tests left their report."""
    log: str | None = None
    """Where the log of the tests is, if Mayfly ran them."""
    tests: Tests | None = None
    """What the report says, if Mayfly could read it."""


class _Ended(_Environment):
    ending: Ending
    instances_built: int
    """How many it had, in all."""
    instances_left: int
    """0: none exists any more, says EC2."""
    instances_failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    kept: tuple[str, ...]
    """What could not be deleted with it, and is left to people."""


class EnvironmentTerminated(_Ended, event=Event.ENVIRONMENT_TERMINATED):
    """Nothing is left of an environment that costs, say CloudFormation and EC2."""


class EnvironmentFailed(_Environment, event=Event.ENVIRONMENT_FAILED):
    """An environment could not be built or ended: it is gone (with an `ending`), or something may be left of it."""

    reason: str
    """For people."""
    deadline: str | None = None
    instances_left: int | str
    """0 where it is gone; `unknown` where something may be left, which a sweep looks for."""
    ending: Ending | None = None
    instances_built: int | None = None
    instances_failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    """What could not be deleted with it, and is left to people."""


# ---- the kill switch, room and sweeps


class RoomRunningLow(Announcement, event=Event.ROOM_RUNNING_LOW):
    """Little is left of a ceiling or a budget. It is said once a day or month for each bound; what does not fit waits,
    or is refused."""

    of: Literal["application", "owner", "installation"]
    """Whose it is."""
    name: str
    """The application's or the owner's; empty for the installation."""
    what: Literal["environments", "instances", "usd"]
    """What there may be so much of: at once, or US dollars in a period."""
    period: str
    """The day or the month (UTC) that a budget is for; empty for a ceiling."""
    used: float
    """What is reserved of it, with what was spent."""
    most: float
    """The ceiling or the budget."""
    percent: int
    """How much of it that is."""
    environment: Identity | None = None
    """The one that took of it when that became so; none for the installation."""
    reason: str
    """All of it, for people."""
    at: str
    """When it was said, UTC."""


class KillSwitchTurned(Announcement, event=Event.KILL_SWITCH_TURNED):
    """Somebody turned the kill switch. While it is on, nothing is destroyed."""

    on: bool
    why: str
    set_by: str
    at: str


class SweepDecision(Part):
    """What a sweep decided about one environment."""

    environment: str
    action: str
    reason: str
    """For people."""


class _Sweep(Announcement):
    at: str
    asked_by: str
    counts: dict[str, int]
    """How many environments by what is done with them: keep, end, wake, adopt, refuse."""
    halted: str
    """Why nothing was ended, empty where nothing held it back."""
    unseen: dict[str, str]
    """Targets (account/Region) that could not be looked at, with the error."""
    key: str
    """Of the report in the reports bucket."""
    unwritten: str = ""
    """Why S3 did not take the report, if so. A later sweep writes it."""
    refused: tuple[SweepDecision, ...]
    """What is past its end and must not be touched; 20 at most."""


class SweepCompleted(_Sweep, event=Event.SWEEP_COMPLETED):
    """A sweep looked everywhere and did what it decided."""


class SweepHalted(_Sweep, event=Event.SWEEP_HALTED):
    """A sweep would have ended something, and its caps or the kill switch held it back."""


# ---- images


class _Bake(Announcement):
    bake: Identity
    family: str
    why: str
    requested_by: str
    reason: str
    """The verdict's, for people."""
    image: str
    """Empty where none was made."""
    account: str
    region: str
    base_image: str
    """What it was baked from; empty where it did not come so far."""
    log: str
    """Where the builder left its log; empty where it did not come so far."""
    following: str
    """The bake that begins now, for all that asked meanwhile; empty for none."""


class ImageBaked(_Bake, event=Event.IMAGE_BAKED):
    """An image was baked and proved itself."""

    candidate: bool
    """Whether the channel `candidate` points to it now."""
    promotion: str
    """Why (not), for people."""


class ImageRejected(_Bake, event=Event.IMAGE_REJECTED):
    """A bake failed, or its image did not prove itself."""


class _Move(Announcement):
    family: str
    channel: str
    image: str
    """As it is called in the family's own Region; empty where no image was named."""
    requested_by: str
    why: str


class _Moved(_Move):
    before: str = field(name="from")
    """The image that the channel pointed to before; empty for none."""
    regions: dict[str, str]
    """What the image is called in each Region."""
    version: int
    """Counts the channel's moves."""


class ImagePromoted(_Moved, event=Event.IMAGE_PROMOTED):
    """A channel points to another image, in every Region at once."""


class ImageRolledBack(_Moved, event=Event.IMAGE_ROLLED_BACK):
    """A channel points to the image before, in every Region at once."""


class _NotMoved(_Move):
    error: str
    """Its name."""
    reason: str
    """For people."""


class ImagePromotionRefused(_NotMoved, event=Event.IMAGE_PROMOTION_REFUSED):
    """A channel was not moved: it cannot be, or another move was faster. Nothing is broken."""


class ImagePromotionFailed(_NotMoved, event=Event.IMAGE_PROMOTION_FAILED):
    """A channel was not moved, because a step of the move failed. The channel points where it did."""


class ImageReplaced(Announcement, event=Event.IMAGE_REPLACED):
    """The last instance on an image that a channel has left is gone."""

    family: str
    channel: str
    image: str
    regions: dict[str, str]
    """What the image is called in each Region."""
    at: str
    """When the channel left it."""
    by: str
    """The image that took its place."""
    gone_at: str


class _Retirement(Announcement):
    family: str
    image: str
    """The original."""
    ami: str
    """The original or its copy in `region`, which this is about."""
    region: str
    step: str
    """What was done: deprecate, disable, deregister or restore."""
    stage: Retirement
    """What it is now."""
    reason: str
    """For people."""


class ImageRetired(_Retirement, event=Event.IMAGE_RETIRED):
    """An image that nobody needs took a step on its way out."""


class ImageRestored(_Retirement, event=Event.IMAGE_RESTORED):
    """An image on its way out was brought back: somebody needs it."""


# ---- permanent environments


class Pinned(Part):
    """What a permanent environment runs."""

    image: str
    version: str


class _Rollout(Announcement):
    rollout: Identity
    service: Identity
    """The permanent environment."""
    application: str
    account: str
    region: str
    cause: RolloutCause
    why: str
    """For people."""
    before: Pinned | None = field(default=None, name="from")
    """Null where nothing was there before."""
    after: Pinned = field(name="to")


class RolloutAwaitingApproval(_Rollout, event=Event.ROLLOUT_AWAITING_APPROVAL):
    """A rollout waits for a person. `Rollout Approved` lets it through."""


class RolloutStarted(_Rollout, event=Event.ROLLOUT_STARTED):
    """A rollout begins to replace instances."""


class RolloutPaused(Announcement, event=Event.ROLLOUT_PAUSED):
    """A rollout stands still at a checkpoint, as somebody has asked. Nothing is watched meanwhile; `Rollout Resume
    Requested` or `Rollout Abort Requested` end that."""

    rollout: Identity
    service: Identity
    percent: int
    """Of the instances that are replaced."""
    why: str
    """For people: who paused it, and why."""


class _RolledOut(_Rollout):
    outcome: RolloutStage
    reason: str
    """For people."""


class RolloutCompleted(_RolledOut, event=Event.ROLLOUT_COMPLETED):
    """Every instance is replaced, healthy, and as the blueprint says."""


class RolloutRolledBack(_RolledOut, event=Event.ROLLOUT_ROLLED_BACK):
    """A rollout went wrong, and every instance is as it was before."""


class RolloutFailed(_RolledOut, event=Event.ROLLOUT_FAILED):
    """A rollout went wrong and could not go back: a person has to look."""


class RolloutSuperseded(Announcement, event=Event.ROLLOUT_SUPERSEDED):
    """A rollout that waited is not wanted any more."""

    rollout: Identity
    service: Identity | None = None
    by: str
    """The rollout that takes its place, or why nobody wants it any more."""


class ServiceDrifted(Announcement, event=Event.SERVICE_DRIFTED):
    """CloudFormation found a permanent environment to differ from its blueprint, otherwise than before."""

    service: Identity
    drift: tuple[str, ...]
    """What differs, a line a resource."""
