"""The controller account: MiniStack with IAM enforced, adapted to AWS, measured, and breakable.

Run by `LocalCloud` as a copy of `origin.py` or as `python -m local.controller.server`; all settings come from the
environment. Besides AWS's API it answers `/_local/health`, `/_local/clock`, `/_local/ledger`, `/_local/crashes`,
`/_local/faults`, `/_local/hosts`, `/_local/save`, `/_local/service-event` and `/_local/token`; and on a port of its own
the console (see `gateway.py`).

Faults (`cloud.fault("controller", ...)`):

    {"function": glob, "environment": glob, "effect": ..., "times": n}
        die_before  the sandbox dies before the function runs (Runtime.ExitError)
        die_after   the function runs with all its effects, then its sandbox dies (Runtime.ExitError)
        hang        `seconds` later it is reported as timed out (Sandbox.Timedout), without having run
        throttle    Lambda refuses the invocation (Lambda.TooManyRequestsException)
    {"event": {"detail-type": glob, "status": glob, "environment": glob}, "effect": "lose" | "duplicate"}
        any event on any bus of this account
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import importlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local.clock import VirtualClock
from local.cloud import ask
from local.controller import builds, gateway, lag, names, schedules, stepfunctions
from local.controller.kept import Kept
from local.controller.sandboxes import Forks
from local.controller.web import Web
from local.desk import PREFIX, Desk
from local.faults import Fault, Faults, end_with_parent, sit_out
from local.forks import RUN
from mayfly.contract.vocabulary import AwsEvent

Json = dict[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Json]]
Send = Callable[[Json], Awaitable[None]]

STACK_PREFIX = "mayfly-"
# Enough to overlap calls, few enough for two cores: an invocation beyond it waits for a free worker.
WORKERS_PER_FUNCTION = 3
RETRY_SECONDS = (
    0.2  # before the second try of an asynchronous invocation, for a minute on AWS; twice that before the third
)


def main() -> None:
    """Serves until the parent process ends."""
    end_with_parent(int(os.environ["MAYFLY_LOCAL_PARENT"]))
    console = int(os.environ["MAYFLY_LOCAL_CONSOLE_PORT"])
    controller = Controller(float(os.environ["MAYFLY_LOCAL_RETRY_SCALE"]), console)
    config = Config()
    config.bind = [f"127.0.0.1:{port}" for port in (os.environ["GATEWAY_PORT"], console)]
    config.keep_alive_timeout = 75
    asyncio.run(serve(controller, config))  # type: ignore[arg-type] # its types know no plain ASGI callable


class Controller:
    """MiniStack's ASGI application with the local cloud's own routes in front of it."""

    def __init__(self, retry_scale: float, console: int) -> None:
        self._desk, self._console = (desk := Desk()), console
        self._kept = Kept(Path(os.environ["STATE_DIR"]), always=bool(os.environ["MAYFLY_LOCAL_DURABLE"]))
        desk.clock.advance(self._kept.offset)
        desk.offer("POST", "service-event", _put_service_event)
        desk.offer("POST", "token", _sign_token)
        desk.offer("POST", "save", lambda _: self._save())
        desk.offer("POST", "kill", lambda _: self._kill())
        self._ministack = _ministack("app")
        _require_iam(self._ministack)
        _install_transport(self._ministack)
        _install_authorization()
        # MiniStack removes the containers of earlier runs when it starts; we use none, and own none.
        self._ministack._stop_docker_containers = lambda *_: None
        self._resume = stepfunctions.install(desk.clock, retry_scale)
        _install_time(desk.clock)
        if os.environ["MAYFLY_LOCAL_STRICT"]:
            lag.install(desk.clock)
        schedules.install()
        builds.install()
        names.install()
        (web := Web()).install()
        desk.offer("POST", "hosts", web.stand_in)
        self._invoke_later = partial(_invoke_later, desk.clock, self._kept)
        _install_events(desk.faults, self._invoke_later)
        _install_parameter_events(desk.clock)
        _install_queues()
        _install_gateway(desk.clock)
        _install_invocations(desk.clock, desk.faults, desk.ledger)
        workload = f"{os.environ['MAYFLY_WORKLOAD_ENDPOINT_URL']}{PREFIX}clock"
        desk.offer("POST", "clock", lambda body: self._move(body, workload))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["server"][1] == self._console:
            scope, send = gateway.as_on_aws(scope, send)
        elif scope["type"] == "http":
            send = self._noting_crashes(scope, send)
            if self._kept.holds_back(scope["path"], dict(scope["headers"])):
                send = self._once_kept(send)
        elif scope["type"] == "lifespan":
            send = self._resuming(send)
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._ministack.app(scope, receive, send)
            return
        status, body = self._desk.answer(scope["method"], scope["path"], await _body(receive))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _noting_crashes(self, scope: Scope, send: Send) -> Send:
        """AWS's services have no errors of their own here: a 500 is one of MiniStack, whose log has the traceback."""

        async def send_on(message: Json) -> None:
            if message.get("status") == 500:
                target = dict(scope["headers"]).get(b"x-amz-target", b"").decode()
                self._desk.crashed(None, f"500 for {scope['method']} {scope['path']} {target}")
            await send(message)

        return send_on

    def _once_kept(self, send: Send) -> Send:
        """AWS has what it says that it has taken."""

        async def send_on(message: Json) -> None:
            if message["type"] == "http.response.start":
                await asyncio.to_thread(self._kept.wait)
            await send(message)

        return send_on

    def _resuming(self, send: Send) -> Send:
        """As soon as MiniStack has taken back what was saved, executions go on, and schedules count anew: it would fire
        each at once."""

        async def send_on(message: Json) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._resume()
                self._kept.go_on(self._invoke_again)
                scheduler, now = _ministack("services.scheduler"), self._desk.clock.time()
                scheduler._schedule_last_fired |= dict.fromkeys(scheduler._schedules._data, now)
            await send(message)

        return send_on

    def _invoke_again(self, function: str, event: Json) -> None:
        """Brings a function what an earlier server had on its way to it."""
        with _ministack("core.responses").request_scope(os.environ["MINISTACK_ACCOUNT_ID"], "us-east-1"):
            self._invoke_later(function, event)

    def _move(self, body: Json, workload: str) -> bool:
        """Moves the clocks of both accounts, unless a function runs; what is due by schedule begins right away."""
        moved = self._desk.clock.jump(body["advance"], lambda: bool(ask("POST", workload, body)))
        if moved:
            self._kept.offset = self._desk.clock.offset
            _ministack("services.scheduler")._tick_schedules()
        return moved

    def _save(self) -> None:
        """Write all that is known to the state directory, which a server that starts with it takes back."""
        self._kept.save()
        self._kept.offset = self._desk.clock.offset

    def _kill(self) -> bool:
        """Save, and end as by SIGKILL; not while a function runs or an event is on its way to one."""
        if self._desk.clock.held:
            return False
        self._save()
        os.kill(os.getpid(), signal.SIGKILL)
        return True


def _ministack(module: str) -> Any:
    """A module of MiniStack, which has no type information, as a value of type Any."""
    return importlib.import_module(f"ministack.{module}")


def _require_iam(app: Any) -> None:
    if not getattr(app, "AUTH", False):
        installed = metadata.version("ministack")
        raise SystemExit(f"MiniStack {installed} does not enforce IAM: the local cloud needs 1.5.33 or later")


async def _body(receive: Receive) -> bytes:
    received, more = b"", True
    while more:
        message = await receive()
        received += message.get("body", b"")
        more = message.get("more_body", False)
    return received


# ---- permissions ---------------------------------------------------------------------------------------


def _install_authorization() -> None:
    """MiniStack asks for GetParametersByPath on `*`; AWS asks for it on the path, which policies here name. Of
    PutEvents, AWS knows whose events they say they are, and which; of items, their partition keys. A bus's own policy
    is asked, also about the administrator."""
    actions = _ministack("core.iam_actions")
    extract, context = actions.extract_resource_arn, actions.request_tag_context

    def request_context(service: str, action: str, body: bytes, params: Any) -> Json:
        known: Json = context(service, action, body, params)
        if action == "events:PutEvents":
            entries = json.loads(body).get("Entries", [])
            known["events:source"] = [entry.get("Source") for entry in entries]
            known["events:detail-type"] = [entry.get("DetailType") for entry in entries]
        if action.startswith("dynamodb:") and (keys := _leading_keys(json.loads(body or b"{}"))):
            known["dynamodb:LeadingKeys"] = keys
        return known

    def extract_resource_arn(
        service: str, method: str, path: str, headers: Any, body: bytes, query: Any, region: str, account: str
    ) -> str:
        if service == "ssm" and actions._action_from_target(headers) == "GetParametersByPath":
            asked = json.loads(body)["Path"].strip("/")
            return f"arn:aws:ssm:{region}:{account}:parameter/{asked}"
        return str(extract(service, method, path, headers, body, query, region, account))

    actions.extract_resource_arn, actions.request_tag_context = extract_resource_arn, request_context
    _install_bus_policies()


def _leading_keys(asked: Json) -> list[str]:
    """The partition keys of the items that a request is about, as `dynamodb:LeadingKeys` has them."""
    items = [asked.get("Key"), asked.get("Item")]
    items += [key for table in asked.get("RequestItems", {}).values() if "Keys" in table for key in table["Keys"]]
    found = [item["pk"]["S"] for item in items if item and "pk" in item]
    if condition := re.match(r"\s*\S+\s*=\s*(:\w+)", asked.get("KeyConditionExpression", "")):
        found.append(asked["ExpressionAttributeValues"][condition[1]]["S"])
    return found


def _install_transport(app: Any) -> None:
    """AWS's endpoints are reached by TLS; this one is not, and stands for them."""
    pin = app.pin_request_origin
    app.pin_request_origin = lambda address, _secure: pin(address, True)


def _install_bus_policies() -> None:
    evaluator, eventbridge = _ministack("core.iam_evaluator"), _ministack("services.eventbridge")
    handlers = _ministack("services.cloudformation.provisioners")._RESOURCE_HANDLERS["AWS::Events::EventBus"]
    create, update, enforce = handlers["create"], handlers["update"], evaluator.enforce

    def keep_policy(name: str, properties: Json) -> None:
        if policy := properties.get("Policy"):
            eventbridge._event_bus_policies[name] = policy
        else:
            eventbridge._event_bus_policies.pop(name, None)

    def create_bus(logical_id: str, properties: Json, stack: str) -> Any:
        created = create(logical_id, properties, stack)
        keep_policy(created[0], properties)
        return created

    def update_bus(name: str, old: Json, new: Json, stack: str) -> Any:
        updated = update(name, old, new, stack)
        keep_policy(updated[0], new)
        return updated

    def enforce_bus(key: str, action: str, service: str, region: str, **more: Any) -> Any:
        denied = enforce(key, action, service, region, **more)
        arn = more.get("resource_arn", "*")
        policy = eventbridge._event_bus_policies.get(arn.rpartition("/")[2]) if action == "events:PutEvents" else None
        if denied or not policy:
            return denied
        account = os.environ["MINISTACK_ACCOUNT_ID"]
        principal = evaluator.resolve_principal(key or "", account)
        asked = evaluator.EvalContext(_role_of(principal.arn), principal.type, account, action, arn, region)
        if evaluator.evaluate_resource_policy(policy, asked).decision != "Deny":
            return None
        return evaluator.EvalResult("Deny", principal.arn, resource_policy_arn=arn)

    handlers |= {"create": create_bus, "update": update_bus}
    evaluator.enforce = enforce_bus


def _role_of(principal: str) -> str:
    """What aws:PrincipalArn says of somebody: the role, not its session."""
    arn, session, rest = principal.partition(":assumed-role/")
    return f"{arn.replace(':sts:', ':iam:')}:role/{rest.split('/')[0]}" if session else principal


# ---- time ----------------------------------------------------------------------------------------------


class _Time:
    """The `time` module with a virtual `time()`, for a module that calls it directly."""

    def __init__(self, clock: VirtualClock) -> None:
        self.time = clock.time
        self.sleep = time.sleep
        self.monotonic = time.monotonic


class _VirtualDatetime(datetime):
    """`datetime` with a virtual `now()`: MiniStack stamps with it when EventBridge took an event."""

    clock: VirtualClock

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(cls.clock.time(), tz)


def _install_time(clock: VirtualClock) -> None:
    """MiniStack uses real time; events, schedule rules and EventBridge Scheduler follow the virtual clock."""
    eventbridge = _ministack("services.eventbridge")
    eventbridge._now_ts, eventbridge.datetime = clock.time, _VirtualDatetime
    _VirtualDatetime.clock = clock
    scheduler = _ministack("services.scheduler")
    scheduler.time = _Time(clock)
    tick, one_at_a_time = scheduler._tick_schedules, threading.Lock()

    def tick_schedules() -> None:
        with one_at_a_time:
            tick()

    scheduler._tick_schedules = tick_schedules
    if os.environ["MAYFLY_LOCAL_SCHEDULES"] == "jumps":
        scheduler.start_scheduler = lambda: None


# ---- events --------------------------------------------------------------------------------------------


def _install_events(faults: Faults, invoke_later: Callable[[str, Json], None]) -> None:
    eventbridge, sns = _ministack("services.eventbridge"), _ministack("services.sns")
    dispatch = eventbridge._dispatch_event

    def dispatch_event(event: Json, view: Any = None) -> None:
        fault = faults.take("event", event=_event_facts(event))
        for _ in range({"lose": 0, "duplicate": 2}.get(fault["effect"], 1) if fault else 1):
            dispatch(event, view)

    def deliver_message(endpoint: str, envelope: str, _topic: str, subscription: str, *_: Any) -> None:
        record = {
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscription,
            "EventSource": "aws:sns",
            "Sns": json.loads(envelope),
        }
        invoke_later(endpoint, {"Records": [record]})

    invoke_target = eventbridge._invoke_target

    def invoke_scheduled(target: Json, event: Json, rule: Json, view: Any = None) -> None:
        """MiniStack hands a schedule's input on as it stands; EventBridge Scheduler puts its context attributes in."""
        if event["Source"] == "aws.scheduler" and target.get("Input"):
            moment = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            target = target | {"Input": target["Input"].replace("<aws.scheduler.scheduled-time>", moment)}
        invoke_target(target, event, rule, view)

    eventbridge._invoke_target = invoke_scheduled
    eventbridge._dispatch_event = dispatch_event
    eventbridge._dispatch_to_lambda = lambda arn, payload: invoke_later(arn, json.loads(payload))
    sns._deliver_to_lambda = deliver_message


def _invoke_later(clock: VirtualClock, kept: Kept, function_arn: str, event: Json) -> None:
    """MiniStack invokes functions once for rules and subscriptions. On AWS these are asynchronous invocations: two
    retries, then the function's OnFailure destination."""
    lambdas = _ministack("services.lambda_svc")
    function, config, name = lambdas._get_func_record_for_ref(function_arn)
    if not function or not config:
        print(f"no function {name} to deliver an event to", flush=True)  # noqa: T201 - the server's log
        return
    record = lambdas._execution_record_for_config(function, config)
    # MiniStack looks for the $LATEST configuration only, and stores an unqualified one elsewhere.
    record["event_invoke_config"] = lambdas._event_invoke_config(function, "$LATEST") or (
        lambdas._event_invoke_config(function, None)
    )
    begun, context = threading.Event(), contextvars.copy_context()

    def deliver() -> None:
        with kept.on_its_way(function_arn, event):
            _deliver(clock, begun, record, event)

    threading.Thread(target=context.run, args=(deliver,), daemon=True).start()
    begun.wait()


def _deliver(clock: VirtualClock, begun: threading.Event, function: Json, event: Json) -> None:
    """Invoke a function for an event, three times at most by default; then the event goes to the OnFailure destination.

    Time does not jump while an event is on its way.
    """
    lambdas, name = _ministack("services.lambda_svc"), (function.get("config") or function)["FunctionName"]
    config = function.get("event_invoke_config") or {}
    with clock.hold():
        begun.set()
        for attempt in range(1 + int(config.get("MaximumRetryAttempts", 2))):
            time.sleep(attempt * RETRY_SECONDS)
            if not (result := lambdas._execute_function(function, event)).get("error"):
                return
        if destination := config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"):
            lambdas._route_async_failure(destination, name, event, result)


def _install_queues() -> None:
    """MiniStack looks for the queue of an event source mapping at the port that it has now; one that was taken back
    from a saved cloud is known by the port of that time."""
    sqs = _ministack("services.sqs")
    url_now = sqs._queue_url

    def queue_url(name: str) -> str:
        return sqs._queue_name_to_url.get(name) or url_now(name)  # type: ignore[no-any-return]

    sqs._queue_url = queue_url


def _install_parameter_events(clock: VirtualClock) -> None:
    """MiniStack keeps quiet about parameters. On AWS, Parameter Store says each change on the account's default bus."""
    ssm = _ministack("services.ssm")
    put = ssm._put_parameter

    def put_parameter(asked: Json) -> Any:
        name = asked.get("Name", "")
        operation = "Update" if name in ssm._parameters else "Create"
        status, headers, body = put(asked)
        if status == 200:
            kept = ssm._parameters[name]
            _put_service_event(
                {
                    "id": str(uuid.uuid4()),
                    "source": "aws.ssm",
                    "detail-type": AwsEvent.PARAMETER_CHANGED,
                    "detail": {"name": name, "operation": operation, "type": kept["Type"]},
                    "time": clock.iso(),
                    "resources": [kept["ARN"]],
                    "account": os.environ["MINISTACK_ACCOUNT_ID"],
                }
            )
        return status, headers, body

    ssm._put_parameter = put_parameter


def _put_service_event(event: Json) -> None:
    """Put an event of an AWS service, of whichever account, on a bus of this account."""
    eventbridge, responses = _ministack("services.eventbridge"), _ministack("core.responses")
    account = os.environ["MINISTACK_ACCOUNT_ID"]
    with responses.request_scope(account, "us-east-1"):
        bus = event.get("event-bus", "default")
        if bus != "default" and bus not in eventbridge._event_buses:
            raise LookupError(f"there is no event bus {bus}")
        eventbridge._dispatch_event(
            {
                "EventId": event["id"],
                "Source": event["source"],
                "DetailType": event["detail-type"],
                "Detail": json.dumps(event["detail"]),
                "EventBusName": bus,
                "Time": event["time"],
                "Resources": event.get("resources", []),
                "Account": event["account"],
                "Region": event.get("region", "us-east-1"),
            }
        )


def _event_facts(event: Json) -> Json:
    try:
        detail = json.loads(event.get("Detail") or "{}")
    except ValueError:
        detail = {}
    status = (detail.get("status-details") or {}).get("status") or detail.get("status")
    environment = environment_of(None, {"detail": detail})
    return {"detail-type": event.get("DetailType"), "status": status, "environment": environment}


# ---- API Gateway -------------------------------------------------------------------------------------


def _install_gateway(clock: VirtualClock) -> None:
    """Requests are taken at the virtual time. Tokens are not: who has signed in stays so when time is moved."""
    lambdas = _ministack("services.lambda_svc")
    invoke = lambdas._execute_function_with_config_scope

    def invoke_now(record: Json, event: Any, *arguments: Any) -> Any:
        if "timeEpoch" in (_inside(event, "requestContext") or {}):  # type: ignore[operator]
            event["requestContext"]["timeEpoch"] = int(clock.time() * 1000)
        return invoke(record, event, *arguments)

    lambdas._execute_function_with_config_scope = invoke_now


def _sign_token(asked: Json) -> str:
    """A token as a user pool signs it, with any claims: an expired one cannot be waited for."""
    return str(_ministack("services.cognito")._signed_jwt(asked["claims"], asked["pool"], "access"))


# ---- Lambda --------------------------------------------------------------------------------------------


def _install_invocations(clock: VirtualClock, faults: Faults, ledger: list[Json]) -> None:
    lambdas, runtime = _ministack("services.lambda_svc"), _ministack("core.lambda_runtime")
    _improve_worker(runtime)
    last = threading.local()  # the worker of this thread's invocation, and what it answered
    places: Mapping[str, threading.BoundedSemaphore] = defaultdict(
        lambda: threading.BoundedSemaphore(WORKERS_PER_FUNCTION)
    )
    invoke_worker, execute = runtime.Worker.invoke, lambdas._execute_function_warm

    def invoke(worker: Any, *arguments: Any, **options: Any) -> Json:
        last.worker = worker
        last.answer = invoke_worker(worker, *arguments, **options)
        last.memory_mb = _peak_memory_mb(worker._proc)
        return last.answer  # type: ignore[no-any-return]

    def run(function: Json, event: Any, request_id: str) -> Json:
        """MiniStack reports every exception as Runtime.HandlerError and then ends the worker; on AWS the type is
        the exception's, and the sandbox stays warm."""
        last.answer, last.worker, last.memory_mb = {}, None, None
        # MiniStack starts any number of workers. Here an invocation waits for one of a few.
        with places[(function.get("config") or function)["FunctionName"]]:
            last.started = time.monotonic()  # on AWS, nobody pays for a wait like this one
            result: Json = execute(function, event, request_id)
        if "errorType" in last.answer:
            trace = last.answer["trace"]
            body = {"errorMessage": last.answer["error"], "errorType": last.answer["errorType"]}
            body["stackTrace"] = trace.splitlines()
            result = {"error": True, "body": body, "log": f"{result.get('log', '')}\n{trace}"}
        return result

    def execute_warm(function: Json, event: Any, request_id: str) -> Json:
        name = (function.get("config") or function)["FunctionName"]
        fault = faults.take("function", function=name, environment=environment_of(None, event))
        at, last.started = clock.iso(), time.monotonic()
        last.answer, last.memory_mb = {}, None
        with clock.hold():
            if fault and fault["effect"] == "hang":
                clock.let_go()
            result = _failed(fault) if fault and fault["effect"] != "die_after" else run(function, event, request_id)
        ms = round((time.monotonic() - last.started) * 1000, 1)
        if fault and fault["effect"] == "die_after":
            result = _failed(fault)
            if last.worker and last.worker._proc:
                last.worker._proc.kill()
                last.worker._proc.wait(10)  # or the next invocation is handed to the one that dies
        body = result.get("body")
        ledger.append(
            {
                "function": name,
                "at": at,
                "ms": ms,
                "memory_mb": (function.get("config") or function)["MemorySize"],
                "peak_mb": last.memory_mb,
                "cold": last.answer.get("cold_start"),
                "error": (body or {}).get("errorType", "Unknown") if result.get("error") else None,
                "environment": environment_of(body, event),
                "payload_bytes": len(json.dumps(event)),
            }
        )
        return result

    runtime.Worker.invoke = invoke
    lambdas._execute_function_warm = execute_warm


def _improve_worker(runtime: Any) -> None:
    """The script in which a function runs: report an exception as an answer, with its type, instead of as the
    end of the worker, and end with the server.

    An idle worker ends when the server does (its standard input closes); one that is busy, or hangs, would
    stay behind.
    """
    script = runtime._PYTHON_WORKER_SCRIPT
    told = '"status": "error", "error": str(e), "trace": traceback.format_exc()'
    if told not in script:
        raise SystemExit("MiniStack's Lambda worker has changed: adapt local/controller.py")
    script = script.replace(told, told.replace('"error",', '"ok",', 1) + ', "errorType": type(e).__name__')
    watch = (Path(__file__).parents[1] / "faults.py").read_text()
    watch = watch[watch.index("def end_with_parent") :]
    head = "import os, threading, time\n" + watch + "\nend_with_parent(os.getppid())\n"
    runtime._PYTHON_WORKER_SCRIPT = head + script
    runtime.zipfile = _UnpackedOnce()
    if os.environ["MAYFLY_LOCAL_FORKS"] == "1" and sys.platform == "linux":
        runtime.subprocess = Forks()


class _UnpackedOnce:
    """The `zipfile` module for MiniStack's workers, each of which unpacks code and layer anew and removes thousands of
    files when it ends. On AWS they are read only; here all workers of a run share what was unpacked once."""

    BadZipFile, LargeFileError = zipfile.BadZipFile, zipfile.LargeZipFile

    def __init__(self) -> None:
        self._place, self._lock = Path(os.environ.get(RUN) or tempfile.gettempdir()), threading.Lock()

    @contextmanager
    def ZipFile(self, file: str) -> Iterator[_Unpacked]:  # noqa: N802 - it stands for the class of this name
        """Unpacks the file, unless one of this content was."""
        packed = Path(file)
        with self._lock:
            if not (place := self._place / hashlib.sha256(packed.read_bytes()).hexdigest()).exists():
                with zipfile.ZipFile(packed) as content:
                    content.extractall(part := tempfile.mkdtemp(dir=self._place))
                with suppress(OSError):  # another cloud of this run was quicker
                    Path(part).rename(place)
        packed.unlink()
        yield _Unpacked(place)


@dataclass(frozen=True)
class _Unpacked:
    """A file that was unpacked already, as MiniStack asks for it."""

    place: Path

    def namelist(self) -> list[str]:
        """MiniStack looks for members outside of the target; Python's own `extractall` makes none."""
        return []

    def extractall(self, target: str) -> None:
        """Puts what was unpacked there."""
        Path(target).rmdir()
        Path(target).symlink_to(self.place)


def _peak_memory_mb(process: Any) -> float | None:
    """The most memory that the worker ever held, as Linux counts it."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)
    except (AttributeError, OSError, IndexError, ValueError):
        return None


def _failed(fault: Fault) -> Json:
    """The result of an invocation that a fault made fail."""
    match fault["effect"]:
        case "throttle":
            body = {
                "__type": "TooManyRequestsException",
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "errorType": "Lambda.TooManyRequestsException",
                "errorMessage": "Rate Exceeded.",
                "message": "Rate Exceeded.",
            }
            return {"error": True, "throttle": True, "body": body, "log": ""}
        case "hang":
            sit_out(fault, 1)
            return _error_result("Sandbox.Timedout", "Error: Task timed out")
        case "die_before" | "die_after":
            return _error_result("Runtime.ExitError", "Error: Runtime exited with error: signal: killed")
        case unknown:
            raise ValueError(f"there is no effect {unknown!r} on functions")


def _error_result(kind: str, message: str) -> Json:
    return {"error": True, "body": {"errorType": kind, "errorMessage": message}, "log": message}


def environment_of(result: object, payload: object) -> str | None:
    """The environment that an invocation worked for: its result says so, or its payload, or its stack."""
    for place in (result, payload, _inside(payload, "order"), _inside(payload, "detail")):
        environment = _inside(place, "environment")
        if isinstance(environment, str):
            return environment
    stack_id = _inside(_inside(payload, "detail"), "stack-id")
    if isinstance(stack_id, str) and ":stack/" in stack_id:
        return stack_id.partition(":stack/")[2].partition("/")[0].removeprefix(STACK_PREFIX)
    return None


def _inside(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


if __name__ == "__main__":
    main()
