"""What a rollout costs, and what its users notice of it: a good one, a bad image, the loss of a zone.

A client sends requests from the beginning to the end of each. Seconds are those of the virtual clock, which runs so
many times as fast as the real one meanwhile that the client sends more than 50,000 requests in each case.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from bench import costs
from local.client import Client
from local.cloud import WORKLOAD_ACCOUNT, LocalCloud
from local.install import Installation, configure, network
from local.records import all_records, remember_release
from mayfly.contract.vocabulary import Event
from mayfly.domain.identity import service_id
from mayfly.domain.records import Rollout

Json = dict[str, Any]

PACE = 60
"""How many times as fast time runs while services are made."""
PATIENCE_SECONDS = 900  # real
RATE = 2500  # requests a second, of this machine's
BAD_IMAGE = "ami-0bad0bad0bad0bad0"
CASES = [("good", 3, 20), ("good", 12, 40), ("good", 45, 40), ("bad image", 12, 1), ("zone lost", 12, 4)]
"""What happens, to how many instances, and how many times as fast time runs meanwhile."""


def measure(cloud: LocalCloud, installation: Installation) -> Iterator[Json]:
    """Rolls out once in every case, each with a service of its own."""
    for number, (case, instances, pace) in enumerate(CASES):
        service = Service(cloud, installation, f"roll-{number}", instances)
        with cloud.hurry(PACE):
            service.wants("1.0")
            service.rollout(0)
            service.calms_down()
        with cloud.hurry(pace):
            yield {"case": case, "instances": instances, **service.measured(case)}
        cloud.clear_faults()


class Service:
    """A permanent environment of an application of its own."""

    def __init__(self, cloud: LocalCloud, installation: Installation, application: str, instances: int) -> None:
        self.cloud, self.installation, self.application = cloud, installation, application
        self.id = service_id(application, "production")
        configuration = {
            "owner": "bench",
            "blueprint": "fleet.yaml",
            "instance_count": 1,
            "image": {"family": application},
            "account": WORKLOAD_ACCOUNT,
            "suites": [{"name": "only"}],
            "permanent": [
                {
                    "name": "production",
                    "instance_count": instances,
                    "parameters": network(cloud)
                    | {"WarmupSeconds": "60", "GraceSeconds": "120", "UnhealthyMinutes": "1"},
                    "rollout": {"soak_minutes": 2, "most_healthy_percent": 110},
                }
            ],
        }
        self.boots(installation.image)
        configure(cloud, application, configuration)

    def boots(self, image: str) -> None:
        """Point its channel to an image."""
        name = f"/mayfly/images/{self.application}/stable"
        self.cloud.client("ssm").put_parameter(Name=name, Value=image, Type="String", Overwrite=True)

    def wants(self, version: str) -> None:
        """Say that a release of this version has passed."""
        detail = {
            "release": f"{self.application}-{version.replace('.', '-')}",
            "application": self.application,
            "version": version,
            "artifact": "none",
            "passed": True,
            "reason": "all suites passed",
            "suites": [],
        }
        remember_release(self.cloud, self.installation.outputs["TableName"], detail)
        self.cloud.announce(self.installation.outputs["FactsBusName"], Event.RELEASE_PASSED, detail)

    def rollout(self, before: int) -> Rollout:
        """The record of the rollout that follows so many others, once it is over."""
        table = self.installation.outputs["TableName"]

        def over() -> Rollout | None:
            mine = [one for one in all_records(self.cloud, table, Rollout) if one.service == self.id]
            done = [one for one in mine if one.ended_at]
            return max(done, key=lambda one: str(one.ended_at)) if len(done) > before else None

        return until(over)

    def calms_down(self) -> None:
        """Waits until none of its alarms fires: they do while it is new and not all of it is healthy yet."""
        until(lambda: self.cloud.is_calm(f"mayfly-{self.id}"))

    def measured(self, case: str) -> Json:
        """Rolls out one version more while a client sends requests."""
        if case == "bad image":
            self.boots(BAD_IMAGE)
            self.cloud.fault("workload", serving="unhealthy", image=BAD_IMAGE)
        self.cloud.watch_fewest()
        self.cloud.reset_ledger()
        began = self.cloud.now()
        with Client(self.balancer()["url"], connections=8, rate=RATE) as client:
            self.wants("2.0")
            if case == "zone lost":
                until(lambda: client.counts.versions["2.0"] > 0)
                self.cloud.fault("workload", outage="us-east-1b")
            record = self.rollout(1)
        seconds = (datetime.fromisoformat(str(record.ended_at)) - began).total_seconds()
        history = costs.history(self.cloud, self.installation.outputs["RolloutMachine"], record.id)
        counts = client.counts
        return {
            "ended": record.stage,
            "virtual_seconds": round(seconds),
            "requests": counts.sent,
            "errors_raw": counts.errors,
            "failed_after_retries": counts.failed,
            "on_bad_image": counts.images[BAD_IMAGE],
            "fewest_healthy": self.balancer()["fewest_healthy"],
            "state_transitions": costs.state_transitions(history),
        }

    def balancer(self) -> Json:
        """Its load balancer."""
        resource = self.cloud.workload_client("cloudformation").describe_stack_resource(
            StackName=f"mayfly-{self.id}", LogicalResourceId="TargetGroup"
        )
        group = resource["StackResourceDetail"]["PhysicalResourceId"]
        return self.cloud.balancers()[group.split("/")[1]]


def until[T](look: Callable[[], T | None]) -> T:
    """What `look` returns as soon as it is truthy.

    Raises:
        TimeoutError: it never is.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE_SECONDS} s")
        time.sleep(0.25)
    return seen
