"""The records' promises: one atomic call a change, a bounded history, and values that are what they were."""

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import pytest
from botocore.exceptions import ClientError

from mayfly.aws import executions
from mayfly.aws import records as module
from mayfly.aws.records import EXISTS, Conflict, LeftOut, Records, attr
from mayfly.contract.vocabulary import EnvironmentStage, RolloutStage
from mayfly.domain.records import (
    LIVE,
    Bake,
    Ending,
    Entry,
    Environment,
    Release,
    Rollout,
    placed,
    shelves,
)
from mayfly.domain.stack import TaskResult
from tests.integration.conftest import TABLE
from tests.integration.world import NOW, TOKEN, Json, World
from tests.model.dynamodb import PROJECTED

type Table = Records[Environment]

ENTRY = Entry(NOW, "a test", "something", "because")
UNTIL = datetime(2027, 2, 22, tzinfo=UTC)


@pytest.fixture
def records(world: World) -> Table:
    return Records(world.table, Environment)


class TestARecordBegins:
    def test_with_its_facts_and_the_first_line_of_its_history(self, world: World, records: Table) -> None:
        begun = records.begin("web-1", ENTRY, UNTIL, stage=EnvironmentStage.PLANNED)
        history = [{"at": NOW, "who": "a test", "what": "something", "why": "because"}]
        born = {"id": "web-1", "pk": "environment#web-1", "live": "environment", "shelved": f"{NOW}#web-1"}
        facts = born | {"forget_after": int(UNTIL.timestamp())} | {"stage": "planned", "history": history}
        written = world.record("web-1")
        assert written.pop("shelf")[:-1] == "environment#live#"
        assert written == facts
        assert begun == records.get("web-1")
        assert begun
        assert (begun.id, begun.stage, begun.history, begun.began) == ("web-1", "planned", (ENTRY,), NOW)

    def test_once(self, records: Table) -> None:
        first = records.begin("web-1", ENTRY, UNTIL, owner="me")
        with pytest.raises(Conflict) as conflict:
            records.begin("web-1", ENTRY, UNTIL, owner="you")
        assert conflict.value.found == first == records.get("web-1")

    def test_beside_one_of_another_kind_with_the_same_name(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL)
        assert Records(world.table, Release).get("web-1") is None

    def test_without_living_where_it_is_only_to_be_remembered(self, records: Table) -> None:
        begun = records.begin("sweep-1", ENTRY, UNTIL, live=False)
        assert begun
        assert begun.live is None
        assert [*records.live()] == []

    def test_only_with_fields_that_it_has(self, records: Table) -> None:
        with pytest.raises(TypeError, match="Environment has no field colour"):
            records.begin("web-1", ENTRY, UNTIL, colour="red")


class TestRecentRecords:
    DAYS = ("2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24")

    @pytest.fixture
    def four(self, world: World) -> Records[Rollout]:
        records = Records(world.table, Rollout)
        for day in self.DAYS:
            records.begin(f"of-{day}", Entry(f"{day}T12:00:00.000Z", "a", "b", "c"), UNTIL)
        records.change("of-2026-11-24", stage=RolloutStage.COMPLETED, drop=(Rollout.live,))
        return records

    @pytest.mark.parametrize("days", [0, 1, 3, 9])
    def test_are_those_of_these_days_ended_or_not(self, four: Records, days: int) -> None:
        found = {record.id for record in four.recent(datetime(2026, 11, 24, 23, tzinfo=UTC), days)}
        assert found == {f"of-{day}" for day in self.DAYS[-1 - days :]} | {f"of-{self.DAYS[-1]}"}

    def test_cost_a_query_a_day_and_a_call_a_hundred_and_never_a_scan(
        self, world: World, four: Records[Rollout]
    ) -> None:
        for number in range(120):
            four.begin(f"more-{number}", ENTRY, UNTIL)
        world.wire.forget()
        assert len([*four.recent(datetime(2026, 11, 24, tzinfo=UTC), 2)]) == 123
        assert world.wire.names() == ["Query"] * 3 + ["BatchGetItem"] * 2

    def test_are_followed_to_the_last_page(self, world: World, four: Records[Rollout]) -> None:
        for number in range(3):
            four.begin(f"more-{number}", ENTRY, UNTIL)
        world.wire.small_pages()
        assert len([*four.recent(datetime(2026, 11, 24, tzinfo=UTC), 0)]) == 4

    def test_can_be_read_in_part(self, world: World, four: Records[Rollout]) -> None:
        (found,) = four.many(["of-2026-11-24", "nobody"], (Rollout.stage,))
        assert found == Rollout(id="of-2026-11-24", stage=RolloutStage.COMPLETED)
        (call,) = world.wire.heard("BatchGetItem")
        assert "ConsistentRead" not in call["RequestItems"][world.table]

    def test_are_none_where_the_table_is_lost(self, world: World, records: Table) -> None:
        world.own("dynamodb").delete_table(TableName=world.table)
        assert [*records.recent(datetime(2026, 11, 24, tzinfo=UTC), 1)] == []
        assert [*records.shelved(LIVE)] == []


class TestShelves:
    """Where records lie of which there are thousands a day."""

    @pytest.fixture
    def many(self, records: Table) -> list[str]:
        names = [f"web-{number:03}" for number in range(120)]
        for number, name in enumerate(names):
            at = Entry(f"2026-11-24T12:{number // 60:02}:{number % 60:02}.000Z", "a", "b", "c")
            records.begin(name, at, UNTIL, application=f"app-{number % 5}", blueprint="fleet.yaml")
        return names

    def test_show_the_latest_first_and_of_a_few_a_few_are_read(
        self, world: World, records: Table, many: list[str]
    ) -> None:
        world.wire.forget()
        assert [one.id for one in islice(records.shelved(LIVE), 20)] == many[:-21:-1]
        assert world.wire.names().count("Query") == 9
        assert all(call["Limit"] == 16 for call in world.wire.heard("Query") if call["IndexName"] == "shelves")

    def test_go_on_from_a_place(self, records: Table, many: list[str]) -> None:
        first = list(islice(records.shelved(LIVE), 70))
        rest = list(records.shelved(LIVE, before=str(first[-1].shelved)))
        assert [one.id for one in (*first, *rest)] == many[::-1]

    def test_have_an_applications_on_two_of_them(self, world: World, records: Table, many: list[str]) -> None:
        world.wire.forget()
        mine = [one.id for one in records.shelved(LIVE, "app-3") if one.application == "app-3"]
        assert mine == [name for name in many[::-1] if int(name[-3:]) % 5 == 3]
        assert {call["ExpressionAttributeValues"].get(":shelf", {}).get("S") for call in world.wire.heard("Query")} == {
            None,
            *shelves(Environment, LIVE, "app-3"),
        }

    def test_share_the_writes(self) -> None:
        one = Counter(placed(Environment, f"web-{n}", "webshop", NOW, LIVE)["shelf"] for n in range(1_000))
        all_ = Counter(placed(Environment, f"web-{n}", f"app-{n % 50}", NOW, LIVE)["shelf"] for n in range(8_000))
        assert (len(one), max(one.values()) < 600) == (2, True)
        assert (len(all_), max(all_.values()) < 2_000) == (8, True)

    def test_have_what_ended_at_its_day(self, records: Table, many: list[str]) -> None:
        ended = placed(Environment, many[0], "app-0", "2026-11-25T01:00:00.000Z", "2026-11-25")
        records.change(many[0], drop=(Environment.live,), **ended)
        (found,) = records.shelved("2026-11-25")
        assert (found.id, found.lives, found.terminated_at) == (many[0], False, "2026-11-25T01:00:00.000Z")
        assert many[0] not in {one.id for one in records.shelved(LIVE)}
        assert many[0] not in {one.id for one in records.live()}

    def test_show_what_an_earlier_version_began_as_well(self, world: World, records: Table, many: list[str]) -> None:
        old = Entry("2026-11-24T12:00:30.500Z", "a", "b", "c")
        world.records().begin("old", {"application": "app-1"}, old, UNTIL)
        world.records().begin("gone", {"terminated_at": old.at}, old, UNTIL, live=False)
        assert "old" not in {one.id for one in records.shelved(LIVE, older=False)}
        listed = [one.id for one in records.shelved(LIVE)]
        assert listed[listed.index("old") - 1 : listed.index("old") + 2] == ["web-031", "old", "web-030"]
        assert [one.id for one in records.shelved("2026-11-24")] == ["gone"]
        assert {"old"} < {one.id for one in records.live()}

    def test_have_a_release_at_the_day_on_which_it_was_pushed(self, world: World) -> None:
        releases = Records(world.table, Release)
        releases.begin("web-1", ENTRY, UNTIL, application="web")
        releases.change("web-1", drop=(Release.live,))
        (found,) = releases.shelved(NOW[:10])
        assert (found.id, found.application, found.shelved) == ("web-1", "web", f"{NOW}#web-1")

    def test_show_of_an_item_what_the_model_has_too(self) -> None:
        (index,) = (one for one in TABLE["GlobalSecondaryIndexes"] if one["IndexName"] == "shelves")
        named = index["Projection"]["NonKeyAttributes"]
        assert {*named, "pk", "shelf", "shelved"} == PROJECTED
        assert len(named) <= 20, "DynamoDB takes no more"


class TestARecordChanges:
    def test_in_one_call_that_tells_all_of_it(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL, owner="me")
        world.wire.forget()
        changed = records.change("web-1", ENTRY, stage=EnvironmentStage.CREATING)
        assert world.wire.names() == ["UpdateItem"]
        assert changed
        assert (changed.stage, changed.owner, changed.lines) == ("creating", "me", 2)

    def test_without_a_word_where_there_is_nothing_to_say(self, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL)
        changed = records.change("web-1", stack="id")
        assert changed
        assert changed.lines == 1

    def test_once_where_it_must_not_change_again(self, records: Table) -> None:
        records.change("web-1", ENTRY, once={"stack": "first"})
        changed = records.change("web-1", ENTRY, once={"stack": "second"})
        assert changed
        assert changed.stack == "first"

    def test_not_at_all_against_its_condition(self, records: Table) -> None:
        begun = records.begin("web-1", ENTRY, UNTIL)
        with pytest.raises(Conflict) as conflict:
            records.change("web-1", ENTRY, stack="id", only_if=attr(Environment.ending).exists())
        assert conflict.value.found == begun == records.get("web-1")

    def test_not_where_there_is_none_and_the_conflict_says_so(self, records: Table) -> None:
        with pytest.raises(Conflict) as conflict:
            records.change("web-1", ENTRY, stack="id", only_if=EXISTS)
        assert conflict.value.found is None

    def test_or_the_error_is_told_when_it_is_no_conflict(self, world: World, records: Table) -> None:
        world.wire.answer("UpdateItem", error="ProvisionedThroughputExceededException")
        with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
            records.change("web-1", ENTRY, stack="id")

    def test_or_is_read_instead_by_who_goes_on_without(self, world: World, records: Table) -> None:
        begun = records.begin("web-1", ENTRY, UNTIL)
        world.wire.answer("UpdateItem", error="ProvisionedThroughputExceededException")
        assert records.try_change("web-1", ENTRY, stack="id") == begun
        world.wire.answer("GetItem", error="ProvisionedThroughputExceededException")
        assert records.try_change("web-1", ENTRY, stack="id") is None


LONG = "é" * 1_024
"""The longest reason that a message may have, of two bytes a character."""


class TestAHistory:
    def test_costs_one_call_a_line_until_it_is_folded(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL)
        world.change("web-1", history=[{"at": NOW, "who": "a", "what": "b", "why": "c"}] * 149)
        world.wire.forget()
        records.change("web-1", ENTRY)
        assert world.wire.names() == ["UpdateItem"]
        changed = records.change("web-1", ENTRY, stack="id")
        assert world.wire.names() == ["UpdateItem", "UpdateItem", "GetItem", "UpdateItem"]
        assert changed
        assert (len(changed.history), changed.folded, changed.lines) == (51, 100, 151)
        assert (changed.stack, changed.began, changed.history[-1]) == ("id", NOW, ENTRY)

    def test_never_fills_an_item(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL)
        for number in range(160):
            records.change("web-1", Entry(NOW, LONG, LONG, f"{number} {LONG}"))
        found = records.get("web-1")
        assert found
        assert found.lines == 161
        assert len(json.dumps(world.record("web-1"), ensure_ascii=False).encode()) < 300_000

    @pytest.mark.parametrize("lines", [98, 60, 1_500], ids=["few and long", "fewer and longer", "many"])
    def test_of_an_earlier_version_that_fills_its_item_is_folded_by_the_next_change(
        self, world: World, records: Table, lines: int
    ) -> None:
        full = {"at": NOW, "who": "ada", "what": "extended", "why": "x" * (396_000 // lines - 60)}
        world.records().change("web-1", {"id": "web-1", "history": [full] * lines})
        ending = Ending("tests", "passed", "the tests passed", NOW)  # type: ignore[arg-type]
        changed = records.change("web-1", Entry(NOW, "ci", "Test Finished", LONG), ending=ending, only_if=EXISTS)
        assert changed
        assert changed.ending
        assert (changed.ending.outcome, changed.lines) == ("passed", lines + 1)

    def test_is_folded_only_where_the_condition_holds(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL)
        world.change("web-1", history=[{"at": NOW, "who": "a", "what": "b", "why": "c"}] * 150)
        before = world.record("web-1")
        with pytest.raises(Conflict):
            records.change("web-1", ENTRY, stack="id", only_if=attr(Environment.ending).exists())
        assert world.record("web-1") == before

    def test_that_another_changes_meanwhile_loses_no_line(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL)
        world.change("web-1", history=[{"at": NOW, "who": "a", "what": "b", "why": "c"}] * 150)
        another = Entry(NOW, "another", "was", "faster")
        held = world.record("web-1")["history"]
        world.wire.before(
            "GetItem",
            lambda: world.wire.before(
                "UpdateItem", lambda: world.change("web-1", history=[*held, {**held[0], "who": "another"}])
            ),
        )
        changed = records.change("web-1", another)
        assert changed
        assert changed.lines == 152


class TestANote:
    def test_is_written_while_there_is_room(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL)
        world.change("web-1", history=[{"at": NOW, "who": "a", "what": "b", "why": "c"}] * 99)
        for _ in range(3):
            records.note("web-1", ENTRY)
        assert len(world.history("web-1")) == 100

    def test_begins_no_record(self, records: Table) -> None:
        records.note("web-1", ENTRY)
        assert records.get("web-1") is None

    def test_is_left_out_where_the_item_is_full(self, world: World, records: Table) -> None:
        world.records().change(
            "web-1", {"id": "web-1", "history": [{"at": NOW, "who": "", "what": "", "why": "x" * 408_900}]}
        )
        records.note("web-1", Entry(NOW, "a", "b", "x" * 1_000))
        assert len(world.history("web-1")) == 1

    def test_changes_nothing_else(self, world: World, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL, stage=EnvironmentStage.PLANNED)
        begun = world.record("web-1")
        records.note("web-1", ENTRY)
        assert world.record("web-1") | {"history": None} == begun | {"history": None}


class TestValues:
    def test_come_back_as_json_knows_them(self, world: World) -> None:
        plan = {"n": 3, "deep": {"list": [1, {"n": 2}], "none": None, "yes": True}, "empty": "", "words": ["a"]}
        changed = Records(world.table, Bake).change("b-1", plan=plan)
        assert changed
        assert changed.plan == plan
        assert [type(changed.plan["n"]), type(changed.plan["deep"]["list"][1]["n"])] == [int, int]
        assert json.dumps(changed.plan)

    def test_of_a_conflict_too(self, records: Table) -> None:
        records.begin("web-1", ENTRY, UNTIL, instance_count=3)
        with pytest.raises(Conflict) as conflict:
            records.begin("web-1", ENTRY, UNTIL)
        assert type(conflict.value.found.instance_count) is type(conflict.value.found.forget_after) is int


class TestAWaitingExecution:
    @pytest.mark.parametrize(
        "answer", [TaskResult(None, ""), TaskResult("CreationFailed", "why")], ids=["success", "failure"]
    )
    @pytest.mark.parametrize("gone", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
    def test_that_is_gone_is_no_error(self, world: World, gone: str, answer: TaskResult) -> None:
        for operation in ("SendTaskSuccess", "SendTaskFailure"):
            world.wire.answer(operation, error=gone)
        assert executions.complete_task(TOKEN, answer, {}) is False

    @pytest.mark.parametrize(
        "answer", [TaskResult(None, ""), TaskResult("CreationFailed", "why")], ids=["success", "failure"]
    )
    @pytest.mark.parametrize("fault", ["ThrottlingException", "AccessDeniedException", "KmsThrottlingException"])
    def test_that_cannot_be_told_is_one(self, world: World, fault: str, answer: TaskResult) -> None:
        for operation in ("SendTaskSuccess", "SendTaskFailure"):
            world.wire.answer(operation, error=fault)
        with pytest.raises(ClientError, match=fault):
            executions.complete_task(TOKEN, answer, {})

    def test_is_told_a_result(self, world: World) -> None:
        assert executions.complete_task(TOKEN, TaskResult(None, "the stack is CREATE_COMPLETE"), {"stack": "id"})
        assert world.settled == [{"told": "Success", "taskToken": TOKEN, "output": '{"stack": "id"}'}]

    def test_is_told_no_more_of_a_cause_than_step_functions_takes(self, world: World) -> None:
        executions.complete_task(TOKEN, TaskResult("DeletionFailed", "x" * 40_000), {})
        assert len(world.settled[0]["cause"]) == 32_000


class TestWhatDynamoDBLeavesOut:
    """It answers a part of a batch where it is asked for too much at a time."""

    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """What was waited for; chance takes nothing off."""
        waited: list[float] = []
        monkeypatch.setattr(module, "sleep", waited.append)
        monkeypatch.setattr(module, "random", lambda: 1.0)
        return waited

    def leave_out(self, records: Table, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        """From now on each reply has so many records."""
        whole = records._dynamodb.batch_get_item

        def part(RequestItems: Json) -> Json:  # noqa: N803
            ((table, asked),) = RequestItems.items()
            left = asked["Keys"][most:]
            reply = whole(RequestItems={table: asked | {"Keys": asked["Keys"][:most]}}) if most else {"Responses": {}}
            return dict(reply) | {"UnprocessedKeys": {table: asked | {"Keys": left}} if left else {}}

        monkeypatch.setattr(records._dynamodb, "batch_get_item", part)

    def test_is_asked_for_again_after_pauses(
        self, records: Table, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
    ) -> None:
        names = [f"web-{number}" for number in range(5)]
        for name in names:
            records.begin(name, ENTRY, UNTIL)
        self.leave_out(records, monkeypatch, 2)
        assert sorted(one.id for one in records.many(names)) == names
        assert pauses == [0.1, 0.2]

    def test_every_time_is_no_empty_answer(
        self, records: Table, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
    ) -> None:
        self.leave_out(records, monkeypatch, 0)
        with pytest.raises(LeftOut, match="leaves 1 records out"):
            list(records.many(["web-1"]))
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
