"""One answer for everybody: what the command line prints as JSON is what the HTTP API answers, field by field."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from mayfly import views
from mayfly.domain.cost import Prices
from mayfly.domain.records import Entry, Environment, read
from mayfly.domain.timestamp import utc_text
from mayfly.prices import list_prices
from tests.integration.api import Api
from tests.integration.test_command_line import Run, begun, run  # noqa: F401 - a fixture
from tests.integration.world import REGION, Json, World

UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def lived_in(world: World) -> World:
    """An installation with one record of each kind that is shown, one that was lost and begun anew among them."""
    now = datetime.now(UTC)
    entry = Entry(utc_text(now - timedelta(minutes=5)), "alice", "began", "a fix")
    begun(world, launched_at=utc_text(now - timedelta(hours=2)), instance_types={"t3.small": 10}, instances_built=10)
    ending = {"by": "failure", "outcome": "broken", "reason": "no capacity", "at": entry.at}
    lost = {"region": REGION, "ending": ending, "stage": "taken up"}
    world.records().begin("lost-1-smoke", lost, entry, UNTIL)
    bake = {"family": "base", "stage": "rejected", "why": "a fix", "requested_by": "alice", "reason": "no port"}
    world.records("bake").begin("base-1", bake, entry, UNTIL)
    image = {"family": "base", "stage": "proven", "bake": "base-1", "region": REGION}
    world.records("image").begin("ami-1", image, entry, UNTIL)
    channel = {"family": "base", "channel": "stable", "image": "ami-1", "regions": {REGION: "ami-1"}, "version": 1}
    world.records("channel").begin("base/stable", channel, entry, UNTIL)
    service = {
        "application": "webshop",
        "name": "production",
        "stage": "steady",
        "image": "ami-1",
        "odd": ["i-1 is odd"],
        "instance_count": 9,
        "channel": "base/stable",
    }
    world.records("service").begin("webshop-production", service, entry, UNTIL)
    rollout = {"service": "webshop-production", "application": "webshop", "stage": "rolled back", "why": "a new image"}
    world.records("rollout").begin("webshop-production-1", rollout, entry, UNTIL)
    world.switch("ops: an incident")
    return world


def of(answer: Json) -> Json:
    """An answer without its time, and without what grows with time."""
    if isinstance(answer, list):
        return [of(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    grows = ("now", "usd", "total_usd", "instance_hours", "hours")
    return {key: of(value) for key, value in answer.items() if key not in grows}


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (("list",), ["environments"]),
        (("images",), ["images"]),
        (("services",), ["services", "rollouts"]),
        (("costs",), ["costs"]),
        (("kill-switch",), ["kill-switch"]),
    ],
)
def test_what_the_command_line_prints_as_json_is_the_answer_of_the_api(
    lived_in: World,
    run: Run,  # noqa: F811
    words: tuple[str, ...],
    paths: list[str],
) -> None:
    printed = run(*words, "--json")
    assert printed.exit_code == 0, printed.stderr
    answered: Json = {}
    for path in paths:
        answered |= Api(lived_in, at=utc_text(datetime.now(UTC))).get(f"/api/{path}").json
    said = json.loads(printed.stdout)
    for one in (said, answered):
        if "environments" in one:  # the one has the end first, the other the beginning
            one["environments"].sort(key=lambda each: str(each["id"]))
    assert of(said) == of(answered)


class TestATone:
    def test_of_what_had_no_fair_chance_is_bad_for_the_console_and_red_in_a_terminal(self, lived_in: World) -> None:
        record = read(Environment, lived_in.record("lost-1-smoke"))
        shown = views.environment(record, datetime.now(UTC), Prices("", "", "", {}, {}, {}))
        assert (shown["stage"], shown["tone"]) == ("adopted", "warn")
        assert (shown["ending"]["outcome"], shown["ending"]["tone"]) == ("broken", "bad")
        assert (shown["owner"], shown["over"], shown["ready"]) == ("unknown", True, False)


class TestFigures:
    def test_a_channel_counts_the_instances_of_permanent_environments_that_follow_it(
        self,
        lived_in: World,
        run: Run,  # noqa: F811
    ) -> None:
        (base,) = json.loads(run("images", "base", "--json").stdout)["families"]
        assert {one["name"]: one["instances"] for one in base["channels"]}["stable"] == {"ami-1": 9}

    def test_costs_say_how_many_permanent_instances_are_not_in_the_sums(
        self,
        lived_in: World,
        run: Run,  # noqa: F811
    ) -> None:
        assert json.loads(run("costs", "--json").stdout)["permanent_instances"] == 9
        assert json.loads(run("costs", "--application", "other", "--json").stdout)["permanent_instances"] == 0
        assert "9 instances, not in the sums" in run("costs").stdout

    def test_what_has_ended_still_says_what_it_cost_an_hour(self) -> None:
        record = {
            "id": "a-1-smoke",
            "region": REGION,
            "instance_types": {"t3.small": 2},
            "launched_at": "2026-11-24T06:00:00Z",
            "terminated_at": "2026-11-24T07:00:00Z",
        }
        shown = views.environment(read(Environment, record), datetime(2026, 11, 25, tzinfo=UTC), list_prices())
        assert (shown["usd_per_hour"], shown["hourly_rate"]) == (0, pytest.approx(2 * 0.0208, rel=0.01))


@pytest.mark.parametrize(
    ("kind", "stage", "outcomes"),
    [
        ("manual", "awaiting tests", [("passed", "good"), ("failed", "bad")]),
        ("manual", "creating", []),
        ("automated", "awaiting tests", []),
        ("preview", "awaiting tests", []),
    ],
)
def test_a_person_may_report_of_a_manual_suite_whose_environment_is_ready(kind: str, stage: str, outcomes: Json):
    shown = views.environment_stage(read(Environment, {"id": "shop-1-look", "kind": kind, "stage": stage}))
    assert [(each["outcome"], each["tone"]) for each in shown["results"]] == outcomes
    assert shown["manual"] is (kind == "manual")
