"""The workload accounts: moto's server with boot times, status events, time, measurements and faults. As on AWS, all
accounts have one endpoint, and who calls says which of them is meant.

Run by `LocalCloud` as `python -m local.workload.server`; all settings come from the environment. Besides AWS's API it
answers `/_local/health`, `/_local/clock`, `/_local/ledger`, `/_local/crashes`, `/_local/faults`, `/_local/settings`,
`/_local/fleet`, `/_local/quotas`, `/_local/balancers` and `/_local/fewest-healthy`.

Faults (`cloud.fault("workload", ...)`, all with `environment`: glob and `times`, those of calls with `account`):

    {"action": glob, "error": code, "status": 400, "message": text, "when": "before" | "after", "rate": 0.2}
        an API call fails, but none of the administrator's; "after" it has had its effect. The glob fits
        `DescribeStacks` or `cloudformation:DescribeStacks`. The environment is the role session name of the caller.
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

The faults of builders, images and commands are described in `machines.py`, `images.py` and `commands.py`, those of
first boots in `boots.py`, those of services in `groups.py`.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import moto.core.utils
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from local.clock import VirtualClock
from local.cloud import ADMIN_KEYS, CONTROLLER_ACCOUNT, WORKLOAD_ACCOUNT
from local.desk import PREFIX, Desk
from local.faults import end_with_parent
from local.workload.calls import DENIED, Answer, Call, Environ, Session, fault_answer, no_recipes, read_call
from local.workload.delivery import Delivery

StartResponse = Callable[..., Any]
ADMINISTRATOR = re.compile(rf"{ADMIN_KEYS['workload']}(?:-(\d{{12}}))?")
"""Access keys of the administrators, with the account, or without for the first."""


def main() -> None:
    """Serve until the parent process ends or SIGTERM arrives."""
    end_with_parent(int(os.environ["MAYFLY_LOCAL_PARENT"]))
    timing, strict = json.loads(os.environ["MAYFLY_LOCAL_TIMING"]), bool(os.environ["MAYFLY_LOCAL_STRICT"])
    workload = Workload(os.environ["MAYFLY_LOCAL_CONTROLLER_URL"], timing, strict)
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

    def __init__(self, controller_url: str, timing: dict[str, float], strict: bool) -> None:
        self._strict = strict
        self._desk = desk = Desk()
        _install_time(desk.clock)
        # moto's modules are imported from here on: they take its clock along.
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from local.workload import answers, measurements, sessions
        from local.workload.alarms import Alarms
        from local.workload.commands import Commands
        from local.workload.drift import Drift
        from local.workload.groups import Groups
        from local.workload.images import Images
        from local.workload.lag import Lag
        from local.workload.machines import Machines
        from local.workload.quotas import Quotas
        from local.workload.rates import Rates
        from local.workload.refreshes import Refreshes
        from local.workload.stacks import Stacks, Timing
        from local.workload.traffic import Wire
        from local.workload.updates import Updates

        answers.install()
        sessions.install(desk.clock)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.RLock()
        self._sessions: dict[str, Session] = {}  # by access key
        self._timing = Timing(**timing)
        delivery = Delivery(controller_url, desk.clock, desk.faults, strict)
        self._quotas = quotas = Quotas(enforced=strict)
        stacks = Stacks(desk.clock, desk.faults, self._timing, self._lock, delivery, quotas)
        stacks.install()
        self._rates, self._lag = Rates(desk.clock), Lag(desk.clock)
        if strict:
            self._lag.install(stacks)
        Updates(stacks).install()
        Drift(stacks).install()
        wire = Wire(desk.clock)
        measurements.install(wire)
        groups = Groups(wire, stacks, desk.crashed)
        groups.install()
        groups.each.append(Alarms(wire, self._lock, delivery.say).tick)
        Refreshes(groups, delivery.say).install()
        Machines(desk.faults, self._timing, self._lock, delivery.say).install()
        Commands(desk.clock, desk.faults, self._lock, delivery.say).install()
        Images(desk.clock, desk.faults, self._timing, self._lock, delivery.say).install()
        desk.offer("POST", "clock", lambda body: delivery.idle and desk.clock.jump(body["advance"]))
        desk.offer("GET", "fleet", lambda _: stacks.fleet())
        desk.offer("GET", "balancers", lambda _: groups.balancers())
        desk.offer("DELETE", "fewest-healthy", lambda _: groups.watch_fewest())
        desk.offer("POST", "quotas", lambda body: quotas.change(**body))
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
        call = read_call(environ, body)
        session = self._sessions.get(call.access_key)
        environment = session.name if session else None
        names = (call.action, f"{call.service}:{call.action}")
        administrator = ADMINISTRATOR.fullmatch(call.access_key)
        account = session.account if session else (administrator and administrator[1]) or WORKLOAD_ACCOUNT
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
        facts = {"action": names, "environment": environment, "account": account}
        # Who looks at what a fault does is not struck by it.
        fault = None if administrator else self._desk.faults.take("action", **facts)
        started, at = time.monotonic(), self._desk.clock.iso()
        if fault and fault.get("when", "before") == "before":
            answer = fault_answer(call, fault)
        else:
            answer = self._refusal(call, session) or self._answered(
                call, session, lambda: self._ask_moto(environ, body)
            )
            answer = fault_answer(call, fault) if fault else answer
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

    def _answered(self, call: Call, session: Session | None, ask: Callable[[], Answer]) -> Answer:
        """What a call that is permitted is answered: of a strict account a session sees what was just made only at the
        second look. The administrator sees everything."""
        if call.service == "imagebuilder":
            return no_recipes(call)
        if call.action == "GetServiceQuota":
            return self._quotas.answer(call)
        if not self._strict or session is None:
            return ask()
        return self._rates.refusal(call, session.account) or self._lag.answer(call, session, ask)

    def _ask_moto(self, environ: Environ, body: bytes) -> Answer:
        """One call at a time: moto is not made for threads, and is busy computing anyway."""
        with self._lock:
            application: Any = self._moto.get_application(environ)
            try:
                parts, status, headers = run_wsgi_app(application, environ)
                answer = Answer(status, list(headers), b"".join(parts))
            except Exception as error:
                self._desk.crashed(error, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
                raise
            if answer.code == 500:  # moto's own: its log has the traceback
                self._desk.crashed(None, f"500 for {body[:200].decode(errors='replace')}")
            return answer

    def _refusal(self, call: Call, session: Session | None) -> Answer | None:
        """What IAM refuses a session. The account's administrator, who has none, may do everything."""
        from local.workload import permissions

        if not self._strict:
            return None
        if call.action == "AssumeRole":
            account, _, role = call.said("RoleArn").removeprefix("arn:aws:iam::").partition(":role/")
            tags = call.tags("Tags.member")
            if session:
                caller = session.arn
            elif call.access_key == ADMIN_KEYS["controller"]:
                caller = f"arn:aws:iam::{CONTROLLER_ACCOUNT}:root"
            else:  # which of the controller's functions asks, only that account knows, which asks its policies
                caller = f"arn:aws:iam::{CONTROLLER_ACCOUNT}:role/{role.rpartition('-')[0]}-any"
            with self._lock:
                if permissions.may_be_assumed(account, role, tags, caller):
                    return None
            why = f"not authorized to perform: sts:AssumeRole on resource: {call.said('RoleArn')} with {sorted(tags)}"
            return fault_answer(call, {"error": "AccessDenied", "status": 403, "message": why})
        if session is None:
            return None
        with self._lock:
            refused = permissions.refusal(session, permissions.Request(call, session.account))
        if refused is None:
            return None
        print(f"refused: {refused}", flush=True)  # noqa: T201 - the log
        code = DENIED.get(call.service, "AccessDenied")
        return fault_answer(call, {"error": code, "status": 403, "message": refused})

    def _remember_session(self, call: Call, body: bytes) -> None:
        key = re.search(rb"<AccessKeyId>([^<]+)", body)
        if key:
            account, _, role = call.said("RoleArn").removeprefix("arn:aws:iam::").partition(":role/")
            name, tags = call.said("RoleSessionName"), tuple(sorted(call.tags("Tags.member").items()))
            self._sessions[key.group(1).decode()] = Session(account, role, name, tags)

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


if __name__ == "__main__":
    main()
