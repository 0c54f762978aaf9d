"""What of this installation exists at one place, by its tags: all pages, whatever the table says."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws import clients, remains
from mayfly.domain import tags
from mayfly.domain.identity import environment_of
from mayfly.domain.sweep import Found
from mayfly.observability import logger

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


type Place = tuple[str, str]
"""An account and a Region."""


def everywhere(places: Iterable[Place], role: str, controller: str) -> tuple[list[tuple[Found, Place]], dict[str, str]]:
    """What exists at each place; and which places could not be looked at, with why: one that is closed to us keeps
    none of the others from being swept."""
    seen: list[tuple[Found, Place]] = []
    unseen = {}
    for place in places:
        try:
            seen += [(found, place) for found in look(clients.workload(*place, role, None), controller)]
        except (BotoCoreError, ClientError) as error:
            logger.exception("a place could not be looked at", extra={"place": place})
            unseen["/".join(place)] = str(error)
    return seen, unseen


def look(workload: "Workload", controller: str) -> list[Found]:
    """Every environment at this place: those with a stack, and those of this controller of which only resources are
    left. Another controller's stack is among them: it may bear the name of an environment that we wait for.

    Resources are listed before stacks. A stack that is created in between is then seen without its resources and
    not the other way round, which would look like remains.
    """
    tagged = _resources(workload, controller)
    found = list(_stacks(workload, tagged))
    with_stack = {environment.environment for environment in found}
    for environment, labels in tagged.items():
        # The listing shows for an hour what is gone; what has no stack is rare enough to be looked at itself.
        if environment not in with_stack and (left := remains.find(workload, environment, controller)):
            found.append(Found(environment, labels, remains=tuple(f"{r.kind} {r.id}" for r in left)))
    return found


def instances(workload: "Workload", controller: str) -> Iterable[tuple[str, str]]:
    """The image and the environment ("" for none) of every instance of this controller that is not gone or going."""
    pages = workload.ec2.get_paginator("describe_instances").paginate(
        Filters=[
            {"Name": f"tag:{tags.CONTROLLER}", "Values": [controller]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
        ],
        PaginationConfig={"PageSize": 1000},
    )
    for page in pages:
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                yield instance["ImageId"], _plain(instance.get("Tags", [])).get(tags.ENVIRONMENT, "")


def _stacks(workload: "Workload", ours: Collection[str]) -> Iterable[Found]:
    """Every stack that bears Mayfly's prefix. `ours` are the environments that resources of this controller name."""
    for page in workload.cloudformation.get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            labels = _plain(stack.get("Tags", []))
            # By name, and not by tag: a stack that lost a tag, or got another's, is to be seen, and refused.
            environment = environment_of(stack["StackName"])
            if environment:
                created: datetime = stack["CreationTime"]
                yield Found(
                    environment,
                    labels,
                    stack["StackId"],
                    stack["StackStatus"],
                    created,
                    stack.get("EnableTerminationProtection", False),
                    names_ours=environment in ours,
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
