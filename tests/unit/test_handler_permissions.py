"""CloudFormation builds blueprints with its role, through the handlers of each resource type. Their schemas, which
cfn-lint ships, list what a handler calls: the role has it, or a reason stands here why the handler will not call it."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from ministack.core.iam_evaluator import fnmatch_iam

from tests.unit.policies import Template

ROLE = Template("blueprints/workload-account.yaml")
ROLES = {"fleet.yaml": "ServiceRole", "service.yaml": "PermanentRole"}
ALLOWED = {
    blueprint: [
        action
        for statement in ROLE.statements(role)
        if statement.body["Effect"] == "Allow"
        for action in statement.listed("Action")
    ]
    for blueprint, role in ROLES.items()
}
# Environments are made, looked at and deleted. Permanent ones are made, looked at and updated: who ends one brings a
# role of their own.
BLUEPRINTS = {"fleet.yaml": ("create", "read", "delete"), "service.yaml": ("create", "read", "update")}

ONLY_WITH = {
    # A handler calls this only where the resource has the property.
    "autoscaling:*LoadBalancers": "LoadBalancerNames",
    "elasticloadbalancing:Describe*": "TargetGroupARNs",
    "autoscaling:*LifecycleHook": "LifecycleHookSpecificationList",
    "autoscaling:*NotificationConfiguration": "NotificationConfigurations",
    "autoscaling:*TrafficSources": "TrafficSources",
    "cognito-idp:DescribeUserPoolClient": "ListenerConfigCognito",
    "ec2:AcceptAddressTransfer": "TransferAddress",
    "ec2:AssociateAddress": "InstanceId",
    "ec2:AttachVpnGateway": "VpnGatewayId",
    "ec2:DetachVpnGateway": "VpnGatewayId",
    "ec2:CreateVpcEncryptionControl": "VpcEncryptionControl",
    "elasticloadbalancing:ModifyCapacityReservation": "MinimumLoadBalancerCapacity",
    "elasticloadbalancing:ModifyIpPools": "Ipv4IpamPoolId",
    "elasticloadbalancing:SetIpAddressType": "IpAddressType",
    "elasticloadbalancing:RegisterTargets": "Targets",
    "elasticloadbalancing:DeregisterTargets": "Targets",
    "iam:*GroupPolicy": "Groups",
    "iam:*UserPolicy": "Users",
    "vpce:AllowMultiRegion": "ServiceRegion",
    "vpc-lattice:*": "ServiceNetworkArn",
}
BECAUSE = {
    "autoscaling:DisableMetricsCollection": "the metrics that a group collects do not change",
    "autoscaling:AttachLoadBalancerTargetGroups": "a group stays in its target group",
    "autoscaling:DetachLoadBalancerTargetGroups": "a group stays in its target group",
    "autoscaling:DeleteTags": "a group keeps its tags",
    "autoscaling:StartInstanceRefresh": "the group has no UpdatePolicy: a rollout refreshes, in its own session",
    "autoscaling:CancelInstanceRefresh": "the group has no UpdatePolicy: a rollout refreshes, in its own session",
    "cloudwatch:UntagResource": "an alarm keeps its tags",
    "cloudwatch:PutMetricAlarm": "a group has no scaling policy that alarms start",
    "ec2:Get*": "asked for what a launch template leaves open, such as requirements instead of an instance type",
    "ec2:ReplaceRouteTableAssociation": "only of a subnet that is associated already; each of these is new",
    "ec2:UpdateSecurityGroupRuleDescriptions*": "descriptions do not change",
    "elasticloadbalancing:RemoveTags": "tags do not go",
    "iam:*RolePermissionsBoundary": "a role keeps its boundary, and must",
    "iam:UpdateAssumeRolePolicy": "who may assume the role does not change",
    "iam:UpdateRole*": "the role's description and session length do not change",
    "managed-fleets:*": "of groups that AWS manages the fleet of",
    "ssm:Get*": "of parameters that name an image in a launch template; Mayfly names the image itself",
}


@cache
def handlers(kind: str) -> dict[str, Any]:
    schemas = files("cfnlint") / "data/schemas"
    listed = json.loads((schemas / "providers/us-east-1.json").read_text())
    return dict(json.loads((schemas / f"resources/{listed[kind]}.json").read_text())["handlers"])


def cases() -> list[tuple[str, str, str, str]]:
    return sorted(
        {
            (blueprint, resource["Type"], operation, action)
            for blueprint, operations in BLUEPRINTS.items()
            for resource in Template(f"blueprints/{blueprint}").resources.values()
            for operation in operations
            for action in handlers(resource["Type"]).get(operation, {}).get("permissions", [])
        }
    )


def reason(action: str, table: dict[str, str]) -> str | None:
    return next((said for pattern, said in table.items() if fnmatch_iam(action, pattern)), None)


def has(blueprint: str, action: str) -> bool:
    """Whether its role allows it; what the schema says with a wildcard, it has to allow as a whole."""
    return any(fnmatch_iam(action.replace("*", "AnythingOfIt"), allowed) for allowed in ALLOWED[blueprint])


@pytest.mark.parametrize(("blueprint", "kind", "operation", "action"), cases(), ids=lambda part: part)
def test_the_role_has_what_a_handler_calls_or_there_is_a_reason(
    blueprint: str, kind: str, operation: str, action: str
) -> None:
    if has(blueprint, action):
        return
    if (only_with := reason(action, ONLY_WITH)) is not None:
        used = [
            name
            for name, resource in Template(f"blueprints/{blueprint}").resources.items()
            if resource["Type"] == kind and only_with in resource.get("Properties", {})
        ]
        assert not used, f"{used} have {only_with}, so that {action} is called"
        return
    assert reason(action, BECAUSE), f"{operation} of {kind} calls {action}"


def test_every_reason_is_needed() -> None:
    lacking = {action for blueprint, _, _, action in cases() if not has(blueprint, action)}
    for pattern in [*ONLY_WITH, *BECAUSE]:
        assert any(fnmatch_iam(action, pattern) for action in lacking), pattern


@pytest.mark.parametrize("action", ["ec2:GetSecurityGroupsForVpc", "ec2:RunInstances", "iam:CreateServiceLinkedRole"])
def test_the_role_has_what_services_ask_of_the_caller_besides(action: str) -> None:
    """Load balancers ask for the first, Auto Scaling for the others; no schema lists the first."""
    assert has("service.yaml", action)
