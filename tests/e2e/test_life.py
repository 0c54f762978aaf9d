"""The life of an environment, undisturbed: from a pushed version to a verified end."""

import pytest

from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver, Way

pytestmark = pytest.mark.usefixtures("no_images")

DAY = 24 * 3600


class TestALife:
    @pytest.mark.parametrize("way", ["bus", "topic"])
    def test_begins_and_ends_by_the_bus_or_by_sns(self, mayfly: Driver, way: Way) -> None:
        environment = mayfly.begin(mayfly.application(), by=way)
        assert mayfly.stacks(environment) == ["CREATE_COMPLETE"]
        assert mayfly.instances_left(environment) == 1

        mayfly.finish(environment, by=way, report="https://ci.example.com/1", finished_by="ci@example.com")
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)

    def test_is_announced_in_order(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application(instances=2, blueprint="fleet.yaml"))
        ready = mayfly.announcement("Environment Ready", environment)
        assert ready["instances"] == 2
        assert ready["outputs"]["AutoScalingGroupName"]

        mayfly.finish(environment)
        terminated = mayfly.announcement("Environment Terminated", environment)
        assert (terminated["instances_built"], terminated["instances_left"]) == (2, 0)
        assert terminated["ending"]["outcome"] == "passed"
        assert mayfly.announced(environment) == ["Environment Requested", "Environment Ready", "Environment Terminated"]

    def test_is_recorded_with_who_when_and_why(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.finish(environment, reason="all green", finished_by="anna@example.com")
        mayfly.end(environment)

        record = mayfly.record(environment)
        assert [line["what"] for line in record["history"]] == [
            "planned",
            "creating",
            "ready",
            "awaiting tests",
            "Test Finished",
            "terminating",
            "terminated",
        ]
        said = record["history"].pop(4)  # EventBridge tells time in whole seconds: it may seem to come early
        assert [line["at"] for line in record["history"]] == sorted(line["at"] for line in record["history"])
        assert all(line["who"] and line["why"] for line in record["history"])
        assert (said["who"], said["why"]) == ("anna@example.com (says mayfly.operator)", "the tests passed: all green")

    def test_puts_the_tag_contract_on_its_stack(self, mayfly: Driver) -> None:
        application = mayfly.application()
        environment = mayfly.begin(application)
        [stack] = mayfly.cloud.workload_client("cloudformation").describe_stacks(StackName=f"mayfly-{environment}")[
            "Stacks"
        ]
        assert {tag["Key"]: tag["Value"] for tag in stack["Tags"]} == {
            "mayfly:environment": environment,
            "mayfly:application": application,
            "mayfly:controller": "111111111111/us-east-1/mayfly",
            "mayfly:expires-at": mayfly.record(environment)["deadline"],
            "mayfly:ceiling": mayfly.record(environment)["ceiling"],
        }
        mayfly.finish(environment)
        mayfly.end(environment)

    def test_ends_at_its_deadline_where_no_result_comes(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.cloud.advance(DAY - 600)
        assert mayfly.execution(environment)["status"] == "RUNNING"
        assert mayfly.stacks(environment) == ["CREATE_COMPLETE"]

        mayfly.cloud.advance(600)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)
        ending = mayfly.record(environment)["ending"]
        assert (ending["by"], ending["outcome"]) == ("deadline", "expired")
        assert mayfly.record(environment)["deadline"] in ending["reason"]

    def test_has_the_lifetime_its_application_asks_for(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application(lifetime_minutes=10))
        mayfly.cloud.advance(600)
        mayfly.end(environment)
        assert mayfly.record(environment)["ending"]["by"] == "deadline"

    def test_that_is_built_past_its_deadline_ends_at_once(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", stack="create", effect="slow", times=1)
        environment = environment_id(mayfly.push(mayfly.application(lifetime_minutes=5)), "smoke")
        mayfly.life(environment, "creating")
        mayfly.cloud.advance(300)
        mayfly.cloud.clear_faults()
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.record(environment)["ending"]["by"] == "deadline"
        assert mayfly.nothing_is_left(environment)


class TestWhatALifeCosts:
    @pytest.fixture(autouse=True)
    def _fresh_ledger(self, mayfly: Driver) -> None:
        mayfly.cloud.reset_ledger()

    def test_is_within_bounds_and_the_same_for_a_minute_or_a_day_for_one_instance_or_five(self, mayfly: Driver) -> None:
        fleet = [mayfly.application(instances=count, blueprint="fleet.yaml") for count in (1, 5, 1)]
        first = mayfly.begin(fleet[0], version="0.9.0")  # who comes first to a target looks at its quotas
        mayfly.finish(first)
        mayfly.end(first)
        minute, large, day = [mayfly.begin(application) for application in fleet]
        mayfly.cloud.advance(60)
        for environment in (minute, large):
            mayfly.finish(environment)
            mayfly.end(environment)
        mayfly.cloud.advance(DAY - 3 * 3600)  # before its owner is warned, which costs an invocation
        mayfly.finish(day)
        mayfly.end(day)

        bills = [mayfly.costs(environment) for environment in (minute, large, day)]
        assert [bill["instances_built"] for bill in bills] == [1, 5, 1]
        for bill in bills:
            assert bill["ended_by"] == "tests"
            assert bill["state_transitions"] <= 10
            assert bill["lambda_invocations"] <= 10
            # Five of them look for kinds of which the tagging API still lists what is gone.
            assert sum(bill["workload_calls"].values()) <= 19
            assert bill["cost_usd"] < 0.0006
        counted = [(bill["state_transitions"], bill["lambda_invocations"], bill["workload_calls"]) for bill in bills]
        assert counted[0] == counted[1] == counted[2]


class TestARelease:
    def test_runs_its_suites_side_by_side_and_passes(self, mayfly: Driver) -> None:
        application = mayfly.application(suites=("smoke", "checkout"))
        release = mayfly.push(application, version="2.0.0", commit="9fceb02")
        smoke, checkout = environments = [environment_id(release, suite) for suite in ("smoke", "checkout")]
        for environment in environments:
            mayfly.life(environment, "awaiting tests")
        mayfly.finish(smoke)
        mayfly.end(smoke)
        assert mayfly.record(checkout)["stage"] == "awaiting tests"  # the one lives on after the other

        mayfly.say("Test Finished", [{"release": release, "suite": "checkout", "outcome": "passed", "report": "r/2"}])
        verdict = mayfly.verdict(release)
        assert verdict["detail-type"] == "Release Passed"
        said = verdict["detail"]
        assert (said["application"], said["version"], said["commit"]) == (application, "2.0.0", "9fceb02")
        assert [(part["suite"], part["outcome"], part.get("report")) for part in said["suites"]] == [
            ("smoke", "passed", None),
            ("checkout", "passed", "r/2"),
        ]
        assert all(mayfly.nothing_is_left(environment) for environment in environments)

    def test_fails_with_the_suite_that_failed_and_says_why(self, mayfly: Driver) -> None:
        release = mayfly.push(mayfly.application(suites=("smoke", "checkout")))
        smoke, checkout = environment_id(release, "smoke"), environment_id(release, "checkout")
        for environment in (smoke, checkout):
            mayfly.life(environment, "awaiting tests")
        mayfly.finish(smoke)
        mayfly.finish(checkout, "failed", reason="the basket was empty")
        verdict = mayfly.verdict(release)
        assert verdict["detail-type"] == "Release Failed"
        assert [part["outcome"] for part in verdict["detail"]["suites"]] == ["passed", "failed"]
        assert "checkout failed: the tests failed: the basket was empty" in verdict["detail"]["reason"]
        # A failed test is a life that did what it was for.
        assert mayfly.end(checkout)["status"] == "SUCCEEDED"

    def test_can_be_run_again_as_a_further_attempt(self, mayfly: Driver) -> None:
        application = mayfly.application()
        first, second = mayfly.begin(application), mayfly.begin(application, attempt=2)
        assert first != second
        for environment in (first, second):
            mayfly.finish(environment)
            assert mayfly.end(environment)["status"] == "SUCCEEDED"

    def test_of_any_blueprint_lives_and_ends_alike(self, mayfly: Driver) -> None:
        application = mayfly.application(instances=3, blueprint="fleet.yaml")
        fleet = mayfly.begin(application)
        single = mayfly.begin(mayfly.application(blueprint="single.yaml"))
        assert (mayfly.instances_left(fleet), mayfly.instances_left(single)) == (3, 1)
        for environment in (fleet, single):
            mayfly.finish(environment)
            assert mayfly.end(environment)["status"] == "SUCCEEDED"
            assert mayfly.nothing_is_left(environment)
