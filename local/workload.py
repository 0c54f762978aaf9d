"""The workload account: moto's server with boot times, status events, time, measurements and faults.

Run by `LocalCloud` as `python -m local.workload`; all settings come from the environment. Besides AWS's API it
answers `/_local/health`, `/_local/clock`, `/_local/ledger`, `/_local/faults`, `/_local/settings` and
`/_local/fleet`.

Faults (`cloud.fault("workload", ...)`, all with `environment`: glob and `times`):

    {"action": glob, "error": code, "status": 400, "message": text, "when": "before" | "after", "rate": 0.2}
        an API call fails; "after" it has had its effect. The glob fits `DescribeStacks` or
        `cloudformation:DescribeStacks`. The environment is the role session name of the caller.
    {"stack": "create", "effect": ...}
        instances_never_signal, insufficient_capacity   `instances` of them; the group fails to create
        fail        the resource (`resource`; default: the group) fails with `reason`
        rollback    the same, and the stack rolls back whatever OnFailure says
        slow        instances take `seconds` to boot
    {"stack": "delete", "effect": ...}
        delete_failed   the resource (`resource`) stays, with `reason`
        slow            it takes `seconds`
    {"event": status, "effect": "lose" | "duplicate" | "delay"}
        a stack's status event is not delivered, delivered twice, or `seconds` later
"""

from __future__ import annotations

import io
import json
import os
import queue
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import moto.core.utils
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from local.clock import VirtualClock
from local.desk import PREFIX, Desk
from local.faults import Fault, Faults, end_with_parent

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

REGION = "us-east-1"
DELIVERY_ATTEMPTS = 5


def main() -> None:
    """Serve until the parent process ends or SIGTERM arrives."""
    end_with_parent(int(os.environ["MAYFLY_LOCAL_PARENT"]))
    workload = Workload(
        os.environ["MAYFLY_LOCAL_CONTROLLER_URL"],
        float(os.environ["MAYFLY_LOCAL_BOOT_SECONDS"]),
        float(os.environ["MAYFLY_LOCAL_DELETE_SECONDS"]),
    )
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    class QuietHandler(MotoRequestHandler):
        """Keeps connections open, as AWS does, and logs no requests: the ledger has them."""

        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    port = int(os.environ["MAYFLY_LOCAL_PORT"])
    make_server("127.0.0.1", port, workload, threaded=True, request_handler=QuietHandler).serve_forever()


class Workload:
    """moto's WSGI application with the local cloud's own routes in front of it."""

    def __init__(self, controller_url: str, boot_seconds: float, delete_seconds: float) -> None:
        self._desk = desk = Desk()
        _install_time(desk.clock)
        # moto's modules are imported from here on: they take its clock along.
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from local.stacks import Stacks, Timing

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.RLock()
        self._sessions: dict[str, str] = {}  # access key -> role session name
        self._timing = Timing(boot_seconds, delete_seconds)
        delivery = _Delivery(controller_url, desk.clock, desk.faults)
        stacks = Stacks(desk.clock, desk.faults, self._timing, self._lock, delivery.announce)
        stacks.install()
        desk.offer("GET", "fleet", lambda _: stacks.fleet())
        desk.offer("POST", "settings", lambda body: self._set(**body))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if not environ["PATH_INFO"].startswith(PREFIX):
            return self._aws(environ, body, start_response)
        status, answer = self._desk.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
        start_response(f"{status} {'OK' if status == 200 else 'Bad Request'}", headers)
        return [answer]

    # ---- AWS's API --------------------------------------------------------------------------------------

    def _aws(self, environ: Environ, body: bytes, start_response: StartResponse) -> Iterable[bytes]:
        call = _read_call(environ, body)
        environment = self._sessions.get(call.access_key)
        names = (call.action, f"{call.service}:{call.action}")
        fault = self._desk.faults.take("action", action=names, environment=environment)
        started, at = time.monotonic(), self._desk.clock.iso()
        if fault and fault.get("when", "before") == "before":
            answer = _fault_answer(call, fault)
        else:
            answer = self._ask_moto(environ)
            answer = _fault_answer(call, fault) if fault else answer
        if call.action == "AssumeRole" and answer.code == 200:
            self._remember_session(call, answer.body)
        self._desk.ledger.append(
            {
                "service": call.service,
                "action": call.action,
                "at": at,
                "environment": environment,
                "page": call.page,
                "error": answer.error,
                "ms": round((time.monotonic() - started) * 1000, 1),
                "bytes_out": len(answer.body),
            }
        )
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _ask_moto(self, environ: Environ) -> _Answer:
        """One call at a time: moto is not made for threads, and is busy computing anyway."""
        with self._lock:
            application: Any = self._moto.get_application(environ)
            parts, status, headers = run_wsgi_app(application, environ)
            return _Answer(status, list(headers), b"".join(parts))

    def _remember_session(self, call: _Call, body: bytes) -> None:
        key = re.search(rb"<AccessKeyId>([^<]+)", body)
        if key:
            self._sessions[key.group(1).decode()] = call.parameters.get("RoleSessionName", [""])[0]

    def _set(self, boot_seconds: float | None = None, delete_seconds: float | None = None) -> dict[str, float]:
        timing = self._timing
        timing.boot_seconds = timing.boot_seconds if boot_seconds is None else boot_seconds
        timing.delete_seconds = timing.delete_seconds if delete_seconds is None else delete_seconds
        return {"boot_seconds": timing.boot_seconds, "delete_seconds": timing.delete_seconds}


def _install_time(clock: VirtualClock) -> None:
    """moto uses real time; creation and launch times follow the virtual clock."""
    original: Any = moto.core.utils.utcnow

    def utcnow() -> Any:
        return clock.now().replace(tzinfo=None)

    for module in list(sys.modules.values()):
        if getattr(module, "utcnow", None) is original:
            module.utcnow = utcnow  # type: ignore[attr-defined]


# ---- calls and answers ---------------------------------------------------------------------------------


@dataclass
class _Call:
    service: str
    action: str
    access_key: str
    parameters: dict[str, Any]  # lists of strings in the query protocols
    query: bool  # one of the query protocols, which answer in XML

    @property
    def page(self) -> bool:
        """Whether the call asks for a further page."""
        names = ("NextToken", "ExclusiveStartKey", "nextToken", "PaginationToken")
        return any(self.parameters.get(name) for name in names)


@dataclass
class _Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.status.split()[0])

    @property
    def error(self) -> str | None:
        """AWS's error code, if this is an error."""
        if self.code < 400:
            return None
        found = re.search(rb'<Code>([^<]+)|"(?:__type|code)"\s*:\s*"(?:[^"]*#)?([^"]+)"', self.body)
        return (found.group(1) or found.group(2)).decode() if found else str(self.code)


def _read_call(environ: Environ, body: bytes) -> _Call:
    """Service and key come from the signature, the action from the protocol's own place for it."""
    signature = re.search(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    access_key, service = signature.groups() if signature else ("", "unknown")
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        parameters = json.loads(body) if body.startswith(b"{") else {}
        return _Call(service, target.rpartition(".")[2], access_key, parameters, query=False)
    parameters = urllib.parse.parse_qs(body.decode(errors="replace") or environ.get("QUERY_STRING", ""))
    action = parameters.get("Action")
    name = action[0] if action else f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
    return _Call(service, name, access_key, parameters, query=bool(action))


def _fault_answer(call: _Call, fault: Fault) -> _Answer:
    """The error in the form in which the called service writes errors."""
    code, message = fault["error"], fault.get("message", f"injected: {fault['error']}")
    status = int(fault.get("status", 400))
    if call.query:
        kind, text = "text/xml", _xml_error(call.service, escape(code), escape(message), status)
    else:
        kind, text = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    body = text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-ErrorType", code)]
    return _Answer(f"{status} Error", headers, body)


def _xml_error(service: str, code: str, message: str, status: int) -> str:
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    request = uuid.uuid4()
    if service == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request}</RequestID></Response>"
    side = "Sender" if status < 500 else "Receiver"
    return f"<ErrorResponse><Error><Type>{side}</Type>{error}</Error><RequestId>{request}</RequestId></ErrorResponse>"


# ---- status events -------------------------------------------------------------------------------------


class _Delivery:
    """Brings stacks' status changes through this account's EventBridge to the buses of the controller account.

    moto emits no service events. As on AWS, one arrives somewhere only if a rule on the default bus matches it
    and names a bus there; events keep their order unless a fault delays one.
    """

    def __init__(self, controller_url: str, clock: VirtualClock, faults: Faults) -> None:
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
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "CloudFormation Stack Status Change",
            "source": "aws.cloudformation",
            "account": stack.account_id,
            "time": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": stack.region_name,
            "resources": [stack.stack_id],
            "detail": detail,
        }
        environment = stack.tags.get("mayfly:environment", stack.name.removeprefix("mayfly-"))
        fault = self._faults.take("event", event=status, environment=environment)
        for bus in _buses_for(event):
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

    def _deliver(self) -> None:
        while True:
            event = self._waiting.get()
            for attempt in range(DELIVERY_ATTEMPTS):
                if self._post(event):
                    break
                time.sleep(0.1 * 2**attempt)

    def _post(self, event: dict[str, Any]) -> bool:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self._url, json.dumps(event).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10):
                return True
        except OSError as error:
            print(f"event not delivered to {event['event-bus']}: {error}", flush=True)  # noqa: T201 - the log
            return False


def _buses_for(event: dict[str, Any]) -> list[str]:
    """Names of the other account's buses to which rules on this account's default bus send the event."""
    from moto.events.models import events_backends

    rules = events_backends[event["account"]][event["region"]].describe_event_bus("default").rules.values()
    message: Any = event
    arns = [
        target["Arn"]
        for rule in rules
        if rule.state == "ENABLED" and rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(message)
        for target in rule.targets
    ]
    buses = [arn.split(":", 5)[4:] for arn in arns if ":event-bus/" in arn]
    return [bus.removeprefix("event-bus/") for account, bus in buses if account != event["account"]]


if __name__ == "__main__":
    main()
