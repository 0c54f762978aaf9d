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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from pydantic import ValidationError

from mayfly import views
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import tone_of
from mayfly.domain import access
from mayfly.domain.records import Bake, Environment, Image, Rollout, Service, read
from mayfly.workflows import catalogue, examination
from tests.console.made_up import WHO, Json, World, line, text

sys.path.append(str(Path(__file__).parents[2] / "functions" / "serve_api"))  # the real one: what is no fake of it

import pages
import shapes
from refusals import field_of

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
    page: int = 1_000
    """Environments of one answer: as many as a test wants to have on the board at once."""
    lasts: int = 3600
    """Seconds that a token is good for, as the console is told."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Access tokens that are good, with the role of whom they name."""
    asked: list[tuple[str, str, Json]] = field(default_factory=list)
    """Every change that was asked for: method, path, body."""
    reads: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    sign_ins: list[dict[str, str]] = field(default_factory=list)
    low: list[Json] = field(default_factory=list)
    """The ceilings and budgets that are running low."""
    url: str = ""
    lock: Any = field(default_factory=Lock)
    served: list[str] = field(default_factory=list)
    """What was asked for besides the API and the sign-in: on AWS, each is an invocation."""
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
        groups = [f"{role}:{one}" for one in self.applications] if role in ("developer", "owner") else [role]
        caller = access.caller({"username": self.who(), "groups": groups}, "groups")
        permission = access.may(caller, access.action_of(method, f"/api/{path}"))
        if not permission.granted:
            raise Answer(403, {"error": permission.reason})
        for wanted, pattern, asked, answer in ROUTES:
            if wanted == method and (found := re.fullmatch(pattern, path)):
                if asked is None:
                    return 200, _staged(answer(self, *found.groups(), query=query))
                return 202, answer(self, *found.groups(), body=_checked(asked, body))
        raise Answer(404, {"error": f"there is no {method} /api/{path}; /api/openapi.json says what there is"})

    def who(self) -> str:
        """Who is signed in."""
        return WHO.get(self.role, "nobody@example.com")


def _staged(shown: Any) -> Any:
    """An answer with what the real API says of each stage and outcome: in tests, they change at any time."""
    if isinstance(shown, list):
        return [_staged(one) for one in shown]
    if not isinstance(shown, dict):
        return shown
    said = {key: _staged(one) for key, one in shown.items()}
    if word := said.get("outcome") or said.get("action"):
        return said | {"tone": tone_of(word)}
    if "stage" not in said:
        return said
    marks = {
        "suite": (views.environment_stage, Environment),
        "checkpoints": (views.rollout_stage, Rollout),
        "drift": (views.service_stage, Service),
        "created_at": (views.image_stage, Image),
        "requested_by": (views.bake_stage, Bake),
    }
    for mark, (staged, kind) in marks.items():
        if mark in said:
            known = staged(read(kind, {"id": ""} | said))
            return {key: value for key, value in said.items() if key != "may_sleep"} | known
    return said | views.staged(said["stage"])


def _me(fake: Fake, query: Json) -> Json:
    mine = list(fake.applications) if fake.role in ("developer", "owner") else []
    owned = mine if fake.role == "owner" else []
    known = {"applications": mine, "owned": owned}
    return {"who": fake.who(), "role": fake.role, **known, "now": text(fake.world.now)}


def _environments(fake: Fake, query: Json) -> Json:
    live = query.get("live") != "false"
    every = [_short(fake, one) for one in fake.world.environments.values() if (one["stage"] != "terminated") == live]
    every.sort(key=lambda one: (one["planned_at"], one["id"]), reverse=True)
    words = query.get("text", "").lower().split()
    shown = [
        one
        for one in every
        if all(query.get(name) in (None, one[name]) for name in ("application", "stage"))
        and all(word in " ".join(map(str, one.values())).lower() for word in words)
        and f"{one['planned_at']}#{one['id']}" < query.get("after", "~")
    ]
    said: Json = {"now": text(fake.world.now), "environments": shown[: fake.page]}
    if fake.low:
        said["low"] = fake.low
    if len(shown) > fake.page:
        said["next"] = "{planned_at}#{id}".format(**shown[fake.page - 1])
        if live and "after" not in query:
            said["totals"] = _totals(fake, every)
    return said


def _totals(fake: Fake, every: list[Json]) -> Json:
    return {
        "at": text(fake.world.now),
        "environments": len(every),
        "instances": sum(one["instance_count"] for one in every),
        "usd_per_hour": round(sum(one["usd_per_hour"] for one in every), 4),
        "stages": dict(Counter(one["stage"] for one in every)),
        "verdicts": 77,  # no page has so many: who shows them has them from here
        "late": 0,
        "deadlines": [1] * 24,
        "applications": sorted({one["application"] for one in every}),
    }


def _short(fake: Fake, one: Json) -> Json:
    whole = ("history", "outputs", "links", "instances", "kept", "report", "log", "tests", "handed_over")
    whole += ("spans", "slowest", "not_launched")
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

    def effect() -> None:
        deadline = datetime.fromisoformat(one["deadline"]) + timedelta(minutes=body["minutes"])
        one["deadline"] = min(text(deadline), one["ceiling"])
        said = f"until {one['deadline']}: {body['why']}"
        one["history"].append(line(fake.world.now, fake.who(), "extended", said))

    fake.later(effect)
    return _accepted(f"environments/{name}")


def _sleep(fake: Fake, kind: str, name: str, what: str, body: Json) -> Json:
    found = fake.world.environments if kind == "environments" else {one["id"]: one for one in fake.world.services}
    one, asleep = _of(found, name), what == "sleep"
    until = text(fake.world.now + timedelta(minutes=body["minutes"]))
    asked = {"asleep": asleep, "at": text(fake.world.now), "until": until, "by": fake.who(), "why": body["why"]}

    def effect() -> None:
        one.pop("asleep_since", None)
        one.update({"override": asked} | ({"asleep_since": text(fake.world.now)} if asleep else {}))

    fake.later(effect)
    return _accepted(f"environments/{name}" if kind == "environments" else "services")


def _end(fake: Fake, name: str, body: Json) -> Json:
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


def _checked(model: type[shapes.Message], body: Json) -> Json:
    """What was sent, if it is what the real API takes."""
    try:
        model.model_validate(body)
    except ValidationError as error:
        fields = [field_of({**fault, "loc": ("body", *fault["loc"])}) for fault in error.errors()]
        raise Answer(422, {"error": fields[0]["expected"], "fields": fields}) from None
    return body


def _push(fake: Fake, body: Json) -> Json:
    world = fake.world
    application = next(one for one in world.applications if one["name"] == body["application"])
    attempt = body.get("attempt", 1)
    for one in world.releases.values():
        if (one["application"], one["version"], one["attempt"]) == (body["application"], body["version"], attempt):
            again = f"{body['application']} {body['version']} is released already; attempt {attempt + 1} runs it again"
            raise Answer(409, {"error": again})
    release = world.push(application, body["version"], attempt=attempt, artifact=body["artifact"], pushed_by=fake.who())
    return _accepted(f"releases/{release}", release=release)


def _check_blueprint(fake: Fake, body: Json) -> Json:
    own = next((one for one in fake.world.applications if one["name"] == body.get("application")), {})
    template = body.get("template") or "Resources: {Jobs: {Type: 'AWS::SQS::Queue'}}"
    takes, unknown = examination.takes(template, own.get("parameters") or {})
    remarks = [one.as_json() for one in examination.examine(template, own.get("parameters"))]
    named = "" if body.get("template") else "fleet.yaml"
    return {"blueprint": named, "remarks": remarks, "takes": takes, "not_reckoned": unknown}


def _images(fake: Fake, query: Json) -> Json:
    lost = {"of": "application", "name": "webshop", "launched": 1350, "failed": 1}
    failures = [lost | {"causes": {"failed a status check": 1}}]
    return {"now": text(fake.world.now), "families": fake.world.families, "failures": failures}


def _differences(fake: Fake, image: str, before: str, query: Json) -> Json:
    if image not in fake.world.contents:
        raise Answer(404, {"error": f"nothing is recorded of what {image} consists of"})
    return {"before": before, "after": image, **fake.world.contents[image]}


def _release_differences(fake: Fake, release: str, before: str, query: Json) -> Json:
    was, now = _of(fake.world.releases, before), _of(fake.world.releases, release)
    facts = [{"name": name, "before": was.get(name), "after": now.get(name)} for name in ("version", "artifact")]
    parameters = [{"name": "InstanceType", "before": "t3.small", "after": "m7g.large"}]
    return {"before": before, "after": release, "facts": facts, "parameters": parameters}


def _one_bake(fake: Fake, name: str, query: Json) -> Json:
    one = _of({bake["id"]: bake for family in fake.world.families for bake in family["bakes"]}, name)
    told = {"account": "222222222222", "region": "us-east-1", "base_image": "ami-0f1e2d3c4b5a69788"}
    told |= {"checks": [{"name": "agent", "command": "pgrep agent"}], "log": f"s3://bakes/logs/{name}.log"}
    log = f"puppet: {'exit code 4' if one['stage'] == 'rejected' else 'applied'}"
    return {**one, **told, "log_text": log, "history": [line(fake.world.now, fake.who(), "requested", one["why"])]}


def _console_output(fake: Fake, name: str, instance: str, query: Json) -> Json:
    known = [each["id"] for each in _of(fake.world.environments, name)["instances"]]
    if instance not in known:
        raise Answer(404, {"error": f"instance: expected one of {name}, but it is '{instance}'"})
    return {"environment": name, "instance": instance, "output": f"{instance} login: \n"}


def _bake(fake: Fake, body: Json) -> Json:
    family = next(one for one in fake.world.families if one["family"] == body["family"])
    facts = {
        "id": f"base-{secrets.token_hex(4)}",
        "family": "base",
        "stage": "requested",
        "why": body["why"],
        "requested_by": fake.who(),
    }
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
    fake.later(lambda: one.update(stage="running"))
    return _accepted(f"rollouts/{name}")


def _hold(fake: Fake, name: str, what: str, body: Json) -> Json:
    one = next(one for one in fake.world.rollouts if one["id"] == name)
    held = {"stage": "paused", "paused": f"{fake.who()} paused it: {body['why']}"}
    fake.later(lambda: one.update(held if what == "pause" else {"stage": "replacing", "paused": None}))
    return _accepted(f"rollouts/{name}")


def _roll_out(fake: Fake, name: str, body: Json) -> Json:
    one = next(one for one in fake.world.services if one["id"] == name)
    fake.later(lambda: one.update(stage="rolling out", rollout=f"{name}-13"))
    return _accepted("services")


def _one_rollout(fake: Fake, name: str, query: Json) -> Json:
    return _of({one["id"]: one for one in fake.world.rollouts}, name)


def _sweeps(fake: Fake, query: Json) -> Json:
    whole = ("unseen", "decisions", "kept")
    shown = [{key: value for key, value in one.items() if key not in whole} for one in fake.world.sweeps]
    return {"now": text(fake.world.now), "sweeps": shown}


def _one_sweep(fake: Fake, name: str, query: Json) -> Json:
    found = _of({one["key"]: one for one in fake.world.sweeps}, f"sweeps/{name}.json")
    return {key: value for key, value in found.items() if key != "key"}


def _sweep(fake: Fake, body: Json) -> Json:
    world = fake.world
    keep = [{"environment": name, "action": "keep", "reason": "until its deadline"} for name in world.environments]
    report = world.sweep(world.now, fake.who(), keep, body["dry_run"])
    fake.later(lambda: world.sweeps.insert(0, report))
    return _accepted("sweeps")


def _dead_letters(fake: Fake, query: Json) -> Json:
    waiting = [one for one in fake.world.dead_letters if one["stage"] == "waiting for a person"]
    shown = [{key: value for key, value in one.items() if key not in ("message", "history")} for one in waiting]
    return {
        "now": text(fake.world.now),
        "count": len(shown),
        "groups": views.dead_letter_groups(shown),
        "dead_letters": shown,
    }


def _dead_letter(fake: Fake, name: str, query: Json) -> Json:
    return _of({one["id"]: one for one in fake.world.dead_letters}, name)


def _work(fake: Fake, what: str, body: Json) -> Json:
    def effect() -> None:
        for one in fake.world.dead_letters:
            named = one["id"] in body.get("letters", [one["id"]]) and body.get("reason", "") in one["reason"]
            if named:
                one.update(stage="redriven" if what == "redrive" else "discarded", tone="neutral")

    fake.later(effect)
    return _accepted("dead-letters")


def _switch(fake: Fake, body: Json) -> Json:
    said = f"{fake.who()} at {text(fake.world.now)}: {body['why']}" if body["on"] else ""
    fake.later(lambda: fake.world.kill_switch.update(on=body["on"], why=said))
    return _accepted("kill-switch")


def _environment(fake: Fake, name: str, query: Json) -> Json:
    one = _of(fake.world.environments, name)
    return {**one, "usd": fake.world.usd(one)}


def _applications(fake: Fake, query: Json) -> Json:
    return {"applications": fake.world.applications}


def _configuration(fake: Fake, name: str, query: Json) -> Json:
    versions = fake.world.configurations.get(name, [])
    version = versions[0]["version"] if versions else 0
    return {"now": text(fake.world.now), "name": name, "version": version, "versions": versions}


def _configure(fake: Fake, name: str, body: Json) -> Json:
    versions = fake.world.configurations.setdefault(name, [])
    number = versions[0]["version"] if versions else 0
    if body["made_from"] != number:
        raise Answer(
            409, {"error": f"made_from: expected {number}, which is the newest, but it is {body['made_from']}"}
        )
    try:
        document = body["document"] and catalogue.application_of(body["document"]).model_dump(exclude_unset=True)
    except Refused as refusal:
        raise Answer(409, {"error": str(refusal)}) from None
    said = {"at": text(fake.world.now), "by": fake.who(), "why": body["why"]}
    version = {"version": number + 1, "document": json.loads(json.dumps(document)), **said}
    fake.later(versions.clear if document is None else lambda: versions.insert(0, version))
    return _accepted(f"applications/{name}/configuration")


def _services(fake: Fake, query: Json) -> Json:
    return {"now": text(fake.world.now), "services": fake.world.services}


def _rollouts(fake: Fake, query: Json) -> Json:
    return {"now": text(fake.world.now), "rollouts": fake.world.rollouts}


def _kill_switch(fake: Fake, query: Json) -> Json:
    return fake.world.kill_switch


def _costs(fake: Fake, query: Json) -> Json:
    return {"now": text(fake.world.now), **fake.world.costs(int(query.get("days", 7)))}


_NAME = "([^/]+)"
ROUTES: tuple[tuple[str, str, type[shapes.Message] | None, Callable[..., Json]], ...] = (
    ("GET", "me", None, _me),
    ("GET", "environments", None, _environments),
    ("GET", f"environments/{_NAME}", None, _environment),
    ("GET", f"environments/{_NAME}/instances/{_NAME}/console", None, _console_output),
    ("POST", f"environments/{_NAME}/extension", shapes.Extension, _extend),
    ("POST", f"(environments|services)/{_NAME}/(sleep|waking)", shapes.Sleeping, _sleep),
    ("POST", f"environments/{_NAME}/termination", shapes.Termination, _end),
    ("POST", f"environments/{_NAME}/result", shapes.Result, _result),
    ("GET", "releases", None, _releases),
    ("GET", f"releases/{_NAME}", None, _one_release),
    ("GET", f"releases/{_NAME}/since/{_NAME}", None, _release_differences),
    ("POST", "releases", shapes.Push, _push),
    ("GET", "applications", None, _applications),
    ("GET", f"applications/{_NAME}/configuration", None, _configuration),
    ("PUT", f"applications/{_NAME}/configuration", shapes.ApplicationWish, _configure),
    ("POST", "blueprints/check", shapes.BlueprintToCheck, _check_blueprint),
    ("GET", "images", None, _images),
    ("GET", f"images/{_NAME}/since/{_NAME}", None, _differences),
    ("GET", f"bakes/{_NAME}", None, _one_bake),
    ("POST", "bakes", shapes.BakeWish, _bake),
    ("POST", f"channels/{_NAME}/{_NAME}/(promotion)", shapes.Promotion, _move),
    ("POST", f"channels/{_NAME}/{_NAME}/(rollback)", shapes.Rollback, _move),
    ("GET", "services", None, _services),
    ("POST", f"services/{_NAME}/rollout", shapes.RolloutWish, _roll_out),
    ("GET", "rollouts", None, _rollouts),
    ("GET", f"rollouts/{_NAME}", None, _one_rollout),
    ("POST", f"rollouts/{_NAME}/approval", shapes.Why, _approve),
    ("POST", f"rollouts/{_NAME}/(pause|resumption)", shapes.Why, _hold),
    ("GET", "sweeps", None, _sweeps),
    ("GET", "sweeps/(.+)", None, _one_sweep),
    ("POST", "sweeps", shapes.SweepWish, _sweep),
    ("GET", "dead-letters", None, _dead_letters),
    ("GET", f"dead-letters/{_NAME}", None, _dead_letter),
    ("POST", "dead-letters/(redrive|discard)", shapes.DeadLetterWish, _work),
    ("GET", "kill-switch", None, _kill_switch),
    ("PUT", "kill-switch", shapes.Switch, _switch),
    ("GET", "costs", None, _costs),
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
        if path not in ("/logout", "/oauth2/authorize", "/oauth2/token"):
            fake.served.append(path)
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
                self._file(path, _flat(query))

    def _file(self, path: str, query: dict[str, str]) -> None:
        name = path.lstrip("/") or "index.html"
        headers = {key.lower(): value for key, value in self.headers.items()}
        try:
            found = pages.answer(name, headers, query.get("v"))
        except NotFoundError as error:
            raise Answer(404, {"error": str(error.msg)}) from None
        kind = {"Content-Type": found.content_type} if found.content_type else {}
        self._send(found.status_code, found.body or b"", {**found.headers, **kind})

    def _json(self, status: int, body: Json) -> None:
        said = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            said, headers["Content-Encoding"] = gzip.compress(said, 6), "gzip"
        self._send(status, said, headers)

    def _redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, status: int, body: bytes, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
