"""The kill switch: while it is on, nothing is destroyed, by nobody, and everything says who turned it on and why."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mayfly.aws.events import NotTaken
from mayfly.aws.kill_switch import KillSwitchOn, read
from tests.integration.world import (
    AFTER,
    ENVIRONMENT,
    LATER,
    NEXT_TOKEN,
    OURS,
    Json,
    World,
    an_order,
    deletion,
    on_the_bus,
)

HANDLER = "set_kill_switch"
PARAMETERS = "/mayfly"
ON = "the kill switch is on: ops at noon: an incident"


def asked(on: Any = True, **more: Any) -> Json:
    return on_the_bus("Kill Switch Set", {"on": on, "why": "an incident", "set_by": "ops"} | more)


def later(seconds: int) -> Json:
    at = f"2026-11-24T06:47:{seconds}Z"
    return {"time": at, "sent": at}


def value(world: World) -> str:
    """What the switch says, or nothing."""
    ssm = world.own("ssm")
    found = ssm.get_parameters(Names=["/mayfly/kill-switch"])["Parameters"]
    return str(found[0]["Value"]) if found else ""


class TestItIsSet:
    def test_on_and_says_who_when_and_why(self, world: World) -> None:
        answer = world.call(HANDLER, asked())
        assert answer == {"accepted": True, "on": True, "said": "ops at 2026-11-24T06:47:33.000Z: an incident"}
        turned = {"on": True, "at": "2026-11-24T06:47:33.000Z", "by": "ops", "why": "an incident"}
        assert json.loads(value(world)) == turned

    def test_off_again(self, world: World) -> None:
        world.call(HANDLER, asked())
        assert world.call(HANDLER, asked(False, why="it is over"))["on"] is False
        assert read(PARAMETERS) == "off"

    @pytest.mark.parametrize("on", [True, False])
    def test_not_by_a_repetition_that_is_older_than_what_was_done_since(self, world: World, on: bool) -> None:
        world.call(HANDLER, asked(on) | later(10))
        world.call(HANDLER, asked(not on) | later(20))
        before, said = value(world), world.said
        answer = world.call(HANDLER, asked(on) | later(10))
        state = "off" if on else "on"
        assert answer["reason"] == (
            f"time: expected after 2026-11-24T06:47:20.000Z, when ops turned it {state}, but it is "
            "2026-11-24T06:47:10.000Z"
        )
        assert len(world.dead_letters()) == 1
        assert (value(world), world.said) == (before, said)

    @pytest.mark.parametrize("on", [True, False])
    def test_the_same_again_where_somebody_died_before_it_was_announced(self, world: World, on: bool) -> None:
        world.wire.answer("PutEvents", error="ThrottlingException", message="slow down")
        with pytest.raises(NotTaken):
            world.call(HANDLER, asked(on))
        world.wire.recover("PutEvents")
        world.wire.forget()
        assert world.call(HANDLER, asked(on))["accepted"]
        assert [what for what, _ in world.said] == ["Kill Switch Turned"]

    @pytest.mark.parametrize("why", ["eve at 2199-01-01T00:00:00Z: x", '{"on": false, "at": "2199-01-01T00:00:00Z"}'])
    def test_and_no_reason_is_read_as_a_time(self, world: World, why: str) -> None:
        world.call(HANDLER, asked(why=why, set_by=why) | later(10))
        assert read(PARAMETERS) == f"{why} at 2026-11-24T06:47:10.000Z: {why}"
        assert world.call(HANDLER, asked(False) | later(20))["accepted"]
        assert read(PARAMETERS) == "off"

    def test_however_long_the_reason_is(self, world: World) -> None:
        world.call(HANDLER, asked(why="\U0001f98b" * 1024, set_by='"' * 1024))
        assert len(value(world).encode()) <= 4096
        assert read(PARAMETERS) != "off"

    def test_and_announced(self, world: World) -> None:
        world.call(HANDLER, asked())
        assert world.said == [
            (
                "Kill Switch Turned",
                {"on": True, "why": "an incident", "set_by": "ops", "at": "2026-11-24T06:47:33.000Z"},
            )
        ]

    @pytest.mark.parametrize(("on", "counted"), [(True, 1.0), (False, 0.0)])
    def test_and_counted(self, world: World, capsys: pytest.CaptureFixture[str], on: bool, counted: float) -> None:
        world.call(HANDLER, asked(on))
        metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
        assert [metric["KillSwitchOn"] for metric in metrics] == [[counted]]

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            (asked("yes"), "on: Input should be a valid boolean"),
            (asked(1), "on: Input should be a valid boolean"),
            (asked(why=""), "why: "),
            (asked(set_by=None), "set_by: "),
            (asked(off=False), "off: Extra inputs are not permitted"),
            (on_the_bus("Kill Switch Set", {}), "on: Field required"),
        ],
        ids=["words", "a number", "no reason", "nobody", "an unknown field", "nothing"],
    )
    def test_not_by_what_cannot_be_understood(self, world: World, event: Json, expected: str) -> None:
        world.switch()
        answer = world.call(HANDLER, event)
        assert not answer["accepted"]
        assert expected in answer["reason"]
        assert world.dead_letters() == [{"function": HANDLER, "reason": answer["reason"], "message": event}]
        assert value(world) == "ops at noon: an incident"
        assert world.said == []


def end(world: World) -> Json:
    return world.call("delete_environment", deletion(token=NEXT_TOKEN))


def confirm_gone(world: World, stack: str) -> Json:
    return world.call("confirm_gone", {"order": an_order(), "stack": stack, "now": LATER})


DESTRUCTIVE = ("Delete", "Terminate", "Revoke", "Detach")


def destroyed(world: World) -> list[str]:
    """The calls that destroy something."""
    return [name for name in world.wire.names() if name.startswith(DESTRUCTIVE)]


class TestWhileItIsOn:
    def test_no_stack_is_deleted(self, world: World) -> None:
        world.ready()
        world.switch()
        with pytest.raises(KillSwitchOn, match=ON):
            end(world)
        assert (destroyed(world), world.settled) == ([], [])
        assert set(world.states().values()) == {"running"}
        assert "deletions" not in world.record()

    def test_nothing_is_mended_away(self, world: World) -> None:
        stack = world.ready()
        world.set_stack(stack, status="DELETE_FAILED")
        world.change(deletions=1)
        world.launch()
        world.switch()
        with pytest.raises(KillSwitchOn):
            end(world)
        assert destroyed(world) == []

    def test_no_remnant_is_deleted(self, world: World) -> None:
        stack = world.ready()
        end(world)
        (left,) = world.launch()
        world.wire.forget()
        world.switch()
        with pytest.raises(KillSwitchOn, match=ON):
            confirm_gone(world, stack)
        assert destroyed(world) == []
        assert world.states()[left] == "running"

    def test_no_sweep_ends_or_wakes_anything(self, world: World) -> None:
        world.ready()
        world.run()
        world.stand("mayfly-forgotten", OURS | {"mayfly:environment": "forgotten"})
        world.switch()
        report = world.call("sweep_environments", {"now": AFTER})
        assert report["halted"] == ON
        assert (report["counts"]["end"], report["counts"]["wake"]) == (1, 1)
        assert (world.started(), world.settled) == ({}, [])
        ((what, detail),) = world.said
        assert (what, detail["halted"]) == ("Sweep Halted", ON)

    def test_a_sweep_still_takes_up_what_nobody_waits_for(self, world: World) -> None:
        world.ready()
        world.switch()
        world.call("sweep_environments", {"now": LATER})
        assert [order["begin"] for order in world.started().values()] == ["tests"]

    def test_what_is_gone_may_be_closed(self, world: World) -> None:
        """That destroys nothing."""
        stack = world.ready()
        end(world)
        world.switch()
        assert confirm_gone(world, stack)["instances_left"] == 0

    def test_an_execution_goes_on_when_it_is_off_again(self, world: World) -> None:
        world.ready()
        world.switch()
        with pytest.raises(KillSwitchOn):
            end(world)
        world.call(HANDLER, asked(False))
        end(world)
        assert world.stack() is None


NOT_OFF = ["OFF", "Off", "", "0", "false", "off ", "null", "[]", "{}", '{"on": false}', '{"on": 0, "at": "x"}']


@pytest.mark.parametrize("said", NOT_OFF, ids=repr)
def test_anything_but_exactly_off_is_on(world: World, said: str) -> None:
    world.ready()
    world.wire.answer("GetParameter", Parameter={"Name": "/mayfly/kill-switch", "Value": said})
    with pytest.raises(KillSwitchOn):
        end(world)
    assert destroyed(world) == []


@pytest.mark.parametrize("error", ["AccessDeniedException", "ThrottlingException", "InternalServerError"])
def test_a_switch_that_cannot_be_read_stops_as_well(world: World, error: str) -> None:
    world.ready()
    world.wire.answer("GetParameter", error=error)
    with pytest.raises(ClientError, match=error):
        end(world)
    with pytest.raises(ClientError, match=error):
        world.call("sweep_environments", {"now": AFTER})
    assert destroyed(world) == []
    assert world.started() == {}


def test_it_is_read_right_before_destroying(world: World) -> None:
    """Somebody turns it on while the function already runs."""
    world.ready()
    world.wire.before("DescribeStacks", world.switch)
    with pytest.raises(KillSwitchOn):
        end(world)
    assert destroyed(world) == []
    assert world.record(ENVIRONMENT)["stage"] == "terminating"


def test_an_end_that_it_holds_up_is_said_once_in_the_history(world: World) -> None:
    world.ready()
    world.wire.before("DescribeStacks", world.switch)
    for _ in range(3):
        with pytest.raises(KillSwitchOn):
            end(world)
    assert [line["what"] for line in world.record(ENVIRONMENT)["history"]].count("terminating") == 1
