"""Reads from instances' tags how far their first boot is, and decides about one that failed.

A blueprint may have its instances say so or not: of one whose instances say nothing, nothing is known here.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from mayfly.domain import tags

type Labels = Mapping[str, str]

FAILED = "failed"
"""What an instance writes before the step that failed."""

CHECKSUM = "#sha256="
"""What stands before the checksum at the end of an artifact's location."""


def has_failed(labels: Labels) -> bool:
    """Tells whether an instance says that its boot failed."""
    return labels.get(tags.BOOT, "").startswith(FAILED)


def unready(instances: Mapping[str, Labels]) -> list[str]:
    """Returns a line for each instance that is not ready: in which step it is or failed, and the last lines of that
    step's log.

    Those that failed come first. None where no instance says how far it is.
    """
    if not any(tags.BOOT in labels for labels in instances.values()):
        return []
    waiting = {name: labels for name, labels in instances.items() if not _is_ready(labels)}
    return [_line(name, waiting[name]) for name in sorted(waiting, key=lambda one: (not has_failed(waiting[one]), one))]


def booting(instances: Mapping[str, Labels]) -> list[str]:
    """Returns a line for each instance that has not said that it is ready, of those that say it."""
    return [_line(name, labels) for name, labels in sorted(instances.items()) if not _is_ready(labels)]


def shortfall(states: Mapping[str, str], asked: int | None, groups: Mapping[str, tuple[int, int]]) -> list[str]:
    """Names what an environment still lacks: of the instances that it was to have, or of those that its template says.

    Args:
        states: of its instances, by id. asked: how many have to run; None where the template says so.
        groups: of each Auto Scaling group, its desired capacity and how many of it are in service.
    """
    running = sum(state == "running" for state in states.values())
    if asked is not None:
        return [] if running == asked else [f"{running} of {asked} instances run"]
    late = [f"{name} is {state}" for name, state in sorted(states.items()) if state not in ("running", "shutting-down")]
    return late + [
        f"{there} of {wanted} instances of the group {name} are in service"
        for name, (wanted, there) in sorted(groups.items())
        if there < wanted
    ]


def wrong_versions(instances: Mapping[str, Labels], version: str, artifact: str = "") -> list[str]:
    """Returns a line for each instance that says to run another version than it was told to deploy.

    Args:
        artifact: where that version is fetched from, perhaps with its checksum: an instance may say this one instead.
    """
    right = {version, artifact.partition(CHECKSUM)[2]} - {""}
    said = {name: labels.get(tags.VERSION, version) for name, labels in sorted(instances.items())}
    return [f"{name} runs {runs or 'nothing'}, not {version}" for name, runs in said.items() if runs not in right]


class Replacement(Struct, frozen=True):
    """Whether an instance that failed may be replaced, and why (not). `failed` are all so far, this one among them."""

    granted: bool
    reason: str
    failed: tuple[str, ...]


def decide_replacement(failed: Sequence[str], instance: str, said: str, limit: int) -> Replacement:
    """Decides about an instance that has stopped because its boot failed.

    Args:
        failed: the instances of its environment that were decided about before. said: what it says of its boot.
        limit: how many may be replaced.
    """
    counted = (*failed, *([] if instance in failed else [instance]))
    reason = f"{len(counted)} failed where {limit} may be replaced; {instance}: {said}"
    return Replacement(len(counted) <= limit, reason, counted)


def _is_ready(labels: Labels) -> bool:
    return labels.get(tags.BOOT, "").startswith("ready")


def _line(instance: str, labels: Labels) -> str:
    log = f"; its log ends with: {labels[tags.BOOT_LOG]}" if labels.get(tags.BOOT_LOG) else ""
    return f"{instance}: {labels.get(tags.BOOT, 'has said nothing yet')}{log}"
