"""The console's own port. On AWS the HTTP API and the hosted UI of Cognito have addresses of their own, which no
browser finds here: both are at the root of this port."""

import importlib
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

type Scope = MutableMapping[str, Any]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

HOSTED_UI = re.compile(rb"https://[a-z0-9-]+\.auth\.[a-z0-9-]+\.amazoncognito\.com")
_SIGN_IN = ("/oauth2/", "/login", "/logout")


def as_on_aws(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """The request as MiniStack takes it, and the answer with the hosted UI's address as it is here."""
    if scope["path"].startswith(_SIGN_IN):
        return scope, send
    here = f"http://127.0.0.1:{scope['server'][1]}"
    names_it = scope["path"] == "/config.json"

    async def send_on(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [(name, _replaced(value, here)) for name, value in message["headers"]]
            # With the address, the body's length may change.
            kept = [one for one in headers if not (names_it and one[0].lower() == b"content-length")]
            message = {**message, "headers": kept}
        elif names_it:
            message = {**message, "body": _replaced(message.get("body", b""), here)}
        await send(message)

    prefix = f"/_aws/execute-api/{_api()}/$default"
    raw = prefix.encode() + scope.get("raw_path", scope["path"].encode())
    return {**scope, "path": prefix + scope["path"], "raw_path": raw}, send_on


def _replaced(value: bytes, here: str) -> bytes:
    return HOSTED_UI.sub(here.encode(), value)


def _api() -> str:
    """The one HTTP API there is; "none" before Mayfly is installed."""
    apis = importlib.import_module("ministack.services.apigateway")._apis
    return next((str(api) for (_, _, api), _ in apis.all_items()), "none")
