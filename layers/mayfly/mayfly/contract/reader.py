"""Reads messages from events of EventBridge and notifications of SNS, and explains what is wrong with them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from aws_lambda_powertools.utilities.parser.models import EventBridgeModel, SnsModel
from pydantic import BaseModel, TypeAdapter, ValidationError

from mayfly.contract.fields import Announcement, Request, Timestamp
from mayfly.contract.requests import SweepRequested, SweepScheduled
from mayfly.contract.vocabulary import APPLICATION_SOURCE, UNKNOWN, Source

_SKEW = timedelta(minutes=5)
"""How far the sender's clock may be off. Nothing goes by it; but who sends a message of another time, sends an old one
again, or means something else than it says."""
_LONGEST_NAME = 256
_NOTIFIED = "SNS "
_CLAIMS = ("requested_by", "approved_by", "set_by", "finished_by", "closed_by")
"""Fields that say who asks. Who pushed is told by the record itself, as its push says."""
_PERSONS = (Source.API, Source.OPERATOR)
"""Who may ask for everything: the API has asked a token before, and operators are named by their policy."""


class Received[M: BaseModel](BaseModel):
    """A message with when AWS took it (UTC), the way it came, and whose it is.

    Attributes:
        source: of an event. Of a notification, that of the application whose topic it came by.
    """

    message: M
    at: Timestamp
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


def receive[M: BaseModel](model: type[M], event: object) -> Received[M]:
    """Reads a message from an event of EventBridge or a notification of SNS, as Lambda hands them over, and refuses
    those whose sender may not say it.

    Raises:
        Refused: the envelope or the message is not what it should be.
    """
    # What an execution of a later version announces besides is no business of whoever hears it.
    unknown: Literal["ignore"] | None = "ignore" if issubclass(model, Announcement) else None
    try:
        if isinstance(event, dict) and event.get("Records"):
            notifications = SnsModel.model_validate(event).Records
            if len(notifications) != 1:
                raise Refused(f"Records: expected one, as SNS sends them, but there are {len(notifications)}")
            notification = notifications[0].Sns
            message = model.model_validate_json(str(notification.Message), extra=unknown)
            source = source_of_topic(notification.TopicArn)
            via, at = f"{_NOTIFIED}{notification.MessageId}", notification.Timestamp
            received: Received[M] = Received(message=message, at=at, via=via, source=source)
        else:
            envelope = EventBridgeModel.model_validate(event)
            message = model.model_validate(envelope.detail, extra=unknown)
            via = f"EventBridge {envelope.id}"
            received = Received(message=message, at=envelope.time, via=via, source=envelope.source)
            if isinstance(message, Request):
                _check_clock(received, event)
    except ValidationError as error:
        raise Refused(explain(error)) from None
    except TypeError as error:  # Powertools' model of SNS, where it expects an object and finds something else
        raise Refused(f"Records: expected a notification of SNS, but {error}") from None
    _check_source(received)
    return _with_claims(received)


def receive_any(models: Sequence[type[Request]], event: dict[str, Any]) -> Received[Any]:
    """Receives a message of one of these models: of the one that the event names, or else of the first."""
    return receive(next((model for model in models if model.event == event.get("detail-type")), models[0]), event)


def _with_claims[M: BaseModel](received: Received[M]) -> Received[M]:
    """Marks the names of a payload as claims: none looks like one that somebody has verified."""
    said = {name: getattr(received.message, name, None) for name in _CLAIMS}
    told = {name: received.claimed(value) for name, value in said.items() if value}
    if not isinstance(received.message, Request) or not told:
        return received
    return received.model_copy(update={"message": received.message.model_copy(update=told)})


def source_of_topic(arn: str) -> str:
    """Returns the source that a topic stands for: blueprints/application.yaml names those of an application
    ``<installation>_<application>_<what>``, and neither part of it can have an underscore."""
    parts = arn.rsplit(":", 1)[-1].split("_")
    return f"{APPLICATION_SOURCE}{parts[1]}" if len(parts) == 3 else arn


def _check_source[M: BaseModel](received: Received[M]) -> None:
    message: BaseModel = received.message
    source = received.source
    if isinstance(message, Announcement):
        if source != Source.MAYFLY:
            raise Refused(f"source: expected {Source.MAYFLY}, but it is {short(source)}")
    elif isinstance(message, Request) and not received.by_person:
        also = message.also_by
        if also is None or (source != also if also != APPLICATION_SOURCE else not source.startswith(also)):
            named = f"{also}<application>" if also == APPLICATION_SOURCE else also
            expected = " or ".join(filter(None, (*_PERSONS, named)))
            raise Refused(f"source: expected {expected}, but it is {short(source)}")
        if application := getattr(message, "application", None):
            received.check_application(application)


def _check_clock[M: BaseModel](received: Received[M], event: object) -> None:
    """The rule has put EventBridge's own time in the place of the sender's, which it hands over as `sent`."""
    said = event.get("sent") if isinstance(event, dict) else None
    sent = _TIMESTAMP.validate_python(said)
    if abs(sent - received.at) > _SKEW:
        raise Refused(f"time: expected one at most 5 minutes from {received.at.isoformat()}, but it is {said}")


_TIMESTAMP = TypeAdapter(Timestamp)


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
    return Received(message=message, at=scheduled.now, via="schedule", source=Source.MAYFLY)


def explain(error: ValidationError) -> str:
    """Returns a validation error for people: the first fields, their values, and what was expected of each."""
    faults = error.errors()
    said = [
        f"{short('.'.join(str(part) for part in fault['loc'])) or 'message'}: "
        # What is wrong about several fields together names them itself; the whole document helps nobody.
        f"{fault['msg']}"
        + (
            ""
            if fault["type"] == "value_error" and isinstance(fault["input"], Mapping)
            else f", but it is {short(repr(fault['input']))}"
        )
        for fault in faults[:_FAULTS_SHOWN]
    ]
    more = len(faults) - len(said)
    return "; ".join([*said, f"and {more} more"] if more else said)


_FAULTS_SHOWN = 20
"""Nobody reads more, and the dead letter has to fit into a message of SQS."""


def short(text: str) -> str:
    """As much of a text as an error shows."""
    return text if len(text) <= 120 else text[:120] + "…"
