"""An installation of Mayfly, found by its stack: whatever AWS account and Region the ordinary credentials lead to."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
import click
from botocore.exceptions import ClientError

from mayfly.aws import events
from mayfly.aws.clients import controller
from mayfly.aws.records import Kind, Records
from mayfly.messages import Message
from mayfly.settings import Settings
from mayfly_cli.errors import NotFound, TimedOut

type Json = dict[str, Any]

SOURCE = "mayfly.cli"
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.5

SETTINGS = {
    "MAYFLY_TABLE": "TableName",
    "MAYFLY_CONTROLLER": "Controller",
    "MAYFLY_BUS": "BusName",
    "MAYFLY_REPORTS_BUCKET": "ReportsBucket",
    "MAYFLY_DEAD_LETTERS_URL": "DeadLettersUrl",
    "MAYFLY_BLUEPRINTS_BUCKET": "BlueprintsBucket",
    "MAYFLY_RELEASE_MACHINE_ARN": "ReleaseMachine",
    "MAYFLY_ENVIRONMENT_MACHINE_ARN": "EnvironmentMachine",
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
"""What functions are told by their surroundings, and the output or parameter of the stack that says it."""


@dataclass(frozen=True)
class Installation:
    """An installed Mayfly."""

    stack: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @cached_property
    def here(self) -> Settings:
        """The settings that its functions have."""
        known = {**self.parameters, **self.outputs}
        return Settings.model_validate({name: known[key] for name, key in SETTINGS.items() if key in known})

    @cached_property
    def who(self) -> str:
        """Who asks, as AWS knows them: this is what the history will say."""
        return str(controller("sts").get_caller_identity()["Arn"])

    def records(self, kind: Kind) -> Records:
        """The records of one kind."""
        return Records(self.here.table, kind)

    def find(self, kind: Kind, identity: str) -> Json:
        """A record.

        Raises:
            NotFound: there is none.
        """
        record = self.records(kind).get(identity)
        if record is None:
            where = "services" if kind in ("service", "rollout") else "list"
            raise NotFound(f"There is no {kind} {identity!r} in the installation {self.stack!r}. See `mayfly {where}`.")
        return record

    def say(self, what: str, message: Message) -> str:
        """Puts a message on the bus, as anybody else does; returns how its receiver will know it."""
        detail = message.model_dump(mode="json", exclude_none=True)
        return f"EventBridge {events.announce(self.here.bus, what, detail, SOURCE)}"


def find(stack: str, profile: str | None, region: str | None) -> Installation:
    """The installation of this stack name.

    Raises:
        NotFound: there is no such stack, or it is no Mayfly.
    """
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
    if missing := sorted({"TableName", "BusName", "Controller"} - outputs.keys()):
        raise NotFound(
            f"The stack {stack!r} ({found['StackStatus']}) is no installed Mayfly: "
            f"it has no output {', '.join(missing)}."
        )
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}
    return Installation(stack, found["StackStatus"], outputs, parameters)


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
