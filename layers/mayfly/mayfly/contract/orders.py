"""The inputs of executions: all that one life, bake, move or rollout needs to know.

An execution that one version of Mayfly began is continued by the functions of another: those of the next after an
upgrade, those of the one before after going back. So whatever a version adds to an input has a default, and what a
version does not know is ignored. Messages from outside stay strict.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import field
from msgspec.structs import replace

from mayfly.contract.fields import (
    ApplicationName,
    ChannelName,
    FamilyName,
    Identity,
    ImageId,
    Line,
    Part,
    PoolName,
    PullRequest,
    SuiteName,
    TopicArn,
    Version,
)
from mayfly.contract.vocabulary import UNKNOWN, Begin, RolloutCause, SuiteKind
from mayfly.domain.lease import MOST_EXTENSIONS


class Move(Part):
    """What an execution of promote_image is to do: to point a channel to an image, or back to the one before."""

    family: FamilyName
    channel: ChannelName
    action: Literal["promote", "roll back"] = "promote"
    image: ImageId | None = None
    why: Line
    requested_by: Line
    by_policy: bool = False
    """Whether nobody but a policy asks. It does not undo what a person has rolled back."""

    def __post_init__(self) -> None:
        if self.action == "promote" and self.image is None:
            raise ValueError("expected an image to promote")


class Blueprint(Part):
    """A blueprint as it was when the release was planned: an object of the blueprints bucket, with its version."""

    key: str
    version_id: str | None


class Anywhere(Part):
    """An account and Region, of an execution that may go on there."""

    account: str
    region: str


class Choice(Part):
    """Where an environment may be built, of all that its order asks of admission."""

    places: tuple[Anywhere, ...] = ()


class Subject(Part):
    """Whose life an execution is. What it ends by a sweep is known by no more than this, from tags alone."""

    environment: Identity
    account: str
    region: str
    application: str = UNKNOWN
    release: str = UNKNOWN
    version: str = UNKNOWN
    suite: str = UNKNOWN
    kind: str = UNKNOWN
    owner: str = UNKNOWN
    pull_request: int | None = None
    repetitions: tuple[Identity, ...] = ()
    begin: Begin = Begin.CREATION
    """Where its execution begins: a new life with its creation, one that a sweep adopted with what is left of it."""
    deadline: datetime | None = None
    ceiling: datetime | None = None
    """Of a life that is adopted: no extension reaches past it."""
    aborted: bool = False
    """Whether an adopted life was broken off before its tests could begin."""
    why: str = ""
    demand: Choice = field(default_factory=Choice)
    """Of a new life: where it may go on when EC2 has no capacity for it here."""

    @property
    def target(self) -> str:
        """Where it is, as admission names it."""
        return f"{self.account}/{self.region}"

    @property
    def targets(self) -> tuple[str, ...]:
        """Where it may be built, the best first, if there are several such places."""
        return tuple(f"{each.account}/{each.region}" for each in self.demand.places)


class Pool(Part):
    """A pool as it was when the release was planned."""

    name: PoolName
    range: str
    prefix: int


class Place(Part):
    """An account and Region where an environment may be built, and what differs there.

    Attributes:
        image: that of the channel in this Region.
        parameters: the blueprint's own that differ there.
        burst, launches_a_second: of EC2's bucket of tokens there.
    """

    account: str
    region: str
    image: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    burst: int = 1000
    launches_a_second: int = 2

    @property
    def target(self) -> str:
        """As admission names it."""
        return f"{self.account}/{self.region}"


class Demand(Part):
    """What an environment asks of admission, and what bounds it, as it was when its release was planned.

    Attributes:
        takes: of each quota, by the keys of `domain.needs.QUOTAS`.
        cents: US cents that it costs at most, at list prices, if it lives as long as it is planned to.
        ceilings: the most of each counter of its application, its owner and the installation; as `domain.room`
            names them.
        budgets: US cents a day and a month, by ``<scope>|day`` and ``<scope>|month``.
        refuses: the scopes whose ceilings and budgets refuse what does not fit.
        warns: from how many per cent of them on people are warned, by scope.
        members: how many environments of its release are admitted together.
        burst, launches_a_second: of EC2's bucket of tokens where it is built.
        places: where it may be built, the best first; none where that is only where its order says.
    """

    takes: dict[str, int] = field(default_factory=dict)
    cents: int = 0
    ceilings: dict[str, int] = field(default_factory=dict)
    budgets: dict[str, int] = field(default_factory=dict)
    refuses: tuple[str, ...] = ()
    warns: dict[str, int] = field(default_factory=dict)
    weight: int = 1
    priority: int = 5
    members: int = 1
    burst: int = 1000
    launches_a_second: int = 2
    places: tuple[Place, ...] = ()


class Runner(Part):
    """Who runs the tests, as far as functions start them or wait for them: the rest is for its state machine."""

    type: str = ""
    minutes: int = 60
    script: str = ""
    instances: Literal["one", "all"] = "one"
    report: str | None = None
    body: dict[str, Any] | str = ""
    encoding: str = "json"


class Order(Part):
    """All that one environment's life needs to know: the input of its execution. Nothing is looked up later, so
    that all suites of a release get the same image and blueprint, and a repetition gets them again."""

    environment: Identity
    release: Identity
    application: ApplicationName
    version: Version
    artifact: Line
    commit: Line | None = None
    pull_request: PullRequest | None = None
    branch: str | None = None
    suite: SuiteName
    kind: SuiteKind
    runner: dict[str, Any] | None = None
    """Who runs its tests, as it is configured (`contract.runners`)."""
    repetitions: tuple[Identity, ...] = ()
    """The environments in which its suite is tried again, one after the other, after it failed or broke."""
    owner: Line
    owner_topic: TopicArn | None = None
    account: str
    region: str
    """Where it is built, once it is admitted: before, the best of the places that its demand names."""
    blueprint: Blueprint
    parameters: dict[str, str]
    declared: tuple[str, ...] | None = None
    """The parameters that the blueprint declares; None of an order that an earlier version planned: all are passed."""
    express: bool = False
    """Whether CloudFormation builds it in Express mode: Mayfly then confirms itself what gets ready later."""
    tells_boot: bool = False
    """Whether its instances say by their tags when they are ready."""
    pool: Pool | None = None
    instance_count: int | None
    """How many instances have to run; None where the blueprint itself says so."""
    image: str | None = None
    """The id of the image (AMI) that instances boot; None if the blueprint does not declare ImageId."""
    channel: Line | None = None
    """``family/channel`` that pointed to the image when this was planned."""
    lifetime_minutes: int
    ceiling_minutes: int
    warn_minutes_before: tuple[int, ...]
    most_extensions: int = MOST_EXTENSIONS
    demand: Demand = field(default_factory=Demand)
    """What it asks of admission; of an order that an earlier version planned, nothing: it is built at once."""
    begin: Begin = Begin.CREATION

    @property
    def tested_by(self) -> Runner | None:
        """Who runs its tests, if anybody does."""
        return Runner.read(self.runner) if self.runner else None

    @property
    def told(self) -> dict[str, str]:
        """The blueprint's own parameters where it is built."""
        places = (each for each in self.demand.places if (each.account, each.region) == (self.account, self.region))
        return {**self.parameters, **next((each.parameters for each in places), {})}

    def staying(self) -> "Order":
        """The same, to be built where it says and nowhere else: its execution was begun by a version of Mayfly that
        does not listen for another place."""
        return replace(self, demand=replace(self.demand, places=()))


class Puppet(Part):
    """Says how Puppet configures a builder instance, as the family's configuration said when the bake was planned."""

    mode: Literal["apply", "agent"]
    artifact: str | None = None
    sha256: str | None = None
    manifest: str = "manifests/site.pp"
    server: str | None = None
    environment: str = "production"
    package: str | None = None


class Builder(Part):
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
    """Where the log is left; `{builder}` in it stands for the builder's ARN."""
    minutes: int
    expires_at: str


class Bake(Part):
    """All that one bake needs to know once it is planned: nothing is looked up later."""

    bake: Identity
    family: FamilyName
    account: str
    region: str
    builder: Builder
    proof: dict[str, Any]
    """The order of the environment that proves the image, as far as it is known before there is one."""
    burst: int = 1000
    launches_a_second: int = 2
    """EC2's bucket of tokens where the builder is launched. A bake that an earlier version planned has AWS's own."""


class Setup(Part):
    """What a permanent environment consists of: all that a rollout changes, and can change back."""

    image: str
    version: str
    artifact: str
    blueprint: Blueprint | None
    """None where only its stack knows: the template then stays as it is."""
    parameters: dict[str, str]
    instance_count: int


class Rollout(Part):
    """All that one rollout needs to know: the input of its execution. Nothing is looked up later, so that it goes
    back to exactly what was there before, whatever is configured meanwhile."""

    rollout: Identity
    service: Identity
    application: ApplicationName
    account: str
    region: str
    cause: RolloutCause
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
    burst: int = 1000
    launches_a_second: int = 2
    """EC2's bucket of tokens there. A rollout that an earlier version planned has AWS's own."""
