"""Calls the Resource Groups Tagging API, which knows resources of all kinds by their tags. It lists for up to an hour
what is gone."""

from collections.abc import Collection, Mapping, Sequence
from itertools import batched
from typing import TYPE_CHECKING, Any

from mayfly.aws.instances import plain
from mayfly.domain import tags

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

type Listed = Mapping[str, Mapping[str, str]]
"""Tags by ARN."""

_VALUES = 20
"""Values of a tag that one call takes."""


def listed(workload: "Workload", by_tag: Any, kinds: Sequence[str] = ()) -> Listed:
    """Lists what carries these tags, of some kinds or of whatever kind."""
    pages = workload.tagging.get_paginator("get_resources").paginate(
        TagFilters=by_tag, ResourceTypeFilters=kinds, PaginationConfig={"PageSize": 100}
    )
    return {one["ResourceARN"]: plain(one["Tags"]) for page in pages for one in page["ResourceTagMappingList"]}


def of_environments(
    workload: "Workload", controller: str, environments: Collection[str], kinds: Sequence[str] = ()
) -> Listed:
    """Lists what carries this controller's tag and one of these environments'."""
    found: dict[str, Mapping[str, str]] = {}
    for some in batched(environments, _VALUES, strict=False):
        values = {tags.CONTROLLER: [controller], tags.ENVIRONMENT: [*some]}
        found |= listed(workload, [{"Key": key, "Values": each} for key, each in values.items()], kinds)
    return found


def environments(workload: "Workload") -> list[str]:
    """Lists the environments that tags name, whoever's those are."""
    pages = workload.tagging.get_paginator("get_tag_values").paginate(Key=tags.ENVIRONMENT)
    return list(dict.fromkeys(value for page in pages for value in page["TagValues"]))
