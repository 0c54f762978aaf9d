"""The teardown strategy: what to try, in which order, when a stack does not want to go. It is bounded."""

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class Step(StrEnum):
    """One way to delete a stack."""

    DELETE = "delete"
    MEND = "mend what blocks, then delete"
    RETAIN = "delete, and keep what blocks"
    HAND_OVER = "hand over to a person"


_RUNGS = (Step.DELETE, Step.MEND, Step.MEND, Step.RETAIN)


def next_step(deletions: int) -> Step:
    """Returns what to try after so many deletions that failed."""
    return _RUNGS[deletions] if deletions < len(_RUNGS) else Step.HAND_OVER


_REQUEST = re.compile(r"deletion-(\d+)-[0-9a-f]+")


def request_name(deletions: int, token: str) -> str:
    """Returns the name of the request to delete a stack after so many deletions, which CloudFormation's events of it
    bear.

    Each wait has its own token: CloudFormation takes a second request of the same name for the first.
    """
    return f"deletion-{deletions}-{hashlib.sha256(token.encode()).hexdigest()[:16]}"


def is_of_earlier(request: str, deletions: int) -> bool:
    """Tells whether an event is of an earlier deletion than the last one of so many: it came twice, or late."""
    found = _REQUEST.fullmatch(request)
    return found is not None and int(found[1]) < deletions - 1


class Mend(StrEnum):
    """What can be done about a blocker."""

    END_INSTANCES = "end its instances"
    DELETE_INTERFACES = "delete its loose network interfaces"
    EMPTY_BUCKET = "empty the bucket"
    CUT_REFERENCES = "cut references to the security group"
    WAIT = "wait: AWS frees it by itself, often within the hour"


_SHOWN = 5


class Blocker(Struct, frozen=True):
    """A resource whose deletion failed.

    Attributes:
        logical_id, physical_id, kind: the resource, its id in AWS, and its CloudFormation type.
        reason: CloudFormation's.
        mend: what to do about it.
        held_by: what is in the way, where EC2 knows it.
    """

    logical_id: str
    physical_id: str
    kind: str
    reason: str
    mend: Mend
    held_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        held = f"; held by {', '.join(self.held_by[:_SHOWN])}" if self.held_by else ""
        return f"{self.logical_id} ({self.kind} {self.physical_id}): {self.reason}{held}"


_MENDS: tuple[tuple[str, str, Mend], ...] = (
    (r"AWS::S3::Bucket", r"not empty", Mend.EMPTY_BUCKET),
    (r"AWS::AutoScaling::|AWS::EC2::Instance", r"", Mend.END_INSTANCES),
    (r"AWS::EC2::SecurityGroup", r"(?i)referenc|dependent object", Mend.CUT_REFERENCES),
    (r"AWS::EC2::(Subnet|VPC|NetworkInterface|InternetGateway|VPCGatewayAttachment)", r"", Mend.DELETE_INTERFACES),
)


def name(logical_id: str, physical_id: str, kind: str, reason: str) -> Blocker:
    """Names what blocks, by the resource's type and AWS's words."""
    for kinds, words, mend in _MENDS:
        if re.match(kinds, kind) and re.search(words, reason):
            return Blocker(logical_id, physical_id, kind, reason, mend)
    return Blocker(logical_id, physical_id, kind, reason, Mend.WAIT)


def refusal(reason: str) -> Blocker:
    """Names the export that CloudFormation refuses to delete, and the stacks that import it, from its status reason."""
    found = re.search(r"Export (\S+) cannot be deleted as it is in use by (.+?)\.?$", reason)
    export, stacks = found.groups() if found else ("the stack", "something")
    return Blocker(export, stacks, "export in use by", reason, Mend.WAIT)


_CHASED = frozenset(
    {
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::EC2::Instance",
        "AWS::EC2::KeyPair",
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::NetworkInterface",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::Volume",
        "AWS::Logs::LogGroup",
        "AWS::SSM::Parameter",
    }
)


def chased(kind: str) -> bool:
    """Tells whether a resource that a stack left standing is found again by its tags, and deleted. The rest (networks,
    buckets, roles) cost little or hold data: they are named to a person."""
    return kind in _CHASED


def told(blockers: Iterable[Blocker]) -> str:
    """Returns the blockers for people."""
    return "; ".join(str(blocker) for blocker in blockers) or "something that CloudFormation does not name"
