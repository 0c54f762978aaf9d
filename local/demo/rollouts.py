"""The demo's third chapter: a version passes, and production follows, instance by instance, while somebody uses it."""

import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console

from bench import costs
from local.cloud import LocalCloud
from local.demo import rollout_story
from local.facts import Facts
from local.install import ROOT, configure, network
from local.records import read_record
from mayfly.contract.vocabulary import EnvironmentStage, Event, Outcome, ServiceStage, Source
from mayfly.domain.identity import environment_id, release_id, service_id
from mayfly.domain.records import Environment, Record, Rollout, Service

Json = dict[str, Any]

APPLICATION, VERSION = "webshop", "1.6.0"
SERVICE = service_id(APPLICATION, "production")
INSTANCES = 6
MAKING, ROLLING = 60, 20
"""How many times as fast as real time it goes while production is made, and while it is rolled out."""
PATIENCE_SECONDS = 180


def configuration() -> Json:
    """The application's, as the repository has it."""
    return dict(json.loads((ROOT / "applications" / f"{APPLICATION}.json").read_text()))


def declare(cloud: LocalCloud, warmup_seconds: int = 90) -> None:
    """Gives the application a permanent environment. The next release that passes makes it."""
    timing = {"GraceSeconds": "60", "UnhealthyMinutes": "3", "DrainSeconds": "10"}
    timing["WarmupSeconds"] = str(warmup_seconds)
    production = {"name": "production", "instance_count": INSTANCES, "parameters": network(cloud) | timing}
    production["rollout"] = {"soak_minutes": 1}
    configure(cloud, APPLICATION, configuration() | {"permanent": [production]})


def tell(console: Console, cloud: LocalCloud, outputs: dict[str, str]) -> Json:
    """Waits for production, pushes a version, and shows its rollout under load; returns the figures."""

    facts = Facts(cloud, outputs["FactsBusName"])

    def read[R: Record](kind: type[R], identity: str) -> R:
        return read_record(cloud, outputs["TableName"], kind, identity)

    def said(what: str, detail: Json) -> None:
        entry = {"Source": Source.OPERATOR, "DetailType": what, "EventBusName": outputs["BusName"]}
        cloud.client("events").put_events(Entries=[entry | {"Detail": json.dumps(detail)}])

    stack = f"mayfly-{SERVICE}"
    with console.status(f"{SERVICE} is made: {INSTANCES} instances over three zones"), cloud.hurry(MAKING):
        # Its alarms fire while it is new and not all of it is healthy yet: nothing is rolled out before they are over.
        _until(
            lambda: read(Service, SERVICE).stage == ServiceStage.STEADY and cloud.is_calm(stack),
            f"{SERVICE} is steady",
        )
    number = (read(Service, SERVICE).serial or 0) + 1
    release = release_id(APPLICATION, VERSION, 1)
    tested = {environment_id(release, suite["name"]) for suite in configuration()["suites"]}

    def start(story: rollout_story.Story) -> None:
        artifact = f"s3://artifacts/{VERSION}.tgz"
        said(Event.CODE_VERSION_PUSHED, {"application": APPLICATION, "version": VERSION, "artifact": artifact})
        story.say(
            f"[bold]{APPLICATION} {VERSION}[/] is pushed; when its suites have passed, production follows by itself"
        )

    def over() -> bool:
        for environment in list(tested):
            if read(Environment, environment).stage == EnvironmentStage.AWAITING_TESTS:
                result = {"environment": environment, "outcome": Outcome.PASSED, "token": facts.token(environment)}
                said(Event.TEST_FINISHED, result)
                tested.discard(environment)
        return read(Rollout, f"{SERVICE}-{number}").ended_at is not None

    with cloud.hurry(ROLLING):
        figures = rollout_story.tell(console, cloud, f"mayfly-{SERVICE}", start, over)
    history = costs.history(cloud, outputs["RolloutMachine"], f"{SERVICE}-{number}")
    return figures | {
        "stage": read(Rollout, f"{SERVICE}-{number}").stage,
        "state_transitions": costs.state_transitions(history),
    }


def _until(over: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not over():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE_SECONDS} s: {what}; see .local/*.log")
        time.sleep(0.25)
