"""`python -m bench.pages`: what lists, figures and an open console read where 10,000 environments live and
1,000,000 have ended, in DynamoDB's read units and in bytes, against a table of one; and what a life writes.

The records are those of a life in the simulated world of `tests/model`, many times. Units are counted as DynamoDB bills
them: half a unit for each 4 KB of a page of an index, or of an item, and a whole one where the read is consistent.
"""

import bisect
import gzip
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any
from unittest.mock import MagicMock

import pytest
from msgspec.structs import replace

from bench.visits import release as a_release
from mayfly import observability
from mayfly.aws.records import Records, of_item
from mayfly.contract.vocabulary import EnvironmentStage
from mayfly.domain.records import LIVE, Environment, Release, placed
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings
from mayfly.workflows import sums
from mayfly.workflows.reading import Reading, Wanted
from tests.model import dynamodb
from tests.model import world as simulated

type Json = dict[str, Any]

LIVES, ENDED_A_DAY, DAYS, APPLICATIONS, SUITES = 10_000, 10_000, 100, 50, 3
SUMMED_DAYS = 10
"""The other days' sums stand, as far as a sweep of theirs is concerned: nobody looks at them here."""
LOOK_SECONDS, HEADS_SECONDS = 15, 60
"""How often an open console looks at the board, and at the heads of releases."""
TOKEN = 650
"""Characters of a task token, about, as samples from AWS have them."""
BLOCK, KILOBYTE = 4096, 1024


class Counted(dynamodb.DynamoDB):
    """A table that counts what its reads and writes cost. What is read is put there with `fill`."""

    def __init__(self, timeline: Any) -> None:
        super().__init__(timeline)
        self.read, self.written = 0.0, 0
        self._indexes: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._packed: dict[str, Callable[[], Json]] = {}

    def fill(self, makers: Iterable[Callable[[], Json]]) -> None:
        """Puts items there, with their places in the indexes. Each is made again when it is read: a million of them
        would take more memory than a machine has."""
        for make in makers:
            item = make()
            pk = item["pk"]["S"]
            self._packed[pk] = make
            for index, place in (("live", "pk"), ("born", "pk"), ("shelf", "shelved")):
                if index in item:
                    name = "shelves" if index == "shelf" else index
                    key = (name, item[index]["S"])
                    self._indexes.setdefault(key, []).append((item[place]["S"], pk))
        for each in self._indexes.values():
            each.sort()

    def _item(self, pk: str) -> Json:
        """An item, {} where there is none."""
        return self.items.get(pk) or (self._packed[pk]() if pk in self._packed else {})

    def update_item(self, _session: str, **request: Any) -> Json:
        """Counts an update: the larger of the item before and after, and each index where it changes."""
        before = dict(self.items.get(request["Key"]["pk"]["S"], {}))
        reply = super().update_item(_session, **request)
        after = reply["Attributes"]
        units = {"item": max(1, math.ceil(max(map(bytes_of, (before, after))) / KILOBYTE))}
        for key, shown in (("live", {"pk"}), ("born", {"pk"}), ("shelf", dynamodb.PROJECTED)):
            old, new = (_shown(item, shown) if key in item else None for item in (before, after))
            if old != new:
                moved = old is not None and new is not None and before[key] != after[key]
                size = max(bytes_of(each) for each in (old, new) if each is not None)
                units[key] = (2 if moved else 1) * math.ceil(size / KILOBYTE)
        self.written += sum(units.values())
        self.note(request, before, after, units)
        return reply

    def note(self, request: Json, before: Json, after: Json, units: Json) -> None:
        """Takes note of a write and its units: of the item, and of each index."""

    def read_once[R](self, make: Callable[..., R], kind: object, item: Json) -> R:
        """Reads an item as often as it is asked for: what that takes is measured."""
        return make(kind, item)

    def get_item(self, _session: str, Key: Json, ConsistentRead: bool = False, **_: Any) -> Json:  # noqa: N803
        found = self._item(Key["pk"]["S"])
        self._reads(bytes_of(found), ConsistentRead)
        return {"Item": found} if found else {}

    def batch_get_item(self, _session: str, RequestItems: Json) -> Json:  # noqa: N803
        ((table, wanted),) = RequestItems.items()
        keys = [key["pk"]["S"] for key in wanted["Keys"]]
        found = [item for item in map(self._item, keys) if item]
        for item in found:
            self._reads(bytes_of(item), wanted.get("ConsistentRead", False))
        return {"Responses": {table: found}}

    def query(self, _session: str, IndexName: str, ExpressionAttributeValues: Json, **more: Any) -> Json:  # noqa: N803
        shelf = IndexName == "shelves"
        value = ExpressionAttributeValues[":shelf" if shelf else ":value"]["S"]
        whole = self._indexes.get((IndexName, value), [])
        if not shelf:
            keys = [{"pk": {"S": pk}} for _, pk in whole]
            self._reads(sum(map(bytes_of, keys)), False)
            return {"Items": keys}
        before = ExpressionAttributeValues.get(":before", {}).get("S")
        end = bisect.bisect_left(whole, before, key=lambda one: one[0]) if before else len(whole)
        begin = max(0, end - more["Limit"])
        page = [_shown(self._item(pk), dynamodb.PROJECTED) for _, pk in reversed(whole[begin:end])]
        self._reads(sum(map(bytes_of, page)), False)
        return {"Items": page} | ({"LastEvaluatedKey": page[-1]} if begin else {})

    def _reads(self, size: int, consistent: bool) -> None:
        self.read += max(1, math.ceil(size / BLOCK)) * (1.0 if consistent else 0.5)


def bytes_of(item: Json) -> int:
    return int(dynamodb.size({"M": item})) if item else 0


def _shown(item: Json, names: Iterable[str]) -> Json:
    return {name: item[name] for name in names if name in item}


@contextmanager
def counting(kind: type[Counted]) -> Iterator[tuple[simulated.World, Any]]:
    """Lets a release live in the simulated world, and yields the world and its DynamoDB table, which counts. Nothing is
    logged, measured or swept meanwhile, and task tokens have AWS's length."""
    os.environ.update(simulated.SETTINGS)
    logger.setLevel("CRITICAL")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "add_metric", lambda **_: None)
        patch.setattr(observability, "single_metric", lambda **_: MagicMock())
        patch.setattr(simulated.World, "SWEEPS_EVERY", 10**6)
        patch.setattr(simulated, "DynamoDB", kind)
        with simulated.World().installed(patch) as world:
            world.machines.token_length = TOKEN
            a_release(world)
            yield world, world.dynamodb


@cache
def measure() -> list[Json]:
    """Each look: read units, bytes, milliseconds of this machine."""
    with counting(Counted) as (world, table):
        lives = [key for key in table.items if key.startswith("environment#")]
        written = table.written / len(lives)
        now = datetime.fromtimestamp(world.timeline.now, UTC)
        table.fill(many(table.items, now))
        settings = load_settings()
        with pytest.MonkeyPatch.context() as upgrade:  # whose sweeps sum the days before, some each
            upgrade.setattr(sums, "DAYS_A_SWEEP", SUMMED_DAYS)
            _sweep(settings, now)
        swept = look(table, lambda: _sweep(settings, now))
        rows = [{"look": name, **look(table, each)} for name, each in looks(settings, now).items()]
    rows = [row | {"goal": "< 100, < 100 KB"} for row in rows]
    rows.append({"look": "an open board, an hour", "read_units": _an_hour(rows), "goal": "< 20,000"})
    rows.append({"look": "what a sweep reads, sums and all", **swept, "goal": ""})
    rows.append(
        {"look": "a life's write units, releases' among them", "read_units": round(written, 1), "goal": "<= 12"}
    )
    return [dict.fromkeys(rows[0], "") | row for row in rows]


def _an_hour(rows: Iterable[Json]) -> int:
    units: dict[str, float] = {row["look"]: row["read_units"] for row in rows}
    return round(units["first page"] * 3600 / LOOK_SECONDS + units["releases, 3 days"] * 3600 / HEADS_SECONDS)


def _sweep(settings: Any, now: datetime) -> Json:
    in_days = replace(settings, record_days=SUMMED_DAYS)
    sums.keep(in_days, list(Records(settings.table, Environment).live()), now)
    return {}


def look(table: Counted, read: Callable[[], Json]) -> Json:
    """What a look costs."""
    table.read, began = 0.0, time.perf_counter()
    said = json.dumps(read()).encode()
    took = (time.perf_counter() - began) * 1000
    return {"read_units": table.read, "bytes": len(said), "bytes_gzip": len(gzip.compress(said)), "ms": round(took)}


def looks(settings: Any, now: datetime) -> dict[str, Callable[[], Json]]:
    """What is looked at."""
    reading = Reading(settings.table, settings.parameters, now)
    at = utc_text(now - timedelta(hours=2))

    def fresh() -> Reading:
        return Reading(settings.table, settings.parameters, now)

    return {
        "first page": lambda: fresh().environments(),
        "a later page": lambda: reading.environments(Wanted(), f"{at}#m"),
        "of an application": lambda: fresh().environments(Wanted(application="app-7")),
        "of a stage that few have": lambda: fresh().environments(Wanted(stage=EnvironmentStage.CREATING)),
        "past their deadline": lambda: fresh().environments(Wanted(only="late")),
        "words that nothing has": lambda: fresh().environments(Wanted(text="nothing like this")),
        "ended, 1 day": lambda: fresh().environments(Wanted(live=False, days=1)),
        "ended, 7 days": lambda: fresh().environments(Wanted(live=False, days=7)),
        "releases, 3 days": lambda: fresh().releases(3),
        "releases of an application, 7 days": lambda: fresh().releases(7, "app-7"),
        "costs, 7 days": lambda: fresh().costs(7),
    }


def many(items: dict[str, Json], now: datetime) -> Iterable[Callable[[], Json]]:
    """The records of those that live and of those that have ended, of a life's records at its end."""
    ended = next(item for key, item in items.items() if key.startswith("environment#"))
    pushed = next(item for key, item in items.items() if key.startswith("release#"))
    for number in range(LIVES):
        at = now - timedelta(seconds=4 * 3600 * number / LIVES)
        yield partial(_environment, ended, number, "live", at, None)
    for number in range(ENDED_A_DAY * DAYS):
        at = now - timedelta(hours=5, seconds=86_400 * number / ENDED_A_DAY)
        yield partial(_environment, ended, number, "gone", at, at + timedelta(hours=4))
        if number % SUITES == 0:
            yield partial(_release, pushed, number, "gone", at)
    for number in range(0, LIVES, SUITES):
        yield partial(_release, pushed, number, "live", now - timedelta(seconds=4 * 3600 * number / LIVES))


def _environment(like: Json, number: int, kind: str, at: datetime, until: datetime | None) -> Json:
    application, name = f"app-{number // SUITES % APPLICATIONS}", f"{kind}-{number:07}-a-name-of-its-length"
    item = like | {
        "pk": {"S": f"environment#{name}"},
        "id": {"S": name},
        "application": {"S": application},
        "suite": {"S": f"suite-{number % SUITES}"},
        "planned_at": {"S": utc_text(at)},
        "launched_at": {"S": utc_text(at)},
        "deadline": {"S": utc_text(at + timedelta(hours=24))},
        "stage": {"S": EnvironmentStage.TERMINATED if until else EnvironmentStage.AWAITING_TESTS},
    }
    place = placed(Environment, name, application, utc_text(until or at), utc_text(until)[:10] if until else LIVE)
    item |= {key: {"S": each} for key, each in place.items()}
    if until:
        return item | {"terminated_at": {"S": utc_text(until)}}
    gone = ("terminated_at", "ending", "instances_left")
    return {key: each for key, each in item.items() if key not in gone} | {"live": {"S": "environment"}}


def _release(like: Json, number: int, kind: str, at: datetime) -> Json:
    application, name = f"app-{number // SUITES % APPLICATIONS}", f"{kind}-{number:07}"
    suites = [
        {"suite": f"suite-{n}", "environment": f"{kind}-{number + n:07}-a-name-of-its-length"} for n in range(SUITES)
    ]
    place = placed(Release, name, application, utc_text(at), utc_text(at)[:10])
    said = [{"M": {key: {"S": each} for key, each in one.items()}} for one in suites]
    item = like | {"pk": {"S": f"release#{name}"}, "id": {"S": name}, "suites": {"L": said}}
    assert of_item(Release, item).suites
    return item | {"application": {"S": application}, **{key: {"S": each} for key, each in place.items()}}


if __name__ == "__main__":
    sys.stdout.write("\n".join(json.dumps(row) for row in measure()) + "\n")
