"""An installation of Mayfly and a workload account, simulated around the real functions and the real machines.

Time is virtual. A call of a function happens at once and by itself; between two of them there is always a moment in
which anything else may happen. What must never happen is noted in `violations`, at the call that did it.
"""

import importlib.util
import json
import logging
import sys
import tarfile
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import IO, Any, Literal, cast

from botocore.exceptions import ClientError, ReadTimeoutError

from mayfly.aws import attempts, clients, records
from mayfly.aws.kill_switch import Turn
from mayfly.domain import tags
from mayfly.observability import logger
from tests import envelopes
from tests.inline import Inline
from tests.model import workload_api
from tests.model.clients import Boto3, refusal
from tests.model.controller import S3, SNS, SQS, SSM, STS, Events, StepFunctions
from tests.model.dynamodb import DynamoDB, plain
from tests.model.interpreter import Execution, Failure, Machines
from tests.model.timeline import Timeline
from tests.model.workload import Account, Everywhere, Resource, Stack

type Json = dict[str, Any]
type Moment = Literal["before", "after"]
type Failing = Literal["throttled", "reply lost", "dies before", "dies after"]
type Version = Literal["this", "before"]
type Kind = Literal["environment", "release", "rollout", "service", "bake", "family", "channel"]
type Fate = Literal["lost", "late", "twice"]

ROOT = Path(__file__).resolve().parents[2]
PREVIOUS = ROOT / "tests" / "e2e" / "previous.tar.xz"
START = datetime(2026, 11, 24, 6, 45, tzinfo=UTC)
TABLE, QUEUE = "mayfly-records", "https://sqs.us-east-1.amazonaws.com/111111111111/mayfly-dead-letters"
CONTROLLER, STRANGER = "111111111111/us-east-1/mayfly", "999999999999/us-east-1/mayfly"
ENVIRONMENT_MACHINE = "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-run-environment"
RELEASE_MACHINE = "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-run-release"
ACCOUNTS = ("222222222222", "333333333333")
LIFETIME, CEILING = 30, 90
"""Minutes that an environment lives at first, and at most."""
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
    "MAYFLY_ACCOUNTS": ",".join(ACCOUNTS),
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
    "warn_minutes_before": [15, 5],
}
SUITES = {
    "webshop": [{"name": "smoke", "retries": 1}, {"name": "look", "kind": "manual"}],
    "billing": [{"name": "smoke"}],
}
"""The suites of each application; each lives in an account of its own."""
_OWN_MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a function raises by a mistake of its own, and never on purpose."""
_TRIES = (60, 120)
"""Seconds after which Lambda repeats an asynchronous invocation that failed."""

BLUEPRINT = (
    "{Parameters: {InstanceCount: {Type: Number}}, Resources: {Fleet: {Type: 'AWS::AutoScaling::AutoScalingGroup'}}}"
)


class Died(BaseException):
    """The function's process ended: nothing in it catches that."""


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
def definition(name: str, version: Version = "this") -> Json:
    """A machine as the template of a version deploys it: its placeholders are filled in."""
    file = f"statemachines/{name}.asl.json"
    if version == "this":
        text = (ROOT / file).read_text()
    else:
        with tarfile.open(PREVIOUS) as packed:
            text = cast(IO[bytes], packed.extractfile(file)).read().decode()
    for file in ROOT.glob("functions/*/app.py"):
        each = file.parent.name
        text = text.replace("${" + each.title().replace("_", "") + "}", each)
    text = text.replace("${Table}", TABLE).replace("${Facts}", "mayfly-facts")
    text = text.replace("${TestsMachine}", SETTINGS["MAYFLY_TESTS_MACHINE_ARN"])
    text = text.replace("${PromotionMachine}", SETTINGS["MAYFLY_PROMOTION_MACHINE_ARN"])
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
    woken: list[str] = field(default_factory=list)
    """Environments whose executions were told that their time is over."""


@dataclass
class Faults:
    """What is to go wrong next. Each fault happens once."""

    calls_until: int | None = None
    """Calls to AWS that go well before one fails."""
    call: Failing = "throttled"
    deaths: dict[str, Moment] = field(default_factory=dict)
    """Functions that die, before or after they did their work."""
    events: deque[Fate] = field(default_factory=deque)
    """What becomes of CloudFormation's next events."""
    one_at_a_time: float = 0
    """Seconds that a function runs, where another is throttled meanwhile; 0 where many may run at once."""
    busy_until: float = 0
    down: dict[str, float] = field(default_factory=dict)
    """Until when a service of the controller account answers nothing; "workload" is all of the workload account."""

    def quiet(self, now: float) -> bool:
        """Whether nothing goes wrong with the next call."""
        return self.calls_until is None and not self.deaths and not any(until > now for until in self.down.values())

    def throttles(self, now: float) -> bool:
        """Whether Lambda runs no function now. If it does, it is busy from now on."""
        if self.one_at_a_time and now < self.busy_until:
            return True
        self.busy_until = now + self.one_at_a_time
        return False

    def clear(self) -> None:
        self.calls_until, self.one_at_a_time = None, 0
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

    SWEEPS_EVERY = 300
    """Seconds. Few where something else happens: the histories of lives have the many."""

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
        number = count(1)
        self.account = Everywhere([Account(one, self.timeline, self._stack_turned, number) for one in ACCOUNTS])
        self.dynamodb, self.sqs, self.sns, self.ssm = DynamoDB(self.timeline), SQS(), SNS(), SSM()
        self.events, self.s3, self.stepfunctions = Events(), S3(), StepFunctions(lambda: self.machines)
        self.next = workload_api.Next()
        self._services: dict[tuple[str, str], Any] = {
            ("", "dynamodb"): self.dynamodb,
            ("", "sqs"): self.sqs,
            ("", "sns"): self.sns,
            ("", "ssm"): self.ssm,
            ("", "s3"): self.s3,
            ("", "events"): self.events,
            ("", "sts"): STS(),
            ("", "stepfunctions"): self.stepfunctions,
        }
        for account in self.account.accounts:
            arguments = (account, self._read, self._destroying)
            cloudformation = workload_api.CloudFormation(*arguments)
            cloudformation.next = self.next
            self._services |= {
                (account.name, "cloudformation"): cloudformation,
                (account.name, "ec2"): workload_api.EC2(*arguments),
                (account.name, "resourcegroupstaggingapi"): workload_api.Tagging(*arguments),
                (account.name, "autoscaling"): workload_api.AutoScaling(*arguments),
                (account.name, "logs"): workload_api.Logs(*arguments),
                (account.name, "ssm"): workload_api.SSM(*arguments),
                (account.name, "s3"): workload_api.S3(*arguments),
                (account.name, "service-quotas"): workload_api.ServiceQuotas(*arguments),
            }
        self.machines = Machines(
            self.timeline,
            {},
            {
                "arn:aws:states:::lambda:invoke": self._invoke_by_machine,
                "arn:aws:states:::events:putEvents": self._put_events,
                "arn:aws:states:::aws-sdk:dynamodb:updateItem": partial(
                    self._integrate, "dynamodb", "update_item", "DynamoDb"
                ),
                "arn:aws:states:::states:startExecution": lambda _: None,  # the interpreter's own
            },
        )
        self.deploy("this")
        self.lifetime, self.ceiling = LIFETIME, CEILING
        self.configure(LIFETIME, CEILING)
        self.ssm.parameters["/mayfly/images/base/stable"] = "ami-12c6146b"
        self.s3.objects["fleet.yaml"] = BLUEPRINT.encode()
        self.records_were_lost = False
        self.timeline.after(self.SWEEPS_EVERY, self._scheduled_sweep)

    def deploy(self, version: Version) -> None:
        """Deploys the machines of a version. An execution ends on the definition that it began with."""
        machines = {ENVIRONMENT_MACHINE: "run_environment", RELEASE_MACHINE: "run_release"}
        self.events.of_this_version &= version == "this"
        self.machines.definitions = {arn: definition(name, version) for arn, name in machines.items()}

    def configure(self, lifetime: int, ceiling: int) -> None:
        """Configures the applications: minutes that an environment lives at first, and at most."""
        self.lifetime, self.ceiling = lifetime, ceiling
        lives = {"lifetime_minutes": lifetime, "ceiling_minutes": ceiling}
        for (name, suites), account in zip(SUITES.items(), ACCOUNTS, strict=True):
            own = {"account": account, "suites": suites}
            self.ssm.parameters[f"/mayfly/applications/{name}"] = json.dumps(APPLICATION | own | lives)

    @contextmanager
    def installed(self, monkeypatch: Any) -> Iterator["World"]:
        """Puts this world in AWS's place."""
        monkeypatch.setattr(clients, "boto3", Boto3(self.call))
        monkeypatch.setattr(attempts, "threads", Inline)
        monkeypatch.setattr(records, "of_item", partial(self.dynamodb.read_once, records.of_item))
        noticing = Noticing(self.violations)
        logging.getLogger(logger.name).addHandler(noticing)
        clients.controller.cache_clear()
        yield self
        logging.getLogger(logger.name).removeHandler(noticing)
        clients.controller.cache_clear()

    # ---- calls to AWS

    def call(self, token: str, service: str, operation: str, params: Json) -> Json:
        """One call of a client. The session is the controller's own where it has no token."""
        account, _, session = token.rpartition("/")
        if self.faults.down.get("workload" if session else service, 0) > self.timeline.now:
            self.disturb()
            raise refusal("ServiceUnavailableException", "The service is down")
        fault = self._fault_of_call()
        if fault == "throttled" or (fault and not self._invocation):  # a machine does not die
            raise refusal("ThrottlingException", "Rate exceeded")
        if fault == "dies before":
            raise Died(operation)
        if operation == "get_parameter" and params["Name"].endswith("/kill-switch") and self._invocation:
            self._invocation.switch_read = True
        if params.get("error") == "Overdue" and self._invocation:
            self._invocation.woken.append(self.machines.holder(params["taskToken"]))
        reply: Json = getattr(self._services[account, service], operation)(session, **params)
        if fault == "dies after":
            raise Died(operation)
        if fault:
            raise ReadTimeoutError(endpoint_url=operation)
        return reply

    def _fault_of_call(self) -> Failing | None:
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
                self._capped(event, answer, list(self.machines.executions.values())[before:], own.woken)
            if death == "after":
                raise Died(name)
            return answer
        except _OWN_MISTAKES as error:
            self.violations.append(f"{name} broke: {error!r}")
            raise
        finally:
            self._invocation = outer

    def _invoke_by_machine(self, arguments: Json) -> Json:
        if self.faults.throttles(self.timeline.now):
            raise Failure("Lambda.TooManyRequestsException", "Rate Exceeded")
        try:
            return {"Payload": self.invoke(arguments["FunctionName"], arguments["Payload"])}
        except Died as death:
            raise Failure("Runtime.ExitError", f"{death} died") from None
        except Exception as error:
            kind = type(error).__name__
            raise Failure(kind, json.dumps({"errorMessage": str(error), "errorType": kind})) from None

    def deliver(self, name: str, event: Json, tries: int = 0) -> Any:
        """Invokes a function asynchronously: it is tried three times, then the message goes to the dead letters. Where
        Lambda throttles it, it keeps it for hours."""
        if self.faults.throttles(self.timeline.now):
            self.timeline.after(3, lambda: self.deliver(name, event, tries))
            return None
        if not tries:
            self.delivered.append((name, event))
        try:
            return self.invoke(name, event)
        except (Exception, Died) as error:
            if tries < len(_TRIES):
                self.timeline.after(_TRIES[tries], lambda: self.deliver(name, event, tries + 1))
            else:
                self.sqs.messages.append(json.dumps({"function": name, "reason": repr(error), "message": event}))
            return None

    def on_the_bus(self, detail_type: str, detail: Json, source: str = "mayfly.api") -> Json:
        """An event as a rule of EventBridge hands it over."""
        at = self.timeline.moment.isoformat(timespec="seconds").replace("+00:00", "Z")
        identity = f"6a7e8feb-b491-4cf7-a9f1-{next(self.account.number):012d}"
        return envelopes.event(detail_type, detail, source, identity=identity, at=at)

    def on_the_topic(self, text: str) -> Json:
        """A notification as a subscription of SNS hands it over."""
        identity = f"95df01b4-ee98-5cb9-9903-{next(self.account.number):012d}"
        return envelopes.notification("mayfly_webshop_topic", text, identity, self.timeline.text)

    def sweep(self, dry_run: bool = False) -> Json:
        """A sweep by hand."""
        report: Json = self.invoke("sweep_environments", {"now": self.timeline.text, "dry_run": dry_run})
        return report

    def _scheduled_sweep(self) -> None:
        report = self.deliver("sweep_environments", {"now": self.timeline.text})
        if report:
            self.reports.append(report)
        self.timeline.after(self.SWEEPS_EVERY, self._scheduled_sweep)

    # ---- CloudFormation's events

    def _stack_turned(self, stack: Stack, status: str) -> None:
        detail = {"stack-id": stack.id, "status-details": {"status": status, "status-reason": ""}}
        detail["client-request-token"] = stack.asked
        event = self.on_the_bus("CloudFormation Stack Status Change", detail, "aws.cloudformation")
        self.bring("resume_environment", event, stack.name.removeprefix("mayfly-"))

    def bring(self, function: str, event: Json, environment: str | None = None) -> None:
        """Brings an event of AWS's, if it is not lost."""
        fate = self.faults.events.popleft() if self.faults.events else None
        bring = partial(self.deliver, function, event)
        if fate:
            self.disturb(environment)
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

    def _capped(self, event: Json, answer: Json, started: list[Execution], woken: list[str]) -> None:
        """Of what it decides by tags alone, one sweep ends three, or 30 per cent, or as many as a person lets through.
        What a record says is ended, or past a deadline of its own, binds no cap, and halts no sweep."""
        labels = [stack.labels for stack in self.account.stacks.values() if stack.there]
        labels += [one.labels for one in self.account.resources.values() if one.there]
        named = {each.get(tags.ENVIRONMENT, "") for each in labels}
        stacks = {stack.name.removeprefix("mayfly-") for stack in self.account.stacks.values() if stack.there}
        allowed = max(3, int(len(named | stacks) * 0.3), event.get("detail", {}).get("at_most", 0))
        ends = [
            execution.input["environment"] for execution in started if execution.input.get("begin") == "termination"
        ]
        by_tags = [each for each in (*woken, *ends) if not self._is_due(self.record(each))]
        if len(by_tags) > allowed:
            self.violations.append(f"a sweep ends {by_tags} of {len(named | stacks)} at once")
        may_bind = {each for each in named | stacks | set(self.environments()) if not self._is_due(self.record(each))}
        if "may be" in answer["halted"] and len(may_bind) <= 3:
            self.violations.append(f"a sweep halts, and {sorted(may_bind)} is all that a cap is for")

    def _is_due(self, record: Json) -> bool:
        """Whether a whole record says that its environment's time is over."""
        whole = all(name in record for name in ("deadline", "ceiling", "planned_at"))
        return whole and ("ending" in record or record["deadline"] <= self.timeline.text)

    # ---- looking at it

    @property
    def switch(self) -> str:
        said = self.ssm.parameters.get("/mayfly/kill-switch", "off")
        return Turn(**json.loads(said)).said if said.startswith("{") else said

    def record(self, environment: str, kind: Kind = "environment") -> Json:
        """A record as it is, without a call that could fail."""
        if self.dynamodb.lost:
            return {}
        item = self.dynamodb.items.get(f"{kind}#{environment}")
        return self.dynamodb.read_once(lambda _, it: plain(it), "plain", item) if item else {}

    def environments(self) -> list[str]:
        """The environments that were ever begun, in their order."""
        names = [name for machine, name in self.machines.executions if machine == ENVIRONMENT_MACHINE]
        return list(dict.fromkeys(name.partition("__")[0] for name in names))

    def stack_of(self, environment: str) -> Stack | None:
        return self.account.named(f"mayfly-{environment}")

    def lose_table(self) -> None:
        """The table is deleted."""
        self.dynamodb.delete()
        self.records_were_lost = True

    def restore_table(self, items: Json) -> None:
        """The table is restored as it was once."""
        self.dynamodb.restore(items)
        self.records_were_lost = True


def is_ours_to_end(environment: str, labels: dict[str, str], protected: bool) -> bool:
    """What the guard has to say, said once more and independently."""
    whose = labels.get(tags.ENVIRONMENT), labels.get(tags.BAKE)
    mine = labels.get(tags.CONTROLLER) == CONTROLLER and environment in whose
    return mine and tags.PROTECTED not in labels and not protected


def _about(event: Json) -> str | None:
    """The environment that an event names, None where it is about many or unclear."""
    named = (event.get("order") or event.get("detail")) if isinstance(event, dict) else None
    if not isinstance(named, dict):
        return None
    stack = str(named.get("stack-id", ""))
    return stack.split("/")[1].removeprefix("mayfly-") if "/" in stack else named.get("environment")
