"""Load balancers and their target groups, seen through one workload account."""

from collections.abc import Iterator
from itertools import batched
from typing import TYPE_CHECKING, Any

from mayfly.domain.needs import Use

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_ARNS = 20
"""Load balancers, or target groups, whose tags one call lists."""


def used_balancers(workload: "Workload") -> Iterator[Use]:
    """Lists load balancers, with their tags."""
    for page in workload.elbv2.get_paginator("describe_load_balancers").paginate():
        labels = _labels(workload, [each["LoadBalancerArn"] for each in page["LoadBalancers"]])
        for each in page["LoadBalancers"]:
            yield f"{each['Type']}-load-balancers", 1, each | {"Tags": labels.get(each["LoadBalancerArn"])}


def used_target_groups(workload: "Workload") -> Iterator[Use]:
    """Lists target groups, with their tags."""
    for page in workload.elbv2.get_paginator("describe_target_groups").paginate():
        labels = _labels(workload, [each["TargetGroupArn"] for each in page["TargetGroups"]])
        yield from (
            ("target-groups", 1, each | {"Tags": labels.get(each["TargetGroupArn"])}) for each in page["TargetGroups"]
        )


def _labels(workload: "Workload", arns: list[str]) -> dict[str, Any]:
    asked = (workload.elbv2.describe_tags(ResourceArns=list(some)) for some in batched(arns, _ARNS, strict=False))
    return {each["ResourceArn"]: each["Tags"] for reply in asked for each in reply["TagDescriptions"]}
