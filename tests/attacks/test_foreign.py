"""What each kind of session, and a builder, may do to what is not its own: every role by an IAM engine over the real
templates, every destructive action by every value of the tags that protect."""

import json
from itertools import product
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from tests.unit.policies import CONTROLLER, REGION, WORKLOAD, Template
from tests.unit.test_workload_permissions import DESTROYING, INSTANCE, OURS, STACK, permits

PROTECTING = ["true", "True", "TRUE", "yes", "no", "1", "0", "", "False", "FALSE", " false", "false ", "off"]
"""Every value but exactly `false` protects."""
LABELS = ["mayfly:environment", "mayfly:bake", "mayfly:image-family", "mayfly:service", None]
"""The kinds of session; one without a tag is a sweep's."""
HERE = f"arn:aws:ec2:{REGION}:{WORKLOAD}"
BUCKETS = "arn:aws:s3:::"


@pytest.mark.parametrize(("action", "resource"), DESTROYING, ids=[action for action, _ in DESTROYING])
def test_every_value_of_the_tag_but_false_protects_from_every_destruction(action: str, resource: str) -> None:
    for value in PROTECTING:
        assert not permits(action, resource, OURS | {"mayfly:protected": value}), value
    assert permits(action, resource, OURS | {"mayfly:protected": "false"})


@pytest.mark.parametrize("label", LABELS, ids=str)
@pytest.mark.parametrize(("action", "resource"), DESTROYING, ids=[action for action, _ in DESTROYING])
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
    *DESTROYING,
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
        tags = {"ssm:resourcetag/mayfly:environment": owner}
        assert permits("ssm:SendCommand", INSTANCE, {}, session=session, **tags) == (session == owner)
    assert not permits("ssm:SendCommand", INSTANCE, {}, session=None, **{"ssm:resourcetag/mayfly:environment": ""})


# ---- a builder --------------------------------------------------------------------------------------------------

ACCOUNT = Template("blueprints/workload-account.yaml", PuppetBucket=f"code-of-mayfly-{WORKLOAD}-{REGION}")
BUILDER = "i-0123456789abcdef0"


def builder_may(action: str, resource: str, **context: Any) -> bool:
    documents = [json.dumps(each) for each in ACCOUNT.documents("BuilderRole")]
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
    filled = [document.replace("${ec2:InstanceID}", target) for document in documents]
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
    assert builder_may("s3:PutObject", f"{logs}/logs/base-1.log")
    assert builder_may("s3:GetObject", f"{code}/puppet/base.tar.gz")
    for key in ("puppet/base.tar.gz", "base.rpm", "x"):
        assert not builder_may("s3:PutObject", f"{code}/{key}")
        assert not builder_may("s3:PutObject", f"{logs}/{key}")
        assert not builder_may("s3:GetObject", f"{logs}/{key}")
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutBucketPolicy", "s3:PutBucketVersioning"):
        assert not builder_may(action, code)
        assert not builder_may(action, f"{code}/puppet/base.tar.gz")


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
        ACCOUNTS, ("mayfly-workload", "mayfly-cloudformation", "administrator", "mayfly-workload-2")
    ):
        for action in ("sts:AssumeRole", "sts:TagSession"):
            may = function_may(function, action, f"arn:aws:iam::{account}:role/{role}")
            assert not may or (account, role) == (WORKLOAD, "mayfly-workload"), (account, role)


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
    ("ssm:PutParameter", f"arn:aws:ssm:{REGION}:{CONTROLLER}:parameter/mayfly/applications/webshop"),
    ("ssm:PutParameter", f"arn:aws:ssm:{REGION}:{CONTROLLER}:parameter/mayfly/families/base"),
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


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_does_nothing_to_what_is_foreign(function: str) -> None:
    assert [one for one in FOREIGN if function_may(function, *one)] == []


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


def test_every_bucket_has_such_a_policy() -> None:
    for path in ("template.yaml", "blueprints/workload-region.yaml", "blueprints/workload-account.yaml"):
        resources = Template(path).resources
        buckets = {name for name, one in resources.items() if one["Type"] == "AWS::S3::Bucket"}
        policies = {
            one["Properties"]["Bucket"]["Ref"] for one in resources.values() if one["Type"] == "AWS::S3::BucketPolicy"
        }
        assert buckets == policies, path
