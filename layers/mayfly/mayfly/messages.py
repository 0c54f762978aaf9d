"""The doors: every message that reaches Mayfly, as a model that says what it expects.

Ours forbid what they do not know, so that a misspelt field is an error and not a silence. AWS's are tolerant:
AWS adds fields when it likes.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

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
SuiteName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$")]
Identity = Annotated[str, StringConstraints(pattern=ENVIRONMENT)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
TopicArn = Annotated[str, StringConstraints(pattern=r"^arn:[^:]+:sns:[^:]+:\d{12}:mayfly-[A-Za-z0-9_-]+$")]
"""Mayfly may publish to topics of this prefix only."""


class Message(BaseModel):
    """What is ours: unchangeable, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CodeVersionPushed(Message):
    """A CI server made a version: build an environment for each suite of its application and have it tested."""

    application: ApplicationName
    version: Version
    artifact: Line
    """Where the deploy script on each instance fetches this version from, as that script understands it."""
    commit: Line | None = None
    pushed_by: Line | None = None
    attempt: int = Field(default=1, ge=1, le=1000)
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
    minutes: int = Field(ge=1, le=30 * 24 * 60)
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
    at_most: int = Field(default=0, ge=0, le=5000)
    """Terminations let through, where it is more than the caps allow."""
    why: Line
    requested_by: Line


class Suite(Message):
    """One suite of a test plan. An automated one reports by itself, a manual one when a person says so."""

    name: SuiteName
    kind: Literal["automated", "manual"] = "automated"


class ImageChoice(Message):
    """The image family an application boots from, and the channel that points into it."""

    family: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    channel: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")] = "stable"


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
    account: Annotated[str, StringConstraints(pattern=r"^\d{12}$")] | None = None
    """The workload account; the controller's own where it is left out."""
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] | None = None
    lifetime_minutes: int = Field(default=24 * 60, ge=1, le=30 * 24 * 60)
    ceiling_minutes: int = Field(default=72 * 60, ge=1, le=30 * 24 * 60)
    """How long an environment may live with all its extensions, from its planning."""
    warn_minutes_before: tuple[Annotated[int, Field(ge=1)], ...] = (120, 30)
    suites: tuple[Suite, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _lifetime_below_ceiling(self) -> Self:
        if self.lifetime_minutes > self.ceiling_minutes:
            raise ValueError(
                f"expected lifetime_minutes of at most ceiling_minutes, {self.ceiling_minutes}, "
                f"but it is {self.lifetime_minutes}"
            )
        return self

    @field_validator("suites")
    @classmethod
    def _suites_differ(cls, suites: tuple[Suite, ...]) -> tuple[Suite, ...]:
        names = [suite.name for suite in suites]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each suite once, but {', '.join(twice)} is there more often")
        return suites


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
    lifetime_minutes: int
    ceiling_minutes: int
    warn_minutes_before: tuple[int, ...]
    begin: Literal["creation"] = "creation"


class Tolerant(BaseModel):
    """What is AWS's: fields that we do not know are AWS's business."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _StatusDetails(Tolerant):
    status: str
    reason: str = Field(default="", alias="status-reason")

    @field_validator("status")
    @classmethod
    def _known(cls, status: str) -> str:
        if status not in PHASES:
            raise ValueError("expected a stack status that CloudFormation documents")
        return status


class StackStatus(Tolerant):
    """Detail of AWS's event ``CloudFormation Stack Status Change``."""

    stack_id: Annotated[str, StringConstraints(pattern=r"^arn:[^:]+:cloudformation:[^:]+:\d{12}:stack/.+$")] = Field(
        alias="stack-id"
    )
    details: _StatusDetails = Field(alias="status-details")


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
        f"{_short('.'.join(str(part) for part in fault['loc'])) or 'message'}: "
        f"{fault['msg']}, but it is {_short(repr(fault['input']))}"
        for fault in faults[:_FAULTS_SHOWN]
    ]
    more = len(faults) - len(said)
    return "; ".join([*said, f"and {more} more"] if more else said)


_FAULTS_SHOWN = 20
"""Nobody reads more, and the dead letter has to fit into a message of SQS."""


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:120] + "…"
