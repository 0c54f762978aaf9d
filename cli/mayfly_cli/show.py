"""What commands print: a table for people, or JSON that stays the same."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mayfly.contract.vocabulary import UNKNOWN, Tone, tone_of
from mayfly.domain.text import whole_seconds
from mayfly.domain.timestamp import utc_text

type Json = dict[str, Any]

_COLOURS = {Tone.GOOD: "green", Tone.BUSY: "yellow", Tone.WARN: "yellow", Tone.BAD: "red"}
_TONES = {"ok": Tone.GOOD, "warning": Tone.WARN, "failure": Tone.BAD}
"""The tones of what `mayfly doctor` finds."""


SENTENCES = ("why", "who", "value", "reason", "what was found", "what to do", "before")
"""Columns of text that may be broken over lines."""
LEAST_SENTENCE = 24
GAP = 2


class Listing:
    """A table for people, below its title. A name that is broken over two lines cannot be copied: where the terminal is
    too narrow, the last columns are left out, and that is said."""

    def __init__(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        self.title, self.columns = whole_seconds(title), columns
        self.rows = [["" if cell is None else whole_seconds(str(cell)) for cell in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._fitting(options.max_width)
        made = Table(box=None, pad_edge=False, header_style="bold")
        for column in self.columns[:shown]:
            made.add_column(column, overflow="fold", no_wrap=column not in SENTENCES)
        for row in self.rows:
            made.add_row(*(coloured(cell) for cell in row[:shown]))
        # Not the table's own title, which is no wider than the table.
        yield Text(self.title, style="italic")
        yield made
        if left_out := self.columns[shown:]:
            yield Text(f"Too narrow for: {', '.join(left_out)}. `--json` has everything.", style="dim")

    def _fitting(self, width: int) -> int:
        """Tells how many columns fit, beginning with the first."""
        cells = [max([len(name), *(len(row[n]) for row in self.rows)]) for n, name in enumerate(self.columns)]
        needed = [
            min(cell, LEAST_SENTENCE) if name in SENTENCES else cell
            for name, cell in zip(self.columns, cells, strict=True)
        ]
        fits = (n for n in range(len(needed), 1, -1) if sum(needed[:n]) + GAP * (n - 1) <= width)
        return next(fits, 1)


def answer(as_json: bool, value: Json, *tables: Listing) -> None:
    """Prints what was asked for."""
    if as_json:
        click.echo(json.dumps(value, indent=1, sort_keys=True))
        return
    # In a pipe or a log, nobody knows how wide the reader's window is.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for table in tables:
        console.print(table)


def aside(*tables: Listing) -> None:
    """Prints on standard error what somebody should see beside what was asked for."""
    console = Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else 200)
    for table in tables:
        console.print(table)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Listing:
    """Returns a table for people, below its title. What is told of a stage is coloured."""
    return Listing(title, columns, rows)


def coloured(cell: str) -> str:
    """Returns a cell, in the colour of what it says."""
    said = cell.replace("[", r"\[")
    colour = _COLOURS.get(_TONES.get(said) or tone_of(said))
    return f"[{colour}]{said}[/]" if colour else said


def stage_of(shown: Json) -> str:
    """Tells where an environment stands, for people."""
    return "asleep" if "asleep_since" in shown else str(shown["stage"])


def environments(shown: Sequence[Json], now: datetime) -> Listing:
    """Environments for people."""
    rows = [
        (
            each["id"],
            f"{each['stage']} ({each['queue']['position']})" if "queue" in each else stage_of(each),
            each.get("ending", {}).get("outcome", ""),
            f"{each.get('instances_built', 0)}/{each['instance_count'] or '?'}",
            each.get("image"),
            left(each["deadline"], now) if "ended_at" not in each else "",
            money(each["usd"]),
        )
        for each in shown
    ]
    return table(
        f"{count(len(rows), 'environment')} at {utc_text(now)}",
        ("environment", "stage", "outcome", "instances", "image", "ends", "US$"),
        rows,
    )


def queue(shown: Sequence[Json], at: str) -> Listing:
    """Tells who waits for room, for people."""
    rows = [
        (
            each["queue"]["position"],
            each["id"],
            each["owner"],
            each["since"],
            each["queue"]["lacks"],
            each["queue"]["behind"],
            "" if each["queue"]["about_minutes"] is None else f"about {each['queue']['about_minutes']} min",
        )
        for each in shown
    ]
    return table(
        f"{count(len(rows), 'environment')} waiting for room at {at}",
        ("", "environment", "owner", "since", "for", "behind", "how long"),
        rows,
    )


def channels(families: Sequence[Json]) -> Listing:
    """Tells where channels point, for people."""
    rows = [
        (
            one["family"],
            each["name"],
            each["image"],
            each["moved_at"],
            ", ".join(before["image"] for before in each["previous"]),
        )
        for one in families
        for each in one["channels"]
    ]
    return table("Channels", ("family", "channel", "image", "moved", "before"), rows)


def failures(found: Iterable[Json]) -> Listing:
    """Tells how many instances failed, by application, image and blueprint."""
    rows = [
        (
            each["of"],
            each["name"],
            each["launched"],
            each["failed"],
            f"{100 * each['failed'] / each['launched']:.3f} %",
            ", ".join(f"{count} {cause}" for cause, count in sorted(each["causes"].items())),
        )
        for each in found
    ]
    return Listing("Instances that failed", ("", "name", "launched", "failed", "rate", "why"), rows)


def bakes(families: Sequence[Json]) -> Listing:
    """Bakes for people, the newest first."""
    found = sorted((each for one in families for each in one["bakes"]), key=lambda each: str(each["at"]), reverse=True)
    rows = [
        (each["id"], each["stage"], each["at"], each.get("image"), each.get("reason") or each["why"]) for each in found
    ]
    return table("\nBakes", ("bake", "stage", "at", "image", "why"), rows)


def differences(found: Json) -> Listing:
    """Tells how two images differ, for people."""
    rows = [
        (kind.removesuffix("s"), change["name"], change["before"] or "-", change["after"] or "-")
        for kind in ("packages", "services", "files")
        for change in found[kind]
    ]
    return table(f"{found['before']} → {found['after']}", ("kind", "name", "before", "after"), rows)


def release_differences(found: Json) -> list[Listing]:
    """Tells how two releases differ, for people."""
    kinds = (("", found["facts"]), ("parameter ", found["parameters"]))
    rows = [(f"{kind}{one['name']}", one["before"] or "-", one["after"] or "-") for kind, all_ in kinds for one in all_]
    tables = [table(f"{found['before']} → {found['after']}", ("what", "before", "after"), rows)]
    if "image" in found:
        tables.append(differences(found["image"]))
    if problem := found.get("image_problem"):
        tables.append(table("Image", ("why",), [(problem,)]))
    return tables


def evidence(lines: Sequence[Json]) -> Listing:
    """Lines of many histories, for people."""
    rows = [(one["at"][:19] + "Z", one["kind"], one["id"], one["what"], one["who"], one["why"]) for one in lines]
    return table(count(len(rows), "line"), ("at", "kind", "name", "what", "who", "why"), rows)


def facts(shown: Json, now: datetime) -> Listing:
    """Returns what is known of an environment, for people."""
    ending, tests = shown.get("ending"), shown["tests"]
    cost = f"US$ {money(shown['usd'])} so far, {shown['usd_per_hour']:.2f} an hour"
    instances = f"{shown.get('instances_built', 0)} of {shown['instance_count']} {shown.get('instance_type', '')}"
    pairs = {
        "stage": shown["stage"],
        "asleep": f"since {shown['asleep_since']}" if "asleep_since" in shown else "",
        "outcome": f"{ending['outcome']}: {ending['reason']}" if ending else "",
        "version": f"{shown['application']} {shown['version']}",
        "suite": f"{shown['suite']}, {shown['kind']}",
        "release": shown["release"],
        "owner": shown["owner"],
        "where": f"{shown['account']} {shown['region']}",
        "instances": instances.strip(),
        "not launched": ", ".join(shown["not_launched"]),
        "image": f"{shown['image']} ({shown['channel']})" if shown["image"] else "",
        "ready after": spans(shown["spans"]),
        "slowest resources": told(shown["slowest"]),
        "ends": "" if "ended_at" in shown else f"{left(shown['deadline'], now)}, at {shown['deadline']}",
        "ended": shown.get("ended_at", ""),
        "costs": cost,
        "tests": f"{tests['tests']} in all, {tests['failures']} failed, {tests['skipped']} skipped" if tests else "",
        "failed tests": ", ".join(tests["failed"]) if tests else "",
        "report": shown["report"] or "",
        "log": shown["log"] or "",
        **{f"{name} in AWS": link for name, link in shown["links"].items()},
    }
    return table(shown["id"], ("", "value"), [(name, value) for name, value in pairs.items() if value])


def spans(parts: Sequence[Json]) -> str:
    """Shows how long an environment took to become ready: the total, and each part of it."""
    return f"{sum(one['seconds'] for one in parts)} s: {told(parts)}" if parts else ""


def told(parts: Sequence[Json]) -> str:
    """Spans for people."""
    return ", ".join(f"{one['name']} {one['seconds']} s" for one in parts)


def outputs(shown: Mapping[str, str]) -> Listing:
    """Returns an environment's outputs, for people: its addresses among them."""
    return table("\nOutputs", ("output", "value"), sorted(shown.items()))


def instances(shown: Sequence[Json]) -> Listing:
    """Returns an environment's instances, for people."""
    return table(
        "\nInstances, when it became ready", ("instance", "in AWS"), [(one["id"], one["link"]) for one in shown]
    )


def history(lines: Sequence[Json]) -> Listing:
    """Returns a history, for people."""
    rows = [(each["at"][:19] + "Z", each["who"], each["what"], each["why"]) for each in lines]
    return table("\nHistory", ("at", "who", "what", "why"), rows)


def dead_letter_groups(found: Json) -> Listing:
    """Dead letters, counted, for people."""
    rows = [(each["count"], each["kind"], each["function"], each["event"], each["reason"]) for each in found["groups"]]
    title = f"{found['count']} dead letters wait at {found['now']}"
    return table(title, ("count", "kind", "function", "event", "reason"), rows)


def dead_letters(shown: Sequence[Json]) -> Listing:
    """Dead letters one by one, for people."""
    rows = [(each["id"], each["at"], each["times"], each["function"], each["event"]) for each in shown]
    return table("\nOne by one", ("letter", "at", "times", "function", "event"), rows)


def dead_letter(shown: Json) -> Listing:
    """Returns what is known of a dead letter, for people."""
    names = ("kind", "stage", "function", "event", "reason", "at", "times")
    return table(shown["id"], ("", "value"), [(name, shown[name]) for name in names])


def services(shown: Sequence[Json], now: datetime) -> Listing:
    """Permanent environments for people."""
    rows = [
        (
            each["id"],
            stage_of(each),
            each.get("version"),
            each.get("image"),
            each.get("instance_count", 0),
            age(each["oldest_instance_at"], now) if "oldest_instance_at" in each else "",
            len(each["drift"]) + len(each["odd"]) or "",
            each.get("rollout"),
        )
        for each in shown
    ]
    columns = ("service", "stage", "version", "image", "instances", "oldest", "differ", "rollout")
    return table(f"{count(len(rows), 'permanent environment')} at {utc_text(now)}", columns, rows)


def rollouts(shown: Sequence[Json]) -> Listing:
    """Rollouts for people."""
    rows = [
        (
            each["id"],
            each["stage"],
            f"{each['percent']} %",
            each["started_at"],
            " ".join(each["to"].values()) if "to" in each else "",
            each.get("reason") or each.get("why"),
        )
        for each in shown
    ]
    return table("\nRollouts", ("rollout", "stage", "done", "at", "to", "why"), rows)


def checkpoints(shown: Json) -> Listing:
    """Tells how far a rollout has got, for people."""
    rows = [(f"{each['percent']} %", each.get("reached_at", "")) for each in shown["checkpoints"]]
    return table(f"{shown['stage']}: {shown['why']}", ("instances replaced", "reached"), rows)


def bill(sums: Json, days: int) -> Listing:
    """Returns what environments cost, for people: `sums` as the HTTP API has them."""
    rows: list[tuple[object, ...]] = []
    for each in sums["applications"]:
        hours = (f"{each['usd_per_hour']:.2f}", each["instance_hours"])
        rows.append((each["application"], "", money(each["usd"]), *hours))
        rows += [("", suite["suite"], money(suite["usd"]), "", "") for suite in each["suites"]]
    left_out = f", {sums['unpriced']} environments of unknown price not in it" if sums["unpriced"] else ""
    if sums["permanent_instances"]:
        rows.append(("permanent environments", f"{sums['permanent_instances']} instances, not in the sums", "", "", ""))
    title = f"US$ {sums['total_usd']:.2f} in {days} days{left_out} (list prices of {sums['prices']['as_of']})"
    return table(title, ("application", "suite", "US$", "US$/h now", "instance hours"), rows)


def left(deadline: str, now: datetime) -> str:
    """Tells how long until a timestamp, for people."""
    if deadline == UNKNOWN:
        return UNKNOWN
    minutes = round((datetime.fromisoformat(deadline) - now).total_seconds() / 60)
    if minutes < 0:
        return f"{-minutes} min ago"
    return f"in {minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"in {minutes} min"


def count(number: int, what: str) -> str:
    """Returns a number of things: 1 instance, 45 instances."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def age(since: str, now: datetime) -> str:
    """Tells how long ago a timestamp was, for people."""
    hours = int((now - datetime.fromisoformat(since)).total_seconds() // 3600)
    return f"{hours // 24} d {hours % 24} h"


def money(usd: float | None) -> str:
    """US dollars, or that the price is not known."""
    return "?" if usd is None else f"{usd:.2f}"
