"""Idle ending: when an environment counts as idle, and what is no idleness."""

from datetime import UTC, datetime, timedelta

import pytest

from mayfly.contract.configuration import Application
from mayfly.domain.idle import IdleAction, IdlePolicy, Usage, counts_from, decide_idle, is_due
from mayfly.domain.records import Environment, Sleep
from mayfly.domain.timestamp import utc_text

READY = datetime(2026, 11, 24, 8, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
POLICY = IdlePolicy(4 * HOUR, 30 * MINUTE)
UNUSED = Usage()


def decided(now: datetime, warned_at: datetime | None = None, usage: Usage = UNUSED) -> tuple[IdleAction, datetime]:
    decision = decide_idle(now, READY, warned_at, usage, POLICY)
    return decision.action, decision.at


class TestNobodyUsesIt:
    def test_it_is_left_alone_until_it_is_time_to_warn(self) -> None:
        early = READY + 3 * HOUR + 29 * MINUTE
        assert not is_due(early, READY, POLICY)
        assert decided(early)[0] is IdleAction.NOTHING

    def test_its_owner_is_warned_half_an_hour_before(self) -> None:
        now = READY + 3 * HOUR + 30 * MINUTE
        assert is_due(now, READY, POLICY)
        assert decided(now) == (IdleAction.WARN, READY + 4 * HOUR)

    def test_it_ends_when_its_time_is_over(self) -> None:
        warned = READY + 3 * HOUR + 30 * MINUTE
        assert decided(READY + 4 * HOUR - MINUTE, warned)[0] is IdleAction.NOTHING
        assert decided(READY + 4 * HOUR, warned)[0] is IdleAction.END

    def test_whoever_is_late_to_look_warns_first_and_waits_all_the_same(self) -> None:
        late = READY + 20 * HOUR
        assert decided(late) == (IdleAction.WARN, late + 30 * MINUTE)
        assert decided(late + 29 * MINUTE, late)[0] is IdleAction.NOTHING
        assert decided(late + 30 * MINUTE, late)[0] is IdleAction.END


class TestItIsUsed:
    def test_its_time_begins_anew(self) -> None:
        used = READY + 2 * HOUR
        assert decided(READY + 4 * HOUR, READY + 3 * HOUR, Usage(used)) == (IdleAction.NOTE, used)

    def test_what_is_noted_already_is_no_new_use(self) -> None:
        noted_in_milliseconds = Usage(READY + timedelta(microseconds=400))
        assert decided(READY + 4 * HOUR, READY + 3 * HOUR, noted_in_milliseconds)[0] is IdleAction.END

    def test_a_warning_from_before_is_none(self) -> None:
        assert decided(READY + 4 * HOUR, READY - HOUR)[0] is IdleAction.WARN

    @pytest.mark.parametrize("hours", [4, 400])
    def test_what_aws_does_not_say_is_no_idleness(self, hours: int) -> None:
        unknown = Usage(unknown="CloudWatch has no measurements")
        assert decided(READY + hours * HOUR, READY + HOUR, unknown)[0] is IdleAction.NOTHING


class TestItsRecord:
    def record(self, **more: object) -> Environment:
        return Environment(id="web-1-look", ready_at=utc_text(READY), **more)  # type: ignore[arg-type]

    def test_says_since_when_it_may_be_idle(self) -> None:
        assert counts_from(self.record()) == READY
        assert counts_from(self.record(used_at=utc_text(READY + HOUR))) == READY + HOUR

    def test_of_one_that_sleeps_was_extended_or_was_never_ready_says_that_it_is_not(self) -> None:
        assert counts_from(self.record(sleep=Sleep(utc_text(READY), {}))) is None
        assert counts_from(self.record(extensions=("0a1b2c",))) is None
        assert counts_from(Environment(id="web-1-look")) is None


def test_an_application_says_after_how_long() -> None:
    document = {"owner": "x", "blueprint": "b.yaml", "suites": [{"name": "look", "kind": "manual"}]}
    assert Application.model_validate(document).end_when_idle_minutes is None
    assert Application.model_validate(document | {"end_when_idle_minutes": 240}).end_when_idle_minutes == 240
    with pytest.raises(ValueError, match="end_when_idle_minutes"):
        Application.model_validate(document | {"end_when_idle_minutes": 59})
