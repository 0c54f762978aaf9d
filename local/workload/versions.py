"""Who made each version of a launch template: CloudFormation, in its service role, or who called EC2. moto says that
the account's root made them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.responses.launch_templates import LaunchTemplates

SERVICE_ROLE = "mayfly-cloudformation"
_by_stacks: set[LaunchTemplateVersion] = set()


def install() -> None:
    """Lets DescribeLaunchTemplateVersions say it."""
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        setattr(LaunchTemplate, name, classmethod(_noting(getattr(LaunchTemplate, name).__func__)))
    shown = LaunchTemplates.describe_launch_template_versions

    def describe_launch_template_versions(response: Any) -> ActionResult:
        answer: Any = shown(response)
        role = f"arn:aws:sts::{response.current_account}:assumed-role/{SERVICE_ROLE}/AWSCloudFormation"
        for one in answer.result["LaunchTemplateVersions"]:
            template = response.ec2_backend.get_launch_template(one["LaunchTemplateId"])
            if template.get_version(one["VersionNumber"]) in _by_stacks:
                one["CreatedBy"] = role
        return answer  # type: ignore[no-any-return]

    setattr(LaunchTemplates, shown.__name__, describe_launch_template_versions)


def _noting(make: Callable[..., LaunchTemplate]) -> Callable[..., LaunchTemplate]:
    def made(*arguments: Any, **options: Any) -> LaunchTemplate:
        template = make(*arguments, **options)
        _by_stacks.add(template.versions[-1])
        return template

    return made
