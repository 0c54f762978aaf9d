"""What stands where boto3 does: clients that hand each call to the world, which may refuse it, lose it or note it."""

from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

type Json = dict[str, Any]

HOME = "us-east-1"
_PAGE = 3
"""What a page of any listing holds: few, so that nobody gets by with the first."""

_LISTED = {
    "describe_auto_scaling_groups": "AutoScalingGroups",
    "describe_fleets": "Fleets",
    "describe_image_references": "ImageReferences",
    "describe_image_usage_report_entries": "ImageUsageReportEntries",
    "describe_image_usage_reports": "ImageUsageReports",
    "describe_images": "Images",
    "describe_instances": "Reservations",
    "describe_key_pairs": "KeyPairs",
    "describe_launch_configurations": "LaunchConfigurations",
    "describe_launch_template_versions": "LaunchTemplateVersions",
    "describe_launch_templates": "LaunchTemplates",
    "describe_network_interfaces": "NetworkInterfaces",
    "describe_security_groups": "SecurityGroups",
    "describe_snapshots": "Snapshots",
    "describe_spot_fleet_requests": "SpotFleetRequestConfigs",
    "describe_spot_instance_requests": "SpotInstanceRequests",
    "describe_stack_events": "StackEvents",
    "describe_stacks": "Stacks",
    "describe_volumes": "Volumes",
    "describe_vpcs": "Vpcs",
    "get_parameters_by_path": "Parameters",
    "get_resources": "ResourceTagMappingList",
    "get_tag_values": "TagValues",
    "list_container_recipes": "containerRecipeSummaryList",
    "list_executions": "executions",
    "list_image_recipes": "imageRecipeSummaryList",
    "list_object_versions": "Versions",
    "list_stack_resources": "StackResourceSummaries",
    "list_stacks": "StackSummaries",
    "query": "Items",
}
"""The part of a reply that comes in pages."""

type Caller = Callable[[str, str, str, Json], Json]
"""Takes a session's name, a service, an operation and its parameters."""


@cache
def error_class(code: str) -> type[ClientError]:
    """The class of a service's error, as `client.exceptions` has it."""
    return type(code, (ClientError,), {})


def refusal(code: str, message: str = "", **fields: Any) -> ClientError:
    """An error as a service gives it."""
    return error_class(code)({"Error": {"Code": code, "Message": message}, **fields}, "Operation")


class _Exceptions:
    def __getattr__(self, code: str) -> type[ClientError]:
        return error_class(code)


class _Paginator:
    def __init__(self, call: Callable[..., Json], listed: str) -> None:
        self._call, self._listed = call, listed

    def paginate(self, PaginationConfig: Any = None, **params: Any) -> Iterator[Json]:  # noqa: N803  # boto3's
        """One call for all pages; what matters is that the reader puts them together."""
        reply = self._call(**params)
        found = reply[self._listed]
        for start in range(0, max(len(found), 1), _PAGE):
            yield reply | {self._listed: found[start : start + _PAGE]}


_NO_EXPRESS = SimpleNamespace(operation_model=lambda _: SimpleNamespace(input_shape=SimpleNamespace(members=())))
"""What an SDK says that is older than Express mode."""


class Client:
    """A client of one service, of whoever is named by its session."""

    exceptions = _Exceptions()
    meta = SimpleNamespace(service_model=_NO_EXPRESS)

    def __init__(self, caller: Caller, session: str, service: str) -> None:
        self._caller, self._session, self._service = caller, session, service

    def __getattr__(self, operation: str) -> Callable[..., Json]:
        return lambda **params: self._caller(self._session, self._service, operation, params)

    def generate_presigned_url(self, operation: str, **_: Any) -> str:
        """Asks nobody."""
        return f"https://{self._service}.example.com/{operation}"

    def get_paginator(self, operation: str) -> _Paginator:
        return _Paginator(getattr(self, operation), _LISTED[operation])


class Boto3:
    """Takes the place of the module boto3 in `mayfly.aws.clients`."""

    def __init__(self, call: Caller) -> None:
        self._call = call

    def client(self, service: str, aws_session_token: str = "", region_name: str = HOME, **_: Any) -> Client:
        """A session's name is its token; the controller's own has none. An account away from home is one more."""
        account, _, session = aws_session_token.partition("/")
        away = account and region_name != HOME
        return Client(self._call, f"{account}@{region_name}/{session}" if away else aws_session_token, service)
