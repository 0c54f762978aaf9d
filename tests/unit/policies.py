"""Every IAM statement of the templates, as CloudFormation makes it where every condition holds."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ministack.core.iam_evaluator import (
    EvalContext,
    EvalResult,
    combine_resource_policy,
    evaluate,
    parse_policy_document,
)

from tests.blueprint import template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ("template.yaml", *(f"blueprints/{file.name}" for file in sorted((ROOT / "blueprints").glob("*.yaml"))))
CONTROLLER, WORKLOAD, REGION = "111111111111", "222222222222", "us-east-1"

_ARNS = {
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "AWS::CloudWatch::Dashboard": "arn:aws:cloudwatch::{account}:dashboard/{name}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::EventBus": "arn:aws:events:{region}:{account}:event-bus/{name}",
    "AWS::IAM::ManagedPolicy": "arn:aws:iam::{account}:policy/mayfly/{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::SSM::Parameter": "arn:aws:ssm:{region}:{account}:parameter{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "AWS::Serverless::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Serverless::StateMachine": "arn:aws:states:{region}:{account}:stateMachine:{name}",
}
_REF_IS_ARN = {"AWS::IAM::ManagedPolicy", "AWS::SNS::Topic", "AWS::Serverless::StateMachine"}
_WITH_A_ROLE = ("AWS::Serverless::Function", "AWS::Serverless::StateMachine")
_BESIDE = {"blueprints/workload-account.yaml": ("blueprints/workload-images.yaml",)}
"""Templates that attach policies to another one's roles, by name."""
_NAMES = (
    "AlarmName",
    "BucketName",
    "DashboardName",
    "FunctionName",
    "LogGroupName",
    "ManagedPolicyName",
    "Name",
    "RoleName",
    "TopicName",
)


@dataclass(frozen=True)
class Statement:
    """One statement: where it stands, and as it is sent to IAM."""

    where: str
    body: dict[str, Any]

    def listed(self, element: str) -> list[str]:
        """An element as the list that it always means."""
        value = self.body.get(element, [])
        return [value] if isinstance(value, str) else list(value)

    def conditions(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each operator, key and the values."""
        for operator, pairs in self.body.get("Condition", {}).items():
            for key, values in pairs.items():
                yield operator, key, [values] if isinstance(values, str) else list(values)


class Template:
    """A template with its references resolved."""

    def __init__(self, path: str, **parameters: str) -> None:
        self.path, self._given = path, parameters
        self.body: dict[str, Any] = template(ROOT / path)
        self.account = parameters.get("AWS::AccountId", CONTROLLER if path == "template.yaml" else WORKLOAD)
        self._values = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": self.account,
            "AWS::StackName": "mayfly" if path == "template.yaml" else "mayfly-web-1-smoke",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{self.account}:stack/mayfly-web-1-smoke/3c2b6a60",
            "AWS::NoValue": "",
            "Controller": f"{CONTROLLER}/{REGION}/mayfly",
            "ImageKeyArns": f"arn:aws:kms:{REGION}:{WORKLOAD}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        } | parameters

    @property
    def resources(self) -> dict[str, Any]:
        return dict(self.body["Resources"])

    def resolved(self, value: Any) -> Any:
        """A value as CloudFormation makes it."""
        if isinstance(value, list):
            return [self.resolved(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        for name, apply in self._functions.items():
            if name in value:
                return apply(value[name])
        return {key: self.resolved(inner) for key, inner in value.items()}

    @property
    def _functions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Fn::GetAtt": lambda name: self._named(".".join(name) if isinstance(name, list) else name),
            "Fn::If": lambda branches: self.resolved(branches[1]),
            "Fn::Select": lambda asked: self.resolved(asked[1])[int(asked[0])],
            "Fn::Split": lambda asked: self.resolved(asked[1]).split(asked[0]),
            "Fn::Sub": lambda asked: self._filled(*([asked, {}] if isinstance(asked, str) else asked)),
            "Ref": self._named,
        }

    def _filled(self, text: str, own: dict[str, Any]) -> str:
        for name, inner in own.items():
            text = text.replace(f"${{{name}}}", self.resolved(inner))
        text = re.sub(r"\$\{([A-Za-z0-9:.]+)\}", lambda found: self._named(found[1]), text)
        return text.replace("${!", "${")

    def _named(self, name: str) -> str:
        if name in self._values:
            return self._values[name]
        logical, _, attribute = name.partition(".")
        if logical in self.resources:
            kind, properties = (self.resources[logical].get(key, {}) for key in ("Type", "Properties"))
            given = next((properties[key] for key in _NAMES if key in properties), logical)
            own = str(self.resolved(given))
            if attribute == "Arn" or kind in _REF_IS_ARN:
                return _ARNS[kind].format(region=REGION, account=self.account, name=own)
            return own
        if attribute == "Arn" and self.resources.get(logical.removesuffix("Role"), {}).get("Type") in _WITH_A_ROLE:
            return self.role_of(logical.removesuffix("Role"))
        return str(self.body["Parameters"][name].get("Default", "")) or f"some-{name.lower()}"

    def role_of(self, logical: str) -> str:
        """The ARN of the role that SAM makes for a function or a machine."""
        return f"arn:aws:iam::{self.account}:role/mayfly-{logical}Role-52FDFC072182"

    def documents(self, role: str) -> list[dict[str, Any]]:
        """Every policy of a role (a function, a machine): those inside it, and those that are attached to it."""
        inside = self.resources[role]["Properties"].get("Policies", [])
        name = self.resolved({"Ref": role})
        attached = [
            one.resolved(resource["Properties"]["PolicyDocument"])
            for one in (self, *(Template(path, **self._given) for path in _BESIDE.get(self.path, ())))
            for resource in one.resources.values()
            if resource["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy")
            and name in one.resolved(resource["Properties"].get("Roles", []))
        ]
        return [self.resolved(each.get("PolicyDocument", each)) for each in inside] + attached

    def statements(self, role: str) -> list[Statement]:
        """Every statement of a role."""
        return [
            Statement(f"{self.path} {role} {body.get('Sid') or json.dumps(body.get('Action'))}", body)
            for document in self.documents(role)
            for body in document["Statement"]
        ]


def every_statement() -> Iterator[Statement]:
    """Every statement of every template that says what somebody may do: of roles, buses and queues."""
    for path in TEMPLATES:
        template = Template(path)
        for name, resource in template.resources.items():
            for place, document in _documents(resource.get("Properties", {})):
                for body in template.resolved(document)["Statement"]:
                    yield Statement(f"{path} {name}{place} {body.get('Sid') or json.dumps(body.get('Action'))}", body)


def _documents(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each policy document inside a resource's properties. Who may assume a role is another language's business."""
    if isinstance(value, dict):
        if "Statement" in value:
            yield place, value
            return
        for key, inner in value.items():
            if key != "AssumeRolePolicyDocument":
                yield from _documents(inner, place)
    elif isinstance(value, list):
        for inner in value:
            yield from _documents(inner, place)


def put_events(
    principal: str, documents: list[dict[str, Any]], bus: str, policy: dict[str, Any], said: dict[str, list[str]]
) -> EvalResult:
    """The IAM engine decides whether a principal's session may put an event on a bus.

    Args:
        documents: what the principal's own policies are. policy: the bus's. said: the condition keys of the event.
    """
    asked = EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=principal.split(":")[4],
        action="events:PutEvents",
        resource_arn=bus,
        region=REGION,
        service_context=said,
    )
    identity = evaluate(asked, [parse_policy_document(json.dumps(each)) for each in documents])
    return combine_resource_policy(identity, asked, policy, CONTROLLER)
