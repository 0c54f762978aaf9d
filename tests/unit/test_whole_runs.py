"""What was collected is what was run: the plugin that all runs of tests have."""

import pytest

pytest_plugins = ["pytester"]

TWINS = """
def pytest_collection_modifyitems(items):
    for item in items:
        item._id = item.parent.id.child("test_twin")
"""


@pytest.fixture
def three(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Three tests that pass."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # each process would load all of them
    pytester.makepyfile(
        "import pytest\n\n\n@pytest.mark.parametrize('n', range(3))\ndef test_one(n):\n    assert n < 3"
    )
    return pytester


def run(tests: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Runs tests with the plugin, and with nothing else of ours."""
    return tests.runpytest_subprocess("-p", "xdist", "-p", "tests.whole", *arguments)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_whole_run_passes(three: pytest.Pytester, workers: str) -> None:
    assert run(three, "--numprocesses", workers).ret == pytest.ExitCode.OK


def test_tests_of_one_name_are_lost_between_workers_and_fail_the_run(three: pytest.Pytester) -> None:
    """As the 25 operations of the API were."""
    three.makeconftest(TWINS)
    result = run(three, "--numprocesses", "2", "--dist", "loadfile")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*run and collected differ*", "*::test_twin: collected 3, run 1"])


def test_tests_of_one_name_are_no_fault_where_all_are_run(three: pytest.Pytester) -> None:
    three.makeconftest(TWINS)
    result = run(three)
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("part", [("-k", "test_one[1]"), ("--collect-only",)])
def test_a_part_that_was_asked_for_is_whole(three: pytest.Pytester, workers: str, part: tuple[str, ...]) -> None:
    assert run(three, "--numprocesses", workers, *part).ret == pytest.ExitCode.OK


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_was_stopped_says_nothing_of_the_rest(three: pytest.Pytester, workers: str) -> None:
    three.makepyfile(test_a="def test_fails():\n    assert False")
    result = run(three, "-x", "--numprocesses", workers)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*collected differ*")
