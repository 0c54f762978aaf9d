"""VPCs that CloudFormation attaches to a transit gateway, and routes to it, on top of moto, whose CloudFormation has no
such attachment and whose route tables take any route.

Security groups that another one's rules name stay, as on AWS, and so does a VPC that has more than its default one;
moto deletes them.

As on AWS, a route waits for the attachment of its VPC, and a subnet that an attachment uses stays as long as that. An
attachment takes one subnet a zone, all of its VPC, and has its range propagated to the gateway's route table. Of two
VPCs whose ranges overlap AWS propagates the first one's only, without a word; here the second attachment is refused.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from moto.core.common_models import CloudFormationModel
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError, InvalidTransitGatewayID
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.transit_gateway_attachments import TransitGatewayVpcAttachment

_create_route, _delete_subnet = EC2Backend.create_route, EC2Backend.delete_subnet
_delete_group, _delete_vpc = EC2Backend.delete_security_group, EC2Backend.delete_vpc


class Attachment(TransitGatewayVpcAttachment, CloudFormationModel):
    """A VPC's attachment to a transit gateway as a stack's resource."""

    @property
    def physical_resource_id(self) -> str:
        return self.id

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::EC2::TransitGatewayAttachment"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: Any
    ) -> Attachment:
        """Attaches a VPC, and has its range propagated."""
        del resource_name, kwargs
        ec2, properties = ec2_backends[account_id][region_name], cloudformation_json["Properties"]
        gateway, vpc, subnets = (properties[name] for name in ("TransitGatewayId", "VpcId", "SubnetIds"))
        if gateway not in ec2.transit_gateways:
            raise InvalidTransitGatewayID(gateway, f"Transit Gateway {gateway} was deleted or does not exist.")
        _check_subnets(ec2, vpc, subnets)
        _check_range(ec2, gateway, vpc)
        tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", ())}
        made = cls(ec2, ec2.transit_gateways[gateway], vpc, subnets, tags)
        ec2.transit_gateway_attachments[made.id] = made
        ec2.create_transit_gateway_route(made.transit_gateway_route_table.id, ec2.vpcs[vpc].cidr_block, made.id)
        return made

    def delete(self, account_id: str, region_name: str) -> None:
        """Detaches the VPC; its range is not propagated any more."""
        ec2 = ec2_backends[account_id][region_name]
        ec2.transit_gateway_attachments.pop(self.id, None)
        self.transit_gateway_route_table.routes.pop(ec2.vpcs[self.vpc_id].cidr_block, None)


def install() -> None:
    """Has moto refuse routes to a gateway that their VPC is not attached to, and keep what something else refers to."""
    EC2Backend.create_route = _checked_route  # type: ignore[assignment,method-assign]
    EC2Backend.delete_subnet = _checked_deletion  # type: ignore[assignment,method-assign]
    EC2Backend.delete_security_group = _unnamed_deletion  # type: ignore[assignment,method-assign]
    EC2Backend.delete_vpc = _empty_deletion  # type: ignore[assignment,method-assign]


def _checked_route(ec2: EC2Backend, route_table_id: str, *given: Any, **named: Any) -> Any:
    gateway, vpc = named.get("transit_gateway_id"), ec2.get_route_table(route_table_id).vpc_id
    if gateway and not any(one.transit_gateway_id == gateway and one.vpc_id == vpc for one in _attached(ec2)):
        raise InvalidTransitGatewayID(gateway)
    return _create_route(ec2, route_table_id, *given, **named)


def _checked_deletion(ec2: EC2Backend, subnet_id: str) -> Any:
    if any(subnet_id in one.subnet_ids for one in _attached(ec2)):
        raise DependencyViolationError(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
    return _delete_subnet(ec2, subnet_id)


def _unnamed_deletion(ec2: EC2Backend, name: str | None = None, group_id: str | None = None) -> None:
    others = [one for groups in ec2.groups.values() for one in groups.values() if one.id != group_id]
    rules = [rule for one in others for rule in (*one.ingress_rules, *one.egress_rules)]
    if group_id and any((rule.source_group or {}).get("GroupId") == group_id for rule in rules):
        raise DependencyViolationError(f"resource {group_id} has a dependent object")
    _delete_group(ec2, name, group_id)


def _empty_deletion(ec2: EC2Backend, vpc_id: str) -> Any:
    if any(group.name != "default" for group in ec2.groups.get(vpc_id, {}).values()):
        raise DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
    return _delete_vpc(ec2, vpc_id)


def _attached(ec2: EC2Backend) -> list[TransitGatewayVpcAttachment]:
    found = ec2.transit_gateway_attachments.values()
    return [one for one in found if isinstance(one, TransitGatewayVpcAttachment)]


def _check_subnets(ec2: EC2Backend, vpc: str, subnets: list[str]) -> None:
    found = [ec2.get_subnet(subnet) for subnet in subnets]
    if foreign := [subnet.id for subnet in found if subnet.vpc_id != vpc]:
        raise EC2ClientError("InvalidParameterValue", f"The subnets {', '.join(foreign)} are not in the VPC {vpc}.")
    if len({subnet.availability_zone for subnet in found}) < len(found):
        raise EC2ClientError("DuplicateSubnetsInSameZone", "Duplicate Subnets for same AZ")


def _check_range(ec2: EC2Backend, gateway: str, vpc: str) -> None:
    own = IPv4Network(ec2.vpcs[vpc].cidr_block)
    for other in _attached(ec2):
        taken = IPv4Network(ec2.vpcs[other.vpc_id].cidr_block)
        if other.transit_gateway_id == gateway and own.overlaps(taken):
            why = f"The range {own} of {vpc} overlaps with {taken} of {other.vpc_id}, which is attached to {gateway}."
            raise EC2ClientError("InvalidParameterValue", why)
