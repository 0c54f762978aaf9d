"""What of this installation exists at one place, by its tags: all pages, whatever the table says."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mayfly.domain import tags
from mayfly.domain.identity import environment_of, stack_name
from mayfly.domain.sweep import Found

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def look(workload: "Workload", controller: str) -> list[Found]:
    """Every environment of this controller: those with a stack, and those of which only resources are left.

    Resources are listed before stacks. A stack that is created in between is then seen without its resources and
    not the other way round, which would look like remains.
    """
    remains = _resources(workload, controller)
    found = {stack.environment: stack for stack in _stacks(workload, controller)}
    for environment, (labels, arns) in remains.items():
        if environment not in found:
            found[environment] = Found(environment, labels, remains=tuple(arns))
    return list(found.values())


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


def _resources(workload: "Workload", controller: str) -> dict[str, tuple[dict[str, str], list[str]]]:
    """What carries this controller's tag and is no stack, by environment. It shows ended instances for an hour."""
    left: dict[str, tuple[dict[str, str], list[str]]] = {}
    pages = workload.tagging.get_paginator("get_resources").paginate(
        TagFilters=[{"Key": tags.CONTROLLER, "Values": [controller]}], PaginationConfig={"PageSize": 100}
    )
    for page in pages:
        for resource in page["ResourceTagMappingList"]:
            labels = _plain(resource["Tags"])
            environment = labels.get(tags.ENVIRONMENT)
            if environment and f":stack/{stack_name(environment)}/" not in resource["ResourceARN"]:
                left.setdefault(environment, (labels, []))[1].append(resource["ResourceARN"])
    return left


def _plain(listed: Iterable[Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed}
