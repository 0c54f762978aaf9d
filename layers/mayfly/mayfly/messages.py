"""The doors: every message that reaches Mayfly, as a model that says what it expects.

Ours forbid what they do not know, so that a misspelt field is an error and not a silence. AWS's are tolerant:
AWS adds fields when it likes.
"""

import re
from collections.abc import Iterator
from datetime import datetime, time
from typing import Annotated, Any, Literal, Self

from aws_lambda_powertools.utilities.parser.models import EventBridgeModel, SnsModel
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from mayfly.domain.identity import ENVIRONMENT
from mayfly.domain.stack import PHASES

ApplicationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,18}[a-z0-9]$")]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}$")]
SuiteName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$")]
Identity = Annotated[str, StringConstraints(pattern=ENVIRONMENT)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
TopicArn = Annotated[str, StringConstraints(pattern=r"^arn:[^:]+:sns:[^:]+:\d{12}:mayfly-[A-Za-z0-9_-]+$")]
"""Mayfly may publish to topics of this prefix only."""
FamilyName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
ChannelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Account = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
ImageId = Annotated[str, StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$")]
Location = Annotated[str, StringConstraints(pattern=r"^(s3|https)://[^\s'\"\\$`]+$", max_length=1024)]
"""Where a script on an instance fetches something from."""
Minutes = Annotated[int, Field(ge=1, le=30 * 24 * 60)]
Attempt = Annotated[int, Field(ge=1, le=1000)]
Terminations = Annotated[int, Field(ge=0, le=5000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Message(BaseModel):
    """What is ours: unchangeable, and nothing unknown in it."""

    # A function needs one or two of these models: the others are not built at its cold start.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class CodeVersionPushed(Message):
    """A CI server made a version: build an environment for each suite of its application and have it tested."""

    application: ApplicationName
    version: Version
    artifact: Line
    """Where the deploy script on each instance fetches this version from, as that script understands it."""
    commit: Line | None = None
    pushed_by: Line | None = None
    attempt: Attempt = 1
    """The same version and attempt is the same release, however often it arrives. Count up to run it again."""


class TestFinished(Message):
    """A suite's tests are over. Names the environment, or the release and the suite."""

    __test__ = False  # pytest: a message, not a test

    environment: Identity | None = None
    release: Identity | None = None
    suite: SuiteName | None = None
    outcome: Literal["passed", "failed"]
    report: Line | None = None
    reason: Line | None = None
    finished_by: Line | None = None

    @model_validator(mode="after")
    def _names_one_environment(self) -> Self:
        if (self.environment is None) == (self.release is None or self.suite is None):
            raise ValueError("expected either environment, or release and suite")
        return self


class EnvironmentExtensionRequested(Message):
    """Somebody needs an environment for longer."""

    environment: Identity
    minutes: Minutes
    why: Line
    requested_by: Line


class EnvironmentTerminationRequested(Message):
    """Somebody wants an environment ended now."""

    environment: Identity
    why: Line
    requested_by: Line


class KillSwitchSet(Message):
    """While it is on, nothing is destroyed."""

    on: StrictBool
    why: Line
    set_by: Line


class SweepRequested(Message):
    """A sweep by hand: to see what it would do, or to let through what the caps of an earlier one stopped."""

    dry_run: StrictBool = False
    at_most: Terminations = 0
    """Terminations let through, where it is more than the caps allow."""
    why: Line
    requested_by: Line


class ImageBakeRequested(Message):
    """Somebody wants a new image of a family now."""

    family: FamilyName
    why: Line
    requested_by: Line


class PuppetCodePushed(Message):
    """A CI server packed a version of the Puppet code: each family that applies Puppet from an artifact is baked with
    it, and stays with it."""

    version: Version
    artifact: Location
    sha256: Sha256 | None = None
    families: tuple[FamilyName, ...] | None = Field(default=None, min_length=1)
    """Only these; all that apply Puppet from an artifact where it is left out."""
    pushed_by: Line | None = None


class ImagePromotionRequested(Message):
    """Somebody, or a policy, wants a channel to point to an image."""

    family: FamilyName
    channel: ChannelName
    image: ImageId
    """As it is called in the family's own Region."""
    why: Line
    requested_by: Line


class ImageRollbackRequested(Message):
    """Somebody wants a channel back on the image before."""

    family: FamilyName
    channel: ChannelName
    image: ImageId | None = None
    """The image to get away from. Where it is named, the same request a second time goes no further back."""
    why: Line
    requested_by: Line


class RolloutApproved(Message):
    """Somebody lets a rollout through that waits for it, or has one tried again that was rolled back or failed."""

    rollout: Identity
    why: Line
    approved_by: Line


class RolloutRequested(Message):
    """Somebody wants a permanent environment rolled out now, whatever its policy says: to what is wanted of it, or one
    step back to what it had before."""

    service: Identity
    to: Literal["latest", "previous"] = "latest"
    why: Line
    requested_by: Line


class Move(Message):
    """What an execution of promote_image is to do: to point a channel to an image, or back to the one before."""

    family: FamilyName
    channel: ChannelName
    action: Literal["promote", "roll back"] = "promote"
    image: ImageId | None = None
    why: Line
    requested_by: Line
    by_policy: StrictBool = False
    """Whether nobody but a policy asks. It does not undo what a person has rolled back."""

    @model_validator(mode="after")
    def _names_what_it_promotes(self) -> Self:
        if self.action == "promote" and self.image is None:
            raise ValueError("expected an image to promote")
        return self


class Suite(Message):
    """One suite of a test plan. An automated one reports by itself, a manual one when a person says so."""

    name: SuiteName
    kind: Literal["automated", "manual"] = "automated"


class ImageChoice(Message):
    """The image family an application boots from, and the channel that points into it."""

    family: FamilyName
    channel: ChannelName = "stable"


class Window(Message):
    """When rollouts may begin, in UTC. Hours that end before they start end on the next day."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = Field(min_length=1)
    start: time
    end: time


class RolloutPolicy(Message):
    """How a permanent environment is rolled out."""

    when: Literal["automatic", "approved"] = "automatic"
    """Whether a person has to approve a new image or version. New instances of the same need nobody."""
    window: Window | None = None
    checkpoints: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(default=(10, 50, 100), max_length=20)
    """Per cent of the instances, ascending up to 100, at which it stops to be watched."""
    soak_minutes: int = Field(default=10, ge=0, le=2880)
    """How long it is watched at each of them, the last one too."""
    least_healthy_percent: int = Field(default=100, ge=0, le=100)
    most_healthy_percent: int = Field(default=110, ge=100, le=200)
    """Above 100, new instances are there before old ones go."""
    limit_minutes: int = Field(default=360, ge=10, le=2880)
    """What takes longer is rolled back."""
    max_days: int = Field(default=30, ge=1, le=365)
    """No instance gets older than that."""
    drift: Literal["report", "replace"] = "report"
    """What is done about instances that are not as the blueprint says."""

    @model_validator(mode="after")
    def _ends_with_everything(self) -> Self:
        if sorted(set(self.checkpoints)) != list(self.checkpoints) or self.checkpoints[-1:] != (100,):
            raise ValueError(f"expected checkpoints that ascend up to 100, but they are {list(self.checkpoints)}")
        if self.most_healthy_percent - self.least_healthy_percent not in range(1, 101):
            raise ValueError(
                "expected most_healthy_percent above least_healthy_percent, by 100 at most, but they are "
                f"{self.most_healthy_percent} and {self.least_healthy_percent}"
            )
        if (soaking := len(self.checkpoints) * self.soak_minutes) >= self.limit_minutes:
            raise ValueError(
                f"expected limit_minutes above the {soaking} that are soaked, but it is {self.limit_minutes}"
            )
        return self


class Permanent(Message):
    """An environment of an application that has no deadline: staging, production. What is left out is the
    application's."""

    name: ServiceName
    account: Account | None = None
    region: Region | None = None
    blueprint: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")] = "service.yaml"
    parameters: dict[str, str] = Field(default_factory=dict)
    instance_count: int = Field(ge=3, le=500)
    """At least one in each of three Availability Zones."""
    channel: ChannelName = "stable"
    """Of the application's image family."""
    rollout: RolloutPolicy = RolloutPolicy()


class Application(Message):
    """An application's configuration: the parameter ``<MAYFLY_PARAMETERS>/applications/<name>``."""

    owner: Line
    owner_topic: TopicArn | None = None
    """Where its owner is warned before a deadline."""
    blueprint: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")]
    """Key of the CloudFormation template in the blueprints bucket."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """The blueprint's own parameters, besides those that Mayfly passes to every blueprint."""
    instance_count: int = Field(default=45, ge=1, le=500)
    image: ImageChoice
    account: Account | None = None
    """The workload account; the controller's own where it is left out."""
    region: Region | None = None
    lifetime_minutes: int = Field(default=24 * 60, ge=1, le=30 * 24 * 60)
    ceiling_minutes: int = Field(default=72 * 60, ge=1, le=30 * 24 * 60)
    """How long an environment may live with all its extensions, from its planning."""
    warn_minutes_before: tuple[Annotated[int, Field(ge=1)], ...] = (120, 30)
    suites: tuple[Suite, ...] = Field(min_length=1, max_length=100)
    permanent: tuple[Permanent, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _lifetime_below_ceiling(self) -> Self:
        if self.lifetime_minutes > self.ceiling_minutes:
            raise ValueError(
                f"expected lifetime_minutes of at most ceiling_minutes, {self.ceiling_minutes}, "
                f"but it is {self.lifetime_minutes}"
            )
        return self

    @field_validator("suites", "permanent")
    @classmethod
    def _names_differ[Named: Suite | Permanent](cls, named: tuple[Named, ...]) -> tuple[Named, ...]:
        names = [each.name for each in named]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each name once, but {', '.join(twice)} is there more often")
        return named


class BaseImage(Message):
    """What a family is baked from: the image that a parameter of AWS names, or the newest by name of a known owner."""

    parameter: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_.-]+)+$", max_length=1011)] | None = None
    """Such as ``/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64``."""
    owner: Annotated[str, StringConstraints(pattern=r"^(\d{12}|amazon)$")] | None = None
    name: Line | None = None
    """A filter with ``*``. Never without an owner: anybody may publish an image of any name."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.parameter is None) == (self.owner is None) or (self.owner is None) != (self.name is None):
            raise ValueError("expected either parameter, or owner and name")
        return self


class Puppet(Message):
    """How a builder is configured."""

    mode: Literal["apply", "agent"]
    artifact: Location | None = None
    """Of ``apply``: a tar.gz of a Puppet environment. A pushed version of the Puppet code takes its place."""
    sha256: Sha256 | None = None
    """The artifact's checksum; its location is trusted where there is none."""
    manifest: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")] = "manifests/site.pp"
    """Of ``apply``: what of the artifact is applied."""
    server: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,253}$")] | None = None
    """Of ``agent``: the Puppet server. It has to sign a builder's certificate by itself."""
    environment: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")] = "production"
    """Of ``agent``: what is asked of the server."""
    package: (
        Annotated[
            str,
            StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9+._-]{0,63}|(s3|https)://[^\s'\"\\$`]+\.(deb|rpm))$"),
        ]
        | None
    ) = None
    """What apt-get or dnf installs where the base image has no Puppet: a name, or the location of a package."""

    @model_validator(mode="after")
    def _has_what_its_mode_needs(self) -> Self:
        if (self.artifact is None, self.server is None) != (self.mode == "agent", self.mode == "apply"):
            raise ValueError("expected an artifact with mode apply, and a server with mode agent")
        return self


class Check(Message):
    """One proof of an image: a command, run as root on an instance of it, and what it must do."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9 -]{0,59}$")]
    command: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    exit: int = Field(default=0, ge=0, le=255)
    stdout: Line | None = None
    """A regular expression that is found in what it prints (the first 1,000 characters; fewer where there are many
    checks)."""

    @field_validator("stdout")
    @classmethod
    def _is_an_expression(cls, stdout: str | None) -> str | None:
        try:
            re.compile(stdout or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression: {error}") from None
        return stdout


class StablePolicy(Message):
    """When the channel ``stable`` follows ``candidate`` by itself."""

    after_releases: int = Field(ge=1, le=1000)
    """Releases that passed on the image."""


class RetirePolicy(Message):
    """How long an image that nobody can need stays in each stage before the next."""

    deprecate_after_days: int = Field(default=30, ge=0, le=3650)
    """From its creation."""
    disable_after_days: int = Field(default=14, ge=0, le=3650)
    """From its deprecation."""
    deregister_after_days: int = Field(default=30, ge=0, le=3650)
    """From its being disabled."""


class Family(Message):
    """An image family's configuration: the parameter ``<MAYFLY_PARAMETERS>/families/<family>``."""

    owner: Line
    account: Account
    region: Region
    """Where its builders and proofs live, and its images are made: a configured place."""
    base: BaseImage
    subnet: Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")]
    """Of the builders: private, with a way to packages and Puppet only."""
    security_groups: tuple[Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,17}$")], ...] = Field(min_length=1)
    instance_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")] = "t3.medium"
    instance_profile: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+=,.@_-]{1,128}$")] = "mayfly-builder"
    puppet: Puppet
    logs: Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9!_.*'()-]+)*$")]
    """Where its builders leave their logs: a bucket, and perhaps a prefix, that their role may write to."""
    bake_minutes: int = Field(default=60, ge=5, le=600)
    """How long the script on a builder may take. Booting and stopping come on top."""
    prove_minutes: int = Field(default=60, ge=5, le=600)
    """The deadline of the environment that proves an image."""
    blueprint: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")] = "fleet.yaml"
    parameters: dict[str, str] = Field(default_factory=dict)
    """Of the blueprint, for the proof."""
    checks: tuple[Check, ...] = Field(min_length=1, max_length=50)
    regions: tuple[Region, ...] = ()
    """Where its images are copied to before a channel moves; its own is always one."""
    share_accounts: tuple[Account, ...] = ()
    kms_key_ids: dict[Region, str] = Field(default_factory=dict)
    """The key that encrypts the copy in a Region; the account's default where there is none."""
    keep_newest: int = Field(default=5, ge=1, le=1000)
    stable: StablePolicy | None = None
    """None: only a person moves ``stable``."""
    retire: RetirePolicy = RetirePolicy()

    @property
    def everywhere(self) -> tuple[str, ...]:
        """Every Region that its images must be in, its own first."""
        return tuple(dict.fromkeys((self.region, *self.regions)))

    @field_validator("checks")
    @classmethod
    def _checks_differ(cls, checks: tuple[Check, ...]) -> tuple[Check, ...]:
        names = [check.name for check in checks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each check once, but {', '.join(twice)} is there more often")
        return checks


class Blueprint(Message):
    """A blueprint as it was when the release was planned: an object of the blueprints bucket, with its version."""

    key: str
    version_id: str | None


class Subject(BaseModel):
    """Whose life an execution is. What it ends by a sweep is known by no more than this, from tags alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: Identity
    account: str
    region: str
    application: str = "unknown"
    release: str = "unknown"
    version: str = "unknown"
    suite: str = "unknown"
    kind: str = "unknown"
    owner: str = "unknown"
    begin: Literal["creation", "tests", "termination"] = "creation"
    """Where its execution begins: a new life with its creation, one that a sweep takes up with what is left of it."""
    deadline: datetime | None = None
    """Of a life that is taken up."""
    why: str = ""


class Order(Message):
    """All that one environment's life needs to know: the input of its execution. Nothing is looked up later, so
    that all suites of a release get the same image and blueprint, and a repetition gets them again."""

    environment: Identity
    release: Identity
    application: ApplicationName
    version: Version
    artifact: Line
    suite: SuiteName
    kind: Literal["automated", "manual"]
    owner: Line
    owner_topic: TopicArn | None = None
    account: str
    region: str
    blueprint: Blueprint
    parameters: dict[str, str]
    instance_count: int
    image: str
    channel: Line | None = None
    """``family/channel`` that pointed to the image when this was planned."""
    lifetime_minutes: int
    ceiling_minutes: int
    warn_minutes_before: tuple[int, ...]
    begin: Literal["creation"] = "creation"


class Builder(Message):
    """What a bake launches, and when that must be gone."""

    base_image: ImageId
    root_device: str
    subnet: str
    security_groups: tuple[str, ...]
    instance_type: str
    instance_profile: str
    kms_key_id: str | None
    puppet: Puppet
    log: str
    minutes: int
    expires_at: str


class Bake(Message):
    """All that one bake needs to know once it is planned: nothing is looked up later."""

    bake: Identity
    family: FamilyName
    account: str
    region: str
    builder: Builder
    proof: dict[str, Any]
    """The order of the environment that proves the image, as far as it is known before there is one."""


class Setup(Message):
    """What a permanent environment consists of: all that a rollout changes, and can change back."""

    image: str
    version: str
    artifact: str
    blueprint: Blueprint | None
    """None where only its stack knows: the template then stays as it is."""
    parameters: dict[str, str]
    instance_count: int


class Rollout(Message):
    """All that one rollout needs to know: the input of its execution. Nothing is looked up later, so that it goes
    back to exactly what was there before, whatever is configured meanwhile."""

    rollout: Identity
    service: Identity
    application: ApplicationName
    account: str
    region: str
    cause: Literal["creation", "change", "request", "step back", "drift", "age"]
    why: str
    before: Setup | None
    """None where nothing was there before."""
    after: Setup
    template_version: str
    """Version of the launch template that the stack pins until all instances are replaced."""
    checkpoints: tuple[int, ...]
    soak_minutes: int
    least_healthy_percent: int
    most_healthy_percent: int
    limit_minutes: int


class Tolerant(BaseModel):
    """What is AWS's: fields that we do not know are AWS's business."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _StatusDetails(Tolerant):
    status: str
    reason: str = Field(default="", alias="status-reason")

    @field_validator("status")
    @classmethod
    def _known(cls, status: str) -> str:
        if status not in PHASES:
            raise ValueError("expected a stack status that CloudFormation documents")
        return status


class ReleasePassed(Tolerant):
    """Detail of our own event ``Release Passed``, as far as it is heard: it carries more, for others."""

    release: Identity


class Announcement(Tolerant):
    """Detail of any of our own announcements, as far as people are told of it: whatever it carries."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    environment: Identity | None = None
    release: Identity | None = None


class PassedVersion(ReleasePassed):
    """The same, as far as permanent environments want it."""

    application: ApplicationName
    version: Version
    artifact: Line


class RefreshStatus(Tolerant):
    """Detail of AWS's events ``EC2 Auto Scaling Instance Refresh ...``."""

    refresh: str = Field(alias="InstanceRefreshId")
    group: str = Field(alias="AutoScalingGroupName")
    percent: int = Field(default=0, alias="CheckpointPercentage")
    """Of a checkpoint that is reached. AWS sends it as a string."""


class StackStatus(Tolerant):
    """Detail of AWS's event ``CloudFormation Stack Status Change``."""

    stack_id: Annotated[str, StringConstraints(pattern=r"^arn:[^:]+:cloudformation:[^:]+:\d{12}:stack/.+$")] = Field(
        alias="stack-id"
    )
    details: _StatusDetails = Field(alias="status-details")
    request: str = Field(default="", alias="client-request-token")
    """Of the call that it is an effect of."""


class InstanceState(Tolerant):
    """Detail of AWS's event ``EC2 Instance State-change Notification``."""

    instance: str = Field(alias="instance-id")
    state: str


class ImageState(Tolerant):
    """Detail of AWS's event ``EC2 AMI State Change``."""

    image: str = Field(alias="ImageId")
    state: str = Field(alias="State")
    why: str = Field(default="", alias="ErrorMessage")


class CommandStatus(Tolerant):
    """Detail of AWS's event ``EC2 Command Invocation Status-change Notification``."""

    command: str = Field(alias="command-id")
    instance: str = Field(alias="instance-id")
    status: str


class EnvironmentReady(Tolerant):
    """Detail of our own event ``Environment Ready``, as far as a proof needs it."""

    environment: Identity
    release: Identity
    account: str
    region: str


class PublishedImage(Tolerant):
    """One image in a publisher's message."""

    image: ImageId = Field(alias="ImageId")
    name: str = Field(default="", alias="Name")


class BaseImagesPublished(Tolerant):
    """A message of the SNS topics on which publishers of base images announce new ones.

    Amazon Linux and FreeBSD send ``{"v1": {"Regions": {Region: [image, ...]}}}``, ECS sends
    ``{"ECSAmis": [{"Regions": {Region: image}}, ...]}``; an image is ``{"ImageId": ..., "Name": ...}``. What is read is
    any ``Regions`` in it. A publisher that sends prose (Windows) cannot be followed.
    """

    regions: dict[str, tuple[PublishedImage, ...]] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, message: Any) -> Any:
        regions: dict[str, list[Any]] = {}
        for found in _regions_in(message):
            for region, images in found.items():
                regions.setdefault(region, []).extend(images if isinstance(images, list) else [images])
        return {"regions": regions}


def _regions_in(message: Any) -> Iterator[dict[str, Any]]:
    parts = message.values() if isinstance(message, dict) else message if isinstance(message, list) else ()
    if isinstance(message, dict) and isinstance(message.get("Regions"), dict):
        yield message["Regions"]
    for part in parts:
        yield from _regions_in(part)


def _moment(at: datetime) -> datetime:
    """A moment that can be reckoned with: who puts an event on the bus may write any time."""
    if at.tzinfo is None or not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"expected a moment from {_FIRST_YEAR} to {_LAST_YEAR}, with its time zone")
    return at


_FIRST_YEAR, _LAST_YEAR = 2020, 2200
Moment = Annotated[datetime, AfterValidator(_moment)]


class Received[M: BaseModel](BaseModel):
    """A message with when it was sent (UTC) and the way it came."""

    message: M
    at: Moment
    via: str


class SweepScheduled(Message):
    """A sweep by the schedule, or by hand."""

    now: Moment
    dry_run: StrictBool = False


class Refused(Exception):
    """A message that cannot be understood or followed; the text names field, value and what was expected."""


def receive[M: BaseModel](model: type[M], event: object) -> Received[M]:
    """Reads a message from an event of EventBridge or a notification of SNS, as Lambda hands them over.

    Raises:
        Refused: the envelope or the message is not what it should be.
    """
    try:
        if isinstance(event, dict) and event.get("Records"):
            notes = SnsModel.model_validate(event).Records
            if len(notes) != 1:
                raise Refused(f"Records: expected one, as SNS sends them, but there are {len(notes)}")
            note = notes[0].Sns
            message = model.model_validate_json(str(note.Message))
            return Received(message=message, at=note.Timestamp, via=f"SNS {note.MessageId}")
        envelope = EventBridgeModel.model_validate(event)
        message = model.model_validate(envelope.detail)
        return Received(message=message, at=envelope.time, via=f"EventBridge {envelope.id}")
    except ValidationError as error:
        raise Refused(explain(error)) from None
    except TypeError as error:  # Powertools' model of SNS, where it expects an object and finds something else
        raise Refused(f"Records: expected a notification of SNS, but {error}") from None


def receive_sweep(event: object) -> Received[SweepRequested]:
    """Reads what is asked of a sweep: by an event on the bus, by the schedule, or by hand like by the schedule.

    Raises:
        Refused: it is not what it should be.
    """
    if isinstance(event, dict) and "detail-type" in event:
        return receive(SweepRequested, event)
    try:
        scheduled = SweepScheduled.model_validate(event)
    except ValidationError as error:
        raise Refused(explain(error)) from None
    message = SweepRequested(why="schedule", requested_by="schedule", dry_run=scheduled.dry_run)
    return Received(message=message, at=scheduled.now, via="schedule")


def explain(error: ValidationError) -> str:
    """A validation error for people: the first fields, their values, and what was expected of each."""
    faults = error.errors()
    said = [
        f"{short('.'.join(str(part) for part in fault['loc'])) or 'message'}: "
        f"{fault['msg']}, but it is {short(repr(fault['input']))}"
        for fault in faults[:_FAULTS_SHOWN]
    ]
    more = len(faults) - len(said)
    return "; ".join([*said, f"and {more} more"] if more else said)


_FAULTS_SHOWN = 20
"""Nobody reads more, and the dead letter has to fit into a message of SQS."""


def short(text: str) -> str:
    """As much of a text as an error shows."""
    return text if len(text) <= 120 else text[:120] + "…"
