"""Office hours: when an environment sleeps, and whose word wins."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from mayfly.contract import configuration
from mayfly.contract.configuration import Application, Permanent
from mayfly.domain.cost import Prices, cost
from mayfly.domain.losses import of_life
from mayfly.domain.office_hours import SleepAction, Window, changes_at, decide_sleep
from mayfly.domain.records import Environment, Override, Sleep
from mayfly.domain.timestamp import utc_text

OFFICE = Window(("mon", "tue", "wed", "thu", "fri"), time(7), time(19))
NOON, NIGHT = datetime(2026, 11, 24, 12, tzinfo=UTC), datetime(2026, 11, 24, 23, tzinfo=UTC)  # a Tuesday
SUNDAY = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOURS = {"days": ["mon"], "start": "07:00", "end": "19:00"}


def asked(asleep: bool, until: datetime) -> Override:
    return Override(asleep, utc_text(NOON), utc_text(until), "ada", "a demo")


class TestAnEnvironment:
    @pytest.mark.parametrize(
        ("now", "asleep", "action", "reason"),
        [
            (NOON, False, SleepAction.NOTHING, "these are its office hours"),
            (NOON, True, SleepAction.WAKE, "these are its office hours"),
            (NIGHT, False, SleepAction.SLEEP, "its office hours are over"),
            (SUNDAY, False, SleepAction.SLEEP, "its office hours are over"),
        ],
    )
    def test_sleeps_outside_of_its_office_hours(
        self, now: datetime, asleep: bool, action: SleepAction, reason: str
    ) -> None:
        decision = decide_sleep(now, OFFICE, None, asleep)
        assert (decision.action, decision.reason) == (action, reason)

    def test_is_told_to_sleep_again_in_case_that_somebody_died_in_between(self) -> None:
        assert decide_sleep(NIGHT, OFFICE, None, asleep=True).action is SleepAction.SLEEP

    @pytest.mark.parametrize("asleep", [True, False])
    def test_without_office_hours_is_awake(self, asleep: bool) -> None:
        expected = SleepAction.WAKE if asleep else SleepAction.NOTHING
        assert decide_sleep(NIGHT, None, None, asleep).action is expected

    def test_stays_awake_while_something_goes_on(self) -> None:
        decision = decide_sleep(NIGHT, OFFICE, None, asleep=False, obstacle="web-staging-3 runs")
        assert (decision.action, decision.reason) == (
            SleepAction.NOTHING,
            "its office hours are over; but web-staging-3 runs",
        )


class TestWhatAPersonAskedFor:
    @pytest.mark.parametrize("hours", [OFFICE, None])
    def test_wins_until_its_time_is_over(self, hours: Window | None) -> None:
        sleeps = asked(asleep=True, until=NOON + timedelta(hours=2))
        assert decide_sleep(NOON, hours, sleeps, asleep=False).action is SleepAction.SLEEP
        over = decide_sleep(NOON + timedelta(hours=2), hours, sleeps, asleep=True)
        assert over.action is SleepAction.WAKE

    def test_keeps_it_awake_at_night(self) -> None:
        awake = asked(asleep=False, until=NIGHT + timedelta(hours=1))
        decision = decide_sleep(NIGHT, OFFICE, awake, asleep=True)
        assert decision.action is SleepAction.WAKE
        assert decision.reason == "ada asked for it, until 2026-11-25T00:00:00.000Z: a demo"
        assert decide_sleep(NIGHT + timedelta(hours=1), OFFICE, awake, asleep=False).action is SleepAction.SLEEP

    def test_wakes_whatever_goes_on(self) -> None:
        awake = asked(asleep=False, until=NIGHT + timedelta(hours=1))
        assert decide_sleep(NIGHT, OFFICE, awake, asleep=True, obstacle="x").action is SleepAction.WAKE


class TestTheConfiguration:
    def test_lets_staging_sleep_and_production_never(self) -> None:
        own = {"name": "one", "instance_count": 3, "office_hours": HOURS}
        assert Permanent.model_validate(own | {"kind": "staging"}).office_hours
        with pytest.raises(ValueError, match="expected kind to be staging where there are office_hours"):
            Permanent.model_validate(own)

    def test_has_office_hours_of_its_own(self) -> None:
        document = {"owner": "x", "blueprint": "b.yaml", "suites": [{"name": "look", "kind": "manual"}]}
        assert Application.model_validate(document | {"office_hours": HOURS}).office_hours
        assert Application.model_validate(document).office_hours is None


class TestWhatItCosts:
    PRICES = Prices("2026-11-01", "list", "USD", {"us-east-1": {"t3.micro": 1.0}}, {"us-east-1": 0.0}, {})

    def record(self, **more: object) -> Environment:
        return Environment(
            id="web-1-look",
            region="us-east-1",
            instance_types={"t3.micro": 2},
            launched_at=utc_text(NOON),
            **more,  # type: ignore[arg-type]
        )

    def test_is_nothing_while_it_sleeps(self) -> None:
        asleep = self.record(sleep=Sleep(utc_text(NOON + timedelta(hours=3)), {}), slept_seconds=3600)
        at = cost(asleep, NOON + timedelta(hours=10), self.PRICES)
        assert (at.usd, at.usd_per_hour, at.instance_hours, at.rate) == (4.0, 0.0, 4.0, 2.0)
        awake = cost(self.record(slept_seconds=8 * 3600), NOON + timedelta(hours=10), self.PRICES)
        assert (awake.usd, awake.usd_per_hour) == (4.0, 2.0)


def test_falling_asleep_loses_no_instance() -> None:
    shrunk = (
        "At 2026-11-24T19:00:00Z a user request update of AutoScalingGroup constraints to min: 0, max: 2, desired: 0 "
        "changing the desired capacity from 2 to 0. At 2026-11-24T19:00:10Z an instance was taken out of service in "
        "response to a difference between desired and actual capacity, shrinking the capacity from 2 to 0."
    )
    lost = of_life(NOON, 2, [], [(NIGHT, shrunk), (NIGHT, shrunk)])
    assert (lost.launched, lost.count) == (2, 0)
    woken = of_life(NOON, 2, [NIGHT, NIGHT], [(NIGHT, shrunk), (NIGHT, shrunk)])
    assert woken.count == 0


BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def utc(day: int, month: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


class TestATimeZone:
    @pytest.mark.parametrize(
        ("start", "end", "opens", "closes"),
        [
            (time(7), time(19), utc(24, 11, 6), utc(24, 11, 18)),  # winter
            (time(7), time(19), utc(24, 7, 5), utc(24, 7, 17)),  # summer
            (time(0), time(12), utc(28, 3, 23), utc(29, 3, 10)),  # the morning of 29 March has eleven hours
            (time(22), time(2, 30), utc(28, 3, 21), utc(29, 3, 1, 30)),  # half past two is skipped: half past three
            (time(2, 30), time(9), utc(29, 3, 1, 30), utc(29, 3, 7)),
            (time(0), time(12), utc(24, 10, 22), utc(25, 10, 11)),  # that of 25 October thirteen
            (time(22), time(2, 30), utc(24, 10, 20), utc(25, 10, 1, 30)),  # half past two comes twice: to the second
            (time(2, 30), time(9), utc(25, 10, 0, 30), utc(25, 10, 8)),  # from the first
        ],
    )
    def test_is_that_of_its_clocks_in_summer_in_winter_and_at_both_changes(
        self, start: time, end: time, opens: datetime, closes: datetime
    ) -> None:
        window, moment = Window(EVERY_DAY, start, end, BERLIN), timedelta(seconds=1)
        assert [window.is_open(at) for at in (opens - moment, opens, closes - moment, closes)] == [
            *(False, True),
            *(True, False),
        ]

    def test_says_which_day_it_is(self) -> None:
        monday = Window(("mon",), time(0), time(23), ZoneInfo("Pacific/Auckland"))
        assert monday.is_open(datetime(2026, 11, 29, 12, tzinfo=UTC))  # Sunday at noon is Monday there

    def test_is_utc_where_none_is_configured(self) -> None:
        assert configuration.Window.model_validate(HOURS).hours() == Window(
            ("mon",), time(7), time(19), ZoneInfo("UTC")
        )
        assert configuration.Window.model_validate(HOURS | {"time_zone": "Europe/Berlin"}).hours().zone == BERLIN

    @pytest.mark.parametrize("name", ["Europe/Nowhere", "", "../etc/passwd", "CET+1", "Europe", "a" * 300])
    def test_that_is_unknown_is_refused_with_what_was_expected(self, name: str) -> None:
        with pytest.raises(
            ValueError, match=r"time_zone\n.*expected a time zone of IANA's database, such as Europe/Berlin"
        ):
            configuration.Window.model_validate(HOURS | {"time_zone": name})


class TestWhatIsSaidOfTheNextChange:
    @pytest.mark.parametrize(
        ("now", "hours", "override", "at"),
        [
            (NOON, OFFICE, None, NOON.replace(hour=19)),
            (NIGHT, OFFICE, None, NOON.replace(day=25, hour=7)),
            (SUNDAY, OFFICE, None, datetime(2026, 11, 30, 7, tzinfo=UTC)),
            (NIGHT, OFFICE, asked(asleep=False, until=NIGHT + timedelta(hours=2)), NIGHT + timedelta(hours=2)),
            (NIGHT, OFFICE, asked(asleep=True, until=NIGHT + timedelta(hours=2)), NOON.replace(day=25, hour=7)),
            (NIGHT, OFFICE, asked(asleep=True, until=NOON), NOON.replace(day=25, hour=7)),
            (NOON, None, asked(asleep=True, until=NIGHT), NIGHT),
            (NOON, None, None, None),
            (NOON, Window(EVERY_DAY, time(0), time(0)), None, None),
        ],
    )
    def test_is_the_office_hours_or_the_end_of_what_somebody_asked_for(
        self, now: datetime, hours: Window | None, override: Override | None, at: datetime | None
    ) -> None:
        assert changes_at(now, hours, override) == at
