"""The records' promises: one atomic call a change, a bounded history, and values that are what they were."""

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from mayfly.aws import executions
from mayfly.aws.records import Conflict, Entry, Records
from mayfly.domain.stack import Answer
from tests.integration.world import NOW, TOKEN, World

ENTRY = Entry(NOW, "a test", "something", "because")
UNTIL = datetime(2027, 2, 22, tzinfo=UTC)


@pytest.fixture
def records(world: World) -> Records:
    return world.records()


class TestARecordBegins:
    def test_with_its_facts_and_the_first_line_of_its_history(self, records: Records) -> None:
        begun = records.begin("web-1", {"stage": "planned"}, ENTRY, UNTIL)
        history = [{"at": NOW, "who": "a test", "what": "something", "why": "because"}]
        born = {"id": "web-1", "live": "environment", "born": f"environment#{NOW[:10]}"}
        facts = born | {"forget_after": int(UNTIL.timestamp())} | {"stage": "planned", "history": history}
        assert begun == records.get("web-1") == {"pk": "environment#web-1"} | facts

    def test_once(self, records: Records) -> None:
        first = records.begin("web-1", {"stage": "planned"}, ENTRY, UNTIL)
        with pytest.raises(Conflict) as conflict:
            records.begin("web-1", {"stage": "other"}, ENTRY, UNTIL)
        assert conflict.value.found == first == records.get("web-1")

    def test_beside_one_of_another_kind_with_the_same_name(self, world: World, records: Records) -> None:
        records.begin("web-1", {"stage": "planned"}, ENTRY, UNTIL)
        assert world.records("release").get("web-1") is None

    def test_without_living_where_it_is_only_to_be_remembered(self, records: Records) -> None:
        begun = records.begin("sweep-1", {}, ENTRY, UNTIL, live=False)
        assert begun["born"] == f"environment#{NOW[:10]}"
        assert [*records.live()] == []


class TestRecentRecords:
    DAYS = ("2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24")

    @pytest.fixture
    def four(self, records: Records) -> Records:
        for day in self.DAYS:
            records.begin(f"of-{day}", {"stage": "planned"}, Entry(f"{day}T12:00:00.000Z", "a", "b", "c"), UNTIL)
        records.change("of-2026-11-24", {"stage": "terminated"}, drop=("live",))
        return records

    @pytest.mark.parametrize("days", [0, 1, 3, 9])
    def test_are_those_of_these_days_ended_or_not(self, four: Records, days: int) -> None:
        found = {record["id"] for record in four.recent(datetime(2026, 11, 24, 23, tzinfo=UTC), days)}
        assert found == {f"of-{day}" for day in self.DAYS[-1 - days :]} | {f"of-{self.DAYS[-1]}"}

    def test_cost_a_query_a_day_and_a_call_a_hundred_and_never_a_scan(self, world: World, four: Records) -> None:
        for number in range(120):
            four.begin(f"more-{number}", {}, ENTRY, UNTIL)
        world.wire.forget()
        assert len([*four.recent(datetime(2026, 11, 24, tzinfo=UTC), 2)]) == 123
        assert world.wire.names() == ["Query"] * 3 + ["BatchGetItem"] * 2

    def test_are_followed_to_the_last_page(self, world: World, four: Records) -> None:
        for number in range(3):
            four.begin(f"more-{number}", {}, ENTRY, UNTIL)
        world.wire.small_pages()
        assert len([*four.recent(datetime(2026, 11, 24, tzinfo=UTC), 0)]) == 4

    def test_can_be_read_in_part(self, world: World, four: Records) -> None:
        assert [*four.many(["of-2026-11-24", "nobody"], ("id", "stage"))] == [
            {"id": "of-2026-11-24", "stage": "terminated"}
        ]
        (call,) = world.wire.heard("BatchGetItem")
        assert "ConsistentRead" not in call["RequestItems"][world.table]

    def test_are_none_where_the_table_is_lost(self, world: World, records: Records) -> None:
        world.own("dynamodb").delete_table(TableName=world.table)
        assert [*records.recent(datetime(2026, 11, 24, tzinfo=UTC), 1)] == []


class TestARecordChanges:
    def test_in_one_call_that_tells_all_of_it(self, world: World, records: Records) -> None:
        records.begin("web-1", {"stage": "planned", "owner": "me"}, ENTRY, UNTIL)
        world.wire.forget()
        changed = records.change("web-1", {"stage": "creating"}, ENTRY)
        assert world.wire.names() == ["UpdateItem"]
        assert (changed["stage"], changed["owner"], len(changed["history"])) == ("creating", "me", 2)

    def test_without_a_word_where_there_is_nothing_to_say(self, records: Records) -> None:
        records.begin("web-1", {}, ENTRY, UNTIL)
        assert len(records.change("web-1", {"stack": "id"})["history"]) == 1

    def test_once_where_it_must_not_change_again(self, records: Records) -> None:
        records.change("web-1", {}, ENTRY, once={"ending": "first"})
        assert records.change("web-1", {}, ENTRY, once={"ending": "second"})["ending"] == "first"

    def test_not_at_all_against_its_condition(self, records: Records) -> None:
        begun = records.begin("web-1", {"stage": "planned"}, ENTRY, UNTIL)
        with pytest.raises(Conflict) as conflict:
            records.change("web-1", {"stage": "creating"}, ENTRY, only_if="attribute_exists(ending)")
        assert conflict.value.found == begun == records.get("web-1")

    def test_not_where_there_is_none_and_the_conflict_says_so(self, records: Records) -> None:
        with pytest.raises(Conflict) as conflict:
            records.change("web-1", {"stage": "creating"}, ENTRY, only_if="attribute_exists(pk)")
        assert conflict.value.found == {}

    def test_or_the_error_is_told_when_it_is_no_conflict(self, world: World, records: Records) -> None:
        world.wire.answer("UpdateItem", error="ProvisionedThroughputExceededException")
        with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
            records.change("web-1", {"stage": "creating"}, ENTRY)


class TestANote:
    def test_is_written_while_there_is_room(self, records: Records) -> None:
        records.begin("web-1", {}, ENTRY, UNTIL)
        records.change("web-1", {"history": [{"at": NOW}] * 99})
        for _ in range(3):
            records.note("web-1", ENTRY)
        assert len((records.get("web-1") or {})["history"]) == 100

    def test_begins_no_record(self, records: Records) -> None:
        records.note("web-1", ENTRY)
        assert records.get("web-1") is None

    def test_changes_nothing_else(self, records: Records) -> None:
        begun = records.begin("web-1", {"stage": "planned"}, ENTRY, UNTIL)
        records.note("web-1", ENTRY)
        noted = records.get("web-1") or {}
        assert noted | {"history": None} == begun | {"history": None}


class TestValues:
    def test_come_back_as_json_knows_them(self, records: Records) -> None:
        facts = {"n": 3, "deep": {"list": [1, {"n": 2}], "none": None, "yes": True}, "empty": "", "words": ["a"]}
        records.change("web-1", facts)
        found = records.get("web-1") or {}
        assert {name: found[name] for name in facts} == facts
        assert [type(found["n"]), type(found["deep"]["list"][1]["n"])] == [int, int]
        assert json.dumps(found)

    def test_of_a_conflict_too(self, records: Records) -> None:
        records.begin("web-1", {"n": 3}, ENTRY, UNTIL)
        with pytest.raises(Conflict) as conflict:
            records.begin("web-1", {}, ENTRY, UNTIL)
        assert type(conflict.value.found["n"]) is type(conflict.value.found["forget_after"]) is int

    def test_may_be_tuples(self, records: Records) -> None:
        assert records.change("web-1", {"suites": ("a", "b")})["suites"] == ["a", "b"]


class TestAWaitingExecution:
    @pytest.mark.parametrize("answer", [Answer(None, ""), Answer("CreationFailed", "why")], ids=["success", "failure"])
    @pytest.mark.parametrize("gone", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
    def test_that_is_gone_is_no_error(self, world: World, gone: str, answer: Answer) -> None:
        for operation in ("SendTaskSuccess", "SendTaskFailure"):
            world.wire.answer(operation, error=gone)
        assert executions.settle(TOKEN, answer, {}) is False

    @pytest.mark.parametrize("answer", [Answer(None, ""), Answer("CreationFailed", "why")], ids=["success", "failure"])
    @pytest.mark.parametrize("fault", ["ThrottlingException", "AccessDeniedException", "KmsThrottlingException"])
    def test_that_cannot_be_told_is_one(self, world: World, fault: str, answer: Answer) -> None:
        for operation in ("SendTaskSuccess", "SendTaskFailure"):
            world.wire.answer(operation, error=fault)
        with pytest.raises(ClientError, match=fault):
            executions.settle(TOKEN, answer, {})

    def test_is_told_a_result(self, world: World) -> None:
        assert executions.settle(TOKEN, Answer(None, "the stack is CREATE_COMPLETE"), {"stack": "id"})
        assert world.settled == [{"told": "Success", "taskToken": TOKEN, "output": '{"stack": "id"}'}]

    def test_is_told_no_more_of_a_cause_than_step_functions_takes(self, world: World) -> None:
        executions.settle(TOKEN, Answer("DeletionFailed", "x" * 40_000), {})
        assert len(world.settled[0]["cause"]) == 32_000
