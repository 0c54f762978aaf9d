"""Every widget and alarm names a metric with exactly the dimensions that are emitted: CloudWatch takes each set of
dimensions for a metric of its own, and shows nothing for one that is not there."""

import json
import re
from datetime import UTC, datetime

import pytest

from mayfly.aws.records import Entry
from tests.integration.world import NOW, RELEASE, World, an_order, on_the_bus
from tests.unit.test_dashboard import SOURCE, alarms, lines

WATCHED = sorted(
    {
        (name, tuple(sorted(dimensions.items())))
        for where in (lines, alarms)
        for namespace, name, dimensions in where()
        if namespace == "Mayfly"
    },
    key=str,
)


@pytest.fixture
def emitted(world: World, capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, str]]]:
    """The dimensions of each metric that a sweep, a look at channels, one at permanent environments, and an environment
    that is ready and ends print."""
    until, began = datetime(2027, 2, 22, tzinfo=UTC), Entry(NOW, "a test", "began", "because")
    world.planned(channel="base/stable")
    facts = {"application": "webshop", "name": "production", "stage": "steady", "oldest_instance_at": NOW}
    world.records("service").begin("webshop-production", facts, began, until)
    pointed = {
        "id": "base/stable",
        "family": "base",
        "channel": "stable",
        "version": 1,
        "image": "ami-1",
        "moved_at": NOW,
    }
    world.records("channel").begin("base/stable", pointed | {"regions": {}}, began, until)
    capsys.readouterr()
    asked = {"dry_run": False, "requested_by": "ops", "why": "because"}
    world.call("sweep_environments", on_the_bus("Sweep Requested", asked))
    world.call("measure_reach", {"now": NOW})
    world.call("plan_rollouts", {"now": NOW})
    world.records("release").begin(RELEASE, {"application": "webshop"}, began, until)
    world.there("cloudformation").delete_stack(StackName=world.ready())
    world.change(instance_failures={"launched": 2, "failed": {"never signalled": 1}})
    world.call("confirm_gone", {"order": an_order(), "stack": None, "now": NOW})
    return metrics(capsys.readouterr().out)


def metrics(printed: str) -> dict[str, list[dict[str, str]]]:
    """What CloudWatch makes of lines in the embedded metric format."""
    found: dict[str, list[dict[str, str]]] = {}
    for line in printed.splitlines():
        if not line.startswith('{"_aws"'):
            continue
        said = json.loads(line)
        for directive in said["_aws"]["CloudWatchMetrics"]:
            for keys in directive["Dimensions"]:
                for metric in directive["Metrics"]:
                    found.setdefault(metric["Name"], []).append({key: said[key] for key in keys})
    return found


@pytest.mark.parametrize(("name", "dimensions"), WATCHED, ids=lambda part: str(part))
def test_what_is_watched_is_emitted_with_exactly_these_dimensions(
    emitted: dict[str, list[dict[str, str]]], name: str, dimensions: tuple[tuple[str, str | None], ...]
) -> None:
    # What goes through add_metric has the dimensions that everything else of it has, here or in another function.
    through_add_metric = re.search(rf'add_metric\(\s*name=[^)]*"{name}"|METRICS = {{[^}}]*"{name}"', SOURCE) is not None
    candidates = emitted.get(name, []) or (emitted["PastDeadline"] if through_add_metric else [])
    wanted = dict(dimensions)
    assert any(
        one.keys() == wanted.keys() and all(value in (None, one[key]) for key, value in wanted.items())
        for one in candidates
    ), f"{name} is emitted with {candidates}"
