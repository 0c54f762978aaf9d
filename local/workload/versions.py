"""Who made each version of a launch template: CloudFormation, in the role that its stack was given, or who called EC2.
moto says that the account's root made them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from moto.cloudformation.models import Stack
from moto.core.responses import ActionResult
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.responses.launch_templates import LaunchTemplates

_builder: ContextVar[str] = ContextVar("builder", default="")
_makers: dict[LaunchTemplateVersion, str] = {}


@contextmanager
def built_for(stack: Stack) -> Iterator[None]:
    """While this is entered, what is made is made by CloudFormation in the role of this stack; without a role, by
    whoever asked for the stack."""
    _, _, role = str(stack.role_arn or "").rpartition(":role/")
    arn = f"arn:aws:sts::{stack.account_id}:assumed-role/{role.rpartition('/')[2]}/AWSCloudFormation"
    before = _builder.set(arn if role else "")
    try:
        yield
    finally:
        _builder.reset(before)


def install() -> None:
    """Lets DescribeLaunchTemplateVersions say it."""
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        setattr(LaunchTemplate, name, classmethod(_noting(getattr(LaunchTemplate, name).__func__)))
    shown = LaunchTemplates.describe_launch_template_versions

    def describe_launch_template_versions(response: Any) -> ActionResult:
        answer: Any = shown(response)
        for one in answer.result["LaunchTemplateVersions"]:
            template = response.ec2_backend.get_launch_template(one["LaunchTemplateId"])
            if maker := _makers.get(template.get_version(one["VersionNumber"])):
                one["CreatedBy"] = maker
        return answer  # type: ignore[no-any-return]

    setattr(LaunchTemplates, shown.__name__, describe_launch_template_versions)


def _noting(make: Callable[..., LaunchTemplate]) -> Callable[..., LaunchTemplate]:
    def made(*arguments: Any, **options: Any) -> LaunchTemplate:
        template = make(*arguments, **options)
        _makers[template.versions[-1]] = _builder.get()
        return template

    return made
