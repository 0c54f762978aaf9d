"""Reads dead letters: four senders write them in four ways, and all become one."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import ValidationError

from mayfly.contract.fields import Part
from mayfly.contract.vocabulary import UNKNOWN, DeadLetterKind
from mayfly.domain.text import clean

TOPICS = {
    "code-versions": "accept-code-version",
    "test-results": "accept-test-result",
    "base-images": "accept-bake",
}
"""Whose each topic's notifications are. A dead letter of SNS does not say it."""


class DeadLetter(Part):
    """A message that could not be followed, whole, with the reason."""

    id: str
    """The same message for the same function has the same one, however often it comes back."""
    kind: DeadLetterKind
    function: str
    event: str
    """Its detail type, or its topic."""
    reason: str
    message: Any
    """What the function was handed, or was to be."""


class _OfFunction(Part):
    """What `mayfly.aws.dead_letters` sends of a message that a function refused."""

    function: str
    reason: str
    message: Any


class _OfLambda(Part):
    """What Lambda sends to the destination on failure of an asynchronous invocation."""

    class Context(Part):
        functionArn: str  # noqa: N815 - AWS's own name
        condition: str = UNKNOWN

    requestContext: Context  # noqa: N815
    requestPayload: Any  # noqa: N815
    responsePayload: Any = None  # noqa: N815


class _OfSns(Part):
    """A notification as SNS hands it to a dead-letter queue."""

    Type: Literal["Notification"]
    MessageId: str
    TopicArn: str
    Message: str


def read(body: str, attributes: Mapping[str, str], sqs_id: str) -> DeadLetter:
    """Reads the dead letter that a message of the queue is. One that nobody knows is kept as it is."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = body
    try:
        kind, function, reason, message = _sorted(said, attributes)
    except ValidationError as error:
        kind, function, reason, message = DeadLetterKind.UNREADABLE, UNKNOWN, str(error), said
    identity = hashlib.sha256(f"{function} {_identity_of(message) or sqs_id}".encode()).hexdigest()[:16]
    # What an event calls itself, and whatever went wrong with it, may be anybody's text.
    event, reason = clean(_event_of(message)), clean(reason)
    return DeadLetter(id=f"dl-{identity}", kind=kind, function=function, event=event, reason=reason, message=message)


def _sorted(said: Any, attributes: Mapping[str, str]) -> tuple[DeadLetterKind, str, str, Any]:
    """Kind, function, reason and message."""
    if rule := attributes.get("RULE_ARN"):
        tried = f"{attributes.get('RETRY_ATTEMPTS', '0')} retries of {rule.rpartition('/')[2]}"
        failure = f"{attributes.get('ERROR_CODE', UNKNOWN)}: {attributes.get('ERROR_MESSAGE', '')}"
        # As it was put on the bus: the rule would have handed the sender's time over beside EventBridge's own.
        message = {"sent": said.get("time")} | said if isinstance(said, dict) else said
        return DeadLetterKind.UNDELIVERED, _name(attributes.get("TARGET_ARN", "")), f"{failure} ({tried})", message
    if isinstance(said, dict):
        if {"function", "reason", "message"} <= said.keys():
            ours = _OfFunction.read(said)
            return DeadLetterKind.REFUSED, ours.function, ours.reason, ours.message
        if "requestPayload" in said:
            failed = _OfLambda.read(said)
            function = _name(failed.requestContext.functionArn)
            return DeadLetterKind.FAILED, function, _failure(failed), failed.requestPayload
        if said.get("Type") == "Notification":
            note = _OfSns.read(said)
            stack, function = _of_topic(note.TopicArn)
            failure = f"{attributes.get('ErrorCode', UNKNOWN)}: {attributes.get('ErrorMessage', '')}"
            return DeadLetterKind.UNDELIVERED, f"{stack}-{function}", failure, _as_invoked(said)
    return DeadLetterKind.UNREADABLE, UNKNOWN, "it is none of the ways in which dead letters come", said


def _failure(failed: _OfLambda) -> str:
    """Tells why the function failed: its error, or Lambda's own reason where it was never run."""
    error = failed.responsePayload
    if isinstance(error, dict) and error.get("errorMessage"):
        return f"{error.get('errorType', 'Error')}: {error['errorMessage']}"
    return failed.requestContext.condition


def _name(arn: str) -> str:
    """Returns a function's name as its ARN says it, with a version or an alias behind it or not."""
    return (arn.split(":") + [""] * 7)[6] or UNKNOWN


def _of_topic(arn: str) -> tuple[str, str]:
    """Returns the stack of a topic, and whose notifications it has."""
    topic = arn.rpartition(":")[2]
    if len(parts := topic.split("_")) == 3:  # of an application, as blueprints/application.yaml calls its own
        return parts[0], TOPICS.get(parts[2], UNKNOWN)
    ending = next((each for each in TOPICS if topic.endswith(f"-{each}")), "")
    return topic.removesuffix(f"-{ending}"), TOPICS.get(ending, UNKNOWN)


def _as_invoked(note: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a notification as SNS hands it to a function, which writes two of its fields differently."""
    renamed = {"SigningCertURL": "SigningCertUrl", "UnsubscribeURL": "UnsubscribeUrl"}
    sns = {"Subject": None, "MessageAttributes": {}} | {renamed.get(key, key): value for key, value in note.items()}
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": note["TopicArn"], "Sns": sns}
    return {"Records": [record]}


def _note_of(message: Any) -> Mapping[str, Any]:
    try:
        return dict(message["Records"][0]["Sns"])
    except (KeyError, IndexError, TypeError, ValueError):
        return {}


def _identity_of(message: Any) -> str:
    """Tells how AWS tells this message from every other: it stays the same when the message is redriven."""
    envelope = message if isinstance(message, dict) else {}
    return str(envelope.get("id") or _note_of(message).get("MessageId") or "")


def _event_of(message: Any) -> str:
    envelope = message if isinstance(message, dict) else {}
    topic = str(_note_of(message).get("TopicArn", "")).rpartition(":")[2]
    return str(envelope.get("detail-type") or topic or UNKNOWN)[:200]
