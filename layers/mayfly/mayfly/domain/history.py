"""Histories as evidence: who did what, when and why in a period, over all records."""

import csv
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import asdict, fields

from mayfly.contract.vocabulary import UNKNOWN
from mayfly.domain.records import Record

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula: texts are anybody's."""


class Line(Struct, frozen=True):
    """One line of a record's history, with whose it is."""

    at: str
    kind: str
    id: str
    application: str
    who: str
    what: str
    why: str


class Period(Struct, frozen=True):
    """From one timestamp until another one, which is not in it any more."""

    since: str
    until: str

    def has(self, at: str) -> bool:
        """Tells whether a timestamp lies in it."""
        return self.since <= at < self.until


def lines(record: Record, period: Period) -> Iterator[Line]:
    """Returns the lines of a record's history within a period. Where lines were folded that may be of it, it says
    so."""
    application = getattr(record, "application", "")
    whose = (str(record.kind), record.id, "" if application == UNKNOWN else application)
    if record.folded and record.history[0].at < period.until and record.history[1].at >= period.since:
        at, kept = max(record.history[0].at, period.since), record.history[1].at
        yield Line(at, *whose, "mayfly", "folded", f"{record.folded} lines until {kept} are not kept any more")
    yield from (Line(one.at, *whose, one.who, one.what, one.why) for one in record.history if period.has(one.at))


def as_csv(found: Iterable[Line]) -> str:
    """Lines as CSV (RFC 4180), below the names of their columns."""
    rows = _Rows()
    writer = csv.writer(rows)
    writer.writerow([field.name for field in fields(Line)])
    writer.writerows([_cell(value) for value in asdict(line).values()] for line in found)
    return "".join(rows)


class _Rows(list[str]):
    """What the writer of rows writes to."""

    write = list.append


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
