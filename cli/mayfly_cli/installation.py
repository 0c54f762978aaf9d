"""An installation of Mayfly, found by its stack: whatever AWS account and Region the ordinary credentials lead to."""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
import click
from botocore.exceptions import ClientError

from mayfly.aws import events
from mayfly.aws.clients import controller
from mayfly.aws.records import Records
from mayfly.contract.configuration import Application
from mayfly.contract.messages import Request
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import APPLICATION_SOURCE, Source
from mayfly.domain.records import Environment, Record, Release, Rollout, Service
from mayfly.domain.text import principal
from mayfly.settings import Settings, read
from mayfly.workflows import catalogue
from mayfly.workflows.reading import Reading
from mayfly_cli.errors import NoAccess, NotFound, TimedOut

type Json = dict[str, Any]

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.5

SETTINGS = {
    "MAYFLY_TABLE": "TableName",
    "MAYFLY_CONTROLLER": "Controller",
    "MAYFLY_BUS": "BusName",
    "MAYFLY_FACTS": "FactsBusName",
    "MAYFLY_REPORTS_BUCKET": "ReportsBucket",
    "MAYFLY_DEAD_LETTERS_URL": "DeadLettersUrl",
    "MAYFLY_BLUEPRINTS_BUCKET": "BlueprintsBucket",
    "MAYFLY_RELEASE_MACHINE_ARN": "ReleaseMachine",
    "MAYFLY_ENVIRONMENT_MACHINE_ARN": "EnvironmentMachine",
    "MAYFLY_TESTS_MACHINE_ARN": "TestsMachine",
    "MAYFLY_SHOW_MACHINE_ARN": "ShowMachine",
    "MAYFLY_BAKE_MACHINE_ARN": "BakeMachine",
    "MAYFLY_PROMOTION_MACHINE_ARN": "PromotionMachine",
    "MAYFLY_ROLLOUT_MACHINE_ARN": "RolloutMachine",
    "MAYFLY_ACCOUNTS": "WorkloadAccounts",
    "MAYFLY_REGIONS": "Regions",
    "MAYFLY_SWEEP_MOST": "SweepMost",
    "MAYFLY_SWEEP_PERCENT": "SweepPercent",
    "MAYFLY_RETIRE_MOST": "RetireMost",
    "MAYFLY_PARAMETERS": "ParametersPath",
    "MAYFLY_WORKLOAD_ROLE": "WorkloadRoleName",
    "MAYFLY_STACK_ROLE": "StackRoleName",
    "MAYFLY_RECORD_DAYS": "RecordDays",
}
"""The settings of functions, and the output or parameter of the stack that each comes from."""


@dataclass(frozen=True)
class Installation:
    """An installed Mayfly."""

    stack: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @cached_property
    def settings(self) -> Settings:
        """The settings that its functions have."""
        known = {**self.parameters, **self.outputs}
        return read(Settings, {name: known[key] for name, key in SETTINGS.items() if key in known})

    @cached_property
    def who(self) -> str:
        """Who asks, by the name that AWS knows: this is what the history will say."""
        return principal(str(controller("sts").get_caller_identity()["Arn"]))

    def users_of(self, blueprint: str) -> list[tuple[str, Mapping[str, str]]]:
        """Returns each application that is built from a blueprint, with the parameters that it configures."""
        found = catalogue.applications(self.settings.parameters)
        named = ((name, one) for name, one in found if not isinstance(one, Refused) and one.blueprint == blueprint)
        return [(name, one.parameters) for name, one in named]

    def records[R: Record](self, kind: type[R]) -> Records[R]:
        """Returns the records of one kind."""
        return Records(self.settings.table, kind)

    def reading(self, now: datetime) -> Reading:
        """One look at what is recorded: what it shows is the HTTP API's answer."""
        return Reading(self.settings.table, self.settings.parameters, now)

    def find[R: Record](self, kind: type[R], identity: str) -> R:
        """Returns a record.

        Raises:
            NotFound: there is none.
        """
        record = self.records(kind).get(identity)
        if record is None:
            known = self._instead(kind, identity)
            raise NotFound(f"There is no {kind.kind} {identity!r} in the installation {self.stack!r}. {known}")
        return record

    def _instead(self, kind: type[Record], identity: str) -> str:
        """Returns what somebody may have meant who has misspelt a name, or named the release of environments."""
        if kind is Environment and (release := self.records(Release).get(identity)):
            names = [part.environment for part in release.suites]  # those of repetitions are named alike
            return f"It is a release; its environments are: {', '.join(names) or 'not planned yet'}."
        where = "services" if kind in (Service, Rollout) else "list"
        return self.alike(identity, kind) or f"See `mayfly {where}`."

    def alike(self, identity: str, *kinds: type[Record]) -> str:
        """Tells which names of what lives somebody may have meant who has misspelt one; "" where none is alike."""
        return meant(identity, [one.id for kind in kinds for one in self.records(kind).live((Record.id,))])

    def application(self, name: str) -> Application:
        """Tells how an application is configured.

        Raises:
            NotFound: there is none of this name. Refused: it is configured wrongly.
        """
        try:
            return catalogue.application(self.settings.parameters, name)
        except Refused as refusal:
            try:
                names = [each for each, _ in catalogue.applications(self.settings.parameters)]
            except ClientError:  # who may push needs not see all
                raise refusal from None
            if name in names:
                raise
            known = meant(name, names) or f"To configure it: mayfly app init {name}"
            raise NotFound(f"No application is called {name!r} in the installation {self.stack!r}. {known}") from None

    def say(self, message: Request, application: str | None = None) -> str:
        """Puts a message on the bus, as anybody else does; returns how its receiver will know it.

        Args:
            application: who may speak for it, may say this; an operator where it is left out.
        """
        source = f"{APPLICATION_SOURCE}{application}" if application else Source.OPERATOR
        return f"EventBridge {events.ask(self.settings.bus, message, source)}"


def meant(name: str, names: Sequence[str]) -> str:
    """Tells which of these somebody may have meant who has misspelt one; "" where none is alike."""
    found = get_close_matches(name, names)
    return f"Did you mean {' or '.join(found)}?" if found else ""


def find(stack: str, profile: str | None, region: str | None) -> Installation:
    """Returns the installation of this stack name.

    Raises:
        NotFound: there is no such stack, or it is no Mayfly.
    """
    _reach(os.environ.get("AWS_ENDPOINT_URL"))
    logging.getLogger("mayfly").setLevel(logging.CRITICAL)  # standard output is the command's
    region = region or os.environ.get("AWS_REGION")  # which boto3 does not know
    if profile or region:
        boto3.setup_default_session(profile_name=profile, region_name=region)
    cloudformation = controller("cloudformation")
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        where = cloudformation.meta.region_name
        raise NotFound(
            f"There is no stack {stack!r} in {where}. Name the installation's with --stack, --region or "
            "--profile, or install it: docs/guide.md."
        ) from None
    outputs = {out["OutputKey"]: out["OutputValue"] for out in found.get("Outputs", [])}
    if missing := sorted({"TableName", "BusName", "FactsBusName", "Controller"} - outputs.keys()):
        raise NotFound(
            f"The stack {stack!r} ({found['StackStatus']}) is no installed Mayfly: "
            f"it has no output {', '.join(missing)}."
        )
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}
    return Installation(stack, found["StackStatus"], outputs, parameters)


def _reach(endpoint: str | None) -> None:
    """Says at once where nothing answers at an endpoint of one's own; boto3 would try for half a minute.

    Raises:
        NoAccess: nothing does.
    """
    if not endpoint:
        return
    where = urlsplit(endpoint)
    try:
        address = (where.hostname or "", where.port or (443 if where.scheme == "https" else 80))
        socket.create_connection(address, timeout=2).close()
    except (OSError, ValueError) as error:
        raise NoAccess(
            f"Nothing answers at {endpoint} (AWS_ENDPOINT_URL): {error}. Start it (`make local` for the local cloud), "
            "or unset AWS_ENDPOINT_URL to reach AWS."
        ) from None


def until[T](look: Callable[[], T | None], what: str, patience: float | None = None) -> T:
    """Looks until there is something to see.

    Raises:
        TimedOut: there is not, within `patience` seconds, or those that a message takes at most.
    """
    patience = PATIENCE_SECONDS if patience is None else patience
    give_up = time.monotonic() + patience
    while True:
        if found := look():
            return found
        if time.monotonic() > give_up:
            raise TimedOut(
                f"The event was taken, but after {patience:.0f} s still not: {what}. "
                "`mayfly doctor` says whether it lies among the dead letters."
            )
        time.sleep(LOOK_SECONDS)


def note(text: str) -> None:
    """Tells the person at the terminal something; standard output is for what was asked."""
    click.echo(text, err=True)
