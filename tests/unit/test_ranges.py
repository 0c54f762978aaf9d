"""Ranges of own VPCs: 300 environments live and die, and no two that live ever have the same."""

from ipaddress import IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mayfly.domain.ranges import abandoned, choose, count, layout, network

POOL, PREFIX = IPv4Network("10.64.0.0/12"), 20


def test_a_range_is_laid_out_as_the_blueprint_has_it_by_default():
    assert layout(IPv4Network("10.64.0.0/20")) == {
        "VpcCidr": "10.64.0.0/20",
        "PublicSubnetCidrs": "10.64.0.0/24,10.64.1.0/24",
        "PrivateSubnetCidrs": "10.64.8.0/22,10.64.12.0/22",
    }


def test_ranges_of_a_pool_lie_side_by_side_in_it():
    all_of_it = [network(POOL, PREFIX, number) for number in range(count(POOL, PREFIX))]
    assert len(set(all_of_it)) == 256
    assert all(one.subnet_of(POOL) for one in all_of_it)
    assert not any(one.overlaps(other) for one, other in pairwise(all_of_it))


@given(st.integers(16, 24))
def test_no_two_subnets_of_a_range_overlap(prefix):
    told = layout(network(POOL, prefix, 1))
    subnets = [IPv4Network(one) for key in ("PublicSubnetCidrs", "PrivateSubnetCidrs") for one in told[key].split(",")]
    assert all(one.subnet_of(IPv4Network(told["VpcCidr"])) for one in subnets)
    assert not any(one.overlaps(other) for i, one in enumerate(subnets) for other in subnets[:i])


class Pool(RuleBasedStateMachine):
    """A pool of 256 ranges as its record has it, and 300 environments that ask with what they read some time ago."""

    def __init__(self):
        super().__init__()
        self.taken, self.living, self.seen = {}, set(), {}

    @rule(name=st.integers(0, 299))
    def reads(self, name):
        self.seen[name] = dict(self.taken)

    @rule(names=st.sets(st.integers(0, 299), min_size=100))
    def many_want_one_at_once(self, names):
        read = dict(self.taken)
        for name in names:
            self.wants(name, read)

    @rule(name=st.integers(0, 299))
    def wants_one(self, name):
        self.wants(name, self.seen.get(name, self.taken))

    def wants(self, name, read):
        environment = f"environment-{name}"
        while True:
            number = choose(environment, read, 256)
            if number is None:
                for gone in abandoned(self.taken, self.living):
                    del self.taken[gone]
                if len(self.taken) == 256:
                    assert set(self.taken.values()) <= self.living, "told to be used up while a range was free"
                    return
            elif self.taken.setdefault(number, environment) == environment:  # the conditional write
                self.living.add(environment)
                return
            read = dict(self.taken)

    @rule(name=st.integers(0, 299), told=st.booleans())
    def ends(self, name, told):
        environment = f"environment-{name}"
        self.living.discard(environment)
        if told:
            self.taken = {number: holder for number, holder in self.taken.items() if holder != environment}

    @invariant()
    def every_living_one_has_a_range_of_its_own(self):
        held = [holder for holder in self.taken.values() if holder in self.living]
        assert len(held) == len(set(held))
        assert set(held) == self.living


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


def test_three_hundred_at_once_have_ranges_of_their_own_and_the_next_three_hundred_get_them_again():
    pool, taken = IPv4Network("10.64.0.0/11"), {}
    for generation in range(3):
        read = dict(taken)  # all have read the record before the first of them writes
        for name in range(300):
            environment, seen = f"{generation}-{name}", read
            while taken.setdefault(choose(environment, seen, count(pool, PREFIX)), environment) != environment:
                seen = dict(taken)
        ranges = sorted(network(pool, PREFIX, number) for number in taken)
        assert len(ranges) == 300
        assert not any(one.overlaps(other) for one, other in pairwise(ranges))
        taken.clear()


def test_it_is_used_up_when_all_are_taken_and_no_sooner():
    taken = {}
    for name in range(256):
        taken[choose(f"e{name}", taken, 256)] = f"e{name}"
    assert len(taken) == 256
    assert choose("one more", taken, 256) is None
    assert choose("e17", taken, 256) in taken, "who has one gets it again"
    with pytest.raises(KeyError):
        taken[256]
