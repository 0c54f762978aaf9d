"""A sweep over 400 stacks and 4,000 instances, half of them due, against a bare script that makes only the calls
that are necessary; and the decision alone over 2,000 stacks and 20,000 instances."""

import json
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from local.cloud import LocalCloud
from local.install import Installation
from local.records import all_records
from mayfly.contract.vocabulary import EnvironmentStage, Event, Source
from mayfly.domain.records import Environment
from mayfly.domain.timestamp import utc_text

Json = dict[str, Any]

STACKS, DUE, INSTANCES = 400, 200, 10
ROUNDS = 3
PATIENCE_SECONDS = 1_800
SUITE = "bench"
TEMPLATE = json.dumps(
    {
        "Parameters": {"Environment": {"Type": "String"}, "Image": {"Type": "String"}},
        "Resources": {
            "Template": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {"LaunchTemplateData": {"ImageId": {"Ref": "Image"}, "InstanceType": "t3.small"}},
            },
            "Fleet": {
                "Type": "AWS::AutoScaling::AutoScalingGroup",
                "Properties": {
                    "MinSize": str(INSTANCES),
                    "MaxSize": str(INSTANCES),
                    "AvailabilityZones": ["us-east-1a"],
                    "LaunchTemplate": {
                        "LaunchTemplateId": {"Ref": "Template"},
                        "Version": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]},
                    },
                },
            },
        },
    }
)


def measure(cloud: LocalCloud, installation: Installation) -> Json:
    """Builds the fleet, has it adopted, ends half of the waits, and sweeps."""
    began = cloud.now()
    soon, late = began + timedelta(hours=2), began + timedelta(hours=48)
    cloud.settings(boot_seconds=0.2, delete_seconds=0.1)
    names = [f"sweep-{number:03}-{SUITE}" for number in range(STACKS)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: _build(cloud, installation, name, soon if name in names[:DUE] else late), names))
    _until(lambda: sum(counts.get("running", 0) for counts in cloud.fleet().values()) == STACKS * INSTANCES, "boot")
    _sweep(cloud)
    machine = installation.outputs["EnvironmentMachine"]
    _until(lambda: _stages(cloud, installation, names).count(EnvironmentStage.AWAITING_TESTS) == STACKS, "adoption")
    states = cloud.client("stepfunctions")
    for execution in _running(states, machine):
        if execution["name"].partition("__")[0] in names[:DUE]:
            states.stop_execution(executionArn=execution["executionArn"])
    cloud.advance(3 * 3600)
    listing = [(_sweep(cloud, dry_run=True)["ms"], _bare(cloud, installation, 0)) for _ in range(ROUNDS)]
    cloud.reset_ledger()
    real, bare = _sweep(cloud, at_most=DUE), _bare(cloud, installation, DUE)
    listed = [row for row in cloud.ledger()["calls"] if row["environment"] == "mayfly-sweep"]
    _until(lambda: _stages(cloud, installation, names[:DUE]).count(EnvironmentStage.TERMINATED) == DUE, "termination")
    stages = _stages(cloud, installation, names)
    return {
        "stacks": STACKS,
        "instances": STACKS * INSTANCES,
        "due": DUE,
        "ended": stages.count(EnvironmentStage.TERMINATED),
        "left": stages.count(EnvironmentStage.AWAITING_TESTS),
        "ratio_to_bare_listing": round(statistics.median(own / other for own, other in listing), 2),
        "ratio_to_bare_with_starts": round(real["ms"] / bare, 2),
        "sweep_ms": real["ms"],
        "calls_to_list": len(listed),
        **decision(),
    }


def decision() -> Json:
    """Time and memory of the decisions alone, in a process of their own."""
    run = subprocess.run([sys.executable, "-m", "bench.sweep"], capture_output=True, text=True, check=True)
    return dict(json.loads(run.stdout))


def _decide() -> None:
    from datetime import UTC, datetime

    from mayfly.domain import sweep, tags

    now, controller = datetime(2026, 11, 24, tzinfo=UTC), "111111111111/us-east-1/mayfly"
    found = [
        sweep.Found(
            f"web-{number}-smoke",
            {
                tags.CONTROLLER: controller,
                tags.ENVIRONMENT: f"web-{number}-smoke",
                tags.EXPIRES_AT: utc_text(now + timedelta(minutes=number % 60 - 30)),
            },
            f"arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-web-{number}-smoke/1",
            "CREATE_COMPLETE",
            now - timedelta(hours=20),
            remains=tuple(f"instance i-{number:08}{i:08}" for i in range(10)),
        )
        for number in range(2000)
    ]
    policy, began = sweep.SweepPolicy(controller), time.perf_counter()
    decisions = [sweep.decide_environment(now, one, None, number % 3 == 0, policy) for number, one in enumerate(found)]
    sweep.limit(len(decisions), len(found), policy)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"decision_s": round(seconds, 3), "decision_mb": round(peak)}))  # noqa: T201


def _build(cloud: LocalCloud, installation: Installation, name: str, deadline: Any) -> None:
    labels = {
        "mayfly:environment": name,
        "mayfly:application": "bench",
        "mayfly:controller": installation.outputs["Controller"],
        "mayfly:expires-at": utc_text(deadline),
        "mayfly:ceiling": utc_text(deadline),
    }
    cloud.workload_client("cloudformation").create_stack(
        StackName=f"mayfly-{name}",
        TemplateBody=TEMPLATE,
        Parameters=[
            {"ParameterKey": "Environment", "ParameterValue": name},
            {"ParameterKey": "Image", "ParameterValue": installation.image},
        ],
        Tags=[{"Key": key, "Value": value} for key, value in labels.items()],
    )


def _sweep(cloud: LocalCloud, dry_run: bool = False, at_most: int = 0) -> Json:
    """Has the deployed function sweep, and says how long it ran."""
    event: Json = {"now": utc_text(cloud.now()), "dry_run": dry_run}
    if at_most:
        event = {
            "version": "0", "id": "1", "detail-type": Event.SWEEP_REQUESTED, "source": Source.OPERATOR,
            "account": "111111111111", "time": utc_text(cloud.now()), "sent": utc_text(cloud.now()),
            "region": "us-east-1", "resources": [],
            "detail": {"at_most": at_most, "why": "bench", "requested_by": "bench"},
        }  # fmt: skip
    reply = cloud.client("lambda").invoke(FunctionName="mayfly-sweep-environments", Payload=json.dumps(event).encode())
    report: Json = json.loads(reply["Payload"].read())
    if "counts" not in report:
        raise RuntimeError(f"the sweep failed: {report}")
    last = [row for row in cloud.ledger()["invocations"] if row["function"] == "mayfly-sweep-environments"][-1]
    return report | {"ms": last["ms"]}


def _bare(cloud: LocalCloud, installation: Installation, starts: int) -> float:
    """The same calls from a bare script, in milliseconds: pages of stacks, names, executions and records."""
    cloudformation, tagging = cloud.workload_client("cloudformation"), cloud.workload_client("resourcegroupstaggingapi")
    states, dynamodb = cloud.client("stepfunctions"), cloud.client("dynamodb")
    table, machine = installation.outputs["TableName"], installation.outputs["EnvironmentMachine"]
    idle = _idle_machine(states, machine) if starts else ""
    begun = time.perf_counter()
    stacks = [stack for page in cloudformation.get_paginator("describe_stacks").paginate() for stack in page["Stacks"]]
    for page in tagging.get_paginator("get_tag_values").paginate(Key="mayfly:environment"):
        len(page["TagValues"])
    _running(states, machine)
    keys = dynamodb.query(
        TableName=table, IndexName="live", KeyConditionExpression="live = :e",
        ExpressionAttributeValues={":e": {"S": "environment"}},
    )["Items"]  # fmt: skip
    for start in range(0, len(keys), 100):
        wanted = [{"pk": item["pk"]} for item in keys[start : start + 100]]
        dynamodb.batch_get_item(RequestItems={table: {"Keys": wanted, "ConsistentRead": True}})
    for stack in stacks[:starts]:
        states.start_execution(stateMachineArn=idle, name=stack["StackName"], input="{}")
    return round((time.perf_counter() - begun) * 1000, 1)


def _idle_machine(states: Any, machine: str) -> str:
    """A machine that does nothing, for the bare script to start."""
    role = states.describe_state_machine(stateMachineArn=machine)["roleArn"]
    idle = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    return str(states.create_state_machine(name="bench-idle", roleArn=role, definition=idle)["stateMachineArn"])


def _running(states: Any, machine: str) -> list[Json]:
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
    return [execution for page in pages for execution in page["executions"]]


def _stages(cloud: LocalCloud, installation: Installation, names: list[str]) -> list[str]:
    found = all_records(cloud, installation.outputs["TableName"], Environment)
    stages = {one.id: str(one.stage or "") for one in found}
    return [stages.get(name, "") for name in names]


def _until(over: Any, what: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not over():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not end within {PATIENCE_SECONDS} s")
        time.sleep(0.5)


if __name__ == "__main__":
    _decide()
