"""How many instances of an environment failed, and why."""

from datetime import UTC, datetime, timedelta

import pytest

from mayfly.domain.losses import UNEXPLAINED, Losses, is_worse, of_creation, of_life, together, with_failed_boots

READY = datetime(2026, 11, 24, 7, tzinfo=UTC)
BEFORE, AFTER = READY - timedelta(minutes=5), READY + timedelta(minutes=30)
STATUS_CHECK = "At 07:29Z an instance was taken out of service in response to an EC2 instance status checks failure."


class TestOneThatNeverWasReady:
    def test_lost_those_that_never_signalled(self) -> None:
        reason = "Fleet: Received 43 SUCCESS signal(s) out of 45.  Unable to satisfy 100% requirement"
        assert of_creation(reason) == Losses(45, {"never signalled": 2})

    def test_lost_those_that_signalled_a_failure(self) -> None:
        reason = "Fleet: Received 1 FAILURE signal(s) out of 45.  Unable to satisfy 100% requirement"
        assert of_creation(reason) == Losses(45, {"failed before they were ready": 1})

    def test_lost_those_that_were_replaced_until_they_were_too_many(self) -> None:
        assert with_failed_boots(Losses(), 3, 45) == Losses(48, {"failed before they were ready": 3})

    def test_lost_none_where_something_else_failed(self) -> None:
        assert of_creation("Database: no capacity") == Losses()


class TestOneThatWasReady:
    def test_lost_none_while_all_run_that_were_built(self) -> None:
        assert of_life(READY, 3, [BEFORE] * 3, []) == Losses(3)

    def test_lost_those_that_were_replaced_and_auto_scaling_says_why(self) -> None:
        found = of_life(READY, 3, [BEFORE, BEFORE, AFTER], [(AFTER, STATUS_CHECK)])
        assert found == Losses(4, {"failed a status check": 1})

    def test_lost_those_that_were_replaced_at_their_boot_besides(self) -> None:
        found = with_failed_boots(of_life(READY, 3, [BEFORE, BEFORE, AFTER], [(AFTER, STATUS_CHECK)]), 2, 3)
        assert found == Losses(6, {"failed a status check": 1, "failed before they were ready": 2})
        assert with_failed_boots(Losses(3), 0, 3) == Losses(3)

    def test_lost_those_that_nothing_has_replaced(self) -> None:
        assert of_life(READY, 3, [BEFORE], []) == Losses(3, {UNEXPLAINED: 2})

    def test_did_not_lose_what_was_replaced_before_it_was_ready(self) -> None:
        assert of_life(READY, 3, [BEFORE] * 3, [(BEFORE, STATUS_CHECK)]) == Losses(3)

    @pytest.mark.parametrize(
        ("cause", "means"),
        [
            ("in response to an ELB system health check failure.", "failed a load balancer's health check"),
            ("indicating it has been terminated or stopped.", "stopped or were terminated"),
            ("in response to an EC2 Spot Instance interruption notice.", "were interrupted by EC2"),
            ("a reason that nobody knows", UNEXPLAINED),
        ],
    )
    def test_is_told_the_cause_in_plain_words(self, cause: str, means: str) -> None:
        assert of_life(READY, 1, [AFTER], [(AFTER, cause)]).failed == {means: 1}


class TestLosses:
    def test_are_told_with_their_causes(self) -> None:
        some = Losses(45, {"never signalled": 2, "failed a status check": 1})
        assert str(some) == "3 of 45 instances failed, 6.667 %: 1 failed a status check, 2 never signalled"
        assert (str(Losses(45)), str(Losses())) == ("0 of 45 instances failed", "no instances")

    def test_of_several_are_added(self) -> None:
        assert together([Losses(2, {"a": 1}), Losses(3, {"a": 1, "b": 1}), Losses()]) == Losses(5, {"a": 2, "b": 1})

    def test_have_a_rate_where_there_were_instances(self) -> None:
        assert (Losses(200, {"a": 1}).rate, Losses().rate) == (0.005, None)


class TestAnImage:
    def test_is_worse_where_more_of_its_instances_fail(self) -> None:
        assert is_worse(Losses(100, {"a": 3}), Losses(1000, {"a": 3}))
        assert not is_worse(Losses(1000, {"a": 3}), Losses(100, {"a": 3}))

    def test_is_not_worse_by_a_few_failures(self) -> None:
        assert not is_worse(Losses(100, {"a": 2}), Losses(1000))
