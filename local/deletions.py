"""Deletions that moto's CloudFormation lacks. It builds these resources, but a stack with a VPC of its own could
never go; the rest of a deletion is moto's own."""

from collections.abc import Callable
from typing import Any

from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.internet_gateways import InternetGateway
from moto.ec2.models.nat_gateways import NatGateway
from moto.ec2.models.route_tables import RouteTable
from moto.ec2.models.vpcs import VPCEndPoint

Deletion = Callable[[EC2Backend, Any], object]


def delete_route_table(ec2: EC2Backend, table: RouteTable) -> None:
    """Not while an endpoint has routes in it; moto deletes in any order and comes back to what refused."""
    if any(
        table.id in (endpoint.route_table_ids or ())
        for endpoint in ec2.vpc_end_points.values()
        if endpoint.state != "deleted"
    ):
        raise DependencyViolationError(f"{table.id} is used by an endpoint")
    ec2.route_tables.pop(table.id, None)


DELETIONS: dict[type[Any], Deletion] = {
    RouteTable: delete_route_table,
    InternetGateway: lambda ec2, gateway: ec2.internet_gateways.pop(gateway.id, None),
    NatGateway: lambda ec2, gateway: ec2.nat_gateways.pop(gateway.id, None),
    VPCEndPoint: lambda ec2, endpoint: ec2.delete_vpc_endpoints([endpoint.id]),
    ElasticAddress: lambda ec2, address: ec2.release_address(allocation_id=address.allocation_id),
}


def install() -> None:
    """Gives moto's resources the method that its CloudFormation looks for."""
    for resource, deletion in DELETIONS.items():

        def delete(self: Any, account_id: str, region_name: str, deletion: Deletion = deletion) -> None:
            deletion(ec2_backends[account_id][region_name], self)

        resource.delete = delete
