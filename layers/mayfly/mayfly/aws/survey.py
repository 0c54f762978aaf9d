"""What of this installation exists at one place, by its tags: all pages, whatever the table says."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mayfly.aws import remains
from mayfly.domain import tags
from mayfly.domain.identity import environment_of
from mayfly.domain.sweep import Found

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def look(workload: "Workload", controller: str) -> list[Found]:
    """Every environment of this controller: those with a stack, and those of which only resources are left.

    Resources are listed before stacks. A stack that is created in between is then seen without its resources and
    not the other way round, which would look like remains.
    """
    tagged = _resources(workload, controller)
    found = list(_stacks(workload, controller))
    with_stack = {environment.environment for environment in found}
    for environment, labels in tagged.items():
        # The listing shows for an hour what is gone; what has no stack is rare enough to be looked at itself.
        if environment not in with_stack and (left := remains.find(workload, environment)):
            found.append(Found(environment, labels, remains=tuple(f"{r.kind} {r.id}" for r in left)))
    return found


def _stacks(workload: "Workload", controller: str) -> Iterable[Found]:
    for page in workload.cloudformation.get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            labels = _plain(stack.get("Tags", []))
            environment = environment_of(stack["StackName"])
            # By prefix too, and not by tag alone: a stack that lost its tag is to be seen, and refused.
            if environment and (labels.get(tags.CONTROLLER) in (None, controller)):
                created: datetime = stack["CreationTime"]
                yield Found(
                    labels.get(tags.ENVIRONMENT, environment),
                    labels,
                    stack["StackId"],
                    stack["StackStatus"],
                    created,
                    stack.get("EnableTerminationProtection", False),
                )


def _resources(workload: "Workload", controller: str) -> dict[str, dict[str, str]]:
    """The environments that resources of this controller name, each with the tags of one of them."""
    pages = workload.tagging.get_paginator("get_resources").paginate(
        TagFilters=[{"Key": tags.CONTROLLER, "Values": [controller]}], PaginationConfig={"PageSize": 100}
    )
    labels = (_plain(resource["Tags"]) for page in pages for resource in page["ResourceTagMappingList"])
    return {own[tags.ENVIRONMENT]: own for own in labels if tags.ENVIRONMENT in own}


def _plain(listed: Iterable[Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed}
