"""Histories as evidence: which lines are of a period, and how a spreadsheet reads them."""

import csv
from io import StringIO

from mayfly.domain.history import Line, Period, as_csv, lines
from mayfly.domain.records import Entry, Environment, Image

PERIOD = Period("2026-11-24T00:00:00.000Z", "2026-11-25T00:00:00.000Z")


def entry(at: str, what: str = "planned") -> Entry:
    return Entry(at, "ann@example.com", what, "because")


def test_a_period_has_its_first_moment_and_not_its_last():
    times = ("2026-11-23T23:59:59.999Z", PERIOD.since, "2026-11-24T12:00:00.000Z", PERIOD.until)
    record = Environment(id="webshop-1-smoke", application="webshop", history=tuple(map(entry, times)))
    assert [line.at for line in lines(record, PERIOD)] == list(times[1:3])
    (first, _) = lines(record, PERIOD)
    assert first == Line(
        PERIOD.since, "environment", "webshop-1-smoke", "webshop", "ann@example.com", "planned", "because"
    )


def test_what_is_no_application_s_has_none():
    (line,) = lines(Image(id="ami-1", history=(entry(PERIOD.since),)), PERIOD)
    assert (line.kind, line.application) == ("image", "")


def test_it_says_where_lines_are_not_kept_any_more():
    first, kept = "2026-11-20T00:00:00.000Z", "2026-11-24T12:00:00.000Z"
    record = Environment(id="e", application="webshop", history=(entry(first), entry(kept)), folded=120)
    folded, line = lines(record, PERIOD)
    assert (folded.at, folded.what, folded.why) == (
        PERIOD.since,
        "folded",
        f"120 lines until {kept} are not kept any more",
    )
    assert line.at == kept
    assert [one.what for one in lines(record, Period("2026-11-25", "2026-11-26"))] == []


def test_a_spreadsheet_reads_texts_and_no_formulas():
    said = 'said "no",\nand =1+1'
    found = [Line("t", "environment", "e", "webshop", "=cmd|' /C calc'!A0", "planned", said)]
    heads, row = csv.reader(StringIO(as_csv(found)))
    assert heads == ["at", "kind", "id", "application", "who", "what", "why"]
    assert row[4:] == ["'=cmd|' /C calc'!A0", "planned", said]
