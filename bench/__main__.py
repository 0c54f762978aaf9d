"""`make bench`: measures, prints tables, writes build/bench.json. PARTS="pages bill" measures only these."""

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import bill, board, bursts, cold_starts, large_sweep, lives, pages, retirement, rollouts, sweep
from local.cloud import LocalCloud
from local.install import ROOT, Installation, install

type Rows = Iterable[dict[str, Any]]

ON_THE_CLOUD: dict[str, tuple[str, Callable[[LocalCloud, Installation], Rows]]] = {
    "lives": ("What a life costs", lives.measure),
    "board": ("A board of 500 environments", lambda *given: [board.measure(*given)]),
    "rollouts": ("Rollouts under load", rollouts.measure),
    "retirement": ("Retirement over 20,000 generated images", lambda cloud, _: [retirement.measure(cloud)]),
    "sweep": ("A sweep over 400 stacks and 4,000 instances", lambda *given: [sweep.measure(*given)]),
}
BY_THEMSELVES: dict[str, tuple[str, Callable[[], Rows]]] = {
    "pages": ("What is read of 10,000 that live and 1,000,000 that have ended", pages.measure),
    "large_sweep": ("A sweep over 2,000 stacks", large_sweep.measure),
    "bursts": ("Lives that end within a minute", bursts.measure),
    "bill": ("What a month costs, everything that lives cause", bill.measure),
    "cold_starts": ("Cold starts, import plus init", cold_starts.measure),
}
COLD = ("lives",)
"""Parts whose sandboxes start as they do on AWS, since that is billed: each with a new Python."""


def main(wanted: list[str]) -> int:
    """Runs the measurements and keeps what each found; returns how many failed. None keeps another from being run."""
    if unknown := set(wanted) - {*ON_THE_CLOUD, *BY_THEMSELVES}:
        sys.stderr.write(f"no part is called {', '.join(sorted(unknown))}: there are {parts()}\n")
        return 1
    console = Console(width=None if sys.stdout.isatty() else 200)  # what is kept in a file is kept whole
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    figures: dict[str, Any] = json.loads(target.read_text()) if wanted and target.exists() else {}
    failed = []
    with console.status("starting") as status, clouds(status.update) as installed:
        for name, (title, measure) in (ON_THE_CLOUD | BY_THEMSELVES).items():
            if wanted and name not in wanted:
                continue
            try:
                given = installed(name not in COLD) if name in ON_THE_CLOUD else ()
                status.update(title)
                figures[name] = show(console, title, measure(*given))
            except Exception:
                traceback.print_exc()
                failed.append(name)
            target.write_text(json.dumps(figures, indent=2) + "\n")
    console.print(f"Figures: {target.relative_to(ROOT)}")
    if failed:
        console.print(f"Not measured: {', '.join(failed)} (why is said above)")
    return len(failed)


@contextmanager
def clouds(say: Callable[[str], None]) -> Iterator[Callable[[bool], tuple[LocalCloud, Installation]]]:
    """Yields what starts a local cloud with Mayfly installed, with forks or without, once each."""
    with ExitStack() as running:

        @cache
        def installed(forks: bool) -> tuple[LocalCloud, Installation]:
            say("starting a local cloud")
            place = ROOT / ".local" / ("bench" if forks else "bench-cold")
            cloud = running.enter_context(LocalCloud(place, forks=forks))
            return cloud, install(cloud, say)

        yield installed


def parts() -> str:
    """The names of all parts."""
    return ", ".join((*ON_THE_CLOUD, *BY_THEMSELVES))


def show(console: Console, title: str, rows: Rows) -> list[dict[str, Any]]:
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
    raise SystemExit(min(1, main(sys.argv[1:])))
