"""Mayfly from outside: what a CI server, a platform engineer and an auditor can do and see, wherever it is installed.

Nothing here sleeps for time to pass: `cloud.advance` moves it. What goes on by itself is watched until it has
happened, and a watch that ends in vain says what it saw.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from msgspec import to_builtins

from bench import costs
from local.accounts import Accounts
from local.cloud import REGION
from local.facts import Facts
from local.install import application_topic, configure
from local.records import read_record
from mayfly.contract.vocabulary import UNKNOWN, EnvironmentStage, Event, Outcome, Source, SuiteKind
from mayfly.domain.identity import environment_id, release_id, stack_name
from mayfly.domain.records import Environment, Record, Release

type Json = dict[str, Any]
type Way = Literal["bus", "topic"]


class Driver:
    """One test's view of an installed Mayfly. Applications are the test's own; the cloud is everybody's."""

    def __init__(self, cloud: Accounts, outputs: dict[str, str], heard: Facts, names: Iterator[str]) -> None:
        self.cloud, self.outputs = cloud, outputs
        self._heard, self._names = heard, names
        self._before = len(heard.heard())
        self.parameters = f"/{outputs['Controller'].split('/')[2]}"
        """Where Mayfly reads its configuration."""

    # ---- what people and CI servers do --------------------------------------------------------------------

    def application(
        self,
        suites: Sequence[str | Json] = ("smoke",),
        instances: int = 1,
        blueprint: str = "single.yaml",
        kind: str = SuiteKind.AUTOMATED,
        **more: Any,
    ) -> str:
        """Configures an application under a name of its own and returns the name."""
        name = next(self._names)
        configuration = {
            "owner": "team@example.com",
            "blueprint": blueprint,
            "instance_count": instances,
            "image": {"family": "base"},
            "account": self.cloud.workload_account,
            "suites": [{"name": suite, "kind": kind} if isinstance(suite, str) else suite for suite in suites],
        }
        configure(self.cloud, name, configuration | more, self.parameters)
        return name

    def push(self, application: str, version: str = "1.0.0", by: Way = "bus", times: int = 1, **more: Any) -> str:
        """Announces a code version, perhaps several times at once, and returns the name of its release."""
        detail = {"application": application, "version": version, "artifact": f"s3://artifacts/{version}", **more}
        self.say(Event.CODE_VERSION_PUSHED, [detail] * times, by)
        return release_id(application, version, more.get("attempt", 1))

    def finish(self, environment: str, outcome: str = Outcome.PASSED, by: Way = "bus", **more: Any) -> None:
        """Reports the end of an environment's tests."""
        self.say(Event.TEST_FINISHED, [{"environment": environment, "outcome": outcome, **more}], by)

    def say(self, detail_type: str, details: Sequence[Json], by: Way = "bus") -> None:
        """Puts all details in one call on the bus, or publishes each on the topic for it. Who says that tests passed
        has heard before that they may begin."""
        details = [self._with_token(detail) if detail_type == Event.TEST_FINISHED else detail for detail in details]
        if by == "bus":
            self.put([{"DetailType": detail_type, "Detail": json.dumps(detail)} for detail in details])
            return
        topics: dict[str, str] = {
            Event.CODE_VERSION_PUSHED: "CodeVersionsTopic",
            Event.TEST_FINISHED: "TestResultsTopic",
        }
        topic = topics[detail_type]
        for detail in details:
            application = detail.get("application") or self._application(detail.get("environment", ""))
            self.cloud.client("sns").publish(
                TopicArn=application_topic(self.cloud, application, topic), Message=json.dumps(detail)
            )

    def _with_token(self, detail: Json) -> Json:
        if detail.get("outcome") != Outcome.PASSED or "token" in detail:
            return detail
        named = environment_id(str(detail.get("release")), str(detail.get("suite")))
        environment = str(detail.get("environment") or named)
        if self.read(Environment, environment).report_token is None:
            return detail
        return detail | {"token": self.token(environment)}

    def token(self, environment: str) -> str:
        """What Environment Ready said to whoever runs the tests of an environment."""
        return self._heard.token(environment)

    def put(self, entries: Sequence[Json]) -> None:
        """Puts entries on the bus, ten a call as EventBridge takes them."""
        ours = [{"Source": Source.OPERATOR, "EventBusName": self.outputs["BusName"], **entry} for entry in entries]
        for start in range(0, len(ours), 10):
            answer = self.cloud.client("events").put_events(Entries=ours[start : start + 10])
            assert not answer["FailedEntryCount"], answer

    def _application(self, environment: str) -> str:
        known = self.read(Environment, environment).application
        return "webshop" if known == UNKNOWN else known

    # ---- what they wait for ---------------------------------------------------------------------------------

    def begin(self, application: str, suite: str = "smoke", **more: Any) -> str:
        """Pushes a version and waits until the tests of a suite may begin; returns the environment."""
        environment = environment_id(self.push(application, **more), suite)
        self.life(environment, EnvironmentStage.AWAITING_TESTS)
        return environment

    def life(self, environment: str, stage: str) -> Environment:
        """Waits until an environment is at this stage; returns its record then.

        Raises:
            AssertionError: its execution ended elsewhere, or it took too long; says what was seen.
        """

        def seen() -> Environment:
            return self.read(Environment, environment)

        def look() -> Environment | None:
            record = seen()
            if record.stage == stage:
                return record
            over = self.execution(environment)
            assert over.get("status", "RUNNING") == "RUNNING" or seen().stage == stage, (
                f"{environment} ended before it was {stage}: {_shown(over)}\n{_shown(record)}"
            )
            return None

        return self.until(look, f"{environment} is {stage}", seen)

    def end(self, name: str, kind: type[Record] = Environment) -> Json:
        """Waits until a Step Functions execution ends, by default an environment's life, and returns its
        description."""

        def look() -> Json | None:
            execution = self.execution(name, kind)
            return execution if execution.get("status", "RUNNING") != "RUNNING" else None

        return self.until(look, f"{name} has ended", lambda: self.read(kind, name))

    def verdict(self, release: str) -> Json:
        """Waits for the verdict over a release and its announcement; returns the announcement."""

        def look() -> Json | None:
            said = [one for one in self.announcements() if one["detail"].get("release") == release]
            ends = (Event.RELEASE_PASSED, Event.RELEASE_FAILED)
            return next((one for one in said if one["detail-type"] in ends), None)

        return self.until(look, f"the verdict on {release}", lambda: self.read(Release, release))

    def until[T](
        self,
        look: Callable[[], T | None],
        what: str,
        otherwise: Callable[[], object] = lambda: "",
    ) -> T:
        """Looks until there is something to see.

        Raises:
            AssertionError: there is not for long; `otherwise` says how things stand instead.
        """
        patience = self.cloud.patience_seconds
        give_up = time.monotonic() + patience
        while True:
            if found := look():
                return found
            assert time.monotonic() < give_up, f"not within {patience:.0f} s: {what}\n{_shown(otherwise())}"
            time.sleep(self.cloud.look_seconds)

    # ---- what they see --------------------------------------------------------------------------------------

    def read[R: Record](self, kind: type[R], name: str) -> R:
        """The record of a thing of this kind, one of which nothing is known where there is none."""
        return read_record(self.cloud, self.outputs["TableName"], kind, name)

    def execution(self, name: str, kind: type[Record] = Environment) -> Json:
        """The execution that is the life of a thing of this kind, {} where there is none yet."""
        states = self.cloud.client("stepfunctions")
        arn = f"{self.outputs[f'{kind.kind.capitalize()}Machine'].replace(':stateMachine:', ':execution:')}:{name}"
        try:
            found: Json = states.describe_execution(executionArn=arn)
        except states.exceptions.ExecutionDoesNotExist:
            return {}
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def stacks(self, environment: str, region: str = REGION) -> list[str]:
        """The status of every stack that this environment ever had, the deleted ones included."""
        cloudformation = self.cloud.workload_client("cloudformation", region_name=region)
        stacks = [
            one for page in cloudformation.get_paginator("list_stacks").paginate() for one in page["StackSummaries"]
        ]
        return [stack["StackStatus"] for stack in stacks if stack["StackName"] == stack_name(environment)]

    def instances_left(self, environment: str, region: str = REGION) -> int:
        """Instances of it that are not terminated."""
        return costs.instances_left(self.cloud, environment, region)

    def nothing_is_left(self, environment: str) -> bool:
        """Whether it had one stack at most, and neither this nor any instance remains."""
        return self.stacks(environment) in ([], ["DELETE_COMPLETE"]) and not self.instances_left(environment)

    def announcements(self) -> list[Json]:
        """All that Mayfly announced since this test began, in order."""
        return self._heard.heard()[self._before :]

    def announced(self, environment: str) -> list[str]:
        """The detail types that were announced of an environment, in order."""
        return [one["detail-type"] for one in self.announcements() if one["detail"].get("environment") == environment]

    def announcement(self, detail_type: str, environment: str) -> Json:
        """The detail of the one announcement of this type; waits for it."""

        def look() -> list[Json]:
            mine = (one for one in self.announcements() if one["detail"].get("environment") == environment)
            return [one["detail"] for one in mine if one["detail-type"] == detail_type]

        found = self.until(look, f"{detail_type} of {environment}", lambda: self.announced(environment))
        assert len(found) == 1, found
        return found[0]


def _shown(value: object) -> str:
    return json.dumps(to_builtins(value, enc_hook=str), indent=1)
