"""Discovers by tags what of this installation exists in an account and Region, whatever the table says."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mayfly.aws import builders, clients, instances
from mayfly.aws.attempts import side_by_side
from mayfly.domain import tags
from mayfly.domain.identity import environment_of
from mayfly.domain.sweep import Found
from mayfly.workflows import leftovers

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


type Target = tuple[str, str]
"""An account and a Region."""


LOOK_SECONDS = 240.0
"""Within which all targets are looked at: a sweep has fifteen minutes, and acts in the rest of them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What exists at one target.

    Attributes:
        bakes: the bakes that left a builder there, or a volume of one, each with its tags.
    """

    environments: list[Found]
    bakes: Mapping[str, Mapping[str, str]]


def everywhere(targets: Iterable[Target], role: str, controller: str) -> tuple[dict[Target, Seen], dict[str, str]]:
    """What exists at each target, side by side; and which could not be looked at, with why: one that is closed to us,
    or hangs, keeps none of the others from being swept."""

    def look(target: Target) -> Seen:
        workload = clients.workload(*target, role, None)
        left = builders.leftovers(workload, controller)
        return Seen(discover(workload, controller), {one.labels[tags.BAKE]: one.labels for one in left})

    seen, unseen = side_by_side(look, dict.fromkeys(targets), LOOK_SECONDS)
    return seen, {"/".join(target): why for target, why in unseen.items()}


def discover(workload: "Workload", controller: str) -> list[Found]:
    """Every environment at this target: those with a stack, and those of this controller of which only resources are
    left. Another controller's stack is among them: it may bear the name of an environment that we wait for.

    Resources are listed before stacks. A stack that is created in between is then seen without its resources and
    not the other way round, which would look like remains.
    """
    tagged = _resources(workload, controller)
    found = list(_stacks(workload, tagged))
    with_stack = {environment.environment for environment in found}
    for environment, labels in tagged.items():
        # The listing shows for an hour what is gone; what has no stack is rare enough to be looked at itself.
        if environment not in with_stack and (left := leftovers.find(workload, environment, controller)):
            found.append(Found(environment, labels, remains=tuple(f"{r.kind} {r.id}" for r in left)))
    return found


def _stacks(workload: "Workload", ours: Collection[str]) -> Iterable[Found]:
    """Lists the stacks that bear Mayfly's prefix, without nested ones: those live and go with the stack above them.

    `ours` are the environments that resources of this controller name.
    """
    for page in workload.cloudformation.get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            if "ParentId" in stack:
                continue
            labels = instances.plain(stack.get("Tags", []))
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
    labels = (instances.plain(resource["Tags"]) for page in pages for resource in page["ResourceTagMappingList"])
    return {own[tags.ENVIRONMENT]: own for own in labels if tags.ENVIRONMENT in own}
