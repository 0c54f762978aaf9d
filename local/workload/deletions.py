"""Deletions that moto's CloudFormation lacks. It builds these resources, but a stack with a VPC of its own could
never go; the rest of a deletion is moto's own."""

from collections.abc import Callable
from typing import Any

from moto.apigateway.models import RestAPI, apigateway_backends
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.internet_gateways import InternetGateway
from moto.ec2.models.nat_gateways import NatGateway
from moto.ec2.models.route_tables import RouteTable
from moto.ec2.models.security_groups import SecurityGroupIngress
from moto.ec2.models.vpcs import VPCEndPoint
from moto.ecs.models import Cluster, ecs_backends
from moto.iam.models import ManagedPolicy

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


def delete_ingress(_ec2: EC2Backend, rule: SecurityGroupIngress) -> None:
    """Takes the rule from its group."""
    wanted = rule.properties
    ports = tuple(str(wanted.get(name)) for name in ("IpProtocol", "FromPort", "ToPort"))

    def is_it(other: Any) -> bool:
        peer, cidr = (other.source_group or {}).get("GroupId"), (other.ip_range or {}).get("CidrIp")
        same = (str(other.ip_protocol), str(other.from_port), str(other.to_port)) == ports
        return same and (peer, cidr) == (wanted.get("SourceSecurityGroupId"), wanted.get("CidrIp"))

    group = rule.security_group
    group.ingress_rules = [one for one in group.ingress_rules if not is_it(one)]


DELETIONS: dict[type[Any], Deletion] = {
    RouteTable: delete_route_table,
    SecurityGroupIngress: delete_ingress,
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
    filter_value = VPCEndPoint.get_filter_value

    def get_filter_value(endpoint: VPCEndPoint, filter_name: str, method_name: str | None = None) -> Any:
        """moto does not know endpoints by their ids."""
        return endpoint.id if filter_name == "vpc-endpoint-id" else filter_value(endpoint, filter_name, method_name)

    VPCEndPoint.get_filter_value = get_filter_value  # type: ignore[assignment,method-assign]
    RestAPI.delete = _delete_api  # type: ignore[attr-defined]
    Cluster.delete = _delete_cluster  # type: ignore[attr-defined]
    ManagedPolicy.delete = _delete_policy  # type: ignore[attr-defined]
    install_resource_lists()


def _delete_policy(self: ManagedPolicy, account_id: str, region_name: str) -> None:
    """From those that the template attached it to, CloudFormation takes it first."""
    for role in self.backend.get_roles():
        if self.arn in role.managed_policies:
            self.detach_from(role)
    self.backend.managed_policies.pop(self.arn, None)


def _delete_cluster(self: Cluster, account_id: str, region_name: str) -> None:
    ecs_backends[account_id][region_name].delete_cluster(self.name)


def _delete_api(self: RestAPI, account_id: str, region_name: str) -> None:
    apigateway_backends[account_id][region_name].delete_rest_api(self.id)


def install_resource_lists() -> None:
    """Lets ListStackResources show each resource's own status, also of a stack that is deleted. moto says
    CREATE_COMPLETE of all, and makes those of a deleted stack anew when it is asked."""

    def list_stack_resources(response: Any) -> ActionResult:
        stack = response.cloudformation_backend.get_stack(response._get_param("StackName"))
        return ActionResult({"StackResourceSummaries": [_summary(stack, name) for name in _names(stack)]})

    CloudFormationResponse.list_stack_resources = list_stack_resources  # type: ignore[method-assign,assignment]


def _names(stack: Any) -> list[str]:
    made = stack.resource_map
    conditions = made.lazy_condition_map
    known = made._resource_json_map.items()
    return [name for name, one in known if "Condition" not in one or conditions[one["Condition"]]]


def _summary(stack: Any, name: str) -> dict[str, Any]:
    resource = stack.resource_map._parsed_resources.get(name)
    own = [event for event in stack.events if event.logical_resource_id == name]
    physical = getattr(resource, "physical_resource_id", "") or next((event.physical_resource_id for event in own), "")
    status = own[-1].resource_status if own else "CREATE_COMPLETE"
    if stack.status == "DELETE_COMPLETE":
        status = "DELETE_SKIPPED" if resource is not None else "DELETE_COMPLETE"
    elif stack.status == "DELETE_FAILED" and not own:
        status = "DELETE_COMPLETE"
    return {
        "LogicalResourceId": name,
        "PhysicalResourceId": physical,
        "ResourceType": stack.template_dict["Resources"][name]["Type"],
        "LastUpdatedTimestamp": stack.creation_time,
        "ResourceStatus": status,
        "ResourceStatusReason": own[-1].resource_status_reason if own else None,
    }
