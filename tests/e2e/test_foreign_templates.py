"""Templates of other people, each of another kind, become blueprints as they are, and live a whole life."""

from collections.abc import Callable
from typing import Any

import pytest

from local.install import ROOT, network, upload_blueprint
from tests.e2e.driver import Driver

FOREIGN = ROOT / "tests" / "blueprints" / "foreign"

type Listing = Callable[[Driver], list[Any]]


def names(service: str, operation: str, listed: str) -> Listing:
    """What a service of the workload account lists."""
    return lambda mayfly: list(getattr(mayfly.cloud.workload_client(service), operation)().get(listed, []))


def clusters(ecs: Any) -> list[Any]:
    """ECS shows clusters for a while after they were deleted."""
    found = ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
    return [one for one in found if one["status"] != "INACTIVE"]


KINDS: dict[str, Listing] = {
    "API": names("apigateway", "get_rest_apis", "items"),
    "alarm": names("cloudwatch", "describe_alarms", "MetricAlarms"),
    "bucket": names("s3", "list_buckets", "Buckets"),
    "container cluster": lambda mayfly: clusters(mayfly.cloud.workload_client("ecs")),
    "database": names("rds", "describe_db_instances", "DBInstances"),
    "function": names("lambda", "list_functions", "Functions"),
    "group": names("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"),
    "load balancer": names("elbv2", "describe_load_balancers", "LoadBalancers"),
    "log group": names("logs", "describe_log_groups", "logGroups"),
    "queue": names("sqs", "list_queues", "QueueUrls"),
    "role": lambda mayfly: mayfly.cloud.workload_client("iam").list_roles(PathPrefix="/mayfly/")["Roles"],
    "table": names("dynamodb", "list_tables", "TableNames"),
}
"""How each kind of resource in the templates is looked for, whatever its tags."""


def there(mayfly: Driver) -> dict[str, int]:
    """How many of each kind are in the workload account."""
    return {kind: len(look(mayfly)) for kind, look in KINDS.items()}


@pytest.mark.parametrize(
    ("blueprint", "parameters", "instances", "made"),
    [
        (
            "balanced_group_with_database.yaml",
            ("VpcId", "Subnets"),
            2,
            {"group": 1, "database": 1, "load balancer": 1},
        ),
        (
            "fargate_service.yaml",
            ("VpcId", "Subnets"),
            0,
            {"container cluster": 1, "load balancer": 1, "log group": 1, "role": 1},
        ),
        ("serverless_api.yaml", (), 0, {"API": 1, "table": 1, "bucket": 1, "function": 1, "role": 1}),
        ("nested.yaml", ("Parts",), 1, {}),
        ("sam_application.yaml", (), 0, {"function": 1, "queue": 1, "table": 1, "role": 1}),
        ("queue_worker.yaml", (), 3, {"queue": 2, "alarm": 1, "bucket": 1, "group": 1}),
    ],
)
def test_a_foreign_template_lives_a_whole_life(
    mayfly: Driver, blueprint: str, parameters: tuple[str, ...], instances: int, made: dict[str, int]
) -> None:
    for file in FOREIGN.glob("*.yaml"):
        upload_blueprint(mayfly.cloud, mayfly.outputs, file)
    known = network(mayfly.cloud)
    known |= {
        "Subnets": known["SubnetIds"],
        "Parts": f"{mayfly.cloud.controller_url}/{mayfly.outputs['BlueprintsBucket']}",
    }
    own = {name: known[name] for name in parameters}
    before = there(mayfly)

    boots: dict[str, Any] = {} if instances else {"image": None}  # where nothing boots, nobody has to say what
    environment = mayfly.begin(mayfly.application(blueprint=blueprint, parameters=own, instances=3, **boots))
    assert mayfly.instances_left(environment) == mayfly.record(environment)["instance_count"] == instances
    assert {kind: count - before[kind] for kind, count in there(mayfly).items() if count != before[kind]} == made

    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    assert mayfly.nothing_is_left(environment)
    assert there(mayfly) == before
