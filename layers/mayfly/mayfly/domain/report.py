"""Reports of tests in JUnit's XML: how many there were, and the names of those that failed."""

from collections.abc import Sequence
from xml.parsers import expat

from msgspec import Struct

from mayfly.domain.text import clean

LONGEST = 5_000_000
"""Bytes of a report that is read."""
_NAMED, _NAME_ROOM = 20, 200


class Unreadable(ValueError):
    """A report that is no JUnit XML; the text says what is wrong."""


class Report(Struct, frozen=True):
    """What a report says.

    Attributes:
        tests: test cases, those that were skipped among them.
        failed: names of the cases that failed or broke, the first of them.
        failures: how many those are in all.
    """

    tests: int
    failures: int
    skipped: int
    failed: tuple[str, ...]


def read(document: bytes) -> Report:
    """Counts the cases of a report by themselves: totals in its attributes are what somebody else has counted.

    Raises:
        Unreadable: it is no JUnit XML, or has a document type, which may expand to anything.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise Unreadable(f"it is no XML: {error}") from None
    if not reader.seen:
        raise Unreadable("expected testsuites or testsuite, but there is none")
    failed = [name for name, states in reader.cases if states & {"failure", "error"}]
    skipped = sum("skipped" in states for _, states in reader.cases)
    return Report(len(reader.cases), len(failed), skipped, tuple(failed[:_NAMED]))


class _Reader:
    """Collects the cases of a report, each with what stands in it."""

    def __init__(self) -> None:
        self.cases: list[tuple[str, set[str]]] = []
        self.seen, self._inside = False, False

    def refuse(self, *_: object) -> None:
        """A report needs no document type."""
        raise Unreadable("expected no document type (DOCTYPE), but there is one")

    def begin(self, element: str, attributes: dict[str, str]) -> None:
        name = element.rpartition(":")[2]
        self.seen |= name in ("testsuites", "testsuite")
        if name == "testcase":
            parts = (attributes.get("classname", ""), attributes.get("name", "without a name"))
            self.cases.append((clean(".".join(part for part in parts if part))[:_NAME_ROOM], set()))
            self._inside = True
        elif self._inside:
            self.cases[-1][1].add(name)

    def end(self, element: str) -> None:
        self._inside &= element.rpartition(":")[2] != "testcase"


def merged(reports: Sequence[Report]) -> Report | None:
    """Adds several reports up to one; None where there is none."""
    if not reports:
        return None
    failed = tuple(name for report in reports for name in report.failed)
    return Report(
        sum(report.tests for report in reports),
        sum(report.failures for report in reports),
        sum(report.skipped for report in reports),
        failed[:_NAMED],
    )
