"""A launch that failed: what of it is told, and when no instance can come any more."""

import pytest
from msgspec.structs import replace

from local.workload.mixed import NO_SPOT, capacity_reason
from mayfly.domain.capacity import Wanted, decide_launch, of_resources

ZONES = ("us-east-1a", "us-east-1b")
TWO = Wanted(("m5.large", "c5.large"), ZONES, 3)
POOLS = tuple(f"{kind} in {zone}" for kind in TWO.types for zone in ZONES)


def test_a_pool_without_capacity_is_named_with_what_aws_says():
    said = capacity_reason("m5.large", "us-east-1a", mixed=True)
    found = decide_launch((), said, "us-east-1a", TWO)
    assert found.pools == ("m5.large in us-east-1a",)
    assert found.reason == f"no capacity for m5.large in us-east-1a: {said}"
    assert not found.ends


@pytest.mark.parametrize("last", POOLS)
def test_the_last_of_all_pools_ends_it_whichever_it_is(last):
    kind, _, zone = last.split(" ")
    before = tuple(pool for pool in POOLS if pool != last)
    found = decide_launch(before, capacity_reason(kind, zone), zone, TWO)
    assert found.ends
    assert set(found.pools) == set(POOLS)
    assert found.reason.startswith(f"EC2 has no capacity for {', nor for '.join(POOLS)}: We currently do not have")


def test_one_pool_that_is_not_named_keeps_it_alive():
    for missing in POOLS:
        rest = tuple(pool for pool in POOLS if pool != missing)
        kind, _, zone = rest[-1].split(" ")
        assert not decide_launch(rest[:-1], capacity_reason(kind, zone), zone, TWO).ends


def test_a_group_that_lacks_nothing_is_not_ended():
    there = Wanted(TWO.types, TWO.zones, 0)
    assert not decide_launch(POOLS, capacity_reason("m5.large", "us-east-1a"), "us-east-1a", there).ends


def test_a_group_with_a_launch_template_only_has_the_type_that_aws_names():
    alone = Wanted((), ZONES, 1)
    first = decide_launch((), capacity_reason("t3.medium", "us-east-1a"), "", alone)
    assert (first.pools, first.ends) == (("t3.medium in us-east-1a",), False)
    assert decide_launch(first.pools, capacity_reason("t3.medium", "us-east-1b"), "", alone).ends


def test_spot_instances_are_pools_of_their_own_and_named_by_their_zone():
    first = decide_launch(POOLS, NO_SPOT, "us-east-1a", TWO)
    assert first.pools[-2:] == ("Spot m5.large in us-east-1a", "Spot c5.large in us-east-1a")
    assert not first.ends
    assert decide_launch(first.pools, NO_SPOT, "us-east-1b", TWO).ends
    assert decide_launch((), NO_SPOT, "", TWO).pools == (), "a zone that nobody names is not guessed"


def test_a_group_that_can_launch_on_demand_does_so_when_there_is_no_spot_pool_left():
    mixed = replace(TWO, mixed=True)
    first = decide_launch((), NO_SPOT, "us-east-1a", mixed)
    assert (first.on_demand, first.ends) == (False, False)
    last = decide_launch(first.pools, NO_SPOT, "us-east-1b", mixed)
    assert (last.on_demand, last.ends) == (True, False)
    assert not decide_launch(first.pools, NO_SPOT, "us-east-1b", replace(mixed, missing=0)).on_demand
    assert decide_launch(POOLS[:-1], capacity_reason("c5.large", "us-east-1b", mixed=True), "us-east-1b", mixed).ends


def test_the_quota_of_spot_instances_is_of_all_pools():
    said = "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded."
    assert decide_launch((), said, "us-east-1a", replace(TWO, mixed=True)).on_demand
    assert not decide_launch((), said, "us-east-1a", TWO).on_demand


@pytest.mark.parametrize(
    "said",
    [
        "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your "
        "current vCPU limit of 4 allows for the instance bucket that the specified instance type belongs to.",
        "You are not authorized to use launch template: lt-1",
        "",
    ],
)
def test_another_reason_is_told_and_ends_nothing(said):
    found = decide_launch((), said, "us-east-1a", TWO)
    assert (found.pools, found.ends, found.reason) == ((), False, said)


def test_types_that_are_chosen_by_attributes_are_never_known_to_be_all():
    chosen = Wanted(("any type",), ZONES, 1)
    first = decide_launch((), capacity_reason("m5.large", "us-east-1a"), "us-east-1a", chosen)
    assert not decide_launch(first.pools, capacity_reason("m5.large", "us-east-1b"), "us-east-1b", chosen).ends


def failed(why, kind="AWS::EC2::Instance"):
    return {"LogicalResourceId": "Machine", "ResourceType": kind, "ResourceStatusReason": why}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (failed(capacity_reason("m5.large", "us-east-1a")), "EC2 has no capacity for m5.large in us-east-1a"),
        (failed("Insufficient capacity. (InsufficientInstanceCapacity)"), "EC2 has no capacity for Machine"),
        (failed("The image id '[ami-1]' does not exist"), ""),
        # Of a group another type or zone may have some: Auto Scaling goes on, and says when none has.
        (failed(capacity_reason("m5.large", "us-east-1a"), "AWS::AutoScaling::AutoScalingGroup"), ""),
    ],
)
def test_an_instance_without_a_group_has_one_pool(event, said):
    assert of_resources([failed("internal error"), event]) == said
