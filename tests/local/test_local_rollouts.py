"""Services, and the instance refreshes that replace what they consist of."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_toys import BUS_ARN, Toys, ToyService, eventually
from rich.console import Console

from local.client import Client
from local.cloud import LocalCloud
from local.demo.rollout_story import Story, tell

PACE = 120
REFRESH = "EC2 Auto Scaling Instance Refresh"


@pytest.fixture
def hurry(cloud: LocalCloud) -> Iterator[None]:
    with cloud.hurry(PACE):
        yield


@pytest.fixture
def service(hurry: None, toys: Toys) -> Iterator[ToyService]:
    service = toys.service(4)
    yield service
    toys.cloud.clear_faults()
    service.gone()


@pytest.fixture
def heard(cloud: LocalCloud, toys: Toys) -> Iterator[Any]:
    """The events of Auto Scaling and CloudWatch that reach the bus `mayfly` by a rule of the workload account."""
    queue, queue_arn = toys.queue()
    events, forward, name = cloud.client("events"), cloud.workload_client("events"), toys.name("rollouts")
    if "mayfly" not in [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]:
        events.create_event_bus(Name="mayfly")
    pattern = json.dumps({"source": ["aws.autoscaling", "aws.cloudwatch"]})
    events.put_rule(Name=name, EventBusName="mayfly", EventPattern=pattern)
    events.put_targets(Rule=name, EventBusName="mayfly", Targets=[{"Id": "queue", "Arn": queue_arn}])
    forward.put_rule(Name=name, EventPattern=pattern)
    forward.put_targets(Rule=name, Targets=[{"Id": "bus", "Arn": BUS_ARN}])
    collected: list[dict[str, Any]] = []

    def events_of(refresh: str) -> list[dict[str, Any]]:
        collected.extend(toys.messages(queue))
        return [event for event in collected if event["detail"].get("InstanceRefreshId") == refresh]

    events_of.all = collected  # type: ignore[attr-defined]
    yield events_of
    forward.remove_targets(Rule=name, Ids=["bus"])
    events.remove_targets(Rule=name, EventBusName="mayfly", Ids=["queue"])
    events.delete_rule(Name=name, EventBusName="mayfly")


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["detail-type"].removeprefix(f"{REFRESH} ") for event in events]


def refusal(call: Any, *arguments: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(*arguments, **options)
    error = refused.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


def alarms(service: ToyService) -> dict[str, Any]:
    return {
        "AutoRollback": True,
        "AlarmSpecification": {"Alarms": [service.output("Errors"), service.output("Unhealthy")]},
    }


def instances(service: ToyService) -> set[str]:
    return {one["InstanceId"] for one in service.staying()}


def sizes(service: ToyService) -> list[int]:
    """How many instances the group has had, one activity after the other."""
    found = service.autoscaling.describe_scaling_activities(AutoScalingGroupName=service.name)["Activities"]
    steps = {"Launching": 1, "Terminating": -1}
    return list(accumulate(steps[one["Description"].split()[0]] for one in reversed(found)))


# ---- services ------------------------------------------------------------------------------------------


def test_instances_are_spread_over_the_zones_and_answer_with_what_they_are(service: ToyService) -> None:
    assert sorted(service.zones()) == ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1c"]
    with Client(service.balancer()["url"], rate=400) as client:
        eventually(lambda: client.counts.sent > 40)
    assert set(client.counts.zones) == {"us-east-1a", "us-east-1b", "us-east-1c"}
    assert set(client.counts.versions) == {"1.0"}
    assert set(client.counts.images) == {"ami-12c6146b"}
    health = service.cloud.workload_client("elbv2").describe_target_health(TargetGroupArn=service.output("TargetGroup"))
    states = {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in health["TargetHealthDescriptions"]}
    assert states == dict.fromkeys(instances(service), "healthy")


def test_an_unhealthy_instance_is_replaced(service: ToyService) -> None:
    [sick, *_] = before = sorted(instances(service))
    service.autoscaling.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    eventually(lambda: sick not in instances(service) and service.targets() == {"healthy": 4})
    assert len(instances(service) & set(before)) == 3
    activities = service.autoscaling.describe_scaling_activities(AutoScalingGroupName=service.name)["Activities"]
    assert f"Terminating EC2 instance: {sick}" in [one["Description"] for one in activities]


def test_an_instance_that_somebody_terminates_comes_back(service: ToyService) -> None:
    [victim, *_] = instances(service)
    service.cloud.workload_client("ec2").terminate_instances(InstanceIds=[victim])
    eventually(lambda: victim not in instances(service) and service.targets() == {"healthy": 4})


def test_an_instance_that_fails_its_checks_is_replaced_after_the_grace_period(service: ToyService) -> None:
    before = instances(service)
    service.cloud.fault("workload", serving="unhealthy", environment=service.environment, zone="us-east-1b")
    eventually(lambda: len(before & instances(service)) == 3)
    service.cloud.clear_faults()
    eventually(lambda: service.targets() == {"healthy": 4})


def test_without_capacity_in_one_zone_the_next_one_is_taken(service: ToyService) -> None:
    service.cloud.fault("workload", no_capacity="us-east-1c")
    [victim] = [one["InstanceId"] for one in service.group()["Instances"] if one["AvailabilityZone"] == "us-east-1c"]
    service.autoscaling.set_instance_health(InstanceId=victim, HealthStatus="Unhealthy")
    eventually(lambda: victim not in instances(service) and service.targets() == {"healthy": 4})
    assert "us-east-1c" not in service.zones()
    activities = service.autoscaling.describe_scaling_activities(AutoScalingGroupName=service.name)["Activities"]
    [failed] = [one for one in activities if one["StatusCode"] == "Failed"]
    assert "do not have sufficient m5.large capacity" in failed["StatusMessage"]
    assert "us-east-1c" in failed["StatusMessage"]


def test_the_loss_of_a_zone_is_survived(service: ToyService) -> None:
    with Client(service.balancer()["url"], rate=300) as client:
        eventually(lambda: client.counts.sent > 30)
        service.cloud.fault("workload", outage="us-east-1a")
        eventually(lambda: "us-east-1a" not in service.zones() and service.targets() == {"healthy": 4})
        sent = client.counts.sent
        eventually(lambda: client.counts.sent > sent + 30)
    assert client.counts.failed == 0  # with the retries of an ordinary client
    assert client.counts.errors > 0  # without: the load balancer sends to the dead until their checks have failed
    assert set(client.counts.statuses) == {200, 504}


def test_nothing_reaching_an_instance_fails_its_status_check(service: ToyService) -> None:
    [lost] = [one["InstanceId"] for one in service.group()["Instances"] if one["AvailabilityZone"] == "us-east-1b"]
    service.autoscaling.update_auto_scaling_group(AutoScalingGroupName=service.name, HealthCheckGracePeriod=100_000)
    processes = {"AutoScalingGroupName": service.name, "ScalingProcesses": ["ReplaceUnhealthy"]}
    service.autoscaling.suspend_processes(**processes)
    service.cloud.fault("workload", outage="us-east-1b")
    describe = service.cloud.workload_client("ec2").describe_instance_status

    def status() -> str:
        return str(describe(InstanceIds=[lost])["InstanceStatuses"][0]["InstanceStatus"]["Status"])

    assert status() == "ok"
    eventually(lambda: status() == "impaired")
    assert lost in instances(service)
    service.autoscaling.resume_processes(**processes)
    eventually(lambda: lost not in instances(service))  # before the load balancer's checks count


# ---- refreshes -----------------------------------------------------------------------------------------


def test_a_good_version_replaces_all_and_nobody_notices(heard: Any, service: ToyService) -> None:
    before = instances(service)
    service.update(CodeVersion="2.0")
    service.cloud.watch_fewest()
    with Client(service.balancer()["url"], rate=500) as client:
        refresh = service.refresh(CheckpointPercentages=[25, 50, 100], CheckpointDelay=30, **alarms(service))
        done = service.becomes("Successful")
        sent = client.counts.versions["2.0"]
        eventually(lambda: client.counts.versions["2.0"] > sent + 20)
    assert (client.counts.errors, client.counts.failed) == (0, 0)
    assert client.counts.versions["1.0"] > 0
    assert service.balancer()["fewest_healthy"] == 4
    assert service.versions() == ["2"] * 4
    assert service.group()["LaunchTemplate"]["Version"] == "2"
    assert not before & instances(service)
    assert (done["PercentageComplete"], done["InstancesToUpdate"]) == (100, 0)
    assert done["EndTime"] > done["StartTime"]
    eventually(lambda: names(heard(refresh)) == ["Started", "Checkpoint Reached", "Checkpoint Reached", "Succeeded"])
    first = heard(refresh)[1]
    group_arn = service.group()["AutoScalingGroupARN"]
    assert (first["source"], first["account"], first["resources"]) == ("aws.autoscaling", "222222222222", [group_arn])
    assert first["detail"] == {
        "InstanceRefreshId": refresh,
        "AutoScalingGroupName": service.name,
        "CheckpointPercentage": "25",
        "CheckpointDelay": "30",
    }


def test_it_waits_at_a_checkpoint_with_no_more_new_ones_than_the_checkpoint_wants(
    toys: Toys, cloud: LocalCloud
) -> None:
    with cloud.hurry(PACE):
        service = toys.service(5)
        service.update(CodeVersion="2.0")
        service.refresh(CheckpointPercentages=[10, 100], CheckpointDelay=7200)
        eventually(lambda: service.refreshed().get("PercentageComplete") == 20)
    eventually(lambda: sorted(service.versions()) == ["1", "1", "1", "1", "2"])
    assert service.targets() == {"healthy": 5}
    assert service.group()["LaunchTemplate"]["Version"] == "1"  # what else is launched is not yet the new one's turn
    cloud.advance(7200)
    with cloud.hurry(PACE):
        service.becomes("Successful")
        service.gone()


@pytest.mark.parametrize("serving", ["unhealthy", "refuses"])
def test_a_version_that_never_gets_healthy_is_rolled_back_and_only_one_was_tried(
    heard: Any, service: ToyService, serving: str
) -> None:
    before = instances(service)
    service.cloud.fault("workload", serving=serving, version="2.0")
    service.update(CodeVersion="2.0")
    service.cloud.watch_fewest()
    with Client(service.balancer()["url"], rate=300) as client:
        refresh = service.refresh(CheckpointPercentages=[25, 100], CheckpointDelay=30, **alarms(service))
        seen: set[str] = set()

        def rolled_back() -> bool:
            seen.add("".join(sorted(service.versions())))
            return bool(service.refreshed()["Status"] == "RollbackSuccessful")

        eventually(rolled_back)
    assert (client.counts.errors, client.counts.failed) == (0, 0)
    assert set(client.counts.versions) == {"1.0"}
    assert max(one.count("2") for one in seen) == 1
    assert instances(service) == before
    assert service.versions() == ["1"] * 4
    assert service.group()["LaunchTemplate"]["Version"] == "1"
    assert service.balancer()["fewest_healthy"] == 4
    details = service.refreshed()["RollbackDetails"]
    assert details["PercentageCompleteOnRollback"] == 0
    assert details["InstancesToUpdateOnRollback"] == 4
    assert service.output("Unhealthy") in details["RollbackReason"]
    eventually(lambda: names(heard(refresh)) == ["Started", "Rollback Started", "Rollback Succeeded"])


def test_errors_while_it_soaks_fire_the_alarm_and_roll_back(heard: Any, service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    with Client(service.balancer()["url"], rate=300) as client:
        refresh = service.refresh(CheckpointPercentages=[25, 100], CheckpointDelay=7200, **alarms(service))
        eventually(lambda: "Checkpoint Reached" in names(heard(refresh)))
        service.cloud.fault("workload", serving="errors", version="2.0", share=0.5)
        service.becomes("RollbackSuccessful")
    assert client.counts.statuses[500] > 5
    assert service.versions() == ["1"] * 4
    eventually(lambda: names(heard(refresh))[-1] == "Rollback Succeeded")
    changes = [one["detail"] for one in heard.all if one["detail"].get("alarmName") == service.output("Errors")]
    assert [one["state"]["value"] for one in changes][:2] == ["OK", "ALARM"]
    alarm = service.cloud.workload_client("cloudwatch").describe_alarms(AlarmNames=[service.output("Errors")])
    assert alarm["MetricAlarms"][0]["StateReason"].startswith("Threshold Crossed")


def test_without_auto_rollback_it_fails_and_leaves_what_there_is(heard: Any, service: ToyService) -> None:
    service.cloud.fault("workload", serving="unhealthy", version="2.0")
    service.update(CodeVersion="2.0")
    specification = {"AlarmSpecification": {"Alarms": [service.output("Unhealthy")]}}
    refresh = service.refresh(**specification)
    failed = service.becomes("Failed")
    assert "ALARM" in failed["StatusReason"]
    eventually(lambda: names(heard(refresh)) == ["Started", "Failed"])
    eventually(lambda: service.targets() == {"healthy": 4} and service.versions() == ["1"] * 4)


def test_nothing_moving_for_an_hour_fails_it(service: ToyService) -> None:
    service.cloud.fault("workload", serving="refuses", version="2.0")
    service.update(CodeVersion="2.0")
    service.refresh(AutoRollback=True)
    eventually(lambda: service.refreshed()["Status"] == "InProgress")
    service.cloud.advance(3600)
    assert "an hour" in service.becomes("RollbackSuccessful")["RollbackDetails"]["RollbackReason"]


def test_a_rollback_by_hand_returns_to_the_version_that_the_group_has(heard: Any, service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    service.cloud.watch_fewest()
    refresh = service.refresh(CheckpointPercentages=[50, 100], CheckpointDelay=7200)
    eventually(lambda: "Checkpoint Reached" in names(heard(refresh)))
    service.autoscaling.rollback_instance_refresh(AutoScalingGroupName=service.name)
    assert refusal(service.refresh)[0] == "InstanceRefreshInProgress"
    done = service.becomes("RollbackSuccessful")
    assert done["RollbackDetails"]["PercentageCompleteOnRollback"] == 50
    assert done["RollbackDetails"]["InstancesToUpdateOnRollback"] == done["InstancesToUpdate"] == 2
    assert done["PercentageComplete"] == 0
    assert service.versions() == ["1"] * 4
    assert service.balancer()["fewest_healthy"] == 4


def test_a_cancelled_refresh_stops_where_it_is(heard: Any, service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    refresh = service.refresh(CheckpointPercentages=[50, 100], CheckpointDelay=7200)
    eventually(lambda: "Checkpoint Reached" in names(heard(refresh)))
    assert (
        service.autoscaling.cancel_instance_refresh(AutoScalingGroupName=service.name)["InstanceRefreshId"] == refresh
    )
    service.becomes("Cancelled")
    assert sorted(service.versions()) == ["1", "1", "2", "2"]
    assert service.group()["LaunchTemplate"]["Version"] == "1"
    code, _ = refusal(service.autoscaling.cancel_instance_refresh, AutoScalingGroupName=service.name)
    assert code == "ActiveInstanceRefreshNotFound"
    code, _ = refusal(service.autoscaling.rollback_instance_refresh, AutoScalingGroupName=service.name)
    assert code == "ActiveInstanceRefreshNotFound"


def test_what_has_the_desired_configuration_already_is_skipped(service: ToyService) -> None:
    before = instances(service)
    service.update(CodeVersion="2.0")
    service.refresh(version=1, SkipMatching=True)
    assert service.becomes("Successful")["PercentageComplete"] == 100
    assert instances(service) == before


def test_without_a_desired_configuration_all_are_replaced_by_their_like(service: ToyService) -> None:
    before = instances(service)
    service.refresh(version=None)
    service.becomes("Successful")
    assert service.versions() == ["1"] * 4
    assert not before & instances(service)


@pytest.mark.parametrize(
    ("preferences", "fewest", "most"),
    [
        ({"MinHealthyPercentage": 50, "MaxHealthyPercentage": 100}, 2, 4),
        ({"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200}, 4, 8),
        ({"MinHealthyPercentage": 100, "MaxHealthyPercentage": 100}, 4, 5),
    ],
)
def test_it_never_falls_below_the_minimum_nor_exceeds_the_maximum(
    service: ToyService, preferences: dict[str, Any], fewest: int, most: int
) -> None:
    service.update(CodeVersion="2.0")
    service.cloud.watch_fewest()
    service.refresh(**preferences)
    service.becomes("Successful")
    assert service.balancer()["fewest_healthy"] == fewest
    assert max(sizes(service)) == most


def test_without_a_maximum_all_healthy_means_one_at_a_time(service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    service.cloud.watch_fewest()
    template = {"LaunchTemplateId": service.output("LaunchTemplateId"), "Version": "2"}
    service.autoscaling.start_instance_refresh(
        AutoScalingGroupName=service.name,
        DesiredConfiguration={"LaunchTemplate": template},
        Preferences={"MinHealthyPercentage": 100, "InstanceWarmup": 0},
    )
    service.becomes("Successful")
    assert service.balancer()["fewest_healthy"] == 3


def test_it_waits_for_instances_that_are_protected_from_scale_in(service: ToyService) -> None:
    [protected, *_] = instances(service)
    protect = service.autoscaling.set_instance_protection
    protect(AutoScalingGroupName=service.name, InstanceIds=[protected], ProtectedFromScaleIn=True)
    service.update(CodeVersion="2.0")
    service.refresh(ScaleInProtectedInstances="Wait")
    eventually(lambda: service.refreshed().get("PercentageComplete") == 75)
    protect(AutoScalingGroupName=service.name, InstanceIds=[protected], ProtectedFromScaleIn=False)
    service.becomes("Successful")


@pytest.mark.parametrize(("choice", "stays"), [("Terminate", False), ("Ignore", True)])
def test_what_becomes_of_instances_in_standby_is_chosen(service: ToyService, choice: str, stays: bool) -> None:
    [resting, *_] = instances(service)
    service.autoscaling.enter_standby(
        AutoScalingGroupName=service.name, InstanceIds=[resting], ShouldDecrementDesiredCapacity=True
    )
    service.update(CodeVersion="2.0")
    service.refresh(StandbyInstances=choice)
    service.becomes("Successful")
    eventually(lambda: (resting in instances(service)) == stays)
    assert service.versions().count("2") == 3


def test_it_bakes_at_the_end(heard: Any, service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    refresh = service.refresh(BakeTime=7200)
    eventually(lambda: service.refreshed()["Status"] == "Baking")
    assert service.group()["LaunchTemplate"]["Version"] == "1"
    service.cloud.advance(7200)
    service.becomes("Successful")
    eventually(lambda: names(heard(refresh)) == ["Started", "Started Baking", "Succeeded"])


def test_the_loss_of_a_zone_in_the_middle_is_survived(service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    with Client(service.balancer()["url"], rate=300) as client:
        service.refresh(CheckpointPercentages=[25, 100], CheckpointDelay=1200)
        eventually(lambda: service.refreshed().get("PercentageComplete") == 25)
        service.cloud.fault("workload", outage="us-east-1b")
        service.becomes("Successful")
    assert client.counts.failed == 0
    assert "us-east-1b" not in service.zones()
    assert service.versions() == ["2"] * 4


def test_missing_capacity_everywhere_pauses_it(service: ToyService) -> None:
    service.update(CodeVersion="2.0")
    service.cloud.fault("workload", no_capacity="*")
    service.refresh()

    def failures() -> int:
        described = service.autoscaling.describe_scaling_activities(AutoScalingGroupName=service.name)
        return sum(one["StatusCode"] == "Failed" for one in described["Activities"])

    eventually(lambda: failures() >= 6)  # tried, and tried again
    assert service.refreshed()["PercentageComplete"] == 0
    assert service.targets() == {"healthy": 4}
    service.cloud.clear_faults()
    service.becomes("Successful")


def test_its_events_can_be_lost(heard: Any, service: ToyService) -> None:
    service.cloud.fault("workload", event=f"{REFRESH} Succeeded", effect="lose")
    refresh = service.refresh(version=1, SkipMatching=True)
    service.becomes("Successful")
    other = service.refresh(version=1, SkipMatching=True, BakeTime=1)
    eventually(lambda: "Started Baking" in names(heard(other)))
    assert names(heard(refresh)) == ["Started"]


def test_the_story_of_a_rollout_is_told(service: ToyService) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)

    def start(story: Story) -> None:
        story.say("version 2.0 is on its way")
        service.update(CodeVersion="2.0")
        service.refresh(CheckpointPercentages=[25, 100], CheckpointDelay=30)

    figures = tell(console, service.cloud, service.stack, start, lambda: service.refreshed()["Status"] == "Successful")
    assert figures["failed_after_retries"] == figures["errors"] == 0
    assert figures["fewest_healthy"] == 4
    assert set(figures["answers_by_version"]) == {"1.0", "2.0"}
    told = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("version 2.0 is on its way", "checkpoint 25 %", "every instance is replaced", "us-east-1c"):
        assert words in told


# ---- refusals ------------------------------------------------------------------------------------------


def test_there_is_one_refresh_at_a_time(service: ToyService) -> None:
    service.refresh(version=1, SkipMatching=True, BakeTime=7200)
    assert refusal(service.refresh, 1)[0] == "InstanceRefreshInProgress"
    eventually(lambda: service.refreshed()["Status"] == "Baking")
    service.cloud.advance(7200)
    service.becomes("Successful")


def test_no_rollback_without_a_desired_configuration(service: ToyService) -> None:
    code, message = refusal(service.refresh, None, AutoRollback=True)
    assert code == "ValidationError"
    assert "AutoRollback parameter cannot be set to true when the DesiredConfiguration parameter is empty" in message
    service.refresh(None, BakeTime=7200)
    code, _ = refusal(service.autoscaling.rollback_instance_refresh, AutoScalingGroupName=service.name)
    assert code == "IrreversibleInstanceRefresh"
    service.autoscaling.cancel_instance_refresh(AutoScalingGroupName=service.name)
    service.becomes("Cancelled")


def test_no_auto_rollback_to_a_version_without_a_number(service: ToyService) -> None:
    service.update(LaunchTemplateVersion="$Latest")
    code, message = refusal(service.refresh, 1, AutoRollback=True)
    assert (code, "$Latest or $Default" in message) == ("ValidationError", True)


@pytest.mark.parametrize(
    "preferences",
    [
        {"CheckpointPercentages": [50, 20]},
        {"CheckpointDelay": 60},
        {"MinHealthyPercentage": 50, "MaxHealthyPercentage": 160},
    ],
)
def test_preferences_are_checked(service: ToyService, preferences: dict[str, Any]) -> None:
    assert refusal(service.refresh, 1, **preferences)[0] == "ValidationError"


def test_an_unknown_group_has_no_refreshes(cloud: LocalCloud) -> None:
    describe = cloud.workload_client("autoscaling").describe_instance_refreshes
    code, message = refusal(describe, AutoScalingGroupName="nobody")
    assert (code, "nobody" in message) == ("ValidationError", True)
