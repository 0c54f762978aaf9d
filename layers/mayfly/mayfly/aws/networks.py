"""Parts of a network that take minutes to come and to go, seen through one workload account."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

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
    """The state of each such part among a stack's resources, by its id; of one that EC2 does not know (any more) none.

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
