"""Removes all that a run has made, whatever became of the run, and looks at every kind for what is still there."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import jmespath  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError

from accept.installing import NAME
from accept.places import Place

type Say = Callable[[str], None]
type Remove = Callable[[Any, str], object]

REMOVER = f"{NAME}-remover"
"""The role with which stacks are deleted: Mayfly's own may not delete what is protected."""
LOOKS = 180
"""At what is being removed, until it counts as left: half an hour on AWS."""
DELETIONS = 4
"""Of one stack: network interfaces linger."""
REMOVALS = 20
"""Of what no stack removes: a disk goes after its instance."""
STACKS = (NAME, "mayfly-", "workload-region-of-", "workload-images-of-", "workload-account-of-", "network-of-")
"""Beginnings of the names of stacks, in the order in which they go: first what would make others anew."""


@dataclass(frozen=True)
class Kind:
    """A kind of what AWS keeps: how it is listed, and how one is removed that no stack removes."""

    name: str
    service: str
    operation: str
    items: str
    """JMESPath of what is listed, but for what is gone already."""
    identity: str = "@"
    remove: Remove | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    everywhere: bool = True
    """Whether each Region has its own."""


def _empty(s3: Any, bucket: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if objects := [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed]:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    s3.delete_bucket(Bucket=bucket)


def _deregister(ec2: Any, image: str) -> None:
    """Channels protect what they point to."""
    with suppress(ClientError):
        ec2.disable_image_deregistration_protection(ImageId=image)
    ec2.deregister_image(ImageId=image)


def _delete_role(iam: Any, role: str) -> None:
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=policy)
    iam.delete_role(RoleName=role)


GONE = "State!='deleted'"
KINDS: Sequence[Kind] = (
    Kind("stack", "cloudformation", "describe_stacks", "Stacks[?StackStatus!='DELETE_COMPLETE']", "StackName"),
    Kind(
        "instance",
        "ec2",
        "describe_instances",
        "Reservations[].Instances[] | [?State.Name!='terminated']",
        "InstanceId",
        lambda ec2, name: ec2.terminate_instances(InstanceIds=[name]),
    ),
    Kind(
        "image",
        "ec2",
        "describe_images",
        "Images[]",
        "ImageId",
        _deregister,
        {"Owners": ["self"], "IncludeDisabled": True, "IncludeDeprecated": True},
    ),
    Kind(
        "snapshot",
        "ec2",
        "describe_snapshots",
        "Snapshots[]",
        "SnapshotId",
        lambda ec2, name: ec2.delete_snapshot(SnapshotId=name),
        {"OwnerIds": ["self"]},
    ),
    Kind(
        "volume",
        "ec2",
        "describe_volumes",
        "Volumes[]",
        "VolumeId",
        lambda ec2, name: ec2.delete_volume(VolumeId=name),
    ),
    Kind("launch template", "ec2", "describe_launch_templates", "LaunchTemplates[]", "LaunchTemplateName"),
    Kind("network interface", "ec2", "describe_network_interfaces", "NetworkInterfaces[]", "NetworkInterfaceId"),
    Kind("NAT gateway", "ec2", "describe_nat_gateways", f"NatGateways[?{GONE}]", "NatGatewayId"),
    Kind("elastic IP", "ec2", "describe_addresses", "Addresses[]", "AllocationId"),
    Kind("security group", "ec2", "describe_security_groups", "SecurityGroups[]", "GroupId"),
    Kind("subnet", "ec2", "describe_subnets", "Subnets[]", "SubnetId"),
    Kind("route table", "ec2", "describe_route_tables", "RouteTables[]", "RouteTableId"),
    Kind("internet gateway", "ec2", "describe_internet_gateways", "InternetGateways[]", "InternetGatewayId"),
    Kind("VPC", "ec2", "describe_vpcs", "Vpcs[]", "VpcId"),
    Kind(
        "Auto Scaling group",
        "autoscaling",
        "describe_auto_scaling_groups",
        "AutoScalingGroups[]",
        "AutoScalingGroupName",
        lambda autoscaling, name: autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True),
    ),
    Kind(  # their names are too short to have ours in them, and their lists show no tags
        "load balancer or target group",
        "resourcegroupstaggingapi",
        "get_resources",
        "ResourceTagMappingList[]",
        "ResourceARN",
        None,
        {"ResourceTypeFilters": ["elasticloadbalancing"], "TagFilters": [{"Key": "mayfly:controller"}]},
    ),
    Kind(
        "parameter",
        "ssm",
        "describe_parameters",
        "Parameters[]",
        "Name",
        lambda ssm, name: ssm.delete_parameter(Name=name),
    ),
    Kind(
        "log group",
        "logs",
        "describe_log_groups",
        "logGroups[]",
        "logGroupName",
        lambda logs, name: logs.delete_log_group(logGroupName=name),
    ),
    Kind("function", "lambda", "list_functions", "Functions[]", "FunctionName"),
    Kind("layer", "lambda", "list_layers", "Layers[]", "LayerName"),
    Kind("state machine", "stepfunctions", "list_state_machines", "stateMachines[]", "name"),
    Kind("bus", "events", "list_event_buses", "EventBuses[]", "Name"),
    Kind("rule", "events", "list_rules", "Rules[]", "Name"),
    Kind("schedule", "scheduler", "list_schedules", "Schedules[]", "Name"),
    Kind(
        "queue",
        "sqs",
        "list_queues",
        "QueueUrls[]",
        remove=lambda sqs, url: sqs.delete_queue(QueueUrl=url),
    ),
    Kind("topic", "sns", "list_topics", "Topics[]", "TopicArn"),
    Kind(
        "table",
        "dynamodb",
        "list_tables",
        "TableNames[]",
        remove=lambda dynamodb, name: dynamodb.delete_table(TableName=name),
    ),
    Kind(
        "user pool",
        "cognito-idp",
        "list_user_pools",
        "UserPools[]",
        "Id",
        lambda cognito, pool: cognito.delete_user_pool(UserPoolId=pool),
        {"MaxResults": 60},
    ),
    Kind("HTTP API", "apigatewayv2", "get_apis", "Items[]", "Name"),
    Kind("alarm", "cloudwatch", "describe_alarms", "MetricAlarms[]", "AlarmName"),
    Kind("dashboard", "cloudwatch", "list_dashboards", "DashboardEntries[]", "DashboardName", everywhere=False),
    Kind("bucket", "s3", "list_buckets", "Buckets[]", "Name", _empty, everywhere=False),
    Kind("role", "iam", "list_roles", "Roles[]", "RoleName", _delete_role, everywhere=False),
    Kind("policy", "iam", "list_policies", "Policies[]", "PolicyName", None, {"Scope": "Local"}, everywhere=False),
    Kind(
        "instance profile",
        "iam",
        "list_instance_profiles",
        "InstanceProfiles[]",
        "InstanceProfileName",
        everywhere=False,
    ),
)


@dataclass
class Look:
    """What was seen of a run in the accounts."""

    left: dict[str, list[str]] = field(default_factory=dict)
    """By kind."""
    unseen: dict[str, str] = field(default_factory=dict)
    """Kinds that could not be looked at, and why."""

    def __str__(self) -> str:
        left = [f"{kind} {name}" for kind, names in self.left.items() for name in names]
        unseen = [f"{kind}s, which could not be looked at: {why}" for kind, why in self.unseen.items()]
        return "; ".join([*left, *unseen]) or "nothing"


def look(place: Place) -> Look:
    """Looks at every kind in both accounts and Regions for what bears the installation's name."""
    seen = Look()
    for kind in KINDS:
        try:
            names = sorted({name for _, name in _found(place, kind)})
        except (ClientError, BotoCoreError) as error:
            seen.unseen[kind.name] = str(error)
            continue
        if names:
            seen.left[kind.name] = names
    return seen


def remove(place: Place, say: Say) -> Look:
    """Removes everything, as far as it goes; returns what is left then. A step that fails holds up no other."""
    for step in (_stop, _delete_listener, _make_remover, _delete_stacks):
        try:
            step(place, say)
        except (ClientError, BotoCoreError) as error:
            say(f"{step.__name__.strip('_').replace('_', ' ')}: {error}")
    return _remove_rest(place, say)


def _stop(place: Place, say: Say) -> None:
    """Takes away what would make environments anew, and stops what runs."""
    say("stopping what runs")
    parameters = next(kind for kind in KINDS if kind.name == "parameter")
    for client, name in _found(place, parameters):
        if name.startswith((f"/{NAME}/applications/", f"/{NAME}/families/")):
            client.delete_parameter(Name=name)
    states = place.client("stepfunctions")
    machines = [one["stateMachineArn"] for one in states.list_state_machines()["stateMachines"] if NAME in one["name"]]
    for machine in machines:
        for one in states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]:
            states.stop_execution(executionArn=one["executionArn"], cause="the acceptance run is over")


def _delete_listener(place: Place, say: Say) -> None:
    """The rule with which the run has listened: a bus with rules cannot be deleted."""
    events = place.client("events")
    for bus in events.list_event_buses(NamePrefix=NAME)["EventBuses"]:
        for rule in events.list_rules(EventBusName=bus["Name"], NamePrefix=NAME)["Rules"]:
            if rule["Name"] != NAME:
                continue  # of the stack
            targets = events.list_targets_by_rule(Rule=NAME, EventBusName=bus["Name"])["Targets"]
            events.remove_targets(Rule=NAME, EventBusName=bus["Name"], Ids=[one["Id"] for one in targets])
            events.delete_rule(Name=NAME, EventBusName=bus["Name"])


def _make_remover(place: Place, say: Say) -> None:
    iam = place.workload_client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "cloudformation.amazonaws.com"}, "Action": "sts:AssumeRole"}
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(
            RoleName=REMOVER, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        iam.put_role_policy(
            RoleName=REMOVER,
            PolicyName="everything",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        )
        iam.get_waiter("role_exists").wait(RoleName=REMOVER)


def _delete_stacks(place: Place, say: Say) -> None:
    for beginning in STACKS:
        tries = Counter[tuple[str, str]]()
        for _ in _looks(place):
            standing = [one for one in _stacks(place) if one[1].startswith(beginning)]
            waiting = [one for one in standing if one[2].endswith("_IN_PROGRESS") or tries[_place(one)] < DELETIONS]
            if not waiting:
                break
            for client, name, status in waiting:
                if not status.endswith("_IN_PROGRESS"):
                    tries[_place((client, name, status))] += 1
                    say(f"deleting the stack {name}")
                    try:
                        _delete_stack(client, name, _remover_of(place, name))
                    except ClientError as error:  # a new role, for one, cannot be assumed at once
                        say(f"{name}: {error}")


def _place(stack: tuple[Any, str, str]) -> tuple[str, str]:
    return stack[0].meta.region_name, stack[1]


def _delete_stack(cloudformation: Any, name: str, role: dict[str, str]) -> None:
    with suppress(ClientError):  # only permanent environments are protected by it
        cloudformation.update_termination_protection(StackName=name, EnableTerminationProtection=False)
    cloudformation.delete_stack(StackName=name, **role)


def _remover_of(place: Place, stack: str) -> dict[str, str]:
    """Stacks of environments were made with Mayfly's role, all others as the administrator."""
    arn = f"arn:aws:iam::{place.workload_account}:role/{REMOVER}"
    return {"RoleARN": arn} if stack.startswith("mayfly-") else {}


def _stacks(place: Place) -> Iterator[tuple[Any, str, str]]:
    for client in _clients(place, "cloudformation", everywhere=True):
        for page in client.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                if NAME in json.dumps(stack, default=str) and "ParentId" not in stack:
                    yield client, stack["StackName"], stack["StackStatus"]


def _remove_rest(place: Place, say: Say) -> Look:
    """What no stack removes: kept on purpose, or made by calls."""
    seen = look(place)
    for _ in zip(range(REMOVALS), _looks(place), strict=False):
        if not seen.left:
            break
        for kind in KINDS:
            if kind.name in seen.left and kind.remove:
                _remove_kind(place, kind, say)
        seen = look(place)
    return seen


def _remove_kind(place: Place, kind: Kind, say: Say) -> None:
    for client, name in _found(place, kind):
        try:
            assert kind.remove
            kind.remove(client, name)
        except (ClientError, BotoCoreError) as error:
            say(f"{kind.name} {name}: {error}")


def _looks(place: Place) -> Iterable[int]:
    for number in range(LOOKS):
        yield number
        time.sleep(place.look_seconds)


def _found(place: Place, kind: Kind) -> Iterator[tuple[Any, str]]:
    for client in _clients(place, kind.service, kind.everywhere):
        pages = (
            client.get_paginator(kind.operation).paginate(**kind.arguments)
            if client.can_paginate(kind.operation)
            else [getattr(client, kind.operation)(**kind.arguments)]
        )
        for page in pages:
            for item in jmespath.search(kind.items, page) or []:
                if NAME in json.dumps(item, default=str):
                    yield client, jmespath.search(kind.identity, item)


def _clients(place: Place, service: str, everywhere: bool) -> Iterator[Any]:
    both = (place.region, place.second_region) if everywhere else (place.region,)
    for region in both:
        yield place.workload_client(service, region_name=region)
    if place.account != place.workload_account:  # where Mayfly itself is in one Region only
        yield place.client(service, region_name=place.region)
