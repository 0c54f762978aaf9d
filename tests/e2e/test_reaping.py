"""What outlives its deadline is ended, and nothing else: the sweep, leases, the ladder and the switches, on the whole
installation. The table in docs/faults.md names each of these tests."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.install import WORKLOAD_STACKS
from mayfly.domain.identity import environment_id, stack_name
from mayfly.domain.timestamp import utc_text
from tests.e2e.driver import Driver, Json

pytestmark = pytest.mark.usefixtures("no_images")

DAY = 24 * 3600
WHO = {"why": "a test", "requested_by": "tester@example.com"}


def sweep(mayfly: Driver, **asked: Any) -> Json:
    """Has the deployed function sweep now; returns its report.

    Let through by a person, for other tests leave environments behind that are due as well. TestCaps does without.
    """
    now = asked.pop("now", utc_text(mayfly.cloud.now()))
    detail = {"at_most": 1000, **WHO, **asked}
    event = {
        "version": "0", "id": "4d1c7c54-4a4c-4a27-a4f0-0e9c4b8a1a60", "detail-type": "Sweep Requested",
        "source": "mayfly.operator", "account": "111111111111", "time": now, "sent": now,
        "region": "us-east-1", "resources": [],
        "detail": detail,
    }  # fmt: skip
    return invoke(mayfly, event)


def invoke(mayfly: Driver, event: Json) -> Json:
    """Invokes the deployed function; returns its report."""
    reply = mayfly.cloud.client("lambda").invoke(
        FunctionName="mayfly-sweep-environments", Payload=json.dumps(event).encode()
    )
    report: Json = json.loads(reply["Payload"].read())
    assert "counts" in report, report
    return report


def pass_time(mayfly: Driver, seconds: float) -> None:
    """Moves the clock on, and waits until the sweep that is due by then has run."""
    mayfly.passes(seconds, "sweep-environments")


def decided(report: Json, environment: str) -> tuple[str, str]:
    """What a sweep decided about an environment, and why; keep where it says nothing."""
    found = [d for d in report["decisions"] if d["environment"] == environment]
    return (found[0]["action"], found[0]["reason"]) if found else ("keep", "")


def abort(mayfly: Driver, environment: str) -> None:
    """Stops an environment's execution, as an operator can: nobody waits for it any more."""
    arn = mayfly.execution(environment)["executionArn"]
    mayfly.cloud.client("stepfunctions").stop_execution(executionArn=arn)


def gone(mayfly: Driver, environment: str) -> None:
    """Waits until nothing is left of an environment, and its record says so."""
    mayfly.until(
        lambda: mayfly.record(environment).get("stage") == "terminated" or None,
        f"{environment} is terminated",
        lambda: mayfly.record(environment),
    )
    assert mayfly.nothing_is_left(environment)


@pytest.fixture(autouse=True)
def _switched_off(mayfly: Driver) -> Iterator[None]:
    """No test leaves the kill switch on."""
    yield
    mayfly.cloud.client("ssm").put_parameter(Name="/mayfly/kill-switch", Value="off", Type="String", Overwrite=True)


class TestTheSweep:
    def test_leaves_alone_what_lives_or_ends_by_itself(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        assert decided(sweep(mayfly), environment)[0] == "keep"
        assert mayfly.record(environment)["stage"] == "awaiting tests"

    def test_ends_what_nobody_ends(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        abort(mayfly, environment)
        mayfly.cloud.advance(DAY + 60)
        action, reason = decided(sweep(mayfly), environment)
        # The scheduled sweep may have been faster: then this one finds it being ended, or gone.
        assert action in ("end", "keep"), reason
        gone(mayfly, environment)
        assert mayfly.record(environment)["ending"]["outcome"] == "expired"
        mayfly.announcement("Environment Terminated", environment)

    def test_runs_by_itself(self, mayfly: Driver) -> None:
        pass_time(mayfly, 600)
        assert not [row for row in mayfly.invocations("sweep-environments") if row["error"]]

    def test_gives_back_an_end_to_what_nobody_waits_for(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        abort(mayfly, environment)
        # Its execution may only not be listed yet: what has just begun is left alone for a quarter of an hour.
        assert decided(sweep(mayfly), environment)[0] == "keep"
        pass_time(mayfly, 16 * 60)
        sweep(mayfly)
        mayfly.until(lambda: ("adopted" in dict(mayfly.history(mayfly.record(environment)))) or None, "it is adopted")
        mayfly.until(lambda: mayfly.history(mayfly.record(environment))[-1][0] == "awaiting tests" or None, "it waits")
        mayfly.finish(environment)
        gone(mayfly, environment)
        assert mayfly.record(environment)["ending"]["outcome"] == "passed"

    def test_works_without_the_record(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        abort(mayfly, environment)
        mayfly.cloud.client("dynamodb").delete_item(
            TableName=mayfly.outputs["TableName"], Key={"pk": {"S": f"environment#{environment}"}}
        )
        mayfly.cloud.advance(DAY + 60)
        sweep(mayfly)
        gone(mayfly, environment)

    def test_closes_a_record_of_nothing(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        abort(mayfly, environment)
        cloudformation = mayfly.cloud.workload_client("cloudformation")
        cloudformation.delete_stack(StackName=stack_name(environment))
        mayfly.until(lambda: mayfly.nothing_is_left(environment) or None, "its stack is gone")
        mayfly.cloud.advance(1200)
        sweep(mayfly)
        gone(mayfly, environment)

    def test_ends_what_a_stack_left_behind(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        ec2 = mayfly.cloud.workload_client("ec2")
        labels = [
            {"Key": "mayfly:environment", "Value": environment},
            {"Key": "mayfly:controller", "Value": mayfly.outputs["Controller"]},
        ]
        made = {"ResourceType": "volume", "Tags": labels}
        volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=[made])["VolumeId"]
        mayfly.finish(environment)
        gone(mayfly, environment)  # its own life has chased it
        mayfly.end(environment)  # while its execution runs, a sweep leaves to it what is left
        again = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=[made])["VolumeId"]
        action, reason = decided(sweep(mayfly), environment)
        assert (action, reason) == ("end", "1 resources are left without a stack")

        def left() -> list[str]:
            return [found["VolumeId"] for found in ec2.describe_volumes()["Volumes"]]

        mayfly.until(lambda: not {volume, again} & set(left()) or None, "both volumes are gone", left)

    def test_never_touches_what_is_not_ours(self, mayfly: Driver) -> None:
        cloudformation = mayfly.cloud.workload_client("cloudformation")
        foreign = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
        for name, controller in (("mayfly-foreign-1", "999999999999/us-east-1/mayfly"), ("mayfly-foreign-2", None)):
            tags = [{"Key": "mayfly:expires-at", "Value": "2020-01-01T00:00:00Z"}]
            tags += [{"Key": "mayfly:controller", "Value": controller}] if controller else []
            cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(foreign), Tags=tags)
        mayfly.cloud.advance(2 * DAY)
        report = sweep(mayfly)
        assert decided(report, "foreign-1")[0] == "keep"
        action, reason = decided(report, "foreign-2")
        assert action == "refuse"
        assert "does not carry the tag mayfly:controller" in reason
        standing = [s["StackName"] for s in cloudformation.describe_stacks()["Stacks"]]
        assert {"mayfly-foreign-1", "mayfly-foreign-2", *WORKLOAD_STACKS} <= set(standing)
        for name in ("mayfly-foreign-1", "mayfly-foreign-2"):
            cloudformation.delete_stack(StackName=name)

    def test_never_touches_what_is_protected(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        cloudformation = mayfly.cloud.workload_client("cloudformation")
        cloudformation.update_termination_protection(
            StackName=stack_name(environment), EnableTerminationProtection=True
        )
        abort(mayfly, environment)
        mayfly.cloud.advance(DAY + 60)
        action, reason = decided(sweep(mayfly), environment)
        assert action == "refuse"
        assert "termination protection is on" in reason
        assert mayfly.stacks(environment) == ["CREATE_COMPLETE"]
        cloudformation.update_termination_protection(
            StackName=stack_name(environment), EnableTerminationProtection=False
        )
        sweep(mayfly)
        gone(mayfly, environment)

    def test_ends_all_that_is_due_with_a_fifth_of_all_calls_throttled(self, mayfly: Driver) -> None:
        suites = [f"s{number}" for number in range(10)]
        release = mayfly.push(mayfly.application(suites=suites))
        environments = [environment_id(release, suite) for suite in suites]
        for environment in environments:
            mayfly.life(environment, "awaiting tests")
        due, kept = environments[:6], environments[6:]
        for environment in due:
            abort(mayfly, environment)
        for environment in kept:
            mayfly.say("Environment Extension Requested", [{"environment": environment, "minutes": 2000, **WHO}])
        mayfly.until(
            lambda: all("Extension" in json.dumps(mayfly.record(e)["history"]) for e in kept) or None, "extensions"
        )
        mayfly.cloud.fault("workload", action="*", error="Throttling", rate=0.2, message="Rate exceeded")
        mayfly.cloud.advance(DAY + 60)

        def swept() -> bool:
            """One sweep may see nothing for all the throttling: the next ones come every five minutes."""
            pass_time(mayfly, 300)
            return {mayfly.record(environment)["stage"] for environment in due} == {"terminated"}

        mayfly.until(swept, "all that is due is gone", lambda: [mayfly.record(environment) for environment in due])
        mayfly.cloud.clear_faults()
        for environment in due:
            gone(mayfly, environment)
        assert {mayfly.record(environment)["stage"] for environment in kept} == {"awaiting tests"}
        for environment in kept:
            mayfly.finish(environment)
            gone(mayfly, environment)


class TestCaps:
    def test_above_them_nothing_is_ended_until_a_person_lets_it_through(self, mayfly: Driver) -> None:
        suites = [f"c{number}" for number in range(5)]
        release = mayfly.push(mayfly.application(suites=suites))
        environments = [environment_id(release, suite) for suite in suites]
        for environment in environments:
            mayfly.life(environment, "awaiting tests")
        for environment in environments:
            abort(mayfly, environment)
            # What has a deadline by its record is ended in any case: the caps are for what tags alone say.
            key = {"pk": {"S": f"environment#{environment}"}}
            mayfly.cloud.client("dynamodb").delete_item(TableName=mayfly.outputs["TableName"], Key=key)
        mayfly.cloud.advance(DAY + 60)
        report = invoke(mayfly, {"now": utc_text(mayfly.cloud.now())})
        assert "environments are to be ended; " in report["halted"]
        assert report["counts"]["end"] >= len(environments)
        assert {mayfly.stacks(environment)[0] for environment in environments} == {"CREATE_COMPLETE"}
        # A sweep by the schedule may have been halted as well: the clock has gone by its time.
        heard = mayfly.until(
            lambda: [
                one["detail"]
                for one in mayfly.announcements()
                if one["detail-type"] == "Sweep Halted" and one["detail"]["key"] == report["key"]
            ],
            "people are told",
        )
        assert heard[0]["halted"] == report["halted"]
        mayfly.say("Sweep Requested", [{"at_most": 1000, **WHO}])
        for environment in environments:
            gone(mayfly, environment)


class TestDryRun:
    def test_reports_what_the_real_run_does_and_does_nothing(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        abort(mayfly, environment)
        mayfly.cloud.client("ssm").put_parameter(
            Name="/mayfly/kill-switch", Value="hold the scheduled sweep", Type="String", Overwrite=True
        )
        pass_time(mayfly, DAY + 60)
        mayfly.cloud.client("ssm").put_parameter(Name="/mayfly/kill-switch", Value="off", Type="String", Overwrite=True)
        now = utc_text(mayfly.cloud.now())
        # What earlier tests began must not end between the two.
        others = "nothing but this environment is there"
        mayfly.until(lambda: sweep(mayfly, now=now, dry_run=True)["counts"]["keep"] == 0 or None, others)
        dry, real = sweep(mayfly, now=now, dry_run=True), sweep(mayfly, now=now)
        assert decided(dry, environment)[0] == "end"
        own = {"key", "dry_run"}
        assert {k: v for k, v in dry.items() if k not in own} == {k: v for k, v in real.items() if k not in own}
        assert dry["key"] != real["key"], "a report each, although they are of the same moment"
        gone(mayfly, environment)


class TestTheKillSwitch:
    def test_stops_what_runs_already_and_lets_it_go_on_later(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.say("Kill Switch Set", [{"on": True, "why": "an incident", "set_by": "ops"}])
        ssm = mayfly.cloud.client("ssm")
        mayfly.until(
            lambda: (
                ssm.get_parameter(Name="/mayfly/kill-switch")["Parameter"]["Value"].startswith('{"on": true') or None
            ),
            "the switch is on",
        )
        mayfly.finish(environment)
        mayfly.until(
            lambda: [row for row in mayfly.invocations("delete-environment", environment) if row["error"]],
            "the deletion is refused",
        )
        assert mayfly.stacks(environment) == ["CREATE_COMPLETE"]
        assert sweep(mayfly)["halted"].startswith("the kill switch is on: ops (says mayfly.operator) at")
        mayfly.say("Kill Switch Set", [{"on": False, "why": "over", "set_by": "ops"}])
        gone(mayfly, environment)


class TestLeases:
    def test_an_extension_moves_the_deadline_and_the_wait(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        before = mayfly.record(environment)["deadline"]
        mayfly.say("Environment Extension Requested", [{"environment": environment, "minutes": 120, **WHO}])
        said = mayfly.announcement("Environment Extended", environment)
        assert said["deadline"] > before
        mayfly.cloud.advance(DAY + 3600)
        assert decided(sweep(mayfly), environment)[0] == "keep"
        assert mayfly.record(environment)["stage"] == "awaiting tests"
        mayfly.cloud.advance(2 * 3600)
        gone(mayfly, environment)

    def test_no_extension_passes_the_ceiling(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application(lifetime_minutes=60, ceiling_minutes=90))
        for _ in range(3):
            mayfly.say("Environment Extension Requested", [{"environment": environment, "minutes": 600, **WHO}])
        mayfly.until(
            lambda: len([x for x in mayfly.history(mayfly.record(environment)) if "Extension" in x[0]]) == 3 or None,
            "all three are in the record",
        )
        record = mayfly.record(environment)
        assert record["deadline"] == record["ceiling"]
        assert sum(why.startswith("refused") for _, why in mayfly.history(record)) == 2
        mayfly.cloud.advance(91 * 60)
        gone(mayfly, environment)

    def test_owners_are_warned_once_before_the_deadline_and_told_how_to_extend(self, mayfly: Driver) -> None:
        sns, sqs = mayfly.cloud.client("sns"), mayfly.cloud.client("sqs")
        topic = sns.create_topic(Name="mayfly-team")["TopicArn"]
        queue = sqs.create_queue(QueueName="team")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allowed = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        environment = mayfly.begin(mayfly.application(owner_topic=topic))
        mayfly.cloud.advance(DAY - 100 * 60)
        for _ in range(2):
            sweep(mayfly)
        said = mayfly.announcement("Environment Expiring", environment)
        assert said["to_extend"]["environment"] == environment
        told: dict[str, str] = {}

        def warned() -> list[str]:
            for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
                told[message["MessageId"]] = json.loads(message["Body"])["Message"]
            return [text for text in told.values() if "Environment Extension Requested" in text]

        (warning,) = mayfly.until(warned, "the owner is warned", lambda: told)
        assert environment in warning
        # Besides, they heard once that it was ready.
        assert len(told) == 2
        mayfly.finish(environment)
        gone(mayfly, environment)

    def test_a_termination_request_ends_one_at_once(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.say("Environment Termination Requested", [{"environment": environment, **WHO}])
        gone(mayfly, environment)
        assert mayfly.record(environment)["ending"]["outcome"] == "cancelled"

    def test_a_termination_request_ends_even_what_is_being_built(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", stack="create", effect="slow", seconds=600, times=1)
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")
        mayfly.life(environment, "creating")
        mayfly.until(lambda: mayfly.stacks(environment) or None, "its stack is being built")
        mayfly.say("Environment Termination Requested", [{"environment": environment, **WHO}])
        gone(mayfly, environment)

    def test_extension_and_termination_in_the_same_moment_have_one_winner(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        asked = {"environment": environment, **WHO}
        mayfly.put(
            [
                {"DetailType": "Environment Extension Requested", "Detail": json.dumps(asked | {"minutes": 60})},
                {"DetailType": "Environment Termination Requested", "Detail": json.dumps(asked)},
            ]
        )
        gone(mayfly, environment)
        record = mayfly.record(environment)
        assert record["ending"]["by"] == "request"


class TestTheLadder:
    def test_what_blocks_is_named_and_kept_and_the_rest_goes(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application(instances=2, blueprint="fleet.yaml"))
        mayfly.cloud.fault(
            "workload", stack="delete", environment=environment, effect="delete_failed",
            resource="Fleet", reason="an instance does not end", times=3,
        )  # fmt: skip
        mayfly.finish(environment)
        gone(mayfly, environment)
        rungs = [what for what, _ in mayfly.history(mayfly.record(environment)) if "delete" in what or "mend" in what]
        assert rungs == ["mend what blocks, then delete"] * 2 + ["delete, and keep what blocks"]
        assert "an instance does not end" in json.dumps(mayfly.record(environment)["history"])
        assert not mayfly.instances_left(environment)

    def test_what_never_goes_is_handed_to_a_person_and_not_tried_for_ever(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application())
        mayfly.cloud.fault(
            "workload", stack="delete", environment=environment, effect="delete_failed",
            resource="Instance", reason="somebody holds on to it",
        )  # fmt: skip
        mayfly.finish(environment)
        execution = mayfly.end(environment)
        assert execution["error"] == "HandedOver"
        assert "somebody holds on to it" in execution["cause"]
        assert not mayfly.instances_left(environment)
        assert mayfly.calls(environment)["DeleteStack"] == 4
        action, reason = decided(sweep(mayfly), environment)
        assert action == "refuse"
        assert reason.startswith("it was handed over to a person")
        # A person sees to it; the next sweep closes the record.
        mayfly.cloud.clear_faults()
        mayfly.cloud.workload_client("cloudformation").delete_stack(StackName=stack_name(environment))
        mayfly.until(lambda: mayfly.nothing_is_left(environment) or None, "a person deleted the stack")
        mayfly.cloud.advance(1200)
        sweep(mayfly)
        gone(mayfly, environment)
