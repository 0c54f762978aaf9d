"""Finds by tags what an environment left without its stack, looks at each directly, and deletes it.

The Resource Groups Tagging API lists everything in a call, but late: it shows for a while what is gone. So it is
asked first, and where it names something, that kind's own description decides.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import Struct

from mayfly.aws import instances, networks, tagging
from mayfly.aws.instances import plain
from mayfly.aws.stacks import Resource
from mayfly.aws.tagging import Listed
from mayfly.domain import tags
from mayfly.domain.guard import may_destroy, protection

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


class Remnant(Struct, frozen=True):
    """A resource that outlived its stack."""

    kind: str
    id: str
    labels: Mapping[str, str]
    going: bool = False
    """It is being deleted already."""


class _Kind(Struct, frozen=True):
    list_by_tag: Callable[["Workload", Any], Iterable[Remnant]]
    delete: Callable[["Workload", str], object]


def listed(workload: "Workload", environment: str) -> Listed:
    """Lists what carries an environment's tag, of whatever kind; what is gone is listed for a while as well."""
    return tagging.listed(workload, [{"Key": tags.ENVIRONMENT, "Values": [environment]}])


def of_other_kinds(found: Listed, controller: str) -> Listed:
    """Returns what is listed of kinds that cannot be asked directly, and that only a stack can delete."""
    ours = {arn: labels for arn, labels in found.items() if labels.get(tags.CONTROLLER, controller) == controller}
    return {arn: of for arn, of in ours.items() if _kind_of(arn) is None and arn.split(":")[2] != "cloudformation"}


def find(workload: "Workload", environment: str, controller: str, found: Listed | None = None) -> list[Remnant]:
    """Finds what is left of an environment besides its stack, of the kinds that Mayfly can delete: groups and instances
    always, the rest if hinted at.

    What carries another controller's tag is none of it, whatever environment it names; what carries none is, so that
    people are told of it.

    Args:
        found: what is listed, where that was asked already.
    """
    hints = listed(workload, environment) if found is None else found
    hinted = {kind for arn in hints if (kind := _kind_of(arn))}
    by_tag = [{"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]}]
    kinds = [kind for kind in _KINDS if kind in ("group", "instance") or kind in hinted]
    there = (remnant for kind in kinds for remnant in _KINDS[kind].list_by_tag(workload, by_tag))
    return [remnant for remnant in there if remnant.labels.get(tags.CONTROLLER, controller) == controller]


def going(workload: "Workload", resources: Iterable[Resource]) -> list[Remnant]:
    """Returns the parts of a network that go on after a deletion in Express mode, which has only asked for it."""
    states = networks.states(workload, resources)
    return [
        Remnant(state, identity, {}, going=True) for identity, state in sorted(states.items()) if state != "deleted"
    ]


def protected(workload: "Workload", environment: str, seen: Iterable[instances.Instance]) -> list[str]:
    """Names what of an environment is protected by a tag of its own: its stack would take it along.

    Args:
        seen: its instances. The tagging API lags, and they matter most: EC2 itself was asked.
    """
    with_tags = [{"Key": tags.ENVIRONMENT, "Values": [environment]}, {"Key": tags.PROTECTED}]
    found = {**tagging.listed(workload, with_tags), **{one.id: one.labels for one in seen}}
    return [f"{identity}: {said}" for identity, labels in sorted(found.items()) if (said := protection(labels))]


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
    """Returns the kind of resource in an ARN, None for what is not ours to delete (a stack and what belongs to its
    network)."""
    service, resource = arn.split(":")[2], arn.split(":", 5)[5]
    kind = {"ec2": resource.split("/")[0], "logs": "log-group", "ssm": "parameter"}.get(service)
    return kind if kind in _KINDS else None


def _groups(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
    """Lists groups. A group that its stack retained launches its instances again for ever: it has to end first."""
    pages = workload.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(Filters=by_tag)
    for page in pages:
        for found in page["AutoScalingGroups"]:
            going = found.get("Status") == "Delete in progress"
            yield Remnant("group", found["AutoScalingGroupName"], plain(found["Tags"]), going)


def _instances(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
    for found in instances.find(workload, {tags.ENVIRONMENT: by_tag[0]["Values"][0]}):
        yield Remnant("instance", found.id, found.labels, found.going)


def _described(operation: str, listed: str, identity: str, labelled: str = "Tags") -> Callable[..., Iterable[Remnant]]:
    """Makes the listing of a kind that EC2 describes in pages and filters by tag."""
    kind = {"VolumeId": "volume", "NetworkInterfaceId": "network-interface", "GroupId": "security-group"}
    kind |= {"LaunchTemplateId": "launch-template"}

    def listing(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
        pages: Any = workload.ec2.get_paginator(operation)  # type: ignore[call-overload]
        for page in pages.paginate(Filters=by_tag):
            for found in page[listed]:
                yield Remnant(kind[identity], found[identity], plain(found.get(labelled, [])))

    return listing


def _key_pairs(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
    for found in workload.ec2.describe_key_pairs(Filters=by_tag)["KeyPairs"]:
        yield Remnant("key-pair", found["KeyPairId"], plain(found.get("Tags", [])))


def _tagged_only(
    kind: str, service: str, exists: Callable[["Workload", str], bool]
) -> Callable[..., Iterable[Remnant]]:
    """Makes the listing of a kind that only the tagging API finds by tag: each resource is looked at, as that API also
    shows what is gone."""

    def listing(workload: "Workload", by_tag: Any) -> Iterable[Remnant]:
        found = tagging.listed(workload, [{"Key": tags.ENVIRONMENT, "Values": by_tag[0]["Values"]}], [service])
        for arn, labels in found.items():
            identity = arn.split(":", 5)[5].partition(kind)[2].lstrip(":")
            if kind == "parameter" and identity.count("/") == 1:  # no path: its name does not begin with a slash
                identity = identity.lstrip("/")
            if exists(workload, identity):
                yield Remnant(kind, identity, labels)

    return listing


def is_log_group(workload: "Workload", identity: str) -> bool:
    """Tells whether there is a log group of this name."""
    name = identity.removesuffix(":*")
    listed = workload.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(each["logGroupName"] == name for each in listed)  # the shortest of those that begin so comes first


def delete_function_logs(workload: "Workload", name: str, own: Mapping[str, str]) -> str:
    """Deletes a log group that Lambda made for a function; says why not where the guard refuses.

    Args:
        own: the environment's tags. Lambda gives the group none.
    """
    (group,) = workload.logs.describe_log_groups(logGroupNamePrefix=name, limit=1)["logGroups"]
    labels = workload.logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))["tags"]
    permission = may_destroy(own[tags.ENVIRONMENT], own[tags.CONTROLLER], {**own, **labels})
    if not permission.granted:
        return permission.reason
    workload.logs.delete_log_group(logGroupName=name)
    return ""


def _is_parameter(workload: "Workload", identity: str) -> bool:
    named: Any = [{"Key": "Name", "Option": "Equals", "Values": [identity]}]
    return bool(workload.ssm.describe_parameters(ParameterFilters=named)["Parameters"])


def _delete_interface(workload: "Workload", identity: str) -> None:
    found = workload.ec2.describe_network_interfaces(NetworkInterfaceIds=[identity])["NetworkInterfaces"][0]
    attachment = found.get("Attachment", {}).get("AttachmentId")
    if attachment:
        workload.ec2.detach_network_interface(AttachmentId=attachment, Force=True)
    else:
        workload.ec2.delete_network_interface(NetworkInterfaceId=identity)


_KINDS: dict[str, _Kind] = {
    "group": _Kind(
        _groups,
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
        _tagged_only("log-group", "logs:log-group", is_log_group),
        lambda to, identity: to.logs.delete_log_group(logGroupName=identity.removesuffix(":*")),
    ),
    "parameter": _Kind(
        _tagged_only("parameter", "ssm:parameter", _is_parameter),
        lambda to, identity: to.ssm.delete_parameter(Name=identity),
    ),
}
"""Groups and instances first: they cost most, and hold the rest."""
