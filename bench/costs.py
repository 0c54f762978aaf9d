"""What a life costs, counted: from its execution's history, the ledgers of the local cloud and its record.

The counts are the same on AWS. Durations are this machine's, and so is the part of the price that follows from them.
"""

import math
from collections import Counter
from typing import Any

import msgspec

from local.accounts import Accounts
from local.cloud import REGION, LocalCloud
from local.records import read_record
from mayfly.contract.vocabulary import EnvironmentStage
from mayfly.domain.records import Environment
from mayfly.prices import list_prices

type Json = dict[str, Any]

_LOG_BYTES_PER_INVOCATION = 1500
"""A start, a report and a line or two of our own, as measured in the log group of the local cloud."""


def history(cloud: Accounts, machine: str, name: str) -> list[Json]:
    """All events of an execution, oldest first."""
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    pages = cloud.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def state_transitions(events: list[Json]) -> int:
    """As Step Functions bills them: each state entered, each retry of one, and the step to the end.

    A failed task with no state exit behind it before the next scheduling was retried.
    """
    kinds = Counter(str(event["type"]) for event in events)
    entered = sum(count for kind, count in kinds.items() if kind.endswith("StateEntered"))
    tasks, scheduled = kinds["TaskStateEntered"], kinds["TaskScheduled"]
    return entered + max(0, scheduled - tasks) + 1


def life(cloud: LocalCloud, machine: str, table: str, environment: str) -> Json:
    """One life in figures: see the README for the meaning of each."""
    record = read_record(cloud, table, Environment, environment)
    ending, ledger = record.ending, cloud.ledger()
    invocations = [row for row in ledger["invocations"] if row["environment"] == environment]
    calls = [row for row in ledger["calls"] if row["environment"] == environment and row["action"] != "AssumeRole"]
    transitions = state_transitions(history(cloud, machine, environment))
    return {
        "id": environment,
        "application": record.application,
        "version": record.version,
        "suite": record.suite,
        "stages": stages(record),
        "instances_built": record.instances_built or 0,
        "instances_left": instances_left(cloud, environment),
        "ended_by": ending and ending.by,
        "outcome": ending and ending.outcome,
        "reason": ending and ending.reason,
        "state_transitions": transitions,
        "lambda_invocations": len(invocations),
        "billed_ms": sum(math.ceil(row["ms"]) for row in invocations),
        "workload_calls": dict(Counter(row["action"] for row in calls if not row["page"])),
        "cost_usd": round(cost(transitions, invocations, record), 8),
    }


def cost(transitions: int, invocations: list[Json], record: Environment) -> float:
    """US dollars at list prices: Mayfly's own, without the instances that it builds."""
    price = list_prices().services
    gigabyte_seconds = sum(math.ceil(row["ms"]) / 1000 * row["memory_mb"] / 1024 for row in invocations)
    # Each change of the record writes all of it, in units of 1 KB; its final size bounds the earlier ones.
    # One change more than the history has lines: the stack's id.
    writes = (len(record.history) + 1) * math.ceil(len(msgspec.json.encode(record)) / 1024)
    events = 3 + 1 + 2  # announced; the result; the stack's two events, crossing accounts
    return float(
        transitions * price["state_transition"]
        + len(invocations) * price["lambda_request"]
        + gigabyte_seconds * price["lambda_gb_second"]
        + writes * price["dynamodb_write_unit"]
        + 3 * price["dynamodb_read_unit"]
        + events * price["event"]
        + price["s3_get"]
        + len(invocations) * _LOG_BYTES_PER_INVOCATION / 1e9 * price["log_gb"]
    )


def stages(record: Environment) -> list[Json]:
    """The stages an environment has gone through, from its record's history, each once, with when it began."""
    seen: dict[str, str] = {}
    for line in record.history:
        if line.what in (*EnvironmentStage, "ready"):
            seen.setdefault(line.what, line.at)
    return [{"name": name, "at": at} for name, at in seen.items()]


def instances_left(cloud: Accounts, environment: str, region: str = REGION) -> int:
    """Instances that EC2 still knows to be there, asked as the workload account's administrator."""
    pages = (
        cloud.workload_client("ec2", region_name=region)
        .get_paginator("describe_instances")
        .paginate(Filters=[{"Name": "tag:mayfly:environment", "Values": [environment]}])
    )
    states = [i["State"]["Name"] for page in pages for r in page["Reservations"] for i in r["Instances"]]
    return sum(state != "terminated" for state in states)
