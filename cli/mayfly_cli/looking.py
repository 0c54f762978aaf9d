"""What a person looks at of an environment or a bake from nearby: a shell on an instance, a port, a log."""

import os
import shutil
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError
from msgspec.structs import replace

from mayfly.aws.instances import console
from mayfly.domain import tags
from mayfly.domain.records import Bake, Environment
from mayfly.domain.text import clean_lines
from mayfly.workflows.reading import Reading, Wanted
from mayfly_cli.doctor import Target
from mayfly_cli.errors import Failed, NotFound
from mayfly_cli.installation import Installation

type Json = dict[str, Any]


_ENDED = "ended:"
"""What begins the cursor of a page of those that have ended: their pages follow those of what lives."""


def page_of(reading: Reading, wanted: Wanted, days: int | None, after: str) -> Json:
    """Returns a page of environments: of those that live, and where those are all on it, of those that ended in the
    last days.

    Args:
        after: where the page before ended.
    """
    found: Json = {"environments": []}
    if not after.startswith(_ENDED):
        found = reading.environments(wanted, after)
        if "next" in found or days is None:
            return found
    ended: Json
    past = replace(wanted, live=False, days=days or 0)
    ended = reading.environments(past, after.removeprefix(_ENDED) if after.startswith(_ENDED) else "")
    more = {"next": f"{_ENDED}{ended['next']}"} if "next" in ended else {}
    return ended | {"environments": found["environments"] + ended["environments"]} | more


def instances(target: Target, environment: str) -> list[str]:
    """Returns the running instances of an environment."""
    pages = (
        target.client("ec2")
        .get_paginator("describe_instances")
        .paginate(
            Filters=[
                {"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]},
                {"Name": "instance-state-name", "Values": ["running"]},
            ]
        )
    )
    return sorted(one["InstanceId"] for page in pages for each in page["Reservations"] for one in each["Instances"])


def session(instance: str, region: str, ports: tuple[int, int] | None) -> list[str]:
    """Returns the command of the AWS CLI that opens a session of Systems Manager, or forwards a port."""
    line = ["aws", "ssm", "start-session", "--target", instance, "--region", region]
    if ports:
        local, remote = ports
        line += ["--document-name", "AWS-StartPortForwardingSession"]
        line += ["--parameters", f"localPortNumber={local},portNumber={remote}"]
    return line


def become(line: Sequence[str], target: Target) -> None:
    """Lets the AWS CLI take over, with the credentials that were found for this target.

    Raises:
        Failed: it is not there, or its plugin for sessions.
    """
    for needed in (line[0], "session-manager-plugin"):
        if shutil.which(needed) is None:
            raise Failed(f"{needed} is not installed. It opens sessions: docs.aws.amazon.com/systems-manager, plugin.")
    os.execvpe(line[0], list(line), os.environ | target.environ())


def console_of(installation: Installation, environment: str, instance: str, role: str | None) -> str:
    """Returns what EC2 has of the console of an environment's instance.

    Raises:
        NotFound: it is none of the environment's running instances, or EC2 has nothing yet.
    """
    record = installation.find(Environment, environment)
    target = Target(installation, record.account, record.region, role)
    if instance not in (running := instances(target, environment)):
        raise NotFound(
            f"{environment} has no running instance {instance}. Those that run: {', '.join(running) or 'none'}."
        )
    text = console(target.client("ec2"), instance)
    if not text:
        raise NotFound(f"EC2 has no output of the console of {instance} yet: it comes minutes after the boot.")
    return clean_lines(text if text.endswith("\n") else f"{text}\n")


def log_of(installation: Installation, name: str, role: str | None) -> str:
    """Returns the text of the log of an environment's tests, or of a bake.

    Raises:
        NotFound: there is none.
    """
    if record := installation.records(Environment).get(name):
        ending = record.ending
        if ending is None or not ending.log:
            raise NotFound(f"{name} has no log of its tests: they go on, or were not run by Mayfly.")
        target = None
        location = ending.log
    else:
        bake = installation.find(Bake, name)
        location = bake.log
        target = Target(installation, bake.plan.get("account", ""), bake.plan.get("region", ""), role)
    return _read(installation, location, target)


def _read(installation: Installation, location: str, target: Target | None) -> str:
    from mayfly.aws.clients import controller

    if not location.startswith("s3://"):
        raise Failed(f"It is at {location or 'no address yet'}.")
    bucket, _, key = location.removeprefix("s3://").partition("/")
    s3 = target.client("s3") if target else controller("s3")
    try:
        return clean_lines(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace"))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            raise NotFound(f"There is nothing at {location} (any more).") from None
        raise
