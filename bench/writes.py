"""`python -m bench.writes`: what each write of a life's records costs, and who makes it.

A release of two suites in the simulated world of `tests/model`. A line a write: the record, who writes, which
attributes, the item's bytes before and after, and the write units of the item and of each index that changes with it.
Then the largest attributes of an environment's record, and the sum a life.
"""

import inspect
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench import pages
from bench.pages import bytes_of
from bench.visits import OWN

type Json = dict[str, Any]

SUITES = 2
"""Of the simulated application."""


class Told(pages.Counted):
    """A table that keeps what each write cost."""

    def __init__(self, timeline: Any) -> None:
        super().__init__(timeline)
        self.writes: list[Json] = []

    def note(self, request: Json, before: Json, after: Json, units: Json) -> None:
        """The simulated table remembers a write to DynamoDB, to be printed."""
        self.writes.append(
            {
                "record": request["Key"]["pk"]["S"],
                "by": _writer(),
                "changes": sorted(name for name in {*before, *after} if before.get(name) != after.get(name)),
                "bytes": [bytes_of(before), bytes_of(after)],
                "units": units,
            }
        )


def _writer() -> str:
    """The functions of Mayfly's on the way to a write, the inner ones first."""
    names = [
        f"{Path(frame.filename).parent.name}/{Path(frame.filename).stem}.{frame.function}"
        for frame in inspect.stack()
        if frame.filename.startswith(OWN) and not frame.filename.endswith("aws/records.py")
    ]
    return " < ".join([*names[:1], *names[-1:]]) or "a state machine"


def measure() -> list[Json]:
    """Every write of a release and its environments, and their sums a life."""
    with pages.counting(Told) as (world, table):
        [first, *_] = world.environments()
        item = table.items[f"environment#{first}"]
    sizes = sorted(((bytes_of({name: each}), name) for name, each in item.items()), reverse=True)
    summed = Counter[str]()
    for each in table.writes:
        for what, units in each["units"].items():
            summed[f"{each['record'].partition('#')[0]}: {what}"] += units
    return [
        *table.writes,
        {"attributes": {name: size for size, name in sizes}, "bytes": bytes_of(item)},
        {what: units / SUITES for what, units in summed.most_common()} | {"all": summed.total() / SUITES},
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(json.dumps(row) for row in measure()) + "\n")
