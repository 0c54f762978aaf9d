"""Telling people: what of all that Mayfly announces is worth a mail or a line in a chat, and in which words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SUBJECT, _REASON = 100, 600
"""Characters: SNS takes so many of a subject, and nobody reads more of a reason."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What people are told.

    Attributes:
        subject: one line of printable ASCII, as SNS wants it. text: the mail below it.
        about: what tellings of the same thing have in common; a chat makes one thread of them.
        to_owner: whether the owner of the application is told as well, on a topic of their own.
    """

    subject: str
    text: str
    about: str
    to_owner: bool = False

    def for_chat(self) -> str:
        """The same as a custom notification of Amazon Q Developer in chat applications (schema 1.0)."""
        notification = {
            "version": "1.0",
            "source": "custom",
            "content": {"textType": "client-markdown", "title": self.subject, "description": self.text},
            "metadata": {"threadId": self.about, "summary": self.subject},
        }
        return json.dumps(notification)


def tell(what: str, detail: Mapping[str, Any], console: str) -> Telling | None:
    """What to tell people of an event; None where it is not for them.

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
    if what == "Environment Expiring":
        lines.append(f"To keep it longer: mayfly extend {detail.get('environment')} 60 --why '...'")
    if console:
        lines.append(f"{console.rstrip('/')}/#/{page}")
    owners = what in ("Release Passed", "Release Failed", "Environment Failed")
    return Telling(_printable(subject), "\n\n".join(lines) or subject, about, owners)


def _subject(what: str, detail: Mapping[str, Any]) -> tuple[str, str, str]:
    """The subject, what it is about, and its page in the console; three times "" for what is not told."""
    known = {key: detail.get(key, "?") for key in ("release", "environment", "application", "version", "suite")}
    release, environment, application, version, suite = known.values()
    match what:
        case "Release Passed" | "Release Failed":
            verdict = "passed" if what == "Release Passed" else "FAILED"
            return f"{application} {version} {verdict}", str(release), f"releases/{release}"
        case "Environment Failed":
            left = " and may not be gone" if detail.get("instances_left") == "unknown" else ""
            said = f"Environment of {application} {version}, suite {suite}, failed{left}"
            return said, str(release), f"environments/{environment}"
        case "Environment Expiring":
            said = f"{application} {suite} ends in {detail.get('minutes_left', '?')} min: {environment}"
            return said, str(release), f"environments/{environment}"
        case "Sweep Halted":
            ends = detail.get("counts", {}).get("end", "?")
            return f"A sweep was halted before ending {ends} environments", "sweep", "sweeps"
        case "Kill Switch Turned":
            return f"Kill switch {'ON: nothing is destroyed' if detail.get('on') else 'off'}", "kill-switch", ""
    return _of_images_and_rollouts(what, detail)


def _of_images_and_rollouts(what: str, detail: Mapping[str, Any]) -> tuple[str, str, str]:
    family, image = detail.get("family", "?"), detail.get("image", "?")
    match what:
        case "Image Baked":
            return f"New image of {family}: {image}", str(family), "images"
        case "Image Rejected":
            return f"Bake of {family} REJECTED: {detail.get('bake', '?')}", str(family), "images"
        case "Image Promoted" | "Image Rolled Back":
            way = "promoted to" if what == "Image Promoted" else "ROLLED BACK to"
            return f"{family}/{detail.get('channel', '?')} {way} {image}", str(family), "images"
    if what.startswith("Rollout "):
        service = detail.get("service", "?")
        return f"{what}: {service}", str(detail.get("rollout", service)), "rollouts"
    return "", "", ""


def _short(text: str) -> str:
    return text if len(text) <= _REASON else text[:_REASON] + "…"


def _printable(text: str) -> str:
    """A subject that SNS takes: printable ASCII, no line breaks, at most 100 characters."""
    plain = " ".join(text.encode("ascii", "replace").decode().split())
    return "".join(letter for letter in plain if letter.isprintable())[:_SUBJECT]
