"""`make bench`: measures, prints tables, writes build/bench.json."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import bill, board, bursts, cold_starts, large_sweep, lives, pages, retirement, rollouts, sweep
from local.cloud import LocalCloud
from local.install import ROOT, install


def main() -> None:
    """Runs every measurement."""
    console = Console(width=None if sys.stdout.isatty() else 200)  # what is kept in a file is kept whole
    with console.status("starting") as status, LocalCloud(ROOT / ".local" / "bench", forks=False) as cloud:
        installation = install(cloud, status.update)
        status.update("lives")
        figures: dict[str, Any] = {"lives": show(console, "What a life costs", lives.measure(cloud, installation))}
        status.update("the console's board of 500 environments")
        figures["board"] = show(console, "A board of 500 environments", [board.measure(cloud, installation)])[0]
        status.update("rollouts under load")
        figures["rollouts"] = show(console, "Rollouts under load", rollouts.measure(cloud, installation))
        status.update("retirement over 20,000 generated images")
        figures["retirement"] = show(console, "Retirement", [retirement.measure(cloud)])[0]
        status.update("a sweep over 400 stacks and 4,000 instances: a few minutes")
        figures["sweep"] = show(console, "A sweep", [sweep.measure(cloud, installation)])[0]
    with console.status("lists and figures of 10,000 environments that live and 1,000,000 that have ended"):
        figures["pages"] = show(
            console, "What is read of 10,000 that live and 1,000,000 that have ended", pages.measure()
        )
    with console.status("2,000 lives that end within a minute"):
        figures["large_sweep"] = show(console, "A sweep over 2,000 stacks", large_sweep.measure())
        figures["bursts"] = show(console, "Lives that end within a minute", bursts.measure())
    with console.status("what a month costs"):
        figures["bill"] = show(console, "What a month costs, everything that lives cause", bill.measure())
    with console.status("cold starts"):
        figures["cold_starts"] = show(console, "Cold starts, import plus init", cold_starts.measure())
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    console.print(f"Figures: {target.relative_to(ROOT)}")


def show(console: Console, title: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Prints rows as a table and returns them."""
    done = list(rows)
    table = Table(title=title, title_justify="left", border_style="dim")
    for name in done[0]:
        table.add_column(name.replace("_", " "), justify="right" if name not in ("function", "look") else "left")
    for row in done:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)
    return done


def _cell(value: Any) -> str:
    return str(sum(value.values()) if isinstance(value, dict) else value)


if __name__ == "__main__":
    main()
