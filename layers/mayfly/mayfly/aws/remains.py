"""What an environment left behind without its stack, kind by kind: found by tag, looked at directly, deleted.

The Resource Groups Tagging API lists everything in a call, but late: it shows for a while what is gone. So it is
asked first, and where it names something, that kind's own description decides.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mayfly.domain import tags

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


@dataclass(frozen=True, slots=True)
class Remnant:
    """A resource that outlived its stack."""

    kind: str
    id: str
    labels: Mapping[str, str]
    going: bool = False
    """It is being deleted already."""


@dataclass(frozen=True, slots=True)
class _Kind:
    look: Callable[["Workload", Any], Iterable[Remnant]]
    delete: Callable[["Workload", str], object]


def find(workload: "Workload", environment: str, controller: str) -> list[Remnant]:
    """All that is left of an environment besides its stack. Instances are looked for always, the rest if hinted at.

    What carries another controller's tag is none of it, whatever environment it names; what carries none is, so that
    people are told of it.
    """
    pages = workload.tagging.get_paginator("get_resources").paginate(
        TagFilters=[{"Key": tags.ENVIRONMENT, "Values": [environment]}], PaginationConfig={"PageSize": 100}
    )
    hinted = {kind for page in pages for r in page["ResourceTagMappingList"] if (kind := _kind_of(r["ResourceARN"]))}
    by_tag = [{"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]}]
    kinds = [kind for kind in _KINDS if kind == "instance" or kind in hinted]
    found = (remnant for kind in kinds for remnant in _KINDS[kind].look(workload, by_tag))
    return [remnant for remnant in found if remnant.labels.get(tags.CONTROLLER, controller) == controller]


def delete(workload: "Workload", remnants: Iterable[Remnant]) -> dict[str, str]:
    """Deletes them, instances first. The caller has asked the guard.

    Returns:
        why not, by id: a volume cannot go before its instance has, and one that cannot go keeps no other.
    """
    order, refused = list(_KINDS), {}
    for remnant in sorted(remnants, key=lambda remnant: order.index(remnant.kind)):
        try:
            _KINDS[remnant.kind].delete(workload, remnant.id)
        except ClientError as error:
            refused[remnant.id] = error.response["Error"]["Code"]
    return refused


def _kind_of(arn: str) -> str | None:
    """The kind of resource in an ARN, None for what is not ours to delete (a stack and what belongs to its network)."""
    service, resource = arn.split(":")[2], arn.split(":", 5)[5]
    kind = {"ec2": resource.split("/")[0], "logs": "log-group", "ssm": "parameter"}.get(service)
    return kind if kind in _KINDS else None


def _instances(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
    alive: Any = {
        "Name": "instance-state-name",
        "Values": ["pending", "running", "shutting-down", "stopping", "stopped"],
    }
    for page in workload.ec2.get_paginator("describe_instances").paginate(Filters=[*by_tag, alive]):
        for reservation in page["Reservations"]:
            for found in reservation["Instances"]:
                going = found["State"]["Name"] == "shutting-down"
                yield Remnant("instance", found["InstanceId"], _plain(found), going)


def _described(operation: str, listed: str, identity: str, labelled: str = "Tags") -> Callable[..., Iterable[Remnant]]:
    """The look at a kind whose description EC2 pages and filters by tag."""
    kind = {"VolumeId": "volume", "NetworkInterfaceId": "network-interface", "GroupId": "security-group"}
    kind |= {"LaunchTemplateId": "launch-template"}

    def look(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
        pages: Any = workload.ec2.get_paginator(operation)  # type: ignore[call-overload]
        for page in pages.paginate(Filters=by_tag):
            for found in page[listed]:
                yield Remnant(kind[identity], found[identity], _plain(found, labelled))

    return look


def _key_pairs(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
    for found in workload.ec2.describe_key_pairs(Filters=by_tag)["KeyPairs"]:
        yield Remnant("key-pair", found["KeyPairId"], _plain(found))


def _tagged_only(kind: str, service: str) -> Callable[..., Iterable[Remnant]]:
    """The look at a kind that cannot be filtered by tag otherwise: the tagging API is the look."""

    def look(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
        pages = workload.tagging.get_paginator("get_resources").paginate(
            TagFilters=[{"Key": tags.ENVIRONMENT, "Values": by_tag[0]["Values"]}], ResourceTypeFilters=[service]
        )
        for page in pages:
            for found in page["ResourceTagMappingList"]:
                identity = found["ResourceARN"].split(":", 5)[5].partition(kind)[2].lstrip(":")
                if kind == "parameter" and identity.count("/") == 1:  # no path: its name does not begin with a slash
                    identity = identity.lstrip("/")
                yield Remnant(kind, identity, _plain(found))

    return look


def _plain(found: Any, key: str = "Tags") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get(key, [])}


def _delete_interface(workload: "Workload", identity: str) -> None:
    found = workload.ec2.describe_network_interfaces(NetworkInterfaceIds=[identity])["NetworkInterfaces"][0]
    attachment = found.get("Attachment", {}).get("AttachmentId")
    if attachment:
        workload.ec2.detach_network_interface(AttachmentId=attachment, Force=True)
    else:
        workload.ec2.delete_network_interface(NetworkInterfaceId=identity)


_KINDS: dict[str, _Kind] = {
    "group": _Kind(
        lambda *_: (),
        lambda to, identity: to.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=identity, ForceDelete=True),
    ),
    "instance": _Kind(_instances, lambda to, identity: to.ec2.terminate_instances(InstanceIds=[identity])),
    "network-interface": _Kind(
        _described("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "TagSet"),
        _delete_interface,
    ),
    "volume": _Kind(
        _described("describe_volumes", "Volumes", "VolumeId"),
        lambda to, identity: to.ec2.delete_volume(VolumeId=identity),
    ),
    "security-group": _Kind(
        _described("describe_security_groups", "SecurityGroups", "GroupId"),
        lambda to, identity: to.ec2.delete_security_group(GroupId=identity),
    ),
    "launch-template": _Kind(
        _described("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
        lambda to, identity: to.ec2.delete_launch_template(LaunchTemplateId=identity),
    ),
    "key-pair": _Kind(_key_pairs, lambda to, identity: to.ec2.delete_key_pair(KeyPairId=identity)),
    "log-group": _Kind(
        _tagged_only("log-group", "logs:log-group"),
        lambda to, identity: to.logs.delete_log_group(logGroupName=identity.removesuffix(":*")),
    ),
    "parameter": _Kind(
        _tagged_only("parameter", "ssm:parameter"),
        lambda to, identity: to.ssm.delete_parameter(Name=identity),
    ),
}
"""Groups and instances first: they cost most, and hold the rest."""
