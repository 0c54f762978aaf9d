"""What roles of the workload account permit, asked for at every call of a session, as IAM does. moto enforces no
policy with conditions, and lets everybody assume roles that do not exist.

The policies are those that the account's role has in moto: what `blueprints/workload-account.yaml` made of them. The
engine is MiniStack's, which enforces the controller account. What a call is asked for (its actions, resources, and the
values of condition keys) is worked out here, as the service authorization reference says it: RunInstances, for one, is
asked for of everything that it launches and launches from, and creates tags besides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document  # type: ignore[import-untyped]
from moto.autoscaling.models import autoscaling_backends
from moto.cloudformation.models import cloudformation_backends
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from local.cloud import CONTROLLER_ACCOUNT
from local.workload.calls import Call, Session
from local.workload.templates import located

Parameters = dict[str, Any]

# EC2's ids say what they are of.
EC2_TYPES = {
    "ami": "image",
    "eni": "network-interface",
    "i": "instance",
    "key": "key-pair",
    "lt": "launch-template",
    "sg": "security-group",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
}
OWNERLESS = ("image", "snapshot")  # their ARNs name no account
EC2_CREATES = {
    "CopyImage": ("image", "snapshot"),
    "CreateImage": ("image", "snapshot"),
    "CreateImageUsageReport": ("image-usage-report",),
    "RunInstances": ("instance", "volume", "network-interface"),
}
NOT_ASKED_OF = {"CopyImage": "SourceImageId"}  # it knows no tags of its source
EC2_ID = re.compile(r"([a-z]+)-[0-9a-f]{8,}")


@dataclass(frozen=True)
class Asked:
    """One thing that a session has to be permitted."""

    action: str
    resource: str = "*"
    keys: dict[str, Any] = field(default_factory=dict)


class Request:
    """A call of a session, as far as it is asked for."""

    def __init__(self, call: Call, account: str) -> None:
        self.service, self.action, self.region = call.service, call.action, call.region
        self.account, self.parameters = account, call.parameters
        self.said, self.tags = call.said, call.tags

    def arn(self, service: str, resource: str, account: bool = True) -> str:
        """An ARN in the call's Region."""
        return f"arn:aws:{service}:{self.region}:{self.account if account else ''}:{resource}"


def refusal(session: Session, request: Request) -> str | None:
    """Why a session may not do this, None where it may."""
    asks = ASKS.get(request.service, _plain)
    for asked in asks(request):
        if not _permits(session, request.region, asked):
            return (
                f"User: {session.arn} is not authorized to perform: "
                f"{asked.action} on resource: {asked.resource} with {json.dumps(asked.keys, sort_keys=True)}"
            )
    return None


def may_be_assumed(account: str, role: str, tags: dict[str, str], caller: str) -> bool:
    """Whether a role is there, and trusts who calls (an ARN) and these session tags."""
    found = next((each for each in iam_backends[account]["aws"].get_roles() if each.name == role), None)
    if found is None:
        return False
    context = EvalContext(
        principal_arn=caller,
        principal_type="AssumedRole",
        principal_account=caller.split(":")[4],
        action="sts:AssumeRole",
        resource_arn="*",
        region="us-east-1",
        service_context={"aws:tagkeys": list(tags)},
    )
    trust = found.assume_role_policy_document
    statements = parse_policy_document(trust)
    for each in statements:
        each.resources = ["*"]
    return bool(evaluate(context, [statements]).decision == "Allow")


# ---- IAM ----------------------------------------------------------------------------------------------


def _permits(session: Session, region: str, asked: Asked) -> bool:
    context = EvalContext(
        principal_arn=session.arn,
        principal_type="AssumedRole",
        principal_account=session.account,
        action=asked.action,
        resource_arn=asked.resource,
        region=region,
        service_context={key.lower(): value for key, value in asked.keys.items()},
        principal_keys={f"aws:principaltag/{key}".lower(): value for key, value in session.tags},
    )
    policies = [_parsed(document, session.tags) for document in _documents(session.account, session.role)]
    return bool(evaluate(context, policies).decision == "Allow")


@lru_cache(maxsize=512)
def _parsed(document: str, tags: tuple[tuple[str, str], ...]) -> Any:
    for key, value in tags:
        document = document.replace(f"${{aws:PrincipalTag/{key}}}", value)
    return parse_policy_document(document)


def _documents(account: str, name: str) -> Iterator[str]:
    role = iam_backends[account]["aws"].get_role(name)
    attached: list[Any] = [
        next(version.document for version in policy.versions if version.is_default)
        for policy in role.managed_policies.values()
    ]
    for document in [*role.policies.values(), *attached]:
        yield document if isinstance(document, str) else json.dumps(document)


# ---- what calls are asked for ---------------------------------------------------------------------------


def _tag_keys(kind: str, tags: dict[str, str]) -> dict[str, Any]:
    return {f"aws:{kind}Tag/{key}": value for key, value in tags.items()}


def _requested(tags: dict[str, str]) -> dict[str, Any]:
    return _tag_keys("Request", tags) | {"aws:TagKeys": list(tags)}


def _plain(request: Request) -> Iterator[Asked]:
    yield Asked(f"{request.service}:{request.action}")


def _ec2(request: Request) -> Iterator[Asked]:
    action = f"ec2:{request.action}"
    if request.action.startswith("Describe"):
        yield Asked(action)
        return
    created = EC2_CREATES.get(request.action, ())
    given = {kind: request.tags(f"{place}.Tag") for place, kind in _tag_specifications(request)}
    for kind in created:
        tags = given.get(kind, {})
        arn = request.arn("ec2", f"{kind}/new", kind not in OWNERLESS)
        yield Asked(action, arn, _requested(tags))
        if tags:
            yield Asked("ec2:CreateTags", arn, _requested(tags) | {"ec2:CreateAction": request.action})
    own = _requested(request.tags("Tag")) if request.action in ("CreateTags", "DeleteTags") else {}
    for resource, kind in _ec2_resources(request):
        tags = ec2_backends[request.account][request.region].tags.get(resource, {})
        arn = request.arn("ec2", f"{kind}/{resource}", kind not in OWNERLESS)
        yield Asked(action, arn, _tag_keys("Resource", tags) | own | _vpc_of(request, resource))
    yield from _instance_profile(request)


def _vpc_of(request: Request, resource: str) -> dict[str, str]:
    """The condition key ec2:Vpc, which a security group has."""
    groups = ec2_backends[request.account][request.region].groups
    vpc = next((vpc for vpc, found in groups.items() if resource in found), None)
    return {"ec2:Vpc": request.arn("ec2", f"vpc/{vpc}")} if vpc else {}


def _tag_specifications(request: Request) -> Iterator[tuple[str, str]]:
    for name in request.parameters:
        if found := re.fullmatch(r"(TagSpecification\.\d+)\.ResourceType", name):
            yield found[1], request.said(name)


def _ec2_resources(request: Request) -> Iterator[tuple[str, str]]:
    """The resources that parameters name by their ids."""
    for name in request.parameters:
        value = request.said(name)
        found = EC2_ID.fullmatch(value) if "Tag" not in name else None  # a tag may name an image, too
        if found and found[1] in EC2_TYPES and name != NOT_ASKED_OF.get(request.action):
            yield value, EC2_TYPES[found[1]]
    if attachment := request.said("AttachmentId"):
        for interface in ec2_backends[request.account][request.region].enis.values():
            if getattr(interface, "attachment_id", None) == attachment:
                yield interface.id, "network-interface"


def _instance_profile(request: Request) -> Iterator[Asked]:
    if name := request.said("IamInstanceProfile.Name"):
        profile = iam_backends[request.account]["aws"].get_instance_profile(name)
        for role in profile.roles:
            yield Asked("iam:PassRole", role.arn, {"iam:PassedToService": "ec2.amazonaws.com"})


def _cloudformation(request: Request) -> Iterator[Asked]:
    action, name = f"cloudformation:{request.action}", request.said("StackName")
    role = request.said("RoleARN")
    keys: dict[str, Any] = {"cloudformation:RoleArn": role} if role else {}
    if request.action == "CreateStack":
        tags = _requested(request.tags("Tags.member"))
        arn = request.arn("cloudformation", f"stack/{name}/new")
        yield Asked(action, arn, keys | tags)
        yield Asked("cloudformation:TagResource", arn, tags | {"cloudformation:CreateAction": "CreateStack"})
        if url := request.said("TemplateURL"):
            bucket, key, _ = located(url)
            yield Asked(
                "s3:GetObjectVersion", f"arn:aws:s3:::{bucket}/{key}", {"s3:ResourceAccount": CONTROLLER_ACCOUNT}
            )
    elif name:
        found = _stack(request, name)
        arn = found.stack_id if found else request.arn("cloudformation", f"stack/{name}/none")
        yield Asked(action, arn, keys | _tag_keys("Resource", found.tags if found else {}))
    else:
        yield Asked(action)
    if role:
        yield Asked("iam:PassRole", role, {"iam:PassedToService": "cloudformation.amazonaws.com"})


def _stack(request: Request, name: str) -> Any:
    backend = cloudformation_backends[request.account][request.region]
    everything = [*backend.stacks.values(), *backend.deleted_stacks.values()]
    return next((stack for stack in everything if name in (stack.stack_id, stack.name)), None)


def _autoscaling(request: Request) -> Iterator[Asked]:
    name = request.said("AutoScalingGroupName")
    if request.action.startswith("Describe"):
        yield Asked(f"autoscaling:{request.action}")
        return
    group = autoscaling_backends[request.account][request.region].autoscaling_groups.get(name)
    tags = {tag["Key"]: tag["Value"] for tag in group.tags} if group else {}
    arn = request.arn("autoscaling", f"autoScalingGroup:id:autoScalingGroupName/{name}")
    yield Asked(f"autoscaling:{request.action}", arn, _tag_keys("Resource", tags))
    for given in ("LaunchTemplate", "MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification"):
        if template := request.said(f"DesiredConfiguration.{given}.LaunchTemplateId"):
            version = request.said(f"DesiredConfiguration.{given}.Version")
            yield from _launched_from(request, template, version)


def _launched_from(request: Request, identity: str, version: str) -> Iterator[Asked]:
    """Auto Scaling asks of who starts a refresh what a launch from the template would be asked. It does not say that
    the resources are the template's (ec2:IsLaunchTemplateResource)."""
    ec2 = ec2_backends[request.account][request.region]
    template = ec2.get_launch_template(identity)
    data = template.get_version(version).data
    arn = request.arn("ec2", f"launch-template/{identity}")
    yield Asked("ec2:RunInstances", arn, _tag_keys("Resource", ec2.tags.get(identity, {})))
    given = {
        each["ResourceType"]: {tag["Key"]: tag["Value"] for tag in _listed(each, "Tags", "Tag")}
        for each in _listed(data, "TagSpecifications", "TagSpecification")
    }
    for kind in ("instance", "volume"):
        tags = given.get(kind, {})
        arn = request.arn("ec2", f"{kind}/new")
        yield Asked("ec2:RunInstances", arn, _requested(tags))
        if tags:
            yield Asked("ec2:CreateTags", arn, _requested(tags) | {"ec2:CreateAction": "RunInstances"})
    yield Asked("ec2:RunInstances", request.arn("ec2", f"image/{data.get('ImageId')}", account=False))
    for kind in ("subnet", "network-interface", "security-group"):
        yield Asked("ec2:RunInstances", request.arn("ec2", f"{kind}/any"))
    if profile := data.get("IamInstanceProfile", {}).get("Arn"):
        roles = iam_backends[request.account]["aws"].get_instance_profile(profile.rpartition("/")[2]).roles
        for role in roles:
            yield Asked("iam:PassRole", role.arn, {"iam:PassedToService": "ec2.amazonaws.com"})


def _listed(data: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    found: Any = next((data[name] for name in names if name in data), [])
    return list(found.values()) if isinstance(found, dict) else list(found)


def _s3(request: Request) -> Iterator[Asked]:
    """S3's actions are not the operations' names."""
    method, _, path = request.action.partition(" ")
    bucket, _, key = path.lstrip("/").partition("/")
    whole = f"arn:aws:s3:::{bucket}"
    match (method, bool(key)):
        case ("GET", False):
            yield Asked("s3:ListBucketVersions" if "versions" in request.parameters else "s3:ListBucket", whole)
        case ("POST", False):
            yield Asked("s3:DeleteObject", f"{whole}/any")
            yield Asked("s3:DeleteObjectVersion", f"{whole}/any")
        case _:
            verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}.get(method, method)
            yield Asked(f"s3:{verb}Object", f"{whole}/{key}")


def _ssm(request: Request) -> Iterator[Asked]:
    action, name = f"ssm:{request.action}", request.said("Name")
    match request.action:
        case "SendCommand":
            document = request.said("DocumentName")
            yield Asked(action, request.arn("ssm", f"document/{document}", not document.startswith("AWS-")))
            ec2 = ec2_backends[request.account][request.region]
            filters = {each["Key"]: each["Values"] for each in request.parameters.get("Targets", [])}
            targeted = (
                [one.id for all_of in ec2.all_reservations(filters) for one in all_of.instances] if filters else []
            )
            for instance in [*request.parameters.get("InstanceIds", []), *targeted]:
                tags = ec2.tags.get(instance, {})
                keys = {f"ssm:resourceTag/{key}": value for key, value in tags.items()}
                yield Asked(action, request.arn("ec2", f"instance/{instance}"), keys)
        case "GetParameter" | "PutParameter" | "DeleteParameter":
            public = name.startswith("/aws/service/")
            arn = request.arn("ssm", f"parameter{'' if name.startswith('/') else '/'}{name}", not public)
            yield Asked(action, arn, _tag_keys("Resource", _parameter_tags(request, name)))
        case _:
            yield Asked(action)


def _parameter_tags(request: Request, name: str) -> dict[str, str]:
    from moto.ssm.models import ssm_backends

    tags: Any = ssm_backends[request.account][request.region]._resource_tags
    return dict(tags.get("Parameter", {}).get(name, {}))


def _logs(request: Request) -> Iterator[Asked]:
    from moto.logs.models import logs_backends

    name = request.said("logGroupName")
    backend = logs_backends[request.account][request.region]
    group = backend.groups.get(name)
    tags = backend.tagger.get_tag_dict_for_resource(group.arn) if group else {}
    resource = request.arn("logs", f"log-group:{name}") if name else "*"
    yield Asked(f"logs:{request.action}", resource, _tag_keys("Resource", tags))


def _kms(request: Request) -> Iterator[Asked]:
    yield Asked(f"kms:{request.action}", request.said("KeyId"))


def _imagebuilder(request: Request) -> Iterator[Asked]:
    yield Asked(f"imagebuilder:{request.action.rpartition('/')[2]}")


ASKS: dict[str, Callable[[Request], Iterator[Asked]]] = {
    "autoscaling": _autoscaling,
    "cloudformation": _cloudformation,
    "ec2": _ec2,
    "imagebuilder": _imagebuilder,
    "kms": _kms,
    "logs": _logs,
    "monitoring": lambda request: iter((Asked(f"cloudwatch:{request.action}"),)),
    "s3": _s3,
    "ssm": _ssm,
    "sts": lambda _: iter(()),  # who assumes a role, its trust policy says
    "tagging": lambda request: iter((Asked(f"tag:{request.action}"),)),
}
