"""The workload account: moto's server with boot times, status events, time, measurements and faults.

Run by `LocalCloud` as `python -m local.workload`; all settings come from the environment. Besides AWS's API it
answers `/_local/health`, `/_local/clock`, `/_local/ledger`, `/_local/faults`, `/_local/settings`, `/_local/fleet`,
`/_local/balancers` and `/_local/fewest-healthy`.

Faults (`cloud.fault("workload", ...)`, all with `environment`: glob and `times`):

    {"action": glob, "error": code, "status": 400, "message": text, "when": "before" | "after", "rate": 0.2}
        an API call fails; "after" it has had its effect. The glob fits `DescribeStacks` or
        `cloudformation:DescribeStacks`. The environment is the role session name of the caller.
    {"stack": "create", "effect": ...}
        instances_never_signal, insufficient_capacity   `instances` of them; the group fails to create
        fail        the resource (`resource`; default: the group) fails with `reason`
        rollback    the same, and the stack rolls back whatever OnFailure says
        slow        instances take `seconds` to boot
    {"stack": "update", "effect": ...}
        fail        the resource (`resource`; default: the group) fails with `reason` if it changes; all is rolled back
        slow        it takes `seconds`
    {"stack": "delete", "effect": ...}
        delete_failed   the resource (`resource`) stays, with `reason`
        slow            it takes `seconds`
    {"event": status or detail type, "effect": "lose" | "duplicate" | "delay"}
        an event of a service (a stack's status, a builder's or an image's state, a command's status) is not
        delivered, delivered twice, or `seconds` later. The environment of what belongs to a bake is the bake id.

The faults of builders, images and commands are described in `local/machines.py` and `local/images.py`, those of
services in `local/groups.py`.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any
from xml.sax.saxutils import escape

import moto.core.utils
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from local.clock import VirtualClock
from local.delivery import Delivery
from local.desk import PREFIX, Desk
from local.faults import Fault, end_with_parent

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def main() -> None:
    """Serve until the parent process ends or SIGTERM arrives."""
    end_with_parent(int(os.environ["MAYFLY_LOCAL_PARENT"]))
    workload = Workload(os.environ["MAYFLY_LOCAL_CONTROLLER_URL"], json.loads(os.environ["MAYFLY_LOCAL_TIMING"]))
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

    def __init__(self, controller_url: str, timing: dict[str, float]) -> None:
        self._desk = desk = Desk()
        _install_time(desk.clock)
        # moto's modules are imported from here on: they take its clock along.
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from local.alarms import Alarms
        from local.drift import Drift
        from local.groups import Groups
        from local.images import Images
        from local.machines import Machines
        from local.refreshes import Refreshes
        from local.stacks import Stacks, Timing
        from local.traffic import Wire
        from local.updates import Updates

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.RLock()
        self._sessions: dict[str, str] = {}  # access key -> role session name
        self._timing = Timing(**timing)
        delivery = Delivery(controller_url, desk.clock, desk.faults)
        stacks = Stacks(desk.clock, desk.faults, self._timing, self._lock, delivery.announce)
        stacks.install()
        Updates(stacks).install()
        Drift(stacks).install()
        wire = Wire(desk.clock)
        groups = Groups(wire, stacks)
        groups.install()
        groups.each.append(Alarms(wire, self._lock, delivery.say).tick)
        Refreshes(groups, delivery.say).install()
        Machines(desk.faults, self._timing, self._lock, delivery.say).install()
        Images(desk.clock, desk.faults, self._timing, self._lock, delivery.say).install()
        desk.offer("GET", "fleet", lambda _: stacks.fleet())
        desk.offer("GET", "balancers", lambda _: groups.balancers())
        desk.offer("DELETE", "fewest-healthy", lambda _: groups.watch_fewest())
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
            answer = _no_recipes(call) if call.service == "imagebuilder" else self._ask_moto(environ)
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

    def _set(self, **seconds: float) -> dict[str, float]:
        vars(self._timing).update(asdict(replace(self._timing, **seconds)))
        return asdict(self._timing)


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


def _no_recipes(call: _Call) -> _Answer:
    """moto has no Image Builder: nobody has recipes here, which whoever looks for the use of images has to ask."""
    lists = {
        "POST /ListImageRecipes": "imageRecipeSummaryList",
        "POST /ListContainerRecipes": "containerRecipeSummaryList",
    }
    if call.action not in lists:
        return _fault_answer(call, {"error": "NotImplemented", "status": 501})
    body = json.dumps({lists[call.action]: []}).encode()
    return _Answer("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body)


def _xml_error(service: str, code: str, message: str, status: int) -> str:
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    request = uuid.uuid4()
    if service == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request}</RequestID></Response>"
    side = "Sender" if status < 500 else "Receiver"
    return f"<ErrorResponse><Error><Type>{side}</Type>{error}</Error><RequestId>{request}</RequestId></ErrorResponse>"


if __name__ == "__main__":
    main()
