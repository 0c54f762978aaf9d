"""Parts of a network that take minutes to come and to go, seen through one workload account."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mayfly.domain.needs import Use

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload
    from mayfly.aws.stacks import Resource


def _nat_gateways(workload: "Workload", filters: Any) -> Iterable[tuple[str, str]]:
    for page in workload.ec2.get_paginator("describe_nat_gateways").paginate(Filters=filters):
        yield from ((one["NatGatewayId"], one["State"]) for one in page["NatGateways"])


def _attachments(workload: "Workload", filters: Any) -> Iterable[tuple[str, str]]:
    for page in workload.ec2.get_paginator("describe_transit_gateway_vpc_attachments").paginate(Filters=filters):
        yield from ((one["TransitGatewayAttachmentId"], one["State"]) for one in page["TransitGatewayVpcAttachments"])


def _endpoints(workload: "Workload", filters: Any) -> Iterable[tuple[str, str]]:
    for page in workload.ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=filters):
        yield from ((one["VpcEndpointId"], one["State"]) for one in page["VpcEndpoints"])


_LOOKS: Mapping[str, tuple[str, Callable[["Workload", Any], Iterable[tuple[str, str]]]]] = {
    "AWS::EC2::NatGateway": ("nat-gateway-id", _nat_gateways),
    "AWS::EC2::TransitGatewayAttachment": ("transit-gateway-attachment-id", _attachments),
    "AWS::EC2::VPCEndpoint": ("vpc-endpoint-id", _endpoints),
}


def states(workload: "Workload", resources: Iterable["Resource"]) -> dict[str, str]:
    """Returns the state of each such part among a stack's resources, by its id; of one that EC2 does not know (any
    more) none.

    EC2 is asked only for the kinds that are among them.
    """
    ids = dict[str, list[str]]()
    for one in resources:
        if one.kind in _LOOKS and one.physical_id:
            ids.setdefault(one.kind, []).append(one.physical_id)
    found = dict[str, str]()
    for kind, listed in ids.items():
        by, look = _LOOKS[kind]
        found |= dict(look(workload, [{"Name": by, "Values": listed}]))
    return {identity: state.lower() for identity, state in found.items()}


def used_vpcs(workload: "Workload") -> Iterator[Use]:
    """Lists VPCs."""
    for page in workload.ec2.get_paginator("describe_vpcs").paginate():
        yield from (("vpcs", 1, vpc) for vpc in page["Vpcs"])


def used_internet_gateways(workload: "Workload") -> Iterator[Use]:
    """Lists internet gateways."""
    for page in workload.ec2.get_paginator("describe_internet_gateways").paginate():
        yield from (("internet-gateways", 1, gateway) for gateway in page["InternetGateways"])


def used_addresses(workload: "Workload") -> Iterator[Use]:
    """Lists Elastic IP addresses."""
    yield from (("elastic-ips", 1, address) for address in workload.ec2.describe_addresses()["Addresses"])


def used_nat_gateways(workload: "Workload") -> Iterator[Use]:
    """Lists NAT gateways."""
    for page in workload.ec2.get_paginator("describe_nat_gateways").paginate():
        standing = (gateway for gateway in page["NatGateways"] if gateway["State"] not in ("deleted", "failed"))
        yield from (("nat-gateways", 1, gateway) for gateway in standing)


def used_endpoints(workload: "Workload") -> Iterator[Use]:
    """Lists gateway endpoints."""
    for page in workload.ec2.get_paginator("describe_vpc_endpoints").paginate():
        found = (endpoint for endpoint in page["VpcEndpoints"] if endpoint.get("VpcEndpointType") == "Gateway")
        yield from (("gateway-endpoints", 1, endpoint) for endpoint in found)


def used_interfaces(workload: "Workload") -> Iterator[Use]:
    """Lists network interfaces."""
    for page in workload.ec2.get_paginator("describe_network_interfaces").paginate():
        yield from (("network-interfaces", 1, interface) for interface in page["NetworkInterfaces"])


def used_security_groups(workload: "Workload") -> Iterator[Use]:
    """Lists security groups."""
    for page in workload.ec2.get_paginator("describe_security_groups").paginate():
        yield from (("security-groups", 1, group) for group in page["SecurityGroups"])


def zones(workload: "Workload") -> dict[str, str]:
    """Maps each subnet's id to its Availability Zone."""
    pages = workload.ec2.get_paginator("describe_subnets").paginate()
    return {subnet["SubnetId"]: subnet["AvailabilityZone"] for page in pages for subnet in page["Subnets"]}
