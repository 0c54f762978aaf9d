"""What a platform team configures: the documents in Parameter Store."""

import re
from datetime import time
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StringConstraints, field_validator, model_validator

from mayfly.contract.fields import (
    Account,
    ChannelName,
    FamilyName,
    Line,
    Location,
    PoolName,
    Region,
    ServiceName,
    Sha256,
    SuiteName,
    TopicArn,
)
from mayfly.contract.forges import Forge
from mayfly.contract.messages import Message
from mayfly.contract.runners import Runner
from mayfly.contract.vocabulary import SuiteKind
from mayfly.domain import access, office_hours
from mayfly.domain.identity import MOST_RETRIES, repetitions
from mayfly.domain.lease import MOST_EXTENSIONS
from mayfly.domain.superseding import Supersede


def _with_words(schema: dict[str, Any]) -> None:
    """Who needs no settings may be named by a word."""
    schema["anyOf"] = [*schema.get("anyOf", []), {"enum": ["external", SuiteKind.MANUAL.value]}]


class Suite(Message):
    """One suite of a test plan. An automated one is run by its runner, or reports by itself where it has none; a manual
    one reports when a person says so. A preview tests nothing: it shows a pull request until that is closed."""

    name: SuiteName
    kind: SuiteKind = SuiteKind.AUTOMATED
    runner: Runner | None = Field(default=None, json_schema_extra=_with_words)
    """What Mayfly starts. `external`, the default: somebody hears `Environment Ready`. `manual`: a person."""
    retries: int = Field(default=0, ge=0, le=MOST_RETRIES)
    """How often it is repeated, each time on a fresh environment, after it failed or broke."""

    @model_validator(mode="before")
    @classmethod
    def _runners_without_settings(cls, suite: Any) -> Any:
        if isinstance(suite, dict) and suite.get("runner") in ("external", SuiteKind.MANUAL):
            kind = {"kind": SuiteKind.MANUAL} if suite["runner"] == SuiteKind.MANUAL else {}
            return {**suite, "runner": None, **kind}
        return suite

    @model_validator(mode="after")
    def _nobody_runs_what_a_person_does(self) -> Self:
        if self.kind is not SuiteKind.AUTOMATED and self.runner:
            raise ValueError(f"expected no runner of a {self.kind} suite, but it is {self.runner.type}")
        if self.kind is not SuiteKind.AUTOMATED and self.retries:
            raise ValueError(f"expected no retries of a {self.kind} suite, but there are {self.retries}")
        return self


class ImageChoice(Message):
    """The image family an application boots from, and the channel that points into it."""

    family: FamilyName
    channel: ChannelName = "stable"


class Window(Message):
    """A time of the week. Hours that end before they start end on the next day."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = Field(min_length=1)
    start: time
    end: time
    time_zone: str = "UTC"
    """Of IANA's database, such as ``Europe/Berlin``: start and end are what clocks show there, in summer and winter."""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"expected a time zone of IANA's database, such as Europe/Berlin, but it is {name}"
            ) from None
        return name

    def hours(self) -> office_hours.Window:
        """Returns the window by which the domain decides."""
        return office_hours.Window(self.days, self.start, self.end, ZoneInfo(self.time_zone))


class RolloutPolicy(Message):
    """How a permanent environment is rolled out."""

    when: Literal["automatic", "approved"] = "automatic"
    """Whether a person has to approve a new image or version. New instances of the same need nobody."""
    two_people: bool = False
    """Whether who approves, or asks for it now, is another person than who pushed the version, verified by the API."""
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
        if self.two_people and self.when != "approved":
            raise ValueError("expected `when: approved` where two_people is true, but it is automatic")
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
    rollout: RolloutPolicy = Field(default_factory=RolloutPolicy)
    kind: Literal["production", "staging"] = "production"
    """Production never sleeps."""
    office_hours: Window | None = None
    """When it is awake: of kind staging only. All the time where it is left out."""

    @model_validator(mode="after")
    def _production_never_sleeps(self) -> Self:
        if self.office_hours and self.kind == "production":
            raise ValueError("expected kind to be staging where there are office_hours, but it is production")
        return self


class Ceilings(Message):
    """The most at once, and the most money. What does not fit waits; nothing that lives is ended because of it."""

    environments: int | None = Field(default=None, ge=0)
    instances: int | None = Field(default=None, ge=0)
    usd_a_day: int | None = Field(default=None, ge=1)
    """US dollars that the environments of one day (UTC) may cost at most, at list prices."""
    usd_a_month: int | None = Field(default=None, ge=1)
    when_over: Literal["wait", "refuse"] = "wait"
    """Whether what does not fit waits in the queue, or fails at once."""
    warn_percent: int = Field(default=80, ge=1, le=100)
    """From which share on people are warned, once a day or month. 100: nobody is."""


class Launches(Message):
    """EC2's bucket of tokens for RunInstances at an account and Region, where AWS has raised it."""

    burst: int = Field(default=1000, ge=1)
    a_second: int = Field(default=2, ge=1)


class Admission(Message):
    """What may be built at once: the parameter ``<MAYFLY_PARAMETERS>/admission``."""

    installation: Ceilings = Field(default_factory=Ceilings)
    """Of everything together."""
    owner: Ceilings = Field(default_factory=Ceilings)
    """Of each owner."""
    application: Ceilings = Field(default_factory=Ceilings)
    """Of each application that has none of its own."""
    launches: dict[str, Launches] = Field(default_factory=dict)
    """EC2's launch rate by ``<account>/<Region>``; AWS's default where it is not named: Service Quotas has it not."""


class Ranges(Message):
    """A pool of address ranges: the parameter ``<MAYFLY_PARAMETERS>/pools/<name>``."""

    range: Annotated[str, StringConstraints(pattern=r"^[0-9.]{7,15}/[0-9]{1,2}$")]
    """All of it, such as ``10.64.0.0/11``: nobody else's on the network that environments are attached to."""
    prefix: int = Field(default=20, ge=16, le=24)
    """Prefix length of one environment's range."""

    @model_validator(mode="after")
    def _has_ranges(self) -> Self:
        try:
            whole = IPv4Network(self.range)
        except ValueError as error:
            raise ValueError(f"expected a range of addresses, but {error}") from None
        if not whole.is_private or not 0 <= self.prefix - whole.prefixlen <= _POOL_BITS:
            raise ValueError(
                f"expected a private range of 1 to {1 << _POOL_BITS} ranges of /{self.prefix}, but it is {self.range}"
            )
        return self


_POOL_BITS = 10
"""Of the number of ranges: who has which has to fit into one item of DynamoDB."""


class Target(Message):
    """Where environments of an application may live, and what its blueprint is told there."""

    account: Account
    region: Region
    parameters: dict[str, str] = Field(default_factory=dict)
    """The blueprint's own that differ there, such as the ids of a network: each goes before the application's."""


class Application(Message):
    """An application's configuration: the parameter ``<MAYFLY_PARAMETERS>/applications/<name>``."""

    owner: Line
    owner_topic: TopicArn | None = None
    """Where its owner is warned before a deadline."""
    owners: tuple[Line, ...] = Field(default=(), max_length=20)
    """Groups of the identity provider whose members are its owners, as those of ``owner:<application>`` are: they
    develop it, and roll its permanent environments out."""
    developers: tuple[Line, ...] = Field(default=(), max_length=20)
    """Groups of the identity provider whose members are its developers, as those of ``developer:<application>`` are."""
    blueprint: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")]
    """Key of the CloudFormation template in the blueprints bucket."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """The blueprint's own parameters, besides those that Mayfly passes to every blueprint."""
    instance_count: int = Field(default=45, ge=0, le=500)
    """How many instances an environment has. A blueprint without the parameter InstanceCount says so itself."""
    deployment: Literal["automatic", "express", "standard"] = "automatic"
    """Whether CloudFormation's Express mode builds and deletes its stacks: where it is safe and helps, wherever it is
    safe, or never."""
    pool: PoolName | None = None
    """Where the VPC of each environment gets its range from; without one all have the blueprint's."""
    image: ImageChoice | None = None
    """What its instances boot: needed where its blueprint has the parameter ImageId, and by permanent environments."""
    account: Account | None = None
    """The workload account; the controller's own where it is left out."""
    region: Region | None = None
    targets: tuple[Target, ...] = Field(default=(), max_length=20)
    """Where its environments may live, the best first, instead of `account` and `region`: each is built at the first of
    them that has room for it."""
    prefer: Literal["first", "cheapest"] = "first"
    """Which of the targets that have room: the one that is named first, or the cheapest by list prices."""
    lifetime_minutes: int = Field(default=24 * 60, ge=1, le=30 * 24 * 60)
    ceiling_minutes: int = Field(default=72 * 60, ge=1, le=30 * 24 * 60)
    """How long an environment may live with all its extensions, from its planning."""
    warn_minutes_before: tuple[Annotated[int, Field(ge=1)], ...] = (120, 30)
    most_extensions: int = Field(default=MOST_EXTENSIONS, ge=0, le=500)
    """How often an environment may be extended, within its ceiling."""
    office_hours: Window | None = None
    """When environments of manual suites, and previews, are awake. All the time where it is left out."""
    end_when_idle_minutes: int | None = Field(default=None, ge=60, le=30 * 24 * 60)
    """How long environments of manual suites, and previews, have no request and no session until they are ended. Until
    their deadline where it is left out."""
    suites: tuple[Suite, ...] = Field(min_length=1, max_length=100)
    ceilings: Ceilings | None = None
    """How much it may have at once, and spend."""
    weight: int = Field(default=1, ge=1, le=100)
    """Its share where several wait: twice the weight gets twice as much."""
    admitted: Literal["by suite", "together"] = "by suite"
    """Whether an environment is built as soon as it fits, or a release's only all together."""
    hotfixes: bool = False
    """Whether a version may be pushed as a hotfix, which goes before all others that wait."""
    supersede: Supersede = "never"
    """Which older releases of a branch a newer version of it ends: those that wait for room, all that have not passed
    yet, or none."""
    forge: Forge | None = None
    """Where developers see what came of their commits."""
    permanent: tuple[Permanent, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        self._lives_at_one_place_or_at_targets()
        if self.permanent and self.image is None:
            raise ValueError("expected an image, which permanent environments boot, but there is none")
        previews = [suite.name for suite in self.suites if suite.kind is SuiteKind.PREVIEW]
        if len(previews) > 1 or len(previews) == len(self.suites):
            raise ValueError(
                "expected suites of which at most one is of the kind preview, and one at least is not, but "
                f"{', '.join(previews)} of {len(self.suites)} are"
            )
        if self.lifetime_minutes > self.ceiling_minutes:
            raise ValueError(
                f"expected lifetime_minutes of at most ceiling_minutes, {self.ceiling_minutes}, "
                f"but it is {self.lifetime_minutes}"
            )
        return self

    def told(self, account: str, region: str) -> dict[str, str]:
        """Returns the blueprint's own parameters at an account and Region."""
        return {**self.parameters, **self.differing(account, region)}

    def differing(self, account: str, region: str) -> dict[str, str]:
        """Returns those of them that differ there."""
        there = (each.parameters for each in self.targets if (each.account, each.region) == (account, region))
        return next(there, {})

    @property
    def told_everywhere(self) -> dict[str, str]:
        """The blueprint's own parameters that have a value at each target, by that of the first."""
        first, *others = [{**self.parameters, **each.parameters} for each in self.targets] or [self.parameters]
        return {name: value for name, value in first.items() if all(name in each for each in others)}

    def _lives_at_one_place_or_at_targets(self) -> None:
        if self.targets and (self.account or self.region):
            raise ValueError("expected targets, or account and region, but there are both")
        named = [f"{each.account}/{each.region}" for each in self.targets]
        if twice := sorted({each for each in named if named.count(each) > 1}):
            raise ValueError(f"expected targets that differ, but {', '.join(twice)} is there more than once")
        if self.prefer == "cheapest" and not self.targets:
            raise ValueError("expected targets, of which the cheapest is preferred, but there are none")
        # Whoever changes the order of targets moves nothing permanent.
        lost = [own.name for own in self.permanent if self.targets and not (own.account and own.region)]
        if lost:
            raise ValueError(
                f"expected account and region of each permanent environment where there are targets, but "
                f"{', '.join(lost)} has not both"
            )

    @field_validator("owners", "developers")
    @classmethod
    def _are_groups_of_their_own(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [group for group in groups if access.is_ours(group)]:
            raise ValueError(
                f"expected groups of the identity provider, but {', '.join(wrong)} has a meaning of its own"
            )
        return groups

    @field_validator("suites", "permanent")
    @classmethod
    def _names_differ[Named: Suite | Permanent](cls, named: tuple[Named, ...]) -> tuple[Named, ...]:
        names = [each.name for each in named]
        names += [name for each in named if isinstance(each, Suite) for name in repetitions(each.name, each.retries)]
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
    """The artifact's checksum. Only orders of an earlier version lack it."""
    manifest: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")] = "manifests/site.pp"
    """Of ``apply``: what of the artifact is applied."""
    server: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,253}$")] | None = None
    """Of ``agent``: the Puppet server. It has to sign a builder's certificate by itself."""
    environment: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")] = "production"
    """Of ``agent``: what is asked of the server."""
    package: (
        Annotated[
            str,
            StringConstraints(
                pattern=r"^([A-Za-z0-9][A-Za-z0-9+._-]{0,63}"
                r"|(s3|https)://[^\s'\"\\$`#]+\.(deb|rpm)(#sha256=[0-9a-f]{64})?)$"
            ),
        ]
        | None
    ) = None
    """The package that installs Puppet where the base image has none: a name, which apt-get or dnf verifies, or a
    location that ends with ``#sha256=`` and the checksum."""

    @model_validator(mode="after")
    def _has_what_its_mode_needs(self) -> Self:
        if (self.artifact is None, self.server is None) != (self.mode == "agent", self.mode == "apply"):
            raise ValueError("expected an artifact with mode apply, and a server with mode agent")
        return self

    @property
    def package_sha256(self) -> str | None:
        """The checksum of a package that is fetched from a location; None of a name."""
        return (self.package or "").partition("#sha256=")[2] or None

    @property
    def unverified(self) -> str:
        """Which field lacks a checksum of what a builder would run as root; "" where none does."""
        if self.artifact and not self.sha256:
            return "sha256: expected the checksum of the artifact, in 64 hexadecimal digits, but there is none"
        if self.package and "://" in self.package and not self.package_sha256:
            return f"package: expected '#sha256=' and its checksum at the end, but it is '{self.package}'"
        return ""


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
    """Where its builders and proofs live, and its images are made: a configured target."""
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
    retire: RetirePolicy = Field(default_factory=RetirePolicy)

    @property
    def everywhere(self) -> tuple[str, ...]:
        """Every Region that its images must be in, its own first."""
        return tuple(dict.fromkeys((self.region, *self.regions)))

    @field_validator("puppet")
    @classmethod
    def _is_verified(cls, puppet: Puppet) -> Puppet:
        if puppet.unverified:
            raise ValueError(puppet.unverified)
        return puppet

    @field_validator("checks")
    @classmethod
    def _checks_differ(cls, checks: tuple[Check, ...]) -> tuple[Check, ...]:
        names = [check.name for check in checks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each check once, but {', '.join(twice)} is there more often")
        return checks
