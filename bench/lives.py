"""What a life costs by its length and its size, counted on the local cloud."""

import json
import time
from collections.abc import Iterator
from typing import Any

from bench import costs
from local.cloud import LocalCloud
from local.facts import Facts
from local.install import Installation, configure
from local.records import read_record
from mayfly.contract.vocabulary import EnvironmentStage, Event, Outcome, Source
from mayfly.domain.identity import environment_id, release_id
from mayfly.domain.records import Environment

Json = dict[str, Any]

CASES = [
    (1, 60, "deadline"),
    (1, 24 * 3600, "deadline"),
    (45, 60, "deadline"),
    (45, 24 * 3600, "deadline"),
    (45, 24 * 3600, "tests"),
    (200, 24 * 3600, "deadline"),
]
"""Instances, lifetime in seconds, and what ends it. The clock is moved to a deadline."""
PATIENCE_SECONDS = 600


def measure(cloud: LocalCloud, installation: Installation) -> Iterator[Json]:
    """Lives through every case, one after the other."""
    facts = Facts(cloud, installation.outputs["FactsBusName"])
    for number, (instances, lifetime, ended_by) in enumerate(CASES):
        application = f"bench-{number}"
        configuration = {
            "owner": "bench",
            "blueprint": "fleet.yaml",
            "instance_count": instances,
            "image": {"family": "base"},
            "account": "222222222222",
            "lifetime_minutes": lifetime // 60,
            "suites": [{"name": "only"}],
        }
        configure(cloud, application, configuration)
        _say(cloud, Event.CODE_VERSION_PUSHED, {"application": application, "version": "1", "artifact": "none"})
        environment = environment_id(release_id(application, "1", 1), "only")
        _reach(cloud, installation, environment, EnvironmentStage.AWAITING_TESTS)
        if ended_by == "tests":
            result = {"environment": environment, "outcome": Outcome.PASSED, "token": facts.token(environment)}
            _say(cloud, Event.TEST_FINISHED, result)
        else:
            cloud.advance(lifetime)
        _reach(cloud, installation, environment, EnvironmentStage.TERMINATED)
        _ended(cloud, installation, environment)
        life = costs.life(
            cloud, installation.outputs["EnvironmentMachine"], installation.outputs["TableName"], environment
        )
        kept = ("state_transitions", "lambda_invocations", "billed_ms", "workload_calls", "cost_usd", "instances_left")
        case = {"instances": instances, "lifetime_s": lifetime, "ended_by": ended_by}
        yield case | {key: life[key] for key in kept}


def _say(cloud: LocalCloud, what: str, detail: Json) -> None:
    entry = {"Source": Source.OPERATOR, "DetailType": what, "EventBusName": "mayfly", "Detail": json.dumps(detail)}
    cloud.client("events").put_events(Entries=[entry])


def _reach(cloud: LocalCloud, installation: Installation, environment: str, stage: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        record = read_record(cloud, installation.outputs["TableName"], Environment, environment)
        if record.stage == stage:
            return
        if time.monotonic() > until:
            raise TimeoutError(f"{environment} is {record.stage} and not {stage}")
        time.sleep(0.2)


def _ended(cloud: LocalCloud, installation: Installation, environment: str) -> None:
    arn = f"{installation.outputs['EnvironmentMachine'].replace(':stateMachine:', ':execution:')}:{environment}"
    until = time.monotonic() + PATIENCE_SECONDS
    while cloud.client("stepfunctions").describe_execution(executionArn=arn)["status"] == "RUNNING":
        if time.monotonic() > until:
            raise TimeoutError(f"the execution of {environment} does not end")
        time.sleep(0.1)
