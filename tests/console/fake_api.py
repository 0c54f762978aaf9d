"""A fake of the HTTP API's contract that serves the real console: sign-in, reads, changes, and failures on demand.

`python -m tests.console.fake_api [environments] [role]` serves one for looking at, on a port of 127.0.0.1.
"""

import base64
import gzip
import hashlib
import json
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from tests.console.made_up import WHO, Json, World, line, text

CONSOLE = Path(__file__).parents[2] / "functions" / "serve_api" / "console"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "connect-src 'self'; img-src 'self' data:"
)
_PAST = 2
"""Reads of a thing after which a change of it has its effect: the console has to wait for it, as for the real one."""


class Answer(Exception):
    """What is answered instead: a status and a body."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status)
        self.status, self.body = status, body


@dataclass
class Fault:
    """What happens to requests whose path begins with `path`."""

    path: str
    status: int = 0
    body: Json = field(default_factory=dict)
    until: Event | None = None
    """It is held back until this is set."""


@dataclass
class Fake:
    """The fake API's state, which tests look at and change while it serves."""

    world: World
    role: str = "operator"
    applications: tuple[str, ...] = ("webshop",)
    lasts: int = 3600
    """Seconds that a token is good for, as the console is told."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Access tokens that are good, with the role of whom they name."""
    asked: list[tuple[str, str, Json]] = field(default_factory=list)
    """Every change that was asked for: method, path, body."""
    reads: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    sign_ins: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    lock: Any = field(default_factory=Lock)
    _codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    _later: list[list[Any]] = field(default_factory=list)

    def fail(self, path: str, status: int, error: str = "broken on purpose") -> Fault:
        """Has requests fail from now on, until `mend`."""
        self.faults.append(Fault(path, status, {"error": error}))
        return self.faults[-1]

    def hold(self, path: str) -> Event:
        """Holds requests back until the event is set."""
        self.faults.append(Fault(path, until=Event()))
        return self.faults[-1].until  # type: ignore[return-value]

    def mend(self) -> None:
        """Ends every fault."""
        for fault in self.faults:
            if fault.until:
                fault.until.set()
        self.faults.clear()

    def later(self, effect: Callable[[], Any]) -> None:
        """Has a change take effect after a few more reads."""
        self._later.append([_PAST, effect])

    # ---- sign-in ------------------------------------------------------------------------------------------

    def authorize(self, asked: dict[str, str]) -> str:
        """The hosted page: in one step, somebody of the role `self.role` signs in. Returns where that leads."""
        self.sign_ins.append(asked)
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self._codes[code] = (asked["code_challenge"], asked["redirect_uri"])
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, asked: dict[str, str]) -> Json:
        """Tokens for a code and its verifier, once; or for a renewal token."""
        if asked["grant_type"] == "authorization_code":
            challenge, redirect = self._codes.pop(asked["code"], ("", ""))
            digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).decode().rstrip("=") != challenge or redirect != asked["redirect_uri"]:
                raise Answer(400, {"error": "invalid_grant"})
        elif asked.get("refresh_token") != "renew-me":
            raise Answer(400, {"error": "invalid_grant"})
        access = secrets.token_urlsafe(16)
        self.tokens[access] = self.role
        return {"access_token": access, "refresh_token": "renew-me", "expires_in": self.lasts, "token_type": "Bearer"}

    # ---- the API ------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, query: dict[str, str], body: Json, role: str) -> tuple[int, Json]:
        """One call of somebody with this role."""
        if method == "GET":
            self.reads.append(path)
            for waiting in list(self._later):
                waiting[0] -= 1
                if waiting[0] <= 0:
                    self._later.remove(waiting)
                    waiting[1]()
        else:
            self.asked.append((method, path, body))
        for wanted, pattern, needed, answer in ROUTES:
            if wanted == method and (found := re.fullmatch(pattern, path)):
                if role == "none":
                    raise Answer(
                        403, {"error": "You are in no group that may look at Mayfly: viewer, developer, operator."}
                    )
                if ("viewer", "developer", "operator").index(role) < ("viewer", "developer", "operator").index(needed):
                    raise Answer(403, {"error": f"{path}: expected the role {needed}, but you are {role}"})
                said = answer(self, *found.groups(), **({"query": query} if method == "GET" else {"body": body}))
                return (200 if method == "GET" else 202), said
        raise Answer(404, {"error": f"{path}: there is no such thing"})

    def who(self) -> str:
        """Who is signed in."""
        return WHO.get(self.role, "nobody@example.com")


def _me(fake: Fake, query: Json) -> Json:
    mine = list(fake.applications) if fake.role == "developer" else []
    return {"who": fake.who(), "role": fake.role, "applications": mine, "now": text(fake.world.now)}


def _environments(fake: Fake, query: Json) -> Json:
    live = query.get("live") != "false"
    shown = [_short(fake, one) for one in fake.world.environments.values() if (one["stage"] != "terminated") == live]
    return {"now": text(fake.world.now), "environments": shown}


def _short(fake: Fake, one: Json) -> Json:
    whole = ("history", "outputs", "links", "kept", "report")
    return {**{key: value for key, value in one.items() if key not in whole}, "usd": fake.world.usd(one)}


def _release(fake: Fake, one: Json) -> Json:
    mine = [each for each in fake.world.environments.values() if each["release"] == one["id"]]
    return {**one, "usd": round(sum(fake.world.usd(each) for each in mine), 4)}


def _releases(fake: Fake, query: Json) -> Json:
    newest = sorted(fake.world.releases.values(), key=lambda one: one["pushed_at"], reverse=True)
    # History is read one by one.
    shown = [{key: value for key, value in _release(fake, one).items() if key != "history"} for one in newest]
    return {"now": text(fake.world.now), "releases": shown}


def _of(found: dict[str, Json], name: str) -> Json:
    if name not in found:
        raise Answer(404, {"error": f"'{name}': expected one that Mayfly knows"})
    return found[name]


def _one_release(fake: Fake, name: str, query: Json) -> Json:
    mine = [_short(fake, each) for each in fake.world.environments.values() if each["release"] == name]
    return {**_release(fake, _of(fake.world.releases, name)), "environments": mine}


def _accepted(watch: str, **more: Any) -> Json:
    return {"accepted": True, "event": secrets.token_hex(8), "watch": f"/api/{watch}", **more}


def _extend(fake: Fake, name: str, body: Json) -> Json:
    one = _of(fake.world.environments, name)
    _needs(body, "why")

    def effect() -> None:
        deadline = datetime.fromisoformat(one["deadline"]) + timedelta(minutes=body["minutes"])
        one["deadline"] = min(text(deadline), one["ceiling"])
        said = f"until {one['deadline']}: {body['why']}"
        one["history"].append(line(fake.world.now, fake.who(), "extended", said))

    fake.later(effect)
    return _accepted(f"environments/{name}")


def _end(fake: Fake, name: str, body: Json) -> Json:
    _needs(body, "why")
    return _ending(fake, name, {"by": "request", "outcome": "cancelled", "reason": f"{fake.who()}: {body['why']}"})


def _result(fake: Fake, name: str, body: Json) -> Json:
    reason = f"the tests {body['outcome']}" + (f": {body['reason']}" if body.get("reason") else "")
    return _ending(fake, name, {"by": "tests", "outcome": body["outcome"], "reason": reason})


def _ending(fake: Fake, name: str, ending: Json) -> Json:
    one = _of(fake.world.environments, name)

    def effect() -> None:
        one.update(stage="terminating", ending=ending)
        one["history"].append(line(fake.world.now, fake.who(), ending["outcome"], ending["reason"]))

    fake.later(effect)
    return _accepted(f"environments/{name}")


def _needs(body: Json, name: str) -> None:
    if not body.get(name):
        raise Answer(
            422, {"error": f"{name}: expected a text", "fields": [{"field": name, "value": "", "expected": "a text"}]}
        )


def _push(fake: Fake, body: Json) -> Json:
    _needs(body, "version")
    world = fake.world
    application = next(one for one in world.applications if one["name"] == body["application"])
    attempt = body.get("attempt", 1)
    for one in world.releases.values():
        if (one["application"], one["version"], one["attempt"]) == (body["application"], body["version"], attempt):
            again = f"{body['application']} {body['version']} is released already; attempt {attempt + 1} runs it again"
            raise Answer(409, {"error": again})
    release = world.push(application, body["version"], attempt=attempt, artifact=body["artifact"], pushed_by=fake.who())
    return _accepted(f"releases/{release}", release=release)


def _images(fake: Fake, query: Json) -> Json:
    return {"now": text(fake.world.now), "families": fake.world.families}


def _bake(fake: Fake, body: Json) -> Json:
    family = next(one for one in fake.world.families if one["family"] == body["family"])
    facts = {"id": f"base-{secrets.token_hex(4)}", "stage": "requested", "why": body["why"], "requested_by": fake.who()}
    fake.later(lambda: family["bakes"].insert(0, {**facts, "at": text(fake.world.now)}))
    return _accepted("images")


def _move(fake: Fake, family: str, channel: str, what: str, body: Json) -> Json:
    one = next(one for one in fake.world.families if one["family"] == family)
    found = next(each for each in one["channels"] if each["name"] == channel)
    image = body["image"] if what == "promotion" else found["previous"][0]["image"]

    def effect() -> None:
        found.update(previous=[{"image": found["image"]}], image=image, version=found["version"] + 1)
        found["moved_at"] = text(fake.world.now)
        found["history"].append(line(fake.world.now, fake.who(), what, body["why"]))

    fake.later(effect)
    return _accepted("images")


def _approve(fake: Fake, name: str, body: Json) -> Json:
    one = next(one for one in fake.world.rollouts if one["id"] == name)
    fake.later(lambda: one.update(stage="rolling out"))
    return _accepted(f"rollouts/{name}")


def _one_rollout(fake: Fake, name: str, query: Json) -> Json:
    return _of({one["id"]: one for one in fake.world.rollouts}, name)


def _sweeps(fake: Fake, query: Json) -> Json:
    shown = [{key: value for key, value in one.items() if key != "decisions"} for one in fake.world.sweeps]
    return {"now": text(fake.world.now), "sweeps": shown}


def _one_sweep(fake: Fake, name: str, query: Json) -> Json:
    return _of({one["key"]: one for one in fake.world.sweeps}, f"sweeps/{name}.json")


def _sweep(fake: Fake, body: Json) -> Json:
    world = fake.world
    keep = [{"environment": name, "action": "keep", "reason": "until its deadline"} for name in world.environments]
    report = world.sweep(world.now, fake.who(), keep, body["dry_run"])
    fake.later(lambda: world.sweeps.insert(0, report))
    return _accepted("sweeps")


def _switch(fake: Fake, body: Json) -> Json:
    _needs(body, "why")
    said = f"{fake.who()} at {text(fake.world.now)}: {body['why']}" if body["on"] else ""
    fake.later(lambda: fake.world.kill_switch.update(on=body["on"], why=said))
    return _accepted("kill-switch")


def _environment(fake: Fake, name: str, query: Json) -> Json:
    one = _of(fake.world.environments, name)
    return {**one, "usd": fake.world.usd(one)}


def _applications(fake: Fake, query: Json) -> Json:
    return {"applications": fake.world.applications}


def _services(fake: Fake, query: Json) -> Json:
    return {"now": text(fake.world.now), "services": fake.world.services}


def _rollouts(fake: Fake, query: Json) -> Json:
    return {"now": text(fake.world.now), "rollouts": fake.world.rollouts}


def _kill_switch(fake: Fake, query: Json) -> Json:
    return fake.world.kill_switch


def _costs(fake: Fake, query: Json) -> Json:
    return {"now": text(fake.world.now), **fake.world.costs(int(query.get("days", 7)))}


_NAME = "([^/]+)"
ROUTES: tuple[tuple[str, str, str, Callable[..., Json]], ...] = (
    ("GET", "me", "viewer", _me),
    ("GET", "environments", "viewer", _environments),
    ("GET", f"environments/{_NAME}", "viewer", _environment),
    ("POST", f"environments/{_NAME}/extension", "developer", _extend),
    ("POST", f"environments/{_NAME}/termination", "developer", _end),
    ("POST", f"environments/{_NAME}/result", "developer", _result),
    ("GET", "releases", "viewer", _releases),
    ("GET", f"releases/{_NAME}", "viewer", _one_release),
    ("POST", "releases", "developer", _push),
    ("GET", "applications", "viewer", _applications),
    ("GET", "images", "viewer", _images),
    ("POST", "bakes", "operator", _bake),
    ("POST", f"channels/{_NAME}/{_NAME}/(promotion|rollback)", "operator", _move),
    ("GET", "services", "viewer", _services),
    ("GET", "rollouts", "viewer", _rollouts),
    ("GET", f"rollouts/{_NAME}", "viewer", _one_rollout),
    ("POST", f"rollouts/{_NAME}/approval", "operator", _approve),
    ("GET", "sweeps", "viewer", _sweeps),
    ("GET", "sweeps/(.+)", "viewer", _one_sweep),
    ("POST", "sweeps", "operator", _sweep),
    ("GET", "kill-switch", "viewer", _kill_switch),
    ("PUT", "kill-switch", "operator", _switch),
    ("GET", "costs", "viewer", _costs),
)


class Handler(BaseHTTPRequestHandler):
    """Serves files as Mayfly's function does, and the fake."""

    protocol_version = "HTTP/1.1"
    fake: Fake

    def do_GET(self) -> None:
        """Files, the sign-in page, and reads."""
        self._handle("GET")

    def do_POST(self) -> None:
        """Changes, and tokens."""
        self._handle("POST")

    def do_PUT(self) -> None:
        """Changes."""
        self._handle("PUT")

    def _handle(self, method: str) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for fault in list(self.fake.faults):
            if url.path.startswith(fault.path):
                if fault.until:
                    fault.until.wait(20)
                else:
                    return self._json(fault.status, fault.body)
        try:
            if url.path.startswith("/api/"):
                return self._api(method, url.path.removeprefix("/api/"), url.query, raw)
            return self._open(url.path, url.query, raw)
        except Answer as answer:
            return self._json(answer.status, answer.body)

    def _api(self, method: str, path: str, query: str, raw: bytes) -> None:
        role = self.fake.tokens.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if role is None:
            raise Answer(401, {"message": "Unauthorized"})
        with self.fake.lock:
            status, body = self.fake.call(method, path, _flat(query), json.loads(raw or b"{}"), role)
        self._json(status, body)

    def _open(self, path: str, query: str, raw: bytes) -> None:
        fake = self.fake
        match path:
            case "/config.json":
                facts = {
                    "issuer": fake.url,
                    "client_id": "console",
                    "sign_in": fake.url,
                    "scopes": "openid",
                    "token": "access_token",
                    "version": "0.1.0",
                }
                self._json(200, facts)
            case "/oauth2/authorize":
                self._redirect(fake.authorize(_flat(query)))
            case "/logout":
                self._redirect(_flat(query)["logout_uri"])
            case "/oauth2/token":
                self._json(200, fake.token(_flat(raw.decode())))
            case _:
                self._file(path)

    def _file(self, path: str) -> None:
        file = CONSOLE / (path.lstrip("/") or "index.html")
        if not re.fullmatch(r"/[a-z-]*(\.[a-z]+)?", path) or not file.is_file():
            raise Answer(404, {"error": f"{quote(path)}: there is no such file"})
        self._send(200, file.read_bytes(), TYPES[file.suffix])

    def _json(self, status: int, body: Json) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, status: int, body: bytes, kind: str) -> None:
        packed = gzip.compress(body, 6) if "gzip" in self.headers.get("Accept-Encoding", "") else None
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-cache")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(packed or body)))
        self.end_headers()
        self.wfile.write(packed or body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """A server to which a browser that leaves is nothing special."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tells of everything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    """Serves it on a free port of 127.0.0.1."""
    handler = type("Bound", (Handler,), {"fake": fake})
    with Server(("127.0.0.1", 0), handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.mend()
            server.shutdown()


def main() -> None:
    """Serves until Ctrl-C."""
    environments, role = (sys.argv[1:] + ["40", "operator"][len(sys.argv) - 1 :])[:2]
    world = World(datetime.now(UTC), int(environments))
    with serving(Fake(world, role)) as fake:
        sys.stdout.write(f"{fake.url}\n")
        sys.stdout.flush()
        Event().wait()


if __name__ == "__main__":
    main()
