"""What Mayfly says is on a bus of its own: its policy, asked by an IAM engine about each kind of principal."""

from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalResult

from tests.unit.policies import CONTROLLER, REGION, WORKLOAD, Template, put_events

TEMPLATE = Template("template.yaml")
BUS = TEMPLATE.resources["Facts"]["Properties"]
POLICY = BUS["Policy"]["Statement"][0]
ARN = f"arn:aws:events:{REGION}:{CONTROLLER}:event-bus/mayfly-facts"
WITH_A_ROLE = ("AWS::Serverless::Function", "AWS::Serverless::StateMachine")
OURS = [name for name, one in TEMPLATE.resources.items() if one["Type"] in WITH_A_ROLE]
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


role_of = TEMPLATE.role_of


def decided(principal: str, documents: list[dict[str, Any]], bus: str = ARN) -> EvalResult:
    said = {"events:source": ["mayfly"], "events:detail-type": ["Release Passed"]}
    return put_events(principal, documents, bus, TEMPLATE.resolved(BUS["Policy"]), said)


def test_the_bus_of_facts_is_what_its_policy_names():
    assert TEMPLATE.resolved(BUS["Name"]) == "mayfly-facts"
    assert TEMPLATE.resolved(POLICY["Resource"]) == ARN
    assert (POLICY["Effect"], POLICY["Principal"], POLICY["Action"]) == ("Deny", "*", "events:PutEvents")


@pytest.mark.parametrize("logical", OURS)
def test_a_role_of_mayfly_says_facts_where_its_own_policy_lets_it_and_none_that_need_not(logical: str):
    says = any(
        "events:PutEvents" in one.listed("Action") and ARN in one.listed("Resource")
        for one in TEMPLATE.statements(logical)
    )
    answer = decided(role_of(logical), TEMPLATE.documents(logical))
    assert (answer.decision == "Allow") == says
    # And by the policy of the bus alone, even somebody who may do everything else:
    assert (decided(role_of(logical), [EVERYTHING]).decision == "Allow") == says


@pytest.mark.parametrize(
    "principal",
    [
        f"arn:aws:iam::{CONTROLLER}:role/administrator",
        f"arn:aws:iam::{CONTROLLER}:root",
        f"arn:aws:iam::{CONTROLLER}:user/developer",
        f"arn:aws:iam::{CONTROLLER}:role/mayfly-AcceptExtensionRole-52FDFC072182x",
        f"arn:aws:iam::{CONTROLLER}:role/path/mayfly-AcceptExtensionRole-52FDFC072182",
        f"arn:aws:iam::{WORKLOAD}:role/mayfly-AcceptExtensionRole-52FDFC072182",
        f"arn:aws:iam::{WORKLOAD}:role/mayfly-workload",
    ],
)
def test_nobody_else_says_facts_whatever_he_may_do(principal: str):
    assert decided(principal, [EVERYTHING]).decision == "Deny"


@pytest.mark.parametrize("logical", OURS)
def test_nothing_of_mayfly_puts_requests_on_its_own_bus_but_the_api(logical: str):
    requests = ARN.removesuffix("-facts")
    asked = [one for one in TEMPLATE.statements(logical) if "events:PutEvents" in one.listed("Action")]
    assert any(requests in one.listed("Resource") for one in asked) == (logical == "ServeApi")


def test_what_hears_facts_hears_them_there_and_what_hears_requests_hears_them_on_their_bus():
    heard = [
        source["Properties"]
        for resource in TEMPLATE.resources.values()
        for source in resource.get("Properties", {}).get("Events", {}).values()
        if source["Type"] == "EventBridgeRule" and "EventBusName" in source["Properties"]  # else AWS's own, by default
    ]
    assert {one["EventBusName"]["Ref"] for one in heard if one["Pattern"].get("source") == ["mayfly"]} == {"Facts"}
    assert {one["EventBusName"]["Ref"] for one in heard if one["Pattern"].get("source") != ["mayfly"]} == {"Bus"}
