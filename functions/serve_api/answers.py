"""Records as the HTTP API shows them: pure functions from what is written down to what people read."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from mayfly.domain.cost import Prices, cost
from mayfly.domain.reach import Reach
from mayfly.messages import Application as Configured
from mayfly.messages import Refused

type Record = Mapping[str, Any]
type Shown = Any
"""One of `shapes`, put together by parts: the resolver checks each answer against its shape on the way out."""

_TEXTS = ("application", "version", "suite", "kind", "release", "owner", "account", "region", "stage")
_TIMES = ("planned_at", "deadline", "ceiling")
_COST = ("instance_types", "volume_gb", "launched_at", "terminated_at")

ENVIRONMENT = (
    *("id", "live", "ending", "image", "channel", "instance_count", "instances_built"),
    *_TEXTS,
    *_TIMES,
    *_COST,
)
"""What is read of an environment to show it in a list."""
_PUSHED = ("application", "version", "artifact", "attempt", "commit", "pushed_by")
RELEASE = ("id", *_PUSHED, "stage", "image", "suites", "verdict", "history")
BAKE = ("id", "family", "stage", "why", "requested_by", "reason", "image", "history", "checks")
IMAGE = ("id", "family", "stage", "region", "bake", "base_image", "retirement", "history")
SWEEP = ("key", "asked_by", "counts", "halted", "dry_run", "history")
RUNNING = ("image", "channel", "instances_built")
"""What is read of a living environment to measure how far an image has got."""


def environment(record: Record, now: datetime, prices: Prices) -> Shown:
    """An environment in a list. One whose record was lost and begun anew says "unknown" where it does not know."""
    known = {name: str(record.get(name, "unknown")) for name in (*_TEXTS, *_TIMES)}
    costs = cost(record, now, prices)
    shown: dict[str, Any] = {
        "id": record["id"],
        **known,
        **{name: record.get(name) for name in ("image", "channel")},
        "instance_count": record.get("instance_count", 0),
        "usd": None if costs.usd is None else round(costs.usd, 4),
        "usd_per_hour": round(costs.usd_per_hour, 4),
    }
    if "terminated_at" in record:
        shown["ended_at"] = record["terminated_at"]
    if "ending" in record:
        shown["ending"] = ending(record["ending"])
    if "instances_built" in record:
        shown["instances_built"] = record["instances_built"]
    if types := record.get("instance_types"):
        shown["instance_type"] = ", ".join(sorted(types))
    return shown


def ending(said: Record) -> Shown:
    """Why a life ended."""
    return {"by": said["by"], "outcome": said["outcome"], "reason": said["reason"]}


def whole_environment(record: Record, now: datetime, prices: Prices, machine: str) -> Shown:
    """An environment with all that is known of it.

    Args:
        machine: ARN of the machine whose executions are lives.
    """
    links = {"execution": execution_link(machine, record["id"])}
    if "stack" in record:
        links["stack"] = stack_link(record["stack"])
    return {
        **environment(record, now, prices),
        "history": history(record),
        "outputs": record.get("outputs", {}),
        "report": (record.get("ending") or {}).get("report"),
        "kept": record.get("kept", []),
        "links": links,
    }


def stack_link(stack: str) -> str:
    """Where the console of AWS shows a stack, by its id."""
    region = stack.split(":")[3]
    place = f"https://{region}.console.aws.amazon.com/cloudformation/home?region={region}"
    return f"{place}#/stacks/stackinfo?stackId={quote(stack, safe='')}"


def execution_link(machine: str, name: str) -> str:
    """Where the console of AWS shows an execution."""
    region = machine.split(":")[3]
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    return f"https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{arn}"


def history(record: Record) -> list[Shown]:
    """A record's history, the oldest line first."""
    return [
        {"at": line["at"], "who": line["who"], "what": line["what"], "why": line["why"]}
        for line in record.get("history", [])
    ]


def release(record: Record, environments: Mapping[str, Record], now: datetime, prices: Prices) -> Shown:
    """A release in a list.

    Args:
        environments: the records of its environments, by id; one that has no record yet has cost nothing.
    """
    suites = list(suite_outcomes(record, environments))
    known = [environments[each["environment"]] for each in suites if each["environment"] in environments]
    costs = [cost(each, now, prices).usd for each in known]
    shown: dict[str, Any] = {
        **{name: str(record.get(name, "unknown")) for name in ("id", "application", "version", "artifact", "stage")},
        "attempt": record.get("attempt", 1),
        "pushed_at": record["history"][0]["at"],
        "suites": suites,
        "usd": None if None in costs else round(sum(each or 0.0 for each in costs), 4),
    }
    shown |= {name: record[name] for name in ("commit", "pushed_by", "image") if record.get(name)}
    if said := record.get("verdict"):
        shown["verdict"] = {"passed": said["passed"], "reason": said["reason"]}
    return shown


def suite_outcomes(record: Record, environments: Mapping[str, Record]) -> Iterable[Shown]:
    """Each suite's outcome: by the verdict, or before there is one by the ending of its environment."""
    judged = {part["suite"]: part["outcome"] for part in (record.get("verdict") or {}).get("suites", [])}
    for part in record.get("suites", []):
        shown = {"suite": part["suite"], "environment": part["environment"]}
        ended = environments.get(part["environment"], {}).get("ending") or {}
        if outcome := judged.get(part["suite"]) or ended.get("outcome"):
            shown["outcome"] = outcome
        yield shown


def whole_release(record: Record, environments: Mapping[str, Record], now: datetime, prices: Prices) -> Shown:
    """A release with its history and environments."""
    return {
        **release(record, environments, now, prices),
        "history": history(record),
        "environments": [environment(each, now, prices) for each in environments.values()],
    }


def application(name: str, found: Configured | Refused) -> Shown:
    """An application's configuration, or why it is wrong."""
    if isinstance(found, Refused):
        return {"name": name, "problem": str(found)}
    return {
        "name": name,
        "owner": found.owner,
        "suites": [{"name": suite.name, "kind": suite.kind} for suite in found.suites],
        "instance_count": found.instance_count,
        "image": {"family": found.image.family, "channel": found.image.channel},
        "parameters": found.parameters,
        "lifetime_minutes": found.lifetime_minutes,
        "ceiling_minutes": found.ceiling_minutes,
    }


def channel(reach: Reach, record: Record) -> Shown:
    """A channel with how far its image has got.

    Args:
        record: its record; {} where only a parameter says what it points to.
    """
    it = reach.channel
    return {
        "name": it.name,
        "image": it.image,
        "regions": dict(it.current.regions) if it.current else {},
        "version": it.version,
        "moved_at": it.moved_at,
        "previous": [{"image": each.image} for each in it.previous],
        "history": history(record),
        "instances": dict(reach.images),
        "on_old_images": reach.on_old,
        "hours": reach.hours,
    }


def image(record: Record, bakes: Mapping[str, Record]) -> Shown:
    """An image, with the checks of its bake where that is among `bakes`."""
    shown: dict[str, Any] = {
        "image": record["id"],
        "stage": record.get("stage", "unknown"),
        "created_at": record["history"][0]["at"] if record.get("history") else "",
        "region": record.get("region", ""),
        **{name: record[name] for name in ("bake", "base_image", "retirement") if record.get(name)},
    }
    if checks := bakes.get(record.get("bake", ""), {}).get("checks"):
        shown["checks"] = [{"name": check["name"], "command": check["command"]} for check in checks]
    return shown


def bake(record: Record) -> Shown:
    """A bake."""
    shown: dict[str, Any] = {name: record[name] for name in ("id", "stage", "why", "requested_by")}
    shown["at"] = record["history"][0]["at"]
    return shown | {name: record[name] for name in ("reason", "image") if record.get(name)}


def service(record: Record) -> Shown:
    """A permanent environment, as far as its record knows it."""
    names = ("version", "image", "instance_count", "oldest_instance_at", "rollout")
    waiting = {"rollout": record["pending"]["id"]} if record.get("pending") else {}
    return {
        **{name: str(record.get(name, "unknown")) for name in ("id", "application", "name", "stage")},
        "drift": record.get("drift") or [],
        **waiting,
        **_what_is_there(record, names),
        **_pinned(record, "previous"),
    }


def rollout(record: Record) -> Shown:
    """A rollout, as far as its record knows it."""
    lines = history(record)
    return {
        **{name: str(record.get(name, "unknown")) for name in ("id", "service", "application", "stage", "why")},
        "percent": record.get("percent", 0),
        "checkpoints": [_what_is_there(each, ("percent", "reached_at")) for each in record.get("checkpoints") or []],
        "started_at": record.get("started_at") or (lines[0]["at"] if lines else ""),
        **_pinned(record, "from", "to"),
        **_what_is_there(record, ("ended_at", "reason")),
        "history": lines,
    }


def _pinned(record: Record, *sides: str) -> dict[str, Any]:
    return {side: _what_is_there(record[side], ("image", "version")) for side in sides if record.get(side)}


def _what_is_there(record: Record, names: Iterable[str]) -> dict[str, Any]:
    return {name: record[name] for name in names if record.get(name) is not None}


def sweep(record: Record) -> Shown:
    """What a sweep came to."""
    shown: dict[str, Any] = {name: record[name] for name in ("key", "asked_by", "counts", "halted", "dry_run")}
    return shown | {"at": record["history"][0]["at"]}
