"""What Mayfly writes down, one type a kind of record, and the one place where an item of the table becomes one.

An item that an earlier version wrote lacks what is newer: each field has a default. One that a later version wrote has
more: what is not known is ignored. So whoever reads a record never asks whether something is there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, get_args, get_origin
from zlib import crc32

from msgspec import Meta, Struct, field
from msgspec.structs import fields, replace

from mayfly.contract.vocabulary import (
    UNKNOWN,
    BakeStage,
    DeadLetterStage,
    EndingCause,
    EnvironmentStage,
    ImageStage,
    Outcome,
    RecordKind,
    ReleaseStage,
    RolloutCause,
    RolloutStage,
    ServiceStage,
    Wait,
)
from mayfly.domain.channel import Pointed, Replaced
from mayfly.domain.losses import Losses
from mayfly.domain.report import Report
from mayfly.domain.text import clean

LINES = 150
"""Lines past which a history is folded. With `_BYTES` and the rest of a record it stays below DynamoDB's 400 KB."""

_KEPT, _FOLDED_BYTES = 50, 64_000
_BYTES = {"at": 32, "who": 300, "what": 200, "why": 1_100}
"""What a line takes of each of its texts at most: a name, and one line of 1,024 characters with a little around it."""
SPREAD = Meta(extra={"spread": True})
"""Marks a field each entry of which is an attribute of its own."""


class Entry(Struct, frozen=True):
    """One line of a history."""

    at: str
    who: str
    what: str
    why: str

    def shortened(self) -> "Entry":
        """Cuts a line to what a history has room for, and cleans it of what a terminal or a mail would obey: it may be
        what AWS, an instance or a test says."""
        return Entry(*(cut(clean(getattr(self, name)), most) for name, most in _BYTES.items()))


def cut(text: str, most: int) -> str:
    """Cuts a text to so many bytes at most: somebody's free text may be long, and must not fill a record."""
    raw = text.encode(errors="replace")
    return text if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "…"


def folded(history: Sequence[Entry]) -> tuple[tuple[Entry, ...], int]:
    """Folds a history: keeps its first line and the newest ones, and counts the lines between them that it drops."""
    first, rest, size = [line.shortened() for line in history[:1]], [line.shortened() for line in history[1:]], 0
    kept: list[Entry] = []
    for line in reversed(rest[-_KEPT:]):
        size += sum(len(getattr(line, name).encode()) for name in _BYTES)
        if size > _FOLDED_BYTES:
            break
        kept.insert(0, line)
    return (*first, *kept), len(rest) - len(kept)


class Record(Struct, frozen=True, kw_only=True):
    """What every record has.

    Attributes:
        live: its kind while its story goes on, so that an index finds it. born: kind and day, for the index of days; in
            its stead, what comes in masses has `shelf`: kind, "live" or a day, and number, and `shelved`: its place
            there, a timestamp and its name.
        forget_after: when DynamoDB may drop it, in seconds since 1970.
        folded: how many lines of its history are not in it any more: it keeps the first and the newest.
    """

    kind: ClassVar[RecordKind]
    masses: ClassVar[bool] = False
    """Whether there may be thousands of them a day."""

    id: str
    live: str | None = None
    born: str | None = None
    shelf: str | None = None
    shelved: str | None = None
    forget_after: int = 0
    history: tuple[Entry, ...] = ()
    folded: int = 0

    @property
    def lines(self) -> int:
        """How many lines its history has had so far."""
        return self.folded + len(self.history)

    @property
    def began(self) -> str:
        """When its story began, as its first line says."""
        return self.history[0].at if self.history else ""

    @property
    def lives(self) -> bool:
        """Whether its story goes on."""
        return self.live is not None or LIVE in (self.shelf or "").split("#")


LIVE = "live"
"""The shelf of what lives. Every other one is of a day."""

SHELVES, OF_ONE_APPLICATION = 8, 2
"""How many shelves there are of each name, and on how many of them one application's records lie: whoever asks for
those looks there only."""


def shelves(kind: type[Record], where: str, application: str | None = None) -> list[str]:
    """Returns the shelves of a kind's records that live, or of those of a day; all, or those of one application."""
    return [f"{kind.kind}#{where}#{number}" for number in _numbers(application)]


def _numbers(application: str | None) -> list[int]:
    first = 0 if application is None else crc32(application.encode())
    return [(first + n) % SHELVES for n in range(SHELVES if application is None else OF_ONE_APPLICATION)]


def placed(kind: type[Record], identity: str, application: str, at: str, where: str) -> dict[str, Any]:
    """Returns the shelf of a record, and its place there: the later the timestamp, the further in front."""
    chosen = shelves(kind, where, application)
    return {"shelf": chosen[crc32(identity.encode()) % len(chosen)], "shelved": f"{at}#{identity}"}


class Waiting(Struct, frozen=True):
    """A task token that an execution waits with, and for what. A rollout's knows since when, and for which refresh."""

    for_: Wait
    token: str
    since: str | None = None
    refresh: str | None = None


class Ending(Struct, frozen=True):
    """Why a life ended. The first ending that is recorded stands; later ones are only noted."""

    by: EndingCause
    outcome: Outcome
    reason: str
    at: str = ""
    report: str | None = None
    log: str | None = None
    tests: Report | None = None
    """What the report says, where Mayfly could read it."""


class Span(Struct, frozen=True):
    """How long something took."""

    name: str
    seconds: int


class Override(Struct, frozen=True):
    """What a person asked of an environment's sleep, whatever its office hours say, and until when that holds."""

    asleep: bool
    at: str
    until: str
    by: str
    why: str


class Sleep(Struct, frozen=True):
    """Since when an environment sleeps, and what each of its groups had, least and desired, when it fell asleep."""

    since: str
    groups: Mapping[str, Sequence[int]]


class Environment(Record, frozen=True, kw_only=True):
    """An environment. One whose record was lost, and begun anew by a later step of its life, knows what that step knew:
    the rest is unknown, and it may lack a deadline."""

    kind = RecordKind.ENVIRONMENT
    masses = True

    stage: EnvironmentStage | None = None
    release: str = UNKNOWN
    application: str = UNKNOWN
    version: str = UNKNOWN
    suite: str = UNKNOWN
    suite_kind: str = field(default=UNKNOWN, name="kind")
    runner: str | None = None
    """The type of what runs its tests, if Mayfly starts that."""
    command: str | None = None
    """The command of Run Command that runs them."""
    owner: str = UNKNOWN
    owner_topic: str | None = None
    account: str = UNKNOWN
    region: str = UNKNOWN
    image: str | None = None
    channel: str | None = None
    blueprint: str | None = None
    instance_count: int = 0
    warn_minutes_before: tuple[int, ...] = ()
    most_extensions: int | None = None
    planned_at: str | None = None
    deadline: str | None = None
    ceiling: str | None = None
    waiting: Waiting | None = None
    wanted: Mapping[str, Any] = field(default_factory=dict)
    """What it asks of admission, while it waits for room."""
    reserved: Mapping[str, int] = field(default_factory=dict)
    """What is reserved for it, by the names of counters, from its admission until it is gone."""
    launch_from: str = ""
    """When EC2 has tokens for its launches, where it had none as it was admitted."""
    stack: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    report_token: str | None = None
    """The digest of what only those know who heard that it is ready."""
    replace_failed: int = 0
    failed_instances: tuple[str, ...] = ()
    without_capacity: tuple[str, ...] = ()
    """Instance types in Availability Zones of which EC2 had no more when it was built."""
    no_capacity: Mapping[str, str] = field(default_factory=dict)
    """Targets (account/Region) where EC2 had no capacity for it at all, each with which."""
    pool: str | None = None
    instances_built: int | None = None
    spans: tuple[Span, ...] = ()
    """Where the time from its push until it was ready went, as `mayfly.domain.timing` tells it."""
    slowest: tuple[Span, ...] = ()
    """How long the types of its stack's resources took."""
    ready_at: str | None = None
    """When its instances were seen to run: those that are launched later replace one that failed."""
    lost_instances: tuple[str, ...] = ()
    """The ids of those that Auto Scaling has said that it took out since, 500 at most."""
    instance_failures: Losses | None = None
    """Those that failed, if any did, as counted before its stack was deleted; see `losses`."""
    instance_types: Mapping[str, int] = field(default_factory=dict)
    volume_gb: int = 0
    launched_at: str | None = None
    ending: Ending | None = None
    extended_by: str | None = None
    """The last message that extended it, as earlier versions wrote it."""
    extensions: tuple[str, ...] = ()
    """Digests of the messages that extended it: each is granted once."""
    warned: tuple[int, ...] = ()
    deletions: int = 0
    """How often its stack's deletion was asked for; not written of the first time."""
    kept: tuple[str, ...] = ()
    handed_over: str | None = None
    leak_announced: str | None = None
    """When people were told that something is left of it."""
    terminated_at: str | None = None
    instances_left: int | None = None
    override: Override | None = None
    sleep: Sleep | None = None
    slept_seconds: int = 0
    """How long it has slept, before it fell asleep for the last time."""
    used_at: str | None = None
    """When somebody used it last, as far as anybody had to ask AWS; or when it was awake again."""
    idle_warned_at: str | None = None
    """When its owner was warned last that it ends because nobody uses it."""

    @property
    def was_lost(self) -> bool:
        """Whether nothing says when it was planned or until when it may live."""
        return None in (self.planned_at, self.deadline, self.ceiling)

    @property
    def was_ready(self) -> bool:
        """Whether its tests may have begun: what was still being built has not come so far."""
        built = self.stage not in (EnvironmentStage.PLANNED, EnvironmentStage.QUEUED, EnvironmentStage.CREATING)
        return built or self.instances_built is not None

    @property
    def losses(self) -> Losses | None:
        """How many of its instances failed, once it has ended: of those that were built none, where its record says
        nothing else. None where there were none, or nobody knows."""
        found = self.instance_failures or (Losses(self.instances_built or 0) if self.ending else Losses())
        return found if found.launched else None

    @property
    def places(self) -> Sequence[Mapping[str, Any]]:
        """Where it may be built, as long as it waits for room and there are several."""
        demand: Mapping[str, Any] = self.wanted.get("demand") or {}
        return tuple(demand.get("places", ()))

    def waits_for(self, what: Wait) -> bool:
        """Tells whether a Step Functions execution waits for this: its task token is on the record."""
        return self.waiting is not None and self.waiting.for_ == what


class Suite(Struct, frozen=True):
    """A suite of a release, its environment, and those in which it is repeated if it fails or breaks."""

    suite: str
    environment: str
    repetitions: tuple[str, ...] = ()

    @property
    def attempts(self) -> tuple[str, ...]:
        """All its environments, as far as they come to be built."""
        return (self.environment, *self.repetitions)

    def latest(self, known: Collection[str]) -> str:
        """Returns the last of its environments that is known: that one counts."""
        return next((each for each in reversed(self.attempts) if each in known), self.environment)


class SuiteResult(Struct, frozen=True):
    """A suite's part in a recorded verdict."""

    suite: str
    environment: str
    outcome: Outcome
    reason: str = ""
    report: str | None = None
    log: str | None = None
    tests: Report | None = None
    attempts: int = 1
    """On how many environments it was tried."""

    @property
    def flaky(self) -> bool:
        """Whether it passed on the same version that it had failed or broken on."""
        return self.outcome == Outcome.PASSED and self.attempts > 1


class Verdict(Struct, frozen=True):
    """What was said of a release in the end."""

    passed: bool
    reason: str
    suites: tuple[SuiteResult, ...] = ()

    @property
    def flaky(self) -> tuple[str, ...]:
        """The suites that passed by a repetition only."""
        return tuple(each.suite for each in self.suites if each.flaky)


class Release(Record, frozen=True, kw_only=True):
    """A release."""

    kind = RecordKind.RELEASE
    masses = True

    application: str = UNKNOWN
    version: str = UNKNOWN
    artifact: str = UNKNOWN
    commit: str | None = None
    pull_request: int | None = None
    branch: str | None = None
    superseded_by: str | None = None
    """The release of a newer version of its branch that ended it."""
    hotfix: bool = False
    pushed_by: str | None = None
    attempt: int = 1
    stage: ReleaseStage | None = None
    image: str | None = None
    images: tuple[str, ...] = ()
    """Those that its environments may boot, where their application has several targets."""
    blueprint: str | None = None
    """Its key, and the version of it that the release was planned with."""
    parameters: Mapping[str, str] | None = None
    """The blueprint's own, as the application configured them then."""
    instance_count: int | None = None
    suites: tuple[Suite, ...] = ()
    verdict: Verdict | None = None
    instance_failures: Losses | None = None
    """Of all its environments."""


def begun(record: Record) -> str:
    """Tells when the story of a record began. A record that was lost and begun anew by its ending knows its day at
    most."""
    planned = record.planned_at if isinstance(record, Environment | Rollout) else None
    shelved = (record.shelved or "").partition("#")[0]
    return planned or record.began or shelved or (record.born or "").partition("#")[2]


def off_shelf[R: Record](record: R) -> R:
    """Completes a record that was read from a shelf, which lacks attributes: its place there says when a life ended. A
    record of an earlier version has no place, and gets one by when it began."""
    if record.shelved is None:
        return replace(record, shelved=f"{begun(record)}#{record.id}")
    if isinstance(record, Environment) and record.terminated_at is None and not record.lives:
        return replace(record, terminated_at=record.shelved.partition("#")[0])
    return record


class PullRequest(Record, frozen=True, kw_only=True):
    """A pull request of an application, by the application's name and its number."""

    kind = RecordKind.PULL_REQUEST

    comment: str | None = None
    """The id of the comment on it."""
    claimed_by: str | None = None
    """The execution that writes the first one."""
    claimed_until: int = 0
    """In milliseconds since 1970."""
    marker: str | None = None
    """What the comment begins with that is being written, until its id is known."""
    previews: tuple[str, ...] = ()
    """The environments that show it, the newest last; as long as something is left of them."""
    pushed_at: str = ""
    """When the version was pushed that the newest one shows."""
    closed_at: str = ""
    address: str = ""
    """The name that Mayfly has made for it in the hosted zone, as long as it is there."""


class Branch(Record, frozen=True, kw_only=True):
    """A branch of an application, by the application's name and its own."""

    kind = RecordKind.BRANCH

    releases: tuple[str, ...] = ()
    """Those of its versions, the last pushed one last, as long as a newer one may supersede them."""


class Bake(Record, frozen=True, kw_only=True):
    """A bake."""

    kind = RecordKind.BAKE

    family: str = UNKNOWN
    why: str = ""
    requested_by: str = UNKNOWN
    stage: BakeStage | None = None
    waiting: Waiting | None = None
    builder: str | None = None
    image: str | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    """The order of its execution, once it is planned."""
    base_image: str = ""
    made_of: Mapping[str, str] = field(default_factory=dict)
    """Digests of what was run on its builder."""
    log: str = ""
    checks: tuple[Mapping[str, Any], ...] = ()
    command: str | None = None
    reason: str | None = None


class Builder(Record, frozen=True, kw_only=True):
    """An instance that builds: whose bake it is."""

    kind = RecordKind.BUILDER

    bake: str | None = None


class Command(Record, frozen=True, kw_only=True):
    """A command of Run Command: which proof it checks or which environment it tests, and where."""

    kind = RecordKind.COMMAND

    bake: str = ""
    environment: str = ""
    instance: str = ""
    account: str = ""
    region: str = ""
    expected: int = 1
    """On how many instances it has to run."""
    report: bool = False
    """Whether it has to leave a report."""


class Group(Record, frozen=True, kw_only=True):
    """Names the permanent environment that an Auto Scaling group belongs to."""

    kind = RecordKind.GROUP

    service: str | None = None


class Image(Record, frozen=True, kw_only=True):
    """An image, or a copy of one."""

    kind = RecordKind.IMAGE

    family: str = UNKNOWN
    stage: ImageStage | None = None
    account: str = ""
    region: str = ""
    bake: str = ""
    base_image: str | None = None
    made_of: Mapping[str, str] = field(default_factory=dict)
    """Its base image, and the digests (SHA-256) of the code, the package and the script that it was baked with."""
    source: str | None = None
    waiting: Waiting | None = None
    retirement: str | None = None
    shares: tuple[Mapping[str, str], ...] | None = None
    retiring_until: str | None = None
    wanted_until: str | None = None
    releases_passed: tuple[str, ...] = ()


class ChannelRecord(Record, frozen=True, kw_only=True):
    """A channel, as `mayfly.domain.channel` moves it."""

    kind = RecordKind.CHANNEL

    family: str = ""
    channel: str = ""
    version: int = 0
    image: str | None = None
    regions: Mapping[str, str] = field(default_factory=dict)
    moved_at: str = ""
    moved_by: str | None = None
    previous: tuple[Pointed, ...] = ()
    rolled_back: tuple[str, ...] = ()
    leaving: tuple[Replaced, ...] = ()
    unsaid: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Family(Record, frozen=True, kw_only=True):
    """An image family: whose turn it is to bake, and which Puppet code was pushed for it."""

    kind = RecordKind.FAMILY

    bake: str | None = None
    bake_until: str | None = None
    wanted: str | None = None
    puppet: Mapping[str, str] = field(default_factory=dict)
    puppet_at: str | None = None
    recipe: str = ""
    """What its latest bake was made from and proven by."""
    recipe_of: str = ""
    """The bake that was planned with this recipe."""


class Pending(Struct, frozen=True):
    """A rollout that waits."""

    id: str
    to: Mapping[str, Any]
    stage: str = ""


class Asked(Struct, frozen=True):
    """What a person asked of a service, and by which request."""

    to: str
    rollout: str | None = None


class Passed(Struct, frozen=True):
    """Keeps a code version whose release passed its tests."""

    version: str
    artifact: str


class Service(Record, frozen=True, kw_only=True):
    """A permanent environment."""

    kind = RecordKind.SERVICE

    stage: ServiceStage | None = None
    application: str = UNKNOWN
    name: str = UNKNOWN
    account: str | None = None
    region: str | None = None
    channel: str | None = None
    seen_at: str | None = None
    instance_count: int | None = None
    odd: tuple[str, ...] = ()
    url: str = ""
    oldest_instance_at: str | None = None
    drift: tuple[str, ...] = ()
    drift_at: str | None = None
    detection: str | None = None
    detected_at: str | None = None
    passed: Passed | None = None
    passed_at: str | None = None
    pushed_by: str | None = None
    """Who pushed what passed, as its push says."""
    asked: Asked | None = None
    asked_at: str | None = None
    """When the last request was sent that was heeded, and `request` is which: each is done once."""
    request: str | None = None
    approved: str | None = None
    pending: Pending | None = None
    rollout: str | None = None
    began_at: str | None = None
    """When the last rollout took its turn: what was asked for before was asked for another state."""
    plan: Mapping[str, Any] = field(default_factory=dict)
    serial: int | None = None
    setup: Mapping[str, Any] | None = None
    previous: Mapping[str, Any] | None = None
    refused: Mapping[str, Any] | None = None
    held: str = ""
    failed_at: str | None = None
    last_rollout: str | None = None
    image: str | None = None
    version: str | None = None
    may_sleep: bool = False
    """Whether it is of kind staging, by its configuration."""
    override: Override | None = None
    sleep: Sleep | None = None


class Side(Struct, frozen=True):
    """The image and version before or after a rollout."""

    image: str
    version: str


class Checkpoint(Struct, frozen=True):
    """A share of the instances at which a rollout stops to be watched."""

    percent: int
    reached_at: str | None = None


class Rollout(Record, frozen=True, kw_only=True):
    """A rollout."""

    kind = RecordKind.ROLLOUT

    service: str = UNKNOWN
    application: str = UNKNOWN
    account: str = UNKNOWN
    region: str = UNKNOWN
    stage: RolloutStage | None = None
    why: str = UNKNOWN
    cause: RolloutCause | None = None
    from_: Side | None = None
    to: Side | None = None
    planned_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    reason: str | None = None
    percent: int = 0
    checkpoints: tuple[Checkpoint, ...] = ()
    waiting: Waiting | None = None
    template: str | None = None
    group: str = ""
    """The Auto Scaling group whose instances are replaced."""
    aborted: str | None = None
    """Who stopped it, and why."""
    paused: str | None = None
    """Who paused it, and why, from the request until it is resumed."""
    halted: str | None = None
    """The last instance refresh that was cancelled for a pause."""


class Pool(Record, frozen=True, kw_only=True):
    """A pool of address ranges. Each range that is taken has an attribute of its own, its holder: who takes one writes
    no other's."""

    kind = RecordKind.POOL

    of: str | None = None
    taken: Annotated[Mapping[str, str], SPREAD] = field(default_factory=dict, name="range_")
    """Holders by the numbers of their ranges."""


class Fleet(Record, frozen=True, kw_only=True):
    """The instances of an environment."""

    kind = RecordKind.FLEET

    instances: tuple[str, ...] = ()
    """The ids of those that ran when it became ready, 500 at most."""


class Pace(Record, frozen=True, kw_only=True):
    """How far turns are given out at an account and Region, to end environments or to build them."""

    kind = RecordKind.PACE

    free_at: int = 0
    """Milliseconds since 1970."""


class Unsaid(Record, frozen=True, kw_only=True):
    """An announcement that the bus did not take, or that an execution owes. A sweep makes it, and closes this."""

    kind = RecordKind.UNSAID

    at: str = ""
    event: str = ""
    detail: str = ""
    """As the bus takes it: JSON."""
    by: str | None = None
    """The state machine whose execution of this name says it, or something else, as long as it runs."""


class Low(Struct, frozen=True):
    """A ceiling or a budget of which little is left, and the environment that took of it when that became so."""

    counter: str
    count: int
    most: int
    environment: str


class Ledger(Record, frozen=True, kw_only=True):
    """The ledger of an installation: every reservation is one conditional write of it, so two that ask in the same
    millisecond never get the same room.

    Attributes:
        version: counts its writes.
        counts: what is reserved, by the names of counters. clocks: see `domain.room.Room`.
        queue: who waits, the first first. suspected: what a sweep found to be reserved too much or too little.
        holding: how many environments have room. mean_seconds: how long the last ones had theirs.
        launches: when EC2's tokens for launches are there again, by target, where some are taken.
        warned: of which ceilings and budgets people were warned, by counter: of how much, of a ceiling on which day.
        unsaid: the warnings that are still to be announced.
    """

    kind = RecordKind.LEDGER

    version: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    clocks: Mapping[str, int] = field(default_factory=dict)
    queue: tuple[str, ...] = ()
    suspected: Mapping[str, int] = field(default_factory=dict)
    holding: int = 0
    mean_seconds: int = 0
    launches: Mapping[str, str] = field(default_factory=dict)
    warned: Mapping[str, str] = field(default_factory=dict)
    unsaid: tuple[Low, ...] = ()


class Quotas(Record, frozen=True, kw_only=True):
    """What AWS allows at an account and Region, as a sweep or whoever came first has read it. Everything is by the
    keys of `needs.QUOTAS`.

    Attributes:
        version: how often it was written: of two who look at the same time, the slower does not write over the other.
        limits: the most of each. used: what others than admitted environments have of it.
        unread: of which AWS does not say the most, with why: its default stands in their place.
        uncounted: of which it does not say what is used, with why.
        closed: why nothing is built there now; "" where it is.
    """

    kind = RecordKind.QUOTAS

    version: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    uncounted: Mapping[str, str] = field(default_factory=dict)
    closed: str = ""


class Had(Record, frozen=True, kw_only=True):
    """What the last environment of an order really had of the quotas, by the fingerprint of that order."""

    kind = RecordKind.NEEDS

    takes: Mapping[str, int] = field(default_factory=dict)


class Sweep(Record, frozen=True, kw_only=True):
    """What a sweep came to. Its report is the whole truth."""

    kind = RecordKind.SWEEP

    key: str = ""
    report: str = ""
    """The same as JSON, as long as it lives, which S3 did not take from a version before."""
    asked_by: str = UNKNOWN
    counts: Mapping[str, int] = field(default_factory=dict)
    halted: str = ""
    dry_run: bool = False


class LateReport(Record, frozen=True, kw_only=True):
    """The report of a sweep or a retirement that S3 did not take, by its key. A sweep writes it, and closes this."""

    kind = RecordKind.LATE_REPORT

    report: str = ""
    """As S3 takes it: JSON."""


class Followed(Struct, frozen=True):
    """How many instances boot an image that they follow a channel to."""

    channel: str
    image: str
    instances: int


class Lost(Struct, frozen=True):
    """The instances that failed of an application, of an image or of a blueprint."""

    of: str
    name: str
    losses: Losses


class Sum(Record, frozen=True, kw_only=True):
    """What the environments are together that live, or those that ended on a day. A sweep sums them, so that nobody has
    to read all of them who shows a figure."""

    kind = RecordKind.SUM

    at: str = ""
    """When it was summed."""
    settled: bool = False
    """The day is over: nothing comes to it any more."""
    environments: int = 0
    instances: int = 0
    spent: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By application and suite, as `mayfly.domain.cost.of_kept` reads it."""
    stages: Mapping[str, int] = field(default_factory=dict)
    verdicts: int = 0
    """Environments that wait for a person's verdict."""
    late: int = 0
    """Environments past their deadline."""
    all_shelved: bool = field(default=False, name="taken_up")
    """Everything that lives is on the shelves, also what an earlier version began."""
    settled_to: str = ""
    """Of what lives: the last day of those that are settled like all before it."""
    deadlines: tuple[int, ...] = ()
    """How many deadlines are in each of the next hours."""
    followed: tuple[Followed, ...] = ()
    failures: tuple[Lost, ...] = ()
    failures_at: str = ""


class DeadLetter(Record, frozen=True, kw_only=True):
    """A message that could not be followed. What is in it lies in the reports bucket."""

    kind = RecordKind.DEAD_LETTER

    failure: str = field(default=UNKNOWN, name="kind")
    function: str = UNKNOWN
    event: str = UNKNOWN
    reason: str = ""
    stage: DeadLetterStage | None = None
    at: str = ""
    times: int = 1
    came_as: str = ""
    """The message of the queue that it came as last."""


KINDS: Mapping[RecordKind, type[Record]] = {
    each.kind: each
    for each in (
        *(Environment, Fleet, Release, Bake, Builder, Command, Group),
        *(Image, ChannelRecord, Family, Service, Rollout, Sweep, Pool, Ledger, Quotas, Had, DeadLetter),
        *(PullRequest, Branch, Sum, Pace, Unsaid, LateReport),
    )
}


@cache
def spread(kind: Any) -> Mapping[str, str]:
    """Returns the fields each entry of which is an attribute of its own, with what those attributes begin with."""
    return {name: key for name, (key, hint) in _fields(kind).items() if SPREAD in get_args(hint)}


@cache
def _fields(kind: Any) -> Mapping[str, tuple[str, Any]]:
    # A field's name that is a word of Python's ends with an underscore, unless it says what it is called in an item.
    return {
        each.name: (each.name.rstrip("_") if each.encode_name == each.name else each.encode_name, each.type)
        for each in fields(kind)
    }


def keys(kind: Any) -> Mapping[str, str]:
    """Returns the fields of a record or of a part of one by name, each with the attribute of an item that it is kept
    in."""
    return {name: key for name, (key, _) in _fields(kind).items()}


def read[R](kind: type[R], item: Mapping[str, Any]) -> R:
    """Reads a record, or a part of one, from an item. NULL counts as absent."""
    of_any: Any = kind
    given = {name: _read(hint, item[key]) for name, (key, hint) in _fields(of_any).items() if item.get(key) is not None}
    for name, begin in spread(of_any).items():
        given[name] = {key.removeprefix(begin): value for key, value in item.items() if key.startswith(begin)}
    return kind(**given)


def _read(hint: Any, value: Any) -> Any:
    if isinstance(hint, UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is tuple:
        return tuple(_read(get_args(hint)[0], each) for each in value)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return read(hint, value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        # A word of a later version is kept as it is.
        return hint(value) if value in hint or hint._missing_(value) else value
    return value


def attributes(kind: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Turns fields by name into attributes of an item; those that are None are left out."""
    named, apart = keys(kind), spread(kind)
    found = {named[name]: value for name, value in facts.items() if name not in apart and value is not None}
    return found | {
        f"{apart[name]}{key}": each for name in apart.keys() & facts.keys() for key, each in facts[name].items()
    }


def plain(value: Any) -> Any:
    """Turns a record, or a part of one, into what an item keeps: what is not known is not in it."""
    if isinstance(value, Struct):
        return {
            key: plain(each)
            for key, each in attributes(type(value), {name: getattr(value, name) for name in keys(type(value))}).items()
        }
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, str | bytes):
        return str(value)
    return [plain(each) for each in value] if isinstance(value, Iterable) else value
