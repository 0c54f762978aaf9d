"""Machines and images of the workload account: they take their time, say so, and fail as on AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_toys import BUS_ARN, SOMEBODY, Toys, eventually

from local.cloud import LocalCloud

BASE = "ami-12c6146b"
SOURCES = ["aws.ec2", "aws.ssm"]
Heard = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def quick(cloud: LocalCloud) -> Iterator[None]:
    before = cloud.settings()
    cloud.settings(bake_seconds=0.2, image_seconds=0.2, delete_seconds=0.1)
    yield
    cloud.settings(**before)


@pytest.fixture
def heard(cloud: LocalCloud, toys: Toys) -> Iterator[Heard]:
    """What reaches the bus `mayfly` about a resource: the values of one key of the events' details."""
    queue, queue_arn = toys.queue()
    events, forward = cloud.client("events"), cloud.workload_client("events")
    if "mayfly" not in [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]:
        events.create_event_bus(Name="mayfly")
    listen = toys.name("listen")
    events.put_rule(Name=listen, EventBusName="mayfly", EventPattern=json.dumps({"source": SOURCES}))
    events.put_targets(Rule=listen, EventBusName="mayfly", Targets=[{"Id": "queue", "Arn": queue_arn}])
    forward.put_rule(Name="machines", EventPattern=json.dumps({"source": SOURCES}))
    forward.put_targets(Rule="machines", Targets=[{"Id": "bus", "Arn": BUS_ARN}])
    collected: list[dict[str, Any]] = []

    def told(resource: str, key: str) -> list[str]:
        collected.extend(toys.messages(queue))
        told.events = [event for event in collected if resource in event["detail"].values()]  # type: ignore[attr-defined]
        return [event["detail"][key] for event in told.events if key in event["detail"]]  # type: ignore[attr-defined]

    yield told
    forward.remove_targets(Rule="machines", Ids=["bus"])
    forward.delete_rule(Name="machines")
    events.remove_targets(Rule=listen, EventBusName="mayfly", Ids=["queue"])
    events.delete_rule(Name=listen, EventBusName="mayfly")


class Bakery:
    """Builders and images, made as Mayfly makes them."""

    def __init__(self, cloud: LocalCloud, toys: Toys, region: str = "us-east-1") -> None:
        self.toys = toys
        self.ec2 = cloud.workload_client("ec2", region_name=region, **SOMEBODY)

    def launch(self, bake: str, **options: Any) -> str:
        request = {"ImageId": BASE, "MinCount": 1, "MaxCount": 1, "InstanceType": "m5.large", "ClientToken": bake}
        request["TagSpecifications"] = tags(("instance", "volume"), **{"mayfly:bake": bake})
        [instance] = self.ec2.run_instances(**request | options)["Instances"]
        return str(instance["InstanceId"])

    def machine(self, instance: str) -> dict[str, Any]:
        [reservation] = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
        return dict(reservation["Instances"][0])

    def state(self, instance: str) -> str:
        return str(self.machine(instance)["State"]["Name"])

    def result(self, instance: str) -> str | None:
        return tags_in(self.machine(instance)).get("mayfly:bake-result")

    def stopped(self) -> str:
        """A builder that has done its work."""
        instance = self.launch(self.toys.name("bake"))
        eventually(lambda: self.state(instance) == "stopped")
        return instance

    def image(self, **options: Any) -> str:
        """A new image, pending."""
        request = {"InstanceId": self.stopped(), "Name": self.toys.name("image")}
        return str(self.ec2.create_image(**request | options)["ImageId"])

    def available(self, **options: Any) -> str:
        image = self.image(**options)
        eventually(lambda: self.described(image)["State"] == "available")
        return image

    def described(self, image: str) -> dict[str, Any]:
        [found] = self.ec2.describe_images(ImageIds=[image], IncludeDisabled=True)["Images"]
        return dict(found)

    def references(self, image: str, *types: dict[str, Any]) -> list[tuple[str, str]]:
        chosen = {"ResourceTypes": list(types)} if types else {"IncludeAllResourceTypes": True}
        found = self.ec2.describe_image_references(ImageIds=[image], **chosen)["ImageReferences"]
        return [(one["ResourceType"], one["Arn"].rpartition(":")[2]) for one in found]


@pytest.fixture
def bakery(cloud: LocalCloud, toys: Toys) -> Bakery:
    return Bakery(cloud, toys)


def tags(kinds: tuple[str, ...], **values: str) -> list[dict[str, Any]]:
    pairs = [{"Key": key, "Value": value} for key, value in values.items()]
    return [{"ResourceType": kind, "Tags": pairs} for kind in kinds]


def tags_in(resource: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


# ---- builders ------------------------------------------------------------------------------------------


def test_a_builder_stops_itself_with_its_result_in_a_tag(heard: Heard, toys: Toys, bakery: Bakery) -> None:
    instance = bakery.launch(toys.name("bake"))
    eventually(lambda: heard(instance, "state") == ["pending", "running", "stopping", "stopped"])
    event = heard.events[-1]  # type: ignore[attr-defined]
    assert event["detail-type"] == "EC2 Instance State-change Notification"
    assert event["resources"] == [f"arn:aws:ec2:us-east-1:222222222222:instance/{instance}"]
    assert bakery.result(instance) == "ok"
    assert bakery.machine(instance)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    [ending] = bakery.ec2.terminate_instances(InstanceIds=[instance])["TerminatingInstances"]
    assert ending["CurrentState"]["Name"] == "shutting-down"
    eventually(lambda: heard(instance, "state")[4:] == ["shutting-down", "terminated"])
    bakery.ec2.terminate_instances(InstanceIds=[instance])
    assert bakery.state(instance) == "terminated"
    mine = [{"Name": "tag:mayfly:bake", "Values": [tags_in(bakery.machine(instance))["mayfly:bake"]]}]
    assert bakery.ec2.describe_volumes(Filters=mine)["Volumes"] == []


@pytest.mark.parametrize(
    ("fault", "state", "result"),
    [
        ({"effect": "fail", "reason": "puppet: exit code 6"}, "stopped", "failed: puppet: exit code 6"),
        ({"effect": "no_result"}, "stopped", None),
        ({"effect": "slow", "seconds": 60}, "running", None),
        ({"effect": "silent"}, "running", None),
    ],
)
def test_a_builder_fails_as_it_is_told(
    cloud: LocalCloud, toys: Toys, bakery: Bakery, fault: dict[str, Any], state: str, result: str | None
) -> None:
    bake = toys.name("bake")
    cloud.fault("workload", bake=bake, times=1, **fault)
    instance = bakery.launch(bake)
    eventually(lambda: bakery.state(instance) == state)
    assert bakery.result(instance) == result


def test_a_running_builder_that_is_terminated_never_reports(cloud: LocalCloud, toys: Toys, bakery: Bakery) -> None:
    bake = toys.name("bake")
    cloud.fault("workload", bake=bake, effect="slow")  # until the faults are cleared
    instance = bakery.launch(bake)
    eventually(lambda: bakery.state(instance) == "running")
    bakery.ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: bakery.state(instance) == "terminated")
    assert bakery.result(instance) is None


def test_a_builder_whose_shutdown_terminates_leaves_nothing_to_make_an_image_of(toys: Toys, bakery: Bakery) -> None:
    instance = bakery.launch(toys.name("bake"), InstanceInitiatedShutdownBehavior="terminate")
    eventually(lambda: bakery.state(instance) == "terminated")
    assert refusal(bakery.ec2.create_image, InstanceId=instance, Name=toys.name("image")) == "IncorrectState"


def test_the_same_token_launches_one_builder(toys: Toys, bakery: Bakery) -> None:
    bake = toys.name("bake")
    assert bakery.launch(bake) == bakery.launch(bake)
    assert refusal(bakery.launch, bake=bake, InstanceType="m5.xlarge") == "IdempotentParameterMismatch"
    assert bakery.launch(bake, ClientToken=toys.name("other")) != bakery.launch(bake)


def test_a_volume_takes_its_size_from_the_image(toys: Toys, bakery: Bakery) -> None:
    disk = [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeType": "gp3", "DeleteOnTermination": True}}]
    instance = bakery.launch(toys.name("bake"), BlockDeviceMappings=disk)
    attached = [{"Name": "attachment.instance-id", "Values": [instance]}]
    assert [volume["Size"] for volume in bakery.ec2.describe_volumes(Filters=attached)["Volumes"]] == [15]


def test_other_instances_run_at_once_and_say_only_when_they_are_gone(heard: Heard, bakery: Bakery) -> None:
    [instance] = bakery.ec2.run_instances(ImageId=BASE, MinCount=1, MaxCount=1)["Instances"]
    assert bakery.state(instance["InstanceId"]) == "running"
    bakery.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    assert bakery.state(instance["InstanceId"]) == "terminated"
    eventually(lambda: heard(instance["InstanceId"], "state") == ["terminated"])


def test_events_of_a_bake_can_be_lost_by_its_id(cloud: LocalCloud, heard: Heard, toys: Toys, bakery: Bakery) -> None:
    bake = toys.name("bake")
    cloud.fault("workload", event="stopped", environment=bake, effect="lose", times=1)
    cloud.fault("workload", event="running", environment=bake, effect="duplicate")
    instance = bakery.launch(bake)
    eventually(lambda: bakery.state(instance) == "stopped")
    eventually(lambda: heard(instance, "state") == ["pending", "running", "running", "stopping"])


# ---- images --------------------------------------------------------------------------------------------


def test_an_image_is_pending_then_available_with_its_tags_from_the_start(
    cloud: LocalCloud, heard: Heard, bakery: Bakery
) -> None:
    cloud.fault("workload", image="create", effect="slow", times=1)  # until the faults are cleared
    image = bakery.image(TagSpecifications=tags(("image", "snapshot"), **{"mayfly:image-family": "base"}))
    pending = bakery.described(image)
    assert pending["State"] == "pending"
    assert tags_in(pending) == {"mayfly:image-family": "base"}
    assert pending["SourceImageId"] == BASE
    snapshot = pending["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert tags_in(bakery.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]) == tags_in(pending)
    assert refusal(bakery.launch, bake="early", ImageId=image) == "InvalidAMIID.Unavailable"
    cloud.clear_faults()
    eventually(lambda: heard(image, "State") == ["available"])
    event = heard.events[0]  # type: ignore[attr-defined]
    assert (event["detail-type"], event["detail"]["ErrorMessage"]) == ("EC2 AMI State Change", "")
    assert event["resources"] == [f"arn:aws:ec2:us-east-1::image/{image}"]
    state = [{"Name": "state", "Values": ["pending"]}]
    assert bakery.ec2.describe_images(ImageIds=[image], Filters=state)["Images"] == []
    assert refusal(bakery.image, Name=bakery.described(image)["Name"]) == "InvalidAMIName.Duplicate"


def test_a_failed_image_says_why(cloud: LocalCloud, heard: Heard, bakery: Bakery) -> None:
    cloud.fault("workload", check="*", image="*", effect="silent")  # the fault of a check is none of an image
    cloud.fault("workload", image="create", effect="fail", reason="no space", times=1)
    image = bakery.image()
    eventually(lambda: heard(image, "State") == ["failed"])
    assert heard(image, "ErrorMessage") == ["no space"]
    failed = bakery.described(image)
    assert (failed["State"], failed["StateReason"]["Message"]) == ("failed", "no space")
    assert bakery.available()


def test_copies_go_to_other_regions_and_say_so_on_the_one_bus(
    cloud: LocalCloud, heard: Heard, toys: Toys, bakery: Bakery
) -> None:
    source = bakery.available(TagSpecifications=tags(("image",), team="platform"))
    cloud.fault("workload", image="copy", region="eu-central-*", effect="fail", times=1)
    copies = {}
    for region in ("eu-west-1", "eu-central-1", "us-west-2"):
        there = Bakery(cloud, toys, region)
        request = {"Name": "copy", "SourceImageId": source, "SourceRegion": "us-east-1", "ClientToken": source}
        request |= {"TagSpecifications": tags(("image",), copied="yes"), "CopyImageTags": True}
        image = there.ec2.copy_image(**request)["ImageId"]
        assert there.ec2.copy_image(**request)["ImageId"] == image
        assert refusal(there.ec2.copy_image, **request | {"ClientToken": "2"}) == "InvalidAMIName.Duplicate"
        copied = there.described(image)
        assert (copied["SourceImageId"], copied["SourceImageRegion"]) == (source, "us-east-1")
        assert tags_in(copied) == {"team": "platform", "copied": "yes"}
        copies[region] = image
    states = {"eu-west-1": "available", "eu-central-1": "failed", "us-west-2": "available"}
    for region, state in states.items():
        eventually(lambda image=copies[region], state=state: heard(image, "State") == [state])
        assert heard.events[0]["region"] == region  # type: ignore[attr-defined]
    missing = {"Name": "other", "SourceImageId": "ami-0", "SourceRegion": "eu-west-1"}
    assert refusal(bakery.ec2.copy_image, **missing) == "InvalidAMIID.NotFound"


def test_retirement_goes_through_deprecation_protection_and_disabling(
    cloud: LocalCloud, heard: Heard, bakery: Bakery
) -> None:
    image, ec2 = bakery.available(), bakery.ec2
    soon = cloud.now() + timedelta(days=1)
    ec2.enable_image_deprecation(ImageId=image, DeprecateAt=soon)
    assert bakery.described(image)["DeprecationTime"].startswith(f"{soon + timedelta(seconds=30):%Y-%m-%dT%H:%M}:00")
    past = {"ImageId": image, "DeprecateAt": cloud.now() - timedelta(days=1)}
    assert refusal(ec2.enable_image_deprecation, **past) == "InvalidParameterValue"
    ec2.disable_image_deprecation(ImageId=image)
    assert "DeprecationTime" not in bakery.described(image)

    protected = ec2.enable_image_deregistration_protection(ImageId=image, WithCooldown=True)
    assert protected["Return"] == bakery.described(image)["DeregistrationProtection"] == "enabled-with-cooldown"
    assert refusal(ec2.deregister_image, ImageId=image) == "OperationNotPermitted"
    ec2.disable_image_deregistration_protection(ImageId=image)
    assert refusal(ec2.deregister_image, ImageId=image) == "OperationNotPermitted"
    cloud.advance(86_401)

    share = {"Add": [{"UserId": "333333333333"}]}
    ec2.modify_image_attribute(ImageId=image, Attribute="launchPermission", LaunchPermission=share)
    ec2.disable_image(ImageId=image)
    attribute = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    assert attribute["LaunchPermissions"] == []
    assert ec2.describe_images(ImageIds=[image])["Images"] == []
    assert refusal(bakery.launch, bake="late", ImageId=image) == "InvalidAMIID.Unavailable"
    ec2.enable_image(ImageId=image)

    snapshot = bakery.described(image)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    gone = ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert gone["DeleteSnapshotResults"] == [{"SnapshotId": snapshot, "ReturnCode": "success"}]
    assert refusal(ec2.describe_snapshots, SnapshotIds=[snapshot]) == "InvalidSnapshot.NotFound"
    assert refusal(ec2.deregister_image, ImageId=image) == "InvalidAMIID.Unavailable"
    eventually(lambda: heard(image, "State") == ["available", "disabled", "available", "deregistered"])


def test_images_come_in_pages(bakery: Bakery) -> None:
    mine = {"Owners": ["self"], "Filters": [{"Name": "tag:pages", "Values": ["yes"]}]}
    builder = bakery.stopped()
    images = {bakery.image(InstanceId=builder, TagSpecifications=tags(("image",), pages="yes")) for _ in range(5)}
    pages = list(bakery.ec2.get_paginator("describe_images").paginate(**mine, PaginationConfig={"PageSize": 2}))
    assert [len(page["Images"]) for page in pages] == [2, 2, 1]
    assert {image["ImageId"] for page in pages for image in page["Images"]} == images


def test_references_are_found_where_they_are(cloud: LocalCloud, toys: Toys, bakery: Bakery) -> None:
    image, ec2, name = bakery.available(), bakery.ec2, toys.name("template")
    assert bakery.references(image) == []
    instance = bakery.launch(toys.name("bake"), ImageId=image)
    data = {"ImageId": image}
    template = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]
    for _ in range(10):
        ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData={"ImageId": BASE})
    ssm = cloud.workload_client("ssm")
    parameter = {"Type": "String", "DataType": "aws:ec2:image", "Overwrite": True}
    ssm.put_parameter(Name=f"/{name}/stable", Value=image, **parameter)
    ssm.put_parameter(Name=f"/{name}/text", Value=image, Type="String")

    found = [("ec2:Instance", f"instance/{instance}"), ("ssm:Parameter", f"parameter/{name}/stable")]
    assert sorted(bakery.references(image)) == found
    depth = [{"OptionName": "version-depth", "OptionValues": ["10000"]}]
    old = {"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": depth}
    assert bakery.references(image, old) == [("ec2:LaunchTemplate", f"launch-template/{template['LaunchTemplateId']}")]
    running = [{"OptionName": "state-name", "OptionValues": ["terminated"]}]
    assert bakery.references(image, {"ResourceType": "ec2:Instance", "ResourceTypeOptions": running}) == []
    ssm.put_parameter(Name=f"/{name}/stable", Value=BASE, **parameter)
    assert bakery.references(image, {"ResourceType": "ssm:Parameter"}) == []
    assert refusal(ec2.describe_image_references, ImageIds=[image]) == "MissingParameter"
    assert cloud.workload_client("imagebuilder").list_image_recipes(owner="Self")["imageRecipeSummaryList"] == []


def test_usage_reports_show_other_accounts_and_can_fail(cloud: LocalCloud, bakery: Bakery) -> None:
    image, ec2 = bakery.available(), bakery.ec2
    types = [{"ResourceType": "ec2:Instance"}, {"ResourceType": "ec2:LaunchTemplate"}]

    def report() -> str:
        return str(ec2.create_image_usage_report(ImageId=image, ResourceTypes=types)["ReportId"])

    def state(name: str) -> str:
        return str(ec2.describe_image_usage_reports(ReportIds=[name])["ImageUsageReports"][0]["State"])

    cloud.fault("workload", image="report", effect="slow", times=1)  # until the faults are cleared
    slow = report()
    assert state(slow) == "pending"
    cloud.clear_faults()
    eventually(lambda: state(slow) == "available")
    ec2.delete_image_usage_report(ReportId=slow)
    cloud.fault("workload", usage=image, account="333333333333", resource="ec2:Instance", count=2)
    first = report()
    eventually(lambda: state(first) == "available")
    [entry] = ec2.describe_image_usage_report_entries(ReportIds=[first])["ImageUsageReportEntries"]
    assert (entry["AccountId"], entry["ResourceType"], entry["UsageCount"]) == ("333333333333", "ec2:Instance", 2)
    cloud.fault("workload", image="report", effect="fail", times=1)
    second = report()
    eventually(lambda: state(second) == "error")
    ec2.delete_image_usage_report(ReportId=first)
    reports = ec2.describe_image_usage_reports(ImageIds=[image])["ImageUsageReports"]
    assert [one["ReportId"] for one in reports] == [second]
    there = cloud.workload_client("ec2", region_name="eu-west-1")
    assert there.describe_image_usage_reports()["ImageUsageReports"] == []


def test_parameters_of_both_accounts_can_be_images(cloud: LocalCloud, toys: Toys) -> None:
    for client in (cloud.client("ssm"), cloud.workload_client("ssm")):
        name = toys.name("/channels/base/stable")
        for value in (BASE, "ami-0123456789abcdef0"):
            client.put_parameter(Name=name, Value=value, Type="String", DataType="aws:ec2:image", Overwrite=True)
        parameter = client.get_parameter(Name=name)["Parameter"]
        expected = ("aws:ec2:image", "ami-0123456789abcdef0", 2)
        assert (parameter["DataType"], parameter["Value"], parameter["Version"]) == expected
        assert len(client.get_parameter_history(Name=name)["Parameters"]) == 2


# ---- commands ------------------------------------------------------------------------------------------


class Proof:
    """A machine of an environment, and the checks that run on it."""

    def __init__(self, cloud: LocalCloud, toys: Toys) -> None:
        self.ssm = cloud.workload_client("ssm")
        stack, self.environment = toys.stack(instances=1)
        toys.stack_becomes(stack, "CREATE_COMPLETE")
        [machine] = toys.instances(self.environment)
        self.instance = str(machine["InstanceId"])

    def send(self, *checks: str) -> str:
        script = {"commands": [f"# checks: {json.dumps(checks)}", "exit 0"]}
        request = {"InstanceIds": [self.instance], "DocumentName": "AWS-RunShellScript", "Parameters": script}
        return str(self.ssm.send_command(**request)["Command"]["CommandId"])

    def answer(self, command: str) -> dict[str, Any]:
        return dict(self.ssm.get_command_invocation(CommandId=command, InstanceId=self.instance))

    def finished(self, command: str) -> tuple[str, list[dict[str, Any]]]:
        eventually(lambda: self.answer(command)["Status"] != "InProgress")
        answer = self.answer(command)
        return answer["Status"], [json.loads(line) for line in answer["StandardOutputContent"].splitlines()]


@pytest.fixture
def proof(cloud: LocalCloud, toys: Toys) -> Proof:
    return Proof(cloud, toys)


def test_a_command_answers_for_each_check_and_says_when(heard: Heard, cloud: LocalCloud, proof: Proof) -> None:
    cloud.fault("workload", check="po*", image=BASE, effect="fail", stdout="closed", times=1)
    cloud.fault("workload", check="*", image="ami-other", effect="fail")
    command = proof.send("puppet", "ports")
    status, lines = proof.finished(command)
    assert status == "Success"
    assert lines == [{"name": "puppet", "exit": 0, "stdout": ""}, {"name": "ports", "exit": 1, "stdout": "closed"}]
    both = ["InProgress", "InProgress", "Success", "Success"]  # of the command, and of its one invocation
    eventually(lambda: heard(command, "status") == both)
    event = heard.events[2]  # type: ignore[attr-defined]
    assert event["source"] == "aws.ssm"
    assert event["detail-type"] == "EC2 Command Invocation Status-change Notification"
    assert event["detail"]["instance-id"] == proof.instance
    assert event["detail"]["document-name"] == "AWS-RunShellScript"
    commands = proof.ssm.list_commands(CommandId=command)["Commands"]
    assert [one["Status"] for one in commands] == ["Success"]


def test_a_script_that_ends_early_is_a_failed_command(cloud: LocalCloud, heard: Heard, proof: Proof) -> None:
    cloud.fault("workload", check="ports", environment=proof.environment, effect="crash")
    command = proof.send("puppet", "ports", "keys")
    assert proof.finished(command) == ("Failed", [{"name": "puppet", "exit": 0, "stdout": ""}])
    eventually(lambda: heard(command, "status") == ["InProgress", "InProgress", "Failed", "Failed"])


def test_a_silent_machine_never_answers(cloud: LocalCloud, heard: Heard, proof: Proof) -> None:
    cloud.fault("workload", check="packages", effect="silent", times=1)
    silent, loud = proof.send("packages"), proof.send("puppet")
    assert proof.finished(loud)[0] == "Success"
    assert proof.answer(silent)["Status"] == "InProgress"
    eventually(lambda: heard(silent, "status") == ["InProgress", "InProgress"])


def test_commands_go_to_running_machines_only(bakery: Bakery, proof: Proof) -> None:
    request = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}
    for instance in (bakery.stopped(), "i-0123456789abcdef0"):
        assert refusal(proof.ssm.send_command, InstanceIds=[instance], **request) == "InvalidInstanceId"


def test_calls_for_images_are_in_the_ledger_and_fail_by_action(cloud: LocalCloud, bakery: Bakery) -> None:
    cloud.fault("workload", action="ec2:CreateImage", error="RequestLimitExceeded", status=503, times=1)
    bakery.available()  # boto3 tries again
    calls = [(call["action"], call["error"]) for call in cloud.ledger()["calls"] if call["action"] == "CreateImage"]
    assert calls == [("CreateImage", "RequestLimitExceeded"), ("CreateImage", None)]
