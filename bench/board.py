"""What the console's board costs: one request for the first page of 500 environments, counted at the table and at the
browser."""

import gzip
import random
import statistics
from itertools import islice
from typing import Any

import requests
from boto3.dynamodb.types import TypeSerializer

from local import users
from local.cloud import LocalCloud
from local.install import Installation
from mayfly.aws.records import Records
from mayfly.contract.vocabulary import EnvironmentStage, SuiteKind
from mayfly.domain.records import LIVE, Environment, placed
from mayfly.workflows.reading import PAGE

ENVIRONMENTS = 500
ROUNDS = 15
BATCH = 25
"""Items that one BatchWriteItem takes."""


def measure(cloud: LocalCloud, installation: Installation) -> dict[str, Any]:
    """Calls and bytes of DynamoDB for one request, its answer's size, and how long the function takes for it when it is
    warm."""
    table = installation.outputs["TableName"]
    keys = _fill(cloud, table)
    shown = _at_the_table(cloud, table)
    token = users.token(cloud, installation.outputs, "viewer")
    cloud.reset_ledger()
    for _ in range(ROUNDS):
        answer = requests.get(
            f"{cloud.console_url}/api/environments", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
    answer.raise_for_status()
    took = [row["ms"] for row in cloud.ledger()["invocations"] if row["function"] == "mayfly-serve-api"]
    for start in range(0, len(keys), BATCH):
        gone = [{"DeleteRequest": {"Key": key}} for key in keys[start : start + BATCH]]
        cloud.client("dynamodb").batch_write_item(RequestItems={table: gone})
    return {
        "environments": len(answer.json()["environments"]),
        "dynamodb_calls": shown["calls"],
        "dynamodb_kb": shown["kb"],
        "answer_kb": round(len(answer.content) / 1024),
        "answer_kb_gzip": round(len(gzip.compress(answer.content)) / 1024),
        "function_ms_median": round(statistics.median(took[1:])),
    }


def _fill(cloud: LocalCloud, table: str) -> list[Any]:
    serialize = TypeSerializer().serialize
    line = {
        "at": "2026-11-24T06:47:34.120Z",
        "who": "mayfly-run-environment",
        "what": EnvironmentStage.AWAITING_TESTS,
        "why": "x" * 60,
    }
    chance = random.Random(500)
    records = [
        {
            "pk": f"environment#bench-{number}",
            "id": f"bench-{number}",
            "live": "environment",
            **placed(Environment, f"bench-{number}", f"bench-{number % 24}", f"2026-11-24T{_moment(chance)}Z", LIVE),
            "release": f"bench-1-0-{number // 24}-{chance.randbytes(4).hex()}",
            **dict.fromkeys(("application", "suite", "owner"), f"bench-{number % 24}"),
            "version": f"1.0.{number // 24}",
            "kind": SuiteKind.AUTOMATED,
            "account": "222222222222",
            "region": "us-east-1",
            **{name: f"2026-11-24T{_moment(chance)}Z" for name in ("planned_at", "deadline", "ceiling", "launched_at")},
            "stage": EnvironmentStage.AWAITING_TESTS,
            "image": f"ami-{chance.randbytes(8).hex()}0",
            "channel": "base/stable",
            "instance_count": 45,
            "instances_built": 45,
            "instance_types": {"t3.small": 45},
            "volume_gb": 360,
            "stack": f"arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-bench-{number}/5e57c22e",
            "outputs": {"AutoScalingGroupName": f"mayfly-bench-{number}-Fleet-1A2B3C"},
            "waiting": {"for": "tests", "token": "x" * 700},
            "history": [line] * 5,
        }
        for number in range(ENVIRONMENTS)
    ]
    items = [{name: serialize(value) for name, value in record.items()} for record in records]
    for start in range(0, len(items), BATCH):
        put = [{"PutRequest": {"Item": item}} for item in items[start : start + BATCH]]
        cloud.client("dynamodb").batch_write_item(RequestItems={table: put})
    return [{"pk": item["pk"]} for item in items]


def _moment(chance: random.Random) -> str:
    """Some time of a day."""
    return f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}.{chance.randrange(1000):03}"


def _at_the_table(cloud: LocalCloud, table: str) -> dict[str, int]:
    client = cloud.client("dynamodb", verify=True)  # one of its own
    sizes: list[int] = []
    client.meta.events.register(
        "after-call.dynamodb", lambda http_response, **_: sizes.append(len(http_response.content))
    )
    records = Records(table, Environment)
    records.__dict__["_dynamodb"] = client
    found = sum(1 for _ in islice(records.shelved(LIVE), PAGE))
    if found < PAGE:
        raise RuntimeError(f"expected {PAGE} environments at least, but there are {found}")
    return {"calls": len(sizes), "kb": round(sum(sizes) / 1024)}
