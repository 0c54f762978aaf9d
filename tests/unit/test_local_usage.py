"""The local cloud says whether somebody uses what is there: by what load balancers have counted, and by sessions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from inspect import unwrap
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.cloudwatch.models import CloudWatchBackend
from moto.core import responses
from moto.ssm.responses import SimpleSystemManagerResponse

from local.workload import measurements, sessions
from local.workload.traffic import Stat

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = int(NOON.timestamp()) // 60


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Clients of a workload account in which one load balancer had a request at five past twelve."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(CloudWatchBackend, "get_metric_data", CloudWatchBackend.get_metric_data)
    for name in ("start_session", "terminate_session", "describe_sessions"):
        monkeypatch.setattr(SimpleSystemManagerResponse, name, None, raising=False)
    # What other tests have had moto remember of Systems Manager lacks these calls.
    monkeypatch.setattr(responses, "method_names_from_class", unwrap(responses.method_names_from_class))
    hosts = Stat(2.0, 1, 2.0, 2.0)
    periods: dict[int, dict[str, Stat]] = {MINUTE + n: {"HealthyHostCount": hosts} for n in range(20)}
    periods[MINUTE + 5]["RequestCount"] = Stat(3.0, 1, 3.0, 3.0)
    balancer: Any = SimpleNamespace(name="app/web/1", periods=periods)
    wire: Any = SimpleNamespace(balancers={"a": balancer})
    clock: Any = SimpleNamespace(time=lambda: NOON.timestamp())
    measurements.install(wire)
    sessions.install(clock)
    with mock_aws():
        yield boto3.client


def asked(aws: Any, metric: str, balancer: str = "app/web/1") -> dict[datetime, float]:
    named = {"Namespace": "AWS/ApplicationELB", "MetricName": metric}
    named |= {"Dimensions": [{"Name": "LoadBalancer", "Value": balancer}]}
    query = {"Id": "m0", "MetricStat": {"Metric": named, "Period": 300, "Stat": "Sum"}}
    end = NOON + timedelta(hours=1)
    (result,) = aws("cloudwatch").get_metric_data(MetricDataQueries=[query], StartTime=NOON, EndTime=end)[
        "MetricDataResults"
    ]
    return dict(zip(result["Timestamps"], result["Values"], strict=True))


def test_requests_have_values_only_where_there_were_some(aws: Any) -> None:
    assert asked(aws, "RequestCount") == {NOON + timedelta(minutes=5): 3.0}


def test_every_load_balancer_is_measured_always(aws: Any) -> None:
    found = asked(aws, "ConsumedLCUs")
    assert sorted(found) == [NOON + timedelta(minutes=n) for n in (0, 5, 10, 15)]
    assert [found[at] > 0 for at in sorted(found)] == [False, True, False, False]


def test_of_another_one_nothing_is_known(aws: Any) -> None:
    assert asked(aws, "ConsumedLCUs", "app/other/2") == {}


def test_a_session_is_open_until_it_is_ended(aws: Any) -> None:
    image = aws("ec2").describe_images()["Images"][0]["ImageId"]
    (instance,) = aws("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"]
    ssm = aws("ssm")
    opened = ssm.start_session(Target=instance["InstanceId"])["SessionId"]
    (active,) = ssm.describe_sessions(State="Active")["Sessions"]
    assert (active["Target"], active["StartDate"]) == (instance["InstanceId"], NOON)
    assert ssm.describe_sessions(State="History")["Sessions"] == []
    ssm.terminate_session(SessionId=opened)
    assert ssm.describe_sessions(State="Active")["Sessions"] == []
    (ended,) = ssm.describe_sessions(State="History")["Sessions"]
    assert (ended["Status"], ended["EndDate"]) == ("Terminated", NOON)


def test_nobody_opens_one_on_what_does_not_run(aws: Any) -> None:
    with pytest.raises(ClientError, match="TargetNotConnected"):
        aws("ssm").start_session(Target="i-0a1b2c3d4e5f60718")
