"""Notifications for people: which announcements are worth a mail or a line in a chat, and in which words."""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from mayfly.contract.vocabulary import UNKNOWN, EndingCause, Event, SweepAction
from mayfly.domain.identity import PROOF_APPLICATION
from mayfly.domain.text import whole_seconds

_FOR_OWNERS = (
    *(Event.RELEASE_PASSED, Event.RELEASE_FAILED),
    *(Event.ENVIRONMENT_READY, Event.ENVIRONMENT_FAILED, Event.ENVIRONMENT_EXPIRING, Event.ENVIRONMENT_TERMINATED),
    *(Event.ENVIRONMENT_INSTANCE_LOST, Event.ENVIRONMENT_ASLEEP, Event.ENVIRONMENT_AWAKE),
    Event.ROOM_RUNNING_LOW,
)
_FOR_OWNERS_ALONE = (Event.ENVIRONMENT_READY, Event.ENVIRONMENT_ASLEEP, Event.ENVIRONMENT_AWAKE)
_DEEDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    Event.ENVIRONMENT_READY: (("To keep it for longer", "extend"), ("To end it", "end")),
    Event.ENVIRONMENT_EXPIRING: (("To keep it for longer", "extend"), ("To end it", "end")),
    Event.ENVIRONMENT_ASLEEP: (("To wake it", "wake"),),
    Event.ENVIRONMENT_AWAKE: (("To have it sleep", "sleep"),),
    Event.ROLLOUT_AWAITING_APPROVAL: (("To approve it", "approve"),),
    Event.ROLLOUT_STARTED: (("To pause it", "pause"), ("To stop it and go back", "abort")),
    Event.ROLLOUT_PAUSED: (("To let it go on", "resume"), ("To stop it and go back", "abort")),
}
"""What a link opens in the console, after signing in: what is asked there is still confirmed by a person."""
_PERMANENT = "rollouts"
"""The page of permanent environments."""
_SUBJECT, _REASON = 100, 600
"""Characters: SNS takes so many of a subject, and nobody reads more of a reason."""


class Notification(Struct, frozen=True):
    """What people are told.

    Attributes:
        subject: one line of printable ASCII, as SNS wants it. text: the mail below it.
        about: what notifications of the same thing have in common; a chat makes one thread of them.
        to_owner: whether the owner of the application is told as well, on a topic of their own.
        to_owner_alone: whether nobody else is, as long as there is an owner with a topic.
    """

    subject: str
    text: str
    about: str
    to_owner: bool = False
    to_owner_alone: bool = False

    def for_chat(self) -> str:
        """Turns a notification into a custom notification of Amazon Q Developer in chat applications (schema 1.0)."""
        notification = {
            "version": "1.0",
            "source": "custom",
            "content": {"textType": "client-markdown", "title": self.subject, "description": self.text},
            "metadata": {"threadId": self.about, "summary": self.subject},
        }
        return json.dumps(notification)


def notification_of(what: str, detail: Mapping[str, Any], console: str) -> Notification | None:
    """Returns what to tell people of an event; None where it is not for them.

    Args:
        what: the event's detail type. detail: its detail.
        console: where the console is, "" for nowhere.
    """
    subject, about, page = _subject(what, detail)
    if not subject:
        return None
    lines = [_short(str(detail[key])) for key in ("reason", "halted", "why") if detail.get(key)]
    if who := detail.get("requested_by") or detail.get("set_by"):
        lines.append(f"Asked for by {who}.")
    lines += _of_this(what, detail)
    lines += [_of_suite(suite) for suite in detail.get("suites", ()) if suite.get("tests") or suite.get("log")]
    if console:
        address, deeds = f"{console.rstrip('/')}/#/{page}", () if page == _PERMANENT else _DEEDS.get(what, ())
        lines += [address, *(f"{label}: {address}?do={name}" for label, name in deeds)]
    text = whole_seconds("\n\n".join(lines) or subject)
    return Notification(_printable(subject), text, about, what in _FOR_OWNERS, what in _FOR_OWNERS_ALONE)


def _subject(what: str, detail: Mapping[str, Any]) -> tuple[str, str, str]:
    """Returns the subject, what it is about, and its page in the console; three times "" for what is not told."""
    release, application, version = (str(detail.get(key, "?")) for key in ("release", "application", "version"))
    match what:
        case Event.RELEASE_PASSED | Event.RELEASE_FAILED:
            verdict = "passed" if what == Event.RELEASE_PASSED else "FAILED"
            return f"{application} {version} {verdict}", release, f"releases/{release}"
        case Event.SWEEP_HALTED:
            ends = detail.get("counts", {}).get(SweepAction.END, "?")
            return f"A sweep was halted before ending {ends} environments", "sweep", "sweeps"
        case Event.ROOM_RUNNING_LOW:
            whose = detail.get("name") or "the installation"
            is_money = detail.get("what") == "usd"
            bound = f"budget for {detail.get('period')}" if is_money else f"ceiling of {detail.get('what')}"
            return f"{whose}: {detail.get('percent')} % of the {bound}", f"room of {whose}", ""
        case Event.KILL_SWITCH_TURNED:
            return f"Kill switch {'ON: nothing is destroyed' if detail.get('on') else 'off'}", "kill-switch", ""
    if what in (Event.ENVIRONMENT_ASLEEP, Event.ENVIRONMENT_AWAKE):
        environment, does = (
            str(detail.get("environment", "?")),
            "sleeps" if what == Event.ENVIRONMENT_ASLEEP else "wakes",
        )
        page = f"environments/{environment}" if detail.get("release") else _PERMANENT
        return f"{environment} {does}", environment, page
    if said := _of_environment(what, detail):
        return said, release, f"environments/{detail.get('environment', '?')}"
    return _of_images_and_rollouts(what, detail)


def _of_environment(what: str, detail: Mapping[str, Any]) -> str:
    """Returns the subject of what became of an environment; "" for what is not told."""
    known = (str(detail.get(key, "?")) for key in ("environment", "application", "version", "suite"))
    environment, application, version, suite = known
    match what:
        case Event.ENVIRONMENT_FAILED:
            left = " and may not be gone" if detail.get("instances_left") == UNKNOWN else ""
            return f"Environment of {application} {version}, suite {suite}, failed{left}"
        case Event.ENVIRONMENT_READY if application != PROOF_APPLICATION:
            return f"{application} {version} {suite} is ready: {environment}"
        case Event.ENVIRONMENT_INSTANCE_LOST:
            return f"An instance of {application} {version}, suite {suite}, was lost while it was tested"
        case Event.ENVIRONMENT_TERMINATED if _has_lost(detail):
            return f"{detail['instances_failed']} instances of {application} {version}, suite {suite}, failed"
        case Event.ENVIRONMENT_EXPIRING:
            return f"{application} {suite} ends in {detail.get('minutes_left', '?')} min: {environment}"
    return ""


def _has_lost(detail: Mapping[str, Any]) -> bool:
    """Tells whether instances failed under the tests. Of an environment that could not be built, its failure tells."""
    return bool(detail.get("instances_failed")) and detail.get("ending", {}).get("by") != EndingCause.FAILURE


def _of_images_and_rollouts(what: str, detail: Mapping[str, Any]) -> tuple[str, str, str]:
    family, image = detail.get("family", "?"), detail.get("image", "?")
    match what:
        case Event.IMAGE_BAKED:
            return f"New image of {family}: {image}", str(family), "images"
        case Event.IMAGE_REJECTED:
            return f"Bake of {family} REJECTED: {detail.get('bake', '?')}", str(family), "images"
        case Event.IMAGE_PROMOTED | Event.IMAGE_ROLLED_BACK:
            way = "promoted to" if what == Event.IMAGE_PROMOTED else "ROLLED BACK to"
            return f"{family}/{detail.get('channel', '?')} {way} {image}", str(family), "images"
    if what.startswith("Rollout "):  # whatever becomes of one
        service = detail.get("service", "?")
        rollout = str(detail.get("rollout", service))
        return f"{what}: {service}", rollout, f"rollout/{rollout}"
    return "", "", ""


def _of_this(what: str, detail: Mapping[str, Any]) -> list[str]:
    """Returns what else people are told of an environment, by what became of it."""
    match what:
        case Event.ENVIRONMENT_READY:
            return _ready(detail)
        case Event.ENVIRONMENT_INSTANCE_LOST:
            return ["What its tests find may be worth nothing. Its group launches another one in its place."]
        case Event.ENVIRONMENT_EXPIRING:
            return _expiring(detail)
        case Event.ENVIRONMENT_ASLEEP | Event.ENVIRONMENT_AWAKE:
            return [_sleep(detail, asleep=what == Event.ENVIRONMENT_ASLEEP)]
        case Event.ENVIRONMENT_TERMINATED:
            said = ", ".join(f"{count} {cause}" for cause, count in detail.get("failures", {}).items())
            return [f"What its tests found may be worth nothing. Of its instances, {said}."]
    return []


def _ready(detail: Mapping[str, Any]) -> list[str]:
    outputs = {name: str(value) for name, value in sorted((detail.get("outputs") or {}).items())}
    addresses = [f"{name}: {value}" for name, value in outputs.items() if value.startswith(("http://", "https://"))]
    count = detail.get("instances", "?")
    return [
        f"{count} instance{'' if count == 1 else 's'}; it ends at {detail.get('deadline', '?')}.",
        *([_short("\n".join(addresses))] if addresses else []),
    ]


def _sleep(detail: Mapping[str, Any], asleep: bool) -> str:
    environment, at = detail.get("environment"), detail.get("wakes_at" if asleep else "sleeps_at")
    now = "No instance of it runs until then" if asleep else "Its instances boot and deploy as they did first"
    then = f"{'wakes' if asleep else 'sleeps again'} {f'at {at}' if at else 'when somebody asks for it'}"
    ask = f"mayfly {'wake' if asleep else 'sleep'} {environment} --for 8h --why '...'"
    return f"It {then}. {now}. Whoever needs it otherwise: {ask}"


def _of_suite(suite: Mapping[str, Any]) -> str:
    """Tells how a suite's tests went that Mayfly has run."""
    tests = suite.get("tests") or {}
    counted = [f"{tests['tests']} tests, {tests['failures']} failed"] if tests else []
    named = [f"failed: {', '.join(tests['failed'])}"] if tests.get("failed") else []
    kept = [f"{name}: {suite[name]}" for name in ("report", "log") if suite.get(name)]
    said = "; ".join([str(suite.get("outcome")), *counted, *named, *kept])
    return _short(f"{suite.get('suite')} {said}")


def _expiring(detail: Mapping[str, Any]) -> list[str]:
    environment = detail.get("environment")
    return [
        f"{environment} is terminated at {detail.get('deadline', '?')}, with all that is in it.",
        f"To keep it longer, until {detail.get('ceiling', '?')} at most: mayfly extend {environment} 60 --why '...'",
        f"Or put on the bus, as '{Event.ENVIRONMENT_EXTENSION_REQUESTED}': {json.dumps(detail.get('to_extend', {}))}",
    ]


def _short(text: str) -> str:
    return text if len(text) <= _REASON else text[:_REASON] + "…"


def _printable(text: str) -> str:
    """Turns a subject into one that SNS takes: printable ASCII, no line breaks, at most 100 characters."""
    plain = " ".join(text.encode("ascii", "replace").decode().split())
    return "".join(letter for letter in plain if letter.isprintable())[:_SUBJECT]
