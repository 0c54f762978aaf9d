"""An installation of Mayfly and a workload account, simulated around the real functions and the real machines.

Time is virtual. A call of a function happens at once and by itself; between two of them there is always a moment in
which anything else may happen. What must never happen is noted in `violations`, at the call that did it.
"""

import importlib.util
import json
import logging
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

from botocore.exceptions import ClientError, ReadTimeoutError

from mayfly.aws import attempts, clients
from mayfly.aws.kill_switch import Turn
from mayfly.domain import tags
from mayfly.observability import logger
from tests.inline import Inline
from tests.model import workload_api
from tests.model.clients import Boto3, refusal
from tests.model.controller import S3, SNS, SQS, SSM, STS, Events, StepFunctions
from tests.model.dynamodb import DynamoDB, plain
from tests.model.interpreter import Execution, Failure, Machines
from tests.model.timeline import Timeline
from tests.model.workload import Account, Resource, Stack

type Json = dict[str, Any]
type Moment = Literal["before", "after"]
type Fate = Literal["lost", "late", "twice"]

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 11, 24, 6, 45, tzinfo=UTC)
TABLE, QUEUE = "mayfly-records", "https://sqs.us-east-1.amazonaws.com/111111111111/mayfly-dead-letters"
CONTROLLER, STRANGER = "111111111111/us-east-1/mayfly", "999999999999/us-east-1/mayfly"
ENVIRONMENT_MACHINE = "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-run-environment"
RELEASE_MACHINE = "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-run-release"
LIFETIME, CEILING = 30, 90
"""Minutes that an environment lives at first, and at most."""
SWEEP_EVERY = 300
SETTINGS = {
    "MAYFLY_TABLE": TABLE,
    "MAYFLY_CONTROLLER": CONTROLLER,
    "MAYFLY_RELEASE_MACHINE_ARN": RELEASE_MACHINE,
    "MAYFLY_ENVIRONMENT_MACHINE_ARN": ENVIRONMENT_MACHINE,
    "MAYFLY_SHOW_MACHINE_ARN": "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-show-release",
    "MAYFLY_BAKE_MACHINE_ARN": "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-bake-image",
    "MAYFLY_TESTS_MACHINE_ARN": "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-run-tests",
    "MAYFLY_PROMOTION_MACHINE_ARN": "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-promote-image",
    "MAYFLY_DEAD_LETTERS_URL": QUEUE,
    "MAYFLY_BLUEPRINTS_BUCKET": "mayfly-blueprints",
    "MAYFLY_REPORTS_BUCKET": "mayfly-reports",
    "MAYFLY_BUS": "mayfly",
    "MAYFLY_FACTS": "mayfly-facts",
    "MAYFLY_ROLLOUT_MACHINE_ARN": "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-roll-out",
    "MAYFLY_PARAMETERS": "/mayfly",
    "MAYFLY_ACCOUNTS": "222222222222",
    "MAYFLY_WORKLOAD_ROLE": "mayfly-workload",
    "MAYFLY_STACK_ROLE": "mayfly-cloudformation",
    "MAYFLY_RECORD_DAYS": "90",
    "MAYFLY_SWEEP_MOST": "20",
    "MAYFLY_SWEEP_PERCENT": "30",
    "MAYFLY_RETIRE_MOST": "100",
}
APPLICATION = {
    "owner": "team-shop@example.com",
    "owner_topic": "arn:aws:sns:us-east-1:111111111111:mayfly-team-shop",
    "blueprint": "fleet.yaml",
    "instance_count": 2,
    "image": {"family": "base"},
    "account": "222222222222",
    "lifetime_minutes": LIFETIME,
    "ceiling_minutes": CEILING,
    "warn_minutes_before": [15, 5],
    "suites": [{"name": "smoke"}, {"name": "look", "kind": "manual"}],
}
_OWN_MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a function raises by a mistake of its own, and never on purpose."""
_TRIES = (60, 120)
"""Seconds after which Lambda repeats an asynchronous invocation that failed."""


class Died(Exception):
    """The function's process ended."""


@cache
def function(name: str) -> ModuleType:
    """The module of a function, loaded as Lambda does it: from its own folder, each under a name of its own here."""
    spec = importlib.util.spec_from_file_location(f"mayfly_model_{name}", ROOT / "functions" / name / "app.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def definition(name: str) -> Json:
    """A machine as the template deploys it: its placeholders are filled in."""
    text = (ROOT / "statemachines" / f"{name}.asl.json").read_text()
    names = (
        "plan_environment",
        "admit_environment",
        "create_environment",
        "confirm_ready",
        "delete_environment",
        "confirm_gone",
    )
    for each in (*names, "start_command", "plan_release", "judge_release"):
        text = text.replace("${" + each.title().replace("_", "") + "}", each)
    text = text.replace("${Table}", TABLE).replace("${Facts}", "mayfly-facts")
    text = text.replace("${TestsMachine}", SETTINGS["MAYFLY_TESTS_MACHINE_ARN"])
    machine: Json = json.loads(text.replace("${EnvironmentMachine}", ENVIRONMENT_MACHINE))
    assert "${" not in json.dumps(machine)
    return machine


@dataclass
class Invocation:
    """One run of a function: whom it is about, and what it has read in it."""

    function: str
    environment: str | None
    seen: dict[str, tuple[dict[str, str], bool]] = field(default_factory=dict)
    """Tags and protection of what was read, by its id."""
    switch_read: bool = False
    woken: int = 0
    """Executions that were told that their time is over."""


@dataclass
class Faults:
    """What is to go wrong next. Each fault happens once."""

    calls_until: int | None = None
    """Calls to AWS that go well before one fails."""
    call: Literal["throttled", "reply lost"] = "throttled"
    deaths: dict[str, Moment] = field(default_factory=dict)
    """Functions that die, before or after they did their work."""
    events: deque[Fate] = field(default_factory=deque)
    """What becomes of CloudFormation's next events."""
    down: dict[str, float] = field(default_factory=dict)
    """Until when a service of the controller account answers nothing; "workload" is all of the workload account."""

    def clear(self) -> None:
        self.calls_until = None
        self.deaths.clear()
        self.events.clear()
        self.down.clear()


class Noticing(logging.Handler):
    """Notices mistakes that a function goes on after."""

    def __init__(self, violations: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._violations = violations

    def emit(self, record: logging.LogRecord) -> None:
        """Notes a mistake of a function's own."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, _OWN_MISTAKES):
            self._violations.append(f"{record.getMessage()}: {error!r}")


class World:
    """Everything there is. Use it inside `with world.installed():`."""

    def __init__(self) -> None:
        self.timeline = Timeline(START)
        self.faults = Faults()
        self.violations: list[str] = []
        self.disturbed: dict[str | None, float] = {}
        """When something last went wrong for an environment, or (None) for all."""
        self.delivered: list[tuple[str, Json]] = []
        """Every message that was brought to a function, with the function."""
        self.reports: list[Json] = []
        self.destroyed: Counter[str] = Counter()
        self._invocation: Invocation | None = None
        self.account = Account(self.timeline, self._stack_turned)
        self.dynamodb, self.sqs, self.sns, self.ssm = DynamoDB(), SQS(), SNS(), SSM()
        self.events, self.s3 = Events(), S3()
        arguments = (self.account, self._read, self._destroying)
        self.cloudformation = workload_api.CloudFormation(*arguments)
        self._services: dict[tuple[bool, str], Any] = {
            (True, "dynamodb"): self.dynamodb,
            (True, "sqs"): self.sqs,
            (True, "sns"): self.sns,
            (True, "ssm"): self.ssm,
            (True, "s3"): self.s3,
            (True, "events"): self.events,
            (True, "sts"): STS(),
            (True, "stepfunctions"): StepFunctions(lambda: self.machines),
            (False, "cloudformation"): self.cloudformation,
            (False, "ec2"): workload_api.EC2(*arguments),
            (False, "resourcegroupstaggingapi"): workload_api.Tagging(*arguments),
            (False, "autoscaling"): workload_api.AutoScaling(*arguments),
            (False, "logs"): workload_api.Logs(*arguments),
            (False, "ssm"): workload_api.SSM(*arguments),
            (False, "s3"): workload_api.S3(*arguments),
        }
        self.machines = Machines(
            self.timeline,
            {ENVIRONMENT_MACHINE: definition("run_environment"), RELEASE_MACHINE: definition("run_release")},
            {
                "arn:aws:states:::lambda:invoke": self._invoke_by_machine,
                "arn:aws:states:::events:putEvents": self._put_events,
                "arn:aws:states:::aws-sdk:dynamodb:updateItem": partial(
                    self._integrate, "dynamodb", "update_item", "DynamoDb"
                ),
                "arn:aws:states:::states:startExecution": lambda _: None,  # the interpreter's own
            },
        )
        self.ssm.parameters["/mayfly/applications/webshop"] = json.dumps(APPLICATION)
        self.ssm.parameters["/mayfly/images/base/stable"] = "ami-12c6146b"
        self.s3.objects["fleet.yaml"] = b"{Parameters: {InstanceCount: {Type: Number}}, Resources: {}}"
        self.records_were_lost = False
        self.timeline.after(SWEEP_EVERY, self._scheduled_sweep)

    @contextmanager
    def installed(self, monkeypatch: Any) -> Iterator["World"]:
        """Puts this world in AWS's place."""
        monkeypatch.setattr(clients, "boto3", Boto3(self.call))
        monkeypatch.setattr(attempts, "threads", Inline)
        noticing = Noticing(self.violations)
        logging.getLogger(logger.name).addHandler(noticing)
        clients.controller.cache_clear()
        yield self
        logging.getLogger(logger.name).removeHandler(noticing)
        clients.controller.cache_clear()

    # ---- calls to AWS

    def call(self, session: str, service: str, operation: str, params: Json) -> Json:
        """One call of a client. The session is the controller's own where it has no name."""
        if self.faults.down.get("workload" if session else service, 0) > self.timeline.now:
            self.disturb()
            raise refusal("ServiceUnavailableException", "The service is down")
        fault = self._fault_of_call()
        if fault == "throttled":
            raise refusal("ThrottlingException", "Rate exceeded")
        if operation == "get_parameter" and params["Name"].endswith("/kill-switch") and self._invocation:
            self._invocation.switch_read = True
        if params.get("error") == "Overdue" and self._invocation:
            self._invocation.woken += 1
        reply: Json = getattr(self._services[not session, service], operation)(session, **params)
        if fault:
            raise ReadTimeoutError(endpoint_url=operation)
        return reply

    def _fault_of_call(self) -> str | None:
        if self.faults.calls_until is None:
            return None
        self.faults.calls_until -= 1
        if self.faults.calls_until >= 0:
            return None
        self.faults.calls_until = None
        self.disturb()
        return self.faults.call

    def disturb(self, environment: str | None = None) -> None:
        """Notes that something went wrong now, for an environment or for all."""
        about = environment or (self._invocation.environment if self._invocation else None)
        self.disturbed[about] = self.timeline.now

    def _integrate(self, service: str, operation: str, prefix: str, arguments: Json) -> Any:
        """A call that a machine makes by itself."""
        try:
            return self.call("", service, operation, json.loads(json.dumps(arguments)))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise Failure(f"{prefix}.{code}", str(error)) from None
        except ReadTimeoutError as error:
            raise Failure(f"{prefix}.SdkClientException", str(error)) from None

    def _put_events(self, arguments: Json) -> Any:
        """Step Functions makes text of the details."""
        entries = [entry | {"Detail": json.dumps(entry["Detail"])} for entry in arguments["Entries"]]
        return self._integrate("events", "put_events", "EventBridge", {"Entries": entries})

    # ---- functions

    def invoke(self, name: str, event: Json) -> Any:
        """Runs a function, as Lambda does: event and answer pass through JSON."""
        context = SimpleNamespace(
            function_name=name,
            memory_limit_in_mb=512,
            invoked_function_arn=f"arn:aws:lambda:us-east-1:111111111111:function:{name}",
            aws_request_id="52fdfc07-2182-454f-963f-5f0f9a621d72",
            get_remaining_time_in_millis=lambda: 60_000,
        )
        outer, self._invocation = self._invocation, Invocation(name, _about(event))
        try:
            death = self.faults.deaths.pop(name, None)
            if death:
                self.disturb()
            if death == "before":
                raise Died(name)
            before, own = len(self.machines.executions), self._invocation
            answer = json.loads(json.dumps(function(name).handler(json.loads(json.dumps(event)), context)))
            if name == "sweep_environments" and "counts" in answer:
                self._capped(event, list(self.machines.executions.values())[before:], own.woken)
            if death == "after":
                raise Died(name)
            return answer
        except _OWN_MISTAKES as error:
            self.violations.append(f"{name} broke: {error!r}")
            raise
        finally:
            self._invocation = outer

    def _invoke_by_machine(self, arguments: Json) -> Json:
        try:
            return {"Payload": self.invoke(arguments["FunctionName"], arguments["Payload"])}
        except Died as death:
            raise Failure("Runtime.ExitError", f"{death} died") from None
        except Exception as error:
            kind = type(error).__name__
            raise Failure(kind, json.dumps({"errorMessage": str(error), "errorType": kind})) from None

    def deliver(self, name: str, event: Json, tries: int = 0) -> Any:
        """Invokes a function asynchronously: it is tried three times, then the message goes to the dead letters."""
        if not tries:
            self.delivered.append((name, event))
        try:
            return self.invoke(name, event)
        except Exception as error:
            if tries < len(_TRIES):
                self.timeline.after(_TRIES[tries], lambda: self.deliver(name, event, tries + 1))
            else:
                self.sqs.messages.append(json.dumps({"function": name, "reason": repr(error), "message": event}))
            return None

    def on_the_bus(self, detail_type: str, detail: Json, source: str = "mayfly.operator") -> Json:
        """An event as a rule of EventBridge hands it over."""
        at = self.timeline.moment.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "version": "0",
            "id": f"6a7e8feb-b491-4cf7-a9f1-{next(self.account.number):012d}",
            "detail-type": detail_type,
            "source": source,
            "account": "111111111111",
            "time": at,
            **({} if source.startswith("aws.") else {"sent": at}),
            "region": "us-east-1",
            "resources": [],
            "detail": detail,
        }

    def on_the_topic(self, text: str) -> Json:
        """A notification as a subscription of SNS hands it over."""
        arn = "arn:aws:sns:us-east-1:111111111111:mayfly_webshop_topic"
        sns: Json = {
            "Type": "Notification",
            "MessageId": f"95df01b4-ee98-5cb9-9903-{next(self.account.number):012d}",
            "TopicArn": arn,
            "Subject": None,
            "Message": text,
            "Timestamp": self.timeline.text,
            "SignatureVersion": "1",
            "Signature": "EXAMPLE",
            "SigningCertUrl": "https://sns.us-east-1.amazonaws.com/EXAMPLE.pem",
            "UnsubscribeUrl": "https://sns.us-east-1.amazonaws.com/EXAMPLE",
            "MessageAttributes": {},
        }
        record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": f"{arn}:1", "Sns": sns}
        return {"Records": [record]}

    def sweep(self, dry_run: bool = False) -> Json:
        """A sweep by hand."""
        report: Json = self.invoke("sweep_environments", {"now": self.timeline.text, "dry_run": dry_run})
        return report

    def _scheduled_sweep(self) -> None:
        report = self.deliver("sweep_environments", {"now": self.timeline.text})
        if report:
            self.reports.append(report)
        self.timeline.after(SWEEP_EVERY, self._scheduled_sweep)

    # ---- CloudFormation's events

    def _stack_turned(self, stack: Stack, status: str) -> None:
        detail = {"stack-id": stack.id, "status-details": {"status": status, "status-reason": ""}}
        event = self.on_the_bus("CloudFormation Stack Status Change", detail, "aws.cloudformation")
        fate = self.faults.events.popleft() if self.faults.events else None
        bring = partial(self.deliver, "resume_environment", event)
        if fate:
            self.disturb(stack.name.removeprefix("mayfly-"))
        if fate != "lost":
            self.timeline.after(900 if fate == "late" else 1, bring)
        if fate == "twice":
            self.timeline.after(7, bring)

    # ---- what must hold at every read and destruction

    def _read(self, _session: str, found: Stack | Resource) -> None:
        if self._invocation:
            self._invocation.seen[found.id] = dict(found.labels), isinstance(found, Stack) and found.protected

    def _destroying(self, session: str, target: Stack | Resource) -> None:
        """Whatever the functions think, this is what the guard must have been asked."""
        protected = isinstance(target, Stack) and target.protected
        seen = self._invocation.seen.get(target.id) if self._invocation else None
        by = f"{self._invocation.function if self._invocation else 'nobody'} as {session} destroys {target.id}"
        if not is_ours_to_end(session, target.labels, protected):
            self.violations.append(f"{by}, tagged {target.labels}" + (" and protected" if protected else ""))
        if seen != (target.labels, protected):
            self.violations.append(f"{by} without a fresh look: it has seen {seen}")
        if self.switch != "off" or not (self._invocation and self._invocation.switch_read):
            self.violations.append(f"{by} with the kill switch at {self.switch}")
        if isinstance(target, Stack):
            self._too_early(session, target, by)
        self.destroyed[target.id] += 1

    def _too_early(self, environment: str, stack: Stack, by: str) -> None:
        """Nothing ends by its deadline before it."""
        record = self.record(environment)
        ended_by = record.get("ending", {}).get("by")
        deadline = record.get("deadline") or stack.labels.get(tags.EXPIRES_AT, "")
        if ended_by == "deadline" and self.timeline.text < deadline and not self.records_were_lost:
            self.violations.append(f"{by} before its deadline {deadline}: {record['ending']}")

    def _capped(self, event: Json, started: list[Execution], woken: int) -> None:
        """One sweep ends three, or 30 per cent, or as many as a person lets through."""
        existing = {stack.name for stack in self.account.stacks.values() if stack.there}
        existing |= {
            f"mayfly-{one.labels.get(tags.ENVIRONMENT)}" for one in self.account.resources.values() if one.there
        }
        allowed = max(3, int(len(existing) * 0.3), event.get("detail", {}).get("at_most", 0))
        ends = woken + sum(execution.input["begin"] == "termination" for execution in started)
        if ends > allowed:
            self.violations.append(f"a sweep ends {ends} of {len(existing)} at once")

    # ---- looking at it

    @property
    def switch(self) -> str:
        said = self.ssm.parameters.get("/mayfly/kill-switch", "off")
        return Turn(**json.loads(said)).said if said.startswith("{") else said

    def record(self, environment: str, kind: Literal["environment", "release"] = "environment") -> Json:
        """A record as it is, without a call that could fail."""
        if self.dynamodb.lost:
            return {}
        return plain(self.dynamodb.items.get(f"{kind}#{environment}", {}))

    def environments(self) -> list[str]:
        """The environments that were ever begun, in their order."""
        names = [name for machine, name in self.machines.executions if machine == ENVIRONMENT_MACHINE]
        return list(dict.fromkeys(name.partition("__")[0] for name in names))

    def stack_of(self, environment: str) -> Stack | None:
        return self.account.named(f"mayfly-{environment}")

    def lose_table(self) -> None:
        """The table is deleted."""
        self.dynamodb.items.clear()
        self.dynamodb.lost = self.records_were_lost = True


def is_ours_to_end(environment: str, labels: dict[str, str], protected: bool) -> bool:
    """What the guard has to say, said once more and independently."""
    mine = labels.get(tags.CONTROLLER) == CONTROLLER and labels.get(tags.ENVIRONMENT) == environment
    return mine and tags.PROTECTED not in labels and not protected


def _about(event: Json) -> str | None:
    """The environment that an event names, None where it is about many or unclear."""
    named = (event.get("order") or event.get("detail")) if isinstance(event, dict) else None
    if not isinstance(named, dict):
        return None
    stack = str(named.get("stack-id", ""))
    return stack.split("/")[1].removeprefix("mayfly-") if "/" in stack else named.get("environment")
