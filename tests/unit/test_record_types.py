"""Records as types: what an earlier or later version wrote is read, and histories stay bounded."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from mayfly.aws.records import attr, of_item
from mayfly.contract.vocabulary import EnvironmentStage, RecordKind, RolloutStage
from mayfly.domain import records
from mayfly.domain.records import (
    KINDS,
    LINES,
    Entry,
    Environment,
    Pending,
    Pool,
    Service,
    folded,
    keys,
    plain,
    read,
    spread,
)

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = [
    (kind, number, item)
    for kind in RecordKind
    for number, item in enumerate(json.loads((ROOT / "tests" / "samples" / "records" / f"{kind}.json").read_text()))
]
"""Items of every kind as the version before these types wrote them: every attribute is in one of them at least."""

texts = st.text(max_size=2_000)
lines = st.builds(Entry, texts, texts, texts, texts)


def size(history):
    return sum(len(text.encode()) for line in history for text in (line.at, line.who, line.what, line.why))


class TestWhatAnEarlierVersionWrote:
    def test_is_there_of_every_kind(self):
        assert {kind for kind, _, _ in SAMPLES} == {*RecordKind} == {*KINDS}

    @pytest.mark.parametrize(("kind", "number", "item"), SAMPLES, ids=lambda part: str(part)[:20])
    def test_is_read_to_its_last_attribute(self, kind, number, item):
        begins = tuple(spread(KINDS[kind]).values())
        single = {key for key in item.keys() - {"pk"} if not (begins and key.startswith(begins))}
        assert single <= {*keys(KINDS[kind]).values()}
        record = of_item(KINDS[kind], item)
        written = plain(record)
        # NULL is what nobody knows.
        assert {key for key, value in item.items() if value != {"NULL": True}} - {"pk"} <= written.keys()
        assert read(KINDS[kind], written) == record

    def test_has_a_stage_by_its_name_of_today(self):
        assert read(Environment, {"id": "e", "stage": "taken up"}).stage is EnvironmentStage.ADOPTED

    @pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
    def test_may_lack_everything_but_a_name(self, kind):
        assert read(kind, {"id": "some"}).id == "some"

    def test_and_lost_its_name_has_it_in_its_key(self):
        assert of_item(Environment, {"pk": {"S": "environment#web-1"}}).id == "web-1"


class TestWhatALaterVersionWrote:
    def test_is_ignored_where_nobody_knows_it(self):
        known = {"id": "r-1", "to": {"image": "ami-1", "version": "1"}}
        more = {"colour": "red", "to": {**known["to"], "colour": "red"}}
        assert read(records.Rollout, known | more) == read(records.Rollout, known)

    def test_keeps_a_word_that_nobody_knows(self):
        assert str(read(records.Rollout, {"id": "r-1", "stage": "dancing"}).stage) == "dancing"


class TestALostRecord:
    def test_says_that_it_was_lost(self):
        begun_anew = read(Environment, {"id": "e", "stage": "terminating"})
        assert begun_anew.was_lost
        assert (begun_anew.application, begun_anew.deadline) == ("unknown", None)

    def test_is_none_with_all_its_dates(self):
        assert not Environment(id="e", planned_at="a", deadline="b", ceiling="c").was_lost


class TestAField:
    def test_is_a_condition_by_its_attribute(self):
        assert attr(Environment.deadline).name == "deadline"
        assert attr(Service.pending, Pending.id).name == "pending.id"
        assert attr((Pool.taken, 7)).name == "range_7"
        assert (attr(records.Rollout.from_).name, attr(Environment.suite_kind).name) == ("from", "kind")

    @pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
    def test_has_an_attribute_of_its_own(self, kind):
        assert len({*keys(kind).values()}) == len(fields(kind))

    def test_that_a_machine_writes_is_one_of_the_record(self):
        machine = json.loads((ROOT / "statemachines" / "run_environment.asl.json").read_text())
        written = machine["States"]["Await Tests"]["Arguments"]
        assert {*written["ExpressionAttributeNames"].values()} <= {*keys(Environment).values()}
        waiting = written["ExpressionAttributeValues"][":waiting"]["M"]
        assert waiting.keys() <= {*keys(records.Waiting).values()}
        (line,) = written["ExpressionAttributeValues"][":entry"]["L"]
        assert line["M"].keys() == {*keys(Entry).values()}
        assert read(Environment, {"id": "e", "stage": written["ExpressionAttributeValues"][":stage"]["S"]}).stage in (
            EnvironmentStage
        )

    def test_of_a_stage_is_one_of_the_vocabulary(self):
        assert read(records.Rollout, {"id": "r", "stage": "running"}).stage is RolloutStage.RUNNING


class TestAHistory:
    @given(st.lists(lines, min_size=1, max_size=40))
    def test_folded_keeps_its_first_line_and_the_newest(self, history):
        kept, gone = folded(history)
        assert kept[0] == history[0].shortened()
        assert len(kept) + gone == len(history)
        assert list(kept[1:]) == [line.shortened() for line in history[1 + gone :]]

    def test_folded_is_small_whatever_was_written_into_it(self):
        longest = Entry("é" * 100, "é" * 5_000, "é" * 5_000, "é" * 400_000)
        kept, gone = folded([longest] * 1_000)
        assert size(kept) < 70_000
        assert len(kept) + gone == 1_000

    @given(lines)
    def test_has_lines_of_a_bounded_size(self, line):
        assert size([line.shortened()]) <= 1_632

    def test_that_is_not_folded_yet_leaves_room_for_a_record(self):
        assert LINES * (1_632 + 4 * 8) < 260_000
