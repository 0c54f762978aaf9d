"""Where many lives begin or end at once, each waits for a turn of its own to call CloudFormation."""

from datetime import datetime

import pytest

from tests.integration.world import LATER, REGION, WORKLOAD_ACCOUNT, World, creation, deletion

TARGET = f"{WORKLOAD_ACCOUNT}/{REGION}"


def milliseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


def busy(world: World, lane: str, seconds: float, at: str = LATER) -> None:
    """Turns are given out for so many seconds from then on."""
    free_at = milliseconds(at) + int(seconds * 1000)
    world.records("pace").change(f"{TARGET}/{lane}", {"id": f"{TARGET}/{lane}", "free_at": free_at})


def asked(world: World, name: str) -> list[str]:
    """The turn that an execution was given: none where it was given none."""
    return [said["cause"] for said in world.settled if said.get("error") == name]


def test_who_ends_waits_for_the_next_turn(world: World) -> None:
    world.ready()
    busy(world, "end", 60)
    world.wire.forget()
    world.call("delete_environment", deletion(turn=""))
    assert asked(world, "NotYet") == ["2026-11-24T07:08:35.000Z"], world.settled
    assert "DeleteStack" not in world.wire.names()
    assert world.record()["stage"] == "terminating", "why it ends is recorded before"


def test_and_the_next_one_for_the_one_after_that(world: World) -> None:
    world.ready()
    busy(world, "end", 60)
    for _ in range(2):
        world.call("delete_environment", deletion(turn=""))
    first, second = (milliseconds(each) for each in asked(world, "NotYet"))
    assert second - first == 500


def test_who_comes_at_its_turn_calls(world: World) -> None:
    world.ready()
    busy(world, "end", 3600)
    world.wire.forget()
    world.call("delete_environment", deletion(turn=LATER))
    assert "DeleteStack" in world.wire.names()
    assert not asked(world, "NotYet")


@pytest.mark.parametrize("seconds", [-3600, 4.9])
def test_where_nobody_waits_it_is_called_at_once(world: World, seconds: float) -> None:
    world.ready()
    busy(world, "end", seconds)
    world.wire.forget()
    world.call("delete_environment", deletion(turn=""))
    assert "DeleteStack" in world.wire.names()


def test_who_is_built_waits_for_those_that_end(world: World) -> None:
    world.planned()
    busy(world, "end", 60)
    world.call("create_environment", creation(now=LATER, turn=""))
    busy(world, "build", -5)
    world.call("create_environment", creation(now=LATER, turn=""))
    assert asked(world, "NotYet") == ["2026-11-24T07:08:35.000Z"] * 2
    assert world.stack() is None


def test_who_ends_does_not_wait_for_those_that_are_built(world: World) -> None:
    world.ready()
    busy(world, "build", 600)
    world.wire.forget()
    world.call("delete_environment", deletion(turn=""))
    assert "DeleteStack" in world.wire.names()


def test_on_a_machine_of_an_earlier_version_nobody_waits(world: World) -> None:
    world.ready()
    busy(world, "end", 60)
    world.wire.forget()
    world.call("delete_environment", deletion())
    assert "DeleteStack" in world.wire.names()


def test_whatever_the_table_says_the_ending_goes_on(world: World) -> None:
    world.ready()
    busy(world, "end", 60)
    world.wire.answer("GetItem", "ProvisionedThroughputExceededException", "slow down")
    world.wire.forget()
    world.call("delete_environment", deletion(turn=""))
    assert "DeleteStack" in world.wire.names()


def test_a_life_in_four_writes_its_turn(world: World) -> None:
    world.ready()
    names = [f"web-{number}" for number in range(12)]
    for name in names:
        order = {**deletion()["order"], "environment": name}
        world.call("delete_environment", deletion(turn="", order=order))
    free_at = (world.records("pace").get(f"{TARGET}/end") or {})["free_at"]
    assert free_at > milliseconds(LATER)
    assert (free_at - milliseconds(LATER)) % 500 == 0
