"""What an environment has cost, at any moment of its life."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mayfly.domain.cost import Spent, by_application, cost, kept, of_kept, spent
from mayfly.domain.records import Environment, read
from mayfly.domain.timestamp import utc_text
from mayfly.prices import list_prices

PRICES = list_prices()
BEGUN = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
TYPES = sorted(PRICES.instances["us-east-1"])

hours = st.floats(-100, 1000, allow_nan=False)
fleets = st.dictionaries(st.sampled_from(TYPES), st.integers(1, 500), min_size=1, max_size=3)
regions = st.sampled_from(sorted(PRICES.instances))


def record(types, ended=None, region="us-east-1", volume_gb=0, **more):
    gone = {"terminated_at": utc_text(BEGUN + timedelta(hours=ended))} if ended is not None else {}
    own = {"instance_types": types, "launched_at": utc_text(BEGUN), "region": region, "volume_gb": volume_gb}
    return read(Environment, {"id": "e"} | own | gone | {"application": "webshop", "suite": "smoke"} | more)


def after(count):
    return BEGUN + timedelta(hours=count)


class TestAnEnvironment:
    def test_costs_what_the_list_says(self):
        # 45 t3.small for a day at 0.0208, and 900 GB of gp3 at 0.08 a month
        found = cost(record({"t3.small": 45}, volume_gb=900), after(24), PRICES)
        assert found.usd == pytest.approx(45 * 0.0208 * 24 + 900 * 0.08 / 730 * 24)
        assert found.usd_per_hour == pytest.approx(found.usd / 24)
        assert found.instance_hours == 45 * 24

    @given(fleets, hours, hours, regions)
    def test_never_costs_less_later(self, types, one, other, region):
        earlier, later = sorted((one, other))
        some = record(types, region=region)
        assert cost(some, after(earlier), PRICES).usd <= cost(some, after(later), PRICES).usd

    @given(fleets, st.floats(-1000, 0))
    def test_costs_nothing_before_its_first_instance(self, types, early):
        found = cost(record(types), after(early), PRICES)
        assert (found.usd, found.instance_hours) == (0, 0)

    @given(fleets, st.floats(0, 100), st.floats(0, 100))
    def test_costs_nothing_more_once_it_is_gone(self, types, lived, later):
        gone = record(types, ended=lived)
        at_its_end, now = cost(gone, after(lived), PRICES), cost(gone, after(lived + later), PRICES)
        assert now.usd == at_its_end.usd
        assert now.usd_per_hour == 0

    @given(st.sampled_from(TYPES), st.integers(1, 100), st.integers(1, 100), st.floats(0, 1000))
    def test_of_more_instances_costs_the_sum(self, kind, one, other, lived):
        together = cost(record({kind: one + other}), after(lived), PRICES).usd
        apart = [cost(record({kind: count}), after(lived), PRICES).usd for count in (one, other)]
        assert together == pytest.approx(sum(apart))

    @given(fleets, st.floats(0, 500), st.floats(0, 500))
    def test_costs_the_sum_of_its_hours(self, types, one, other):
        some = record(types)
        whole = cost(some, after(one + other), PRICES).usd
        rest = cost(replace(some, launched_at=utc_text(after(one))), after(one + other), PRICES).usd
        assert whole == pytest.approx(cost(some, after(one), PRICES).usd + rest, abs=1e-3 * sum(types.values()))

    def test_of_an_unknown_type_has_no_known_price_but_hours(self):
        found = cost(record({"u9.huge": 2}), after(3), PRICES)
        assert (found.usd, found.usd_per_hour, found.instance_hours) == (None, 0, 6)

    def test_in_an_unknown_region_has_no_known_price(self):
        assert cost(record({"t3.small": 1}, region="mars-north-1"), after(3), PRICES).usd is None

    def test_of_which_nothing_was_seen_yet_has_cost_nothing(self):
        assert (
            cost(read(Environment, {"id": "e", "region": "us-east-1", "stage": "planned"}), after(3), PRICES).usd == 0
        )


class TestApplications:
    def test_are_summed_by_suite_and_the_dearest_comes_first(self):
        records = [
            record({"t3.small": 1}, application="small"),
            record({"m5.large": 10}, suite="load"),
            record({"m5.large": 1}),
            record({"m5.large": 1}, ended=1),
        ]
        bill = by_application(spent(records, after(2), PRICES))
        assert [row["application"] for row in bill["applications"]] == ["webshop", "small"]
        shop = bill["applications"][0]
        assert [(row["suite"], row["usd"]) for row in shop["suites"]] == [
            ("load", pytest.approx(10 * 0.096 * 2)),
            ("smoke", pytest.approx(0.096 * 3)),
        ]
        assert shop["usd_per_hour"] == pytest.approx(11 * 0.096)
        assert shop["instance_hours"] == 23
        assert bill["total_usd"] == pytest.approx(sum(row["usd"] for row in bill["applications"]))

    def test_say_what_is_not_in_their_sum(self):
        bill = by_application(spent([record({"u9.huge": 1}), record({"t3.small": 1})], after(1), PRICES))
        assert (bill["unpriced"], bill["total_usd"]) == (1, pytest.approx(0.0208))


class TestASum:
    def test_is_read_as_it_was_kept_and_grows_by_what_runs(self):
        records = [record({"m5.large": 10}, suite="load"), record({"m5.large": 1}, ended=1)]
        then = spent(records, after(2), PRICES)
        assert of_kept(kept(then)) == then
        later = {key: one.after(3) for key, one in of_kept(kept(then)).items()}
        assert by_application(later) == by_application(spent(records, after(5), PRICES))

    def test_of_more_suites_than_a_record_holds_has_the_cheapest_together(self):
        many = {("webshop", f"suite-{n}"): Spent(environments=1, microusd=n) for n in range(2_500)}
        found = of_kept(kept(many))
        assert (len(found), sum(found.values(), Spent())) == (2_001, sum(many.values(), Spent()))
        assert found["webshop", "(others)"].environments == 500


class TestThePriceList:
    def test_says_when_and_whose_it_is(self):
        assert datetime.fromisoformat(PRICES.as_of)
        assert PRICES.source
        assert PRICES.currency == "USD"

    def test_has_the_same_types_in_each_region(self):
        assert PRICES.instances.keys() == PRICES.gb_month.keys()
        assert len({frozenset(types) for types in PRICES.instances.values()}) == 1

    def test_has_no_price_that_is_nothing_or_out_of_all_proportion(self):
        for region, listed in PRICES.instances.items():
            assert all(0.003 < price < 3 for price in listed.values())
            assert 0.05 < PRICES.gb_month[region] < 0.2
            # No Region is cheaper than us-east-1, nor half as dear again.
            assert all(1 <= price / PRICES.instances["us-east-1"][kind] < 1.5 for kind, price in listed.items())
        assert all(0 < price < 1 for price in PRICES.services.values())

    @pytest.mark.parametrize("region", sorted(PRICES.instances))
    def test_doubles_a_price_with_each_size(self, region):
        sizes = ["nano", "micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge"]
        listed = PRICES.instances[region]
        for name, price in listed.items():
            family, size = name.split(".")
            larger = f"{family}.{sizes[(sizes.index(size) + 1) % len(sizes)]}"
            if larger in listed:
                assert listed[larger] == pytest.approx(price * 2, abs=0.00015)
