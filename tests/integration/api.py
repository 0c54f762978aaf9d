"""Requests to the HTTP API as the gateway hands them over: with the token that it has verified."""

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from tests.integration.world import ISSUER, LATER, World

type Json = dict[str, Any]

GROUPS: dict[str, tuple[str, ...]] = {
    "viewer": ("viewer",),
    "developer": ("developer:webshop",),
    "stranger": ("developer:other",),
    "operator": ("operator",),
    "nobody": (),
}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str | bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.text)


def token(who: str, groups: Any, **more: Any) -> tuple[str, Json]:
    """A token, unsigned as nobody checks it any more, and its claims."""
    claims = {"iss": ISSUER, "sub": f"sub-{who}", "username": who, "cognito:groups": list(groups)} | more
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims))
    return ".".join([*parts, "signature"]), claims


@dataclass
class Api:
    """The API for one who asks; `as_who` and `groups` may be anybody's."""

    world: World
    who: str = "operator"
    at: str = LATER
    claims: Json = field(default_factory=dict)

    def of(self, who: str, **claims: Any) -> "Api":
        """The same for somebody else; one of `GROUPS`."""
        return Api(self.world, who, self.at, claims)

    def event(self, method: str, path: str, body: object = None, query: Json | None = None) -> Json:
        """The request as Lambda gets it."""
        said, claims = token(self.who, GROUPS[self.who], **self.claims)
        flat = {
            name: "[" + " ".join(value) + "]" if isinstance(value, list) else str(value)
            for name, value in claims.items()
        }
        return {
            "version": "2.0",
            "routeKey": "ANY /api/{proxy+}",
            "rawPath": path,
            "rawQueryString": urlencode(query or {}),
            "queryStringParameters": {name: str(value) for name, value in (query or {}).items()},
            "headers": {"authorization": f"Bearer {said}", "content-type": "application/json"},
            "requestContext": {
                "accountId": "111111111111",
                "apiId": "a1b2c3d4",
                "authorizer": {"jwt": {"claims": flat, "scopes": None}},
                "http": {
                    "method": method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "x",
                },
                "requestId": "request-1",
                "stage": "$default",
                "timeEpoch": int(datetime.fromisoformat(self.at).timestamp() * 1000),
            },
            **_sent(body),
        }

    def call(self, event: Json) -> Answer:
        """What the function answers to this event."""
        said = self.world.call("serve_api", event)
        text = base64.b64decode(said["body"]) if said.get("isBase64Encoded") else said["body"]
        return Answer(said["statusCode"], said["headers"], text)

    def get(self, path: str, **query: Any) -> Answer:
        """Reads."""
        return self.call(self.event("GET", path, query=query))

    def post(self, path: str, body: object) -> Answer:
        """Asks for a change."""
        return self.call(self.event("POST", path, body))

    def put(self, path: str, body: object) -> Answer:
        """Asks for a state."""
        return self.call(self.event("PUT", path, body))


def _sent(body: object) -> Json:
    """A body as the gateway hands it over: what is no text, packed."""
    if isinstance(body, bytes):
        return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    return {"isBase64Encoded": False} | ({} if text is None else {"body": text})
