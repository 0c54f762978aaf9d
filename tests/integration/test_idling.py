"""Environments that nobody uses end, by AWS's word, and after a warning."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from mayfly.domain.ending import digest
from mayfly.domain.timestamp import utc_text
from tests.integration.test_building import A_GROUP_OF_TWO
from tests.integration.world import (
    CONTROLLER,
    ENVIRONMENT,
    NOW,
    REPORT_TOKEN,
    TOKEN,
    Json,
    World,
    an_order,
    creation,
    on_the_bus,
)

READY = datetime.fromisoformat(NOW)
BALANCER = "app/web/50dc6c495c0c9188"
MINUTE = timedelta(minutes=1)


def at(minutes: int) -> datetime:
    """So long after it became ready."""
    return READY + minutes * MINUTE


def look(world: World, minutes: int) -> list[tuple[str, str]]:
    """What a look decides so long after it became ready, and why; it is measured until then."""
    world.wire.forget()
    measured(world, always=minutes - 5)
    said = world.call("keep_office_hours", {"now": utc_text(at(minutes))})
    return [(each["action"], each["reason"]) for each in said["idle"]]


REQUESTS: list[datetime] = []


def measured(world: World, always: int) -> None:
    """CloudWatch has measured the load balancer until so long after the environment became ready."""
    known = [("m0", REQUESTS, [3.0] * len(REQUESTS)), ("m1", [at(always)], [0.0])]
    results = [{"Id": name, "Timestamps": times, "Values": values} for name, times, values in known]
    world.wire.answer("GetMetricData", MetricDataResults=results)


@pytest.fixture
def idle(world: World) -> World:
    """An environment of a manual suite behind a load balancer, that ends when nobody uses it for four hours."""
    REQUESTS.clear()
    world.upload(A_GROUP_OF_TWO)
    world.planned()
    stack = world.call("create_environment", creation(order=an_order(kind="manual", instance_count=None)))["stack"]
    world.call("confirm_ready", {"order": an_order(instance_count=None), "stack": stack, "now": NOW})
    waiting = {"for": "tests", "token": TOKEN}
    lives_long = {"ready_at": NOW, "deadline": utc_text(at(3000)), "ceiling": utc_text(at(4000))}
    world.change(
        kind="manual", stage="awaiting tests", waiting=waiting, report_token=digest(REPORT_TOKEN), **lives_long
    )
    world.configure(end_when_idle_minutes=240)
    tags = [{"Key": "mayfly:environment", "Value": ENVIRONMENT}, {"Key": "mayfly:controller", "Value": CONTROLLER}]
    arn = f"arn:aws:elasticloadbalancing:us-east-1:222222222222:loadbalancer/{BALANCER}"
    world.wire.answer("GetResources", ResourceTagMappingList=[{"ResourceARN": arn, "Tags": tags}])
    world.wire.answer("DescribeSessions", Sessions=[])
    return world


def session(world: World, **said: Any) -> None:
    pages = world.there("ec2").describe_instances()["Reservations"]
    instance = pages[0]["Instances"][0]["InstanceId"]
    world.wire.answer("DescribeSessions", Sessions=[{"Target": instance, "Status": "Terminated", **said}])


class TestAnEnvironmentThatNobodyUses:
    def test_is_warned_of_and_ends(self, idle: World) -> None:
        assert look(idle, 209) == []
        assert not idle.wire.heard("GetMetricData"), "nothing is asked before it is due"
        assert look(idle, 210) == [("warn", f"no request and no session since {NOW}")]
        ((what, detail),) = idle.said
        assert (what, detail["minutes_left"], detail["deadline"]) == ("Environment Expiring", 30, utc_text(at(240)))
        assert detail["why"] == f"no request and no session since {NOW}"
        assert look(idle, 235)[0][0] == "nothing"
        assert not idle.said
        assert look(idle, 240)[0][0] == "end"
        ending = idle.record()["ending"]
        assert (ending["by"], ending["outcome"]) == ("idle", "expired")
        assert idle.wire.heard("SendTaskSuccess")[0]["taskToken"] == TOKEN
        assert look(idle, 245) == []

    def test_is_asked_about_in_one_call_each(self, idle: World) -> None:
        look(idle, 240)
        for operation in ("GetResources", "GetMetricData"):
            assert len(idle.wire.heard(operation)) == 1
        assert len(idle.wire.heard("DescribeSessions")) == 2
        (call,) = idle.wire.heard("GetMetricData")
        asked = [query["MetricStat"]["Metric"]["MetricName"] for query in call["MetricDataQueries"]]
        assert asked == ["RequestCount", "ConsumedLCUs"]

    def test_stays_while_the_kill_switch_is_on(self, idle: World) -> None:
        look(idle, 210)
        idle.switch()
        look(idle, 240)
        assert "ending" not in idle.record()

    def test_stays_where_its_application_does_not_say_after_how_long(self, idle: World) -> None:
        idle.configure()
        assert look(idle, 2000) == []

    def test_stays_while_its_tests_run_by_themselves(self, idle: World) -> None:
        idle.change(kind="automated")
        assert look(idle, 2000) == []


class TestUse:
    def test_by_a_request_begins_its_time_anew(self, idle: World) -> None:
        REQUESTS[:] = [at(100)]
        assert look(idle, 210)[0][0] == "note"
        assert idle.record()["used_at"] == utc_text(at(105)), "the period ended then"
        assert look(idle, 310) == []
        assert look(idle, 315)[0][0] == "warn"

    def test_by_a_session_too(self, idle: World) -> None:
        session(idle, StartDate=at(100), EndDate=at(130))
        assert look(idle, 210)[0][0] == "note"
        assert idle.record()["used_at"] == utc_text(at(130))

    def test_after_the_warning_keeps_it(self, idle: World) -> None:
        look(idle, 210)
        REQUESTS[:] = [at(220)]
        assert look(idle, 240)[0][0] == "note"
        assert look(idle, 240) == []

    def test_is_what_an_extension_says_until_its_deadline(self, idle: World) -> None:
        look(idle, 210)
        asked = {"environment": ENVIRONMENT, "minutes": 60, "why": "I need it", "requested_by": "ada"}
        idle.call("accept_extension", on_the_bus("Environment Extension Requested", asked))
        assert look(idle, 2000) == []

    def test_an_extension_in_the_same_second_wins(self, idle: World) -> None:
        look(idle, 210)
        idle.wire.before("GetParameter", lambda: idle.change(extensions=["0a1b2c"]))
        look(idle, 240)
        assert "ending" not in idle.record()


class TestWhatAwsDoesNotSay:
    def test_of_one_without_a_load_balancer_is_no_idleness(self, idle: World) -> None:
        idle.wire.answer("GetResources", ResourceTagMappingList=[])
        ((action, reason),) = look(idle, 2000)
        assert (action, "no load balancer" in reason) == ("nothing", True)

    def test_for_an_hour_is_none_either(self, idle: World) -> None:
        measured(idle, always=100)
        said: Json = idle.call("keep_office_hours", {"now": utc_text(at(240))})
        assert said["idle"][0]["reason"] == f"CloudWatch has no measurements of {BALANCER}"

    def test_of_a_load_balancer_of_another_kind_is_none(self, idle: World) -> None:
        arn = "arn:aws:elasticloadbalancing:us-east-1:222222222222:loadbalancer/gwy/web/50dc6c495c0c9188"
        tags = [{"Key": "mayfly:environment", "Value": ENVIRONMENT}]
        idle.wire.answer("GetResources", ResourceTagMappingList=[{"ResourceARN": arn, "Tags": tags}])
        assert look(idle, 2000)[0][0] == "nothing"

    def test_because_it_refuses_keeps_everything(self, idle: World) -> None:
        idle.wire.answer("DescribeSessions", "AccessDeniedException")
        assert look(idle, 2000) == []
        assert "ending" not in idle.record()
