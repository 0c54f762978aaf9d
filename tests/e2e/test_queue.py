"""What does not fit waits in the queue, costs nothing there, and is built in order: nothing is lost or built twice."""

import json
from typing import Any

import pytest

from local.cloud import REGION
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver, Json

pytestmark = pytest.mark.usefixtures("no_images")

STANDS = ("creating", "awaiting tests", "terminating")


def ledger(mayfly: Driver) -> Json:
    return mayfly.record("room", "ledger")


def counted(mayfly: Driver, application: str) -> int:
    return int(ledger(mayfly)["counts"][f"application:{application}|environments"])


class TestACeiling:
    def test_of_two_is_kept_while_twelve_are_pushed_at_once(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 2})
        first = mayfly.begin(application, version="0.9.0")  # it looks at its target's quotas, which costs as much
        mayfly.finish(first)
        mayfly.end(first)
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
            # One look takes a while. Whoever still stands in the next one stood when the first was over.
            at_once = [name for name in standing if mayfly.record(name).get("stage") in STANDS]
            assert len(at_once) <= 2, at_once
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
        # Who waits costs one transition more than who fits at once, however long: nothing looks again and again.
        cost = {name: mayfly.costs(name)["state_transitions"] for name in environments}
        (at_once,) = {cost[name] for name in environments if name not in waited}
        assert {cost[name] for name in waited} == {at_once + 1}

    def test_says_what_is_waited_for_and_a_new_deadline_counts_from_the_admission(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 1}, lifetime_minutes=60)
        first = mayfly.begin(application, version="1.0.0")
        second = environment_id(mayfly.push(application, "2.0.0"), "smoke")
        planned = mayfly.life(second, "queued").deadline
        said = mayfly.announcement("Environment Queued", second)
        assert said["lacks"] == f"the ceiling of environments of the application {application}: 1 needed, 0 free"
        mayfly.cloud.advance(600)
        mayfly.finish(first)
        assert mayfly.life(second, "awaiting tests").deadline > planned
        mayfly.finish(second)
        assert mayfly.end(second)["status"] == "SUCCEEDED"

    def test_that_is_too_low_fails_at_once_with_both_numbers(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"instances": 1}, instances=2, blueprint="fleet.yaml")
        environment = environment_id(mayfly.push(application), "smoke")
        assert mayfly.end(environment)["status"] == "FAILED"
        reason = mayfly.record(environment)["ending"]["reason"]
        assert "the ceiling of instances of the application" in reason
        assert "is 1, and it needs 2" in reason

    def test_is_warned_of_before_it_is_reached(self, mayfly: Driver) -> None:
        suites = ["a", "b", "c", "d"]
        application = mayfly.application(suites=suites, ceilings={"environments": 5})
        release = mayfly.push(application)

        def look() -> list[Json]:
            said = [one["detail"] for one in mayfly.announcements() if one["detail-type"] == "Room Running Low"]
            return [detail for detail in said if detail["name"] == application]

        [said] = mayfly.until(look, "a warning of the ceiling", lambda: ledger(mayfly))
        assert said["reason"] == f"the application {application} has 4 of 5 environments at once"
        for suite in suites:
            mayfly.life(environment_id(release, suite), "awaiting tests")
            mayfly.finish(environment_id(release, suite))
        assert mayfly.verdict(release)["detail-type"] == "Release Passed"


class TestAHotfix:
    def test_goes_before_all_others_that_wait(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 1}, hotfixes=True)
        first = mayfly.begin(application, version="1.0.0")
        waiting = [environment_id(mayfly.push(application, f"2.0.{n}"), "smoke") for n in (0, 1)]
        for each in waiting:
            mayfly.life(each, "queued")
        hotfix = environment_id(mayfly.push(application, "1.0.1", hotfix=True), "smoke")
        said = mayfly.announcement("Environment Queued", hotfix)
        assert (said["position"], said["behind"]) == (1, "")
        mayfly.finish(first)
        mayfly.life(hotfix, "awaiting tests")
        # There is room for one at once: as long as the hotfix has it, nobody else is built.
        assert [mayfly.record(each)["stage"] for each in waiting] == ["queued", "queued"]
        mayfly.finish(hotfix)
        assert mayfly.end(hotfix)["status"] == "SUCCEEDED"
        left = {*waiting}
        while left:
            is_next = lambda: [each for each in left if mayfly.record(each)["stage"] == "awaiting tests"]  # noqa: E731
            [each] = mayfly.until(is_next, "the next one may be tested", lambda: [mayfly.record(one) for one in left])
            mayfly.finish(each)
            assert mayfly.end(each)["status"] == "SUCCEEDED"
            left.remove(each)
        assert counted(mayfly, application) == 0


class TestLaunches:
    def test_begin_when_ec2_has_tokens_for_them(self, mayfly: Driver) -> None:
        target = f"{mayfly.cloud.workload_account}/{REGION}"
        ssm, name = mayfly.cloud.client("ssm"), f"{mayfly.parameters}/admission"
        limits = {"launches": {target: {"burst": 30, "a_second": 1}}}
        ssm.put_parameter(Name=name, Type="String", Value=json.dumps(limits))
        application = mayfly.application(suites=["a", "b"], instances=30, blueprint="fleet.yaml")
        release = mayfly.push(application)
        both = [environment_id(release, suite) for suite in ("a", "b")]
        mayfly.until(lambda: all(mayfly.record(each).get("reserved") for each in both), "both have their room")
        ssm.delete_parameter(Name=name)
        first, second = sorted(both, key=lambda each: str(mayfly.record(each).get("launch_from", "")))
        at = mayfly.record(second)["launch_from"]
        said = [why for _, why in mayfly.history(mayfly.record(second))]
        assert [why for why in said if "EC2's launch rate: its stack is created from" in why]
        mayfly.life(first, "awaiting tests")
        mayfly.cloud.advance(60)
        mayfly.life(second, "awaiting tests")
        [began] = [entry["at"] for entry in mayfly.record(second)["history"] if entry["what"] == "creating"]
        assert began >= at
        for each in both:
            mayfly.finish(each)
            assert mayfly.end(each)["status"] == "SUCCEEDED"


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


class TestANewerVersionOfABranch:
    def test_ends_the_older_one_that_waits_and_is_built_in_its_place(self, mayfly: Driver) -> None:
        application = mayfly.application(ceilings={"environments": 1}, supersede="waiting")
        first = mayfly.begin(application, version="1.0.0", branch="main")
        second = mayfly.push(application, "1.0.1", branch="main")
        mayfly.life(environment_id(second, "smoke"), "queued")
        other = mayfly.push(application, "1.0.2", branch="feature/basket")
        mayfly.life(environment_id(other, "smoke"), "queued")
        mayfly.cloud.advance(2)  # AWS says to the second when it took a push
        third = mayfly.push(application, "1.0.3", branch="main", times=3)
        verdict = mayfly.verdict(second)
        assert (verdict["detail-type"], verdict["detail"]["reason"]) == ("Release Failed", f"superseded by {third}")
        mayfly.end(environment_id(second, "smoke"))
        ending = mayfly.record(environment_id(second, "smoke"))["ending"]
        assert (ending["outcome"], ending["reason"]) == ("cancelled", f"superseded by {third}")
        for each in (first, environment_id(other, "smoke"), environment_id(third, "smoke")):
            mayfly.life(each, "awaiting tests")
            mayfly.finish(each)
            assert mayfly.end(each)["status"] == "SUCCEEDED"
        assert mayfly.stacks(environment_id(second, "smoke")) == []
        assert counted(mayfly, application) == 0

    def test_ends_the_older_one_that_is_tested_where_that_is_configured(self, mayfly: Driver) -> None:
        application = mayfly.application(supersede="always")
        first = mayfly.begin(application, version="1.0.0", branch="main")
        mayfly.cloud.advance(2)
        second = mayfly.push(application, "1.0.1", branch="main")
        mayfly.end(first)
        assert mayfly.record(first)["ending"]["reason"] == f"superseded by {second}"
        assert mayfly.nothing_is_left(first)
        mayfly.life(environment_id(second, "smoke"), "awaiting tests")
        mayfly.finish(environment_id(second, "smoke"))
        assert mayfly.verdict(second)["detail-type"] == "Release Passed"


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


class TestAQuotaOfAws:
    NAME = "the quota Auto Scaling groups per region (autoscaling, L-CDE20ADC)"

    def allow(self, mayfly: Driver, groups: int) -> str:
        """Has the account allow so many Auto Scaling groups, and a sweep read it. Returns the target."""
        target = f"{mayfly.cloud.workload_account}/{REGION}"
        mayfly.cloud.quotas(groups=groups)
        mayfly.say("Sweep Requested", [{"why": "the quota was changed", "requested_by": "ada@example.com"}])
        known = lambda: mayfly.record(target, "quotas").get("limits", {}).get("auto-scaling-groups")  # noqa: E731
        mayfly.until(lambda: known() == groups, "a sweep has read the quota", known)
        return target

    def test_lets_wait_what_does_not_fit_and_fails_what_never_does(self, mayfly: Driver) -> None:
        application = mayfly.application(instances=2, blueprint="fleet.yaml")
        first = mayfly.begin(application, version="1.0.0")
        target = self.allow(mayfly, 1)
        second = environment_id(mayfly.push(application, "2.0.0"), "smoke")
        mayfly.life(second, "queued")
        said = mayfly.announcement("Environment Queued", second)["lacks"]
        assert said == f"{self.NAME} in {target}: 1 needed, 0 free"
        mayfly.finish(first)
        mayfly.life(second, "awaiting tests")
        self.allow(mayfly, 0)
        third = environment_id(mayfly.push(application, "3.0.0"), "smoke")
        assert mayfly.end(third)["status"] == "FAILED"
        assert f"{self.NAME} in {target} is 0, and it needs 1" in mayfly.record(third)["ending"]["reason"]
        mayfly.finish(second)
        assert mayfly.end(second)["status"] == "SUCCEEDED"
        self.allow(mayfly, 500)  # nothing is left that wants it
        fourth = mayfly.begin(application, version="4.0.0")
        mayfly.finish(fourth)
        assert mayfly.end(fourth)["status"] == "SUCCEEDED"
