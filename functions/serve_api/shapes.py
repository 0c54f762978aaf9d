"""What the HTTP API is asked, and what it answers. The requests are parts of the messages that follow from them, and
the OpenAPI document is made of both."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import BeforeValidator, Field, StrictBool

from mayfly.contract.fields import (
    ApplicationName,
    Attempt,
    Branch,
    Commit,
    FamilyName,
    ImageId,
    Line,
    Minutes,
    PullRequest,
    ReportToken,
    Terminations,
    Version,
)
from mayfly.contract.messages import Message
from mayfly.contract.requests import DeadLetterChoice
from mayfly.contract.vocabulary import TestResult, Tone

Days = Annotated[int, Field(ge=0, le=366)]
"""How many days to look back."""


def _number(sent: Any) -> Any:
    # JSON has numbers. Only an address has nothing but text.
    if isinstance(sent, bool | str):
        raise ValueError("expected a number")
    return sent


Number = BeforeValidator(_number)

# ---- asked --------------------------------------------------------------------------------------------------


class Why(Message):
    """Why something is to be done: it stands in the history."""

    why: Line


class Termination(Why):
    """Whether to begin anew with an environment whose ending was handed over to a person."""

    again: StrictBool = False


class Push(Message):
    """A version to build environments for. Who pushes it, the token says."""

    application: ApplicationName
    version: Version
    artifact: Line
    commit: Commit | None = None
    pull_request: Annotated[PullRequest | None, BeforeValidator(_number)] = None
    branch: Branch | None = None
    hotfix: StrictBool = False
    attempt: Annotated[Attempt, Number] = 1


class Extension(Why):
    """For how much longer an environment is needed."""

    minutes: Annotated[Minutes, Number]


class Sleeping(Why):
    """For how long it is to sleep, or to be awake, whatever its office hours say."""

    minutes: Annotated[Minutes, Number]


class Result(Message):
    """A person's verdict over a suite."""

    outcome: TestResult
    reason: Line | None = None
    report: Line | None = None
    token: ReportToken | None = None
    """The environment's, as Environment Ready announced it: without it, no automated suite passes."""


class ApplicationWish(Why):
    """How an application is to be configured; null, not at all any more."""

    document: dict[str, Any] | None
    made_from: Annotated[int, Field(ge=0), Number]


class BakeWish(Why):
    """Which family is to be baked."""

    family: FamilyName


class Promotion(Why):
    """The image that a channel is to point to."""

    image: ImageId


class Rollback(Why):
    """The image to get away from, where it is named."""

    image: ImageId | None = None


class RolloutWish(Why):
    """What a permanent environment is to be rolled out to: what is wanted of it, or what it had before."""

    to: Literal["latest", "previous"]


class SweepWish(Why):
    """A sweep by hand."""

    dry_run: StrictBool
    at_most: Annotated[Terminations, Number] = 0


class BlueprintToCheck(Message):
    """A template to examine, and the application whose parameters it is told; without a template, the blueprint that
    the application names is examined."""

    template: Annotated[str, Field(min_length=1, max_length=2_000_000)] | None = None
    application: ApplicationName | None = None


class DeadLetterWish(DeadLetterChoice, Why):
    """Which dead letters."""


class Switch(Why):
    """What the kill switch is to be."""

    on: StrictBool


# ---- answered -----------------------------------------------------------------------------------------------


class Wrong(TypedDict):
    """A field that is not what it should be."""

    field: str
    value: str
    expected: str


class Problem(TypedDict):
    """Why a request was not followed, for people."""

    error: str
    fields: NotRequired[list[Wrong]]


class Accepted(TypedDict):
    """The event that was put on the bus, and where its effect will be seen."""

    accepted: bool
    event: str
    watch: str


class AcceptedRelease(Accepted):
    """The release that will be."""

    release: str


class Me(TypedDict):
    """Who the token speaks for, and what that is here."""

    who: str
    role: Literal["viewer", "developer", "owner", "operator"]
    applications: list[str]
    owned: list[str]
    now: str


class Entry(TypedDict):
    """One line of a history."""

    at: str
    who: str
    what: str
    why: str


class Ending(TypedDict):
    """Why a life ended."""

    by: str
    outcome: str
    tone: Tone
    reason: str


class Reportable(TypedDict):
    """What can be reported of tests."""

    outcome: str
    tone: Tone


class InQueue(TypedDict):
    """Where an environment stands in the queue."""

    position: int
    lacks: str
    """What it waits for, with both numbers."""
    behind: str
    """Who is before it; empty for the first."""
    about_minutes: int | None


class Override(TypedDict):
    """What a person asked for last of its sleep. It holds until then, whatever its office hours say."""

    asleep: bool
    at: str
    until: str
    by: str
    why: str


class Environment(TypedDict):
    """An environment."""

    id: str
    application: str
    version: str
    suite: str
    kind: str
    release: str
    owner: str
    account: str
    region: str
    stage: str
    tone: Tone
    ready: bool
    over: bool
    can_sleep: bool
    manual: bool
    """Whether a person reports what its tests come to."""
    results: list[Reportable]
    """What a person may report now."""
    queue: NotRequired[InQueue]
    """Of one that waits for room."""
    planned_at: str
    deadline: str
    ceiling: str
    ended_at: NotRequired[str]
    ending: NotRequired[Ending]
    image: str | None
    channel: str | None
    instance_count: int
    instances_built: NotRequired[int]
    instance_type: NotRequired[str]
    usd: float | None
    usd_per_hour: float
    hourly_rate: NotRequired[float]
    asleep_since: NotRequired[str]
    """Asleep it has no instance; all else of it stays."""
    override: NotRequired[Override]


class Totals(TypedDict):
    """Totals of all live environments, which the sweep sums every five minutes."""

    at: str
    environments: int
    instances: int
    usd_per_hour: float
    stages: dict[str, int]
    verdicts: int
    late: int
    deadlines: list[int]
    """How many in each of the next 24 hours."""
    applications: list[str]


class Low(TypedDict):
    """A ceiling or a budget of which people were warned, as `Room Running Low` says it, with what is reserved of it
    now."""

    of: str
    name: str
    what: str
    period: str
    used: float
    most: float
    percent: int
    reason: str


class Environments(TypedDict):
    """A page of environments, the latest first; `next` where there are more."""

    now: str
    environments: list[Environment]
    next: NotRequired[str]
    totals: NotRequired[Totals]
    low: NotRequired[list[Low]]
    """What is running low, where one of these waits for room."""


class Links(TypedDict):
    """Where AWS's own console shows it."""

    stack: NotRequired[str]
    execution: str


class Tests(TypedDict):
    """What a report of tests says."""

    tests: int
    failures: int
    skipped: int
    failed: list[str]


class Linked(TypedDict):
    """An instance, and where AWS's own console shows it."""

    id: str
    link: str


class ConsoleOutput(TypedDict):
    """What EC2 has of an instance's console."""

    environment: str
    instance: str
    output: str
    """Its last 64 KB; empty while EC2 has nothing, as in the first minutes."""


class Span(TypedDict):
    """How long something took."""

    name: str
    seconds: int


class WholeEnvironment(Environment):
    """An environment with all that is known of it."""

    history: list[Entry]
    outputs: dict[str, str]
    report: str | None
    log: str | None
    tests: Tests | None
    spans: list[Span]
    """Where the time from its push until it was ready went, one after the other."""
    slowest: list[Span]
    """How long the types of its stack's resources took, the longest first."""
    not_launched: list[str]
    """Instance types in Availability Zones of which EC2 had no more when it was built."""
    kept: list[str]
    handed_over: str
    """Why its teardown was given up, and what a person has to see to; "" where it was not."""
    instances: list[Linked]
    """Those that ran when it became ready."""
    links: Links


class SuiteOutcome(TypedDict):
    """One suite of a release."""

    suite: str
    environment: str
    attempts: int
    outcome: NotRequired[str]
    tone: NotRequired[Tone]


class Verdict(TypedDict):
    """The verdict over a release."""

    passed: bool
    reason: str


class Release(TypedDict):
    """A release: one attempt at a version."""

    id: str
    application: str
    version: str
    artifact: str
    attempt: int
    commit: NotRequired[str]
    branch: NotRequired[str]
    superseded_by: NotRequired[str]
    pushed_by: NotRequired[str]
    pushed_at: str
    stage: str
    tone: Tone
    image: NotRequired[str]
    suites: list[SuiteOutcome]
    verdict: NotRequired[Verdict]
    usd: float | None


class Releases(TypedDict):
    """Releases, the newest first."""

    now: str
    releases: list[Release]
    next: NotRequired[str]


class WholeRelease(Release):
    """A release with its history and environments."""

    history: list[Entry]
    environments: list[Environment]


class Suite(TypedDict):
    """A suite of a test plan."""

    name: str
    kind: str
    manual: bool
    """Whether a person reports what its tests come to."""


class ImageOf(TypedDict):
    """Which image an application boots from."""

    family: str
    channel: str


class Application(TypedDict):
    """An application's configuration; only its name, and the problem, where that is wrong."""

    name: str
    owner: NotRequired[str]
    suites: NotRequired[list[Suite]]
    instance_count: NotRequired[int]
    image: NotRequired[ImageOf]
    parameters: NotRequired[dict[str, str]]
    lifetime_minutes: NotRequired[int]
    ceiling_minutes: NotRequired[int]
    problem: NotRequired[str]


class ConfigurationVersion(TypedDict):
    """A version of an application's configuration."""

    version: int
    at: str
    by: str
    why: str
    document: Any
    """As it is kept; a text where it is no JSON."""


class Configuration(TypedDict):
    """An application's configuration with its versions, the newest first; none where there is no such application."""

    now: str
    name: str
    version: int
    versions: list[ConfigurationVersion]


class Applications(TypedDict):
    """All applications, by name."""

    applications: list[Application]


class Remark(TypedDict):
    """Something about a template. An error keeps an environment from being built or ended; a warning costs something
    or loses something; a note says how Mayfly will take it."""

    level: Literal["error", "warning", "note"]
    line: int
    where: str
    said: str


class Takes(TypedDict):
    """What one environment takes of a quota, and how much of that a new account has."""

    quota: str
    takes: float
    default: int


class CheckedBlueprint(TypedDict):
    """All that there is to say about a template, the worst first."""

    blueprint: str
    remarks: list[Remark]
    takes: list[Takes]
    not_reckoned: list[str]


class Previous(TypedDict):
    """What a channel can be rolled back to."""

    image: str


class Channel(TypedDict):
    """A channel, what it points to, and how far that has got."""

    name: str
    image: str
    regions: dict[str, str]
    version: int
    moved_at: str
    previous: list[Previous]
    history: list[Entry]
    instances: dict[str, int]
    on_old_images: int
    hours: float


class Check(TypedDict):
    """One proof of an image."""

    name: str
    command: str


class Image(TypedDict):
    """An image in its family's own Region, or a copy of one."""

    image: str
    stage: str
    tone: Tone
    promotable: bool
    created_at: str
    region: str
    bake: NotRequired[str]
    base_image: NotRequired[str]
    made_of: NotRequired[dict[str, str]]
    """Its base image, and the digests (SHA-256) of the code, the package and the script that it was baked with."""
    retirement: NotRequired[str]
    checks: NotRequired[list[Check]]


class Bake(TypedDict):
    """A bake."""

    id: str
    family: str
    stage: str
    tone: Tone
    over: bool
    why: str
    requested_by: str
    at: str
    reason: NotRequired[str]
    image: NotRequired[str]


class WholeBake(Bake):
    """A bake with all that is known of it."""

    history: list[Entry]
    account: str
    region: str
    base_image: str
    builder: NotRequired[str]
    """The instance that it was built on."""
    checks: list[Check]
    log: str
    """Where its builder leaves its log."""
    log_text: NotRequired[str]
    """The end of it, where Mayfly could read it."""
    console_text: NotRequired[str]
    """What the builder of one that failed printed on its console."""


class Family(TypedDict):
    """An image family."""

    family: str
    channels: list[Channel]
    images: list[Image]
    bakes: list[Bake]
    problem: NotRequired[str]


class Failures(TypedDict):
    """How many instances failed in environments of the last days: they never signalled, or were lost while tested."""

    of: Literal["application", "image", "blueprint"]
    name: str
    launched: int
    failed: int
    causes: dict[str, int]


class Images(TypedDict):
    """All image families, by name, and how many instances of late failed."""

    now: str
    families: list[Family]
    failures: list[Failures]


class Change(TypedDict):
    """A part of an image that differs from another image's: `before` is null where it came, `after` where it went."""

    name: str
    before: str | None
    after: str | None


class Differences(TypedDict):
    """How two images differ, by what their proofs recorded. Files are those that Puppet manages, versions checksums."""

    before: str
    after: str
    packages: list[Change]
    services: list[Change]
    files: list[Change]


class ReleaseDifferences(TypedDict):
    """How two releases differ. `image` is there where the contents of both images are recorded, `image_problem` where
    they differ and that is not."""

    before: str
    after: str
    facts: list[Change]
    parameters: list[Change]
    image: NotRequired[Differences]
    image_problem: NotRequired[str]


class Told(TypedDict):
    """A line of a history, with whose it is."""

    at: str
    kind: str
    id: str
    application: str
    who: str
    what: str
    why: str


class History(TypedDict):
    """The lines of all histories within a period, those of a part of the records at once. `next` is what to ask `after`
    for the next part."""

    now: str
    since: str
    until: str
    lines: list[Told]
    next: NotRequired[str]


class Pinned(TypedDict):
    """An image and a version."""

    image: NotRequired[str]
    version: NotRequired[str]


class Service(TypedDict):
    """A permanent environment. Its rollout is the one that runs or waits; `previous` is what it can step back to."""

    id: str
    application: str
    name: str
    stage: str
    tone: Tone
    rolling_out: bool
    can_roll_out: bool
    can_sleep: bool
    version: NotRequired[str]
    image: NotRequired[str]
    instance_count: NotRequired[int]
    oldest_instance_at: NotRequired[str]
    drift: list[Any]
    odd: list[Any]
    rollout: NotRequired[str]
    previous: NotRequired[Pinned]
    asleep_since: NotRequired[str]
    override: NotRequired[Override]


class Services(TypedDict):
    """All permanent environments, by name."""

    now: str
    services: list[Service]


class Checkpoint(TypedDict):
    """How far a rollout goes before it waits."""

    percent: int
    reached_at: NotRequired[str]


class Pause(TypedDict):
    """That a rollout is paused: who did it and why, and whether it stands still already."""

    why: str
    stands: bool


Rollout = TypedDict(
    "Rollout",
    {
        "id": str,
        "service": str,
        "application": str,
        "stage": str,
        "tone": Tone,
        "waits": bool,
        "awaits_approval": bool,
        "can_abort": bool,
        "can_pause": bool,
        "can_resume": bool,
        "pause": NotRequired[Pause],
        "why": str,
        "from": NotRequired[Pinned],
        "to": NotRequired[Pinned],
        "checkpoints": list[Checkpoint],
        "percent": int,
        "started_at": str,
        "ended_at": NotRequired[str],
        "reason": NotRequired[str],
        "history": NotRequired[list[Entry]],
    },
)


class Rollouts(TypedDict):
    """Rollouts, the newest first."""

    now: str
    rollouts: list[Rollout]


class Sweep(TypedDict):
    """What a sweep came to."""

    key: str
    at: str
    asked_by: str
    counts: dict[str, int]
    halted: str
    dry_run: bool


class Sweeps(TypedDict):
    """Sweeps, the newest first."""

    now: str
    sweeps: list[Sweep]


class Decision(TypedDict):
    """What a sweep decided about one environment, and why."""

    environment: str
    action: str
    tone: Tone
    reason: str


class Report(TypedDict):
    """A sweep's whole report."""

    at: str
    asked_by: str
    counts: dict[str, int]
    halted: str
    dry_run: NotRequired[bool]
    unseen: dict[str, str]
    decisions: list[Decision]
    kept: list[Decision]


class DeadLetterGroup(TypedDict):
    """Dead letters of one kind, function and reason."""

    kind: str
    function: str
    event: str
    reason: str
    count: int
    oldest: str
    newest: str


class DeadLetterShown(TypedDict):
    """A dead letter in a list."""

    id: str
    kind: str
    function: str
    event: str
    reason: str
    at: str
    stage: str
    tone: Tone
    times: int


class DeadLetters(TypedDict):
    """Dead letters that wait for a person."""

    now: str
    count: int
    groups: list[DeadLetterGroup]
    dead_letters: list[DeadLetterShown]


class WholeDeadLetter(DeadLetterShown):
    """A dead letter with all that is known of it."""

    message: Any
    history: list[Entry]


class SwitchState(TypedDict):
    """The kill switch as it is."""

    on: bool
    why: str


class PricesOf(TypedDict):
    """Which prices were reckoned with."""

    as_of: str
    source: str
    currency: str


class SuiteCosts(TypedDict):
    """What a suite has cost."""

    suite: str
    usd: float


class ApplicationCosts(TypedDict):
    """What an application has cost."""

    application: str
    usd: float
    usd_per_hour: float
    instance_hours: float
    suites: list[SuiteCosts]


class Costs(TypedDict):
    """What the environments have cost that began within some days, and those that live."""

    now: str
    prices: PricesOf
    total_usd: float
    usd_per_hour: float
    unpriced: int
    permanent_instances: int
    applications: list[ApplicationCosts]
