"""What the workload account does not show at first, as on AWS: what a call has just made is not found by its id, lists
leave it out, and the tagging API goes on to list what is gone. The administrator sees everything."""

from __future__ import annotations

import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace as changed
from typing import Any

from moto.cloudformation.models import cloudformation_backends
from moto.core.resource_tagging import TaggedResource, make_tag_matcher
from moto.ec2.models import ec2_backends
from moto.resourcegroupstaggingapi.models import (
    ResourceGroupsTaggingAPIBackend,
    resourcegroupstaggingapi_backends,
)

from local.clock import VirtualClock
from local.recent import RECENT_SECONDS, Recent
from local.workload.calls import Answer, Call, Session, fault_answer
from local.workload.stacks import Stacks, replace

MADE = {
    "RunInstances": rb"<instanceId>(i-[0-9a-f]+)<",
    "CreateImage": rb"<imageId>(ami-[0-9a-f]+)<",
    "CopyImage": rb"<imageId>(ami-[0-9a-f]+)<",
    "CreateStack": rb"<StackId>([^<]+)<",
    "SendCommand": rb'"CommandId":\s*"([^"]+)"',
}
"""What a call makes, in its answer."""
NOT_FOUND = {
    "DescribeInstances": ("InvalidInstanceID.NotFound", "The instance ID '{}' does not exist"),
    "DescribeImages": ("InvalidAMIID.NotFound", "The image id '[{}]' does not exist"),
    "DescribeStacks": ("ValidationError", "Stack with id {} does not exist"),
    "GetCommandInvocation": ("InvocationDoesNotExist", "{}"),
}
"""What a look by an id is answered."""
LISTED = {"DescribeInstances": "instanceId", "DescribeImages": "imageId", "DescribeStacks": "StackId"}
"""What a list names by an id: an item that has it is left out."""


class Lag:
    """What was made lately, and who looks."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._recent = clock, Recent(clock)
        self._here = threading.local()
        self._ids = dict[str, str]()
        """Of stacks, by their names."""

    def install(self, stacks: Stacks) -> None:
        """Puts the delay into moto's tagging API, whose lists are always true."""
        self._tags = _TagsLag(self._clock, self._recent, stacks)
        listed, here, tags = ResourceGroupsTaggingAPIBackend._get_resources_generator, self._here, self._tags

        def get_resources(backend: ResourceGroupsTaggingAPIBackend, **filters: Any) -> Iterator[TaggedResource]:
            found = listed(backend, **filters)
            return tags.seen(found, filters.get("tag_filters")) if getattr(here, "looks", False) else found

        replace(ResourceGroupsTaggingAPIBackend, _get_resources_generator=get_resources)

    def answer(self, call: Call, session: Session, ask: Callable[[], Answer]) -> Answer:
        """What a session of a role is answered."""
        if refused := self._not_found(call, session.account):
            return refused
        if call.action == "DeleteStack":
            self._tags.remember(session.account, call.region, call.said("StackName"))
        self._here.looks = True
        try:
            answer = ask()
        finally:
            self._here.looks = False
        if answer.code == 200:
            self._note(call, answer)
            answer = self._left_out(call, answer, (session.account, call.region))
        return answer

    def _note(self, call: Call, answer: Answer) -> None:
        if call.action in MADE and (found := re.search(MADE[call.action], answer.body)):
            name = found[1].decode()
            self._recent.made(name)
            self._ids[call.said("StackName")] = name

    def _not_found(self, call: Call, account: str) -> Answer | None:
        if call.action not in NOT_FOUND:
            return None
        code, why = NOT_FOUND[call.action]
        values = (one for value in call.parameters.values() for one in (value if isinstance(value, list) else [value]))
        for said in values:
            if isinstance(said, str) and self._hides(self._ids.get(said, said), (account, call.region)):
                return fault_answer(call, {"error": code, "message": why.format(said)})
        return None

    def _hides(self, name: str, place: tuple[str, str]) -> bool:
        """What has come further than its beginning was made long ago, on AWS: it is seen."""
        return _begins(name, *place) and self._recent.hides(name)

    def _left_out(self, call: Call, answer: Answer, place: tuple[str, str]) -> Answer:
        tag = LISTED.get(call.action)
        if tag is None or not self._recent.any:
            return answer
        tree = ET.fromstring(answer.body)
        parents = {child: parent for parent in tree.iter() for child in parent}
        named = (one for one in tree.iter() if one.tag.endswith(f"}}{tag}"))
        hidden = [one for one in named if self._hides(one.text or "", place)]
        if not hidden:
            return answer
        for one in hidden:
            item = parents[one]
            parents[item].remove(item)
        body = ET.tostring(tree)
        headers = [(key, str(len(body)) if key.lower() == "content-length" else value) for key, value in answer.headers]
        return changed(answer, headers=headers, body=body)


def _begins(name: str, account: str, region: str) -> bool:
    ec2 = ec2_backends[account][region]
    if name.startswith("i-"):
        return any(one.id == name and one.state in ("pending", "running") for one in ec2.all_instances())
    if name.startswith("ami-"):
        return name in ec2.amis and ec2.amis[name].state == "pending"
    if ":stack/" in name:
        stack = cloudformation_backends[account][region].stacks.get(name)
        return stack is not None and stack.status == "CREATE_IN_PROGRESS"
    return True


class _TagsLag:
    """What the tagging API lists: not yet what was just made, and still what is just gone."""

    def __init__(self, clock: VirtualClock, recent: Recent, stacks: Stacks) -> None:
        self._clock, self._recent, self._stacks = clock, recent, stacks
        self._going = dict[str, TaggedResource]()

    def remember(self, account: str, region: str, stack: str) -> None:
        """Keeps what a stack consists of, whose deletion begins."""
        backend = resourcegroupstaggingapi_backends[account][region]
        key = "aws:cloudformation:stack-id" if stack.startswith("arn:") else "aws:cloudformation:stack-name"
        for resource in backend._get_resources_generator(tag_filters=[{"Key": key, "Values": [stack]}]):
            self._going[resource.arn] = resource
            self._recent.made(f"gone {resource.arn}")

    def seen(self, found: Iterator[TaggedResource], filters: list[dict[str, Any]] | None) -> Iterator[TaggedResource]:
        """What is listed of what is there."""
        there, fits = list(found), make_tag_matcher(filters)
        yield from (one for one in there if not self._recent.hides(f"tags of {one.arn}", self._began(one)))
        standing = {one.arn for one in there}
        for arn, resource in list(self._going.items()):
            if arn not in standing and fits(resource.tags):
                del self._going[arn]
                if self._recent.hides(f"gone {arn}"):
                    yield resource

    def _began(self, resource: TaggedResource) -> float:
        """When what its stack consists of was made; what belongs to none was always there."""
        life = self._stacks.life(resource.tags.get("aws:cloudformation:stack-id"))
        return life.began.timestamp() if life else self._clock.time() - RECENT_SECONDS
