"""The services of a workload account over what exists there. Each destruction is asked of the world first."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.model.clients import refusal
from tests.model.workload import LISTED_WHEN_GONE, Account, Block, Creation, Resource, Stack

type Json = dict[str, Any]
type Witness = Callable[[str, Stack | Resource], None]
"""Is told a session's name and what it reads or destroys."""

_PREFIX = "arn:aws:{service}:us-east-1:{account}:"
_ARNS = {"log-group": ("logs", "log-group:"), "parameter": ("ssm", "parameter")}


class Workload:
    """What the services share."""

    def __init__(self, account: Account, reads: Witness, destroys: Witness) -> None:
        self._account, self._reads, self._destroys = account, reads, destroys

    def _find(self, kind: str) -> Iterator[Resource]:
        return (one for one in self._account.resources.values() if one.kind == kind and one.there)

    def _destroy(self, session: str, identity: str) -> Resource:
        """The resource, if it is there and if the world has nothing against it."""
        resource = self._account.resources.get(identity)
        if resource is None or not resource.there:
            raise refusal("InvalidResourceID.NotFound", f"{identity} does not exist")
        self._destroys(session, resource)
        return resource

    def _end(self, session: str, identity: str) -> Json:
        self._account.end(self._destroy(session, identity))
        return {}


@dataclass
class Next:
    """What the stacks that are created next will do."""

    creation: Creation = Creation.WELL
    block: Block = Block.NOTHING
    fails: int = 0
    leaves: tuple[str, ...] = ()


class CloudFormation(Workload):
    """Stacks."""

    def __init__(self, account: Account, reads: Witness, destroys: Witness) -> None:
        super().__init__(account, reads, destroys)
        self.next = Next()

    def create_stack(self, _session: str, **request: Any) -> Json:
        name = request["StackName"]
        if standing := self._account.named(name):
            if standing.request == request["ClientRequestToken"]:
                return {"StackId": standing.id}
            raise refusal("AlreadyExistsException", f"Stack [{name}] already exists")
        prefix = _PREFIX.format(service="cloudformation", account=self._account.name)
        identity = f"{prefix}stack/{name}/{next(self._account.number):08d}"
        labels = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        stack = Stack(
            identity,
            name,
            labels,
            self._account.timeline.now,
            request["ClientRequestToken"],
            self.next.creation,
            self.next.block,
            self.next.fails,
            self.next.leaves,
        )
        parameters = {one["ParameterKey"]: one["ParameterValue"] for one in request["Parameters"]}
        self._account.create(stack, int(parameters.get("InstanceCount", 0)))
        return {"StackId": identity}

    def describe_stacks(self, session: str, StackName: str | None = None) -> Json:  # noqa: N803
        """A deleted stack is found by its id only."""
        if StackName is None:
            return {"Stacks": [_described(stack) for stack in self._account.stacks.values() if stack.there]}
        stack = self._account.stacks.get(StackName) or self._account.named(StackName)
        if stack is None or self._account.timeline.now < stack.created_at + self._account.lag:
            raise refusal("ValidationError", f"Stack with id {StackName} does not exist")
        self._reads(session, stack)
        return {"Stacks": [_described(stack)]}

    def list_stacks(self, _session: str) -> Json:
        """Deleted ones too."""
        return {
            "StackSummaries": [
                {"StackName": stack.name, "StackStatus": stack.status} for stack in self._account.stacks.values()
            ]
        }

    def delete_stack(self, session: str, StackName: str, RoleARN: str, **how: Any) -> Json:  # noqa: N803
        stack = self._account.stacks.get(StackName) or self._account.named(StackName)
        kept = list(how.get("RetainResources", ()))
        if stack is None or not stack.there or stack.status == "DELETE_IN_PROGRESS":
            return {}
        self._destroys(session, stack)
        if stack.protected:
            raise refusal("ValidationError", f"Stack [{stack.name}] cannot be deleted while protected")
        if kept and stack.status != "DELETE_FAILED":
            raise refusal("ValidationError", "Only resources in the DELETE_FAILED state can be retained")
        stack.asked = how.get("ClientRequestToken", "")
        self._account.delete(stack, kept)
        return {}

    def describe_stack_events(self, _session: str, StackName: str) -> Json:  # noqa: N803
        stack = self._account.stacks[StackName]
        status = stack.status if stack.status in ("CREATE_FAILED", "DELETE_FAILED") else "CREATE_FAILED"
        return {
            "StackEvents": [{"StackId": stack.id, "ResourceStatus": status, **blocker} for blocker in stack.blocked_by]
        }

    def list_stack_resources(self, _session: str, StackName: str) -> Json:  # noqa: N803
        stack = self._account.stacks[StackName]
        failed = stack.blocked_by if stack.status == "DELETE_FAILED" else []
        return {"StackResourceSummaries": [{"ResourceStatus": "DELETE_FAILED", **blocker} for blocker in failed]}


class EC2(Workload):
    """Instances, and what is tagged besides."""

    def describe_instances(self, session: str, Filters: list[Json]) -> Json:  # noqa: N803
        """A terminated instance is described for an hour, with its tags."""
        states = next(one["Values"] for one in Filters if one["Name"] == "instance-state-name")
        wanted = [one for one in Filters if one["Name"] != "instance-state-name"]
        instances = [one for one in self._account.resources.values() if one.kind == "instance"]
        return {
            "Reservations": [
                {"Instances": [described(one)]} for one in self._read(session, instances, wanted) if one.state in states
            ]
        }

    def terminate_instances(self, session: str, InstanceIds: list[str]) -> Json:  # noqa: N803
        for identity in InstanceIds:
            self._end(session, identity)
        return {}

    def describe_volumes(self, session: str, Filters: list[Json]) -> Json:  # noqa: N803
        return {"Volumes": [{"Size": 8} | one for one in self._listed(session, "volume", "VolumeId", Filters)]}

    def delete_volume(self, session: str, VolumeId: str) -> Json:  # noqa: N803
        return self._end(session, VolumeId)

    def describe_launch_templates(self, session: str, Filters: list[Json]) -> Json:  # noqa: N803
        return {"LaunchTemplates": self._listed(session, "launch-template", "LaunchTemplateId", Filters)}

    def delete_launch_template(self, session: str, LaunchTemplateId: str) -> Json:  # noqa: N803
        return self._end(session, LaunchTemplateId)

    def describe_key_pairs(self, session: str, Filters: list[Json]) -> Json:  # noqa: N803
        return {"KeyPairs": self._listed(session, "key-pair", "KeyPairId", Filters)}

    def delete_key_pair(self, session: str, KeyPairId: str) -> Json:  # noqa: N803
        return self._end(session, KeyPairId)

    def describe_network_interfaces(
        self,
        session: str,
        Filters: Iterable[Json] = (),  # noqa: N803
        NetworkInterfaceIds: Iterable[str] = (),  # noqa: N803
    ) -> Json:
        wanted = list(NetworkInterfaceIds)
        found = self._listed(session, "network-interface", "NetworkInterfaceId", Filters, "TagSet")
        listed = [one for one in found if not wanted or one["NetworkInterfaceId"] in wanted]
        for one in listed:
            one["Status"] = "in-use"
            if self._account.resources[one["NetworkInterfaceId"]].attached:
                one["Attachment"] = {"AttachmentId": one["NetworkInterfaceId"]}
        return {"NetworkInterfaces": listed}

    def detach_network_interface(self, session: str, AttachmentId: str, Force: bool) -> Json:  # noqa: N803
        self._destroy(session, AttachmentId).attached = False
        return {}

    def delete_network_interface(self, session: str, NetworkInterfaceId: str) -> Json:  # noqa: N803
        return self._end(session, NetworkInterfaceId)

    def describe_vpcs(self, _session: str) -> Json:
        return {"Vpcs": []}

    def describe_security_groups(self, session: str, Filters: list[Json]) -> Json:  # noqa: N803
        listed = self._listed(session, "security-group", "GroupId", Filters)
        for one in listed:
            group = self._account.resources[one["GroupId"]].refers_to
            one["IpPermissions"] = [{"UserIdGroupPairs": [{"GroupId": group}]}] if group else []
            one["IpPermissionsEgress"], one["GroupName"] = [], "a group"
        return {"SecurityGroups": listed}

    def revoke_security_group_ingress(self, session: str, GroupId: str, IpPermissions: list[Json]) -> Json:  # noqa: N803
        self._destroy(session, GroupId).refers_to = None
        return {}

    def delete_security_group(self, session: str, GroupId: str) -> Json:  # noqa: N803
        if any(one.refers_to == GroupId for one in self._find("security-group")):
            raise refusal("DependencyViolation", f"resource {GroupId} has a dependent object")
        return self._end(session, GroupId)

    def _listed(
        self, session: str, kind: str, identity: str, filters: Iterable[Json], labelled: str = "Tags"
    ) -> list[Json]:
        found = self._read(session, self._find(kind), filters)
        return [{identity: one.id, labelled: _tags(one.labels)} for one in found]

    def _read(self, session: str, resources: Iterable[Resource], filters: Iterable[Json]) -> list[Resource]:
        found = [one for one in resources if all(_passes(one, each) for each in filters)]
        for one in found:
            self._reads(session, one)
        return found


class ServiceQuotas(Workload):
    """Service Quotas allows more than any test needs, unless the test lowers a quota."""

    limits: dict[str, float]

    def __init__(self, account: Account, reads: Witness, destroys: Witness) -> None:
        super().__init__(account, reads, destroys)
        self.limits = {}

    def get_service_quota(self, _session: str, ServiceCode: str, QuotaCode: str) -> Json:  # noqa: N803
        return {"Quota": {"Value": self.limits.get(QuotaCode, 1000.0)}}


class Tagging(Workload):
    """The Resource Groups Tagging API: everything, but late."""

    def get_resources(self, session: str, TagFilters: list[Json], ResourceTypeFilters: Iterable[str] = ()) -> Json:  # noqa: N803
        since, kinds = self._account.timeline.now - LISTED_WHEN_GONE, [one.split(":")[1] for one in ResourceTypeFilters]
        found = []
        for one in self._account.resources.values():
            listed = one.gone_at is None or one.gone_at > since
            # What is looked at through this API only is not listed any more once it is gone.
            listed = one.there if one.kind in _ARNS else listed
            if listed and (not kinds or one.kind in kinds) and all(_tagged(one.labels, each) for each in TagFilters):
                self._reads(session, one)
                found.append({"ResourceARN": _arn(one, self._account.name), "Tags": _tags(one.labels)})
        found += [
            {"ResourceARN": stack.id, "Tags": _tags(stack.labels)}
            for stack in self._account.stacks.values()
            if not kinds and stack.there and all(_tagged(stack.labels, each) for each in TagFilters)
        ]
        return {"ResourceTagMappingList": found}

    def get_tag_values(self, session: str, Key: str) -> Json:  # noqa: N803
        listed = self.get_resources(session, [{"Key": Key}])["ResourceTagMappingList"]
        values = {tag["Value"] for each in listed for tag in each["Tags"] if tag["Key"] == Key}
        return {"TagValues": sorted(values)}


class AutoScaling(Workload):
    """Why instances did not come. No group of the model outlives its stack."""

    def describe_auto_scaling_groups(self, _session: str, Filters: Iterable[Json] = ()) -> Json:  # noqa: N803
        return {"AutoScalingGroups": []}

    def describe_scaling_activities(self, _session: str, AutoScalingGroupName: str) -> Json:  # noqa: N803
        return {"Activities": [{"StatusCode": "Failed", "Description": "", "StatusMessage": "no capacity"}]}


class Logs(Workload):
    """Log groups that outlive their stack."""

    def describe_log_groups(self, _session: str, logGroupNamePrefix: str) -> Json:  # noqa: N803
        found = (one.id for one in self._find("log-group"))
        return {"logGroups": [{"logGroupName": name} for name in found if name.startswith(logGroupNamePrefix)]}

    def delete_log_group(self, session: str, logGroupName: str) -> Json:  # noqa: N803
        return self._end(session, logGroupName)


class SSM(Workload):
    """Parameters that outlive their stack."""

    def describe_parameters(self, _session: str, ParameterFilters: list[Json]) -> Json:  # noqa: N803
        wanted = {value.removeprefix("/") for one in ParameterFilters for value in one["Values"]}
        return {"Parameters": [{"Name": one.id} for one in self._find("parameter") if one.id in wanted]}

    def delete_parameter(self, session: str, Name: str) -> Json:  # noqa: N803
        return self._end(session, Name.removeprefix("/"))


class S3(Workload):
    """Buckets of stacks, tagged by CloudFormation like them."""

    def get_bucket_tagging(self, _session: str, Bucket: str) -> Json:  # noqa: N803
        return {"TagSet": _tags(self._of(Bucket).labels)}

    def list_object_versions(self, _session: str, Bucket: str) -> Json:  # noqa: N803
        stack = self._of(Bucket)
        return {"Versions": [{"Key": str(number), "VersionId": "1"} for number in range(stack.objects)]}

    def delete_objects(self, session: str, Bucket: str, Delete: Json) -> Json:  # noqa: N803
        stack = self._of(Bucket)
        self._destroys(session, stack)
        stack.objects -= len(Delete["Objects"])
        return {}

    def _of(self, bucket: str) -> Stack:
        return next(stack for stack in self._account.stacks.values() if stack.bucket == bucket and stack.there)


def _described(stack: Stack) -> Json:
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "StackStatus": stack.status,
        "Tags": _tags(stack.labels),
        "Outputs": [{"OutputKey": "Url", "OutputValue": "https://example.com"}],
        "EnableTerminationProtection": stack.protected,
        "CreationTime": datetime.fromtimestamp(stack.created_at, UTC),
    }


def described(one: Resource) -> Json:
    """An instance as DescribeInstances shows it."""
    return {
        "InstanceId": one.id,
        "InstanceType": "t3.micro",
        "ImageId": one.image,
        "LaunchTime": datetime.fromtimestamp(one.launched_at, UTC),
        "State": {"Name": one.state},
        "Tags": _tags(one.labels),
    }


def _tags(labels: dict[str, str]) -> list[Json]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]


def _tagged(labels: dict[str, str], wanted: Json) -> bool:
    return labels.get(wanted["Key"]) in wanted["Values"] if "Values" in wanted else wanted["Key"] in labels


def _passes(resource: Resource, wanted: Json) -> bool:
    """One filter of a Describe call of EC2."""
    if wanted["Name"] == "tag-key":
        return bool(resource.labels.keys() & set(wanted["Values"]))
    if wanted["Name"] == "subnet-id":
        return resource.subnet in wanted["Values"]
    if wanted["Name"] == "ip-permission.group-id":
        return resource.refers_to in wanted["Values"]
    return resource.labels.get(wanted["Name"].removeprefix("tag:")) in wanted["Values"]


def _arn(resource: Resource, account: str) -> str:
    service, prefix = _ARNS.get(resource.kind, ("ec2", f"{resource.kind}/"))
    separator = "/" if resource.kind == "parameter" else ""
    return _PREFIX.format(service=service, account=account) + prefix + separator + resource.id
