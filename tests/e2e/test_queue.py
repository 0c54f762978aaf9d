"""What does not fit waits in the queue, costs nothing there, and is built in order: nothing is lost or built twice."""

from typing import Any

import pytest

from local.records import read_record
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver, Json

pytestmark = pytest.mark.usefixtures("no_images")

STANDS = ("creating", "awaiting tests", "terminating")


def ledger(mayfly: Driver) -> Json:
    return read_record(mayfly.cloud, mayfly.outputs["TableName"], "ledger#room")


def counted(mayfly: Driver, application: str) -> int:
    return int(ledger(mayfly)["counts"][f"application:{application}|environments"])


class TestACeiling:
    def test_of_two_is_kept_while_twelve_are_pushed_at_once(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 2})
        versions = [f"1.0.{number}" for number in range(12)]
        pushed = [
            {"application": application, "version": each, "artifact": f"s3://artifacts/{each}"} for each in versions
        ]
        mayfly.say("Code Version Pushed", pushed)
        environments = [environment_id(mayfly.push(application, each), "smoke") for each in versions]  # and once more
        finished: set[str] = set()

        def look() -> bool:
            records = {name: mayfly.record(name) for name in environments}
            standing = [name for name, record in records.items() if record.get("stage") in STANDS]
            assert len(standing) <= 2, standing
            for name in standing:
                if name not in finished and records[name]["stage"] == "awaiting tests":
                    mayfly.finish(name)
                    finished.add(name)
            return all(record.get("stage") == "terminated" for record in records.values())

        mayfly.until(look, "all twelve have lived", lambda: [mayfly.record(name).get("stage") for name in environments])
        for name in environments:
            assert mayfly.end(name)["status"] == "SUCCEEDED"
            assert mayfly.nothing_is_left(name)
        assert (counted(mayfly, application), ledger(mayfly)["queue"]) == (0, [])
        waited = [name for name in environments if "Environment Queued" in mayfly.announced(name)]
        assert len(waited) >= 9
        # Who waits costs what others cost: nothing looks again and again.
        assert {mayfly.costs(name)["state_transitions"] for name in waited} == {
            mayfly.costs(name)["state_transitions"] for name in environments
        }

    def test_says_what_is_waited_for_and_a_new_deadline_counts_from_the_admission(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 1}, lifetime_minutes=60)
        first = mayfly.begin(application, version="1.0.0")
        second = environment_id(mayfly.push(application, "2.0.0"), "smoke")
        planned = mayfly.life(second, "queued")["deadline"]
        said = mayfly.announcement("Environment Queued", second)
        assert said["lacks"] == f"the ceiling of environments of the application {application}: 1 needed, 0 free"
        mayfly.cloud.advance(600)
        mayfly.finish(first)
        assert mayfly.life(second, "awaiting tests")["deadline"] > planned
        mayfly.finish(second)
        assert mayfly.end(second)["status"] == "SUCCEEDED"

    def test_that_is_too_low_fails_at_once_with_both_numbers(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"instances": 1}, instances=2, blueprint="fleet.yaml")
        environment = environment_id(mayfly.push(application), "smoke")
        assert mayfly.end(environment)["status"] == "FAILED"
        reason = mayfly.record(environment)["ending"]["reason"]
        assert "the ceiling of instances of the application" in reason
        assert "is 1, and it needs 2" in reason


class TestWhoWaits:
    def test_can_be_ended_and_is_never_built(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 1})
        first = mayfly.begin(application, version="1.0.0")
        second = environment_id(mayfly.push(application, "2.0.0"), "smoke")
        mayfly.life(second, "queued")
        asked: dict[str, Any] = {"environment": second, "why": "not needed", "requested_by": "ada"}
        mayfly.say("Environment Termination Requested", [asked])
        mayfly.end(second)
        assert (mayfly.stacks(second), mayfly.record(second)["ending"]["outcome"]) == ([], "cancelled")
        mayfly.finish(first)
        mayfly.end(first)
        assert counted(mayfly, application) == 0

    def test_ends_at_its_deadline_where_room_never_comes(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 1}, ceiling_minutes=4000, lifetime_minutes=60)
        first = mayfly.begin(application, version="1.0.0")
        asked: dict[str, Any] = {"environment": first, "minutes": 600, "why": "long tests", "requested_by": "ada"}
        mayfly.say("Environment Extension Requested", [asked])
        mayfly.announcement("Environment Extended", first)
        second = environment_id(mayfly.push(application, "2.0.0"), "smoke")
        mayfly.life(second, "queued")
        mayfly.cloud.advance(3700)
        assert mayfly.end(second)["status"] == "FAILED"
        assert "NoRoom: it waited in the queue until" in mayfly.record(second)["ending"]["reason"]
        mayfly.finish(first)
        mayfly.end(first)


class TestAFunctionThatDies:
    @pytest.mark.parametrize("moment", ["die_before", "die_after"])
    def test_while_it_admits_is_made_up_for(self, mayfly: Driver, moment: str) -> None:
        application = mayfly.application(ceilings={"environments": 1})
        mayfly.cloud.fault("controller", function="mayfly-admit-environment", effect=moment, times=1)
        environment = mayfly.begin(application)
        assert counted(mayfly, application) == 1
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert counted(mayfly, application) == 0

    def test_while_it_gives_back_wakes_who_waits_all_the_same(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 1})
        first = mayfly.begin(application, version="1.0.0")
        second = environment_id(mayfly.push(application, "2.0.0"), "smoke")
        mayfly.life(second, "queued")
        mayfly.cloud.fault("controller", function="mayfly-confirm-gone", effect="die_after", times=1)
        mayfly.finish(first)
        mayfly.life(second, "awaiting tests")
        mayfly.finish(second)
        assert mayfly.end(second)["status"] == "SUCCEEDED"
        assert counted(mayfly, application) == 0
