"""What a strict local cloud hides and refuses, by a clock that stands still."""

import json
from typing import Any

import pytest

from local.controller import lag
from local.recent import Recent
from local.workload.calls import Call
from local.workload.quotas import QUOTAS, Quotas
from local.workload.rates import Rates

NOW = 1_000_000.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Any:
    return Clock()


def call(action: str, service: str = "ec2", **parameters: str) -> Call:
    said = {name.replace("_", "."): [value] for name, value in parameters.items()}
    return Call(service, action, "key", "us-east-1", said, query=True)


class TestWhatWasJustMade:
    def test_is_hidden_from_the_first_look_only(self, clock: Any) -> None:
        recent = Recent(clock)
        recent.made("i-1")
        assert [recent.hides("i-1"), recent.hides("i-1"), recent.hides("i-2")] == [True, False, False]
        recent.made("i-1")  # a repetition of the call makes nothing
        assert not recent.hides("i-1")

    def test_is_seen_after_a_minute(self, clock: Any) -> None:
        recent = Recent(clock)
        recent.made("i-1")
        assert recent.any
        clock.now += 60
        assert (recent.hides("i-1"), recent.any) == (False, False)

    def test_can_say_by_itself_when_it_was_made(self, clock: Any) -> None:
        recent = Recent(clock)
        assert [recent.hides("new", NOW - 1), recent.hides("new", NOW - 1)] == [True, False]
        assert not recent.hides("old", NOW - 61)

    @pytest.mark.parametrize(
        ("caller", "first"), [("arn:aws:sts::1:assumed-role/mayfly-sweep/x", []), ("arn:aws:iam::1:root", ["new"])]
    )
    def test_is_left_out_of_a_list_for_a_role_and_not_for_the_administrator(
        self, clock: Any, monkeypatch: pytest.MonkeyPatch, caller: str, first: list[str]
    ) -> None:
        monkeypatch.setattr(lag.evaluator, "caller_arn", lambda: caller)
        recent = Recent(clock)
        body = json.dumps({"Items": [{"pk": {"S": "new"}}], "Count": 1}).encode()
        query = lag._hiding(lambda _: (200, {}, body), lambda _: "Items", lambda item: recent.hides(lag._key(item)))
        write = lag._noting(lambda _: (200, {}, b"{}"), recent)
        write({"Item": {"pk": {"S": "new"}}})

        def seen() -> tuple[list[str], int]:
            said = json.loads(query({})[2])
            return [item["pk"]["S"] for item in said["Items"]], said["Count"]

        assert seen() == (first, len(first))
        assert seen() == (["new"], 1)

    @pytest.mark.parametrize(
        "asked",
        [
            {"Item": {"pk": {"S": "one"}}},
            {"Key": {"pk": {"S": "one"}}},
            {"TransactItems": [{"Put": {"Item": {"pk": {"S": "one"}}}}]},
            {"TransactItems": [{"Update": {"Key": {"pk": {"S": "one"}}}}]},
        ],
    )
    def test_is_known_by_the_key_that_a_write_names(self, asked: Any) -> None:
        assert list(lag._written(asked)) == ['{"S": "one"}']


class TestRates:
    def refused(self, rates: Rates, asked: Call, times: int) -> list[str]:
        """The errors of so many calls at once."""
        answers = [rates.refusal(asked, "1") for _ in range(times)]
        return [str(answer.error) for answer in answers if answer]

    @pytest.mark.parametrize(
        ("asked", "most", "error"),
        [
            (call("DescribeVolumes", Filter_1_Name="x"), 100, "RequestLimitExceeded"),
            (call("DescribeInstances", InstanceId_1="i-1"), 100, "RequestLimitExceeded"),
            (call("DescribeInstances"), 50, "RequestLimitExceeded"),
            (call("CreateTags", ResourceId_1="i-1"), 50, "RequestLimitExceeded"),
            (call("RunInstances", MaxCount="1"), 5, "RequestLimitExceeded"),
            (call("DescribeStacks", "cloudformation"), 5, "Throttling"),
        ],
        ids=lambda value: getattr(value, "action", str(value)),
    )
    def test_let_a_burst_through_and_refuse_what_is_above(self, clock: Any, asked: Call, most: int, error: str) -> None:
        rates = Rates(clock)
        assert not self.refused(rates, asked, most)
        assert self.refused(rates, asked, 1) == [error]

    def test_are_of_each_action_account_and_region(self, clock: Any) -> None:
        rates = Rates(clock)
        self.refused(rates, call("DescribeStacks", "cloudformation"), 5)
        assert rates.refusal(call("DeleteStack", "cloudformation"), "1") is None
        assert rates.refusal(call("DescribeStacks", "cloudformation"), "2") is None
        assert rates.refusal(call("ListBuckets", "s3"), "1") is None

    def test_fill_by_time(self, clock: Any) -> None:
        rates = Rates(clock)
        self.refused(rates, call("RunInstances", MaxCount="1"), 5)
        clock.now += 2
        assert len(self.refused(rates, call("RunInstances", MaxCount="1"), 5)) == 1

    def test_count_instances(self, clock: Any) -> None:
        rates = Rates(clock)
        assert rates.refusal(call("RunInstances", MaxCount="1000"), "1") is None
        assert rates.refusal(call("RunInstances", MaxCount="3"), "1")
        clock.now += 600
        assert rates.refusal(call("RunInstances", MaxCount="1000"), "1") is None

    def test_let_through_who_comes_again_as_a_refusal_is_a_second(self, clock: Any) -> None:
        rates = Rates(clock)
        asked = call("DescribeStacks", "cloudformation")
        assert len(self.refused(rates, asked, 5 + 1 + 5)) == 1


class TestQuotas:
    def test_are_aws_s_defaults_where_they_are_enforced(self) -> None:
        assert Quotas(enforced=True).change()["vpcs"] == 5
        assert Quotas(enforced=False).change(vpcs=1) == {}

    def test_that_do_not_exist_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"expected vpcs, elastic_ips, .* or stacks, but there is buckets"):
            Quotas(enforced=True).change(buckets=1)

    @pytest.mark.parametrize("name", QUOTAS)
    def test_refuse_in_the_words_of_the_service(self, name: str) -> None:
        quotas = Quotas(enforced=True)
        quotas.change(**{name: 0})
        quota = QUOTAS[name]
        assert quota.refused in str(quotas.refusal(quota.kind, "222222222222", "us-east-1", {"DesiredCapacity": 2}))
        assert Quotas(enforced=False).refusal(quota.kind, "222222222222", "us-east-1", {}) is None
