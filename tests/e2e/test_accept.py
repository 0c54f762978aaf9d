"""`make accept` on the local cloud: what it tries, tells and removes, so that it works on the day."""

import json
from collections.abc import Iterator

import pytest

from accept import removing, report, running
from accept.places import FAST, Local


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Two accounts in which nothing is installed."""
    with Local(tmp_path_factory.mktemp("accept"), **FAST) as cloud:
        yield cloud


def test_a_run_accepts_what_there_is_and_leaves_nothing(place: Local) -> None:
    done = running.accept(place)
    outcomes = {name: (one["outcome"], one["why"]) for name, one in done["scenarios"].items()}
    assert outcomes == dict.fromkeys(outcomes, (running.PASSED, "")), json.dumps(done, indent=1)
    assert done["left"] == {"left": {}, "unseen": {}}
    assert removing.look(place).left == {}
    assert not place.crashes()

    # What happens is what the report says that a run on AWS is compared with; how long it takes differs each time.
    # How often something is looked at depends on how busy the machine is.
    counted = ("Describe", "Get", "List")
    otherwise = [
        each
        for each in done["differences"]
        if each["kind"] != "times" and not (each["kind"] == "calls" and each["what"].startswith(counted))
    ]
    assert not otherwise, f"make accept LOCAL=1 writes the report anew: {json.dumps(otherwise, indent=1)}"
    kept = json.loads((report.REPORTS / "local.json").read_text())
    assert kept["left"] == done["left"]
