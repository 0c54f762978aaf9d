"""What keeping office hours reads: every five minutes, however much lives."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bench.pages import Counted
from mayfly.domain.records import LIVE, Environment, Sum, placed
from mayfly.domain.timestamp import utc_text
from mayfly.settings import load_settings
from mayfly.workflows import catalogue, sleeping
from tests.model import world as simulated

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    monkeypatch.setattr(simulated, "DynamoDB", Counted)
    monkeypatch.setattr(catalogue, "applications", lambda _: [])
    with simulated.World().installed(monkeypatch) as world:
        yield world.dynamodb


def environment(number: int, kind: str, lines: int) -> dict[str, Any]:
    name = f"web-{number:05}-a-name-of-its-length"
    place = placed(Environment, name, "webshop", utc_text(NOW - timedelta(seconds=number)), LIVE)
    line = {"M": {key: {"S": "x" * 100} for key in ("at", "who", "what", "why")}}
    texts = {"id": name, "application": "webshop", "kind": kind, "stage": "awaiting tests", "live": "environment"}
    return {"pk": {"S": f"environment#{name}"}, "history": {"L": [line] * lines}} | {
        key: {"S": each} for key, each in (texts | place).items()
    }


def read_units(table: Counted, automated: int, manual: int, lines: int) -> float:
    """What one look reads of so many environments, each with so many lines of history."""
    taken_up = {"pk": {"S": f"{Sum.kind}#{LIVE}"}, "id": {"S": LIVE}, "taken_up": {"BOOL": True}}
    kinds = ["automated"] * automated + ["manual"] * manual
    items = [taken_up, *(environment(number, kind, lines) for number, kind in enumerate(kinds))]
    table.fill([lambda item=item: item for item in items])
    table.read = 0.0
    looked_at = sleeping.keep_hours(load_settings(), sleeping.see(load_settings(), None, NOW), NOW)
    assert len(looked_at) == manual
    return table.read


def test_the_history_of_what_nobody_uses_costs_nothing(table: Counted) -> None:
    assert read_units(table, automated=400, manual=0, lines=100) < 400 * 0.1


def test_of_what_people_use_it_is_half_of_its_record(table: Counted) -> None:
    record_of_44_kilobytes = 11 / 2
    assert read_units(table, automated=0, manual=10, lines=100) < 10 * (record_of_44_kilobytes + 1)
