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


def documents_of(role: str) -> list[str]:
    """Every policy of a role: those inline, and those of their own that are attached to it."""
    inline = TEMPLATE["Resources"][role]["Properties"]["Policies"]
    attached = [
        resource["Properties"]
        for resource in TEMPLATE["Resources"].values()
        if resource["Type"] == "AWS::IAM::ManagedPolicy" and {"Ref": role} in resource["Properties"].get("Roles", [])
    ]
    return [json.dumps(resolved(policy["PolicyDocument"])) for policy in [*inline, *attached]]


DOCUMENTS = documents_of("WorkloadRole")


def permits(
    action: str,
    resource: str,
    tags: dict[str, str],
    session: str | None = "web-1-smoke",
    label: str = "mayfly:environment",
    documents: list[str] = DOCUMENTS,
    **more: Any,
) -> bool:
    """Whether a session of the role, opened for this environment (or what else the label names), may do this to a
    resource with these tags."""
    context = EvalContext(
        principal_arn="arn:aws:sts::222222222222:assumed-role/mayfly-workload/session",
        principal_type="AssumedRole",
        principal_account="222222222222",
        action=action,
        resource_arn=resource,
        region="us-east-1",
        service_context={f"aws:resourcetag/{key}": value for key, value in tags.items()} | more,
        principal_keys={f"aws:principaltag/{label}": session} if session else {},
    )
    # The engine leaves policy variables to others. Without the session tag it stays as it is, and fits nothing.
    variable = f"${{aws:PrincipalTag/{label}}}"
    filled = [document.replace(variable, session) if session else document for document in documents]
    return bool(evaluate(context, [parse_policy_document(document) for document in filled]).decision == "Allow")


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


SERVICE_STACK = "arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-web-production/3c2b6a60"
GROUP = "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:autoScalingGroupName/mayfly-web-production-Fleet"
OUR_SERVICE = {
    "mayfly:controller": CONTROLLER,
    "mayfly:environment": "web-production",
    "mayfly:service": "web-production",
    "mayfly:protected": "true",
}
THROUGH_THE_ROLE = {"cloudformation:rolearn": VALUES["ServiceRole.Arn"]}


def permits_rollout(action: str, resource: str, tags: dict[str, str], **more: Any) -> bool:
    """Whether a session that was opened for a permanent environment may do this."""
    return permits(action, resource, tags, "web-production", "mayfly:service", **more)


class TestRollingOut:
    RENEWING = (
        ("autoscaling:StartInstanceRefresh", GROUP),
        ("autoscaling:RollbackInstanceRefresh", GROUP),
        ("autoscaling:CancelInstanceRefresh", GROUP),
        ("cloudformation:DetectStackDrift", SERVICE_STACK),
        ("cloudformation:DetectStackResourceDrift", SERVICE_STACK),
        ("cloudformation:UpdateStack", SERVICE_STACK),
    )
    each = pytest.mark.parametrize(("action", "resource"), RENEWING, ids=[action for action, _ in RENEWING])

    @each
    def test_a_session_renews_its_own_service(self, action: str, resource: str) -> None:
        assert permits_rollout(action, resource, OUR_SERVICE, **THROUGH_THE_ROLE)

    @each
    @pytest.mark.parametrize(
        "tags",
        [
            {},
            OURS,
            OUR_SERVICE | {"mayfly:service": "web-staging"},
            OUR_SERVICE | {"mayfly:controller": "999999999999/us-east-1/mayfly"},
        ],
        ids=["untagged", "a disposable environment", "another service", "another controller"],
    )
    def test_and_nothing_else(self, action: str, resource: str, tags: dict[str, str]) -> None:
        assert not permits_rollout(action, resource, tags, **THROUGH_THE_ROLE)

    @each
    def test_a_session_of_an_environment_or_a_sweep_renews_nothing(self, action: str, resource: str) -> None:
        assert not permits(action, resource, OUR_SERVICE, session="web-production", **THROUGH_THE_ROLE)
        assert not permits(action, resource, OUR_SERVICE, session=None, **THROUGH_THE_ROLE)

    def test_an_update_goes_through_the_service_role_only(self) -> None:
        assert not permits_rollout("cloudformation:UpdateStack", SERVICE_STACK, OUR_SERVICE)
        other = {"cloudformation:rolearn": "arn:aws:iam::222222222222:role/admin"}
        assert not permits_rollout("cloudformation:UpdateStack", SERVICE_STACK, OUR_SERVICE, **other)

    @pytest.mark.parametrize(("action", "resource"), DESTROYING, ids=[action for action, _ in DESTROYING])
    @pytest.mark.parametrize("protected", [True, False])
    def test_destroys_nothing_not_even_its_own(self, action: str, resource: str, protected: bool) -> None:
        tags = {key: value for key, value in OUR_SERVICE.items() if protected or key != "mayfly:protected"}
        assert not permits_rollout(action, resource, tags)

    def test_nobody_lifts_a_protection(self) -> None:
        for label in ("mayfly:service", "mayfly:environment"):
            arguments = ("web-production", label)
            assert not permits("cloudformation:UpdateTerminationProtection", SERVICE_STACK, OUR_SERVICE, *arguments)

    ASKED = {f"aws:requesttag/{key}": value for key, value in OUR_SERVICE.items()} | THROUGH_THE_ROLE

    def test_creates_its_service_with_all_its_tags(self) -> None:
        assert permits_rollout("cloudformation:CreateStack", SERVICE_STACK, {}, **self.ASKED)

    @pytest.mark.parametrize("missing", ASKED)
    def test_and_not_without_one_of_them(self, missing: str) -> None:
        asked = {key: value for key, value in self.ASKED.items() if key != missing}
        assert not permits_rollout("cloudformation:CreateStack", SERVICE_STACK, {}, **asked)

    TEMPLATE = "arn:aws:ec2:us-east-1:222222222222:launch-template/lt-0123456789abcdef0"

    def test_launches_from_its_own_template_only(self) -> None:
        assert permits_rollout("ec2:RunInstances", self.TEMPLATE, OUR_SERVICE)
        assert not permits_rollout("ec2:RunInstances", self.TEMPLATE, OUR_SERVICE | {"mayfly:service": "web-staging"})

    def test_launches_only_what_the_template_says(self) -> None:
        said, own = {"ec2:islaunchtemplateresource": "true"}, {"ec2:islaunchtemplateresource": "false"}
        assert permits_rollout("ec2:RunInstances", INSTANCE, {}, **said)
        assert not permits_rollout("ec2:RunInstances", INSTANCE, {}, **own)
        assert not permits("ec2:RunInstances", INSTANCE, {}, **said)


class TestWhatCloudFormationMay:
    """Through the role that Mayfly passes: a rollout updates a protected group, and nothing empties any other."""

    DOCUMENTS = documents_of("ServiceRole")

    def may(self, action: str, tags: dict[str, str]) -> bool:
        return permits(action, GROUP, tags, None, documents=self.DOCUMENTS)

    def test_updates_the_group_of_a_service(self) -> None:
        assert self.may("autoscaling:UpdateAutoScalingGroup", OUR_SERVICE)

    def test_empties_no_other_group_that_is_protected(self) -> None:
        assert self.may("autoscaling:UpdateAutoScalingGroup", OURS)
        assert not self.may("autoscaling:UpdateAutoScalingGroup", OURS | {"mayfly:protected": "true"})

    @pytest.mark.parametrize("action", ["autoscaling:DeleteAutoScalingGroup", "ec2:TerminateInstances"])
    def test_destroys_no_service(self, action: str) -> None:
        assert self.may(action, OURS)
        assert not self.may(action, OUR_SERVICE)
