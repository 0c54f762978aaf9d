"""The console's own port: the HTTP API and the hosted UI at one root, as a browser needs them."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from local_toys import Toys

from local.cloud import PATIENCE_SECONDS, LocalCloud

ECHO = """
    hosted = "https://mayfly-1.auth.us-east-1.amazoncognito.com"
    said = {"path": event["rawPath"], "at": event["requestContext"]["timeEpoch"], "sign_in": hosted}
    return {"statusCode": 200, "headers": {"x-policy": f"connect-src {hosted}"}, "body": json.dumps(said)}
"""


@pytest.fixture
def api(cloud: LocalCloud, toys: Toys) -> Iterator[str]:
    """An HTTP API with a function behind it."""
    gateway = cloud.client("apigatewayv2")
    function = cloud.client("lambda").get_function(FunctionName=toys.function(ECHO))["Configuration"]["FunctionArn"]
    made = gateway.create_api(Name="toy", ProtocolType="HTTP", Target=function)["ApiId"]
    integration = gateway.create_integration(
        ApiId=made, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=made, RouteKey="$default", Target=f"integrations/{integration}")
    if not gateway.get_stages(ApiId=made)["Items"]:
        gateway.create_stage(ApiId=made, StageName="$default", AutoDeploy=True)
    yield made
    gateway.delete_api(ApiId=made)


def get(cloud: LocalCloud, path: str) -> tuple[Any, dict[str, str]]:
    with urllib.request.urlopen(cloud.console_url + path, timeout=PATIENCE_SECONDS) as answer:
        return json.loads(answer.read()), dict(answer.headers)


@pytest.mark.parametrize("path", ["/", "/console.js", "/api/environments", "/api/a/b/c"])
def test_the_api_is_at_the_root_of_the_port(cloud: LocalCloud, api: str, path: str) -> None:
    assert get(cloud, path)[0]["path"] == path


def test_the_hosted_ui_is_said_to_be_where_a_browser_finds_it(cloud: LocalCloud, api: str) -> None:
    said, headers = get(cloud, "/config.json")
    assert (said["sign_in"], headers["x-policy"]) == (cloud.console_url, f"connect-src {cloud.console_url}")
    said, headers = get(cloud, "/api/else")
    assert (said["sign_in"], headers["x-policy"]) == (
        "https://mayfly-1.auth.us-east-1.amazoncognito.com",
        f"connect-src {cloud.console_url}",
    )


def test_a_request_is_taken_at_the_virtual_time(cloud: LocalCloud, api: str) -> None:
    cloud.advance(3600)
    at = get(cloud, "/api/now")[0]["at"] / 1000
    assert abs(at - cloud.now().timestamp()) < 60
    assert at - time.time() > 3000


def test_a_policy_may_say_whose_events_may_be_put(cloud: LocalCloud, toys: Toys) -> None:
    iam, role = cloud.client("iam"), toys.role("lambda")
    statement = {
        "Effect": "Allow",
        "Action": "events:PutEvents",
        "Resource": "*",
        "Condition": {"ForAllValues:StringEquals": {"events:source": "toy"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role.rpartition("/")[2], PolicyName="own", PolicyDocument=document)
    events = as_role(cloud, role, "events")
    entry = {"DetailType": "Said", "Detail": "{}"}
    assert events.put_events(Entries=[{**entry, "Source": "toy"}])["FailedEntryCount"] == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        events.put_events(Entries=[{**entry, "Source": "toy"}, {**entry, "Source": "mayfly"}])


def as_role(cloud: LocalCloud, role: str, service: str) -> Any:
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="toy")["Credentials"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name="us-east-1")
    make: Any = session.client
    return make(service, endpoint_url=cloud.controller_url)
