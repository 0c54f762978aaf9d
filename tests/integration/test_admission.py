"""Environments are admitted where there is room, wait in order where there is none, and give it back in the end."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

import pytest

from mayfly.contract.reader import Refused
from mayfly.domain.needs import QUOTAS, vcpus
from mayfly.workflows import admission, quotas
from mayfly.workflows.environments import EndedBefore
from mayfly.workflows.reading import Reading
from tests.integration.world import (
    ENVIRONMENT,
    LATER,
    NOW,
    OURS,
    PUSHED,
    RELEASE,
    Json,
    World,
    an_order,
    on_the_bus,
    tagged,
)

HERE = "222222222222/us-east-1"
PLACE = {"account": "222222222222", "region": "us-east-1", "image": an_order()["image"]}
MINE, OTHERS = "application:webshop|environments", "installation:|environments"
VPC: Json = {"takes": {"vpcs": 1, "instances": 1}, "ceilings": {}}
"""What asks for a VPC and an instance, and has no ceiling."""
A_DAY_LATER = "2026-11-25T07:07:35.000Z"


def order(name: str = ENVIRONMENT, **demand: Any) -> Json:
    """An order for one environment, in a release of its own, that takes an instance."""
    asked = {"takes": {"instances": 1}, "ceilings": {MINE: 1}} | demand
    return an_order(environment=name, demand=asked)


def ask(world: World, name: str = ENVIRONMENT, now: str = NOW, begin: bool = True, **demand: Any) -> Json:
    """Plans an environment and asks for its room."""
    event = {"order": order(name, **demand), "now": now}
    if begin:
        world.call("plan_environment", event)
    return world.call("admit_environment", event | {"token": f"token-of-{name}-at-{now}"})


def planned_and_not_admitted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else has written the ledger while an environment was planned."""
    with monkeypatch.context() as first:
        first.setattr(admission, "_write", lambda *_: False)
        assert not world.call("plan_environment", {"order": order(), "now": NOW})["admitted"]


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
        assert json.loads(settled["output"]) == {"deadline": world.record()["deadline"], "place": PLACE}

    def test_reserves_all_that_it_takes_and_the_ledger_keeps_what_is_bounded(self, world: World) -> None:
        ask(world)
        assert world.record()["reserved"] == {
            f"{HERE}|instances": 1, MINE: 1, "application:webshop|instances": 1,
            "owner:team-shop@example.com|environments": 1, "owner:team-shop@example.com|instances": 1,
            OTHERS: 1, "installation:|instances": 1,
        }  # fmt: skip
        assert ledger(world)["counts"] == {MINE: 1}

    def test_costs_two_conditional_writes_and_need_not_ask(self, world: World) -> None:
        assert world.call("plan_environment", {"order": order(), "now": NOW})["admitted"]
        writes = world.wire.heard("UpdateItem")
        assert len(writes) == 2
        assert all("ConditionExpression" in write for write in writes)

    def test_costs_two_conditional_writes_where_it_asks(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        planned_and_not_admitted(world, monkeypatch)
        before = len(world.wire.heard("UpdateItem"))
        ask(world, begin=False)
        writes = world.wire.heard("UpdateItem")[before:]
        assert len(writes) == 2
        assert all("ConditionExpression" in write for write in writes)

    def test_is_counted_once_however_often_it_is_planned(self, world: World) -> None:
        both = {MINE: 2}
        for _ in range(2):
            assert world.call("plan_environment", {"order": order(ceilings=both), "now": NOW})["admitted"]
        assert ledger(world)["counts"] == {MINE: 1}

    def test_waits_behind_those_who_wait_already(self, world: World) -> None:
        ask(world, "webshop-1", ceilings={OTHERS: 1})
        ask(world, "webshop-2", ceilings={OTHERS: 1})
        world.records("ledger").change("room", {"counts": {OTHERS: 0}})
        assert not world.call("plan_environment", {"order": order("webshop-3", ceilings={OTHERS: 1}), "now": NOW})[
            "admitted"
        ]

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

    def test_is_listed_in_its_order(self, world: World) -> None:
        for number in (1, 2, 3):
            ask(world, f"webshop-{number}", now=f"2026-11-24T06:47:3{number}.000Z")
        shown = Reading(world.table, "/mayfly", datetime.fromisoformat(NOW)).queue()["queue"]
        assert [(each["id"], each["queue"]["position"], each["queue"]["behind"]) for each in shown] == [
            ("webshop-2", 1, ""),
            ("webshop-3", 2, "webshop-2"),
        ]
        assert shown[0]["since"] == "2026-11-24T06:47:32.000Z"
        assert "ceiling of environments" in shown[0]["queue"]["lacks"]

    def test_is_built_when_another_is_gone_and_its_lifetime_begins_then(self, world: World) -> None:
        ask(world, "webshop-1")
        ask(world, "webshop-2")
        gone(world, "webshop-1")
        assert told(world)[-1] == f"token-of-webshop-2-at-{NOW}"
        record = world.record("webshop-2")
        assert record["deadline"] == "2026-11-24T08:07:35.000Z", "an hour after it was admitted"
        assert json.loads(world.settled[-1]["output"]) == {"deadline": "2026-11-24T08:07:35.000Z", "place": PLACE}
        assert record["history"][-1]["why"] == f"it waited since {NOW}"
        assert (ledger(world)["counts"], ledger(world)["queue"]) == ({MINE: 1}, [])

    def test_is_in_the_order_of_shares_and_a_hotfix_goes_first(self, world: World) -> None:
        both = {OTHERS: 1}
        for number, demand in enumerate(({}, {}, {"priority": 9}), 1):
            ask(world, f"webshop-{number}", now=f"2026-11-24T06:47:3{number}.000Z", ceilings=both, **demand)
        gone(world, "webshop-1")
        assert told(world)[-1].startswith("token-of-webshop-3")

    def test_leaves_others_room_in_the_queue_however_many_one_application_pushes(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admission, "_MOST_OF_ONE", 2)
        both = {OTHERS: 1}
        for number in range(3):
            ask(world, f"webshop-{number}", ceilings=both)
        with pytest.raises(admission.QueueFull, match="2 environments of webshop wait already"):
            ask(world, "webshop-3", ceilings=both)
        event = {"order": order("billing-1", ceilings=both) | {"application": "billing"}, "now": NOW}
        world.call("plan_environment", event)
        assert not world.call("admit_environment", event | {"token": "of-billing"})["admitted"]
        assert sorted(ledger(world)["queue"]) == ["billing-1", "webshop-1", "webshop-2"]
        assert "waiting" not in world.record("webshop-3")

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
        planned_and_not_admitted(world, monkeypatch)
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


VPCS = f"{HERE}|vpcs"


def looked(world: World, **known: Any) -> None:
    """A sweep has looked at the target."""
    world.records("quotas").change(HERE, {"id": HERE, "limits": {"vpcs": 2}, "used": {}, "unread": {}} | known)


class TestQuotasOfAws:
    """No ceiling and no budget: what binds is what AWS allows."""

    def test_bound_what_is_built_less_what_others_use(self, world: World) -> None:
        looked(world, limits={"vpcs": 3}, used={"vpcs": 2})
        assert ask(world, "webshop-1", **VPC)["admitted"]
        answer = ask(world, "webshop-2", **VPC)
        assert answer["lacks"] == f"the quota VPCs per Region (vpc, L-F678F1CE) in {HERE}: 1 needed, 0 free"
        assert ledger(world)["counts"] == {VPCS: 1}
        gone(world, "webshop-1")
        assert told(world)[-1] == f"token-of-webshop-2-at-{NOW}"

    def test_fail_at_once_what_exceeds_them_with_name_code_and_both_numbers(self, world: World) -> None:
        looked(world)
        said = rf"{HERE}: the quota VPCs per Region \(vpc, L-F678F1CE\) in {HERE} is 2, and it needs 3"
        with pytest.raises(admission.NeverFits, match=said):
            ask(world, ceilings={}, takes={"vpcs": 3})

    def test_that_are_lowered_end_nothing_and_admit_nothing(self, world: World) -> None:
        looked(world)
        for number in (1, 2, 3):
            ask(world, f"webshop-{number}", **VPC)
        looked(world, limits={"vpcs": 1})
        gone(world, "webshop-1")
        assert ledger(world)["counts"] == {VPCS: 1}
        assert ledger(world)["queue"] == ["webshop-3"]
        assert "ending" not in world.record("webshop-2")
        gone(world, "webshop-2")
        assert told(world)[-1] == f"token-of-webshop-3-at-{NOW}"

    def test_that_cannot_be_read_are_aws_s_defaults_and_it_is_said(self, world: World) -> None:
        looked(world, limits={"vpcs": 1}, unread={"vpcs": "AccessDenied"})
        ask(world, "webshop-1", **VPC)
        said = "0 free of AWS's default, because the quota could not be read"
        assert said in ask(world, "webshop-2", **VPC)["lacks"]

    def test_and_a_default_that_one_alone_exceeds_is_not_believed(self, world: World) -> None:
        looked(world, limits={"vpcs": 1}, unread={"vpcs": "AccessDenied"})
        assert ask(world, ceilings={}, takes={"vpcs": 2})["admitted"]

    def test_of_an_account_that_refuses_let_nothing_begin(self, world: World) -> None:
        looked(world, closed=f"nothing can be built in {HERE}: AccessDenied")
        assert ask(world, **VPC)["lacks"] == f"nothing can be built in {HERE}: AccessDenied"


class TestWhoComesToATargetFirst:
    """Nobody has read yet what AWS allows there. The account has one VPC of its own, and may have five."""

    def others(self, world: World, count: int) -> None:
        for number in range(count):
            world.there("ec2").create_vpc(CidrBlock=f"10.{number}.0.0/16")

    def test_looks_before_it_is_admitted_and_all_later_ones_need_not(self, world: World) -> None:
        assert not world.call("plan_environment", {"order": order("webshop-1", **VPC), "now": NOW})["admitted"]
        assert not world.wire.heard("GetServiceQuota")
        assert ask(world, "webshop-1", begin=False, **VPC)["admitted"]
        found = world.record(HERE, "quotas")
        assert (found["limits"], found["used"]) == ({"vpcs": 5}, {"vpcs": 1})
        assert (found["unread"], found["uncounted"]) == ({}, {})
        assert ledger(world)["counts"] == {VPCS: 1}
        assert all("Tags" not in each for each in world.wire.heard("AssumeRole")), "such a session destroys nothing"
        world.wire.forget()
        assert world.call("plan_environment", {"order": order("webshop-2", **VPC), "now": NOW})["admitted"]
        assert not world.wire.heard("GetServiceQuota")
        assert len(world.wire.heard("UpdateItem")) == 2

    def test_waits_where_others_have_all_there_is(self, world: World) -> None:
        self.others(world, 4)
        said = f"the quota VPCs per Region (vpc, L-F678F1CE) in {HERE}: 1 needed, 0 free"
        assert ask(world, **VPC) == {"admitted": False, "lacks": said}

    def test_fails_at_once_where_it_never_fits(self, world: World) -> None:
        with pytest.raises(admission.NeverFits, match="is 5, and it needs 6"):
            ask(world, ceilings={}, takes={"vpcs": 6})

    def test_reads_only_what_nobody_has_read(self, world: World) -> None:
        looked(world, limits={"vpcs": 2})
        assert ask(world, ceilings={}, takes={"vpcs": 1, "elastic-ips": 1})["admitted"]
        assert [each["ServiceCode"] for each in world.wire.heard("GetServiceQuota")] == ["ec2"]
        assert world.record(HERE, "quotas")["limits"] == {"vpcs": 2, "elastic-ips": 5}

    def test_looks_nowhere_that_is_closed(self, world: World) -> None:
        looked(world, limits={}, closed=f"nothing can be built in {HERE}: AccessDenied")
        assert not ask(world, **VPC)["admitted"]
        assert not world.wire.heard("AssumeRole")

    def test_looks_at_all_its_targets(self, world: World) -> None:
        places = [PLACE, TestSeveralTargets.AFTER]
        event = {"order": order(**VPC, places=places), "now": NOW, "moves": True}
        world.call("plan_environment", event)
        assert world.call("admit_environment", event | {"token": "token"})["admitted"]
        for target in (HERE, TestSeveralTargets.OTHER):
            assert world.record(target, "quotas")["limits"] == {"vpcs": 5}

    def test_goes_by_aws_s_defaults_where_the_account_refuses_and_says_so(self, world: World) -> None:
        world.wire.answer("AssumeRole", error="AccessDenied", message="not authorized")
        for number in range(1, 6):
            assert ask(world, f"webshop-{number}", **VPC)["admitted"]
        assert "not authorized" in world.record(HERE, "quotas")["unread"]["vpcs"]
        assert "0 free of AWS's default, because the quota could not be read" in ask(world, **VPC)["lacks"]
        assert len(world.wire.heard("AssumeRole")) == 1, "whoever comes next leaves it to a sweep"
        world.wire.recover("AssumeRole")
        sweep(world)
        assert world.record(HERE, "quotas")["unread"] == {}

    def test_goes_by_aws_s_defaults_where_it_has_no_answer_in_time(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nobody_answers(_: Any, about: Iterable[str], seconds: float) -> tuple[Json, dict[str, str]]:
            return {}, dict.fromkeys(about, f"there was no answer within {seconds:.0f} seconds")

        monkeypatch.setattr(quotas, "side_by_side", nobody_answers)
        assert ask(world, **VPC)["admitted"]
        found = world.record(HERE, "quotas")
        assert (found["limits"], found["unread"]) == ({"vpcs": 5}, {"vpcs": "there was no answer within 25 seconds"})

    def test_leaves_what_another_one_has_read_meanwhile(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second looks, and is admitted, after the first has looked and before it writes."""
        look, answers = quotas._first, list[Json]()

        def meanwhile(*its: Any) -> Any:
            found = look(*its)
            if not answers:
                answers.append({})
                self.others(world, 4)
                takes = {"vpcs": 1, "elastic-ips": 1}
                answers[0] = ask(world, "webshop-2", ceilings={}, takes=takes)
            return found

        monkeypatch.setattr(quotas, "_first", meanwhile)
        first = ask(world, "webshop-1", ceilings={}, takes={"vpcs": 1, "internet-gateways": 1})
        assert (first["admitted"], answers[0]["admitted"]) == (False, False)
        found = world.record(HERE, "quotas")
        assert found["limits"] == {"vpcs": 5, "elastic-ips": 5, "internet-gateways": 5}
        assert found["used"] == {"vpcs": 5, "elastic-ips": 0, "internet-gateways": 0}

    def test_is_not_written_over_by_a_sweep_that_began_before(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask(world, "webshop-1", **VPC)
        look = quotas._read_quotas

        def meanwhile(*its: Any) -> Any:
            found = look(*its)
            assert ask(world, "webshop-2", ceilings={}, takes={"elastic-ips": 1})["admitted"]
            return found | {"limits": {"vpcs": 4}}

        with monkeypatch.context() as slow:
            slow.setattr(quotas, "_read_quotas", meanwhile)
            sweep(world)
        assert world.record(HERE, "quotas")["limits"] == {"vpcs": 5, "elastic-ips": 5}
        sweep(world)
        assert world.record(HERE, "quotas")["limits"].keys() == {"vpcs", "elastic-ips"}

    def test_takes_nobody_for_a_stranger_who_is_built_while_it_looks(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look, others = quotas._vpcs, [True]

        def meanwhile(*its: Any) -> Any:
            if others and others.pop():
                ask(world, "webshop-2", **VPC)
                labels = tagged("vpc", OURS | {"mayfly:environment": "webshop-2"})
                world.there("ec2").create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=labels)
            return look(*its)

        monkeypatch.setattr(quotas, "_vpcs", meanwhile)
        ask(world, "webshop-1", ceilings={}, takes={"vpcs": 1, "security-groups": 1})
        found = world.record(HERE, "quotas")
        assert found["used"] == {"vpcs": 1, "security-groups": 1}
        assert ledger(world)["counts"] == {VPCS: 2, f"{HERE}|security-groups": 1}


class TestSeveralTargets:
    """A VPC is free here and another one there."""

    OTHER = "222222222222/eu-central-1"
    AFTER: ClassVar[Json] = {"account": "222222222222", "region": "eu-central-1", "image": "ami-2"}
    BOTH: ClassVar[Json] = VPC | {"places": [PLACE, AFTER]}

    @pytest.fixture(autouse=True)
    def _one_vpc_at_each(self, world: World) -> None:
        for target in (HERE, self.OTHER):
            world.records("quotas").change(target, {"id": target, "limits": {"vpcs": 1}, "used": {}, "unread": {}})

    def plan(self, world: World, name: str, now: str = NOW, **more: Any) -> Json:
        return world.call("plan_environment", {"order": order(name, **self.BOTH), "now": now, "moves": True} | more)

    def ask(self, world: World, name: str, now: str = NOW) -> Json:
        asked = {"order": order(name, **self.BOTH), "now": now, "moves": True}
        return world.call("admit_environment", asked | {"token": f"token-of-{name}-at-{now}"})

    def place(self, world: World, name: str) -> Json:
        return {key: world.record(name)[key] for key in PLACE}

    def test_are_taken_in_their_order_and_each_record_says_which(self, world: World) -> None:
        said = [self.plan(world, name) for name in ("webshop-1", "webshop-2", "webshop-3")]
        assert [(each["admitted"], each["place"]) for each in said] == [
            (True, PLACE),
            (True, self.AFTER),
            (False, PLACE),
        ]
        assert [self.place(world, name) for name in ("webshop-1", "webshop-2")] == [PLACE, self.AFTER]
        assert world.record("webshop-2")["reserved"][f"{self.OTHER}|vpcs"] == 1
        assert f"{HERE}|vpcs" not in world.record("webshop-2")["reserved"]
        assert world.record("webshop-2")["history"][0]["why"].endswith(f"; in {self.OTHER}")
        assert ledger(world)["counts"] == {f"{HERE}|vpcs": 1, f"{self.OTHER}|vpcs": 1}

    def test_cost_no_more_than_one(self, world: World) -> None:
        self.plan(world, "webshop-1")
        before = len(world.wire.heard("UpdateItem"))
        self.plan(world, "webshop-2")
        writes = world.wire.heard("UpdateItem")[before:]
        assert len(writes) == 2
        assert all("ConditionExpression" in write for write in writes)

    def test_are_not_changed_by_a_repetition(self, world: World) -> None:
        self.plan(world, "webshop-1")
        self.plan(world, "webshop-2")
        gone(world, "webshop-1")
        assert self.plan(world, "webshop-2", LATER)["place"] == self.AFTER
        self.ask(world, "webshop-2", LATER)
        assert json.loads(world.settled[-1]["output"])["place"] == self.AFTER
        assert self.place(world, "webshop-2") == self.AFTER
        assert ledger(world)["counts"] == {f"{HERE}|vpcs": 0, f"{self.OTHER}|vpcs": 1}

    def test_are_all_waited_for_and_the_first_that_is_free_is_taken(self, world: World) -> None:
        for name in ("webshop-1", "webshop-2", "webshop-3"):
            self.plan(world, name)
        lacks = self.ask(world, "webshop-3")["lacks"]
        assert lacks == " / ".join(
            f"the quota VPCs per Region (vpc, L-F678F1CE) in {target}: 1 needed, 0 free"
            for target in (HERE, self.OTHER)
        )
        before = len(world.wire.heard("UpdateItem"))
        gone(world, "webshop-2")
        assert json.loads(world.settled[-1]["output"])["place"] == self.AFTER
        assert self.place(world, "webshop-3") == self.AFTER
        assert world.record("webshop-3")["history"][-1]["why"] == f"it waited since {NOW}; in {self.OTHER}"
        admitting = [write for write in world.wire.heard("UpdateItem")[before:] if "webshop-3" in str(write["Key"])]
        assert len(admitting) == 1, "its room and its place are one write"
        assert ledger(world)["counts"] == {f"{HERE}|vpcs": 1, f"{self.OTHER}|vpcs": 1}

    def test_are_not_both_taken_by_two_that_ask_in_the_same_millisecond(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, first = admission._write, [True]

        def another_before(*its: Any) -> bool:
            if first and first.pop():
                self.plan(world, "webshop-1")
            return write(*its)

        monkeypatch.setattr(admission, "_write", another_before)
        self.plan(world, "webshop-2")
        assert [self.place(world, name) for name in ("webshop-1", "webshop-2")] == [PLACE, self.AFTER]
        assert ledger(world)["counts"] == {f"{HERE}|vpcs": 1, f"{self.OTHER}|vpcs": 1}

    def test_are_told_by_a_sweep_where_who_admitted_died(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("webshop-1", "webshop-2", "webshop-3"):
            self.plan(world, name)
        self.ask(world, "webshop-3")
        with monkeypatch.context() as dead:
            dead.setattr(admission, "_tell", lambda *_: None)
            gone(world, "webshop-2")
        settled = len(world.settled)
        sweep(world)
        [told] = [each for each in world.settled[settled:] if "webshop-3" in each["taskToken"]]
        assert json.loads(told["output"])["place"] == self.AFTER

    def test_have_their_quotas_read_as_long_as_somebody_waits_for_them(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        for name in ("webshop-1", "webshop-2", "webshop-3"):
            self.plan(world, name)
        self.ask(world, "webshop-3")
        world.change("webshop-2", reserved={})
        sweep(world)
        assert world.record(self.OTHER, "quotas")["limits"] == {"vpcs": 5}

    def test_fail_at_once_only_what_fits_in_none(self, world: World) -> None:
        for name in ("webshop-1", "webshop-2", "webshop-3"):
            self.plan(world, name)
        for target in (HERE, self.OTHER):
            world.records("quotas").change(target, {"limits": {"vpcs": 0}})
        with pytest.raises(admission.NeverFits, match=f"{HERE}: .* is 0, and it needs 1 / {self.OTHER}: .* is 0"):
            self.ask(world, "webshop-3")
        world.records("quotas").change(self.OTHER, {"limits": {"vpcs": 1}})
        assert not self.ask(world, "webshop-3")["admitted"]

    def test_are_one_to_a_machine_that_an_earlier_version_began(self, world: World) -> None:
        self.plan(world, "webshop-1")
        said = self.plan(world, "webshop-2", moves=False)
        assert (said["admitted"], said["place"]) == (False, PLACE)
        asked = {"order": order("webshop-2", **self.BOTH), "now": NOW, "token": "token"}
        assert self.OTHER not in world.call("admit_environment", asked)["lacks"]

    def test_tell_who_was_admitted_and_not_told_to_await_ec2_s_tokens(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A sweep tells it when its launches begin, as whoever died would have."""
        launch = "2026-11-24T07:17:35.000Z"
        self.plan(world, "webshop-1")
        waiting = {"for": "room", "token": "token"}
        world.change("webshop-1", waiting=waiting, launch_from=launch, stage="queued")
        sweep(world)
        [told] = [each for each in world.settled if each["taskToken"] == "token"]
        assert (told["error"], json.loads(told["cause"])["launch"]) == ("NotYet", launch)


class TestLaunches:
    """NOW is 06:47:34.120, and of EC2's tokens 500 are lacking, in a bucket of 500 that two a second fill."""

    TEN: ClassVar[Json] = {"ceilings": {}, "takes": {"instances": 10}, "burst": 500}
    AT = "2026-11-24T06:47:39.120Z"

    def empty(self, world: World, full_at: str = "2026-11-24T06:51:44.120Z") -> None:
        world.records("ledger").change("room", {"version": 1, "launches": {HERE: full_at}})

    def test_that_ec2_has_tokens_for_are_at_once_and_remembered(self, world: World) -> None:
        assert ask(world, **self.TEN)["admitted"]
        assert ledger(world)["launches"] == {HERE: self.AT}
        assert "launch_from" not in world.record()

    def test_wait_for_their_tokens_in_their_machine_and_their_lifetime_begins_then(self, world: World) -> None:
        self.empty(world)
        planned = world.call("plan_environment", {"order": order(**self.TEN), "now": NOW})
        assert (planned["admitted"], planned["launch"]) == (True, self.AT)
        assert planned["deadline"] == world.record()["deadline"] == "2026-11-24T07:47:39.120Z"
        said = f"EC2's launch rate: its stack is created from {self.AT} on"
        assert world.record()["history"][-1]["why"].endswith(said)

    def test_of_who_has_to_ask_are_told_with_the_token(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        planned_and_not_admitted(world, monkeypatch)
        self.empty(world)
        assert ask(world, begin=False, **self.TEN)["admitted"]
        (settled,) = world.settled
        assert (settled["told"], settled["error"]) == ("Failure", "NotYet")
        said = {"deadline": "2026-11-24T07:47:39.120Z", "place": PLACE, "launch": self.AT}
        assert json.loads(settled["cause"]) == said

    def test_and_a_repetition_is_told_the_same_until_then(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        planned_and_not_admitted(world, monkeypatch)
        self.empty(world)
        ask(world, begin=False, **self.TEN)
        ask(world, begin=False, now="2026-11-24T06:47:38.000Z", **self.TEN)
        ask(world, begin=False, now=self.AT, **self.TEN)
        first, second, third = world.settled
        assert (second["cause"], third["told"]) == (first["cause"], "Success")

    def test_of_more_than_ten_minutes_wait_in_the_queue_until_a_sweep(self, world: World) -> None:
        self.empty(world, "2026-11-24T07:01:44.120Z")
        said = f"EC2's launches of the next 10 minutes in {HERE}: 10 needed, 0 free"
        assert ask(world, **self.TEN)["lacks"] == said
        sweep(world, "2026-11-24T06:52:34.120Z")
        assert json.loads(world.settled[-1]["cause"])["launch"] == "2026-11-24T06:57:39.120Z"
        assert ledger(world)["queue"] == []

    def test_are_waited_for_about_as_long_as_the_bucket_takes_however_long_others_have_their_room(
        self, world: World
    ) -> None:
        self.empty(world, "2026-11-24T07:01:44.120Z")
        ask(world, "webshop-1", **self.TEN)
        ask(world, "webshop-2", **self.TEN | {"takes": {"instances": 200}})
        world.records("ledger").change("room", {"mean_seconds": 7200, "holding": 1})
        # A full bucket has 500, and 1,700 are lacking: 10 more are there in 605 seconds, and 200 after those in 705.
        found = admission.queue(world.table, datetime.fromisoformat(NOW))
        assert [each.about_minutes for each in found.values()] == [11, 12]

    def test_are_counted_by_the_rate_that_is_configured_for_the_target(self, world: World) -> None:
        world.put("/mayfly/admission", f'{{"launches": {{"{HERE}": {{"burst": 4000, "a_second": 8}}}}}}')
        world.configure()
        event = {"release": RELEASE, "pushed": PUSHED, "now": NOW}
        demand = world.call("plan_release", event)["orders"][0]["demand"]
        assert (demand["burst"], demand["launches_a_second"]) == (4000, 8)


class TestASweepReadsQuotas:
    def quotas(self, world: World, **takes: int) -> Json:
        world.call("plan_environment", {"order": order(takes=takes, ceilings={}), "now": NOW})
        world.change(ENVIRONMENT, reserved={f"{HERE}|{key}": count for key, count in takes.items()})
        sweep(world)
        return world.record(HERE, "quotas")

    def test_of_which_something_is_reserved_and_what_others_use(self, world: World) -> None:
        world.there("ec2").create_vpc(CidrBlock="10.0.0.0/16")
        others = len(world.there("ec2").describe_vpcs()["Vpcs"])
        mine = world.there("ec2").create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=tagged("vpc", OURS))["Vpc"]
        found = self.quotas(world, **{"vpcs": 1, "security-groups": 1, "gp3-gib": 20})
        assert found["limits"] == {"vpcs": 5, "security-groups": 2500, "gp3-gib": 50 * 1024}
        assert found["used"] == {"vpcs": others, "security-groups": others, "gp3-gib": 0}, mine
        assert (found["unread"], found["uncounted"]) == ({}, {})

    def test_of_every_kind(self, world: World) -> None:
        found = self.quotas(world, **dict.fromkeys(QUOTAS, 1))
        assert (found["unread"], found["uncounted"]) == ({}, {})
        assert found["limits"].keys() == found["used"].keys() == QUOTAS.keys()

    def test_counts_instances_and_volumes_of_others_by_family(self, world: World) -> None:
        world.launch(OURS)
        world.launch({"mayfly:environment": "another"}, count=2)
        kind = world.there("ec2").describe_instances()["Reservations"][0]["Instances"][0]["InstanceType"]
        found = self.quotas(world, **{"vcpus-standard": 1})
        assert found["used"]["vcpus-standard"] == 2 * (vcpus(kind) or 0)

    def test_and_knows_where_it_may_not(self, world: World) -> None:
        world.wire.answer("GetServiceQuota", error="AccessDeniedException", message="not authorized")
        world.wire.answer("DescribeAddresses", error="UnauthorizedOperation", message="not authorized")
        found = self.quotas(world, **{"elastic-ips": 1})
        assert found["limits"] == {"elastic-ips": 5}
        assert "not authorized" in found["unread"]["elastic-ips"]
        assert "not authorized" in found["uncounted"]["elastic-ips"]

    def test_again_and_admits_who_waits_for_one_that_was_raised(self, world: World) -> None:
        looked(world, limits={"vpcs": 1})
        for number in (1, 2):
            ask(world, f"webshop-{number}", **VPC)
        sweep(world)
        assert told(world)[-1] == f"token-of-webshop-2-at-{NOW}"

    def test_and_closes_a_target_that_refuses_until_it_lets_in_again(self, world: World) -> None:
        self.quotas(world, vpcs=1)
        world.wire.answer("AssumeRole", error="AccessDenied", message="not authorized")
        sweep(world)
        assert "not authorized" in world.record(HERE, "quotas")["closed"]
        world.wire.recover("AssumeRole")
        sweep(world)
        assert world.record(HERE, "quotas")["closed"] == ""

    def test_on_after_who_wanted_it_failed_at_once(self, world: World) -> None:
        looked(world, limits={"vpcs": 2})
        with pytest.raises(admission.NeverFits):
            ask(world, ceilings={}, takes={"vpcs": 3})
        world.change(ENVIRONMENT, reserved={}, wanted={})
        sweep(world)
        assert world.record(HERE, "quotas")["limits"] == {"vpcs": 5}

    def test_only_where_something_is_taken(self, world: World) -> None:
        sweep(world)
        assert not world.wire.heard("GetServiceQuota")
        assert not world.record(HERE, "quotas")


class TestWhatEnvironmentsReallyHad:
    def ready(self, world: World, **takes: int) -> Json:
        """One that reserved this, and has an instance of t3.micro, is ready. Returns what the next one reserves."""
        first: Json = world.call("plan_release", {"release": RELEASE, "pushed": PUSHED, "now": NOW})["orders"][0]
        first["demand"]["takes"] |= takes
        world.call("plan_environment", {"order": first, "now": NOW})
        stack = world.call("create_environment", {"order": first, "deadline": "", "token": "token", "now": NOW})[
            "stack"
        ]
        world.call("confirm_ready", {"order": first, "stack": stack, "now": NOW})
        again: Json = world.call("plan_release", {"release": RELEASE, "pushed": PUSHED, "now": NOW})["orders"][0]
        return {key: again["demand"]["takes"].get(key) for key in ("instances", "vcpus-standard", "vcpus-g")}

    def test_corrects_what_the_next_one_reserves(self, world: World) -> None:
        world.configure()
        assert self.ready(world, **{"instances": 4, "vcpus-standard": 64, "vcpus-g": 8}) == {
            "instances": 1, "vcpus-standard": 2, "vcpus-g": None
        }  # fmt: skip
        assert len([each for each in world.wire.heard("UpdateItem") if "needs#" in str(each["Key"])]) == 1

    def test_is_not_written_where_it_was_reckoned_right(self, world: World) -> None:
        world.configure()
        self.ready(world)
        assert not [each for each in world.wire.heard("UpdateItem") if "needs#" in str(each["Key"])]


class TestCeilingsThatRefuse:
    def test_fail_at_once_what_does_not_fit_below_them(self, world: World) -> None:
        ask(world, "webshop-1", refuses=["application:webshop"])
        said = "the ceiling of environments of the application webshop: 1 needed, 0 free"
        with pytest.raises(admission.OverCeiling, match=said):
            ask(world, "webshop-2", refuses=["application:webshop"])
        assert "wanted" not in world.record("webshop-2")
        assert ledger(world)["counts"] == {MINE: 1}

    def test_let_wait_what_lacks_something_else(self, world: World) -> None:
        both = {MINE: 5, OTHERS: 1}
        ask(world, "webshop-1", ceilings=both, refuses=["application:webshop"])
        assert not ask(world, "webshop-2", ceilings=both, refuses=["application:webshop"])["admitted"]

    def test_are_configured(self, world: World) -> None:
        world.put("/mayfly/admission", '{"installation": {"usd_a_day": 5, "when_over": "refuse"}}')
        world.configure(ceilings={"environments": 12, "when_over": "refuse"})
        event = {"release": RELEASE, "pushed": PUSHED, "now": NOW}
        demand = world.call("plan_release", event)["orders"][0]["demand"]
        assert demand["refuses"] == ["application:webshop", "installation:"]


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

    def test_of_days_and_months_that_are_over_are_not_kept(self, world: World) -> None:
        """The ledger is one item, with some counters of each application and owner."""
        budgets = {"application:webshop|day": 1000, "application:webshop|month": 30_000}
        ask(world, "webshop-1", **self.DAY | {"budgets": budgets})
        ask(world, "webshop-2", now="2026-11-28T06:47:34.120Z", **self.DAY | {"budgets": budgets})
        scope = "application:webshop|usd 2026-"
        assert ledger(world)["counts"] == {f"{scope}11": 1200, f"{scope}11-28": 600}

    def test_are_new_the_next_day_and_a_sweep_lets_in_who_waited(self, world: World) -> None:
        ask(world, "webshop-1", **self.DAY)
        world.call(
            "plan_environment", {"order": order("webshop-2", **self.DAY) | {"lifetime_minutes": 3000}, "now": NOW}
        )
        event = {"order": order("webshop-2", **self.DAY) | {"lifetime_minutes": 3000}, "now": NOW, "token": "waits"}
        assert not world.call("admit_environment", event)["admitted"]
        sweep(world, A_DAY_LATER)
        assert told(world)[-1] == "waits"


class TestRoomThatRunsLow:
    """A budget of US$ 10 a day, of which each environment takes US$ 4.10 at most."""

    SCOPE = "application:webshop"
    DAY: ClassVar[Json] = {"ceilings": {}, "cents": 410, "budgets": {f"{SCOPE}|day": 1000}, "warns": {SCOPE: 80}}

    def said(self, world: World) -> list[Json]:
        return [detail for what, detail in world.said if what == "Room Running Low"]

    def test_is_said_once_when_the_share_is_reached(self, world: World) -> None:
        ask(world, "webshop-1", **self.DAY)
        assert self.said(world) == []
        ask(world, "webshop-2", **self.DAY)
        [said] = self.said(world)
        assert (said["percent"], said["used"], said["most"]) == (82, 8.2, 10)
        assert (said["of"], said["name"], said["period"]) == ("application", "webshop", "2026-11-24")
        assert said["environment"] == "webshop-2"
        assert said["reason"] == "the application webshop has US$ 8.20 of 10 for 2026-11-24"
        assert ledger(world)["unsaid"] == []

    def test_is_said_once_however_often_it_is_asked_and_given_back(self, world: World) -> None:
        ask(world, "webshop-1", **self.DAY)
        for _ in range(3):
            ask(world, "webshop-2", **self.DAY)
        gone(world, "webshop-2")
        ask(world, "webshop-3", **self.DAY)
        assert len(self.said(world)) == 1

    def test_is_said_again_of_another_day_and_of_another_budget(self, world: World) -> None:
        for number in (1, 2):
            ask(world, f"webshop-{number}", **self.DAY)
        ask(world, "webshop-3", **self.DAY | {"budgets": {f"{self.SCOPE}|day": 1400}})
        for number in (4, 5):
            ask(world, f"webshop-{number}", now=A_DAY_LATER, **self.DAY)
        periods = [(each["period"], each["most"]) for each in self.said(world)]
        assert periods == [("2026-11-24", 10), ("2026-11-24", 14), ("2026-11-25", 10)]

    def test_is_said_of_a_month_once(self, world: World) -> None:
        month = self.DAY | {"budgets": {f"{self.SCOPE}|month": 1000}}
        ask(world, "webshop-1", **month)
        ask(world, "webshop-2", now=A_DAY_LATER, **month)
        assert [each["period"] for each in self.said(world)] == ["2026-11"]

    def test_is_said_of_a_ceiling_once_a_day_and_not_of_one_that_is_too_small(self, world: World) -> None:
        instances = f"{self.SCOPE}|instances"
        asked: Json = {"ceilings": {instances: 20, MINE: 2}, "warns": {self.SCOPE: 80}, "takes": {"instances": 8}}
        for number in (1, 2):
            ask(world, f"webshop-{number}", **asked)
        gone(world, "webshop-2")
        ask(world, "webshop-3", **asked)
        gone(world, "webshop-3")
        ask(world, "webshop-4", now=A_DAY_LATER, **asked)
        assert [(each["what"], each["used"], each["most"]) for each in self.said(world)] == [("instances", 16, 20)] * 2

    def test_of_the_installation_is_nobody_s(self, world: World) -> None:
        ask(world, **self.DAY | {"budgets": {"installation:|day": 500}, "warns": {"installation:": 80}})
        [said] = self.said(world)
        assert ("environment" in said, said["reason"]) == (False, "the installation has US$ 4.10 of 5 for 2026-11-24")

    def test_is_not_said_where_an_earlier_version_planned_it_or_nobody_wants_it(self, world: World) -> None:
        ask(world, "webshop-1", **self.DAY | {"cents": 900, "warns": {}})
        ask(world, "webshop-2", now=A_DAY_LATER, **self.DAY | {"cents": 1000, "warns": {self.SCOPE: 100}})
        assert self.said(world) == []

    def test_that_could_not_be_said_is_said_by_a_sweep(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ask(world, "webshop-1", **self.DAY)
        with monkeypatch.context() as first:

            def dies(*_: Any) -> None:
                raise TimeoutError("Lambda's time is over")

            first.setattr(admission, "announce", dies)
            assert ask(world, "webshop-2", **self.DAY)["admitted"]
        assert (self.said(world), len(ledger(world)["unsaid"])) == ([], 1)
        for _ in range(2):
            sweep(world)
        assert (len(self.said(world)), ledger(world)["unsaid"]) == (1, [])

    def test_is_configured_and_shown(self, world: World) -> None:
        world.put("/mayfly/admission", '{"owner": {"usd_a_month": 5000, "warn_percent": 50}}')
        world.configure(ceilings={"usd_a_day": 10})
        demand = world.call("plan_release", {"release": RELEASE, "pushed": PUSHED, "now": NOW})["orders"][0]["demand"]
        assert demand["warns"] == {self.SCOPE: 80, "owner:team-shop@example.com": 50, "installation:": 80}
        for number in (1, 2):
            ask(world, f"webshop-{number}", **self.DAY)
        shown = Reading(world.table, "/mayfly", datetime.fromisoformat(NOW)).queue()
        assert [each["percent"] for each in shown["low"]] == [82]
        assert "low" not in Reading(world.table, "/mayfly", datetime.fromisoformat(NOW)).environments()
        ask(world, "webshop-3", **self.DAY)
        [low] = Reading(world.table, "/mayfly", datetime.fromisoformat(NOW)).environments()["low"]
        assert low["reason"] == "the application webshop has US$ 8.20 of 10 for 2026-11-24"
        assert Reading(world.table, "/mayfly", datetime.fromisoformat(A_DAY_LATER)).queue()["low"] == []


class TestAThousandThatWait:
    """They are in the queue of an application that may have one environment at once."""

    NAMES: ClassVar[list[str]] = [f"webshop-{number}" for number in range(2, 1002)]

    @pytest.fixture(autouse=True)
    def _they_wait(self, world: World) -> None:
        """Written as they are after each has asked, which is tried above: a thousand that ask read half a million."""
        ask(world, "webshop-1")
        ask(world, "webshop-2")
        one = world.record("webshop-2")
        for name in self.NAMES:
            waiting = {"for": "room", "token": f"token-of-{name}"}
            world.records().change(name, one | {"id": name, "waiting": waiting, "shelved": f"{NOW}#{name}"})
        world.records("ledger").change("room", {"queue": self.NAMES})
        world.wire.forget()

    def cancel(self, world: World, every: int = 1) -> None:
        for name in self.NAMES[::every]:
            detail = {"environment": name, "why": "not needed", "requested_by": "ada"}
            world.call("accept_termination", on_the_bus("Environment Termination Requested", detail))

    def test_are_each_told_once_when_they_are_cancelled_and_leave_no_reservation(self, world: World) -> None:
        self.cancel(world)
        assert sorted(told(world)) == sorted(f"token-of-{name}" for name in self.NAMES)
        assert {each["error"] for each in world.settled} == {"EndedBefore"}
        assert len(world.wire.heard("UpdateItem")) == len(self.NAMES)  # none of the ledger
        world.wire.forget()
        gone(world, "webshop-2")  # what never had room gives none back
        assert not world.wire.heard("BatchGetItem")
        gone(world, "webshop-1")
        # Whoever gives back next reads them once, by hundreds, and takes all of them out of the queue by one write.
        assert len(world.wire.heard("BatchGetItem")) <= 1 + len(self.NAMES) // 100
        assert world.settled == []
        assert (ledger(world)["queue"], ledger(world)["counts"]) == ([], {MINE: 0})
        assert not any("reserved" in world.record(name) for name in self.NAMES)

    def test_come_to_their_end_while_the_kill_switch_is_on(self, world: World) -> None:
        """It keeps what there is from being destroyed, and of them there is nothing."""
        world.put("/mayfly/kill-switch", json.dumps({"on": True, "why": "an incident", "set_by": "ops", "at": NOW}))
        for name in self.NAMES:
            if name not in self.NAMES[::100]:
                world.change(name, ending={"by": "request", "outcome": "cancelled", "reason": "ada: not needed"})
        self.cancel(world, every=100)
        assert len(told(world)) == len(self.NAMES[::100])
        ended = {"by": "failure", "error": {"Error": "EndedBefore", "Cause": "ada: not needed"}}
        for name in self.NAMES[::100]:
            gone = {"order": order(name), "deadline": A_DAY_LATER, "now": LATER, "ended": ended}
            world.call("delete_environment", gone | {"token": f"deletion-of-{name}", "moves": True})
            world.call("confirm_gone", gone | {"stack": None, "token": f"end-of-{name}"})
            assert world.record(name)["ending"]["outcome"] == "cancelled"
            assert world.record(name)["stage"] == "terminated"
        assert not world.wire.heard("DeleteStack")
        sweep(world)  # turns on nobody, and takes all of them out of the queue
        assert (ledger(world)["queue"], ledger(world)["counts"]) == ([], {MINE: 1})

    def test_are_none_of_them_built_where_room_comes_while_they_are_cancelled(self, world: World) -> None:
        for name in self.NAMES[:500]:
            world.change(name, ending={"by": "request", "outcome": "cancelled", "reason": "ada: not needed"})
        gone(world, "webshop-1")
        # By their names in the order of the alphabet: all asked at the same moment.
        left = sorted(self.NAMES[500:])
        assert told(world) == [f"token-of-{left[0]}"]
        assert (ledger(world)["queue"], ledger(world)["counts"]) == (left[1:], {MINE: 1})


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


class TestTwoThatAskInTheSameMillisecond:
    def test_do_not_both_get_the_last_vpc(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second asks, and is admitted, after the first has read the ledger and before it writes it."""
        looked(world, limits={"vpcs": 1})
        read, answers = admission.ledger, list[Json]()

        def meanwhile(table: str) -> Any:
            seen = read(table)
            if not answers:
                answers.append({})
                answers[0] = ask(world, "webshop-2", **VPC)
            return seen

        monkeypatch.setattr(admission, "ledger", meanwhile)
        first = ask(world, "webshop-1", **VPC)
        assert (first["admitted"], answers[0]["admitted"]) == (False, True)
        assert (ledger(world)["counts"], ledger(world)["queue"]) == ({VPCS: 1}, ["webshop-1"])

    def test_are_both_admitted_where_they_are_planned_if_both_fit(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked(world, limits={"vpcs": 2})
        read, planned = admission.ledger, list[Json]()

        def plan(name: str) -> None:
            planned.append(world.call("plan_environment", {"order": order(name, **VPC), "now": NOW}))

        def meanwhile(table: str) -> Any:
            seen = read(table)
            monkeypatch.setattr(admission, "ledger", read)
            plan("webshop-2")
            return seen

        monkeypatch.setattr(admission, "ledger", meanwhile)
        plan("webshop-1")
        assert [each["admitted"] for each in planned] == [True, True]
        assert ledger(world)["counts"] == {VPCS: 2}


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

    def test_but_a_preview_is_none_of_them_and_neither_it_nor_a_repetition_waits_for_them(self, world: World) -> None:
        suites = [{"name": "smoke", "retries": 1}, {"name": "look"}, {"name": "show", "kind": "preview"}]
        world.configure(admitted="together", suites=suites)
        assert self.plan(world)["members"] == 2
        for name, kind in ((f"{ENVIRONMENT}-2", "automated"), (f"{RELEASE}-show", "preview")):
            event = {"order": order(name, members=2, ceilings={}) | {"kind": kind}, "now": NOW}
            world.call("plan_environment", event)
            assert world.call("admit_environment", event | {"token": f"token-of-{name}"})["admitted"]

    def test_a_hotfix_only_of_who_is_allowed_it(self, world: World) -> None:
        with pytest.raises(Refused, match="hotfix: expected false, because webshop is not allowed hotfixes"):
            self.plan(world, hotfix=True)
        world.configure(hotfixes=True)
        assert self.plan(world, hotfix=True)["priority"] == 9

    def test_wrongly_is_refused_with_the_field(self, world: World) -> None:
        world.put("/mayfly/admission", '{"installation": {"environments": -1}}')
        with pytest.raises(Refused, match=r"/mayfly/admission is wrong: installation\.environments"):
            self.plan(world)
