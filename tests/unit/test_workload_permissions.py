"""What the workload account's role permits, evaluated by an IAM policy engine over tags: wrong code cannot destroy
what is not its own environment's. moto enforces no conditions, so that the policy itself is asked here.
"""

import json
from typing import Any, ClassVar

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.unit.policies import Template

TEMPLATE = Template("blueprints/workload-account.yaml")
CONTROLLER = "111111111111/us-east-1/mayfly"
OURS = {"mayfly:controller": CONTROLLER, "mayfly:environment": "web-1-smoke"}
STACK = "arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-web-1-smoke/3c2b6a60"
INSTANCE = "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0"
SERVICE_ROLE = "arn:aws:iam::222222222222:role/mayfly-cloudformation"
PERMANENT_ROLE = f"{SERVICE_ROLE}-services"


def documents_of(role: str) -> list[str]:
    return [json.dumps(document) for document in TEMPLATE.documents(role)]


DOCUMENTS = documents_of("WorkloadRole")


def permits(
    action: str,
    resource: str,
    tags: dict[str, str],
    session: str | None = "web-1-smoke",
    label: str = "mayfly:environment",
    documents: list[str] = DOCUMENTS,
    vpc: str | None = None,
    **more: Any,
) -> bool:
    """Whether a session of the role, opened for this environment (or what else the label names), and for a VPC of it if
    one is named, may do this to a resource with these tags."""
    named = {key: value for key, value in ((label, session), ("mayfly:vpc", vpc)) if value}
    context = EvalContext(
        principal_arn="arn:aws:sts::222222222222:assumed-role/mayfly-workload/session",
        principal_type="AssumedRole",
        principal_account="222222222222",
        action=action,
        resource_arn=resource,
        region="us-east-1",
        service_context={f"aws:resourcetag/{key}": value for key, value in tags.items()} | more,
        principal_keys={f"aws:principaltag/{key}": value for key, value in named.items()},
    )
    # The engine leaves policy variables to others. Without the session tag it stays as it is, and fits nothing.
    filled = documents
    for key, value in named.items():
        filled = [document.replace(f"${{aws:PrincipalTag/{key}}}", value) for document in filled]
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
SLEEP = ("autoscaling:UpdateAutoScalingGroup", "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:x/y")
"""Ends a group's instances, and keeps the group."""
ENDING = [*DESTROYING, SLEEP]


@pytest.mark.parametrize(("action", "resource"), ENDING, ids=[action for action, _ in ENDING])
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

    @pytest.mark.parametrize("said", ["true", "True", "yes", "", "False", "no"])
    def test_what_is_protected_is_refused(self, action: str, resource: str, said: str) -> None:
        assert not permits(action, resource, OURS | {"mayfly:protected": said})

    def test_what_is_expressly_not_protected_is_permitted(self, action: str, resource: str) -> None:
        assert permits(action, resource, OURS | {"mayfly:protected": "false"})

    def test_what_belongs_to_a_permanent_environment_is_refused(self, action: str, resource: str) -> None:
        assert not permits(action, resource, OURS | {"mayfly:service": "web-production"})

    def test_a_sweep_s_session_may_destroy_nothing(self, action: str, resource: str) -> None:
        assert not permits(action, resource, OURS, session=None)


class TestTheDefaultGroupOfAVpc:
    """It carries no tags: the session says of which VPC it is."""

    GROUP = "arn:aws:ec2:us-east-1:222222222222:security-group/sg-1"
    OWN: ClassVar = {"ec2:vpc": "arn:aws:ec2:us-east-1:222222222222:vpc/vpc-1"}
    CUTTING = ("ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress")

    @pytest.mark.parametrize("action", CUTTING)
    def test_is_cut_in_a_session_for_its_vpc_only(self, action: str) -> None:
        assert permits(action, self.GROUP, {}, vpc="vpc-1", **self.OWN)
        assert not permits(action, self.GROUP, {}, **self.OWN)
        assert not permits(action, self.GROUP, {}, None, vpc="vpc-1", **self.OWN)
        other = {"ec2:vpc": "arn:aws:ec2:us-east-1:222222222222:vpc/vpc-12"}
        assert not permits(action, self.GROUP, {}, vpc="vpc-1", **other)
        assert not permits(action, self.GROUP, {}, vpc="vpc-1")

    @pytest.mark.parametrize(
        "tags",
        [
            {"mayfly:environment": "web-1-load", "mayfly:controller": CONTROLLER},
            {"mayfly:protected": "true"},
            {"mayfly:service": "web-production"},
        ],
    )
    def test_is_not_cut_where_it_is_another_s_or_protected(self, tags: dict[str, str]) -> None:
        for action in self.CUTTING:
            assert not permits(action, self.GROUP, tags, vpc="vpc-1", **self.OWN)

    def test_nothing_else_is_done_to_it(self) -> None:
        assert not permits("ec2:DeleteSecurityGroup", self.GROUP, {}, vpc="vpc-1", **self.OWN)


class TestReadingAConsole:
    """What the API does in a workload account: a role of its own reads what one environment's instances print."""

    DOCUMENTS = documents_of("ConsolesRole")

    def reads(self, tags: dict[str, str], session: str | None = "web-1-smoke") -> bool:
        return permits("ec2:GetConsoleOutput", INSTANCE, tags, session, documents=self.DOCUMENTS)

    def test_is_permitted_of_the_session_s_environment(self) -> None:
        assert self.reads(OURS)
        assert self.reads(OURS | {"mayfly:protected": "true"})

    @pytest.mark.parametrize(
        "tags",
        [
            {},
            {"mayfly:environment": "web-1-smoke"},
            OURS | {"mayfly:environment": "web-1-smoke-2"},
            OURS | {"mayfly:environment": ""},
            OURS | {"mayfly:controller": "999999999999/us-east-1/mayfly"},
        ],
        ids=["untagged", "no controller", "a longer name", "no name", "another controller"],
    )
    def test_is_refused_of_anything_else(self, tags: dict[str, str]) -> None:
        assert not self.reads(tags)
        assert not self.reads(tags, None)
        assert not self.reads(OURS, None), "a session without a tag reads nothing"

    @pytest.mark.parametrize(
        ("action", "resource"), [*ENDING, ("ec2:DescribeInstances", "*"), ("ssm:SendCommand", "*")]
    )
    def test_is_all_that_the_role_does(self, action: str, resource: str) -> None:
        assert not permits(action, resource, OURS, documents=self.DOCUMENTS)


ASKED = {
    "aws:requesttag/mayfly:controller": CONTROLLER,
    "aws:requesttag/mayfly:environment": "web-1-smoke",
    "aws:requesttag/mayfly:expires-at": "2026-11-25T00:00:00Z",
    "cloudformation:rolearn": SERVICE_ROLE,
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
TAGGED = {f"aws:requesttag/{key}": value for key, value in OUR_SERVICE.items()}
THROUGH_THE_ROLE = {"cloudformation:rolearn": PERMANENT_ROLE}


def permits_rollout(action: str, resource: str, tags: dict[str, str], **more: Any) -> bool:
    """Whether a session that was opened for a permanent environment may do this."""
    return permits(action, resource, tags, "web-production", "mayfly:service", **more)


class TestRollingOut:
    RENEWING = (
        ("autoscaling:StartInstanceRefresh", GROUP),
        ("autoscaling:RollbackInstanceRefresh", GROUP),
        ("autoscaling:CancelInstanceRefresh", GROUP),
        ("autoscaling:UpdateAutoScalingGroup", GROUP),
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
        for role in ("arn:aws:iam::222222222222:role/admin", SERVICE_ROLE):
            other = {"cloudformation:rolearn": role}
            assert not permits_rollout("cloudformation:UpdateStack", SERVICE_STACK, OUR_SERVICE, **other)

    def test_only_such_a_session_passes_the_role_that_builds_services(self) -> None:
        to_it = {"iam:passedtoservice": "cloudformation.amazonaws.com"}
        assert permits_rollout("iam:PassRole", PERMANENT_ROLE, {}, **to_it)
        assert not permits("iam:PassRole", PERMANENT_ROLE, {}, **to_it)
        assert not permits("iam:PassRole", PERMANENT_ROLE, {}, None, **to_it)

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

    # How Auto Scaling asks at StartInstanceRefresh: with the tags that the template has, and without saying that the
    # resources are a template's (ec2:IsLaunchTemplateResource).
    LAUNCHED = ("instance/i-0", "volume/vol-0")
    LAUNCHED_FROM = ("network-interface/eni-0", "security-group/sg-0", "subnet/subnet-0")

    @pytest.mark.parametrize("resource", LAUNCHED)
    def test_launches_what_has_its_tags(self, resource: str) -> None:
        arn = f"arn:aws:ec2:us-east-1:222222222222:{resource}"
        assert permits_rollout("ec2:RunInstances", arn, {}, **TAGGED)
        assert not permits_rollout("ec2:RunInstances", arn, {})
        other = TAGGED | {"aws:requesttag/mayfly:service": "web-staging"}
        assert not permits_rollout("ec2:RunInstances", arn, {}, **other)
        assert not permits("ec2:RunInstances", arn, {}, **TAGGED)

    def test_launches_it_from_whatever_the_template_names(self) -> None:
        images = (f"arn:aws:ec2:us-east-1::{kind}" for kind in ("image/ami-0", "snapshot/snap-0"))
        for arn in (*images, *(f"arn:aws:ec2:us-east-1:222222222222:{each}" for each in self.LAUNCHED_FROM)):
            assert permits_rollout("ec2:RunInstances", arn, {}), arn
            assert not permits("ec2:RunInstances", arn, {}), arn

    def test_passes_the_role_of_its_instances(self) -> None:
        role = "arn:aws:iam::222222222222:role/mayfly/web"
        to_ec2 = {"iam:passedtoservice": "ec2.amazonaws.com"}
        assert permits_rollout("iam:PassRole", role, {}, **to_ec2)
        assert not permits("iam:PassRole", role, {}, **to_ec2)

    def test_looks_for_drift_of_alarms(self) -> None:
        alarm = "arn:aws:cloudwatch:us-east-1:222222222222:alarm:mayfly-web-production-Errors"
        assert permits_rollout("cloudwatch:ListTagsForResource", alarm, {})


THROUGH_EC2 = {"kms:viaservice": "ec2.us-east-1.amazonaws.com"}


class TestKeys:
    """A builder is launched, and an image copied, with a key of one's own: EC2 asks for it in the caller's name."""

    KEY = "arn:aws:kms:us-east-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    USES = ("Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo")

    @pytest.mark.parametrize("label", ["mayfly:bake", "mayfly:image-family"])
    @pytest.mark.parametrize("use", USES)
    def test_ec2_uses_them_for_bakes_and_copies(self, label: str, use: str) -> None:
        arguments = (f"kms:{use}", self.KEY, {}, "base-1", label)
        assert permits(*arguments, **THROUGH_EC2)
        assert not permits(*arguments)

    @pytest.mark.parametrize("label", ["mayfly:bake", "mayfly:image-family"])
    def test_ec2_gets_its_grant(self, label: str) -> None:
        for_aws = THROUGH_EC2 | {"kms:grantisforawsresource": "true"}
        assert permits("kms:CreateGrant", self.KEY, {}, "base-1", label, **for_aws)

    def test_others_get_theirs_from_sessions_of_the_family_only(self) -> None:
        assert permits("kms:CreateGrant", self.KEY, {}, "base", "mayfly:image-family")
        assert not permits("kms:CreateGrant", self.KEY, {}, "base-1", "mayfly:bake")
        assert not permits("kms:CreateGrant", self.KEY, {}, None)


class TestImages:
    COPY = "arn:aws:ec2:eu-west-1::image/ami-0123456789abcdef0"

    def copies(self, **asked: str) -> bool:
        tags = {"aws:requesttag/mayfly:controller": CONTROLLER, "aws:requesttag/mayfly:image-family": "base"} | asked
        return permits("ec2:CopyImage", self.COPY, {}, "base", "mayfly:image-family", **tags)

    def test_copies_as_its_family_s_only(self) -> None:
        """CopyImage knows no aws:ResourceTag: what is copied cannot be a condition."""
        assert self.copies()
        assert not self.copies(**{"aws:requesttag/mayfly:image-family": "other"})

    def test_may_ask_ec2_for_references_as_its_own_managed_policy_does(self) -> None:
        listed: Any = json.loads(aws_managed_policies_data)["AmazonEC2ImageReferencesAccessPolicy"]["Document"]
        needed = {
            action
            for statement in listed["Statement"]
            for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        }
        assert {action for action in needed if not permits(action, "*", {}, None)} == set()


DISPOSABLE, PERMANENT = documents_of("ServiceRole"), documents_of("PermanentRole")


class TestWhatCloudFormationMay:
    """Through the roles that Mayfly passes: a rollout updates a protected group, and nothing empties any other."""

    def may(self, action: str, tags: dict[str, str], documents: list[str]) -> bool:
        return permits(action, GROUP, tags, None, documents=documents)

    def test_updates_the_group_of_a_service(self) -> None:
        assert self.may("autoscaling:UpdateAutoScalingGroup", OUR_SERVICE, PERMANENT)
        assert not self.may("autoscaling:UpdateAutoScalingGroup", OUR_SERVICE, DISPOSABLE)

    def test_empties_no_other_group_that_is_protected(self) -> None:
        assert self.may("autoscaling:UpdateAutoScalingGroup", OURS, DISPOSABLE)
        assert not self.may("autoscaling:UpdateAutoScalingGroup", OURS | {"mayfly:protected": "true"}, DISPOSABLE)

    @pytest.mark.parametrize("action", ["autoscaling:DeleteAutoScalingGroup", "ec2:TerminateInstances"])
    def test_destroys_no_service(self, action: str) -> None:
        assert self.may(action, OURS, DISPOSABLE)
        for documents in (DISPOSABLE, PERMANENT):
            assert not self.may(action, OUR_SERVICE, documents)
