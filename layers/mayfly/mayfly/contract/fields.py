"""Field types that messages share, and their base models: ours forbid unknown fields, AWS's ignore them."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from mayfly.contract.vocabulary import Event
from mayfly.domain.identity import ENVIRONMENT
from mayfly.domain.text import clean

Branch = Annotated[str, StringConstraints(pattern=r"^[^\s~^:?*\[\\\x00-\x1f\x7f]{1,255}$")]
"""As Git may call one: its versions follow one another."""
ApplicationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,18}[a-z0-9]$")]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}$")]
SuiteName = Annotated[str, StringConstraints(pattern=r"^[a-z](-?[a-z0-9])*$", max_length=16)]
"""Without two hyphens in a row: in a resource's name, they come after the environment's."""
Identity = Annotated[str, StringConstraints(pattern=ENVIRONMENT)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""What a forge knows it by. It becomes a part of an address there."""
_LONGEST = 1024
# What is too long as it was sent is not cleaned, which may shorten it: it is refused for its length.
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=_LONGEST),
    BeforeValidator(lambda said: clean(said) if isinstance(said, str) and len(said) <= _LONGEST else said),
]
"""Whatever people and programs write; cleaned here, once, of what a terminal, a mail or a page would obey."""
TopicArn = Annotated[str, StringConstraints(pattern=r"^arn:[^:]+:sns:[^:]+:\d{12}:mayfly-[A-Za-z0-9_-]+$")]
"""Mayfly may publish to topics of this prefix only."""
ConnectionArn = Annotated[
    str,
    StringConstraints(pattern=r"^arn:[^:]+:events:[^:]+:\d{12}:connection/mayfly-[A-Za-z0-9._-]+/[0-9a-f-]{36}$"),
]
"""Mayfly may use connections of this prefix only."""
PullRequest = Annotated[int, Field(ge=1, le=10**9)]
PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
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
ReportToken = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
DeadLetterId = Annotated[str, StringConstraints(pattern=r"^dl-[0-9a-f]{16}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Message(BaseModel):
    """What is ours: unchangeable, and nothing unknown in it."""

    # A function needs one or two of these models: the others are not built at its cold start.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class EventDetail(Message):
    """The detail of an event on Mayfly's bus. A class names its event (the detail type) with the keyword `event`."""

    event: ClassVar[Event]

    def __init_subclass__(cls, event: Event | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if event:
            cls.event = event


class Request(EventDetail):
    """What others ask of Mayfly. The API and an operator may ask for everything; a class names who may besides."""

    also_by: ClassVar[str | None] = None
    """A source, or `APPLICATION_SOURCE`: whoever speaks for the application that the request is about."""

    def __init_subclass__(cls, also_by: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.also_by = also_by


class Announcement(EventDetail):
    """What Mayfly says."""

    # A field's name may be a word of Python's: `from`.
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)


class Tolerant(BaseModel):
    """What is AWS's: fields that we do not know are AWS's business."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


def _timestamp(at: datetime) -> datetime:
    """Returns a timestamp that can be reckoned with: who puts an event on the bus may write any time."""
    if at.tzinfo is None or not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"expected a timestamp from {_FIRST_YEAR} to {_LAST_YEAR}, with its time zone")
    return at


_FIRST_YEAR, _LAST_YEAR = 2020, 2200
Timestamp = Annotated[datetime, AfterValidator(_timestamp)]
