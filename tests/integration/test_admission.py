"""Environments are admitted where there is room, wait in order where there is none, and give it back in the end."""

from typing import Any, ClassVar

import pytest

from mayfly.contract.reader import Refused
from mayfly.workflows import admission
from mayfly.workflows.environments import EndedBefore
from tests.integration.world import ENVIRONMENT, LATER, NOW, PUSHED, RELEASE, Json, World, an_order, on_the_bus

HERE = "222222222222/us-east-1"
MINE, OTHERS = "application:webshop|environments", "installation:|environments"
A_DAY_LATER = "2026-11-25T07:07:35.000Z"


def order(name: str = ENVIRONMENT, **demand: Any) -> Json:
    """An order for one environment, in a release of its own, that takes a VPC and an instance."""
    asked = {"takes": {"vpcs": 1, "instances": 1}, "ceilings": {MINE: 1}} | demand
    return an_order(environment=name, demand=asked)


def ask(world: World, name: str = ENVIRONMENT, now: str = NOW, begin: bool = True, **demand: Any) -> Json:
    """Plans an environment and asks for its room."""
    event = {"order": order(name, **demand), "now": now}
    if begin:
        world.call("plan_environment", event)
    return world.call("admit_environment", event | {"token": f"token-of-{name}-at-{now}"})


def gone(world: World, name: str = ENVIRONMENT, now: str = LATER) -> None:
    """Nothing is left of an environment."""
    world.call("confirm_gone", {"order": order(name), "stack": None, "now": now})


def ledger(world: World) -> Json:
    return world.record("room", "ledger")


def told(world: World) -> list[str]:
    return [each["taskToken"] for each in world.settled]


def sweep(world: World, now: str = LATER) -> None:
    world.call("sweep_environments", {"now": now})


class TestWhatFits:
    def test_is_built_at_once_by_its_planned_deadline(self, world: World) -> None:
        assert ask(world) == {"admitted": True, "lacks": ""}
        (settled,) = world.settled
        assert (settled["told"], settled["taskToken"]) == ("Success", f"token-of-{ENVIRONMENT}-at-{NOW}")
        assert settled["output"] == f'{{"deadline": "{world.record()["deadline"]}"}}'

    def test_reserves_all_that_it_takes_and_the_ledger_keeps_what_is_bounded(self, world: World) -> None:
        ask(world)
        assert world.record()["reserved"] == {
            f"{HERE}|vpcs": 1, f"{HERE}|instances": 1, MINE: 1, "application:webshop|instances": 1,
            "owner:team-shop@example.com|environments": 1, "owner:team-shop@example.com|instances": 1,
            OTHERS: 1, "installation:|instances": 1,
        }  # fmt: skip
        assert ledger(world)["counts"] == {MINE: 1}

    def test_costs_two_conditional_writes(self, world: World) -> None:
        world.call("plan_environment", {"order": order(), "now": NOW})
        before = len(world.wire.heard("UpdateItem"))
        ask(world, begin=False)
        writes = world.wire.heard("UpdateItem")[before:]
        assert len(writes) == 2
        assert all("ConditionExpression" in write for write in writes)

    def test_is_counted_once_however_often_its_function_is_repeated(self, world: World) -> None:
        ask(world)
        ask(world, now=LATER, begin=False)
        assert ledger(world)["counts"] == {MINE: 1}
        assert told(world) == [f"token-of-{ENVIRONMENT}-at-{NOW}", f"token-of-{ENVIRONMENT}-at-{LATER}"]

    def test_is_built_without_being_counted_where_an_earlier_version_planned_it(self, world: World) -> None:
        world.planned()
        world.call("admit_environment", {"order": an_order(), "token": "token", "now": NOW})
        assert told(world) == ["token"]

    def test_counts_what_lives_already_for_a_ceiling_that_is_new(self, world: World) -> None:
        ask(world, "webshop-1", ceilings={})
        assert not ask(world, "webshop-2")["admitted"]
        assert ledger(world)["counts"] == {MINE: 1}


class TestWhatDoesNotFit:
    def test_waits_with_its_token_and_says_for_what(self, world: World) -> None:
        ask(world, "webshop-1")
        answer = ask(world, "webshop-2")
        lacks = "the ceiling of environments of the application webshop: 1 needed, 0 free"
        assert answer == {"admitted": False, "lacks": lacks}
        record = world.record("webshop-2")
        assert (record["stage"], record["waiting"]["for"]) == ("queued", "room")
        assert record["history"][-1]["why"] == lacks
        assert told(world) == [f"token-of-webshop-1-at-{NOW}"]
        (queued,) = [said for event, said in world.said if event == "Environment Queued"]
        assert (queued["environment"], queued["lacks"], queued["position"]) == ("webshop-2", lacks, 1)

    def test_knows_behind_whom_it_waits(self, world: World) -> None:
        for number in (1, 2, 3):
            ask(world, f"webshop-{number}", now=f"2026-11-24T06:47:3{number}.000Z")
        said = [said for event, said in world.said if event == "Environment Queued"]
        assert [(each["environment"], each["behind"], each["position"]) for each in said] == [
            ("webshop-2", "", 1),
            ("webshop-3", "webshop-2", 2),
        ]
        assert ledger(world)["queue"] == ["webshop-2", "webshop-3"]

    def test_is_built_when_another_is_gone_and_its_lifetime_begins_then(self, world: World) -> None:
        ask(world, "webshop-1")
        ask(world, "webshop-2")
        gone(world, "webshop-1")
        assert told(world)[-1] == f"token-of-webshop-2-at-{NOW}"
        record = world.record("webshop-2")
        assert record["deadline"] == "2026-11-24T08:07:35.000Z", "an hour after it was admitted"
        assert world.settled[-1]["output"] == '{"deadline": "2026-11-24T08:07:35.000Z"}'
        assert record["history"][-1]["why"] == f"it waited since {NOW}"
        assert (ledger(world)["counts"], ledger(world)["queue"]) == ({MINE: 1}, [])

    def test_is_in_the_order_of_shares_and_a_hotfix_goes_first(self, world: World) -> None:
        both = {OTHERS: 1}
        for number, demand in enumerate(({}, {}, {"priority": 9}), 1):
            ask(world, f"webshop-{number}", now=f"2026-11-24T06:47:3{number}.000Z", ceilings=both, **demand)
        gone(world, "webshop-1")
        assert told(world)[-1].startswith("token-of-webshop-3")

    def test_fails_at_once_where_it_never_fits(self, world: World) -> None:
        with pytest.raises(
            admission.NeverFits, match="ceiling of instances of the application webshop is 2, and it needs 3"
        ):
            ask(world, takes={"instances": 3}, ceilings={"application:webshop|instances": 2})
        assert not ledger(world)

    def test_wants_nothing_any_more_once_it_was_ended(self, world: World) -> None:
        ask(world, "webshop-1")
        ask(world, "webshop-2")
        ask(world, "webshop-3", now=LATER)
        detail = {"environment": "webshop-2", "why": "not needed", "requested_by": "ada"}
        world.call("accept_termination", on_the_bus("Environment Termination Requested", detail))
        assert (world.settled[-1]["told"], world.settled[-1]["error"]) == ("Failure", "EndedBefore")
        gone(world, "webshop-2")
        gone(world, "webshop-1")
        assert told(world)[-1] == f"token-of-webshop-3-at-{LATER}"
        assert ledger(world)["counts"] == {MINE: 1}

    def test_and_asks_in_vain_once_it_was_ended(self, world: World) -> None:
        world.call("plan_environment", {"order": order(), "now": NOW})
        detail = {"environment": ENVIRONMENT, "why": "not needed", "requested_by": "ada"}
        world.call("accept_termination", on_the_bus("Environment Termination Requested", detail))
        with pytest.raises(EndedBefore):
            ask(world, begin=False)

    def test_is_told_so_where_it_is_ended_while_it_is_admitted(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.call("plan_environment", {"order": order(), "now": NOW})
        read = admission.ledger

        def meanwhile(table: str) -> Any:
            detail = {"environment": ENVIRONMENT, "why": "not needed", "requested_by": "ada"}
            world.call("accept_termination", on_the_bus("Environment Termination Requested", detail))
            return read(table)

        monkeypatch.setattr(admission, "ledger", meanwhile)
        ask(world, begin=False)
        assert [(each["told"], each["error"]) for each in world.settled] == [("Failure", "EndedBefore")]
        assert ledger(world)["counts"] == {MINE: 0}

    def test_keeps_its_place_where_its_function_is_repeated(self, world: World) -> None:
        for number in (1, 2, 3):
            ask(world, f"webshop-{number}", now=f"2026-11-24T06:47:3{number}.000Z")
        ask(world, "webshop-2", now=LATER, begin=False)
        assert ledger(world)["queue"] == ["webshop-2", "webshop-3"]
        gone(world, "webshop-1")
        assert told(world)[-1] == f"token-of-webshop-2-at-{LATER}"


class TestBudgets:
    DAY: ClassVar[Json] = {"ceilings": {}, "cents": 600, "budgets": {"application:webshop|day": 1000}}

    def test_of_a_day_let_nothing_begin_that_costs_more(self, world: World) -> None:
        assert ask(world, "webshop-1", **self.DAY)["admitted"]
        answer = ask(world, "webshop-2", **self.DAY)
        said = "the budget in US cents for 2026-11-24 of the application webshop: 600 needed, 400 free"
        assert answer["lacks"] == said

    def test_get_back_what_was_not_spent(self, world: World) -> None:
        ask(world, "webshop-1", **self.DAY)
        world.change("webshop-1", instance_types={"t3.medium": 10}, launched_at=NOW)  # 14 cents in 20 minutes
        gone(world, "webshop-1")
        assert ledger(world)["counts"] == {"application:webshop|usd 2026-11-24": 14}

    def test_are_new_the_next_day_and_a_sweep_lets_in_who_waited(self, world: World) -> None:
        ask(world, "webshop-1", **self.DAY)
        world.call(
            "plan_environment", {"order": order("webshop-2", **self.DAY) | {"lifetime_minutes": 3000}, "now": NOW}
        )
        event = {"order": order("webshop-2", **self.DAY) | {"lifetime_minutes": 3000}, "now": NOW, "token": "waits"}
        assert not world.call("admit_environment", event)["admitted"]
        sweep(world, A_DAY_LATER)
        assert told(world)[-1] == "waits"


class TestWhoeverDies:
    def test_after_it_reserved_has_its_room_freed_by_the_second_sweep_that_finds_it(self, world: World) -> None:
        ask(world, "webshop-1")
        world.records("ledger").change("room", {"counts": {MINE: 2}})
        sweep(world)
        assert ledger(world)["counts"] == {MINE: 2}, "a list may lag: what was admitted a moment ago is missing in it"
        sweep(world)
        assert ledger(world)["counts"] == {MINE: 1}

    def test_before_it_gave_back_too(self, world: World) -> None:
        ask(world, "webshop-1")
        world.records("ledger").change("room", {"counts": {MINE: 0}})
        sweep(world)
        assert ledger(world)["counts"] == {MINE: 1}, "what is held is counted at once"

    def test_before_it_told_somebody_is_made_up_for(self, world: World) -> None:
        ask(world, "webshop-1")
        ask(world, "webshop-2")
        world.change("webshop-2", reserved={MINE: 1})
        before = len(told(world))
        sweep(world)
        assert told(world)[before:].count(f"token-of-webshop-2-at-{NOW}") >= 1

    def test_before_the_ledger_was_written_is_put_into_the_queue(self, world: World) -> None:
        ask(world, "webshop-1")
        ask(world, "webshop-2")
        world.records("ledger").change("room", {"queue": []})
        sweep(world)
        assert ledger(world)["queue"] == ["webshop-2"]

    def test_while_it_gives_back_gives_back_once(self, world: World) -> None:
        ask(world, "webshop-1")
        gone(world, "webshop-1")
        gone(world, "webshop-1")
        assert ledger(world)["counts"] == {MINE: 0}

    def test_and_where_the_ledger_cannot_be_written_the_ending_goes_on(self, world: World) -> None:
        ask(world, "webshop-1")
        world.records("ledger").change("room", {"version": -1})
        world.records("ledger").change("room", {"counts": {MINE: "no number"}})
        gone(world, "webshop-1")
        assert world.record("webshop-1")["stage"] == "terminated"


class TestWhatIsConfigured:
    def plan(self, world: World, **pushed: Any) -> Json:
        event = {"release": RELEASE, "pushed": PUSHED | pushed, "now": NOW}
        found: Json = world.call("plan_release", event)["orders"][0]["demand"]
        return found

    def test_reaches_the_order_with_what_the_blueprint_takes(self, world: World) -> None:
        world.put("/mayfly/admission", '{"installation": {"environments": 50}, "owner": {"usd_a_day": 100}}')
        world.configure(ceilings={"environments": 12, "instances": 30}, weight=3)
        demand = self.plan(world)
        assert demand["takes"] == {"instances": 1, "network-interfaces": 1, "stacks": 1, "vcpus-standard": 2} | {
            key: count for key, count in demand["takes"].items() if key.endswith("-gib")
        }
        assert demand["ceilings"] == {MINE: 12, "application:webshop|instances": 30, OTHERS: 50}
        assert demand["budgets"] == {"owner:team-shop@example.com|day": 10000}
        assert (demand["weight"], demand["priority"], demand["members"]) == (3, 5, 1)
        assert demand["cents"] > 0

    def test_as_a_release_that_is_built_together(self, world: World) -> None:
        world.configure(admitted="together")
        assert self.plan(world)["members"] == 2

    def test_a_hotfix_only_of_who_is_allowed_it(self, world: World) -> None:
        with pytest.raises(Refused, match="hotfix: expected false, because webshop is not allowed hotfixes"):
            self.plan(world, hotfix=True)
        world.configure(hotfixes=True)
        assert self.plan(world, hotfix=True)["priority"] == 9

    def test_wrongly_is_refused_with_the_field(self, world: World) -> None:
        world.put("/mayfly/admission", '{"installation": {"environments": -1}}')
        with pytest.raises(Refused, match=r"/mayfly/admission is wrong: installation\.environments"):
            self.plan(world)
