"""What each kind of session, and a builder, may do to what is not its own: every role by an IAM engine over the real
templates, every destructive action by every value of the tags that protect."""

import json
import re
from itertools import product
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from mayfly.domain.bake import log_at, of_builder
from tests.unit.policies import CONTROLLER, REGION, WORKLOAD, Template
from tests.unit.test_workload_permissions import DESTROYING, ENDING, INSTANCE, OURS, STACK, documents_of, permits

PROTECTING = ["true", "True", "TRUE", "yes", "no", "1", "0", "", "False", "FALSE", " false", "false ", "off"]
"""Every value but exactly `false` protects."""
LABELS = ["mayfly:environment", "mayfly:bake", "mayfly:image-family", "mayfly:service", None]
"""The kinds of session; one without a tag is a sweep's."""
HERE = f"arn:aws:ec2:{REGION}:{WORKLOAD}"
BUCKETS = "arn:aws:s3:::"


@pytest.mark.parametrize(("action", "resource"), ENDING, ids=[action for action, _ in ENDING])
def test_every_value_of_the_tag_but_false_protects_from_every_destruction(action: str, resource: str) -> None:
    for value in PROTECTING:
        assert not permits(action, resource, OURS | {"mayfly:protected": value}), value
    assert permits(action, resource, OURS | {"mayfly:protected": "false"})


@pytest.mark.parametrize("label", LABELS, ids=str)
@pytest.mark.parametrize(("action", "resource"), ENDING, ids=[action for action, _ in ENDING])
def test_no_session_destroys_what_is_not_its_own(action: str, resource: str, label: str | None) -> None:
    """A life `web-1` does not reach `web-1-smoke`, the other way round neither, and nobody else's."""
    for session, owner in product(
        ("web-1", "web-1-smoke", "web-1-smok?", "web-*", "*", ""), ("web-1", "web-1-smoke", "")
    ):
        own = label == "mayfly:environment" and session == owner != ""
        labels = {"mayfly:controller": OURS["mayfly:controller"]} | ({"mayfly:environment": owner} if owner else {})
        for foreign in (labels, labels | {"mayfly:controller": "1/x/mayfly"}, {"mayfly:environment": owner}):
            may = permits(action, resource, foreign, session=session if label else None, label=label or "")
            assert may == (own and foreign is labels), (session, foreign)


TOUCHING = [
    *ENDING,
    ("ec2:CreateTags", INSTANCE),
    ("ec2:RunInstances", INSTANCE),
    ("ec2:CreateImage", INSTANCE),
    ("ec2:GetConsoleOutput", INSTANCE),
    ("cloudformation:CreateStack", STACK),
    ("cloudformation:UpdateStack", STACK),
    ("cloudformation:DescribeStacks", STACK),
    ("cloudformation:UpdateTerminationProtection", STACK),
    ("autoscaling:StartInstanceRefresh", f"arn:aws:autoscaling:{REGION}:{WORKLOAD}:autoScalingGroup:1:x/y"),
    ("ssm:SendCommand", INSTANCE),
]


@pytest.mark.parametrize("label", ["mayfly:environment", "mayfly:bake"])
@pytest.mark.parametrize(("action", "resource"), TOUCHING, ids=[action for action, _ in TOUCHING])
def test_a_session_of_an_environment_or_a_bake_touches_nothing_permanent(
    action: str, resource: str, label: str
) -> None:
    both = OURS | {label: "web-1-smoke", "mayfly:service": "shop-production"}
    as_asked = {f"aws:requesttag/{key}": value for key, value in both.items()} | {
        "aws:requesttag/mayfly:expires-at": "x"
    }
    by_ssm = {f"ssm:resourcetag/{key}": value for key, value in both.items()}
    more = as_asked | by_ssm | {"ec2:createaction": "RunInstances"}
    assert not permits(action, resource, both, session="web-1-smoke", label=label, **more)


def test_commands_run_on_the_session_s_own_environment_exactly() -> None:
    for session, owner in product(("web-1", "web-1-smoke"), repeat=2):
        tags = {f"ssm:resourcetag/{key}": value for key, value in (OURS | {"mayfly:environment": owner}).items()}
        assert permits("ssm:SendCommand", INSTANCE, {}, session=session, **tags) == (session == owner)
        of_another = tags | {"ssm:resourcetag/mayfly:controller": "999999999999/us-east-1/mayfly"}
        assert not permits("ssm:SendCommand", INSTANCE, {}, session=session, **of_another)
    assert not permits("ssm:SendCommand", INSTANCE, {}, session=None, **{"ssm:resourcetag/mayfly:environment": ""})


# ---- CloudFormation, with what a blueprint says --------------------------------------------------------------------

BUILDERS_OF = {"disposable": documents_of("ServiceRole"), "permanent": documents_of("PermanentRole")}
MINE = {
    "disposable": OURS,
    "permanent": {**OURS, "mayfly:environment": "shop-production", "mayfly:service": "shop-production"},
}
"""What the stacks of each kind of environment carry."""
WHOSE = {
    "nobody's": {},
    "another team's": {"Name": "production", "team": "billing"},
    "another installation's": {
        "mayfly:controller": "111111111111/us-east-1/other",
        "mayfly:environment": "web-1-smoke",
    },
    "of who claims to be an environment": {"mayfly:environment": "web-1-smoke"},
}
TOUCHED = [
    *(
        (f"ec2:{action}", f"{HERE}:{kind}/x")
        for action, kind in [
            ("AssociateRouteTable", "route-table"),
            ("AssociateRouteTable", "subnet"),
            ("AttachInternetGateway", "vpc"),
            ("AttachInternetGateway", "internet-gateway"),
            ("AuthorizeSecurityGroupEgress", "security-group"),
            ("AuthorizeSecurityGroupIngress", "security-group"),
            ("CreateNatGateway", "subnet"),
            ("CreateNatGateway", "elastic-ip"),
            ("CreateRoute", "route-table"),
            ("CreateRouteTable", "vpc"),
            ("CreateSubnet", "vpc"),
            ("CreateTags", "vpc"),
            ("CreateTags", "security-group"),
            ("CreateTransitGatewayVpcAttachment", "vpc"),
            ("CreateTransitGatewayVpcAttachment", "subnet"),
            ("CreateVpcEndpoint", "vpc"),
            ("CreateVpcEndpoint", "subnet"),
            ("CreateVpcEndpoint", "route-table"),
            ("CreateVpcEndpoint", "security-group"),
            ("DeleteInternetGateway", "internet-gateway"),
            ("DeleteLaunchTemplate", "launch-template"),
            ("DeleteNatGateway", "natgateway"),
            ("DeleteRoute", "route-table"),
            ("DeleteRouteTable", "route-table"),
            ("DeleteSecurityGroup", "security-group"),
            ("DeleteSubnet", "subnet"),
            ("DeleteTags", "vpc"),
            ("DeleteVpc", "vpc"),
            ("DeleteVpcEndpoints", "vpc-endpoint"),
            ("DetachInternetGateway", "vpc"),
            ("DisassociateAddress", "elastic-ip"),
            ("DisassociateRouteTable", "route-table"),
            ("ModifySubnetAttribute", "subnet"),
            ("ModifyVpcAttribute", "vpc"),
            ("ReleaseAddress", "elastic-ip"),
            ("RevokeSecurityGroupEgress", "security-group"),
            ("RevokeSecurityGroupIngress", "security-group"),
            ("TerminateInstances", "instance"),
        ]
    ),
    *(
        (
            f"autoscaling:{action}",
            f"arn:aws:autoscaling:{REGION}:{WORKLOAD}:autoScalingGroup:1:autoScalingGroupName/mayfly-x",
        )
        for action in ("DeleteAutoScalingGroup", "UpdateAutoScalingGroup", "EnableMetricsCollection")
    ),
]
OF_SERVICES = [
    ("ec2:CreateLaunchTemplateVersion", f"{HERE}:launch-template/x"),
    ("ec2:ModifyLaunchTemplate", f"{HERE}:launch-template/x"),
    *(
        (f"elasticloadbalancing:{action}", f"arn:aws:elasticloadbalancing:{REGION}:{WORKLOAD}:{kind}/x/y")
        for action, kind in [
            ("ModifyListener", "listener/app"),
            ("ModifyLoadBalancerAttributes", "loadbalancer/app"),
            ("ModifyTargetGroup", "targetgroup"),
            ("SetSecurityGroups", "loadbalancer/app"),
            ("SetSubnets", "loadbalancer/app"),
            ("AddTags", "loadbalancer/app"),
            ("CreateListener", "loadbalancer/app"),
        ]
    ),
]
ASKED_AS_OURS = {"aws:requesttag/mayfly:controller": OURS["mayfly:controller"]}
"""A blueprint says what tags it likes, and CloudFormation adds the stack's."""


def builds(kind: str, action: str, resource: str, tags: dict[str, str], **more: Any) -> bool:
    return permits(action, resource, tags, None, documents=BUILDERS_OF[kind], **more)


@pytest.mark.parametrize("kind", MINE)
@pytest.mark.parametrize(("action", "resource"), [*TOUCHED, *OF_SERVICES], ids=lambda part: part.partition("/")[0])
def test_a_blueprint_touches_only_what_stacks_of_its_kind_made(action: str, resource: str, kind: str) -> None:
    (other,) = (one for one in MINE if one != kind)
    for who, tags in {**WHOSE, "the other kind's": MINE[other]}.items():
        assert not builds(kind, action, resource, tags), who
        as_ours = ASKED_AS_OURS if not action.endswith("AddTags") else {}
        assert not builds(kind, action, resource, tags, **as_ours), who
    created = {"elasticloadbalancing:createaction": "CreateLoadBalancer"} if action.endswith("AddTags") else {}
    own = builds(kind, action, resource, MINE[kind], **ASKED_AS_OURS, **created)
    assert own == (kind == "permanent" or (action, resource) not in OF_SERVICES)


@pytest.mark.parametrize(("action", "resource"), DESTROYING, ids=[action for action, _ in DESTROYING])
def test_a_blueprint_destroys_nothing_that_is_protected_whatever_the_tag_says(action: str, resource: str) -> None:
    for kind, value in product(MINE, PROTECTING):
        assert not builds(kind, action, resource, MINE[kind] | {"mayfly:protected": value}), (kind, value)


@pytest.mark.parametrize("action", ["PutMetricAlarm", "DeleteAlarms", "SetAlarmState", "DisableAlarmActions"])
def test_a_disposable_environment_s_blueprint_has_no_alarms_and_a_permanent_one_s_none_that_are_called_otherwise(
    action: str,
) -> None:
    alarms = f"arn:aws:cloudwatch:{REGION}:{WORKLOAD}:alarm"
    for tags in ({}, *MINE.values()):
        for name in ("mayfly-shop-production-Errors", "billing-errors", "*"):
            assert not builds("disposable", f"cloudwatch:{action}", f"{alarms}:{name}", tags)
            ours = name.startswith("mayfly-") and action in ("PutMetricAlarm", "DeleteAlarms")
            may = builds("permanent", f"cloudwatch:{action}", f"{alarms}:{name}", tags)
            assert may == (ours and tags is not MINE["disposable"]), (name, tags)


SAME = CONTROLLER
"""The account that a test uses for both the installation and its environments."""
IN_ONE_ACCOUNT = Template("blueprints/workload-account.yaml", **{"AWS::AccountId": SAME})
EVERYTHING = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
BOTH = ("ServiceRole", "PermanentRole")
OF_CLOUDWATCH = (
    "PutMetricAlarm",
    "DeleteAlarms",
    "SetAlarmState",
    "DisableAlarmActions",
    "TagResource",
    "UntagResource",
)
WRITES = {
    "AWS::CloudWatch::Alarm": [f"cloudwatch:{action}" for action in OF_CLOUDWATCH],
    "AWS::CloudWatch::Dashboard": ["cloudwatch:PutDashboard", "cloudwatch:DeleteDashboards"],
    "AWS::DynamoDB::Table": ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteTable", "dynamodb:UpdateTable"],
    "AWS::Events::EventBus": ["events:PutEvents", "events:PutPermission", "events:DeleteEventBus"],
    "AWS::Logs::LogGroup": [
        "logs:DeleteLogGroup",
        "logs:PutRetentionPolicy",
        "logs:PutLogEvents",
        "logs:PutMetricFilter",
    ],
    "AWS::SNS::Topic": [
        "sns:SetTopicAttributes",
        "sns:DeleteTopic",
        "sns:Subscribe",
        "sns:Publish",
        "sns:AddPermission",
    ],
    "AWS::SQS::Queue": ["sqs:SetQueueAttributes", "sqs:DeleteQueue", "sqs:PurgeQueue", "sqs:SendMessage"],
    "AWS::SSM::Parameter": ["ssm:PutParameter", "ssm:DeleteParameter", "ssm:AddTagsToResource"],
}
MAYFLYS = [(name, one["Type"]) for name, one in Template("template.yaml").resources.items() if one["Type"] in WRITES]


def arn_of(name: str) -> str:
    """What AWS calls a resource of the installation: where the template gives no name, as CloudFormation names it."""
    arn = str(Template("template.yaml").resolved({"Fn::GetAtt": [name, "Arn"]}))
    return f"{arn.removesuffix(name)}mayfly-{name}-52FDFC072182" if arn.endswith(name) else arn


def in_one_account(role: str, action: str, resource: str) -> bool:
    """Whether a blueprint may, whose author was given everything by ExtraPolicyArns."""
    documents = [*(json.dumps(each) for each in IN_ONE_ACCOUNT.documents(role)), EVERYTHING]
    asked = EvalContext(
        principal_arn=f"arn:aws:sts::{SAME}:assumed-role/x/AWSCloudFormation",
        principal_type="AssumedRole",
        principal_account=SAME,
        action=action,
        resource_arn=resource,
        region=REGION,
    )
    return bool(evaluate(asked, [parse_policy_document(each) for each in documents]).decision == "Allow")


@pytest.mark.parametrize("role", BOTH)
@pytest.mark.parametrize(("name", "kind"), MAYFLYS, ids=[name for name, _ in MAYFLYS])
def test_no_blueprint_writes_what_is_mayfly_s_own_whatever_it_was_let_do_besides(
    name: str, kind: str, role: str
) -> None:
    for action in WRITES[kind]:
        assert not in_one_account(role, action, arn_of(name)), action


OF_THE_ROLES = [
    *(
        ("iam:PutRolePolicy", f"role/mayfly-{one}")
        for one in ("workload", "cloudformation", "DeleteEnvironmentRole-5x")
    ),
    *(("iam:PassRole", f"role/mayfly-{one}") for one in ("workload", "cloudformation-services", "builder", "events")),
    ("iam:UpdateAssumeRolePolicy", "role/mayfly-workload"),
    ("iam:CreatePolicyVersion", "policy/mayfly/mayfly-instance-boundary"),
    ("iam:AddRoleToInstanceProfile", "instance-profile/mayfly-builder"),
]


@pytest.mark.parametrize("role", BOTH)
def test_no_blueprint_becomes_mayfly_nor_rewires_it_whatever_it_was_let_do_besides(role: str) -> None:
    for action, resource in OF_THE_ROLES:
        assert not in_one_account(role, action, f"arn:aws:iam::{SAME}:{resource}"), (action, resource)
    for rule in ("mayfly/x", "mayfly-facts/x", "accept-bake-of-mayfly"):
        for action in ("events:PutRule", "events:PutTargets", "events:DeleteRule", "events:DisableRule"):
            assert not in_one_account(role, action, f"arn:aws:events:{REGION}:{SAME}:rule/{rule}"), action
    for stack in ("mayfly", *(f"workload-{part}-of-mayfly" for part in ("account", "images", "region"))):
        arn = f"arn:aws:cloudformation:{REGION}:{SAME}:stack/{stack}/3c2b6a60"
        assert not in_one_account(role, "cloudformation:UpdateStack", arn), stack
    for bucket in ("code-of-mayfly", "bakes-of-mayfly"):
        assert not in_one_account(role, "s3:PutObject", f"{BUCKETS}{bucket}-{SAME}-{REGION}/puppet/base.tar.gz"), bucket


@pytest.mark.parametrize("role", BOTH)
def test_what_a_blueprint_makes_beside_mayfly_is_its_own(role: str) -> None:
    """CloudFormation builds an environment's resources although their names resemble those of Mayfly's own."""
    here = f"{REGION}:{SAME}"
    for action, resource in [
        ("cloudwatch:PutMetricAlarm", f"cloudwatch:{here}:alarm:mayfly-alarms-production-Errors-52FDFC072182"),
        ("cloudwatch:PutDashboard", f"cloudwatch::{SAME}:dashboard/mayfly-shop-1"),
        ("dynamodb:CreateTable", f"dynamodb:{here}:table/mayfly-table-1-Orders-52FDFC072182"),
        ("sqs:CreateQueue", f"sqs:{here}:mayfly-deadletters-1-Queue-52FDFC072182"),
        ("sns:CreateTopic", f"sns:{here}:mayfly-alarms-1-Topic-52FDFC072182"),
        ("events:PutRule", f"events:{here}:rule/mayfly-facts-1-Rule-52FDFC072182"),
        ("logs:CreateLogGroup", f"logs:{here}:log-group:/mayfly-environments/web-1/x"),
        ("ssm:PutParameter", f"ssm:{here}:parameter/mayfly-environments/web-1/x"),
        ("ssm:GetParameters", f"ssm:{here}:parameter/mayfly/images/base/stable"),
        ("iam:CreateRole", f"iam::{SAME}:role/mayfly/mayfly-web-1-Role-52FDFC072182"),
        ("cloudformation:CreateStack", f"cloudformation:{here}:stack/mayfly-web-1-Nested-52FDFC072182/x"),
    ]:
        assert in_one_account(role, action, f"arn:aws:{resource}"), action


def test_every_alarm_of_mayfly_s_is_called_as_no_blueprint_s_is() -> None:
    template = Template("template.yaml")
    for name, one in template.resources.items():
        if one["Type"] == "AWS::CloudWatch::Alarm":
            assert template.resolved(one["Properties"]["AlarmName"]) == f"{name}-of-mayfly"


ROLES = f"arn:aws:iam::{WORKLOAD}:role"
PROFILES = f"arn:aws:iam::{WORKLOAD}:instance-profile"
BELOW = {"iam:permissionsboundary": f"arn:aws:iam::{WORKLOAD}:policy/mayfly/mayfly-instance-boundary"}
TO_EC2 = {"iam:passedtoservice": "ec2.amazonaws.com"}
IDENTITIES = [
    *(f"iam:{action}" for action in ("CreateRole", "PutRolePolicy", "AttachRolePolicy", "DeleteRole", "PassRole")),
    *(f"iam:{action}" for action in ("DeleteRolePolicy", "DetachRolePolicy", "TagRole", "UntagRole")),
]


@pytest.mark.parametrize("action", IDENTITIES)
def test_a_blueprint_s_roles_are_below_the_boundary_and_none_of_production_s_or_mayfly_s(action: str) -> None:
    for kind in MINE:
        assert builds(kind, action, f"{ROLES}/mayfly/web", {}, **BELOW, **TO_EC2), kind
        for name in ("mayfly-workload", "mayfly-cloudformation", "mayfly-builder", "administrator", "other/mayfly/x"):
            assert not builds(kind, action, f"{ROLES}/{name}", {}, **BELOW, **TO_EC2), (kind, name)
    assert builds("permanent", action, f"{ROLES}/mayfly/services/shop", {}, **BELOW, **TO_EC2)
    assert not builds("disposable", action, f"{ROLES}/mayfly/services/shop", {}, **BELOW, **TO_EC2)
    # One that was made before they had a path of their own carries the tag.
    assert not builds("disposable", action, f"{ROLES}/mayfly/shop", MINE["permanent"], **BELOW, **TO_EC2)
    for more in ({}, {"iam:permissionsboundary": f"arn:aws:iam::{WORKLOAD}:policy/mayfly/x"}):
        bounded = action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy")
        assert builds("permanent", action, f"{ROLES}/mayfly/web", {}, **more, **TO_EC2) == (not bounded)
    if action == "iam:PassRole":
        assert not builds(
            "permanent", action, f"{ROLES}/mayfly/web", {}, **{"iam:passedtoservice": "lambda.amazonaws.com"}
        )


@pytest.mark.parametrize(
    "action", ["AddRoleToInstanceProfile", "RemoveRoleFromInstanceProfile", "DeleteInstanceProfile"]
)
def test_a_blueprint_changes_no_instance_profile_of_production_s(action: str) -> None:
    assert builds("disposable", f"iam:{action}", f"{PROFILES}/mayfly/web", {})
    assert builds("permanent", f"iam:{action}", f"{PROFILES}/mayfly/services/shop", {})
    for profile in ("mayfly/services/shop", "mayfly-builder", "admin"):
        assert not builds("disposable", f"iam:{action}", f"{PROFILES}/{profile}", {}), profile


@pytest.mark.parametrize("kind", MINE)
def test_a_blueprint_writes_none_of_mayfly_s_parameters_and_log_groups(kind: str) -> None:
    parameters, logs = (
        f"arn:aws:{place}:{REGION}:{WORKLOAD}:{what}" for place, what in (("ssm", "parameter"), ("logs", "log-group:"))
    )
    for action in ("ssm:PutParameter", "ssm:DeleteParameter", "ssm:GetParameter", "ssm:AddTagsToResource"):
        assert builds(kind, action, f"{parameters}/mayfly-environments/web-1/x", {})
        for name in (
            "/mayfly/kill-switch",
            "/mayfly/applications/x",
            "/mayfly/images/base/stable",
            "/other",
            "/mayfly-x",
        ):
            assert not builds(kind, action, parameters + name, MINE[kind]), name
    for action in ("logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:TagResource"):
        assert builds(kind, action, f"{logs}/mayfly-environments/web-1/x", {})
        for name in ("/mayfly/mayfly/functions", "/aws/lambda/billing", "/aws/vendedlogs/states/mayfly", "/mayfly-x"):
            assert not builds(kind, action, logs + name, MINE[kind]), name


def test_mayfly_s_parameters_cannot_be_put_where_blueprints_write() -> None:
    for path in ("template.yaml", "blueprints/workload-account.yaml", "blueprints/workload-images.yaml"):
        pattern = Template(path).body["Parameters"]["ParametersPath"]["AllowedPattern"]
        assert re.fullmatch(pattern, "/mayfly")
        assert re.fullmatch(pattern, "/team/mayfly")
        for below in ("/mayfly-environments", "/mayfly-environments/x"):
            assert not re.fullmatch(pattern, below)


# ---- who has a role that a blueprint made ---------------------------------------------------------------------------

BOUNDARY = Template("blueprints/workload-account.yaml")
ME = f"{HERE}:instance/i-0123456789abcdef0"


def bound_permits(action: str, resource: str, **context: Any) -> bool:
    """Whether the boundary lets it through, where the role's own policies allow everything."""
    document = BOUNDARY.resolved(BOUNDARY.resources["InstanceBoundary"]["Properties"]["PolicyDocument"])
    filled = json.dumps(document).replace("${ec2:InstanceID}", resource.rpartition("/")[2])
    asked = EvalContext(
        principal_arn=f"arn:aws:sts::{WORKLOAD}:assumed-role/web/i-0123456789abcdef0",
        principal_type="AssumedRole",
        principal_account=WORKLOAD,
        action=action,
        resource_arn=resource,
        region=REGION,
        service_context=context,
        principal_keys={"aws:userid": "AROAEXAMPLE:i-0123456789abcdef0"},
    )
    return bool(evaluate(asked, [parse_policy_document(filled)]).decision == "Allow")


AN_INSTANCE = {"ec2:sourceinstancearn": ME}


@pytest.mark.parametrize(
    "action",
    [
        "cloudformation:SignalResource",
        "ssm:GetParameter",
        "s3:GetObject",
        "logs:PutLogEvents",
        "ssmmessages:CreateDataChannel",
    ],
)
def test_a_role_that_anybody_else_assumes_can_do_nothing(action: str) -> None:
    """Whatever its trust policy says: another account, a person, a role of the same account."""
    resource = STACK if action.startswith("cloudformation") else "arn:aws:s3:::artifacts/x"
    assert bound_permits(action, resource, **AN_INSTANCE)
    assert bound_permits(action, resource, **{"lambda:sourcefunctionarn": "arn:aws:lambda:us-east-1:2:function:x"})
    assert not bound_permits(action, resource)


def test_an_instance_writes_how_far_it_is_onto_itself_and_can_neither_protect_nor_rename_itself() -> None:
    for key in ("mayfly:boot", "mayfly:boot-log", "mayfly:version"):
        assert bound_permits("ec2:CreateTags", ME, **AN_INSTANCE, **{"aws:tagkeys": [key]})
        assert not bound_permits(
            "ec2:CreateTags", f"{HERE}:instance/i-0fedcba9876543210", **AN_INSTANCE, **{"aws:tagkeys": [key]}
        )
        assert not bound_permits("ec2:CreateTags", ME, **{"aws:tagkeys": [key]})
    for key in ("mayfly:protected", "mayfly:environment", "mayfly:controller", "mayfly:expires-at", "mayfly:service"):
        assert not bound_permits("ec2:CreateTags", ME, **AN_INSTANCE, **{"aws:tagkeys": ["mayfly:boot", key]})


def test_an_instance_says_nothing_in_mayfly_s_name() -> None:
    """Its alarms hear what is measured in the namespace Mayfly, and people believe its logs."""
    for namespace in ("Mayfly", "Shop"):
        may = bound_permits("cloudwatch:PutMetricData", "*", **AN_INSTANCE, **{"cloudwatch:namespace": namespace})
        assert may == (namespace == "Shop")
    for group in ("/mayfly/mayfly/functions", "/aws/vendedlogs/states/mayfly", "/mayfly-environments/web-1/x", "shop"):
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            arn = f"arn:aws:logs:{REGION}:{WORKLOAD}:log-group:{group}:log-stream:x"
            assert bound_permits(action, arn, **AN_INSTANCE) == (group[:8] not in ("/mayfly/", "/aws/ven"))


# ---- what bears a name that begins alike -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["s3:ListBucketVersions", "s3:GetBucketTagging", "logs:DeleteLogGroup"])
def test_what_bears_the_name_of_a_longer_environment_is_out_of_reach(action: str) -> None:
    """CloudFormation names by stack, resource and twelve characters or more; a blueprint with two hyphens after the
    stack's name. No environment's name has two in a row."""
    place = BUCKETS if action.startswith("s3") else f"arn:aws:logs:{REGION}:{WORKLOAD}:log-group:/aws/lambda/"
    end = "" if action.startswith("s3") else ":*"
    names = {"web-1": "mayfly-web-1", "web-1-smoke": "mayfly-web-1-smoke", "web-1-smoke-2": "mayfly-web-1-smoke-2"}
    for session, (owner, stack) in product(names, names.items()):
        for name in (f"{stack}-reports-kdwwxmddtr2g", f"{stack}-count-1kdwwxmddtr2g", f"{stack}--reports"):
            may = permits(action, f"{place}{name}{end}", {}, session=session)
            assert may == (session == owner), (session, name)
    for name in ("billing", "mayfly-web-1", "mayfly-web-1-reports", "mayfly-web-2-reports-kdwwxmddtr2g"):
        assert not permits(action, f"{place}{name}{end}", {}, session="web-1"), name
    assert not permits(action, f"{place}mayfly--reports{end}", {}, session=None)


# ---- a builder --------------------------------------------------------------------------------------------------

ACCOUNT = Template("blueprints/workload-account.yaml")
IMAGES = Template("blueprints/workload-images.yaml", PuppetBucket=f"code-of-mayfly-{WORKLOAD}-{REGION}")
BUILDER = "i-0123456789abcdef0"


def builder_may(action: str, resource: str, **context: Any) -> bool:
    documents = [json.dumps(each) for each in IMAGES.documents("BuilderRole")]
    target = resource.rpartition("/")[2]
    asked = EvalContext(
        principal_arn=f"arn:aws:sts::{WORKLOAD}:assumed-role/mayfly-builder/{BUILDER}",
        principal_type="AssumedRole",
        principal_account=WORKLOAD,
        action=action,
        resource_arn=resource,
        region=REGION,
        service_context=context,
        principal_keys={"aws:userid": f"AROAEXAMPLE:{BUILDER}"},
    )
    own = f"{HERE}:instance/{BUILDER}"
    filled = [
        document.replace("${ec2:InstanceID}", target).replace("${ec2:SourceInstanceARN}", own) for document in documents
    ]
    return bool(evaluate(asked, [parse_policy_document(each) for each in filled]).decision == "Allow")


OF_A_BUILDER = {
    "aws:resourcetag/mayfly:controller": f"{CONTROLLER}/{REGION}/mayfly",
    "aws:resourcetag/mayfly:bake": "base-1",
    "aws:tagkeys": ["mayfly:bake-result"],
}


def test_a_builder_tags_itself_and_nothing_else() -> None:
    assert builder_may("ec2:CreateTags", f"{HERE}:instance/{BUILDER}", **OF_A_BUILDER)
    assert not builder_may("ec2:CreateTags", f"{HERE}:instance/i-0fedcba9876543210", **OF_A_BUILDER)
    for key in ("mayfly:protected", "mayfly:environment", "mayfly:bake", "Name"):
        keys = OF_A_BUILDER | {"aws:tagkeys": ["mayfly:bake-result", key]}
        assert not builder_may("ec2:CreateTags", f"{HERE}:instance/{BUILDER}", **keys)
    assert not builder_may("ec2:CreateTags", f"{HERE}:image/ami-0123456789abcdef0", **OF_A_BUILDER)


def test_a_builder_writes_nothing_that_a_bake_reads() -> None:
    logs, code = f"{BUCKETS}bakes-of-mayfly-{WORKLOAD}-{REGION}", f"{BUCKETS}code-of-mayfly-{WORKLOAD}-{REGION}"
    assert builder_may("s3:GetObject", f"{code}/puppet/base.tar.gz")
    for key in ("puppet/base.tar.gz", "base.rpm", "x"):
        assert not builder_may("s3:PutObject", f"{code}/{key}")
        assert not builder_may("s3:PutObject", f"{logs}/{key}")
        assert not builder_may("s3:GetObject", f"{logs}/{key}")
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutBucketPolicy", "s3:PutBucketVersioning"):
        assert not builder_may(action, code)
        assert not builder_may(action, f"{code}/puppet/base.tar.gz")


def test_a_builder_leaves_its_log_below_its_own_name_only() -> None:
    logs = f"{BUCKETS}bakes-of-mayfly-{WORKLOAD}-{REGION}/logs"
    assert builder_may("s3:PutObject", of_builder(log_at(logs, "base-1"), WORKLOAD, REGION, BUILDER))
    for other in ("i-0fedcba9876543210", f"{BUILDER}0"):
        assert not builder_may("s3:PutObject", of_builder(log_at(logs, "base-1"), WORKLOAD, REGION, other))
    assert not builder_may("s3:PutObject", f"{logs}/base-1.log")


@pytest.mark.parametrize(
    "action",
    [
        "sts:AssumeRole",
        "iam:PassRole",
        "ec2:RunInstances",
        "ec2:CreateImage",
        "ssm:PutParameter",
        "events:PutEvents",
        "lambda:InvokeFunction",
        "states:StartExecution",
        "cloudformation:SignalResource",
        "s3:ListBucket",
    ],
)
def test_a_builder_does_nothing_else(action: str) -> None:
    for resource in ("*", f"{HERE}:instance/{BUILDER}", f"{BUCKETS}bakes-of-mayfly-{WORKLOAD}-{REGION}"):
        assert not builder_may(action, resource, **OF_A_BUILDER)


# ---- Mayfly's own functions ---------------------------------------------------------------------------------------

OWN = Template("template.yaml", WorkloadAccounts=WORKLOAD)
FUNCTIONS = [name for name, one in OWN.resources.items() if one["Type"] == "AWS::Serverless::Function"]
MACHINES = [name for name, one in OWN.resources.items() if one["Type"] == "AWS::Serverless::StateMachine"]
ACCOUNTS = (CONTROLLER, WORKLOAD, "999999999999")


def function_may(function: str, action: str, resource: str, **context: Any) -> bool:
    asked = EvalContext(
        principal_arn=f"arn:aws:sts::{CONTROLLER}:assumed-role/mayfly-{function}/x",
        principal_type="AssumedRole",
        principal_account=CONTROLLER,
        action=action,
        resource_arn=resource,
        region=REGION,
        service_context=context,
    )
    documents = [parse_policy_document(json.dumps(each)) for each in OWN.documents(function)]
    return bool(evaluate(asked, documents).decision == "Allow")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_enters_no_account_that_is_not_configured(function: str) -> None:
    for account, role in product(
        ACCOUNTS,
        ("mayfly-workload", "mayfly-consoles", "mayfly-cloudformation", "administrator", "mayfly-workload-2"),
    ):
        own = "mayfly-consoles" if function == "ServeApi" else "mayfly-workload"
        for action in ("sts:AssumeRole", "sts:TagSession"):
            may = function_may(function, action, f"arn:aws:iam::{account}:role/{role}")
            assert not may or (account, role) == (WORKLOAD, own), (account, role)


FOREIGN = [
    ("dynamodb:PutItem", f"arn:aws:dynamodb:{REGION}:{CONTROLLER}:table/billing"),
    ("dynamodb:UpdateItem", f"arn:aws:dynamodb:{REGION}:{CONTROLLER}:table/billing"),
    ("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{CONTROLLER}:table/billing"),
    ("dynamodb:DeleteTable", f"arn:aws:dynamodb:{REGION}:{CONTROLLER}:table/Table"),
    ("s3:PutObject", f"{BUCKETS}billing/x"),
    ("s3:GetObject", f"{BUCKETS}billing/x"),
    ("s3:DeleteObject", f"{BUCKETS}billing/x"),
    ("s3:PutObject", f"{BUCKETS}Blueprints/fleet.yaml"),
    ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{CONTROLLER}:parameter/billing/password"),
    ("ssm:PutParameter", f"arn:aws:ssm:{REGION}:{CONTROLLER}:parameter/mayfly/families/base"),
    ("ssm:PutParameter", f"arn:aws:ssm:{REGION}:{CONTROLLER}:parameter/mayfly/applications-of-others/webshop"),
    ("ssm:DeleteParameter", f"arn:aws:ssm:{REGION}:{CONTROLLER}:parameter/mayfly/images/base/stable"),
    ("route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/ZBILLING"),
    ("states:StartExecution", f"arn:aws:states:{REGION}:{CONTROLLER}:stateMachine:billing"),
    ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{CONTROLLER}:function:billing"),
    ("lambda:UpdateFunctionCode", f"arn:aws:lambda:{REGION}:{CONTROLLER}:function:mayfly-delete-environment"),
    ("events:PutEvents", f"arn:aws:events:{REGION}:{CONTROLLER}:event-bus/default"),
    ("events:DeleteRule", f"arn:aws:events:{REGION}:{CONTROLLER}:rule/mayfly/x"),
    ("sqs:ReceiveMessage", f"arn:aws:sqs:{REGION}:{CONTROLLER}:billing"),
    ("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{CONTROLLER}:billing"),
    ("sns:Publish", f"arn:aws:sns:{REGION}:{CONTROLLER}:billing"),
    ("iam:PassRole", f"arn:aws:iam::{CONTROLLER}:role/administrator"),
    ("iam:PutRolePolicy", f"arn:aws:iam::{CONTROLLER}:role/mayfly-x"),
    ("iam:CreateRole", f"arn:aws:iam::{CONTROLLER}:role/x"),
    ("kms:Decrypt", f"arn:aws:kms:{REGION}:{CONTROLLER}:key/x"),
    ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{CONTROLLER}:secret:x"),
    ("ec2:TerminateInstances", f"arn:aws:ec2:{REGION}:{CONTROLLER}:instance/i-1"),
    ("cloudformation:DeleteStack", f"arn:aws:cloudformation:{REGION}:{CONTROLLER}:stack/mayfly/x"),
]


@pytest.mark.parametrize("one", [*FUNCTIONS, *MACHINES])
def test_a_function_or_a_machine_does_nothing_to_what_is_foreign(one: str) -> None:
    assert [each for each in FOREIGN if function_may(one, *each)] == []


@pytest.mark.parametrize("one", [*FUNCTIONS, *MACHINES])
def test_one_function_alone_changes_how_applications_are_configured(one: str) -> None:
    configuration = f"arn:aws:ssm:{REGION}:{CONTROLLER}:parameter/mayfly/applications/webshop"
    for action in ("ssm:PutParameter", "ssm:DeleteParameter"):
        assert function_may(one, action, configuration) == (one == "ConfigureApplication")


@pytest.mark.parametrize("machine", ["RunTests", "ShowRelease"])
def test_the_secrets_of_connections_are_told_where_the_administrator_lets_them(machine: str) -> None:
    """A configuration names the address and the connection: who may write it need not know the secret."""
    bound = Template("template.yaml", HttpEndpoints="https://api.github.com/repos/acme/*")
    documents = [parse_policy_document(json.dumps(each)) for each in bound.documents(machine)]

    def may(url: str) -> bool:
        asked = EvalContext(
            principal_arn=f"arn:aws:sts::{CONTROLLER}:assumed-role/mayfly-{machine}/x",
            principal_type="AssumedRole",
            principal_account=CONTROLLER,
            action="states:InvokeHTTPEndpoint",
            resource_arn=f"arn:aws:states:{REGION}:{CONTROLLER}:stateMachine:{machine}",
            region=REGION,
            service_context={"states:httpendpoint": url},
        )
        return bool(evaluate(asked, documents).decision == "Allow")

    assert may("https://api.github.com/repos/acme/shop/dispatches")
    for url in ("https://evil.example/", "https://api.github.com/repos/evil/x", "https://api.github.com.evil.example/"):
        assert not may(url), url


@pytest.mark.parametrize("account", [CONTROLLER, WORKLOAD])
@pytest.mark.parametrize("bus", ["default", "mayfly-facts", "billing", "mayfly-2"])
def test_what_forwards_events_puts_them_on_mayfly_s_bus_of_requests_and_nowhere_else(account: str, bus: str) -> None:
    documents = [parse_policy_document(json.dumps(each)) for each in ACCOUNT.documents("ForwardingRole")]

    def may(action: str, resource: str) -> bool:
        asked = EvalContext(
            principal_arn=f"arn:aws:sts::{WORKLOAD}:assumed-role/mayfly-events/x",
            principal_type="AssumedRole",
            principal_account=WORKLOAD,
            action=action,
            resource_arn=resource,
            region=REGION,
        )
        return bool(evaluate(asked, documents).decision == "Allow")

    assert may("events:PutEvents", f"arn:aws:events:{REGION}:{CONTROLLER}:event-bus/mayfly")
    assert not may("events:PutEvents", f"arn:aws:events:{REGION}:{account}:event-bus/{bus}")
    assert [action for action, resource in FOREIGN if may(action, resource)] == []


@pytest.mark.parametrize(
    ("path", "bucket"),
    [
        ("template.yaml", "Blueprints"),
        ("template.yaml", "Reports"),
        ("blueprints/workload-region.yaml", "BakeCode"),
        ("blueprints/workload-region.yaml", "BakeLogs"),
    ],
)
def test_a_bucket_refuses_plain_http(path: str, bucket: str) -> None:
    template = Template(path)
    (policy,) = (
        one["Properties"]["PolicyDocument"]
        for one in template.resources.values()
        if one["Type"] == "AWS::S3::BucketPolicy" and one["Properties"]["Bucket"] == {"Ref": bucket}
    )
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    arn = template.resolved({"Fn::GetAtt": [bucket, "Arn"]})
    for secure, resource in product((True, False), (arn, f"{arn}/logs/x")):
        asked = EvalContext(
            principal_arn=f"arn:aws:iam::{CONTROLLER}:role/administrator",
            principal_type="AssumedRole",
            principal_account=CONTROLLER,
            action="s3:GetObject",
            resource_arn=resource,
            region=REGION,
            secure_transport=secure,
        )
        documents = [json.dumps(everything), json.dumps(template.resolved(policy))]
        decision = evaluate(asked, [parse_policy_document(each) for each in documents]).decision
        assert decision == ("Allow" if secure else "Deny")


@pytest.mark.parametrize("bucket", ["BakeCode", "BakeLogs"])
def test_what_bakes_read_and_write_keeps_its_versions(bucket: str) -> None:
    properties = Template("blueprints/workload-region.yaml").resources[bucket]["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    for name in ("code-of", "bakes-of"):
        arn = f"{BUCKETS}{name}-mayfly-{WORKLOAD}-{REGION}/logs/base-1.log"
        assert not builder_may("s3:DeleteObjectVersion", arn)


def test_every_bucket_has_such_a_policy() -> None:
    for path in ("template.yaml", *(f"blueprints/workload-{part}.yaml" for part in ("account", "images", "region"))):
        resources = Template(path).resources
        buckets = {name for name, one in resources.items() if one["Type"] == "AWS::S3::Bucket"}
        policies = {
            one["Properties"]["Bucket"]["Ref"] for one in resources.values() if one["Type"] == "AWS::S3::BucketPolicy"
        }
        assert buckets == policies, path
