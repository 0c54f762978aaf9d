"""A small world around one function: AWS as moto mocks it, a wire that hears every call, messages as AWS brings them.

Moto knows no waiting executions, so Step Functions' answers to a task token are the wire's: `world.wire.answer`
says which, and `world.settled` is what was told to whom.
"""

import datetime as dt
import importlib.util
import json
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials
from moto.cloudformation.models import Event, cloudformation_backends

from mayfly.domain.ending import digest
from mayfly.domain.records import Entry, Environment, placed, plain
from tests import envelopes
from tests.contract import checked, example
from tests.models import violations

type Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
BLUEPRINT = ROOT / "tests" / "blueprints" / "single.yaml"
REGION = "us-east-1"
CONTROLLER_ACCOUNT, WORKLOAD_ACCOUNT = "111111111111", "222222222222"
KEYS = {CONTROLLER_ACCOUNT: "ASIACONTROLLER000000", WORKLOAD_ACCOUNT: "ASIAWORKLOAD00000000"}
CONTROLLER = f"{CONTROLLER_ACCOUNT}/{REGION}/mayfly"
RELEASE, ENVIRONMENT = "webshop-0-0-1-5e57c22e", "webshop-0-0-1-5e57c22e-smoke"
STACK = f"mayfly-{ENVIRONMENT}"
NOW, LATER, DEADLINE = "2026-11-24T06:47:34.120Z", "2026-11-24T07:07:35.000Z", "2026-11-24T07:47:34.120Z"
CEILING, AFTER = "2026-11-24T10:47:34.120Z", "2026-11-24T08:47:35.000Z"
"""No extension reaches past the one; at the other the deadline has passed by an hour."""
REPORT_TOKEN = "r" * 43
"""What whoever runs the tests of the environment has heard."""
TOKEN, NEXT_TOKEN = "AQB8AAAAKgAAAAMAAAAAAAAAAexample", "AQB8AAAAKgAAAAMAAAAAAAAAAanother"
OURS = {
    "mayfly:environment": ENVIRONMENT,
    "mayfly:application": "webshop",
    "mayfly:controller": CONTROLLER,
    "mayfly:expires-at": DEADLINE,
    "mayfly:ceiling": CEILING,
}
ISSUER = f"https://cognito-idp.{REGION}.amazonaws.com/{REGION}_example"
PUSHED: Json = json.loads((ROOT / "events" / "accept_code_version.json").read_text())["detail"]
APPLICATION: Json = {
    "owner": "team-shop@example.com",
    "blueprint": "single.yaml",
    "parameters": {"SubnetId": ""},
    "instance_count": 1,
    "image": {"family": "base"},
    "account": WORKLOAD_ACCOUNT,
    "owner_topic": f"arn:aws:sns:{REGION}:{CONTROLLER_ACCOUNT}:mayfly-team-shop",
    "lifetime_minutes": 60,
    "ceiling_minutes": 240,
    "warn_minutes_before": [30],
    "suites": [{"name": "smoke"}, {"name": "look", "kind": "manual"}],
}


def an_order(**change: Any) -> Json:
    """The sample order, of one instance."""
    order: Json = json.loads((ROOT / "events" / "create_environment.json").read_text())["order"]
    own = {"blueprint": {"key": "single.yaml", "version_id": None}, "parameters": {}, "instance_count": 1}
    return order | own | change


def creation(**change: Any) -> Json:
    """What the state machine hands to create_environment."""
    return {"order": an_order(), "deadline": DEADLINE, "token": TOKEN, "now": NOW} | change


def deletion(by: str = "tests", **change: Any) -> Json:
    """What the state machine hands to delete_environment at the end of a life."""
    now = AFTER if by == "deadline" else LATER
    return {"order": an_order(), "deadline": DEADLINE, "ended": {"by": by}, "token": TOKEN, "now": now} | change


def on_the_bus(detail_type: str, detail: Any, source: str = "mayfly.api", account: str = CONTROLLER_ACCOUNT) -> Json:
    """An event as a rule of EventBridge hands it to a function."""
    return envelopes.event(detail_type, detail, source, account)


def announced(event: str, **changes: Any) -> Json:
    """An event of Mayfly's own, as a rule of EventBridge hands it to a function."""
    return on_the_bus(event, example(event, **changes), source="mayfly")


def finished(outcome: str = "passed", **more: Any) -> Json:
    """A result by whoever has heard that the environment is ready."""
    heard = {"token": REPORT_TOKEN} if outcome == "passed" else {}
    return on_the_bus("Test Finished", {"environment": ENVIRONMENT, "outcome": outcome} | heard | more)


def on_the_topic(topic: str, text: str) -> Json:
    """A notification as a subscription of SNS hands it to a function."""
    return envelopes.notification(topic, text)


def of_the_stack(stack_id: str, status: str, reason: str = "", request: str = "") -> Json:
    """CloudFormation's own event, as the workload account's rule forwards it."""
    detail = {
        "stack-id": stack_id,
        "status-details": {"status": status, "status-reason": reason},
        "client-request-token": request,
    }
    event = on_the_bus("CloudFormation Stack Status Change", detail, "aws.cloudformation", WORKLOAD_ACCOUNT)
    return event | {"resources": [stack_id]}


def tagged(kind: str, tags: dict[str, str]) -> list[Json]:
    """The TagSpecifications of one resource of EC2."""
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


@dataclass
class Wire:
    """Hears every call to AWS in order, and answers those that a test prepared an answer for."""

    calls: list[tuple[str, Json]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """What AWS's own service models refuse of the calls that were heard."""
    _answers: dict[str, tuple[int, Json]] = field(default_factory=dict)
    _before: dict[str, Callable[[], object]] = field(default_factory=dict)
    _pages: dict[str, Json] = field(default_factory=dict)

    def join(self, session: boto3.Session) -> None:
        """Clients that the session makes from now on are heard."""
        session.events.register("provide-client-params.*.*", self._hear)  # type: ignore[arg-type]  # it may change them
        session.events.register("before-call.*.*", self._reply)  # type: ignore[arg-type]  # it may answer

    def answer(self, operation: str, error: str | None = None, message: str = "", **reply: Any) -> None:
        """From now on, this operation gets this reply, or this error, instead of moto's."""
        self._answers[operation] = (400, {"Error": {"Code": error, "Message": message}}) if error else (200, reply)

    def heard(self, operation: str) -> list[Json]:
        """The parameters of each call of this operation."""
        return [params for name, params in self.calls if name == operation]

    def names(self) -> list[str]:
        """The operations called, in order."""
        return [name for name, _ in self.calls]

    def reset(self) -> None:
        """Hears and answers as if nothing had been."""
        self.calls.clear()
        self._answers.clear()
        self._before.clear()
        self._pages.clear()
        self.violations.clear()
        for operation in ("SendTaskSuccess", "SendTaskFailure"):
            self.answer(operation)

    def recover(self, operation: str) -> None:
        """From now on, this operation gets moto's answer again."""
        del self._answers[operation]

    def forget(self) -> None:
        """What was called until now is of no interest."""
        self.calls.clear()

    def before(self, operation: str, action: Callable[[], object]) -> None:
        """Lets something happen right before the next call of this operation: the moment that makes a race."""
        self._before[operation] = action

    def small_pages(self) -> None:
        """From now on, what is listed comes one by one, as far as moto can be asked for that."""
        self._pages = {
            "ListExecutions": {"maxResults": 1},
            "GetResources": {"ResourcesPerPage": 1},
            "Query": {"Limit": 1},
        }

    def _hear(self, params: Json, model: Any, **_: Any) -> Json | None:
        if action := self._before.pop(model.name, None):
            action()
        self.calls.append((model.name, params))
        # Only noted: what is raised here, code that goes on after a failure would swallow.
        if model.input_shape:
            self.violations += [f"{model.name}{each}" for each in violations(params, model.input_shape)]
        return params | self._pages[model.name] if model.name in self._pages else None

    def _reply(self, model: Any, **_: Any) -> tuple[Any, Json] | None:
        if model.name not in self._answers:
            return None
        status, reply = self._answers[model.name]
        return SimpleNamespace(status_code=status), reply


@cache
def function(name: str) -> ModuleType:
    """The module of a function, loaded as Lambda does it: from its own folder, each under a name of its own here."""
    if str(ROOT / "functions" / name) not in sys.path:
        sys.path.append(str(ROOT / "functions" / name))  # what lies beside it
    spec = importlib.util.spec_from_file_location(f"mayfly_function_{name}", ROOT / "functions" / name / "app.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def session(account: str) -> boto3.Session:
    """A session in an account: moto tells accounts apart by the key that a call carries."""
    made = boto3.Session(KEYS[account], "-", "-", region_name=REGION)
    # Botocore puts its own name together anew at each call, which takes a tenth of it.
    made._session.set_default_client_config(Config(user_agent="mayfly"))
    return made


@dataclass
class Clients:
    """Clients as boto3.client makes them, each made once; whose credentials it has is set anew each time."""

    session: boto3.Session
    made: dict[tuple[str, str, str, object], Any] = field(default_factory=dict)

    def client(
        self,
        service: str,
        config: Any = None,
        region_name: str = REGION,
        endpoint_url: str | None = None,
        aws_access_key_id: str = KEYS[CONTROLLER_ACCOUNT],
        aws_secret_access_key: str = "-",
        aws_session_token: str = "-",
    ) -> Any:
        """What boto3.client takes, as far as Mayfly uses it."""
        whose = "controller" if aws_access_key_id == KEYS[CONTROLLER_ACCOUNT] else "workload"
        place = (service, region_name, whose, config and config.signature_version)
        if place not in self.made:
            self.made[place] = self.session.client(  # type: ignore[call-overload]
                service, config=config, region_name=region_name, endpoint_url=endpoint_url
            )
        if config and config.signature_version is UNSIGNED:
            return self.made[place]
        keys = Credentials(aws_access_key_id, aws_secret_access_key, aws_session_token)
        self.made[place]._request_signer._credentials = keys
        return self.made[place]


@cache
def client(account: str, service: str, region: str = REGION) -> Any:
    """A client of the tests' own, made once for all of them."""
    return session(account).client(service, region_name=region)  # type: ignore[call-overload]


@dataclass
class Items:
    """Records of a kind as a test writes and reads them: as plain items, past whatever Mayfly makes of them."""

    table: str
    kind: str

    @property
    def _dynamodb(self) -> Any:
        return client(CONTROLLER_ACCOUNT, "dynamodb")

    def begin(self, identity: str, facts: Json, entry: Entry, until: datetime, live: bool = True) -> None:
        born = {"id": identity, "born": f"{self.kind}#{entry.at[:10]}", "forget_after": int(until.timestamp())}
        self.change(identity, facts | born | ({"live": self.kind} if live else {}), entry)

    def change(self, identity: str, facts: Json, entry: Entry | None = None, drop: Collection[str] = ()) -> None:
        """Sets attributes of an item, and removes others."""
        item = self.get(identity) or {}
        if entry:
            facts = {"history": [*item.get("history", []), plain(entry)]} | facts
        changed = {key: value for key, value in (item | facts).items() if key not in drop}
        if "live" in drop and "shelf" in item:
            at = str(facts.get("terminated_at", NOW))
            changed |= placed(Environment, identity, str(item.get("application")), at, at[:10])
        changed["pk"] = f"{self.kind}#{identity}"
        written = {key: TypeSerializer().serialize(plain(value)) for key, value in changed.items()}
        self._dynamodb.put_item(TableName=self.table, Item=written)

    def live(self) -> list[Json]:
        """Every item whose story goes on."""
        found = self._dynamodb.query(
            TableName=self.table,
            IndexName="live",
            KeyConditionExpression="live = :kind",
            ExpressionAttributeValues={":kind": {"S": self.kind}},
        )["Items"]
        names = [item["pk"]["S"].partition("#")[2] for item in found]
        return [item for name in names if (item := self.get(name))]

    def get(self, identity: str) -> Json | None:
        """The item as it is, with values as JSON knows them."""
        key = {"pk": {"S": f"{self.kind}#{identity}"}}
        item = self._dynamodb.get_item(TableName=self.table, Key=key, ConsistentRead=True).get("Item")
        read = TypeDeserializer().deserialize
        found = {name: read(value) for name, value in item.items()} if item else None
        return json.loads(json.dumps(found, default=int)) if found else None  # type: ignore[no-any-return]


@dataclass
class World:
    """What a test looks at and changes."""

    wire: Wire
    table: str
    queue: str
    bucket: str
    machine: str
    environment_machine: str
    bus: str
    reports: str
    topic: str
    facts: str = "mayfly-facts"
    promotion_machine: str = ""
    bake_machine: str = ""
    rollout_machine: str = ""

    def call(self, name: str, event: Json) -> Json:
        """Invokes a function. Event and answer pass through JSON, as they do on Lambda."""
        context = SimpleNamespace(
            function_name=name,
            memory_limit_in_mb=512,
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{CONTROLLER_ACCOUNT}:function:{name}",
            aws_request_id="52fdfc07-2182-454f-963f-5f0f9a621d72",
            get_remaining_time_in_millis=lambda: 60_000,
        )
        answer: Json = json.loads(json.dumps(function(name).handler(json.loads(json.dumps(event)), context)))
        return answer

    # ---- the controller account

    def records(self, kind: str = "environment") -> "Items":
        return Items(self.table, kind)

    def own(self, service: str) -> Any:
        """A client in the controller account that the wire does not hear."""
        return client(CONTROLLER_ACCOUNT, service)

    def record(self, identity: str = ENVIRONMENT, kind: str = "environment") -> Json:
        """The record as its item has it, or nothing."""
        return self.records(kind).get(identity) or {}

    def history(self, identity: str = ENVIRONMENT, kind: str = "environment") -> list[str]:
        """What the history says, without who and why."""
        return [entry["what"] for entry in self.record(identity, kind)["history"]]

    def change(self, identity: str = ENVIRONMENT, **facts: Any) -> None:
        """Sets attributes of an environment's record."""
        self.records().change(identity, facts)

    def lose(self, identity: str = ENVIRONMENT) -> None:
        """Loses an environment's record."""
        self.own("dynamodb").delete_item(TableName=self.table, Key={"pk": {"S": f"environment#{identity}"}})

    def dead_letters(self) -> list[Json]:
        """What lies in the dead-letter queue."""
        reply = self.own("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        return [json.loads(letter["Body"]) for letter in reply.get("Messages", [])]

    def executions(self) -> list[str]:
        """The names of the releases' executions."""
        listed = self.own("stepfunctions").list_executions(stateMachineArn=self.machine)["executions"]
        return [execution["name"] for execution in listed]

    def configure(self, name: str = "webshop", **change: Any) -> None:
        """Puts an application's configuration into Parameter Store."""
        self.put(f"/mayfly/applications/{name}", json.dumps(APPLICATION | change))

    def switch(self, said: str = "ops at noon: an incident") -> None:
        """Turns the kill switch on, or to what is said."""
        self.put("/mayfly/kill-switch", said)

    def put(self, parameter: str, value: str) -> None:
        self.own("ssm").put_parameter(Name=parameter, Value=value, Type="String", Overwrite=True)

    def upload(self, text: str, key: str = "single.yaml") -> str:
        """Uploads a blueprint. Returns its version."""
        return str(self.own("s3").put_object(Bucket=self.bucket, Key=key, Body=text.encode())["VersionId"])

    @property
    def settled(self) -> list[Json]:
        """What waiting executions were told, in order."""
        told = ("SendTaskSuccess", "SendTaskFailure")
        return [{"told": name.removeprefix("SendTask"), **params} for name, params in self.wire.calls if name in told]

    @property
    def said(self) -> list[tuple[str, Json]]:
        """What functions announced or asked for, in order; each on the bus for it."""
        entries = [entry for call in self.wire.heard("PutEvents") for entry in call["Entries"]]
        assert {(entry["EventBusName"], entry["Source"]) for entry in entries} <= {
            (self.facts, "mayfly"),
            (self.bus, "mayfly.api"),
        }
        return [(entry["DetailType"], checked(entry["DetailType"], json.loads(entry["Detail"]))) for entry in entries]

    def run(self, name: str = ENVIRONMENT) -> str:
        """Starts an execution of a life, as far as its name goes. Returns its ARN."""
        started = self.own("stepfunctions").start_execution(stateMachineArn=self.environment_machine, name=name)
        return str(started["executionArn"])

    def started(self) -> dict[str, Json]:
        """The executions of lives that functions asked for: their names and inputs."""
        calls = self.wire.heard("StartExecution")
        mine = [call for call in calls if call["stateMachineArn"] == self.environment_machine]
        assert len({call["name"] for call in mine}) == len(mine)
        return {call["name"]: json.loads(call["input"]) for call in mine}

    # ---- an environment's life, up to where a test takes over

    def planned(self, **change: Any) -> None:
        """Its record exists."""
        self.call("plan_environment", {"order": an_order(**change), "now": NOW})

    def created(self) -> str:
        """Its stack stands, and an execution waits for it. Returns the stack's id."""
        self.planned()
        return str(self.call("create_environment", creation())["stack"])

    def ready(self) -> str:
        """Its instance runs, and an execution waits for its tests. Returns the stack's id."""
        stack = self.created()
        self.call("confirm_ready", {"order": an_order(), "stack": stack, "now": NOW})
        known = {"report_token": digest(REPORT_TOKEN)}
        self.change(stage="awaiting tests", waiting={"for": "tests", "token": TOKEN}, **known)
        return stack

    # ---- the workload account

    def there(self, service: str) -> Any:
        """A client in the workload account that the wire does not hear."""
        return client(WORKLOAD_ACCOUNT, service)

    def stack(self, stack: str = STACK) -> Json | None:
        """A stack of the workload account as CloudFormation shows it, or None."""
        stacks = self.there("cloudformation").describe_stacks()["Stacks"]
        return next((dict(found) for found in stacks if stack in (found["StackName"], found["StackId"])), None)

    def made_by_hand(self, tags: dict[str, str]) -> str:
        """A stack under the environment's name that somebody made. Returns its id."""
        note = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "note", "Type": "String", "Value": "by hand"}}
        created = self.there("cloudformation").create_stack(
            StackName=STACK,
            TemplateBody=json.dumps({"Resources": {"Note": note}}),
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        return str(created["StackId"])

    def stand(self, name: str, tags: dict[str, str], region: str = REGION, account: str = WORKLOAD_ACCOUNT) -> str:
        """A stack of this name, which holds nothing but a note. Returns its id."""
        note = {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Name": f"/by-hand/{name}", "Type": "String", "Value": "-"},
        }
        created = client(account, "cloudformation", region).create_stack(
            StackName=name,
            TemplateBody=json.dumps({"Resources": {"Note": note}}),
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        stack = cloudformation_backends[account][region].get_stack(created["StackId"])
        stack.creation_time = dt.datetime.fromisoformat(NOW).replace(tzinfo=None)  # moto's is the real time
        return str(created["StackId"])

    def set_stack(self, stack_id: str, **state: Any) -> None:
        """Puts a stack into a state that moto, where all is synchronous, never shows."""
        stack = cloudformation_backends[WORKLOAD_ACCOUNT][REGION].get_stack(stack_id)
        for name, value in state.items():
            assert hasattr(stack, name)
            setattr(stack, name, value)

    def report(
        self,
        stack_id: str,
        resource: str,
        status: str,
        reason: str,
        kind: str = "AWS::EC2::Instance",
        physical: str = "i-1",
    ) -> None:
        """Adds an event of the stack's resources: moto tells of the stack itself only."""
        stack = cloudformation_backends[WORKLOAD_ACCOUNT][REGION].get_stack(stack_id)
        stack.events.append(
            Event(
                stack_id=stack_id,
                stack_name=stack.name,
                logical_resource_id=resource,
                physical_resource_id=physical,
                resource_type=kind,
                resource_status=status,
                resource_status_reason=reason,
                resource_properties=None,
            )
        )

    def launch(self, tags: dict[str, str] = OURS, count: int = 1) -> list[str]:
        """Starts instances outside of any stack, with the environment's tags or others. Returns their ids."""
        started = self.there("ec2").run_instances(
            ImageId="ami-12c6146b",
            MinCount=count,
            MaxCount=count,
            TagSpecifications=tagged("instance", tags),
        )
        return [instance["InstanceId"] for instance in started["Instances"]]

    def states(self) -> dict[str, str]:
        """Every instance of the workload account and its state."""
        reservations = self.there("ec2").describe_instances()["Reservations"]
        return {found["InstanceId"]: found["State"]["Name"] for each in reservations for found in each["Instances"]}
