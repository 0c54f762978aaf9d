"""Sums of environments: a sweep keeps them, and whoever shows a figure reads them."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mayfly.aws.records import Records
from mayfly.domain.records import LIVE, Entry, Environment, Release, Sum, placed
from mayfly.domain.timestamp import utc_text
from mayfly.settings import load_settings
from mayfly.workflows import sums
from mayfly.workflows.reading import Reading
from tests.integration.world import NOW, REGION, Json, World

type Table = Records[Environment]

BEGUN = datetime.fromisoformat(NOW)
UNTIL = datetime(2027, 2, 22, tzinfo=UTC)
AN_HOUR = 0.0208
"""Of a t3.small, in US dollars; its volume costs less than a cent."""


def begin(records: Table, name: str, **facts: object) -> None:
    known = {"application": "webshop", "suite": "smoke", "region": REGION, "planned_at": NOW, "launched_at": NOW}
    known |= {"instance_types": {"t3.small": 10}, "instances_built": 10, "stage": "awaiting tests"}
    known |= {"image": "ami-1", "channel": "base/stable", "deadline": utc_text(BEGUN + timedelta(hours=4))}
    records.begin(name, Entry(NOW, "a", "b", "c"), UNTIL, **known | facts)


def end(records: Table, name: str, at: datetime, **facts: object) -> None:
    when = utc_text(at)
    place = placed(Environment, name, "webshop", when, when[:10])
    records.change(name, drop=(Environment.live,), terminated_at=when, stage="terminated", **place | facts)


@pytest.fixture
def records(world: World) -> Table:
    return Records(world.table, Environment)


def sweep(world: World, at: datetime) -> None:
    sums.keep(load_settings(), list(Records(world.table, Environment).live()), at)


def costs(world: World, at: datetime, days: int = 7) -> Json:
    found: Json = Reading(world.table, "/mayfly", at).costs(days)
    return found


class TestFewEnvironments:
    def test_are_summed_of_this_second(self, world: World, records: Table) -> None:
        begin(records, "web-1")
        sweep(world, BEGUN)
        begin(records, "web-2")
        end(records, "web-1", BEGUN + timedelta(hours=1))
        found = costs(world, BEGUN + timedelta(hours=2))
        assert found["total_usd"] == pytest.approx(3 * 10 * AN_HOUR, rel=0.01)
        assert found["usd_per_hour"] == pytest.approx(10 * AN_HOUR, rel=0.01)


class TestManyEnvironments:
    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mayfly.workflows.sums.FEW", 0)
        monkeypatch.setattr("mayfly.workflows.sums.VERY_FEW", 0)

    def test_are_read_as_a_sweep_summed_them_and_grow_by_what_runs(self, world: World, records: Table) -> None:
        begin(records, "web-1")
        begin(records, "web-2")
        end(records, "web-2", BEGUN + timedelta(hours=1))
        before = costs(world, BEGUN + timedelta(hours=3), days=2)
        sweep(world, BEGUN + timedelta(hours=2))
        world.wire.forget()
        found = costs(world, BEGUN + timedelta(hours=3), days=2)
        assert found == before
        assert world.wire.names().count("Query") == 1, "only permanent environments are read themselves"

    def test_have_their_followers_and_totals_from_the_sum(self, world: World, records: Table) -> None:
        begin(records, "web-1")
        sweep(world, BEGUN)
        world.wire.forget()
        known = sums.Sums(world.table, BEGUN).living
        assert [(one.channel, one.image, one.instances) for one in known.followed] == [("base/stable", "ami-1", 10)]
        assert (known.environments, known.stages, known.deadlines[3:6]) == (1, {"awaiting tests": 1}, (0, 1, 0))
        assert world.wire.names() == ["BatchGetItem"]

    def test_count_what_failed_of_those_that_ended(self, world: World, records: Table) -> None:
        begin(records, "web-1", blueprint="fleet.yaml")
        lost = {"instance_failures": {"launched": 10, "failed": {"never signalled": 2}}}
        end(records, "web-1", BEGUN, **lost)
        sweep(world, BEGUN)
        world.wire.forget()
        found = [(one.of, one.name, one.losses.count) for one in sums.Sums(world.table, BEGUN).failures(1)]
        assert found == [("application", "webshop", 2), ("image", "ami-1", 2), ("blueprint", "fleet.yaml", 2)]

    def test_of_a_day_that_is_over_are_settled_and_never_summed_again(self, world: World, records: Table) -> None:
        begin(records, "web-1")
        end(records, "web-1", BEGUN + timedelta(hours=1))
        day = records.get("web-1")
        assert day
        assert day.shelved
        for at in (BEGUN, BEGUN + timedelta(hours=19)):  # two hours past midnight are not over yet
            sweep(world, at)
            known = Records(world.table, Sum).get(NOW[:10])
            assert known
            assert not known.settled
        sweep(world, BEGUN + timedelta(hours=20))
        begin(records, "web-2")
        end(records, "web-2", BEGUN)
        sweep(world, BEGUN + timedelta(hours=21))
        known = Records(world.table, Sum).get(NOW[:10])
        assert known
        assert (known.settled, known.environments) == (True, 1)

    def test_of_earlier_days_are_summed_one_after_the_other(self, world: World) -> None:
        for _ in range(3):
            sweep(world, BEGUN)
        names = [utc_text(BEGUN - timedelta(days=day))[:10] for day in range(20)]
        found = {one.id: one.settled for one in Records(world.table, Sum).many(names)}
        assert [found.get(name) for name in names[:8]] == [False, True, True, True, True, True, True, None]

    def test_that_cannot_be_kept_halt_nothing(self, world: World, records: Table) -> None:
        begin(records, "web-1")
        world.lose()
        sweep(world, BEGUN)


class TestAnEarlierVersion:
    def test_has_what_lives_put_on_the_shelves_by_the_sweep(self, world: World, records: Table) -> None:
        world.records().begin("old", {"planned_at": NOW, "application": "webshop"}, Entry(NOW, "a", "b", "c"), UNTIL)
        sums.shelve(load_settings(), list(records.live()))
        found = records.get("old")
        assert found
        assert (found.shelved, found.born, found.lives) == (f"{NOW}#old", None, True)
        assert [one.id for one in records.shelved(LIVE)] == ["old"] == [one.id for one in records.live()]

    def test_and_what_ended_meanwhile_is_left_alone(self, world: World, records: Table) -> None:
        world.records().begin("old", {"planned_at": NOW}, Entry(NOW, "a", "b", "c"), UNTIL)
        living = list(records.live())
        world.records().change("old", {"terminated_at": NOW}, drop=("live",))
        sums.shelve(load_settings(), living)
        assert [one.id for one in records.live()] == []


def test_releases_come_in_pages(world: World) -> None:
    releases = Records(world.table, Release)
    for number in range(30):
        at = utc_text(BEGUN + timedelta(hours=number))
        releases.begin(f"web-{number:02}", Entry(at, "a", "b", "c"), UNTIL, application=f"app-{number % 2}")
    reading = Reading(world.table, "/mayfly", BEGUN + timedelta(hours=30))
    first = reading.releases(7)
    rest = reading.releases(7, after=first["next"])
    found = [one["id"] for page in (first, rest) for one in page["releases"]]
    assert (found, "next" in rest) == ([f"web-{n:02}" for n in range(29, -1, -1)], False)
    assert [one["id"] for one in reading.releases(0)["releases"]] == []
    assert len(reading.releases(7, "app-1")["releases"]) == 15


def test_of_days_that_are_settled_like_all_before_them_are_not_read_again(world: World) -> None:
    """A sweep reads what lives and the days that are not settled: not one record for each day that is kept."""
    settings = replace(load_settings(), record_days=5)
    for _ in range(4):
        sums.keep(settings, [], BEGUN)

    def read(at: datetime) -> set[str]:
        world.wire.forget()
        sums.keep(settings, [], at)
        keys = (key for call in world.wire.heard("BatchGetItem") for key in call["RequestItems"][world.table]["Keys"])
        return {key["pk"]["S"].removeprefix("sum#") for key in keys}

    today, tomorrow = NOW[:10], utc_text(BEGUN + timedelta(days=1))[:10]
    assert read(BEGUN) == {LIVE, today}
    assert read(BEGUN + timedelta(days=1)) == {LIVE, today, tomorrow}
    assert read(BEGUN + timedelta(days=1)) == {LIVE, today, tomorrow}
    assert read(BEGUN + timedelta(days=1)) == {LIVE, tomorrow}
