"""Discovers by tags what of this installation exists in an account and Region, whatever the table says."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from mayfly.aws import builders, clients, instances, tagging
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


class Seen(Struct, frozen=True):
    """What exists at one target.

    Attributes:
        bakes: the bakes that left a builder there, or a volume of one, each with its tags.
    """

    environments: list[Found]
    bakes: Mapping[str, Mapping[str, str]]


def everywhere(targets: Iterable[Target], role: str, controller: str) -> tuple[dict[Target, Seen], dict[str, str]]:
    """Returns what exists at each target, side by side; and which could not be looked at, with why: one that is closed
    to us, or hangs, keeps none of the others from being swept."""

    def see(target: Target) -> Seen:
        workload = clients.workload(*target, role, None)
        left = builders.leftovers(workload, controller)
        return Seen(discover(workload, controller), {one.labels[tags.BAKE]: one.labels for one in left})

    seen, unseen = side_by_side(see, dict.fromkeys(targets), LOOK_SECONDS)
    return seen, {"/".join(target): why for target, why in unseen.items()}


def discover(workload: "Workload", controller: str) -> list[Found]:
    """Returns every environment at this target: those with a stack, and those of this controller of which only
    resources are left. Another controller's stack is among them where it bears the name of an environment that we wait
    for, or has something of ours.

    The names that tags give are listed before stacks. A stack that is created in between is then seen without its
    resources and not the other way round, which would look like remains. They are names alone, a page of them for
    hundreds of resources; whose those are is asked only of names that have no stack, or another controller's.
    """
    named = tagging.environments(workload)
    stacks = list(_stacks(workload))
    with_stack = {one.environment for one in stacks}
    doubtful = {one.environment for one in stacks if one.labels.get(tags.CONTROLLER, controller) != controller}
    asked = [name for name in named if name not in with_stack or name in doubtful]
    tagged = tagging.of_environments(workload, controller, asked)
    ours = {labels[tags.ENVIRONMENT]: labels for labels in tagged.values() if tags.ENVIRONMENT in labels}
    found = [replace(one, names_ours=one.environment in ours) for one in stacks]
    for environment, labels in ours.items():
        # The listing shows for an hour what is gone; what has no stack is rare enough to be looked at itself.
        if environment not in with_stack and (left := leftovers.find(workload, environment, controller)):
            found.append(Found(environment, labels, remains=tuple(f"{r.kind} {r.id}" for r in left)))
    return found


def _stacks(workload: "Workload") -> Iterable[Found]:
    """Lists the stacks that bear Mayfly's prefix, without nested ones: those live and go with the stack above them."""
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
                )
