"""Parameters of Parameter Store: the controller's, or those of a workload account."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mayfly.aws.clients import controller
from mayfly.domain.text import principal
from mayfly.domain.timestamp import utc_text

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


def get(ssm: "SSMClient", name: str) -> str | None:
    """Returns the value of a parameter; None where there is none."""
    try:
        return ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None


def below(ssm: "SSMClient", path: str, **how: Any) -> Iterator[tuple[str, str]]:
    """Returns the names and values of all parameters below a path, page by page."""
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=path, **how):
        yield from ((found["Name"], found["Value"]) for found in page["Parameters"])


LONGEST = 8_192
"""Characters that a parameter may have."""
_NOTE = re.compile(r"#(\d+) ([^:]+): (.*)", re.DOTALL)
"""The description of a version: its number, who wrote it, and why. A writer without one leaves that of the version
before, which says another number."""
_DESCRIPTION = 1024
"""Characters that Parameter Store takes."""


class Version(Struct, frozen=True):
    """A version of a parameter: when it was written, by whom and why, as far as its description or AWS says it."""

    number: int
    at: str
    by: str
    why: str
    value: str


def versions(name: str) -> list[Version]:
    """Returns all versions of a parameter of the controller's, the oldest first; none where there is no such
    parameter."""
    ssm = controller("ssm")
    try:
        pages = ssm.get_paginator("get_parameter_history").paginate(Name=name)
        found = [_version(each) for page in pages for each in page["Parameters"]]
    except ssm.exceptions.ParameterNotFound:
        return []
    return sorted(found, key=lambda each: each.number)


def _version(found: Any) -> Version:
    number = int(found["Version"])
    noted = _NOTE.fullmatch(found.get("Description") or "")
    own = noted and int(noted[1]) == number
    by, why = (noted[2], noted[3]) if noted and own else (principal(found.get("LastModifiedUser", "")), "")
    return Version(number, utc_text(found["LastModifiedDate"]), by, why, found["Value"])


def put(name: str, version: Version) -> None:
    """Writes the version that follows the one of a parameter that is there, with who did and why."""
    note = f"#{version.number} {version.by.replace(':', ' ')}: {version.why}"[:_DESCRIPTION]
    # Above 4 KB a parameter costs a little.
    how: Any = {"Type": "String", "Tier": "Intelligent-Tiering", "Overwrite": True}
    controller("ssm").put_parameter(Name=name, Value=version.value, Description=note, **how)
