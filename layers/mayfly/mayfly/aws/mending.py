"""Removing what blocks a stack's deletion, as far as it is ours. The caller has asked the guard about the stack."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mayfly.aws import remains
from mayfly.domain import tags
from mayfly.domain.ladder import Blocker, Mend, name

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_SHOWN = 10


def blockers(workload: "Workload", stack: str) -> list[Blocker]:
    """The resources of a stack whose deletion failed, as CloudFormation names them."""
    found = workload.cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    return [
        name(
            resource["LogicalResourceId"],
            resource.get("PhysicalResourceId", ""),
            resource["ResourceType"],
            resource.get("ResourceStatusReason", ""),
        )
        for resource in found
        if resource["ResourceStatus"] == "DELETE_FAILED"
    ]


def mend(workload: "Workload", environment: str, controller: str, found: Iterable[Blocker]) -> list[str]:
    """Does what can be done about each blocker; returns what was done, for the record. Instances go first, always."""
    ours = [
        remnant
        for remnant in remains.find(workload, environment, controller)
        if remnant.labels.get(tags.CONTROLLER) == controller and tags.PROTECTED not in remnant.labels
    ]
    instances = [remnant for remnant in ours if remnant.kind in ("group", "instance") and not remnant.going]
    refused = remains.delete(workload, instances)
    done = [f"ended {len(instances) - len(refused)} instances"] if instances else []
    mends = {blocker.mend for blocker in found}
    if Mend.DELETE_INTERFACES in mends or Mend.CUT_REFERENCES in mends:
        loose = [remnant for remnant in ours if remnant.kind == "network-interface"]
        refused |= remains.delete(workload, loose)
        done += [f"deleted interface {remnant.id}" for remnant in loose if remnant.id not in refused]
    done += [f"could not delete {identity}: {why}" for identity, why in refused.items()]
    for blocker in found:
        if blocker.mend is Mend.CUT_REFERENCES:
            done += _cut_references(workload, blocker.physical_id, environment, controller)
        if blocker.mend is Mend.EMPTY_BUCKET:
            done += _empty(workload, blocker.physical_id)
    return done


def _cut_references(workload: "Workload", group: str, environment: str, controller: str) -> list[str]:
    """Revokes the rules of the environment's other groups that name this one. Any other group's are its owner's."""
    pages = workload.ec2.get_paginator("describe_security_groups").paginate(
        Filters=[
            {"Name": "ip-permission.group-id", "Values": [group]},
            {"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]},
            {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
        ]
    )
    done = []
    for page in pages:
        for other in page["SecurityGroups"]:
            rules: list[Any] = [
                rule
                | {"UserIdGroupPairs": [pair for pair in rule["UserIdGroupPairs"] if pair["GroupId"] == group]}
                | {"IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []}
                for rule in other["IpPermissions"]
                if any(pair["GroupId"] == group for pair in rule["UserIdGroupPairs"])
            ]
            if other["GroupId"] != group and rules:
                workload.ec2.revoke_security_group_ingress(GroupId=other["GroupId"], IpPermissions=rules)
                done.append(f"cut the reference of {other['GroupId']} to {group}")
    return done


def _empty(workload: "Workload", bucket: str) -> list[str]:
    """Deletes every version of every object in a bucket of the stack."""
    emptied = 0
    for page in workload.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [
            {"Key": item["Key"], "VersionId": item["VersionId"]}
            for item in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
        ]
        if versions:
            workload.s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
            emptied += len(versions)
    return [f"emptied the bucket {bucket} of {emptied} versions"]
