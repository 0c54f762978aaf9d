"""A stand-in for GitHub's REST API, as far as tests are started and results are shown by it, and as strict.

What a request may hold is written as JSON Schema after GitHub's own description of its API (version 2022-11-28). A
`repository_dispatch` event starts the workflow that a test hands over, in a thread, as GitHub Actions starts one.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has none

Json = dict[str, Any]

HOST = "api.github.com"
LONGEST_PAYLOAD = 65_535  # characters of a client payload
STATUSES_OF_A_COMMIT = 1_000  # for one context
LIMITS = {
    "primary": ({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0"}, "API rate limit exceeded for user ID 1."),
    "secondary": (
        {"retry-after": "60"},
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    ),
}
"""What GitHub says to who asks too often, with 403 or 429: headers, and a sentence."""

_TEXT = {"type": "string"}
DISPATCH = {
    "type": "object",
    "required": ["event_type"],
    "properties": {
        "event_type": {"type": "string", "minLength": 1, "maxLength": 100},
        "client_payload": {"type": "object", "maxProperties": 10},
    },
    "additionalProperties": False,
}
STATUS = {
    "type": "object",
    "required": ["state"],
    "properties": {
        "state": {"enum": ["error", "failure", "pending", "success"]},
        "target_url": {"type": ["string", "null"], "pattern": "^https?://"},
        "description": {"type": ["string", "null"], "maxLength": 140},
        "context": _TEXT,
    },
    "additionalProperties": False,
}
COMMENT = {
    "type": "object",
    "required": ["body"],
    "properties": {"body": {"type": "string", "minLength": 1, "maxLength": 65_536}},
    "additionalProperties": False,
}
PAGE = {
    "type": "object",
    "properties": {
        "per_page": {"type": "string", "pattern": "^([1-9]|[1-9][0-9]|100)$"},
        "since": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
    },
    "additionalProperties": False,
}


@dataclass
class GitHub:
    """One repository, and what was done in it."""

    repository: str
    token: str
    commits: set[str] = field(default_factory=set)
    pulls: set[int] = field(default_factory=set)
    workflow: Callable[[Json], object] = lambda _: None
    """What a `repository_dispatch` event starts: it is handed the client payload."""
    url: str = ""
    away: int = 0
    """The status that it answers everything with while it is out of order, such as 503."""
    limited: str = ""
    """The rate limit that is used up."""
    limits_by: int = 403
    """The status that it answers with then: GitHub's documentation names 403 and 429 for both."""
    read_only: bool = False
    """Whether its token lacks the permission to write."""
    dispatches: list[Json] = field(default_factory=list)
    statuses: dict[str, list[Json]] = field(default_factory=dict)
    """Of each commit, oldest first."""
    comments: dict[int, Json] = field(default_factory=dict)
    """By id: `issue` and `body`."""
    refused: list[tuple[int, str]] = field(default_factory=list)
    """What was refused: the status, and what was asked."""

    def said(self, number: int) -> str:
        """What the comments on a pull request say now."""
        return "\n".join(one["body"] for one in self.comments.values() if one["issue"] == number)

    def answer(self, method: str, path: str, headers: Any, raw: bytes) -> tuple[int, Json | None]:
        """What GitHub answers."""
        status, said = self._out_of_order() or self._answered(method, path, headers, raw)
        if status >= 400:
            self.refused.append((status, f"{method} {path}: {said}"))
        return status, said

    def _out_of_order(self) -> tuple[int, Json | None] | None:
        if self.away:
            return self.away, {"message": "Server Error"}
        return (self.limits_by, {"message": LIMITS[self.limited][1]}) if self.limited else None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that say how often who asks may ask."""
        return (
            LIMITS[self.limited][0] if self.limited else {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999"}
        )

    def _answered(self, method: str, path: str, headers: Any, raw: bytes) -> tuple[int, Json | None]:
        if refusal := self._refusal(method, headers):
            return refusal
        path, _, asked = path.partition("?")
        begin = f"/repos/{self.repository}/"
        if not path.startswith(begin):
            return 404, {"message": "Not Found"}
        try:
            body = dict(urllib.parse.parse_qsl(asked)) if method == "GET" else json.loads(raw)
        except ValueError:
            return 400, {"message": "Problems parsing JSON"}
        for verb, pattern, schema, act in (
            ("POST", r"dispatches", DISPATCH, self._dispatch),
            ("POST", r"statuses/(\w+)", STATUS, self._status),
            ("POST", r"issues/(\d+)/comments", COMMENT, self._comment),
            ("GET", r"issues/(\d+)/comments", PAGE, self._list),
            ("PATCH", r"issues/comments/(\d+)", COMMENT, self._edit),
        ):
            found = re.fullmatch(pattern, path.removeprefix(begin))
            if verb == method and found:
                for error in jsonschema.Draft202012Validator(schema).iter_errors(body):
                    return 422, {"message": f"Invalid request.\n\n{error.message}"}
                return act(body, *found.groups())
        return 404, {"message": "Not Found"}

    def _refusal(self, method: str, headers: Any) -> tuple[int, Json] | None:
        """What it says to who may not ask for this."""
        if not headers.get("User-Agent"):
            return 403, {"message": "Request forbidden by administrative rules."}
        if headers.get("Authorization") not in (f"Bearer {self.token}", f"token {self.token}"):
            return 401, {"message": "Bad credentials"}
        if self.read_only and method != "GET":
            return 403, {"message": "Resource not accessible by personal access token"}
        return None

    def _dispatch(self, body: Json) -> tuple[int, Json | None]:
        payload = body.get("client_payload", {})
        if len(json.dumps(payload)) > LONGEST_PAYLOAD:
            return 422, {"message": "client_payload is too large."}
        self.dispatches.append(body)
        threading.Thread(target=self.workflow, args=(payload,), daemon=True).start()
        return 204, None

    def _status(self, body: Json, sha: str) -> tuple[int, Json | None]:
        if sha not in self.commits:
            return 422, {"message": f"No commit found for SHA: {sha}"}
        given = {"context": "default", "description": None, "target_url": None} | body
        of_it = self.statuses.setdefault(sha, [])
        if sum(one["context"] == given["context"] for one in of_it) >= STATUSES_OF_A_COMMIT:
            return 422, {"message": "Validation Failed"}
        of_it.append(given)
        return 201, {"id": len(of_it), "url": f"{self.url}/repos/{self.repository}/statuses/{sha}"} | given

    def _list(self, asked: Json, number: str) -> tuple[int, Any]:
        """The first page of the comments on a pull request, the oldest first."""
        if int(number) not in self.pulls:
            return 404, {"message": "Not Found"}
        found = [{"id": key, "body": one["body"]} for key, one in self.comments.items() if one["issue"] == int(number)]
        return 200, found[: int(asked.get("per_page", "30"))]

    def _comment(self, body: Json, number: str) -> tuple[int, Json | None]:
        if int(number) not in self.pulls:
            return 404, {"message": "Not Found"}
        identity = uuid.uuid4().int % 10**9
        self.comments[identity] = {"issue": int(number), "body": body["body"]}
        return 201, {"id": identity, "body": body["body"]}

    def _edit(self, body: Json, identity: str) -> tuple[int, Json | None]:
        if int(identity) not in self.comments:
            return 404, {"message": "Not Found"}
        self.comments[int(identity)]["body"] = body["body"]
        return 200, {"id": int(identity), "body": body["body"]}


@contextmanager
def serve(github: GitHub) -> Iterator[GitHub]:
    """Serves on the loopback interface, at `url`."""

    class Handler(BaseHTTPRequestHandler):
        def _act(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = github.answer(self.command, self.path, self.headers, raw)
            answer = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(answer)))
            for name, value in github.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PATCH = do_GET = _act  # noqa: N815 - http.server calls them so

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    github.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
