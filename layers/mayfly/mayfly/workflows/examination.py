"""Examines a CloudFormation template before it becomes a blueprint: what of it would fail, collide between two
environments, or outlive them, and on which line."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict, replace

from mayfly.aws.stacks import TEMPLATE_BODY_LIMIT, TEMPLATE_LIMIT
from mayfly.contract.reader import Refused
from mayfly.contract.template import lines, read
from mayfly.domain.blueprint import COUNT, IMAGE, PARAMETERS, PINNED, unfit, without_value
from mayfly.domain.express import choose, obstacles
from mayfly.domain.needs import QUOTAS, reckon
from mayfly.resource_types import resource_types
from mayfly.settings import Settings
from mayfly.workflows import catalogue

RESOURCE_LIMIT = 500
"""Resources of a template that CloudFormation takes."""

type Level = Literal["error", "warning", "note"]
type Resource = Mapping[str, Any]
type Found = tuple[Level, tuple[str, ...], str]
"""A level, the path to what it is about, and what there is to say."""


class Remark(Struct, frozen=True):
    """Something about a template. An error keeps an environment from being built or ended; a warning costs something
    or loses something; a note says how Mayfly will take it."""

    level: Level
    line: int
    where: str
    said: str

    def of(self, application: str) -> "Remark":
        """Names the application in a remark, where the remark is about one that uses the template."""
        return replace(self, where=f"{application}: {self.where}")

    def as_json(self) -> dict[str, Any]:
        """Returns the remark for `--json`."""
        return asdict(self)


def examine(text: str, configured: Mapping[str, str] | None = None) -> list[Remark]:
    """Returns everything that there is to say about a template, the worst first.

    Args:
        configured: the parameters that an application configures; None where it is not known.
    """
    size = len(text.encode())
    if size > TEMPLATE_LIMIT:
        return [Remark("error", 1, "", f"it has {size} bytes, and CloudFormation takes {TEMPLATE_LIMIT} at most")]
    try:
        template = read(text)
    except ValueError as error:
        line = re.match(r"line (\d+): ", str(error))
        return [Remark("error", int(line[1]) if line else 1, "", str(error).removeprefix(line[0] if line else ""))]
    if (many := len(template["Resources"])) > RESOURCE_LIMIT:
        return [Remark("error", 1, "", f"it has {many} resources, and CloudFormation takes {RESOURCE_LIMIT} at most")]
    try:
        found = [
            *_size(size),
            *_parameters(template, configured),
            *_resources(template),
            *_exports(template),
            *_deployment(template),
        ]
    except _MALFORMED as error:
        return [Remark("error", 1, "", f"something of it has another form than CloudFormation's templates: {error}")]
    line_of = lines(text)
    remarks = [Remark(level, line_of(path), ".".join(path[1:2] or path), said) for level, path, said in found]
    return sorted(remarks, key=lambda one: (("error", "warning", "note").index(one.level), one.line))


def examined(settings: Settings, template: str | None, application: str | None) -> dict[str, Any]:
    """Examines a template with what an application configures; without a template, the application's own blueprint.

    Raises:
        Refused: neither is named, there is no such application, or its blueprint is not there.
    """
    if template is None and application is None:
        raise Refused(
            "template: expected one, or an application whose blueprint is to be examined, but there is neither"
        )
    of = catalogue.application(settings.parameters, application) if application else None
    text, named = template or "", ""
    if of and template is None:
        named = of.blueprint
        text = catalogue.template(settings.blueprints, catalogue.pin(settings.blueprints, named)).text
    told = {**of.told_everywhere, COUNT: str(of.instance_count)} if of else {}
    quotas, unknown = takes(text, told)
    remarks = examine(text, of.told_everywhere if of else None)
    return {
        "blueprint": named,
        "remarks": [one.as_json() for one in remarks],
        "takes": quotas,
        "not_reckoned": unknown,
    }


def takes(text: str, parameters: Mapping[str, str] = MappingProxyType({})) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns what one environment of a template takes of each quota, and what could not be reckoned.

    Args:
        parameters: what it is told; its defaults stand for the others.
    """
    try:
        template = read(text)
    except ValueError:
        return [], []
    try:
        needs = reckon(template, parameters)
    except _MALFORMED as error:
        return [], [f"it could not be reckoned: {error}"]
    counted = ((QUOTAS[key], count) for key, count in needs.takes.items() if key in QUOTAS)
    return (
        [{"quota": quota.name, "takes": count / quota.per, "default": quota.default} for quota, count in counted],
        [*needs.unknown, *needs.short],
    )


_MALFORMED = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""What comes of a text or a list where templates have names and values."""


def _size(size: int) -> Iterator[Found]:
    if size > TEMPLATE_BODY_LIMIT:
        yield (
            "note",
            (),
            f"it has {size} bytes, more than the {TEMPLATE_BODY_LIMIT} of a call: CloudFormation reads it from the "
            "bucket, and the stack of blueprints/workload-account.yaml in each account has to be as new as this",
        )


def _parameters(template: Resource, configured: Mapping[str, str] | None) -> Iterator[Found]:
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    given = {*PARAMETERS, PINNED, *(configured or ())}
    level: Level = "warning" if configured is None else "error"
    for name in without_value(declared, given):
        yield level, ("Parameters", name), "it has no Default: each application has to configure a value"
    for name in sorted(set(configured or ()) - set(declared)):
        yield "error", ("Parameters",), f"{name} is configured, but no parameter of it"
    yield from (("error", ("Parameters",), said) for said in unfit(declared, configured or {}))
    has_machines = any(kind(one) in _MACHINES for one in _all(template).values())
    if has_machines and IMAGE not in declared:
        said = f"it has no parameter {IMAGE}: its instances boot another image than the channel points to"
        yield "warning", ("Parameters",), said
    if COUNT not in declared:
        said = "its groups say how many instances run" if has_machines else "it is ready when its stack is complete"
        yield "note", ("Parameters",), f"it has no parameter {COUNT}: {said}"


def _resources(template: Resource) -> Iterator[Found]:
    for name, one in _all(template).items():
        for look in (_name, _path, _retained, _protected, _permission, _leftovers):
            for level, path, said in look(one, template):
                yield level, ("Resources", name, *path), said


def _name(one: Resource, template: Resource) -> Iterator[Found]:
    """Finds names that are the same in two environments: they keep the second from being built."""
    naming = resource_types().get(kind(one), ["", ""])[0]
    value = properties(one).get(naming) if naming else None
    if value is None:
        return
    if not _differs(value, template):
        yield (
            "error",
            ("Properties", naming),
            f"{naming} is the same in each environment, so that only one at a time can stand: leave it out, or put "
            "EnvironmentId or AWS::StackName into it",
        )
    elif kind(one) == "AWS::S3::Bucket" and not _begins_with(value, "mayfly-${EnvironmentId}--", "${AWS::StackName}--"):
        yield (
            "warning",
            ("Properties", naming),
            "Mayfly may empty buckets only that CloudFormation names, or whose names begin with "
            "mayfly-${EnvironmentId}--: with an object in it, this one is kept and named to a person",
        )


_PATHS = {"AWS::SSM::Parameter": "Name", "AWS::Logs::LogGroup": "LogGroupName"}


def _path(one: Resource, _: Resource) -> Iterator[Found]:
    naming = _PATHS.get(kind(one))
    if naming and not _begins_with(properties(one).get(naming), "/mayfly-environments/"):
        where = "!Sub /mayfly-environments/${EnvironmentId}/…"
        said = f"the service role may make it below one path only: say {naming}: {where}"
        yield "warning", ("Properties",), said


def _retained(one: Resource, _: Resource) -> Iterator[Found]:
    policy, implicit = one.get("DeletionPolicy"), _takes_a_snapshot(one)
    if policy in ("Retain", "RetainExceptOnCreate"):
        yield ("warning", ("DeletionPolicy",), "it outlives each environment, costs on, and is named as kept")
    if policy == "Snapshot" or (policy is None and implicit):
        said = "CloudFormation's default for it is a final snapshot: " if policy is None else ""
        path = ("DeletionPolicy",) if policy else ()
        yield ("warning", path, f"{said}a snapshot of each environment stays, and costs; say DeletionPolicy: Delete")


def _protected(one: Resource, template: Resource) -> Iterator[Found]:
    if PINNED in (template.get("Parameters") or {}):
        return  # of a permanent environment: it is to be protected
    tagged = _pair(one, "Tags", "mayfly:protected")
    paths: list[tuple[str, ...]] = [("Tags",)] if tagged not in (None, "false") else []
    paths += [("LoadBalancerAttributes",)] if _pair(one, *_BALANCER) == "true" else []
    paths += [path for path, wanted in _PROTECTIONS.get(kind(one), ()) if _at(one, path) == wanted]
    for path in paths:
        yield "error", ("Properties", *path), "no environment with it can be ended: it is protected"


def _at(one: Resource, path: tuple[str, ...]) -> str:
    value: Any = properties(one)
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return str(value).lower()


def _pair(one: Resource, listed: str, key: str) -> str | None:
    """Returns the value of a key in a property that lists keys and values."""
    pairs = properties(one).get(listed)
    named = [each for each in pairs if each.get("Key") == key] if isinstance(pairs, list) else []
    return str(named[0].get("Value")).lower() if named else None


_OF_PERMANENT = ("AWS::ElasticLoadBalancingV2::", "AWS::CloudWatch::Alarm")
"""What the service role of permanent environments may make besides."""


def _permission(one: Resource, template: Resource) -> Iterator[Found]:
    permanent = PINNED in (template.get("Parameters") or {})
    besides = permanent and kind(one).startswith(_OF_PERMANENT)
    if (lacking := resource_types().get(kind(one), ["", ""])[1]) and not besides:
        yield (
            "warning",
            ("Type",),
            f"the service role may not make it, as it is shipped: permit {lacking} and its deletion by "
            "ExtraPolicyArns of blueprints/workload-account.yaml",
        )
    if kind(one) == "AWS::IAM::Role":
        given = properties(one)
        path = "/mayfly/services/" if permanent else "/mayfly/"
        if given.get("Path") != path:
            yield "error", ("Properties",), f"the service role makes roles on one path only: say Path: {path}"
        if "PermissionsBoundary" not in given:
            said = "the service role makes roles below a boundary only: say PermissionsBoundary, as fleet.yaml does"
            yield "error", ("Properties",), said


def _leftovers(one: Resource, _: Resource) -> Iterator[Found]:
    """Finds what no tag marks: nobody finds it when it outlives its stack."""
    if kind(one) == "AWS::EC2::LaunchTemplate":
        data = properties(one).get("LaunchTemplateData") or {}
        listed = data.get("TagSpecifications")
        tagged = [each.get("ResourceType") for each in listed if isinstance(each, Mapping)] if listed else []
        if "volume" not in tagged:
            said = "volumes of its instances carry no tags: it lacks TagSpecifications with ResourceType: volume"
            yield "warning", ("Properties", "LaunchTemplateData"), said
    if kind(one) == "AWS::Lambda::Function" and "VpcConfig" in properties(one):
        said = "AWS removes a function's network interfaces 20 to 45 minutes after it: ending takes as long"
        yield "note", ("Properties", "VpcConfig"), said


def _exports(template: Resource) -> Iterator[Found]:
    for name, one in (template.get("Outputs") or {}).items():
        if not isinstance(one, Mapping) or "Export" not in one:
            continue
        path = ("Outputs", name, "Export")
        yield ("warning", path, "as long as another stack imports it, the environment cannot be ended")
        if not _differs((one["Export"] or {}).get("Name"), template):
            yield ("error", path, "its name is the same in each environment, so that only one at a time can stand")


def _deployment(template: Resource) -> Iterator[Found]:
    """Notes whether CloudFormation may build and delete a template in Express mode, and what is in the way."""
    if PINNED in (template.get("Parameters") or {}):
        return  # of a permanent environment: what it has is to be ready
    chosen = choose("automatic", template)
    unsafe = obstacles(template)
    if chosen and chosen.express:
        yield "note", (), "CloudFormation builds and deletes it in Express mode, unless an application says otherwise"
    elif unsafe:
        path, why = unsafe[0]
        more = f", and {len(unsafe) - 1} more" if len(unsafe) > 1 else ""
        yield "note", path, f"Express mode is not safe for it: {why}{more}"
    else:
        yield "note", (), "Express mode is safe for it, where an application says deployment: express"


# ---- what is what -----------------------------------------------------------------------------------------------

_MACHINES = ("AWS::EC2::Instance", "AWS::EC2::LaunchTemplate", "AWS::AutoScaling::LaunchConfiguration")

_BALANCER = ("LoadBalancerAttributes", "deletion_protection.enabled")
_PROTECTIONS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "AWS::RDS::DBInstance": ((("DeletionProtection",), "true"),),
    "AWS::RDS::DBCluster": ((("DeletionProtection",), "true"),),
    "AWS::DocDB::DBCluster": ((("DeletionProtection",), "true"),),
    "AWS::Neptune::DBCluster": ((("DeletionProtection",), "true"),),
    "AWS::DynamoDB::Table": ((("DeletionProtectionEnabled",), "true"),),
    "AWS::Cognito::UserPool": ((("DeletionProtection",), "active"),),
    "AWS::EC2::Instance": ((("DisableApiTermination",), "true"),),
    "AWS::EC2::LaunchTemplate": ((("LaunchTemplateData", "DisableApiTermination"), "true"),),
}


def kind(one: Resource) -> str:
    """Returns a resource's type."""
    return str(one.get("Type", ""))


def properties(one: Resource) -> Mapping[str, Any]:
    """Returns a resource's properties; none where a function makes them."""
    given = one.get("Properties")
    return given if isinstance(given, Mapping) else {}


def _all(template: Resource) -> dict[str, Resource]:
    return {name: one for name, one in template["Resources"].items() if isinstance(one, Mapping) and "Type" in one}


def _differs(value: Any, template: Resource) -> bool:
    """Tells whether a value differs between two environments: by their ids, or by the name of another resource of
    theirs."""
    own = {"EnvironmentId", "AWS::StackName", "AWS::StackId", *template["Resources"]}
    return bool(own & set(_mentioned(value)))


def _mentioned(value: Any) -> Iterator[str]:
    """Returns the parameters and resources that a value refers to."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == "Ref" and isinstance(inner, str):
                yield inner
            elif name == "Fn::GetAtt":
                yield inner[0] if isinstance(inner, list) else str(inner).partition(".")[0]
            elif name == "Fn::Sub":
                text = inner[0] if isinstance(inner, list) else inner
                yield from (each.partition(".")[0] for each in re.findall(r"\$\{([^!${}]+)\}", str(text)))
            yield from _mentioned(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mentioned(inner)


def _begins_with(value: Any, *beginnings: str) -> bool:
    text = value.get("Fn::Sub") if isinstance(value, Mapping) else value
    text = text[0] if isinstance(text, list) else text
    return str(text).startswith(beginnings)


def _takes_a_snapshot(one: Resource) -> bool:
    """Tells whether CloudFormation takes a final snapshot where the template does not say what to do."""
    alone = kind(one) == "AWS::RDS::DBInstance" and "DBClusterIdentifier" not in properties(one)
    return alone or kind(one) == "AWS::RDS::DBCluster"
