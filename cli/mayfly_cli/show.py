"""What commands print: a table for people, or JSON that stays the same."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from mayfly.domain.cost import cost, list_prices
from mayfly.domain.moment import text

type Json = dict[str, Any]

_ENVIRONMENT = (
    "id", "application", "version", "suite", "kind", "release", "owner", "account", "region", "stage", "planned_at",
    "deadline", "ceiling", "image", "channel", "instance_count", "instances_built",
)  # fmt: skip
_COLOURS = {
    "awaiting tests": "green", "ready": "green", "passed": "green", "proven": "green", "ok": "green",
    "steady": "green", "completed": "green",
    "creating": "yellow", "planned": "yellow", "running": "yellow", "terminating": "yellow", "warning": "yellow",
    "rolling out": "yellow", "awaiting approval": "yellow",
    "failed": "red", "rejected": "red", "broken": "red", "expired": "red", "failure": "red",
    "rolled back": "red", "needs a person": "red",
}  # fmt: skip


def answer(as_json: bool, value: Json, *tables: Group) -> None:
    """Prints what was asked for."""
    if as_json:
        click.echo(json.dumps(value, indent=1, sort_keys=True))
        return
    # In a pipe or a log, nobody knows how wide the reader's window is.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for table in tables:
        console.print(table)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Group:
    """A table for people, below its title. What is told of a stage is coloured."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(coloured(cell) for cell in row))
    # Not the table's own title, which is no wider than the table.
    return Group(Text(title, style="italic"), made)


def coloured(cell: object) -> str:
    """A cell, in the colour of what it says."""
    said = "" if cell is None else str(cell).replace("[", r"\[")
    return f"[{_COLOURS[said]}]{said}[/]" if said in _COLOURS else said


def environment(record: Mapping[str, Any], now: datetime) -> Json:
    """An environment as JSON, the same as the HTTP API's."""
    costs = cost(record, now, list_prices())
    shown = {name: record[name] for name in _ENVIRONMENT if name in record}
    if "terminated_at" in record:
        shown["ended_at"] = record["terminated_at"]
    if ending := record.get("ending"):
        shown["ending"] = {key: ending[key] for key in ("by", "outcome", "reason")}
    shown["instance_type"] = ", ".join(sorted(record.get("instance_types", {}))) or None
    shown["usd"] = None if costs.usd is None else round(costs.usd, 4)
    return shown | {"usd_per_hour": round(costs.usd_per_hour, 4)}


def environments(shown: Sequence[Json], now: datetime) -> Group:
    """Environments for people."""
    rows = [
        (
            each["id"],
            each.get("stage"),
            each.get("ending", {}).get("outcome", ""),
            f"{each.get('instances_built', 0)}/{each.get('instance_count', '?')}",
            each.get("image"),
            left(each["deadline"], now) if "deadline" in each and "ended_at" not in each else "",
            money(each["usd"]),
        )
        for each in shown
    ]
    return table(
        f"{len(rows)} environments at {text(now)}",
        ("environment", "stage", "outcome", "instances", "image", "ends", "US$"),
        rows,
    )


def service(record: Mapping[str, Any]) -> Json:
    """A permanent environment as JSON: the HTTP API's, with what its instances differ in and what waits."""
    names = (
        "id",
        "application",
        "name",
        "stage",
        "version",
        "image",
        "instance_count",
        "oldest_instance_at",
        "rollout",
    )
    shown = {name: record[name] for name in names if name in record}
    if pending := record.get("pending"):
        shown["pending"] = {"id": pending["id"], "stage": pending["stage"]}
    return shown | {"drift": record.get("drift", []), "odd": record.get("odd", [])}


def services(shown: Sequence[Json], now: datetime) -> Group:
    """Permanent environments for people."""
    rows = [
        (
            each["id"],
            each["stage"],
            each.get("version"),
            each.get("image"),
            each.get("instance_count", 0),
            age(each["oldest_instance_at"], now) if "oldest_instance_at" in each else "",
            len(each["drift"]) + len(each["odd"]) or "",
            each.get("rollout") or " ".join(each.get("pending", {}).values()),
        )
        for each in shown
    ]
    columns = ("service", "stage", "version", "image", "instances", "oldest", "differ", "rollout")
    return table(f"{len(rows)} permanent environments at {text(now)}", columns, rows)


def rollout(record: Mapping[str, Any]) -> Json:
    """A rollout as JSON, the same as the HTTP API's without its history."""
    names = ("id", "service", "application", "stage", "why", "percent", "checkpoints", "from", "to", "planned_at")
    return {name: record[name] for name in (*names, "started_at", "ended_at", "reason") if name in record}


def rollouts(shown: Sequence[Json]) -> Group:
    """Rollouts for people."""
    rows = [
        (
            each["id"],
            each["stage"],
            f"{each.get('percent', 0)} %",
            each.get("started_at") or each.get("planned_at"),
            " ".join(each["to"].values()) if "to" in each else "",
            each.get("reason") or each.get("why"),
        )
        for each in shown
    ]
    return table("\nRollouts", ("rollout", "stage", "done", "at", "to", "why"), rows)


def checkpoints(record: Mapping[str, Any]) -> Group:
    """How far a rollout has got, for people."""
    rows = [(f"{each['percent']} %", each.get("reached_at", "")) for each in record.get("checkpoints", [])]
    return table(f"{record.get('stage')}: {record.get('why')}", ("instances replaced", "reached"), rows)


def bill(sums: Json, days: int, as_of: str) -> Group:
    """What environments cost, for people: `sums` as `mayfly.domain.cost.by_application` makes them."""
    rows: list[tuple[object, ...]] = []
    for each in sums["applications"]:
        hours = (f"{each['usd_per_hour']:.2f}", each["instance_hours"])
        rows.append((each["application"], "", money(each["usd"]), *hours))
        rows += [("", suite["suite"], money(suite["usd"]), "", "") for suite in each["suites"]]
    left_out = f", {sums['unpriced']} environments of unknown price not in it" if sums["unpriced"] else ""
    title = f"US$ {sums['total_usd']:.2f} in {days} days{left_out} (list prices of {as_of})"
    return table(title, ("application", "suite", "US$", "US$/h now", "instance hours"), rows)


def left(deadline: str, now: datetime) -> str:
    """How long until a moment, for people."""
    minutes = round((datetime.fromisoformat(deadline) - now).total_seconds() / 60)
    if minutes < 0:
        return f"{-minutes} min ago"
    return f"in {minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"in {minutes} min"


def age(since: str, now: datetime) -> str:
    """How long ago a moment was, for people."""
    hours = int((now - datetime.fromisoformat(since)).total_seconds() // 3600)
    return f"{hours // 24} d {hours % 24} h"


def money(usd: float | None) -> str:
    """US dollars, or that the price is not known."""
    return "?" if usd is None else f"{usd:.2f}"
