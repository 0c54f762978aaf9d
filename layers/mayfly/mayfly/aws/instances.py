"""Instances of EC2, and the volumes beside them, seen through one workload account."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from mayfly.domain import tags
from mayfly.domain.needs import Use, vcpu_quota, vcpus
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from mayfly.aws.clients import Workload

_ALIVE = ("pending", "running", "stopping", "stopped")
_GOING = "shutting-down"
_VALUES = 200
"""Values that one filter takes."""


class Instance(Struct, frozen=True):
    """An instance as DescribeInstances shows it."""

    id: str
    state: str
    labels: Mapping[str, str]
    kind: str
    image: str
    launched_at: datetime
    spot: bool = False

    @property
    def going(self) -> bool:
        """Whether it is being terminated already."""
        return self.state == _GOING


def find(workload: "Workload", labels: Mapping[str, str | None], going: bool = True) -> Iterator[Instance]:
    """Finds every instance that carries these tags and is not terminated, page by page.

    Args:
        labels: the tags' values by their keys; None where any value will do.
        going: whether those that are being terminated count as well.
    """
    by_tag: list[Any] = [
        {"Name": f"tag:{key}", "Values": [value]} if value else {"Name": "tag-key", "Values": [key]}
        for key, value in labels.items()
    ]
    alive = {"Name": "instance-state-name", "Values": [*_ALIVE, *([_GOING] if going else [])]}
    yield from _described(workload, Filters=[*by_tag, alive], PaginationConfig={"PageSize": 1000})


def of_environment(workload: "Workload", environment: str, controller: str) -> list[Instance]:
    """Returns all instances that carry the environment's and the controller's tag and are not terminated."""
    return [*find(workload, {tags.ENVIRONMENT: environment, tags.CONTROLLER: controller})]


def describe(workload: "Workload", instance: str) -> Instance | None:
    """Returns the instance of this id; None where EC2 does not know it: right after its launch not yet, later not any
    more."""
    try:
        return next(_described(workload, InstanceIds=[instance]), None)
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidInstanceID.NotFound":
            raise
    return None


def named(workload: "Workload", environments: Iterable[str]) -> dict[str, list[str]]:
    """Returns the ids of the instances that carry the tag of each of these environments."""
    found: dict[str, list[str]] = {}
    for some in batched(environments, _VALUES, strict=False):
        asked: Any = [{"Name": f"tag:{tags.ENVIRONMENT}", "Values": list(some)}]
        for one in _described(workload, Filters=asked):
            found.setdefault(one.labels[tags.ENVIRONMENT], []).append(one.id)
    return found


def console(ec2: "EC2Client", instance: str) -> str:
    """Returns what an instance has printed on its console so far; "" while EC2 has nothing of it."""
    try:
        found = ec2.get_console_output(InstanceId=instance, Latest=True)
    except ClientError as error:
        # Only Nitro shows what is printed now; of others, there is what they had printed when EC2 looked last.
        if error.response["Error"]["Code"] != "UnsupportedOperation":
            raise
        found = ec2.get_console_output(InstanceId=instance)
    return found.get("Output", "")


def architectures(workload: "Workload", instance_type: str) -> list[str] | None:
    """Returns the architectures whose images an instance type boots; None where EC2 has no such type."""
    asked: Any = [instance_type]
    try:
        (listed,) = workload.ec2.describe_instance_types(InstanceTypes=asked)["InstanceTypes"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidInstanceType":
            raise
        return None
    return sorted(listed["ProcessorInfo"]["SupportedArchitectures"])


def _described(workload: "Workload", **which: Any) -> Iterator[Instance]:
    for page in workload.ec2.get_paginator("describe_instances").paginate(**which):
        for reservation in page["Reservations"]:
            for found in reservation["Instances"]:
                yield Instance(
                    found["InstanceId"],
                    found["State"]["Name"],
                    plain(found.get("Tags", [])),
                    found["InstanceType"],
                    found["ImageId"],
                    found["LaunchTime"],
                    found.get("InstanceLifecycle") == "spot",
                )


def counted(
    workload: "Workload", environment: str, controller: str, seen: Sequence[Instance] | None = None
) -> dict[str, Any]:
    """Returns what of an environment costs money, as its record keeps it for `mayfly.domain.cost`; {} where there is
    nothing. Not to know it fails no life, and keeps nothing standing.

    Args:
        seen: its instances, where they have been looked at already.
    """
    try:
        running = of_environment(workload, environment, controller) if seen is None else seen
        pages = workload.ec2.get_paginator("describe_volumes").paginate(
            Filters=[{"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]}]
        )
        volume_gb = sum(volume["Size"] for page in pages for volume in page["Volumes"]) if running else 0
    except (ClientError, BotoCoreError):
        logger.exception("what it costs is not known")
        return {}
    if not running:
        return {}
    return {
        "instance_types": dict(Counter(instance.kind for instance in running)),
        "volume_gb": volume_gb,
        "launched_at": utc_text(min(instance.launched_at for instance in running)),
    }


def plain(listed: Iterable[Any]) -> dict[str, str]:
    """Tags as AWS lists them, by their keys."""
    return {tag["Key"]: tag["Value"] for tag in listed}


def used_instances(workload: "Workload") -> Iterator[Use]:
    """Lists the vCPUs of instances that run, by the quota that they count for."""
    states: Any = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    for page in workload.ec2.get_paginator("describe_instances").paginate(Filters=states):
        for instance in (each for reservation in page["Reservations"] for each in reservation["Instances"]):
            kind, spot = instance["InstanceType"], instance.get("InstanceLifecycle") == "spot"
            if quota := vcpu_quota(kind, spot):
                yield quota, vcpus(kind) or 0, instance


def used_volumes(workload: "Workload") -> Iterator[Use]:
    """Lists the GiB of volumes, by their type."""
    for page in workload.ec2.get_paginator("describe_volumes").paginate():
        yield from ((f"{volume['VolumeType']}-gib", volume["Size"], volume) for volume in page["Volumes"])
