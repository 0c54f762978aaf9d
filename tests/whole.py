"""A pytest plugin: a run fails where the tests that it ran are not those that it collected.

Workers are told of tests by name. Of several tests with one name they run one, and nothing else would say so.
"""

from collections import Counter
from collections.abc import Sequence

import pytest


class WholeRun:
    """Compares what was collected with what was run, in the process that reports."""

    def __init__(self) -> None:
        self._collected = Counter[str]()
        self._finished = Counter[str]()
        self._lost: Sequence[str] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Counts the tests of a run without workers; `items` is empty where workers collect."""
        self._collected = Counter(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Counts the tests of a run with workers; each collects all of them."""
        self._collected = Counter(ids)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Counts a test that was run."""
        self._finished[nodeid] += 1

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fails a run that has come to its end without some of its tests."""
        came_to_its_end = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.shouldfail
        tests = self._collected | self._finished if came_to_its_end else ()
        self._lost = sorted(test for test in tests if self._collected[test] != self._finished[test])
        if self._lost:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says which tests were lost."""
        if self._lost:
            terminalreporter.section("run and collected differ", red=True)
        for test in self._lost:
            terminalreporter.line(f"{test}: collected {self._collected[test]}, run {self._finished[test]}")


def pytest_configure(config: pytest.Config) -> None:
    """Watches a run; a worker sees only its part."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(WholeRun())
