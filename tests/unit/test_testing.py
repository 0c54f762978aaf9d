"""What the answers of runners mean, and what JUnit's reports say."""

import base64
import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayfly.contract.vocabulary import Outcome
from mayfly.domain import report, testing
from mayfly.domain.report import Report, Unreadable
from mayfly.domain.testing import Invocation, Uploads

SUITE = """<?xml version="1.0"?>
<testsuites><testsuite name="shop" tests="99" failures="0">
  <testcase classname="shop.Cart" name="adds"/>
  <testcase classname="shop.Cart" name="pays"><failure message="402">trace</failure></testcase>
  <testcase name="ships"><error/></testcase>
  <testcase classname="shop.Cart" name="returns"><skipped/><system-out>later</system-out></testcase>
</testsuite></testsuites>"""


class TestAReport:
    def test_is_counted_by_its_cases_and_not_by_its_totals(self) -> None:
        assert report.read(SUITE.encode()) == Report(4, 2, 1, ("shop.Cart.pays", "ships"))

    def test_of_one_suite_without_a_name_space_is_read_as_well(self) -> None:
        assert report.read(b'<testsuite><testcase name="a"/></testsuite>') == Report(1, 0, 0, ())

    @pytest.mark.parametrize(
        ("document", "why"),
        [
            (b"no xml", "it is no XML"),
            (b"", "it is no XML"),
            (b"<html><body/></html>", "expected testsuites or testsuite"),
            (b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite>&a;</testsuite>', "document type"),
        ],
    )
    def test_that_is_none_is_refused(self, document: bytes, why: str) -> None:
        with pytest.raises(Unreadable, match=why):
            report.read(document)

    def test_of_many_failures_names_the_first(self) -> None:
        cases = "".join(f'<testcase name="{number}"><failure/></testcase>' for number in range(50))
        read = report.read(f"<testsuite>{cases}</testsuite>".encode())
        assert (read.failures, read.failed[0], len(read.failed)) == (50, "0", 20)

    @given(st.binary(max_size=200))
    def test_of_any_bytes_is_read_or_refused(self, document: bytes) -> None:
        with contextlib.suppress(Unreadable):
            report.read(document)


def ran(status: str = "Success", code: int = 0, instance: str = "i-1") -> Invocation:
    return Invocation(instance, status, code)


class TestACommand:
    def test_that_ends_well_has_passed(self) -> None:
        judged = testing.judge_command([ran()], 1, False, None)
        assert judged.outcome is Outcome.PASSED

    def test_that_exits_with_another_code_has_failed_and_says_which_and_where(self) -> None:
        judged = testing.judge_command([ran(), ran("Failed", 3, "i-2")], 2, False, None)
        assert (judged.outcome, judged.reason) == (Outcome.FAILED, "the script exited with 3 on i-2")

    def test_names_the_tests_that_failed(self) -> None:
        failed = Report(4, 2, 1, ("pays", "ships"))
        judged = testing.judge_command([ran("Failed", 1)], 1, True, failed)
        assert judged.reason == "2 of 4 tests failed: pays, ships (the script exited with 1 on i-1)"

    def test_that_ends_well_with_failed_tests_has_failed(self) -> None:
        assert testing.judge_command([ran()], 1, True, Report(4, 1, 0, ("pays",))).outcome is Outcome.FAILED

    @pytest.mark.parametrize("status", ["Undeliverable", "ExecutionTimedOut", "DeliveryTimedOut", "Terminated"])
    def test_that_did_not_run_to_its_end_is_broken(self, status: str) -> None:
        judged = testing.judge_command([ran(), ran(status, -1, "i-2")], 2, False, None)
        assert judged.outcome is Outcome.BROKEN
        assert f"i-2: {status}" in judged.reason

    def test_that_did_not_reach_every_instance_is_broken(self) -> None:
        judged = testing.judge_command([ran()], 45, False, None)
        assert (judged.outcome, judged.reason) == (Outcome.BROKEN, "the script ran on 1 of 45 instances")

    @pytest.mark.parametrize("left", [None, Report(0, 0, 0, ()), Report(2, 0, 2, ())])
    def test_whose_report_shows_no_test_is_broken(self, left: Report | None) -> None:
        assert testing.judge_command([ran()], 1, True, left).outcome is Outcome.BROKEN


class TestAScript:
    def run(self, lines: str, report: str | None = None, **known: str) -> subprocess.CompletedProcess[str]:
        script = testing.script(lines, known, report, None)
        return subprocess.run(["/bin/sh", "-c", "\n".join(script)], capture_output=True, text=True, check=False)

    def test_has_what_it_has_to_know_as_variables(self) -> None:
        done = self.run(
            'echo "$MAYFLY_VERSION" "$MAYFLY_OUTPUT_Url"', MAYFLY_VERSION="1.4.2", MAYFLY_OUTPUT_Url="a'b $(id)"
        )
        assert (done.returncode, done.stdout) == (0, "1.4.2 a'b $(id)\n")

    def test_ends_with_its_own_code_and_says_what_it_printed(self) -> None:
        done = self.run("echo out; echo err >&2; exit 7")
        assert (done.returncode, sorted(done.stdout.split())) == (7, ["err", "out"])

    def test_holds_nothing_that_systems_manager_would_replace(self) -> None:
        lines = testing.script("echo {{ssm:secret}}", {"MAYFLY_COMMIT": "{{ssm:other}}"}, None, None)
        assert "{{" not in "".join(lines)

    def test_brings_its_log_and_its_report_away(self, tmp_path: Path) -> None:
        log, left = tmp_path / "log", tmp_path / "report"
        uploads = Uploads(f"file://{log}", f"file://{left}")
        script = testing.script("echo hello; echo '<testsuite/>' >junit.xml; exit 2", {}, "junit.xml", uploads)
        done = subprocess.run(["/bin/sh", "-c", "\n".join(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert (log.read_text(), left.read_text()) == ("hello\n", "<testsuite/>\n")


def test_variables_are_what_the_tests_have_to_know_by_name() -> None:
    known = testing.variables({"environment": "shop-1", "commit": None, "outputs": {"Url": "http://x"}})
    assert known == {"MAYFLY_ENVIRONMENT": "shop-1", "MAYFLY_OUTPUT_Url": "http://x"}


def test_what_is_packed_is_the_script_with_its_variables() -> None:
    packed = testing.script("true", {"MAYFLY_SUITE": "smoke"}, None, None)[2].split()[2]
    assert base64.b64decode(packed).decode() == "export MAYFLY_SUITE=smoke\ntrue\n"
