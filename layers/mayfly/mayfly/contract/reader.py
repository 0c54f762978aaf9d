"""Reads messages from events of EventBridge and notifications of SNS, and explains what is wrong with them."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from msgspec import ValidationError, convert, field
from msgspec.structs import replace

from mayfly.contract.fields import Announcement, Part, from_json, short, timestamp
from mayfly.contract.vocabulary import APPLICATION_SOURCE, UNKNOWN, Source

if TYPE_CHECKING:
    from mayfly.contract.messages import Request
    from mayfly.contract.requests import SweepRequested

_SKEW = timedelta(minutes=5)
"""How far the sender's clock may be off. Nothing goes by it; but who sends a message of another time, sends an old one
again, or means something else than it says."""
_LONGEST_NAME = 256
_NOTIFIED = "SNS "
_CLAIMS = ("requested_by", "approved_by", "set_by", "finished_by", "closed_by")
"""Fields that say who asks. Who pushed is told by the record itself, as its push says."""
_PERSONS = (Source.API, Source.OPERATOR)
"""Who may ask for everything: the API has asked a token before, and operators are named by their policy."""


class Readable(Protocol):
    """What a message can be."""

    @classmethod
    def read(cls, said: Any) -> Self:
        """Reads it as it was sent."""


class _Event(Part):
    """An event of EventBridge, as a rule hands it over."""

    detail_type: str = field(name="detail-type")
    version: str
    id: str
    source: str
    account: str
    region: str
    resources: tuple[str, ...]
    time: datetime
    detail: dict[str, Any]
    sent: Any = None
    """The sender's time: the rule has put EventBridge's own in its place."""


class _Notification(Part):
    Type: Literal["Notification"]
    MessageId: str
    TopicArn: str
    Timestamp: datetime
    Message: str


class _Record(Part):
    EventSource: Literal["aws:sns"]
    Sns: _Notification


class _Notifications(Part):
    """Notifications of SNS, as it hands them over."""

    Records: tuple[_Record, ...]


class Received[M](Part):
    """A message with when AWS took it (UTC), the way it came, and whose it is.

    Attributes:
        source: of an event. Of a notification, that of the application whose topic it came by.
    """

    message: M
    at: datetime
    via: str
    source: str

    @property
    def by_person(self) -> bool:
        """Whether a person asked: through the API, or as an operator."""
        return self.source in _PERSONS

    @property
    def sender(self) -> str:
        """Who has sent it, and on which way, for people."""
        return f"by {'a notification' if self.via.startswith(_NOTIFIED) else 'an event'} of {self.source}"

    def claimed(self, name: str) -> str:
        """Returns a name in the message as it is shown: what the API knows of a token is that name; in the mouth of any
        other source, also of operators, it is what they say."""
        if self.source == Source.API:
            return name
        says = f" (says {self.source})"
        return name[: max(0, _LONGEST_NAME - len(says))] + says

    def check_person(self) -> None:
        """Lets pass who is no program.

        Raises:
            Refused: the source is an application's.
        """
        if not self.by_person:
            raise Refused(f"source: expected {' or '.join(_PERSONS)}, but it is {short(self.source)}")

    def check_application(self, application: object) -> None:
        """Lets pass who may ask for something that concerns this application.

        Raises:
            Refused: the source speaks for another application.
        """
        lost = application == UNKNOWN  # the record was, and with it whose it is: a person may ask
        if self.source.startswith(APPLICATION_SOURCE) and (lost or self.source != f"{APPLICATION_SOURCE}{application}"):
            expected = " or ".join(_PERSONS) if lost else f"{APPLICATION_SOURCE}{application}"
            raise Refused(f"source: expected {expected}, but it is {short(self.source)}")


class Refused(Exception):
    """A message that cannot be understood or followed; the text names field, value and what was expected."""


def receive[M: Readable](model: type[M], event: object) -> Received[M]:
    """Reads a message from an event of EventBridge or a notification of SNS, as Lambda hands them over, and refuses
    those whose sender may not say it.

    Raises:
        Refused: the envelope or the message is not what it should be.
    """
    try:
        if isinstance(event, dict) and event.get("Records"):
            notifications = _Notifications.read(event).Records
            if len(notifications) != 1:
                raise Refused(f"Records: expected one, as SNS sends them, but there are {len(notifications)}")
            notification = notifications[0].Sns
            message = model.read(from_json(notification.Message))
            source = source_of_topic(notification.TopicArn)
            via, at = f"{_NOTIFIED}{notification.MessageId}", notification.Timestamp
            received = Received(message=message, at=_checked(at), via=via, source=source)
        else:
            envelope = _Event.read(event)
            message = model.read(envelope.detail)
            via = f"EventBridge {envelope.id}"
            at = _checked(envelope.time)
            received = Received(message=message, at=at, via=via, source=envelope.source)
            if not isinstance(message, Part):
                _check_clock(envelope)
    except ValidationError as error:
        raise Refused(str(error)) from None
    except RecursionError:
        raise Refused("message: expected fewer objects and arrays in one another") from None
    _check_source(received)
    return _with_claims(received)


def receive_any(models: Sequence[type["Request"]], event: dict[str, Any]) -> Received[Any]:
    """Receives a message of one of these models: of the one that the event names, or else of the first."""
    return receive(next((model for model in models if model.event == event.get("detail-type")), models[0]), event)


def _checked(at: datetime) -> datetime:
    try:
        return timestamp(at)
    except ValueError as error:
        raise Refused(f"time: {error}") from None


def _with_claims[M](received: Received[M]) -> Received[M]:
    """Marks the names of a payload as claims: none looks like one that somebody has verified."""
    message: Any = received.message
    said = {name: getattr(message, name, None) for name in _CLAIMS}
    told = {name: received.claimed(value) for name, value in said.items() if value}
    if isinstance(message, Part) or not told:
        return received
    return replace(received, message=message.model_copy(update=told))


def source_of_topic(arn: str) -> str:
    """Returns the source that a topic stands for: blueprints/application.yaml names those of an application
    ``<installation>_<application>_<what>``, and neither part of it can have an underscore."""
    parts = arn.rsplit(":", 1)[-1].split("_")
    return f"{APPLICATION_SOURCE}{parts[1]}" if len(parts) == 3 else arn


def _check_source(received: Received[Any]) -> None:
    message, source = received.message, received.source
    if isinstance(message, Announcement):
        if source != Source.MAYFLY:
            raise Refused(f"source: expected {Source.MAYFLY}, but it is {short(source)}")
    elif not isinstance(message, Part) and not received.by_person:
        also = message.also_by
        if also is None or (source != also if also != APPLICATION_SOURCE else not source.startswith(also)):
            named = f"{also}<application>" if also == APPLICATION_SOURCE else also
            expected = " or ".join(filter(None, (*_PERSONS, named)))
            raise Refused(f"source: expected {expected}, but it is {short(source)}")
        if application := getattr(message, "application", None):
            received.check_application(application)


def _check_clock(envelope: _Event) -> None:
    at, sent = envelope.time, None
    with suppress(ValidationError):
        sent = convert(envelope.sent, datetime)
    if sent is None or sent.tzinfo is None or abs(sent - at) > _SKEW:
        said = short(str(envelope.sent))
        raise Refused(f"time: expected one at most 5 minutes from {at.isoformat()}, but it is {said}")


def receive_sweep(event: object) -> Received["SweepRequested"]:
    """Reads what is asked of a sweep: by an event on the bus, by the schedule, or by hand like by the schedule.

    Raises:
        Refused: it is not what it should be.
    """
    from mayfly.contract.requests import SweepRequested, SweepScheduled

    if isinstance(event, dict) and "detail-type" in event:
        return receive(SweepRequested, event)
    try:
        scheduled = SweepScheduled.read(event)
    except ValidationError as error:
        raise Refused(str(error)) from None
    message = SweepRequested(why="schedule", requested_by="schedule", dry_run=scheduled.dry_run)
    return Received(message=message, at=scheduled.now, via="schedule", source=Source.MAYFLY)
