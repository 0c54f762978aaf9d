"""A bake: its names, its builder's user data and report, and which base image is the newest.

A bake's name follows from the event that asked for it, so that the same event is the same bake.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from msgspec import Struct

from mayfly.contract.vocabulary import BakeStage, Outcome
from mayfly.domain import tags
from mayfly.domain.records import SuiteResult
from mayfly.domain.stack import TaskResult

USER_DATA_LIMIT = 16_384
"""Bytes that EC2 takes as user data."""

SCRIPT_MARGIN = timedelta(minutes=15)
"""What a builder may take besides its script: to boot, to leave its log, to stop. The script itself powers the machine
off ten minutes past its limit, whatever hangs."""

AFTER_BUILDER = timedelta(hours=3)
"""What a bake may take between its builder and its proof: the machine waits for the image for two hours at most. A bake
that is not done after all that is dead, and holds up the next one no longer."""

BUILDER = "{builder}"
"""Stands for a builder's ARN in the location of its log."""

PROOF = "proof"
"""The suite of the environment that proves an image."""


def bake_id(family: str, event: str) -> str:
    """Returns the bake that an event asks for, such as ``base-3f2a9c1e``."""
    return f"{family}-{hashlib.sha256(f'{family}\n{event}'.encode()).hexdigest()[:8]}"


def recipe(configuration: Mapping[str, object]) -> str:
    """Returns a digest of what an image is made from and proven by, of a family's configuration as JSON: base, Puppet,
    checks, and the blueprint of the proof. A change of anything else calls for no new image."""
    made_of = {name: configuration[name] for name in ("base", "puppet", "checks", "blueprint", "parameters")}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def log_at(folder: str, bake: str) -> str:
    """Tells where a bake's log is to be left, before its builder has an id: below the builder's own ARN, as IAM lets
    it."""
    return f"{folder}/{BUILDER}/{bake}.log"


def of_builder(location: str, account: str, region: str, instance: str) -> str:
    """Tells where a bake's log is left once its builder has an id."""
    return location.replace(BUILDER, f"arn:aws:ec2:{region}:{account}:instance/{instance}")


def made_of(base_image: str, puppet: Mapping[str, str | None], *scripts: str) -> dict[str, str]:
    """Returns what an image is made of, as it is recorded: its base image, and the digests (SHA-256) of all that is run
    on it.

    Args:
        puppet: of the code and of the package, `code` and `package`; or the `server` that compiles a catalogue, which
            has no digest: the proof records what came of it. scripts: the texts that the builder runs.
    """
    script = hashlib.sha256("\n".join(scripts).encode()).hexdigest()
    known = {"base_image": base_image, **puppet, "script": script}
    return {name: value for name, value in known.items() if value}


def image_name(bake: str) -> str:
    """Returns the name of a bake's image, which EC2 lets an account have once: a second one cannot be made."""
    return f"mayfly-{bake}"


def user_data(script: str, values: Mapping[str, str]) -> str:
    """Returns a builder's user data: assignments in front of the script, each value quoted for a shell.

    Raises:
        ValueError: it is more than EC2 takes.
    """
    given = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    whole = f"#!/bin/bash\n{given}{script}"
    if (size := len(whole.encode())) > USER_DATA_LIMIT:
        raise ValueError(f"user data: expected {USER_DATA_LIMIT} bytes at most, but it has {size}")
    return whole


def pointer_until(now: str, days: int) -> int:
    """Tells until when it is remembered which bake an id of AWS belongs to, in seconds since 1970."""
    return int((datetime.fromisoformat(now) + timedelta(days=days)).timestamp())


def why_failed(state: str, labels: Mapping[str, str]) -> str | None:
    """Tells why no image can be made of a builder, or None where one can.

    Args:
        state: the instance's. labels: its tags; the script writes its result into one before the machine stops.
    """
    result = labels.get(tags.BAKE_RESULT)
    if result == "ok":
        # It may still be stopping, or even hang there: an image is made of a stopped machine only.
        return None if state == "stopped" else f"the builder is done, but it is {state} and not stopped"
    if result:
        return result.removeprefix("failed:").strip()
    if state == "stopped":
        return "the builder stopped without a report; its log, or its console, says more"
    return f"the builder never reported; it is {state}"


def builder_answer(state: str) -> TaskResult | None:
    """Returns what an instance's state tells an execution that waits for its builder, or None where it goes on
    waiting."""
    match state:
        case "stopped":
            return TaskResult(None, "the builder has stopped")
        case "shutting-down" | "terminated":
            return TaskResult("BuilderLost", f"the builder is {state}: somebody, or AWS, ended it before it was done")
    return None


def image_answer(state: str, why: str = "") -> TaskResult | None:
    """Returns what an image's state, by event or by look, tells an execution that waits for the image."""
    if state in ("pending", "transient"):
        return None
    reason = f"the image is {state}" + (f": {why}" if why else "")
    return TaskResult(None if state == "available" else "ImageFailed", reason)


class BakeVerdict(Struct, frozen=True):
    """Whether a bake made an image that proved itself, and why (not)."""

    proven: bool
    reason: str

    @property
    def stage(self) -> BakeStage:
        """Where the image, and its bake, have come to."""
        return BakeStage.PROVEN if self.proven else BakeStage.REJECTED


def judge_bake(failure: str | None, proof: SuiteResult | None) -> BakeVerdict:
    """Decides what a bake came to. An image without a proof has proven nothing and is rejected.

    Args:
        failure: why a step before the proof failed. proof: what came of the proof, where there was one.
    """
    if failure:
        return BakeVerdict(False, failure)
    if proof is None or proof.outcome != Outcome.PASSED:
        return BakeVerdict(False, f"the proof {proof.outcome}: {proof.reason}" if proof else "there was no proof")
    return BakeVerdict(True, proof.reason)


class Candidate(Struct, frozen=True):
    """An image that a builder could start from."""

    id: str
    name: str
    created: str
    root_device: str
    architecture: str


def newest(found: Iterable[Candidate]) -> Candidate | None:
    """Returns the newest image, by the time of its creation and then by its id; None of none."""
    return max(found, key=lambda image: (image.created, image.id), default=None)


def concerns(name: str | None, published: Iterable[str]) -> bool:
    """Tells whether images of these names, published for a family's Region, may be its next base.

    Args:
        name: the filter of its base; None where a parameter names its base. Which parameter a publisher will move is
            not in its message, so any of its images may be meant: one bake too many is better than one too few.
    """
    return any(name is None or fnmatchcase(one, name) for one in published)
