"""Every call that the code makes is allowed by the role that makes it, and no role is allowed what nobody calls."""

from functools import cache

import pytest
from ministack.core.iam_evaluator import fnmatch_iam

from tests.unit import calls
from tests.unit.policies import Template
from tests.unit.test_handler_permissions import BLUEPRINTS, handlers

INSTALLATION, ACCOUNT = Template("template.yaml"), Template("blueprints/workload-account.yaml")
FUNCTIONS = {
    name: resource["Properties"]["CodeUri"].rpartition("/")[2]
    for name, resource in INSTALLATION.resources.items()
    if resource["Type"] == "AWS::Serverless::Function"
}
PREFIXES = {
    "elbv2": "elasticloadbalancing",
    "resourcegroupstaggingapi": "tag",
    "service-quotas": "servicequotas",
    "stepfunctions": "states",
}
# Operations whose permission has another name; https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html etc.
NAMED_OTHERWISE = {
    "lambda:Invoke": {"lambda:InvokeFunction"},
    "s3:DeleteObjects": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "s3:HeadObject": {"s3:GetObject"},
    "s3:ListObjectVersions": {"s3:ListBucketVersions"},
}
# What is asked for besides an operation, or because of it.
BESIDES = {
    # Of a version that is named; and so that what is not there is 404, and not 403.
    "s3:GetObject": {"s3:GetObjectVersion", "s3:ListBucket"},
    "s3:HeadObject": {"s3:GetObjectVersion", "s3:ListBucket"},
    "sts:AssumeRole": {"sts:TagSession"},
}
# What AWS asks a workload role for on the way of an operation, and why.
ON_BEHALF = {
    "cloudformation:BatchDescribeTypeConfigurations": "drift detection looks at how types are configured",
    "cloudformation:TagResource": "CreateStack, where it has tags",
    "iam:PassRole": "CreateStack, RunInstances, StartInstanceRefresh",
    "imagebuilder:GetContainerRecipe": "DescribeImageReferences",
    "s3:GetObject*": "CreateStack, of a template in a bucket",
    "ssm:GetParameters": "DescribeImageReferences",
    "kms:*": "RunInstances and CopyImage with a key of one's own",
}


def action(operation: calls.Operation) -> str:
    service, name = operation
    return f"{PREFIXES.get(service, service)}:{name}"


def needed(operations: set[calls.Operation]) -> set[str]:
    """The permissions that these operations need."""
    names = {action(operation) for operation in operations}
    return set().union(*(NAMED_OTHERWISE.get(name, {name}) for name in names))


def besides(operations: set[calls.Operation]) -> set[str]:
    return set().union(*(BESIDES.get(action(operation), set()) for operation in operations))


def allowed(template: Template, role: str) -> set[str]:
    statements = (each for each in template.statements(role) if each.body["Effect"] == "Allow")
    return {action for statement in statements for action in statement.listed("Action")}


POLLED = {f"sqs:{name}" for name in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}
"""What Lambda does in the name of a function that takes a queue's messages."""
POLLING = {
    each["Properties"]["FunctionName"]["Ref"]
    for each in INSTALLATION.resources.values()
    if each["Type"] == "AWS::Lambda::EventSourceMapping"
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_what_it_calls_and_nothing_else(function: str) -> None:
    own, _ = calls.called_by(FUNCTIONS[function])
    may = allowed(INSTALLATION, function)
    assert needed(own) - may == set(), "is called, and not allowed"
    dead_letters = {"sqs:SendMessage"} if "OnFailure" in str(INSTALLATION.resources[function]) else set()
    polled = POLLED if function in POLLING else set()
    assert may - needed(own) - besides(own) - dead_letters - polled == set(), "is allowed, and nobody calls it"


@cache
def in_workload_accounts() -> set[str]:
    return needed(set().union(*(calls.called_by(folder)[1] for folder in FUNCTIONS.values())))


def drift() -> set[str]:
    """What CloudFormation asks of who has a permanent environment compared with its template: its handlers' reads."""
    types = {resource["Type"] for resource in Template("blueprints/service.yaml").resources.values()}
    return {action for kind in types for action in handlers(kind).get("read", {}).get("permissions", [])}


def test_the_workload_role_may_what_functions_call() -> None:
    may = allowed(ACCOUNT, "WorkloadRole")
    assert {each for each in in_workload_accounts() if not any(fnmatch_iam(each, one) for one in may)} == set()


def test_the_workload_role_may_look_at_all_that_drifts() -> None:
    may = allowed(ACCOUNT, "WorkloadRole")
    of_fleets_of_aws = {"managed-fleets:Get*"}  # a blueprint has none
    lacking = {each for each in drift() if not any(fnmatch_iam(each.replace("*", "Anything"), one) for one in may)}
    assert lacking - of_fleets_of_aws == set()


def test_the_workload_role_may_nothing_that_nobody_calls() -> None:
    called = in_workload_accounts() | drift()
    for one in allowed(ACCOUNT, "WorkloadRole"):
        known = any(fnmatch_iam(each, one) for each in called) or any(fnmatch_iam(one, each) for each in ON_BEHALF)
        assert known, f"{one} is allowed, and nobody calls it"


def test_blueprints_that_are_updated_are_those_that_are_compared() -> None:
    assert [name for name, operations in BLUEPRINTS.items() if "update" in operations] == ["service.yaml"]


@pytest.mark.parametrize(
    "machine",
    [name for name, each in INSTALLATION.resources.items() if each["Type"] == "AWS::Serverless::StateMachine"],
)
def test_a_machine_may_what_its_states_call_and_nothing_else(machine: str) -> None:
    """The definitions name their calls; .sync adds looking, stopping, and Step Functions' own rule
    (https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html)."""
    text = (calls.ROOT / INSTALLATION.resources[machine]["Properties"]["DefinitionUri"]).read_text()
    wanted = set()
    for mark, actions in CALLED_BY_STATES.items():
        wanted |= actions if mark in text else set()
    assert allowed(INSTALLATION, machine) - VENDED_LOGS == wanted


VENDED_LOGS = {
    f"logs:{name}"
    for name in (
        "CreateLogDelivery",
        "GetLogDelivery",
        "UpdateLogDelivery",
        "DeleteLogDelivery",
        "ListLogDeliveries",
        "PutResourcePolicy",
        "DescribeResourcePolicies",
        "DescribeLogGroups",
    )
}
CALLED_BY_STATES = {
    ":lambda:invoke": {"lambda:InvokeFunction"},
    ":dynamodb:updateItem": {"dynamodb:UpdateItem"},
    ":events:putEvents": {"events:PutEvents"},
    ":states:startExecution": {"states:StartExecution"},
    ":http:invoke": {
        "states:InvokeHTTPEndpoint",
        "events:RetrieveConnectionCredentials",
        "secretsmanager:GetSecretValue",
        "secretsmanager:DescribeSecret",
    },
    ":codebuild:startBuild.sync": {"codebuild:StartBuild", "codebuild:StopBuild", "codebuild:BatchGetBuilds"},
    ":states:startExecution.sync": {
        "states:DescribeExecution",
        "states:StopExecution",
        "events:PutTargets",
        "events:PutRule",
        "events:DescribeRule",
    },
}
