"""Environments with a VPC of their own get a range each from a pool, and give it back when nothing of them is left."""

import json
from typing import Any

import pytest

from mayfly.domain.records import Entry
from mayfly.workflows import pools
from tests.integration.world import ENVIRONMENT, LATER, NOW, World, an_order, creation

OTHER = ENVIRONMENT[:-1] + ("0" if ENVIRONMENT[-1] != "0" else "1")
SMALL = {"name": "office", "range": "10.64.0.0/19", "prefix": 20}
"""Of two ranges."""


def begun(world: World, environment: str, **order: Any) -> dict[str, str]:
    """An environment is asked for. Returns the parameters of its stack."""
    planned = an_order(environment=environment, pool=SMALL) | order
    world.call("plan_environment", {"order": planned, "now": NOW, "execution": environment, "attempt": 1})
    world.wire.forget()
    world.call("create_environment", creation(order=planned))
    (call,) = world.wire.heard("CreateStack")
    return {one["ParameterKey"]: one["ParameterValue"] for one in call["Parameters"]}


def ended(world: World, environment: str, told: bool = True) -> None:
    """Nothing is left of it; the pool was told, or who should have died before."""
    world.records().change(environment, {}, Entry(LATER, "test", "terminated", ""), drop=("live",))
    if told:
        world.call("confirm_gone", {"order": an_order(environment=environment), "stack": None, "now": LATER})


def test_two_at_once_have_different_ranges_and_the_same_one_its_own_again(world: World) -> None:
    first, second = begun(world, ENVIRONMENT), begun(world, OTHER)
    assert {first["VpcCidr"], second["VpcCidr"]} == {"10.64.0.0/20", "10.64.16.0/20"}
    world.wire.forget()
    world.call("create_environment", creation(order=an_order(pool=SMALL), token="b" * 40, now=LATER))
    (again,) = world.wire.heard("CreateStack")
    assert {"ParameterKey": "VpcCidr", "ParameterValue": first["VpcCidr"]} in again["Parameters"]


def test_a_pool_that_is_used_up_is_told_and_a_range_that_comes_back_is_taken(world: World) -> None:
    begun(world, ENVIRONMENT)
    begun(world, OTHER)
    with pytest.raises(pools.RangesUsedUp, match="the pool office has no range left: 2 of 2 are taken"):
        begun(world, ENVIRONMENT[:-1] + "x")


@pytest.mark.parametrize("told", [True, False], ids=["it was given back", "who should have given it back died"])
def test_the_range_of_an_environment_that_is_gone_is_anothers(world: World, told: bool) -> None:
    mine = begun(world, ENVIRONMENT)["VpcCidr"]
    begun(world, OTHER)
    world.there("cloudformation").delete_stack(StackName=f"mayfly-{ENVIRONMENT}")
    ended(world, ENVIRONMENT, told)
    assert begun(world, ENVIRONMENT[:-1] + "x")["VpcCidr"] == mine


def test_a_pool_is_not_changed_under_environments_that_live_in_it(world: World) -> None:
    begun(world, ENVIRONMENT)
    with pytest.raises(pools.PoolChanged, match=r"was 10\.64\.0\.0/19 in /20, and 1 environments live in it"):
        begun(world, OTHER, pool=SMALL | {"range": "10.96.0.0/19"})


def test_a_release_is_planned_with_the_pool_that_its_application_names(world: World) -> None:
    world.configure(pool="office")
    world.put("/mayfly/pools/office", json.dumps({"range": "10.64.0.0/11"}))
    pushed = {"application": "webshop", "version": "1.4.2", "artifact": "s3://a/b"}
    world.records("release").change("webshop-1-4-2-359f67ef", {"id": "webshop-1-4-2-359f67ef"})
    planned = world.call("plan_release", {"release": "webshop-1-4-2-359f67ef", "pushed": pushed, "now": NOW})
    assert {order["pool"]["range"] for order in planned["orders"]} == {"10.64.0.0/11"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"range": "8.8.0.0/16"}, "a private range"),
        ({"range": "10.64.0.1/16"}, "host bits"),
        ({"range": "10.0.0.0/8"}, "1 to 1024 ranges"),
        ({"range": "10.64.0.0/24"}, "1 to 1024 ranges"),
    ],
)
def test_a_pool_that_is_configured_wrongly_is_refused(world: World, wrong: dict[str, str], says: str) -> None:
    world.configure(pool="office")
    world.put("/mayfly/pools/office", json.dumps(wrong))
    pushed = {"application": "webshop", "version": "1.4.2", "artifact": "s3://a/b"}
    with pytest.raises(Exception, match=f"parameter /mayfly/pools/office is wrong.*{says}"):
        world.call("plan_release", {"release": "webshop-1-4-2-359f67ef", "pushed": pushed, "now": NOW})
