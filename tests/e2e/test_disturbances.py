"""What goes wrong every day, and no life may suffer from: throttling, dying functions, lost and doubled events."""

import time

import pytest

from mayfly.domain.identity import environment_id, release_id
from tests.e2e.driver import Driver

RECONCILED = 1200
"""Seconds after which a wait without an event looks for itself."""
ANSWERED = 120
"""Seconds after which a function that has not answered never will."""

OF_A_LIFE = ("plan-environment", "create-environment", "confirm-ready", "delete-environment", "confirm-gone")
OF_A_RELEASE = ("accept-code-version", "plan-release", "judge-release")
BY_EVENTS = ("resume-environment", "accept-test-result")


def live(mayfly: Driver, repeated: int = 0) -> str:
    """A whole life from the push to the verdict, with all that must hold however it was disturbed.

    Args:
        repeated: announcements that may come twice.
    """
    environment = mayfly.begin(mayfly.application())
    mayfly.finish(environment)
    _ended_well(mayfly, environment, repeated)
    return environment


def _ended_well(mayfly: Driver, environment: str, repeated: int = 0) -> None:
    verdict = mayfly.verdict(mayfly.record(environment)["release"])
    assert verdict["detail-type"] == "Release Passed", verdict
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    assert mayfly.stacks(environment) == ["DELETE_COMPLETE"]  # one, and only one
    assert mayfly.instances_left(environment) == 0
    # Who dies right after it has said something says it once more.
    said = list(dict.fromkeys(mayfly.announced(environment)))
    assert said == ["Environment Requested", "Environment Ready", "Environment Terminated"]
    assert len(mayfly.announced(environment)) <= len(said) + repeated


class TestThrottling:
    def test_of_any_call_to_the_workload_account_does_no_harm(self, mayfly: Driver) -> None:
        refused = {
            "create": ("CreateStack", "Throttling"),
            "describe": ("DescribeStacks", "Throttling"),
            "delete": ("DeleteStack", "Throttling"),
            "look": ("DescribeInstances", "RequestLimitExceeded"),
        }
        application = mayfly.application(suites=tuple(refused))
        release = release_id(application, "1.0.0", 1)
        for suite, (action, error) in refused.items():
            environment = environment_id(release, suite)
            mayfly.cloud.fault("workload", action=action, environment=environment, error=error, times=2)
        mayfly.push(application)
        for suite in refused:
            mayfly.life(environment_id(release, suite), "awaiting tests")
            mayfly.finish(environment_id(release, suite))
        for suite, (action, error) in refused.items():
            environment = environment_id(release, suite)
            _ended_well(mayfly, environment)
            struck = [
                row
                for row in mayfly.cloud.ledger()["calls"]
                if row["environment"] == environment and row["action"] == action and row["error"] == error
            ]
            assert len(struck) == 2

    def test_of_each_function_does_no_harm(self, mayfly: Driver) -> None:
        for function in (*OF_A_LIFE, *OF_A_RELEASE, *BY_EVENTS):
            mayfly.cloud.fault("controller", function=f"mayfly-{function}", effect="throttle", times=2)
        live(mayfly)

    @pytest.mark.parametrize("action", ["CreateStack", "DeleteStack"])
    def test_a_call_whose_answer_is_lost_is_not_done_twice(self, mayfly: Driver, action: str) -> None:
        mayfly.cloud.fault("workload", action=action, error="InternalFailure", status=500, when="after", times=1)
        live(mayfly, repeated=int(action == "CreateStack"))  # who has heard no answer says once more what it asks for


class TestAFunctionThatDies:
    @pytest.mark.parametrize("moment", ["die_before", "die_after"])
    @pytest.mark.parametrize("function", [*OF_A_LIFE, *OF_A_RELEASE, *BY_EVENTS])
    def test_once_does_no_harm(self, mayfly: Driver, function: str, moment: str) -> None:
        mayfly.cloud.reset_ledger()
        mayfly.cloud.fault("controller", function=f"mayfly-{function}", effect=moment, times=1)
        live(mayfly, repeated=int((function, moment) == ("confirm-ready", "die_after")))

        def died() -> int:
            return [row["error"] for row in mayfly.invocations(function)].count("Runtime.ExitError")

        # Who ends an execution is over a moment later.
        assert mayfly.until(died, f"{function} has died") == 1

    @pytest.mark.parametrize("function", ["plan-environment", "confirm-ready", "confirm-gone"])
    def test_without_ever_answering_is_called_again(self, mayfly: Driver, function: str) -> None:
        application = mayfly.application()
        environment = environment_id(release_id(application, "1.0.0", 1), "smoke")
        hang = {"environment": environment, "effect": "hang", "times": 1}
        mayfly.cloud.fault("controller", function=f"mayfly-{function}", **hang)
        mayfly.push(application)
        if function == "confirm-gone":
            mayfly.life(environment, "awaiting tests")
            mayfly.finish(environment)
        mayfly.until(lambda: mayfly.cloud.faults("controller")[0]["times"] == 0, f"{function} hangs")
        mayfly.cloud.advance(ANSWERED)
        if function != "confirm-gone":
            mayfly.life(environment, "awaiting tests")
            mayfly.finish(environment)
        _ended_well(mayfly, environment)

    @pytest.mark.parametrize("moment", ["die_before", "die_after"])
    def test_while_it_takes_the_end_of_a_deletion_does_no_harm(self, mayfly: Driver, moment: str) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.cloud.fault("controller", function="mayfly-resume-environment", effect=moment, times=1)
        mayfly.finish(environment)
        _ended_well(mayfly, environment)

    @pytest.mark.parametrize(
        ("function", "moment"),
        [("plan-environment", "die_after"), ("create-environment", "die_before"), ("confirm-ready", "die_after")],
    )
    def test_each_time_fails_the_life_and_leaves_nothing(self, mayfly: Driver, function: str, moment: str) -> None:
        application = mayfly.application()
        environment = environment_id(release_id(application, "1.0.0", 1), "smoke")
        mayfly.cloud.fault("controller", function=f"mayfly-{function}", environment=environment, effect=moment)
        mayfly.push(application)
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "EnvironmentFailed")
        assert "Runtime.ExitError" in execution["cause"]
        assert mayfly.nothing_is_left(environment)
        assert mayfly.announced(environment)[-2:] == ["Environment Terminated", "Environment Failed"]

    @pytest.mark.parametrize("function", ["delete-environment", "confirm-gone"])
    def test_each_time_at_the_end_is_announced_as_a_leak(self, mayfly: Driver, function: str) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.cloud.fault("controller", function=f"mayfly-{function}", environment=environment, effect="die_before")
        mayfly.finish(environment)
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "Runtime.ExitError")
        assert mayfly.announcement("Environment Failed", environment)["instances_left"] == "unknown"
        mayfly.cloud.workload_client("cloudformation").delete_stack(StackName=f"mayfly-{environment}")

    def test_each_time_a_stack_event_comes_leaves_it_as_a_dead_letter_and_the_reconciler_goes_on(
        self, mayfly: Driver
    ) -> None:
        application = mayfly.application()
        environment = environment_id(release_id(application, "1.0.0", 1), "smoke")
        dies = {"environment": environment, "effect": "die_before", "times": 3}
        mayfly.cloud.fault("controller", function="mayfly-resume-environment", **dies)
        mayfly.push(application)
        assert mayfly.letter(f"stack/mayfly-{environment}/")
        assert mayfly.execution(environment)["status"] == "RUNNING"
        mayfly.cloud.advance(RECONCILED)
        mayfly.life(environment, "awaiting tests")
        mayfly.finish(environment)
        _ended_well(mayfly, environment)

    def test_each_time_a_result_comes_leaves_it_as_a_dead_letter_and_the_deadline_ends_the_life(
        self, mayfly: Driver
    ) -> None:
        environment = mayfly.begin(mayfly.application(lifetime_minutes=60))
        mayfly.cloud.fault("controller", function="mayfly-accept-test-result", effect="die_before", times=3)
        mayfly.finish(environment)
        assert mayfly.letter(environment)
        mayfly.cloud.advance(3600)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.record(environment)["ending"]["by"] == "deadline"
        assert mayfly.nothing_is_left(environment)


class TestEvents:
    def test_that_never_come_are_replaced_by_a_look(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", event="*_COMPLETE", effect="lose")
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")
        mayfly.until(lambda: mayfly.stacks(environment) == ["CREATE_COMPLETE"], "the stack stands")
        assert mayfly.life(environment, "creating").waiting.for_ == "creation"
        mayfly.cloud.advance(RECONCILED)
        mayfly.life(environment, "awaiting tests")

        mayfly.finish(environment)
        mayfly.until(lambda: mayfly.stacks(environment) == ["DELETE_COMPLETE"], "the stack is gone")
        assert mayfly.life(environment, "terminating").waiting.for_ == "deletion"
        mayfly.cloud.advance(RECONCILED)
        _ended_well(mayfly, environment)

    def test_of_a_failure_that_never_come_are_replaced_by_a_look(self, mayfly: Driver) -> None:
        mayfly.cloud.fault(
            "workload", stack="create", effect="fail", resource="Instance", reason="no such type", times=1
        )
        mayfly.cloud.fault("workload", event="CREATE_FAILED", effect="lose", times=1)
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")
        mayfly.until(lambda: mayfly.stacks(environment) == ["CREATE_FAILED"], "the stack has failed")
        mayfly.cloud.advance(RECONCILED)
        execution = mayfly.end(environment)
        assert execution["status"] == "FAILED"
        assert "no such type" in execution["cause"]
        assert mayfly.nothing_is_left(environment)

    def test_that_come_twice_do_no_harm(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", event="*", effect="duplicate")
        mayfly.cloud.fault("controller", event={"detail-type": "Code Version Pushed"}, effect="duplicate")
        mayfly.cloud.fault("controller", event={"detail-type": "Test Finished"}, effect="duplicate")
        live(mayfly)

    def test_that_come_after_the_look_do_no_harm(self, mayfly: Driver) -> None:
        mayfly.cloud.reset_ledger()
        mayfly.cloud.fault("workload", event="CREATE_COMPLETE", effect="delay", seconds=3, times=1)
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")
        mayfly.until(lambda: mayfly.stacks(environment) == ["CREATE_COMPLETE"], "the stack stands")
        mayfly.cloud.advance(RECONCILED)
        mayfly.life(environment, "awaiting tests")
        mayfly.until(lambda: mayfly.invocations("resume-environment", environment), "the event has come late")
        assert mayfly.record(environment)["stage"] == "awaiting tests"
        mayfly.finish(environment)
        _ended_well(mayfly, environment)


class TestALostRecord:
    def test_loses_no_termination(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application(lifetime_minutes=60))
        mayfly.cloud.client("dynamodb").delete_item(
            TableName=mayfly.outputs["TableName"], Key={"pk": {"S": f"environment#{environment}"}}
        )
        mayfly.cloud.advance(3600)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)
        assert mayfly.record(environment)["ending"]["by"] == "deadline"


class TestTheControllerAccount:
    def test_that_is_away_for_a_while_goes_on_with_every_life_where_it_was(self, mayfly: Driver) -> None:
        """AWS's services keep what they know; what of Mayfly is in memory is gone."""
        application = mayfly.application(suites=("built", "tested"))
        release = release_id(application, "1.0.0", 1)
        built, tested = (environment_id(release, suite) for suite in ("built", "tested"))
        mayfly.cloud.fault("workload", stack="create", environment=built, effect="slow", times=1)
        mayfly.push(application)
        mayfly.life(tested, "awaiting tests")
        mayfly.life(built, "creating")
        mayfly.cloud.kill_controller()
        mayfly.cloud.start_controller()
        mayfly.cloud.clear_faults()
        mayfly.life(built, "awaiting tests")
        for environment in (built, tested):
            mayfly.finish(environment)
        for environment in (built, tested):
            _ended_well(mayfly, environment)


class TestABadDay:
    def test_leaves_no_life_without_an_end_and_nothing_behind(self, mayfly: Driver) -> None:
        """A fifth of everything goes wrong; nobody knows what, but everything must be over in the end."""
        suites = [f"suite-{number}" for number in range(6)]
        cloud, application = mayfly.cloud, mayfly.application(suites, lifetime_minutes=120)
        cloud.fault("workload", action="*", error="Throttling", rate=0.2)
        cloud.fault("workload", action="*", error="InternalFailure", status=500, when="after", rate=0.05)
        cloud.fault("workload", event="*", effect="lose", rate=0.2)
        cloud.fault("workload", event="*", effect="duplicate", rate=0.2)
        cloud.fault("workload", stack="create", effect="fail", resource="Instance", rate=0.2)
        environments = [environment_id(release_id(application, "1.0.0", 1), suite) for suite in suites]
        stays = {"effect": "delete_failed", "resource": "Instance", "rate": 0.2}
        for environment in environments:  # the fourth deletion that fails is a person's, and its stack stands for good
            cloud.fault("workload", stack="delete", environment=environment, times=3, **stays)
        mine = f"{application}-*"  # what is done for a life; that no release begins is another test's matter
        cloud.fault("controller", function="*", environment=mine, effect="die_before", rate=0.1)
        cloud.fault("controller", function="*", environment=mine, effect="die_after", rate=0.1)

        release = mayfly.push(application)
        finished, quiet = set[str](), Quiet(mayfly)

        def over() -> bool:
            for environment in environments:
                if environment not in finished and mayfly.record(environment).get("stage") == "awaiting tests":
                    finished.add(environment)
                    mayfly.finish(environment)
            if quiet():
                cloud.advance(RECONCILED)
            return all(mayfly.execution(one).get("status", "RUNNING") != "RUNNING" for one in environments)

        mayfly.until(over, "every life is over", lambda: [mayfly.record(one) for one in environments])
        for environment in environments:
            assert mayfly.nothing_is_left(environment), mayfly.record(environment)
            execution = mayfly.execution(environment)
            assert execution["status"] == "SUCCEEDED" or execution["cause"]
        cloud.clear_faults()
        mayfly.verdict(release)


class Quiet:
    """Says whether nothing has moved for a while, so that only time can bring things on."""

    SECONDS = 2.0

    def __init__(self, mayfly: Driver) -> None:
        self._mayfly, self._seen, self._since = mayfly, 0, time.monotonic()

    def __call__(self) -> bool:
        moved = sum(len(rows) for rows in self._mayfly.cloud.ledger().values())
        if moved != self._seen:
            self._seen, self._since = moved, time.monotonic()
        if time.monotonic() - self._since < self.SECONDS:
            return False
        self._since = time.monotonic()
        return True
