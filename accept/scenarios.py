"""What is tried in an account, at small size: each scenario acts from outside, waits, and tells what happened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import requests

from accept import signing_in, widgets
from accept.driver import Driver
from accept.installing import FAMILY, NAME, PERSON, Installed, publish
from accept.places import FASTER, Place
from local.facts import Facts
from local.install import configure
from mayfly.contract.vocabulary import BakeStage, EnvironmentStage, Event
from mayfly.domain.identity import environment_id
from mayfly.domain.records import Bake, ChannelRecord, Environment, Family, Record, Rollout, Service
from mayfly.domain.timestamp import utc_text

type Json = dict[str, Any]

VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
BROKEN = "0.0.666"
"""The version whose artifact does not exist."""
LIFETIME_MINUTES = 20
ROLLOUT_ENDS = (Event.ROLLOUT_COMPLETED, Event.ROLLOUT_ROLLED_BACK, Event.ROLLOUT_FAILED)
_IDS = re.compile(r"\b(i|ami|lt|sg|subnet|vpc|vol|snap)-[0-9a-f]{8,}\b|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|arn:[^\s,\"]+")
_MOMENTS = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)?")


@dataclass
class Happened:
    """What happened in one scenario."""

    events: list[str] = field(default_factory=list)
    """The detail types that Mayfly announced of it, in order."""
    statuses: dict[str, Any] = field(default_factory=dict)
    """What records, executions, stacks and answers say at its end."""
    times: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage."""
    calls: dict[str, int] = field(default_factory=dict)
    """Calls to the workload account, by action."""


class Otherwise(Exception):
    """A scenario came to an end that it must not come to: what follows has nothing to build on."""

    def __init__(self, happened: Happened) -> None:
        super().__init__(json.dumps(happened.statuses))
        self.happened = happened


class Acceptance(Driver):
    """A driver that tells what happened, and remembers whose calls are to be told."""

    def __init__(self, place: Place, installed: Installed, names: Iterator[str]) -> None:
        self.place, self.installed = place, installed
        super().__init__(place, installed.outputs, Facts(place, installed.outputs["FactsBusName"], NAME), names)
        self.sessions: dict[str, list[str]] = {}
        """By scenario: the sessions in the workload account."""
        self.kept: dict[str, str] = {}
        """What one scenario hands on to the next."""

    def shop(self, instances: int = 2, region: str = "", **more: Any) -> str:
        """Configures an application on the baked image."""
        where = region or self.place.region
        parameters = self.installed.blueprint_parameters | self.installed.network(where)
        own = {"region": where, "image": {"family": FAMILY}, "parameters": parameters}
        return self.application(instances=instances, blueprint="fleet.yaml", **own | more)

    def configure(self, application: str, **change: Any) -> None:
        """Changes an application's configuration."""
        name = f"{self.parameters}/applications/{application}"
        kept = self.place.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
        configure(self.place, application, json.loads(kept) | change, self.parameters)

    def release_of(self, application: str, version: str = VERSIONS[0]) -> str:
        """Pushes a version, whose artifact is there unless it is the broken one; returns its suite's environment."""
        artifact = f"s3://{self.installed.bucket}/artifacts/{version}.tar.gz"
        if version != BROKEN:
            artifact = publish(self.place, self.installed.bucket, version)
        return environment_id(self.push(application, version, artifact=artifact), "smoke")

    def told(self, about: str, identity: str) -> list[str]:
        """The detail types of what was announced of one thing, in order: queues of AWS keep none. Left out is a warning
        before the deadline: whether a scheduled sweep comes in time to say it depends on the minute."""
        said = sorted(self.announcements(), key=lambda one: str(one["time"]))
        mine = [one["detail-type"] for one in said if one["detail"].get(about) == identity]
        return [each for each in mine if each != Event.ENVIRONMENT_EXPIRING]

    def invoke(self, function: str, event: Json) -> Json:
        """Invokes a function by hand; returns its answer."""
        reply = self.place.client("lambda").invoke(
            FunctionName=f"{NAME}-{function}", Payload=json.dumps(event).encode()
        )
        answer: Json = json.loads(reply["Payload"].read())
        return {"error": answer} if "FunctionError" in reply else answer

    def lived(self, environment: str) -> Happened:
        """Waits for the end of an environment; tells its life."""
        status = str(self.end(environment)["status"])
        record = self.until(
            lambda: self._ended(environment), f"{environment} has ended", lambda: self.read(Environment, environment)
        )
        ending, region = record.ending, record.region
        statuses = {
            "execution": status,
            "stack": self.stacks(environment, region),
            "stage": record.stage,
            "ended by": ending and ending.by,
            "outcome": ending and ending.outcome,
            "reason": plain(ending.reason if ending else ""),
            "instances built": record.instances_built or 0,
            "instances left": self.instances_left(environment, region),
            # What a look saw of its boots depends on when it looked.
            "history": [line.what for line in record.history if line.what != "booting"],
        }
        return Happened(self.told("environment", environment), statuses, durations(record))

    def _ended(self, environment: str) -> Environment | None:
        record = self.read(Environment, environment)
        ends = {Event.ENVIRONMENT_TERMINATED, Event.ENVIRONMENT_FAILED}
        announced = ends & set(self.told("environment", environment))
        return record if record.stage == EnvironmentStage.TERMINATED and announced else None


# ---- the scenarios ---------------------------------------------------------------------------------------


def bake(run: Acceptance) -> Happened:
    """An image is baked with Puppet, and proven in an environment."""
    run.say(Event.IMAGE_BAKE_REQUESTED, [{"family": FAMILY, "why": "acceptance", "requested_by": PERSON}])
    name = run.until(lambda: run.read(Family, FAMILY).bake, "the bake has begun")
    run.sessions["bake"] = [name, f"{name}-proof"]

    execution = run.end(name, Bake)
    record = run.read(Bake, name)
    run.kept["image"] = record.image or ""
    proof = run.read(Environment, f"{name}-proof").ending
    statuses = {
        "execution": execution["status"],
        "stage": record.stage,
        "reason": plain(record.reason or ""),
        "proof": proof and proof.outcome,
        "history": [line.what for line in record.history],
    }
    happened = Happened(run.told("bake", name), statuses, durations(record))
    if record.stage != BakeStage.PROVEN:
        raise Otherwise(happened)
    return happened


def promotion(run: Acceptance) -> Happened:
    """The channel `candidate` follows the proof; `stable` follows a person, in two Regions at once."""
    image = run.kept["image"]
    run.until(lambda: run.read(ChannelRecord, f"{FAMILY}/candidate").image == image, "candidate points to it")
    asked = {"family": FAMILY, "channel": "stable", "image": image, "why": "acceptance", "requested_by": PERSON}
    began = run.place.now()
    run.say(Event.IMAGE_PROMOTION_REQUESTED, [asked])

    def moved() -> list[str]:
        mine = (one for one in run.announcements() if one["detail"].get("family") == FAMILY)
        of_stable = [one["detail-type"] for one in mine if one["detail"].get("channel") == "stable"]
        return (
            of_stable
            if {Event.IMAGE_PROMOTED, Event.IMAGE_PROMOTION_FAILED, Event.IMAGE_PROMOTION_REFUSED} & set(of_stable)
            else []
        )

    events = run.until(moved, "stable has moved")
    channel = run.read(ChannelRecord, f"{FAMILY}/stable")
    states = {}
    for region, copy in channel.regions.items():
        (described,) = run.place.workload_client("ec2", region_name=region).describe_images(ImageIds=[copy])["Images"]
        states["first Region" if region == run.place.region else "second Region"] = described["State"]
    statuses = {"points to the proven image": channel.image == image, "copies": states}
    happened = Happened(events, statuses, {"moved": _seconds(began, run.place.now())})
    if Event.IMAGE_PROMOTED not in events or channel.image != image:
        raise Otherwise(happened)
    return happened


def life_by_result(run: Acceptance) -> Happened:
    """Two instances; the tests report that they passed."""
    environment = _noted(run, "life by result", run.release_of(run.shop()))
    run.life(environment, EnvironmentStage.AWAITING_TESTS)
    run.finish(environment)
    return run.lived(environment)


def life_by_deadline(run: Acceptance) -> Happened:
    """Two instances; nobody reports."""
    shop = run.shop(lifetime_minutes=LIFETIME_MINUTES)
    environment = _noted(run, "life by deadline", run.release_of(shop))
    deadline = datetime.fromisoformat(str(run.life(environment, EnvironmentStage.AWAITING_TESTS).deadline))
    run.place.advance(max(0.0, _seconds(run.place.now(), deadline)) + 1)
    return run.lived(environment)


def life_by_failure(run: Acceptance) -> Happened:
    """Two instances, which cannot deploy their version."""
    run.place.breaks(BROKEN)
    environment = _noted(run, "life by failure", run.release_of(run.shop(), BROKEN))
    return run.lived(environment)


def second_region(run: Acceptance) -> Happened:
    """One instance of the copied image, in the second Region; its events cross Regions."""
    shop = run.shop(instances=1, region=run.place.second_region)
    environment = _noted(run, "second Region", run.release_of(shop))
    run.life(environment, EnvironmentStage.AWAITING_TESTS)
    run.finish(environment)
    return run.lived(environment)


def sweep(run: Acceptance) -> Happened:
    """An execution is stopped; past the deadline, a sweep ends what nobody ends any more."""
    shop = run.shop(instances=1, lifetime_minutes=LIFETIME_MINUTES)
    environment = _noted(run, "sweep", run.release_of(shop))
    deadline = datetime.fromisoformat(str(run.life(environment, EnvironmentStage.AWAITING_TESTS).deadline))
    run.place.client("stepfunctions").stop_execution(executionArn=run.execution(environment)["executionArn"])
    run.place.advance(max(0.0, _seconds(run.place.now(), deadline)) + 60)
    run.say(Event.SWEEP_REQUESTED, [{"why": "acceptance", "requested_by": PERSON}])
    record = run.until(
        lambda: run._ended(environment), f"{environment} is ended", lambda: run.read(Environment, environment)
    )
    ending = record.ending
    statuses = {
        "stage": record.stage,
        "ended by": ending and ending.by,
        "outcome": ending and ending.outcome,
        "stack": run.stacks(environment, run.place.region),
        "instances left": run.instances_left(environment, run.place.region),
    }
    return Happened(run.told("environment", environment), statuses)


def rollout(run: Acceptance) -> Happened:
    """A version passes its tests and production of three instances is made; the next one replaces them."""
    run.kept["shop"] = run.shop(instances=1, permanent=[_production(run, soak_minutes=1)])
    made = _rolled(run, VERSIONS[0], 1)
    if Event.ROLLOUT_COMPLETED not in made.events:
        raise Otherwise(made)
    done = _rolled(run, VERSIONS[1], 2)
    statuses = {f"making it: {key}": value for key, value in made.statuses.items()} | done.statuses
    return Happened(made.events + done.events, statuses, done.times | {"making it": sum(made.times.values())})


def rollback(run: Acceptance) -> Happened:
    """Somebody stops the rollout of a version: the three instances are as they were."""

    def stop(rollout_id: str) -> None:
        def replacing() -> bool:
            return run.read(Rollout, rollout_id).percent >= 10

        with run.place.hurry(FASTER):
            run.until(replacing, "instances are replaced", lambda: run.read(Rollout, rollout_id))
        run.say(Event.ROLLOUT_ABORT_REQUESTED, [{"rollout": rollout_id, "why": "acceptance", "requested_by": PERSON}])
        run.until(lambda: run.read(Rollout, rollout_id).aborted, "the request is heard")

    # So that it still stands at its first checkpoint when somebody stops it.
    run.configure(run.kept["shop"], permanent=[_production(run, soak_minutes=60)])
    done = _rolled(run, VERSIONS[2], 3, stop)
    if Event.ROLLOUT_ROLLED_BACK not in done.events:
        raise Otherwise(done)
    return done


def retirement(run: Acceptance) -> Happened:
    """A dry run of retirement, which looks for every use of an image."""
    report = run.invoke("retire-images", {"now": utc_text(run.place.now()), "dry_run": True})
    kept = {key: report.get(key) for key in ("counts", "halted", "dry_run", "failed", "error")}
    unseen = [plain(str(one)) for one in report.get("left_alone", [])]
    return Happened(statuses=kept | {"could not look at": unseen, "steps": len(report.get("steps", []))})


def console(run: Acceptance) -> Happened:
    """An operator signs in on the hosted page and reads through the HTTP API; nobody else does."""
    back = run.place.console(run.outputs)
    config = requests.get(f"{back}config.json", timeout=120).json()
    kept = signing_in.verifier()
    given = signing_in.code(config, back, kept, (PERSON, run.installed.password))
    tokens = signing_in.exchange(config, back, kept, given).json()
    me = _asked(back, "api/me", tokens[config["token"]])
    statuses = {
        "page": requests.get(back, timeout=120).status_code,
        "without a token": _asked(back, "api/me", None).status_code,
        "with the token": me.status_code,
        "who": me.json().get("who") if me.ok else me.text,
        "environments": _asked(back, "api/environments", tokens[config["token"]]).status_code,
    }
    return Happened(statuses=statuses)


def dashboard(run: Acceptance) -> Happened:
    """Each of Mayfly's metrics on the dashboard is there, with the dimensions that its widget names."""
    body = run.place.client("cloudwatch").get_dashboard(DashboardName=NAME)["DashboardBody"]
    shown = [line for line in widgets.lines(json.loads(body)) if line[0] == "Mayfly"]
    wanted = {(name, tuple(sorted(dimensions))) for _, name, dimensions in shown}
    there = run.place.metrics(NAME)
    return Happened(
        statuses={
            "present": sorted(name for name, _ in wanted & there),
            "nothing to count yet": sorted(name for name, _ in wanted - there),
        }
    )


@dataclass(frozen=True)
class Scenario:
    """One thing to try."""

    name: str
    act: Callable[[Acceptance], Happened]
    needs: tuple[str, ...] = ()
    """Scenarios without whose success it cannot begin."""


SCENARIOS: Sequence[Scenario] = (
    Scenario("bake", bake),
    Scenario("promotion", promotion, ("bake",)),
    Scenario("life by result", life_by_result, ("promotion",)),
    Scenario("life by deadline", life_by_deadline, ("promotion",)),
    Scenario("life by failure", life_by_failure, ("promotion",)),
    Scenario("second Region", second_region, ("promotion",)),
    Scenario("sweep", sweep, ("promotion",)),
    Scenario("rollout", rollout, ("promotion",)),
    Scenario("rollback", rollback, ("rollout",)),
    Scenario("retirement, dry run", retirement),
    Scenario("console sign-in", console),
    Scenario("dashboard's metrics", dashboard),
)


# ---- what they share -------------------------------------------------------------------------------------


def _noted(run: Acceptance, scenario: str, environment: str) -> str:
    run.sessions.setdefault(scenario, []).append(environment)
    return environment


def _rolled(run: Acceptance, version: str, number: int, meanwhile: Callable[[str], None] = lambda _: None) -> Happened:
    """Pushes a version, passes its tests, and waits for the end of the rollout that follows."""
    service = f"{run.kept['shop']}-production"
    rollout_id = f"{service}-{number}"
    environment = run.release_of(run.kept["shop"], version)
    run.life(environment, EnvironmentStage.AWAITING_TESTS)
    run.finish(environment)

    def over() -> list[str]:
        said = run.told("rollout", rollout_id)
        return said if set(ROLLOUT_ENDS) & set(said) else []

    with run.place.hurry(FASTER):
        run.until(
            lambda: run.read(Rollout, rollout_id).history, f"{rollout_id} began", lambda: run.read(Service, service)
        )
    meanwhile(rollout_id)
    with run.place.hurry(FASTER):
        events = run.until(over, f"{rollout_id} is over", lambda: run.read(Rollout, rollout_id))
    record = run.read(Rollout, rollout_id)
    statuses = {
        "stage": record.stage,
        "cause": record.cause,
        "reason": plain(record.reason or ""),
        "instances": sum(one["LifecycleState"] == "InService" for one in _group(run, service)["Instances"]),
        "service": run.read(Service, service).stage,
    }
    return Happened(events, statuses, durations(record))


def _production(run: Acceptance, soak_minutes: int) -> Json:
    """Three instances behind a load balancer, as a permanent environment is declared."""
    network = run.installed.network(run.place.region)
    timing = {"UnhealthyMinutes": "5", "GraceSeconds": "180", "WarmupSeconds": "240", "DrainSeconds": "10"}
    parameters = run.installed.blueprint_parameters | network | timing
    return {
        "name": "production",
        "instance_count": 3,
        "parameters": parameters | {"LoadBalancerSubnetIds": network["SubnetIds"]},
        "rollout": {"soak_minutes": soak_minutes},
    }


def _group(run: Acceptance, service: str) -> Json:
    (stack,) = run.place.workload_client("cloudformation").describe_stacks(StackName=f"mayfly-{service}")["Stacks"]
    name = next(one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "AutoScalingGroupName")
    autoscaling = run.place.workload_client("autoscaling")
    (group,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return dict(group)


def _asked(console_url: str, path: str, token: str | None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(console_url + path, headers=headers, timeout=120)


def durations(record: Record) -> dict[str, float]:
    """Seconds from each line of a record's history to the next one of another kind."""
    found: dict[str, float] = {}
    for line, following in pairwise(record.history):
        seconds = _seconds(datetime.fromisoformat(line.at), datetime.fromisoformat(following.at))
        found[line.what] = round(found.get(line.what, 0.0) + seconds, 1)
    return found


def _seconds(began: datetime, ended: datetime) -> float:
    return (ended - began).total_seconds()


def plain(text: str) -> str:
    """A text without what differs from run to run: ids, ARNs and moments."""
    return _MOMENTS.sub("…", _IDS.sub("…", text))
