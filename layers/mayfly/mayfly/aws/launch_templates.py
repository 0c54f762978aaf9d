"""Launch templates, seen through one workload account."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def makers(workload: "Workload", template: str, since: str) -> dict[int, str]:
    """Tells who made each version of a launch template that is newer than this one: an ARN, by the version's number."""
    pages = workload.ec2.get_paginator("describe_launch_template_versions").paginate(
        LaunchTemplateId=template, MinVersion=since
    )
    found = {one["VersionNumber"]: one["CreatedBy"] for page in pages for one in page["LaunchTemplateVersions"]}
    return {number: who for number, who in found.items() if number > int(since)}
