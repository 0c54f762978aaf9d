"""Mayfly on the local cloud: what the driver does and sees everywhere, and what only the local cloud can tell."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from accept import driver
from accept.driver import Json, Way
from bench import costs
from local.cloud import LocalCloud
from mayfly.domain.timestamp import utc_text
from tests.items import read_item

__all__ = ["Driver", "Json", "Way", "dead_letters"]


class Driver(driver.Driver):
    """One test's view of an installed Mayfly."""

    cloud: LocalCloud

    @property
    def facts_bus(self) -> str:
        """The bus on which Mayfly says what happened: an early version has one bus for all."""
        return self.outputs.get("FactsBusName", self.outputs["BusName"])

    def record(self, name: str, kind: str = "environment") -> Json:
        """The item of a thing of this kind, {} where there is none."""
        return read_item(self.cloud, self.outputs["TableName"], f"{kind}#{name}")

    def release(self, release: str) -> Json:
        """A release's item, {} where there is none."""
        return self.record(release, "release")

    def history(self, record: Json) -> list[tuple[str, str]]:
        """What and why of each line of a record's history."""
        return [(line["what"], line["why"]) for line in record["history"]]

    def passes(self, seconds: float, function: str) -> None:
        """Moves time on, and waits until a function has run whose schedule makes it due by then."""
        due = utc_text(self.cloud.now() + timedelta(seconds=seconds))
        self.cloud.advance(seconds)
        ran = lambda: [row for row in self.invocations(function) if row["at"] >= due]  # noqa: E731
        self.until(ran, f"{function} runs by its schedule", lambda: self.invocations(function)[-3:])

    def costs(self, environment: str) -> Json:
        """What a life has cost that has ended. Who ends its execution is over a moment later."""
        counted = lambda: [row for row in self.invocations("confirm-gone", environment) if not row["error"]]  # noqa: E731
        self.until(counted, f"the last invocation of {environment} is counted")
        return costs.life(self.cloud, self.outputs["EnvironmentMachine"], self.outputs["TableName"], environment)

    def letter(self, mark: str) -> Json:
        """The one dead letter that has this text in it; waits for it."""

        def look() -> list[Json]:
            return [letter for letter in dead_letters(self.cloud, self.outputs) if mark in json.dumps(letter)]

        found = self.until(look, f"a dead letter with {mark!r}", lambda: [*dead_letters(self.cloud, self.outputs)])
        assert len(found) == 1, found
        return found[0]

    def calls(self, environment: str) -> Counter[str]:
        """The calls to the workload account that this life made with success."""
        return Counter(
            row["action"]
            for row in self.cloud.ledger()["calls"]
            if row["environment"] == environment and not row["error"]
        )

    def invocations(self, function: str, environment: str | None = None) -> list[Json]:
        """How a function's invocations went, those for one environment or all."""
        return [
            row
            for row in self.cloud.ledger()["invocations"]
            if row["function"] == f"mayfly-{function}" and environment in (None, row["environment"])
        ]

    def releases(self, release: str) -> list[str]:
        """The names of all executions that this release ever had."""
        pages = self.cloud.client("stepfunctions").get_paginator("list_executions")
        machine = self.outputs["ReleaseMachine"]
        names = [one["name"] for page in pages.paginate(stateMachineArn=machine) for one in page["executions"]]
        return [name for name in names if name.startswith(release)]

    def left(self, location: str) -> str:
        """What stands at a location of S3."""
        bucket, _, key = location.removeprefix("s3://").partition("/")
        return str(self.cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())

    def publish(self, topic: str, message: str) -> None:
        """Publishes a text on one of the installation's topics."""
        self.cloud.client("sns").publish(TopicArn=self.outputs[topic], Message=message)

    def hear(self, bus: str) -> None:
        """Listens to another bus as well."""
        self._heard.listen(bus)


def dead_letters(cloud: LocalCloud, outputs: dict[str, str]) -> Iterator[Json]:
    """What could not be followed, as it is kept."""
    s3, bucket = cloud.client("s3"), outputs["ReportsBucket"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="dead-letters/"):
        for one in page.get("Contents", []):
            yield json.loads(s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read())
