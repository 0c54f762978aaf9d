"""Environments that fail: each leaves nothing behind, says why, and breaks its own suite only."""

from pathlib import Path
from typing import Any

import pytest

from mayfly.domain.identity import environment_id, release_id, stack_name
from tests.e2e.driver import Driver, Json

SINGLE = Path(__file__).parents[1] / "blueprints" / "single.yaml"
RECONCILED = 1200
"""Seconds after which a wait without an event looks for itself."""


class TestACreation:
    @pytest.mark.parametrize(
        ("fault", "named"),
        [
            ({"effect": "fail", "resource": "Fleet", "reason": "Quota exceeded"}, "Quota exceeded"),
            ({"effect": "rollback"}, "the stack is ROLLBACK_COMPLETE"),
            ({"effect": "instances_never_signal"}, "Received 1 SUCCESS signal(s) out of 2"),
            ({"effect": "insufficient_capacity"}, "do not have sufficient t3.medium capacity"),
        ],
        ids=lambda value: value["effect"] if isinstance(value, dict) else "",
    )
    def test_that_fails_is_cleaned_up_and_says_why(self, mayfly: Driver, fault: Json, named: str) -> None:
        mayfly.cloud.fault("workload", stack="create", times=1, **fault)
        release = mayfly.push(mayfly.application(instances=2, blueprint="fleet.yaml"))
        environment = environment_id(release, "smoke")
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "EnvironmentFailed")
        assert named in execution["cause"]
        assert mayfly.nothing_is_left(environment)

        assert named in mayfly.announcement("Environment Failed", environment)["ending"]["reason"]
        assert mayfly.announced(environment) == [
            "Environment Requested",
            "Environment Terminated",
            "Environment Failed",
        ]
        verdict = mayfly.verdict(release)
        assert verdict["detail-type"] == "Release Failed"
        assert [part["outcome"] for part in verdict["detail"]["suites"]] == ["broken"]
        assert named in verdict["detail"]["reason"]

    def test_that_fails_leaves_the_other_suites_alone(self, mayfly: Driver) -> None:
        application = mayfly.application(suites=("smoke", "checkout"))
        release = release_id(application, "1.0.0", 1)
        smoke, checkout = environment_id(release, "smoke"), environment_id(release, "checkout")
        mayfly.cloud.fault("workload", stack="create", environment=smoke, effect="fail", resource="Instance")
        mayfly.push(application)
        mayfly.life(checkout, "awaiting tests")
        assert mayfly.end(smoke)["status"] == "FAILED"
        mayfly.finish(checkout)
        outcomes = [part["outcome"] for part in mayfly.verdict(release)["detail"]["suites"]]
        assert outcomes == ["broken", "passed"]

    def test_that_never_comes_to_an_end_is_given_up(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", stack="create", effect="slow", seconds=3600, times=1)
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")

        def looks() -> int:
            return len([row for row in mayfly.invocations("create-environment", environment) if not row["error"]])

        for number in range(1, 5):
            mayfly.until(
                lambda number=number: looks() >= number,  # type: ignore[misc]
                f"look {number} at the creation",
                lambda: mayfly.record(environment),
            )
            assert mayfly.execution(environment)["status"] == "RUNNING"
            mayfly.cloud.advance(RECONCILED)
        execution = mayfly.end(environment)
        assert execution["status"] == "FAILED"
        assert "States.Timeout" in execution["cause"]
        assert mayfly.nothing_is_left(environment)

    def test_whose_instances_do_not_all_run_is_none(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", event="CREATE_COMPLETE", effect="lose", times=1)
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")
        mayfly.until(lambda: mayfly.stacks(environment) == ["CREATE_COMPLETE"], "the stack stands")
        mayfly.cloud.workload_client("ec2").terminate_instances(InstanceIds=[_instance(mayfly, environment)])
        mayfly.cloud.advance(RECONCILED)
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "EnvironmentFailed")
        assert "0 of 1 instances run" in execution["cause"]
        assert "Environment Ready" not in mayfly.announced(environment)
        assert mayfly.nothing_is_left(environment)

    def test_finds_a_foreign_stack_under_its_name_and_does_not_touch_it(self, mayfly: Driver) -> None:
        application = mayfly.application()
        release = release_id(application, "1.0.0", 1)
        environment = environment_id(release, "smoke")
        foreign = _someone_s_stack(mayfly, stack_name(environment))
        mayfly.push(application)
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "TerminationRefused")
        assert "mayfly:controller" in execution["cause"]
        assert mayfly.stacks(environment) == ["CREATE_COMPLETE"]
        assert mayfly.calls(environment)["DeleteStack"] == 0
        assert mayfly.record(environment)["ending"]["reason"].startswith("NotOurs: ")
        verdict = mayfly.verdict(release)
        assert [part["outcome"] for part in verdict["detail"]["suites"]] == ["broken"]
        mayfly.cloud.workload_client("cloudformation").delete_stack(StackName=foreign)


class TestADeletion:
    def test_that_fails_once_is_tried_again(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.cloud.fault(
            "workload", stack="delete", environment=environment, effect="delete_failed", resource="Instance", times=1
        )
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)
        assert mayfly.calls(environment)["DeleteStack"] == 2
        assert mayfly.announced(environment)[-1] == "Environment Terminated"

    def test_that_fails_for_good_ends_failed_and_announces_what_is_in_the_way(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        instance, reason = _instance(mayfly, environment), "Network interface eni-1 is currently in use"
        mayfly.cloud.fault(
            "workload",
            stack="delete",
            environment=environment,
            effect="delete_failed",
            resource="Instance",
            reason=reason,
        )
        mayfly.finish(environment)
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "HandedOver")
        assert f"Blocked by Instance (AWS::EC2::Instance {instance}): {reason}" in execution["cause"]
        assert mayfly.stacks(environment) == ["DELETE_FAILED"]
        assert mayfly.calls(environment)["DeleteStack"] == 4
        assert reason in mayfly.announcement("Environment Failed", environment)["reason"]
        assert "Environment Terminated" not in mayfly.announced(environment)
        assert mayfly.record(environment)["ending"]["outcome"] == "passed"  # the tests had their say
        _clean_up(mayfly, environment)

    @pytest.mark.parametrize("tag", ["mayfly:controller", "mayfly:environment", "mayfly:protected"])
    def test_of_a_stack_whose_tags_say_no_is_refused(self, mayfly: Driver, tag: str) -> None:
        environment = mayfly.begin(mayfly.application())
        _tag(mayfly, environment, tag, "somebody-else")
        mayfly.finish(environment)
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "TerminationRefused")
        assert f"{tag}" in execution["cause"]
        assert "somebody-else" in mayfly.announcement("Environment Failed", environment)["reason"]
        assert mayfly.stacks(environment) == ["UPDATE_COMPLETE"]
        assert mayfly.instances_left(environment) == 1
        assert mayfly.calls(environment)["DeleteStack"] == 0
        _clean_up(mayfly, environment)

    def test_of_a_protected_stack_is_refused(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        _protect(mayfly, environment, True)
        mayfly.finish(environment)
        execution = mayfly.end(environment)
        assert (execution["status"], execution["error"]) == ("FAILED", "TerminationRefused")
        assert "termination protection" in execution["cause"]
        assert mayfly.stacks(environment) == ["CREATE_COMPLETE"]
        _protect(mayfly, environment, False)
        _clean_up(mayfly, environment)


class TestAnEnvironmentIsGone:
    def test_only_when_an_instance_that_outlived_its_stack_is_terminated_too(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        _launch(mayfly, environment, "111111111111/us-east-1/mayfly")
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.nothing_is_left(environment)
        assert mayfly.calls(environment)["TerminateInstances"] == 1

    def test_never_by_terminating_what_another_controller_has_launched(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        instance = _launch(mayfly, environment, "999999999999/us-east-1/other")
        mayfly.finish(environment)
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.calls(environment)["TerminateInstances"] == 0
        assert mayfly.instances_left(environment) == 1
        mayfly.cloud.workload_client("ec2").terminate_instances(InstanceIds=[instance])


def _someone_s_stack(mayfly: Driver, name: str) -> str:
    """A stack that somebody made by hand, complete; returns its id."""
    cloudformation = mayfly.cloud.workload_client("cloudformation")
    parameters = {"EnvironmentId": "by-hand", "Application": "by-hand", "CodeVersion": "1", "ImageId": _image(mayfly)}
    stack: str = cloudformation.create_stack(
        StackName=name,
        TemplateBody=SINGLE.read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )["StackId"]
    _until_status(mayfly, stack, "CREATE_COMPLETE")
    return stack


def _until_status(mayfly: Driver, stack: str, status: str) -> None:
    def look() -> bool:
        [found] = mayfly.cloud.workload_client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return bool(found["StackStatus"] == status)

    mayfly.until(look, f"{stack} is {status}")


def _instance(mayfly: Driver, environment: str) -> str:
    """The id of the instance that a stack of one has as an output."""
    cloudformation = mayfly.cloud.workload_client("cloudformation")
    [stack] = cloudformation.describe_stacks(StackName=stack_name(environment))["Stacks"]
    return str(next(out["OutputValue"] for out in stack["Outputs"] if out["OutputKey"] == "InstanceId"))


def _image(mayfly: Driver) -> str:
    image: str = mayfly.cloud.client("ssm").get_parameter(Name="/mayfly/images/base/stable")["Parameter"]["Value"]
    return image


def _tag(mayfly: Driver, environment: str, key: str, value: str) -> None:
    """Changes one of a stack's tags, as anyone with access to the account can."""
    cloudformation: Any = mayfly.cloud.workload_client("cloudformation")
    [stack] = cloudformation.describe_stacks(StackName=stack_name(environment))["Stacks"]
    tags = {tag["Key"]: tag["Value"] for tag in stack["Tags"]} | {key: value}
    # Leaves out a parameter that has a default: to moto, which looks at no tags, this is what is new.
    kept = [one["ParameterKey"] for one in stack["Parameters"] if one["ParameterKey"] != "SubnetId"]
    cloudformation.update_stack(
        StackName=stack["StackId"],
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": name, "UsePreviousValue": True} for name in kept],
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    _until_status(mayfly, stack["StackId"], "UPDATE_COMPLETE")


def _protect(mayfly: Driver, environment: str, protected: bool) -> None:
    mayfly.cloud.workload_client("cloudformation").update_termination_protection(
        StackName=stack_name(environment), EnableTerminationProtection=protected
    )


def _launch(mayfly: Driver, environment: str, controller: str) -> str:
    """An instance outside of any stack that carries an environment's tags; returns its id."""
    tags = {"mayfly:environment": environment, "mayfly:controller": controller}
    [instance] = mayfly.cloud.workload_client("ec2").run_instances(
        ImageId=_image(mayfly),
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )["Instances"]
    identity: str = instance["InstanceId"]
    return identity


def _clean_up(mayfly: Driver, environment: str) -> None:
    """What a person does after a refusal."""
    mayfly.cloud.clear_faults()
    mayfly.cloud.workload_client("cloudformation").delete_stack(StackName=stack_name(environment))
    mayfly.until(lambda: mayfly.stacks(environment) == ["DELETE_COMPLETE"], f"{environment} is cleaned up")
