"""How much of a kind AWS lets an account have, by default: what is above is refused in the words of the service.

An account's administrator has quotas raised, as `cloud.quotas(vpcs=50)` does here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from local.workload.calls import Answer, Call

type Properties = dict[str, Any]


@dataclass(frozen=True)
class Quota:
    """One quota, and who counts against it."""

    kind: str
    most: int
    count: Callable[[str, str, Properties], int]
    refused: str


def _nat_gateways(account: str, region: str, properties: Properties) -> int:
    """Those of the same zone."""
    ec2 = ec2_backends[account][region]
    zones = {subnet.id: subnet.availability_zone for by_id in ec2.subnets.values() for subnet in by_id.values()}
    zone = zones.get(str(properties.get("SubnetId")))
    return sum(
        zones.get(gateway.subnet_id) == zone for gateway in ec2.nat_gateways.values() if gateway.state != "deleted"
    )


QUOTAS = {
    "vpcs": Quota(
        "AWS::EC2::VPC",
        5,
        lambda account, region, _: len(ec2_backends[account][region].vpcs),
        "The maximum number of VPCs has been reached. (Service: Ec2, Status Code: 400)",
    ),
    "elastic_ips": Quota(
        "AWS::EC2::EIP",
        5,
        lambda account, region, _: len(ec2_backends[account][region].addresses),
        "The maximum number of addresses has been reached. (Service: Ec2, Status Code: 400)",
    ),
    "nat_gateways": Quota(
        "AWS::EC2::NatGateway",
        5,
        _nat_gateways,
        "Performing this operation would exceed the limit of 5 NAT gateways (Service: Ec2, Status Code: 400)",
    ),
    "groups": Quota(
        "AWS::AutoScaling::AutoScalingGroup",
        500,
        lambda account, region, _: len(autoscaling_backends[account][region].autoscaling_groups),
        "AutoScalingGroup limit exceeded for this account and Region (Service: AutoScaling, Status Code: 400)",
    ),
    "roles": Quota(
        "AWS::IAM::Role",
        1000,
        lambda account, *_: len(iam_backends[account]["aws"].roles),
        "Cannot exceed quota for RolesPerAccount: 1000 (Service: Iam, Status Code: 409)",
    ),
    "instance_profiles": Quota(
        "AWS::IAM::InstanceProfile",
        1000,
        lambda account, *_: len(iam_backends[account]["aws"].instance_profiles),
        "Cannot exceed quota for InstanceProfilesPerAccount: 1000 (Service: Iam, Status Code: 409)",
    ),
    "network_interfaces": Quota(
        "AWS::AutoScaling::AutoScalingGroup",
        5000,
        lambda account, region, properties: (
            len(ec2_backends[account][region].enis) + int(properties.get("DesiredCapacity") or 0) - 1
        ),
        "You have exceeded the number of network interfaces of this Region (Service: Ec2, Status Code: 400)",
    ),
}
STACKS, TOO_MANY_STACKS = 2000, "Limit for stack has been exceeded"
CODES = {
    "L-F678F1CE": "vpcs",
    "L-0263D0A3": "elastic_ips",
    "L-FE5A380F": "nat_gateways",
    "L-CDE20ADC": "groups",
    "L-FE177D64": "roles",
    "L-6E65F664": "instance_profiles",
    "L-DF5E4CA3": "network_interfaces",
    "L-0485CB21": "stacks",
}
"""Of Service Quotas."""
UNLIMITED = 1_000_000
"""What Service Quotas says of what this account does not limit."""


class Quotas:
    """What holds in this account."""

    def __init__(self, enforced: bool) -> None:
        self._enforced = enforced
        self._most = {name: quota.most for name, quota in QUOTAS.items()} | {"stacks": STACKS} if enforced else {}

    def change(self, **most: int) -> dict[str, int]:
        """Sets some, where quotas are enforced; returns what holds now.

        Raises:
            ValueError: there is no such quota.
        """
        if unknown := most.keys() - QUOTAS.keys() - {"stacks"}:
            raise ValueError(f"expected {', '.join(QUOTAS)} or stacks, but there is {', '.join(sorted(unknown))}")
        if self._enforced:
            self._most |= most
        return self._most

    def answer(self, call: Call) -> Answer:
        """What Service Quotas says of a quota: moto knows AWS's defaults of a few."""
        code = call.said("QuotaCode")
        quota = {
            "ServiceCode": call.said("ServiceCode"),
            "QuotaCode": code,
            "Value": float(self._most.get(CODES.get(code, ""), UNLIMITED)),
        }
        body = json.dumps({"Quota": quota}).encode()
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
        return Answer("200 OK", headers, body)

    def limit(self, kind: str) -> bool:
        """Whether there is a quota for this kind."""
        return any(name in QUOTAS and QUOTAS[name].kind == kind for name in self._most)

    def refusal(self, kind: str, account: str, region: str, properties: Properties) -> str | None:
        """Why one more of this kind cannot be made."""
        for name, most in self._most.items():
            quota = QUOTAS.get(name)
            if quota and quota.kind == kind and quota.count(account, region, properties) >= most:
                return f'Resource handler returned message: "{quota.refused}"'
        return None

    def stacks_are_too_many(self, standing: int) -> bool:
        """Whether one more stack is refused."""
        return standing >= self._most.get("stacks", standing + 1)
