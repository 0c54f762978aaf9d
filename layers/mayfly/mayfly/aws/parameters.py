"""Parameters of Parameter Store: the controller's, or those of a workload account."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


def get(ssm: "SSMClient", name: str) -> str | None:
    """The value of a parameter; None where there is none."""
    try:
        return ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None


def below(ssm: "SSMClient", path: str, **how: Any) -> Iterator[tuple[str, str]]:
    """The names and values of all parameters below a path, page by page."""
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=path, **how):
        yield from ((found["Name"], found["Value"]) for found in page["Parameters"])
