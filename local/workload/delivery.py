"""Brings what services say to the event buses of the controller account, through this account's EventBridge.

moto emits no service events. As on AWS, one arrives somewhere only if a rule on the default bus matches it and
names a bus there; events keep their order unless a fault delays one. On AWS, and in a strict cloud, each Region has a
default bus of its own; otherwise the rules of the Region where Mayfly runs see the events of all.
"""

from __future__ import annotations

import importlib
import json
import queue
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.clock import VirtualClock
from local.cloud import PATIENCE_SECONDS
from local.faults import Fault, Faults
from mayfly.contract.vocabulary import AwsEvent

REGION = "us-east-1"
DELIVERY_ATTEMPTS = 40


@dataclass(frozen=True)
class ServiceEvent:
    """One thing that a service says; `status` and `environment` are what faults know it by."""

    source: str
    detail_type: str
    account: str
    region: str
    resource: str
    detail: dict[str, Any]
    status: str
    environment: str | None


Say = Callable[[ServiceEvent], None]


class Delivery:
    """A queue of events and the thread that delivers them."""

    def __init__(self, controller_url: str, clock: VirtualClock, faults: Faults, strict: bool) -> None:
        self._strict = strict
        self._url = f"{controller_url}/_local/service-event"
        self._clock = clock
        self._faults = faults
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._deliver, name="delivery", daemon=True).start()

    def announce(self, stack: Any, status: str, reason: str, token: str | None) -> None:
        """Say that a stack has a new status."""
        detail: dict[str, Any] = {
            "stack-id": stack.stack_id,
            "status-details": {"status": status, "status-reason": reason},
        }
        if token:
            detail["client-request-token"] = token
        self.say(
            ServiceEvent(
                source="aws.cloudformation",
                detail_type=AwsEvent.STACK_STATUS,
                account=stack.account_id,
                region=stack.region_name,
                resource=stack.stack_id,
                detail=detail,
                status=status,
                environment=stack.tags.get("mayfly:environment", stack.name.removeprefix("mayfly-")),
            )
        )

    def say(self, said: ServiceEvent) -> None:
        """Send an event to wherever the rules want it."""
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": said.detail_type,
            "source": said.source,
            "account": said.account,
            "time": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": said.region,
            "resources": [said.resource],
            "detail": said.detail,
        }
        names = (said.status, said.detail_type)
        fault = self._faults.take("event", event=names, environment=said.environment)
        for bus in _buses_for(event, str(event["region"]) if self._strict else REGION):
            self._send({**event, "event-bus": bus}, fault or {"effect": None})

    def _send(self, event: dict[str, Any], fault: Fault) -> None:
        match fault["effect"]:
            case "lose":
                return
            case "delay":
                timer = threading.Timer(fault["seconds"], self._waiting.put, [event])
                timer.daemon = True
                timer.start()
                return
            case "duplicate":
                self._waiting.put(event)
        self._waiting.put(event)

    @property
    def idle(self) -> bool:
        """Whether no event is on its way, but those that a fault delays."""
        return not self._waiting.unfinished_tasks

    def _deliver(self) -> None:
        while True:
            event = self._waiting.get()
            for attempt in range(DELIVERY_ATTEMPTS):
                if self._post(event):
                    break
                time.sleep(min(0.1 * 2**attempt, 2.0))
            self._waiting.task_done()

    def _post(self, event: dict[str, Any]) -> bool:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self._url, json.dumps(event).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS):
                return True
        except OSError as error:
            print(f"event not delivered to {event['event-bus']}: {error}", flush=True)  # noqa: T201 - the log
            return isinstance(error, urllib.error.HTTPError)  # there is no such bus: AWS drops what goes there


def _buses_for(event: dict[str, Any], region: str) -> list[str]:
    """Names of the other account's buses to which rules on a Region's default bus send the event."""
    from moto.events.models import events_backends  # late: moto is imported once its clock is replaced

    # moto knows only some of the patterns; these are tried on what AWS recorded (tests/conformance).
    eventbridge: Any = importlib.import_module("ministack.services.eventbridge")
    seen = eventbridge._event_from_test_payload(event)
    rules = events_backends[event["account"]][region].describe_event_bus("default").rules.values()
    arns = [
        target["Arn"]
        for rule in rules
        if rule.state == "ENABLED" and eventbridge._matches_pattern(rule.event_pattern.dump(), seen)
        for target in rule.targets
    ]
    buses = [arn.split(":", 5)[4:] for arn in arns if ":event-bus/" in arn]
    return [bus.removeprefix("event-bus/") for account, bus in buses if account != event["account"]]
