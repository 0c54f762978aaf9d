"""What the workload account's role permits, evaluated by an IAM policy engine over tags: wrong code cannot destroy
what is not its own environment's. moto enforces no conditions, so that the policy itself is asked here.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = yaml_parse((ROOT / "blueprints" / "workload-account.yaml").read_text())
CONTROLLER = "111111111111/us-east-1/mayfly"
OURS = {"mayfly:controller": CONTROLLER, "mayfly:environment": "web-1-smoke"}
STACK = "arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-web-1-smoke/3c2b6a60"
INSTANCE = "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0"
VALUES = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "222222222222",
    "ControllerAccountId": "111111111111",
    "ServiceRole.Arn": "arn:aws:iam::222222222222:role/mayfly-cloudformation",
    "BuilderRole.Arn": "arn:aws:iam::222222222222:role/mayfly-builder",
}


def resolved(value: Any) -> Any:
    """The template's value as CloudFormation makes it with default parameters."""
    match value:
        case {"Fn::Sub": str(text)}:
            text = re.sub(r"\$\{([A-Za-z:.]+)\}", lambda found: VALUES.get(found[1], found[0]), text)
            return text.replace("${!", "${")
        case {"Fn::If": [_, default, _]}:
            return resolved(default)
        case {"Fn::GetAtt": name}:
            return VALUES[".".join(name) if isinstance(name, list) else name]
        case dict():
            return {key: resolved(inner) for key, inner in value.items()}
        case list():
            return [resolved(inner) for inner in value]
    return value


DOCUMENTS = [
    json.dumps(resolved(policy["PolicyDocument"]))
    for policy in TEMPLATE["Resources"]["WorkloadRole"]["Properties"]["Policies"]
]
VARIABLE = "${aws:PrincipalTag/mayfly:environment}"


def permits(action: str, resource: str, tags: dict[str, str], session: str | None = "web-1-smoke", **more: Any) -> bool:
    """Whether a session of the role, opened for this environment, may do this to a resource with these tags."""
    context = EvalContext(
        principal_arn="arn:aws:sts::222222222222:assumed-role/mayfly-workload/session",
        principal_type="AssumedRole",
        principal_account="222222222222",
        action=action,
        resource_arn=resource,
        region="us-east-1",
        service_context={f"aws:resourcetag/{key}": value for key, value in tags.items()} | more,
        principal_keys={"aws:principaltag/mayfly:environment": session} if session else {},
    )
    # The engine leaves policy variables to others. Without the session tag it stays as it is, and fits nothing.
    documents = [document.replace(VARIABLE, session) if session else document for document in DOCUMENTS]
    return bool(evaluate(context, [parse_policy_document(document) for document in documents]).decision == "Allow")


DESTROYING = [
    ("cloudformation:DeleteStack", STACK),
    ("ec2:TerminateInstances", INSTANCE),
    ("ec2:DeleteVolume", "arn:aws:ec2:us-east-1:222222222222:volume/vol-1"),
    ("ec2:DeleteNetworkInterface", "arn:aws:ec2:us-east-1:222222222222:network-interface/eni-1"),
    ("ec2:DeleteSecurityGroup", "arn:aws:ec2:us-east-1:222222222222:security-group/sg-1"),
    ("autoscaling:DeleteAutoScalingGroup", "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:x/y"),
    ("logs:DeleteLogGroup", "arn:aws:logs:us-east-1:222222222222:log-group:x"),
    ("ssm:DeleteParameter", "arn:aws:ssm:us-east-1:222222222222:parameter/x"),
]


@pytest.mark.parametrize(("action", "resource"), DESTROYING, ids=[action for action, _ in DESTROYING])
class TestDestroying:
    def test_its_own_environment_s_is_permitted(self, action: str, resource: str) -> None:
        assert permits(action, resource, OURS)

    @pytest.mark.parametrize(
        "tags",
        [
            {},
            {"mayfly:controller": CONTROLLER},
            {"mayfly:environment": "web-1-smoke"},
            OURS | {"mayfly:controller": "999999999999/us-east-1/mayfly"},
            OURS | {"mayfly:environment": "web-1-load"},
            {"Name": "production"},
        ],
        ids=["untagged", "no environment", "no controller", "another controller", "another environment", "foreign"],
    )
    def test_anything_else_is_refused(self, action: str, resource: str, tags: dict[str, str]) -> None:
        assert not permits(action, resource, tags)

    def test_what_is_protected_is_refused(self, action: str, resource: str) -> None:
        assert not permits(action, resource, OURS | {"mayfly:protected": "true"})

    def test_a_sweep_s_session_may_destroy_nothing(self, action: str, resource: str) -> None:
        assert not permits(action, resource, OURS, session=None)


ASKED = {
    "aws:requesttag/mayfly:controller": CONTROLLER,
    "aws:requesttag/mayfly:environment": "web-1-smoke",
    "aws:requesttag/mayfly:expires-at": "2026-11-25T00:00:00Z",
    "cloudformation:rolearn": VALUES["ServiceRole.Arn"],
}


class TestCreating:
    def test_a_stack_with_all_its_tags_is_permitted(self) -> None:
        assert permits("cloudformation:CreateStack", STACK, {}, **ASKED)

    @pytest.mark.parametrize("missing", ASKED)
    def test_a_stack_without_one_of_them_is_refused(self, missing: str) -> None:
        asked = {key: value for key, value in ASKED.items() if key != missing}
        assert not permits("cloudformation:CreateStack", STACK, {}, **asked)

    def test_a_stack_under_another_name_is_refused(self) -> None:
        assert not permits("cloudformation:CreateStack", STACK.replace("mayfly-", "shop-"), {}, **ASKED)

    @pytest.mark.parametrize(
        "action", ["cloudformation:UpdateTerminationProtection", "cloudformation:UpdateStack", "ec2:RunInstances"]
    )
    def test_nothing_else_is_permitted(self, action: str) -> None:
        assert not permits(action, "*", OURS)
