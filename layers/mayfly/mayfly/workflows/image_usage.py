"""Finds what uses images, from both sides: everything of a Region that names images, page by page, and what EC2 itself
knows of single ones. What cannot be looked at is unknown, and never counts as unused."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import botocore
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, field

from mayfly.aws import instances, parameters
from mayfly.domain import tags
from mayfly.domain.retirement import Usage
from mayfly.observability import logger

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

type Named = tuple[str, str]
"""An image's id, and what names it."""

_IMAGE = re.compile(r"\bami-[0-9a-f]{8,17}\b")
_REFERENCES_AT_ONCE = 10
"""Images that one DescribeImageReferences takes."""
_ALL_VERSIONS = "10000"
"""Versions of a launch template that EC2 looks at; it looks at the newest 10 or 20 where it is told nothing."""
_REFERRING: Any = [
    {"ResourceType": "ec2:Instance"},
    {
        "ResourceType": "ec2:LaunchTemplate",
        "ResourceTypeOptions": [{"OptionName": "version-depth", "OptionValues": [_ALL_VERSIONS]}],
    },
    {"ResourceType": "ssm:Parameter"},
    {"ResourceType": "imagebuilder:ImageRecipe"},
    {"ResourceType": "imagebuilder:ContainerRecipe"},
]
_BY_REFERENCES = frozenset({"instances", "launch templates", "recipes"})
"""What DescribeImageReferences answers for, where it cannot be looked at directly. Of parameters it sees those of one
data type only."""
_FRESH = timedelta(days=7)
"""How old a usage report may be."""


class SdkTooOld(BotoCoreError):
    """The AWS SDK of the Lambda runtime does not know an operation yet: what it would say is unknown."""

    fmt = "the AWS SDK here (botocore {version}) does not know the operation {operation}"


def _operation(workload: "Workload", name: str) -> Any:
    """Pages an operation of EC2's that older SDKs lack.

    Raises:
        SdkTooOld: so does this one.
    """
    if not hasattr(workload.ec2, name):
        raise SdkTooOld(version=botocore.__version__, operation=name)
    return getattr(workload.ec2, name)


def _pages(workload: "Workload", name: str, **asked: Any) -> Any:
    _operation(workload, name)
    return workload.ec2.get_paginator(name).paginate(**asked)  # type: ignore[call-overload]


class Look(Struct):
    """What was seen at one target: uses by image, and the kinds that could not be looked at, each with the reason."""

    uses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unknown: dict[str, str] = field(default_factory=dict)


def find_usage(workload: "Workload") -> Look:
    """Looks at everything of an account in one Region that can name an image."""
    seen = Look()
    for kind, source in _SOURCES.items():
        try:
            for image, what in source(workload):
                seen.uses[image].append(what)
        except (ClientError, BotoCoreError) as error:
            seen.unknown[kind] = _code(error)
            logger.warning("cannot be looked at", extra={"kind": kind, "region": workload.region, "error": str(error)})
    return seen


def _instances(workload: "Workload") -> Iterator[Named]:
    return ((one.image, f"instance {one.id}") for one in instances.find(workload, {}, going=False))


def _launch_templates(workload: "Workload") -> Iterator[Named]:
    """Returns every version of every template: an Auto Scaling group may be on an old one."""
    ec2 = workload.ec2
    for page in ec2.get_paginator("describe_launch_templates").paginate(PaginationConfig={"PageSize": 200}):
        for template in page["LaunchTemplates"]:
            versions = ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template["LaunchTemplateId"],
                ResolveAlias=True,
                PaginationConfig={"PageSize": 200},
            )
            for version in (one for each in versions for one in each["LaunchTemplateVersions"]):
                for image in _IMAGE.findall(version["LaunchTemplateData"].get("ImageId", "")):
                    yield image, f"launch template {template['LaunchTemplateName']}:{version['VersionNumber']}"


def _launch_configurations(workload: "Workload") -> Iterator[Named]:
    for page in workload.autoscaling.get_paginator("describe_launch_configurations").paginate():
        for one in page["LaunchConfigurations"]:
            yield one["ImageId"], f"launch configuration {one['LaunchConfigurationName']}"


def _groups(workload: "Workload") -> Iterator[Named]:
    """Images that a group names itself; those of its templates and configurations are seen there."""
    for page in workload.autoscaling.get_paginator("describe_auto_scaling_groups").paginate():
        for group in page["AutoScalingGroups"]:
            for image in _IMAGE.findall(str(group.get("MixedInstancesPolicy", ""))):
                yield image, f"Auto Scaling group {group['AutoScalingGroupName']}"


def _stack_parameters(workload: "Workload") -> Iterator[Named]:
    for page in workload.cloudformation.get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            for parameter in stack.get("Parameters", []):
                said = f"{parameter.get('ParameterValue', '')} {parameter.get('ResolvedValue', '')}"
                for image in _IMAGE.findall(said):
                    yield image, f"stack {stack['StackName']}"


def _parameters(workload: "Workload") -> Iterator[Named]:
    """Parameters of whatever type and path that are no secrets: who wrote an image's id in plain text means it too."""
    plain = [{"Key": "Type", "Option": "Equals", "Values": ["String", "StringList"]}]
    for name, value in parameters.below(workload.ssm, "/", Recursive=True, ParameterFilters=plain):
        for image in _IMAGE.findall(value):
            yield image, f"parameter {name}"


def _recipes(workload: "Workload") -> Iterator[Named]:
    for operation, listed in (
        ("list_image_recipes", "imageRecipeSummaryList"),
        ("list_container_recipes", "containerRecipeSummaryList"),
    ):
        for page in workload.imagebuilder.get_paginator(operation).paginate(owner="Self"):
            for recipe in page[listed]:
                for image in _IMAGE.findall(f"{recipe.get('parentImage', '')} {recipe.get('instanceImage', '')}"):
                    yield image, f"recipe {recipe['name']}"


def _spot_fleets(workload: "Workload") -> Iterator[Named]:
    """Lists Spot Fleet requests: a request launches again whenever its capacity is raised, from the specifications that
    it has inline."""
    for page in workload.ec2.get_paginator("describe_spot_fleet_requests").paginate():
        for request in page["SpotFleetRequestConfigs"]:
            if request["SpotFleetRequestState"] not in _OVER:
                for image in _IMAGE.findall(str(request["SpotFleetRequestConfig"])):
                    yield image, f"Spot Fleet {request['SpotFleetRequestId']}"


def _fleets(workload: "Workload") -> Iterator[Named]:
    """Images that an EC2 Fleet names in its overrides; those of its launch templates are seen there."""
    for page in workload.ec2.get_paginator("describe_fleets").paginate():
        for fleet in page["Fleets"]:
            if fleet["FleetState"] not in _OVER:
                for image in _IMAGE.findall(str(fleet.get("LaunchTemplateConfigs", ""))):
                    yield image, f"EC2 Fleet {fleet['FleetId']}"


def _spot_requests(workload: "Workload") -> Iterator[Named]:
    """Lists Spot requests: a persistent one launches again whenever its instance ends."""
    for page in workload.ec2.get_paginator("describe_spot_instance_requests").paginate():
        for request in page["SpotInstanceRequests"]:
            if request["State"] in ("open", "active", "disabled"):
                for image in _IMAGE.findall(request.get("LaunchSpecification", {}).get("ImageId", "")):
                    yield image, f"Spot request {request['SpotInstanceRequestId']}"


_OVER = frozenset({"cancelled", "deleted", "failed"})
"""States of fleets that launch nothing any more."""


_SOURCES: Mapping[str, Callable[["Workload"], Iterable[Named]]] = {
    "instances": _instances,
    "launch templates": _launch_templates,
    "launch configurations": _launch_configurations,
    "Auto Scaling groups": _groups,
    "stack parameters": _stack_parameters,
    "parameters": _parameters,
    "recipes": _recipes,
    "Spot Fleets": _spot_fleets,
    "EC2 Fleets": _fleets,
    "Spot requests": _spot_requests,
}


def references(workload: "Workload", images: Sequence[str], seen: Look) -> dict[str, Usage]:
    """Returns what EC2 knows to refer to images, and what is still unknown of the direct look with that.

    Where EC2 cannot be asked, any of these images may be in use: it sees uses that the direct look does not.
    """
    found: dict[str, list[str]] = defaultdict(list)
    unknown = dict(seen.unknown)
    try:
        for start in range(0, len(images), _REFERENCES_AT_ONCE):
            asked = {"ImageIds": images[start : start + _REFERENCES_AT_ONCE], "ResourceTypes": _REFERRING}
            pages = _pages(workload, "describe_image_references", **asked)
            for page in pages:
                for one in page["ImageReferences"]:
                    found[one["ImageId"]].append(one["Arn"])
        unknown = {kind: why for kind, why in unknown.items() if kind not in _BY_REFERENCES}
    except (ClientError, BotoCoreError) as error:
        unknown["references"] = _code(error)
    doubts = tuple(f"{kind}: {why}" for kind, why in unknown.items())
    return {image: Usage(tuple(found[image]), doubts) for image in images}


def elsewhere(workload: "Workload", images: Sequence[str], now: datetime) -> dict[str, Usage]:
    """Returns what other accounts use, by EC2's usage reports of the last days; unknown for an image without one."""
    try:
        reports = _reports(workload, now)
        entries = _pages(workload, "describe_image_usage_report_entries")
        found: dict[str, list[str]] = defaultdict(list)
        for entry in (one for page in entries for one in page["ImageUsageReportEntries"]):
            if entry.get("UsageCount", 1):
                found[entry["ReportId"]].append(f"account {entry['AccountId']} ({entry['ResourceType']})")
    except (ClientError, BotoCoreError) as error:
        return {image: Usage(unknown=(f"other accounts: {_code(error)}",)) for image in images}
    return {image: _by_report(reports.get(image), found) for image in images}


def _reports(workload: "Workload", now: datetime) -> dict[str, tuple[str, str]]:
    """Returns the newest fresh report over all accounts and types of each image: its id and state."""
    pages = _pages(workload, "describe_image_usage_reports")
    listed = [report for page in pages for report in page["ImageUsageReports"]]
    found: dict[str, tuple[str, str]] = {}
    for report in sorted(listed, key=lambda report: report["CreationTime"]):
        types = {one["ResourceType"] for one in report.get("ResourceTypes", [])}
        whole = not report.get("AccountIds") and {"ec2:Instance", "ec2:LaunchTemplate"} <= types
        if whole and report["CreationTime"] >= now - _FRESH:
            found[report["ImageId"]] = (report["ReportId"], report["State"])
    return found


def _by_report(report: tuple[str, str] | None, found: Mapping[str, Sequence[str]]) -> Usage:
    match report:
        case None:
            return Usage(unknown=(NO_REPORT,))
        case (report_id, "available"):
            return Usage(tuple(found.get(report_id, ())))
        case (_, state):
            return Usage(unknown=(f"other accounts: their usage report is {state}",))


NO_REPORT = "other accounts: there is no usage report of the last days yet"


def ask_for_report(workload: "Workload", image: str, controller: str) -> None:
    """Asks EC2 for a report of what uses an image in whatever account. It is there later, and stays for 30 days."""
    _operation(workload, "create_image_usage_report")(
        ImageId=image,
        ResourceTypes=_REFERRING[:2],
        TagSpecifications=[
            {"ResourceType": "image-usage-report", "Tags": [{"Key": tags.CONTROLLER, "Value": controller}]}
        ],
    )


def merged(many: Iterable[Usage]) -> Usage:
    """Merges all that is known of one image, from several sides."""
    known = list(many)
    return Usage(
        tuple(use for usage in known for use in usage.uses), tuple(doubt for usage in known for doubt in usage.unknown)
    )


def _code(error: ClientError | BotoCoreError) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
