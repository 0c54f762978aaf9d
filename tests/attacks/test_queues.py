"""Who may put what where by a resource's own policy: each of the template's, asked by an IAM engine."""

import json
from itertools import product
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, combine_resource_policy, evaluate, parse_policy_document

from tests.unit.policies import CONTROLLER, REGION, WORKLOAD, Template, put_events

TEMPLATE = Template("template.yaml", WorkloadAccounts=WORKLOAD)
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
HERE, THERE = (f"{REGION}:{account}" for account in (CONTROLLER, "999999999999"))
QUEUE = f"arn:aws:sqs:{HERE}:DeadLetters"
TAKEN = {
    "events.amazonaws.com": [
        f"arn:aws:events:{HERE}:rule/{rule}" for rule in ("mayfly/x", "mayfly-facts/x", "accept-bake-of-mayfly")
    ],
    "sns.amazonaws.com": [f"arn:aws:sns:{HERE}:mayfly-base-images"],
}
"""Of which service, for what of the installation."""
REFUSED = [
    *(
        f"arn:aws:events:{HERE}:rule/{rule}"
        for rule in ("x", "mayfly", "mayfly-2/x", "other/x", "mayfly-web-1-Rule-5x")
    ),
    *(f"arn:aws:events:{there}:rule/mayfly/x" for there in (THERE, f"eu-west-1:{CONTROLLER}")),
    *(f"arn:aws:sns:{HERE}:{topic}" for topic in ("x", "mayfly-base-images-2", "mayfly-alarms", "mayfly_webshop_x")),
    f"arn:aws:sns:{THERE}:mayfly-base-images",
    f"arn:aws:scheduler:{HERE}:schedule/default/x",
    f"arn:aws:s3:::x-{CONTROLLER}",
]


def service_may(service: str, arn: str) -> bool:
    asked = EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=CONTROLLER,
        action="sqs:SendMessage",
        resource_arn=QUEUE,
        region=REGION,
        service_context={"aws:sourcearn": arn, "aws:sourceaccount": arn.split(":")[4]},
    )
    policy = TEMPLATE.resolved(TEMPLATE.resources["DeadLettersPolicy"]["Properties"]["PolicyDocument"])
    of_service = [one for one in policy["Statement"] if one["Principal"] == {"Service": service}]
    stripped = {"Statement": [{key: each for key, each in one.items() if key != "Principal"} for one in of_service]}
    return bool(evaluate(asked, [parse_policy_document(json.dumps(stripped))]).decision == "Allow")


@pytest.mark.parametrize("service", [*TAKEN, "scheduler.amazonaws.com", "s3.amazonaws.com"])
def test_a_dead_letter_is_of_mayfly_s_own_rules_and_topic(service: str) -> None:
    """A letter says that a request was refused, and somebody may redrive it."""
    for arn in [*REFUSED, *(arn for arns in TAKEN.values() for arn in arns)]:
        assert service_may(service, arn) == (arn in TAKEN.get(service, ())), arn


def test_every_rule_and_subscription_that_has_the_queue_may_send_to_it() -> None:
    for name, resource in TEMPLATE.resources.items():
        for event, source in resource.get("Properties", {}).get("Events", {}).items():
            properties = source["Properties"]
            if "RedrivePolicy" in properties:
                assert service_may("sns.amazonaws.com", TEMPLATE.resolved(properties["Topic"])), name
            if "DeadLetterConfig" in properties and source["Type"] == "EventBridgeRule":
                bus = TEMPLATE.resolved(properties["EventBusName"]) if "EventBusName" in properties else ""
                rule = f"{bus}/mayfly-{name}{event}-52FDFC072182" if bus else TEMPLATE.resolved(properties["RuleName"])
                assert service_may("events.amazonaws.com", f"arn:aws:events:{HERE}:rule/{rule}"), (name, event)


def bus_takes(principal: str, sources: list[str], documents: list[dict[str, Any]]) -> bool:
    bus = f"arn:aws:events:{HERE}:event-bus/mayfly"
    policy = TEMPLATE.resolved(TEMPLATE.resources["Bus"]["Properties"]["Policy"])
    return bool(put_events(principal, documents, bus, policy, {"events:source": sources}).decision == "Allow")


def test_from_another_account_only_what_forwards_aws_s_events_puts_any() -> None:
    sources = (
        "aws.cloudformation",
        "aws.ec2",
        "aws.s3",
        "mayfly.operator",
        "mayfly.app.webshop",
        "mayfly.api",
        "mayfly",
    )
    roles = ("mayfly-events", "mayfly-workload", "administrator", "mayfly/web", "x/mayfly-events")
    for account, role, source in product((WORKLOAD, "999999999999"), roles, sources):
        principal = f"arn:aws:iam::{account}:role/{role}"
        takes = bus_takes(principal, [source], [EVERYTHING])
        assert takes == ((account, role) == (WORKLOAD, "mayfly-events") and source in sources[:2]), (principal, source)


READS = ("s3:GetObject", "s3:GetObjectVersion")


def test_of_the_blueprints_bucket_another_account_s_workload_role_reads_objects_and_nobody_anything_else() -> None:
    policy = TEMPLATE.resolved(TEMPLATE.resources["BlueprintsPolicy"]["Properties"]["PolicyDocument"])
    for account, role, action in product(
        (WORKLOAD, "999999999999"),
        ("mayfly-workload", "mayfly-builder", "administrator"),
        (*READS, "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:PutBucketPolicy"),
    ):
        asked = EvalContext(
            principal_arn=f"arn:aws:iam::{account}:role/{role}",
            principal_type="AssumedRole",
            principal_account=account,
            action=action,
            resource_arn="arn:aws:s3:::Blueprints/fleet.yaml",
            region=REGION,
            secure_transport=True,
        )
        identity = evaluate(asked, [parse_policy_document(json.dumps(EVERYTHING))])
        may = combine_resource_policy(identity, asked, policy, CONTROLLER).decision == "Allow"
        assert may == ((account, role) == (WORKLOAD, "mayfly-workload") and action in READS), (account, role, action)


def test_these_are_all_policies_of_resources() -> None:
    """Whoever adds a resource policy to the template also adds tests of what it permits."""
    kinds = {name: one["Type"] for name, one in TEMPLATE.resources.items() if one["Type"].endswith("Policy")}
    of_principals = {name for name, kind in kinds.items() if kind == "AWS::IAM::ManagedPolicy"}
    assert kinds.keys() - of_principals == {"BlueprintsPolicy", "ReportsPolicy", "DeadLettersPolicy"}
    assert [name for name, one in TEMPLATE.resources.items() if "Policy" in one.get("Properties", {})] == [
        "Bus",
        "Facts",
    ]


def test_what_calls_a_function_is_bound_to_one_origin() -> None:
    template = Template("template.yaml", BaseImageTopic="arn:aws:sns:us-east-1:137112412989:amazon-linux")
    permissions = {
        name: template.resolved(one["Properties"]["SourceArn"])
        for name, one in template.resources.items()
        if one["Type"] == "AWS::Lambda::Permission"
    }
    assert permissions == {
        "CodeVersionsPermission": f"arn:aws:sns:{HERE}:mayfly_*_code-versions",
        "TestResultsPermission": f"arn:aws:sns:{HERE}:mayfly_*_test-results",
        "PublisherPermission": "arn:aws:sns:us-east-1:137112412989:amazon-linux",
        "ServeApiPermission": f"arn:aws:execute-api:{HERE}:mayfly/*",
    }
