"""Removes what blocks a stack's deletion, as far as it is ours. The caller has asked the guard about the stack."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec.structs import replace

from mayfly.aws import databases, stacks
from mayfly.aws.instances import plain
from mayfly.aws.tagging import Listed
from mayfly.domain import tags
from mayfly.domain.guard import may_destroy
from mayfly.domain.identity import stack_name
from mayfly.domain.teardown import Blocker, Mend, chased, name
from mayfly.workflows import leftovers

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_SHOWN = 10


def blockers(workload: "Workload", stack: str) -> list[Blocker]:
    """Names the resources of a stack whose deletion failed, as CloudFormation does, and what holds a network's."""
    found = [
        name(resource.logical_id, resource.physical_id, resource.kind, resource.reason)
        for resource in stacks.resources(workload, stack)
        if resource.status == "DELETE_FAILED"
    ]
    return [replace(one, held_by=tuple(_holders(workload, one))) for one in found]


def _holders(workload: "Workload", one: Blocker) -> list[str]:
    """Returns what is still in a subnet, or uses a security group, whoever made it. A function's network interfaces
    carry no tags, and stay for up to 45 minutes."""
    by = {"AWS::EC2::Subnet": "subnet-id", "AWS::EC2::SecurityGroup": "group-id"}.get(one.kind)
    if by is None:
        return []
    in_it: Any = [{"Name": by, "Values": [one.physical_id]}]
    pages = workload.ec2.get_paginator("describe_network_interfaces").paginate(Filters=in_it)
    interfaces = [each for page in pages for each in page["NetworkInterfaces"]]
    held = [f"{each['NetworkInterfaceId']} ({each.get('Description') or each['Status']})" for each in interfaces]
    if by == "group-id":
        held += [f"a rule of {each['GroupId']} ({each['GroupName']})" for each in _referring(workload, one.physical_id)]
    return held


def _referring(workload: "Workload", group: str) -> list[Any]:
    """Returns the security groups whose rules name this one, whoever's they are."""
    found = dict[str, Any]()
    for way in ("ip-permission.group-id", "egress.ip-permission.group-id"):
        named: Any = [{"Name": way, "Values": [group]}]
        pages = workload.ec2.get_paginator("describe_security_groups").paginate(Filters=named)
        found |= {each["GroupId"]: each for page in pages for each in page["SecurityGroups"]}
    return [each for identity, each in found.items() if identity != group]


def still_held(found: Iterable[Blocker]) -> list[str]:
    """Returns the logical ids of those that a deletion has to leave standing: what was in the way of the others is
    gone."""
    freed = ("AWS::EC2::Subnet", "AWS::EC2::SecurityGroup")
    return [one.logical_id for one in found if one.held_by or one.kind not in freed]


def kept(resources: Iterable[stacks.Resource]) -> list[str]:
    """Names what a deleted stack left standing and no tag finds again: a person has to see to it."""
    return [
        f"{resource.logical_id} ({resource.kind} {resource.physical_id}): {resource.reason or 'its stack retained it'}"
        for resource in resources
        if resource.retained and not chased(resource.kind)
    ]


def unaccounted(found: Listed, stack: stacks.Stack | None, resources: Iterable[stacks.Resource]) -> list[str]:
    """Returns the ARNs of listed resources that were none of a deleted stack's: what it deleted or kept is listed for a
    while.

    CloudFormation marks what it makes, parts of nested stacks with the names of those; a stack may call a resource
    otherwise than its ARN does, such as an elastic IP by its address.
    """
    # A queue is known to its stack by its URL, which ends with its name.
    called = {one.physical_id for one in resources if one.physical_id}
    known = called | {url.rpartition("/")[2] for url in called if url.startswith("https://")}
    return [arn for arn, labels in found.items() if not _made_by(stack, labels) and not {arn, *_ends(arn)} & known]


def _made_by(stack: stacks.Stack | None, labels: Mapping[str, str]) -> bool:
    name = stack.id.split("/")[1] if stack else None
    marked = labels.get("aws:cloudformation:stack-name")
    return bool(name and marked) and f"{marked}-".startswith(f"{name}-")


def _ends(arn: str) -> set[str]:
    """Returns what a stack may call a resource of this ARN: its last part, or all after its type."""
    resource = arn.split(":", 5)[5]
    return {resource, resource.rpartition("/")[2], resource.rpartition(":")[2], resource.partition("/")[2]}


def made_by_aws(workload: "Workload", resources: Iterable[stacks.Resource]) -> tuple[list[str], list[str]]:
    """Returns what AWS makes of a stack's resources without the stack: log groups of its functions, and snapshots of
    its databases and volumes. Neither carries the environment's tags.

    Returns:
        the log groups, by name; and the snapshots, for people.
    """
    logs, snapshots = list[str](), list[str]()
    for one in (each for each in resources if each.physical_id and not each.retained):
        if one.kind == "AWS::Lambda::Function" and leftovers.is_log_group(workload, f"/aws/lambda/{one.physical_id}"):
            logs.append(f"/aws/lambda/{one.physical_id}")
        if look := _SNAPSHOTS.get(one.kind):
            of = f"of {one.logical_id} ({one.kind} {one.physical_id})"
            snapshots += [f"snapshot {identity} {of}" for identity in look(workload, one)]
    return logs, snapshots


def _of_volume(workload: "Workload", one: stacks.Resource) -> list[str]:
    by_volume: Any = [{"Name": "volume-id", "Values": [one.physical_id]}]
    pages = workload.ec2.get_paginator("describe_snapshots").paginate(Filters=by_volume, OwnerIds=["self"])
    return [found["SnapshotId"] for page in pages for found in page["Snapshots"]]


_SNAPSHOTS: dict[str, Callable[["Workload", stacks.Resource], list[str]]] = {
    "AWS::EC2::Volume": _of_volume,
    "AWS::RDS::DBInstance": lambda workload, one: databases.snapshots(workload, one.physical_id),
    "AWS::RDS::DBCluster": lambda workload, one: databases.cluster_snapshots(workload, one.physical_id),
}


def delete_logs(workload: "Workload", environment: str, controller: str, logs: Iterable[str]) -> list[str]:
    """Deletes the log groups of an environment's functions, which bear its stack's name; names those that stay."""
    stay, own = list[str](), {tags.ENVIRONMENT: environment, tags.CONTROLLER: controller}
    for group in logs:
        ours = group.startswith(f"/aws/lambda/{stack_name(environment)}-")
        try:
            said = (
                leftovers.delete_function_logs(workload, group, own) if ours else "its function has a name of its own"
            )
        except ClientError as error:
            said = error.response["Error"]["Code"]
        stay += [f"log group {group}: {said}"] if said else []
    return stay


def mend(workload: "Workload", environment: str, controller: str, found: Iterable[Blocker]) -> list[str]:
    """Does what can be done about each blocker; returns what was done, for the record. Instances go first, always."""
    ours = [
        remnant
        for remnant in leftovers.find(workload, environment, controller)
        if may_destroy(environment, controller, remnant.labels).granted
    ]
    instances = [remnant for remnant in ours if remnant.kind in ("group", "instance") and not remnant.going]
    refused = leftovers.delete(workload, instances)
    done = [f"ended {len(instances) - len(refused)} instances"] if instances else []
    mends = {blocker.mend for blocker in found}
    if Mend.DELETE_INTERFACES in mends or Mend.CUT_REFERENCES in mends:
        loose = [remnant for remnant in ours if remnant.kind == "network-interface"]
        refused |= leftovers.delete(workload, loose)
        done += [f"deleted interface {remnant.id}" for remnant in loose if remnant.id not in refused]
    done += [f"could not delete {identity}: {why}" for identity, why in refused.items()]
    own = {tags.ENVIRONMENT: environment, tags.CONTROLLER: controller}
    for blocker in found:
        try:
            if blocker.mend is Mend.CUT_REFERENCES:
                done += _cut_references(workload, blocker.physical_id, environment, controller)
            if blocker.mend is Mend.EMPTY_BUCKET:
                done.append(_empty(workload, blocker.physical_id, own))
        except ClientError as error:  # What cannot be mended is said, and keeps nothing else from being mended.
            done.append(f"could not {blocker.mend} {blocker.physical_id}: {error.response['Error']['Code']}")
    return done


def _cut_references(workload: "Workload", group: str, environment: str, controller: str) -> list[str]:
    """Revokes the rules of the environment's other security groups that name this one, inbound and outbound.

    Any other group's rules are its owner's. The default group of a VPC is its VPC's owner's: it carries no tags.
    """
    done = []
    for other in _referring(workload, group):
        labels = plain(other.get("Tags", []))
        if by_vpc := other["GroupName"] == "default" and tags.ENVIRONMENT not in labels:
            labels = _labels_of_vpc(workload, other["VpcId"]) | labels
        permission = may_destroy(environment, controller, labels)
        if not permission.granted:
            done.append(f"left the rules of {other['GroupId']} ({other['GroupName']}): {permission.reason}")
            continue
        ec2: Any = (workload.for_vpc(other["VpcId"]) if by_vpc else workload).ec2
        ways = (
            ("IpPermissions", ec2.revoke_security_group_ingress),
            ("IpPermissionsEgress", ec2.revoke_security_group_egress),
        )
        for listed, revoke in ways:
            if rules := [_only(rule, group) for rule in other[listed] if _names(rule, group)]:
                revoke(GroupId=other["GroupId"], IpPermissions=rules)
        done.append(f"cut the reference of {other['GroupId']} to {group}")
    return done


def _labels_of_vpc(workload: "Workload", vpc: str) -> dict[str, str]:
    found = workload.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    return plain(found[0].get("Tags", []))


def _labels(workload: "Workload", bucket: str) -> dict[str, str]:
    try:
        return plain(workload.s3.get_bucket_tagging(Bucket=bucket)["TagSet"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        return {}


def _names(rule: Any, group: str) -> bool:
    return any(pair["GroupId"] == group for pair in rule["UserIdGroupPairs"])


def _only(rule: Any, group: str) -> Any:
    """Returns a rule with nothing in it but the security group: what else it allows stays."""
    pairs = [pair for pair in rule["UserIdGroupPairs"] if pair["GroupId"] == group]
    return rule | {"UserIdGroupPairs": pairs, "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []}


def _empty(workload: "Workload", bucket: str, own: Mapping[str, str]) -> str:
    """Deletes every version of every object in a bucket of the environment, and says how many of them went.

    Args:
        own: the environment's tags, which a resource of its stack has where nobody gave it others.
    """
    permission = may_destroy(own[tags.ENVIRONMENT], own[tags.CONTROLLER], {**own, **_labels(workload, bucket)})
    if not permission.granted:
        return f"left the bucket {bucket} as it is: {permission.reason}"
    seen, kept = 0, dict[str, None]()
    for page in workload.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions: Any = [
            {"Key": item["Key"], "VersionId": item["VersionId"]}
            for item in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
        ]
        if versions:
            reply = workload.s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
            seen += len(versions)
            kept |= {f"{each['Key']} {each.get('VersionId')}: {each['Code']}": None for each in reply.get("Errors", [])}
    said = f"emptied {seen - len(kept)} of {seen} versions in the bucket {bucket}"
    return said + (f" ({', '.join(list(kept)[:_SHOWN])})" if kept else "")
