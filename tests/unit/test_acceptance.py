"""A run of acceptance: it costs no more than it may, it tells each difference, and all it made is removed."""

import gzip
import json
import os
import signal
import time
from collections import Counter
from typing import Any

import pytest

from accept import __main__, installing, removing, report, running, spending
from accept.running import FAILED, PASSED, SKIPPED
from accept.scenarios import SCENARIOS, Happened, Scenario, plain
from local.install import ROOT


class Nowhere:
    """A place where nothing is."""

    name, account, workload_account = "local", "111111111111", "222222222222"
    region, second_region = "us-east-1", "eu-west-1"

    def __init__(self) -> None:
        self.removed = 0

    def now(self) -> Any:
        from datetime import UTC, datetime

        return datetime(2026, 11, 29, tzinfo=UTC)

    def settle(self) -> None:
        """Nothing is late."""

    def calls(self, session: str) -> Counter[str]:
        return Counter({"CreateStack": 1})


class Run:
    """Stands for the driver."""

    def __init__(self, *_: Any) -> None:
        self.sessions: dict[str, list[str]] = {}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Nowhere:
    """Where installing and removing only count."""
    nowhere = Nowhere()

    def remove(place: Nowhere, say: Any) -> removing.Look:
        place.removed += 1
        return removing.Look()

    monkeypatch.setattr(installing, "install", lambda *_: None)
    monkeypatch.setattr(running, "Acceptance", Run)
    monkeypatch.setattr(removing, "look", lambda _: removing.Look())
    monkeypatch.setattr(removing, "remove", remove)
    return nowhere


def passes(run: Any) -> Happened:
    """A scenario of one life."""
    run.sessions["good"] = ["a-life"]
    return Happened(["Environment Ready"], {"stage": "terminated"}, {"creating": 1.0})


def fails(run: Any) -> Happened:
    """A scenario that does not come to its end."""
    raise AssertionError("not within 600 s: it is ready")


def is_interrupted(run: Any) -> Happened:
    """Somebody presses Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    return passes(run)


def is_terminated(run: Any) -> Happened:
    """Somebody ends the process."""
    os.kill(os.getpid(), signal.SIGTERM)
    return passes(run)


class TestARun:
    def test_tries_what_it_can_and_tells_each(self, place: Nowhere) -> None:
        scenarios = [Scenario("good", passes), Scenario("bad", fails), Scenario("after", passes, ("bad",))]
        done = running.accept(place, scenarios)
        outcomes = {name: (one["outcome"], one["why"]) for name, one in done["scenarios"].items()}
        assert outcomes == {
            "good": (PASSED, ""),
            "bad": (FAILED, "AssertionError: not within 600 s: it is ready"),
            "after": (SKIPPED, "it needs bad"),
        }
        assert done["scenarios"]["good"]["calls"] == {"CreateStack": 1}
        assert place.removed == 1

    @pytest.mark.parametrize("broken_off", [is_interrupted, is_terminated])
    def test_that_is_broken_off_is_removed_and_says_how_far_it_came(self, place: Nowhere, broken_off: Any) -> None:
        scenarios = [Scenario("good", passes), Scenario("then", broken_off), Scenario("last", passes)]
        done = running.accept(place, scenarios)
        assert [one["outcome"] for one in done["scenarios"].values()] == [PASSED, SKIPPED, SKIPPED]
        assert place.removed == 1

    def test_that_takes_too_long_is_broken_off_and_removed(
        self, place: Nowhere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(running.spending, "deadline", lambda: spending.deadline(hours=0.05 / 3600))
        done = running.accept(place, [Scenario("long", lambda _: time.sleep(60)), Scenario("last", passes)])
        assert {one["outcome"] for one in done["scenarios"].values()} == {SKIPPED}
        assert place.removed == 1

    def test_whose_installation_fails_is_removed(self, place: Nowhere, monkeypatch: pytest.MonkeyPatch) -> None:
        def install(*_: Any) -> None:
            raise RuntimeError("sam deploy failed")

        monkeypatch.setattr(installing, "install", install)
        done = running.accept(place, [Scenario("good", passes)])
        assert (done["scenarios"]["good"]["outcome"], place.removed) == (SKIPPED, 1)

    def test_that_is_interrupted_while_it_removes_goes_on(
        self, place: Nowhere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def remove(place: Nowhere, say: Any) -> removing.Look:
            os.kill(os.getpid(), signal.SIGINT)
            place.removed += 1
            return removing.Look({"bucket": ["accept-mayfly-1"]}, {"alarm": "not allowed"})

        monkeypatch.setattr(removing, "remove", remove)
        done = running.accept(place, [])
        assert (place.removed, done["left"]["left"]) == (1, {"bucket": ["accept-mayfly-1"]})

    def test_begins_only_where_nothing_of_its_name_is(self, place: Nowhere, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(removing, "look", lambda _: removing.Look({"table": ["accept-mayfly-Table"]}))
        with pytest.raises(running.NotEmpty, match="table accept-mayfly-Table"):
            running.accept(place, [Scenario("good", passes)])
        assert not place.removed

    def test_begins_only_if_it_costs_no_more_than_it_may(self, place: Nowhere, monkeypatch: pytest.MonkeyPatch) -> None:
        parts = spending.estimate(hours=24)
        monkeypatch.setattr(running.spending, "estimate", lambda: parts)
        with pytest.raises(spending.TooExpensive, match=r"at most US\$ 5.00, but it may cost \d+\.\d\d, of which"):
            running.accept(place, [Scenario("good", passes)])
        assert not place.removed


def test_a_run_costs_less_than_five_dollars() -> None:
    parts = spending.estimate()
    spending.refuse_above(parts)
    assert 1 < sum(parts.values()) < spending.LIMIT_USD


def scenario(**more: Any) -> dict[str, Any]:
    """What one scenario has told."""
    told = {"outcome": PASSED, "why": "", "events": ["Ready"], "statuses": {"stage": "steady"}}
    return told | {"times": {"creating": 1.0}, "calls": {"CreateStack": 1}} | more


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (scenario(), []),
        (scenario(events=["Failed"]), [("events", "in order", ["Ready"], ["Failed"])]),
        (scenario(statuses={"stage": "failed"}), [("statuses", "stage", "steady", "failed")]),
        (scenario(times={"creating": 143.0}), [("times", "creating", 1.0, 143.0)]),
        (
            scenario(calls={"CreateStack": 2, "TagResource": 1}),
            [("calls", "CreateStack", 1, 2), ("calls", "TagResource", None, 1)],
        ),
        (scenario(outcome=FAILED, why="late"), [("outcome", "", "passed", "failed: late")]),
        ({}, [("outcome", "", "passed", "not tried")]),
    ],
)
def test_every_difference_is_told(there: dict[str, Any], expected: list[Any]) -> None:
    found = report.differences({"life": scenario()}, {"life": there} if there else {})
    assert [(each.kind, each.what, each.local, each.here) for each in found] == expected


def a_report(place: str, **more: Any) -> dict[str, Any]:
    """A report of one scenario."""
    about = {"place": place, "at": "2026-11-29T08:00:00Z", "version": "0.1.0", "regions": ["us-east-1", "eu-west-1"]}
    about |= {"seconds": 5400, "at_most_usd": 3.5, "scenarios": {"life": scenario()}, "differences": []}
    return about | {"left": {"left": {}, "unseen": {}}} | more


def test_a_report_is_written_for_people_and_programs(tmp_path: Any) -> None:
    left = {"left": {"bucket": ["accept-mayfly-1"]}, "unseen": {"alarm": "AccessDenied"}}
    found = report.as_json(report.differences({"life": scenario()}, {"life": scenario(events=["a|b"])}))
    report.write(a_report("aws", differences=found, left=left), tmp_path)
    text = (tmp_path / "aws.md").read_text()
    assert "| life | passed | 0 outcome, 1 events, 0 statuses, 0 calls, 0 times |" in text
    assert '| life | events | in order | ["Ready"] | ["a\\|b"] |' in text
    assert "- bucket `accept-mayfly-1`" in text
    assert "- alarms could not be looked at: AccessDenied" in text
    assert json.loads((tmp_path / "aws.json").read_text())["left"] == left


@pytest.mark.parametrize(
    ("aws", "cell"),
    [
        (None, "not run yet"),
        (a_report("aws"), "the same"),
        (a_report("aws", scenarios={"life": scenario(outcome=FAILED, why="late")}), "failed: late"),
        (a_report("aws", scenarios={}), "not tried"),
    ],
)
def test_the_readme_says_where_a_scenario_was_seen(tmp_path: Any, aws: dict[str, Any] | None, cell: str) -> None:
    for each in filter(None, (a_report("local"), aws)):
        report.write(each, tmp_path)
    assert f"| life | passed | {cell} |" in report.table(tmp_path)


@pytest.mark.parametrize(
    ("place", "outcome", "written"), [("local", PASSED, 1), ("local", FAILED, 0), ("aws", FAILED, 1)]
)
def test_a_run_is_compared_with_one_in_which_everything_passed(
    monkeypatch: pytest.MonkeyPatch, place: str, outcome: str, written: int
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(report, "write", lambda done, _: kept.append(done))
    monkeypatch.setattr(report, "renew", lambda: None)
    code = __main__.conclude(a_report(place, scenarios={"life": scenario(outcome=outcome)}))
    assert (code, len(kept)) == (int(outcome != PASSED), written)


def test_the_report_that_others_are_compared_with_tells_every_scenario() -> None:
    kept = json.loads((report.REPORTS / "local.json").read_text())
    outcomes = {name: one["outcome"] for name, one in kept["scenarios"].items()}
    assert outcomes == dict.fromkeys([each.name for each in SCENARIOS], PASSED)
    assert (kept["left"], kept["differences"]) == ({"left": {}, "unseen": {}}, [])


def test_the_readme_is_as_the_reports_are() -> None:
    assert report.BEGIN + report.table() + report.END in (ROOT / "README.md").read_text()


def test_texts_are_compared_without_what_differs_from_run_to_run() -> None:
    text = "i-0123456789abcdef0 of arn:aws:cloudformation:us-east-1:1:stack/a/b failed at 2026-11-29T08:00:00.000Z"
    assert plain(text) == "… of … failed at …"


def test_the_newest_agent_is_found_in_a_repository_of_dnf(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = "".join(
        f'<package type="rpm"><name>{name}</name><version epoch="0" ver="{version}" rel="1.amzn2023"/>'
        f'<checksum type="sha256" pkgid="YES">{version}</checksum>'
        f'<location href="openvox-agent-{version}.rpm"/></package>'
        for name, version in (("openvox-agent", "8.9.0"), ("openvox-agent", "8.21.1"), ("openvox-server", "9.0.0"))
    )
    listed = f'<metadata xmlns="http://linux.duke.edu/metadata/common">{packages}</metadata>'
    index = '<repomd><data type="primary"><location href="repodata/1-primary.xml.gz"/></data></repomd>'
    answers = {"repodata/repomd.xml": index.encode(), "repodata/1-primary.xml.gz": gzip.compress(listed.encode())}
    monkeypatch.setattr(installing, "_read", lambda url: answers[url.removeprefix("https://packages/")])
    assert installing.newest_package("https://packages/") == "https://packages/openvox-agent-8.21.1.rpm#sha256=8.21.1"


def test_an_agent_can_be_named_and_must_be_where_no_repository_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str) -> bytes:
        raise OSError("no route to host")

    monkeypatch.setattr(installing, "_read", unreachable)
    monkeypatch.delenv("PUPPET_PACKAGE", raising=False)
    with pytest.raises(ValueError, match="expected PUPPET_PACKAGE to name an openvox-agent package"):
        installing.puppet_package()
    monkeypatch.setenv("PUPPET_PACKAGE", "s3://mine/openvox-agent.rpm")
    assert installing.puppet_package() == "s3://mine/openvox-agent.rpm"
