"""Where Mayfly is accepted: an account of AWS, or the local cloud that it is compared with."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import boto3
from botocore.config import Config

from local import users
from local.accounts import Accounts
from local.cloud import CONTROLLER_ACCOUNT, REGION, LocalCloud

type Json = dict[str, Any]
type Name = Literal["local", "aws"]

SECOND_REGION = "eu-west-1"
FASTER = 60
"""How many times as fast the local cloud's time runs where minutes are waited for."""
FAST: dict[str, Any] = {"boot_seconds": 0.3, "delete_seconds": 0.2, "retry_scale": 0.002, "forks": True, "strict": True}
"""How the local cloud is started."""
CALLS_ARE_LATE_SECONDS = 15 * 60
"""CloudTrail tells a call within this time."""


class Place(Accounts, Protocol):
    """The two accounts, and what only their place knows."""

    name: Name
    account: str
    """The controller account."""
    region: str
    second_region: str

    def hurry(self, times: float) -> AbstractContextManager[None]:
        """While this is entered, time may run faster."""

    def breaks(self, version: str) -> None:
        """Instances fail to deploy this version, whose artifact does not exist."""

    def settle(self) -> None:
        """Waits until all calls so far can be told."""

    def calls(self, session: str) -> Counter[str]:
        """The calls that a session of Mayfly's role in the workload account made with success."""

    def metrics(self, installation: str) -> set[tuple[str, tuple[str, ...]]]:
        """The metrics of the namespace Mayfly that there are: each name with the names of its dimensions."""

    def console(self, outputs: Mapping[str, str]) -> str:
        """Where a browser finds the console."""

    def adapted(self, family: Json) -> Json:
        """An image family as it can be baked here."""


class Local(LocalCloud):
    """The local cloud."""

    name: Name = "local"
    account = CONTROLLER_ACCOUNT
    region, second_region = REGION, SECOND_REGION

    def breaks(self, version: str) -> None:
        """Has its instances never say that they are ready."""
        mark = f"*-{version.replace('.', '-')}-*"
        self.fault("workload", stack="create", effect="instances_never_signal", environment=mark, instances=2)

    def settle(self) -> None:
        """Its ledger knows a call at once."""

    def calls(self, session: str) -> Counter[str]:
        """What the ledger of the workload account says, but for further pages."""
        mine = [row for row in self.ledger()["calls"] if row["environment"] == session]
        return Counter(
            row["action"] for row in mine if not row["error"] and not row["page"] and _is_told(row["action"])
        )

    def metrics(self, installation: str) -> set[tuple[str, tuple[str, ...]]]:
        """What functions print in the embedded metric format: there is no CloudWatch that makes metrics of it."""
        logs = self.client("logs")
        found = set()
        for group in logs.describe_log_groups()["logGroups"]:
            if installation not in group["logGroupName"]:
                continue
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            for page in pages:
                for event in page["events"]:
                    found |= set(_embedded(event["message"]))
        return found

    def console(self, outputs: Mapping[str, str]) -> str:
        """On its own port; the user pool lets its client come back there."""
        users.let_back(self, outputs)
        return f"{self.console_url}/"

    def adapted(self, family: Json) -> Json:
        """The stand-in for a machine runs no checks: they all exit well there, and print nothing."""
        return family | {"checks": [{**check, "stdout": None} for check in family["checks"]]}


class Aws:
    """One account of AWS, which is both of Mayfly's, with the credentials and the Region of the environment."""

    name: Name = "aws"
    patience_seconds = 3600.0
    look_seconds = 10.0

    def __init__(self) -> None:
        self._session = boto3.session.Session()
        self.region: str = self._session.region_name or REGION
        self.second_region = SECOND_REGION if self.region != SECOND_REGION else REGION
        self._made: dict[tuple[str, str], Any] = {}
        self.account = self.workload_account = str(self.client("sts").get_caller_identity()["Account"])

    @property
    def environ(self) -> dict[str, str]:
        """The environment's own; SAM looks at its deployment as often as it usually does."""
        return {**os.environ, "AWS_DEFAULT_REGION": self.region, "SAM_CLI_POLL_DELAY": "5"}

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client, of the account's Region where no other is given."""
        region = options.pop("region_name", self.region)
        if (service, region) not in self._made:
            make: Any = self._session.client
            retries = Config(retries={"mode": "adaptive", "max_attempts": 10})
            self._made[service, region] = make(service, region_name=region, config=retries)
        return self._made[service, region]

    workload_client = client

    def now(self) -> datetime:
        """The real time."""
        return datetime.now(UTC)

    def advance(self, seconds: float) -> None:
        """Waits: nobody moves AWS's clock."""
        time.sleep(seconds)

    def hurry(self, times: float) -> AbstractContextManager[None]:
        """Nothing makes AWS faster."""
        return nullcontext()

    def breaks(self, version: str) -> None:
        """An artifact that is not there cannot be deployed: nothing has to be done for it."""

    def settle(self) -> None:
        """CloudTrail is late."""
        time.sleep(CALLS_ARE_LATE_SECONDS)

    def calls(self, session: str) -> Counter[str]:
        """What CloudTrail tells of management events, in both Regions."""
        return Counter(
            action for region in (self.region, self.second_region) for action in self._called(session, region)
        )

    def _called(self, session: str, region: str) -> Iterator[str]:
        pages = self.client("cloudtrail", region_name=region).get_paginator("lookup_events")
        mine = [{"AttributeKey": "Username", "AttributeValue": session}]
        for page in pages.paginate(LookupAttributes=mine):
            time.sleep(0.5)  # two look-ups a second are allowed
            for event in page["Events"]:
                said = json.loads(event["CloudTrailEvent"])
                further = any((said.get("requestParameters") or {}).get(key) for key in ("nextToken", "NextToken"))
                if "errorCode" not in said and not further and _is_told(event["EventName"]):
                    yield event["EventName"]

    def metrics(self, installation: str) -> set[tuple[str, tuple[str, ...]]]:
        """What CloudWatch lists."""
        pages = self.client("cloudwatch").get_paginator("list_metrics").paginate(Namespace="Mayfly")
        return {
            (metric["MetricName"], tuple(sorted(one["Name"] for one in metric["Dimensions"])))
            for page in pages
            for metric in page["Metrics"]
        }

    def console(self, outputs: Mapping[str, str]) -> str:
        """Where the stack says."""
        return outputs["ConsoleUrl"]

    def adapted(self, family: Json) -> Json:
        """As it is."""
        return family


def _is_told(action: str) -> bool:
    """CloudTrail's look-up tells no calls about what is in buckets, and a session's beginning as somebody else's."""
    return (
        action != "AssumeRole" and " " not in action and re.match(r"(Get|Put|Delete|Head|List)Objects?", action) is None
    )


def _embedded(line: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not line.startswith('{"_aws"'):
        return
    for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]:
        for keys in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                yield metric["Name"], tuple(sorted(keys))
