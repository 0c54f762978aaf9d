"""The HTTP API, and the console that uses it. Everything below /api/ needs a token that the gateway has verified; what
one may do with it is decided here, and whatever is refused is explained and logged."""

import json
from typing import Any

import asking
import changes
import document
import pages
import reads
import refusals
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import ServiceError

from mayfly import __version__
from mayfly.observability import logger
from mayfly.settings import load_sign_in

SCOPES = "openid email profile"

app = APIGatewayHttpResolver(enable_validation=True, response_validation_error_http_code=500)
app.include_router(reads.router)
app.include_router(changes.router)
refusals.register(app)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Who asks is settled before what is asked is even read."""
    needs_token = event["rawPath"].startswith("/api/")
    try:
        if needs_token:
            app.context.update(caller=asking.admit(event), now=asking.asked_at(event))
            asking.check_depth(event)
        answer = app.resolve(event, context)
    except ServiceError as refusal:
        answer = refusals.plain(refusal.status_code, str(refusal.msg))
    answer["headers"] |= security() | ({"Cache-Control": "no-store"} if needs_token else {})
    return answer


def security() -> dict[str, str]:
    """Headers that keep a browser from doing with an answer what it is not meant for."""
    issuer = load_sign_in().sign_in or "/".join(load_sign_in().issuer.split("/")[:3])
    policy = {
        "default-src": "'self'",
        "connect-src": f"'self' {issuer}",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{what} {where}" for what, where in policy.items()),
        "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


@app.get("/", include_in_schema=False, enable_validation=False)
def console() -> Response[bytes]:
    """Returns the console."""
    return pages.answer("index.html", app.current_event.headers)


@app.get("/config.json", include_in_schema=False, enable_validation=False)
def config() -> Response[str]:
    """Returns what the console has to know before anybody signs in."""
    settings = load_sign_in()
    said = {"issuer": settings.issuer, "client_id": settings.client_id, "sign_in": settings.sign_in}
    said |= {"scopes": SCOPES, "version": __version__}
    # Cognito's access tokens name groups and client; what another issuer's are for, is its own business.
    said["token"] = "access_token" if settings.sign_in else "id_token"
    return Response(200, content_types.APPLICATION_JSON, json.dumps(said), {"Cache-Control": "no-cache"})


@app.get("/api/openapi.json", include_in_schema=False, enable_validation=False, compress=True)
def openapi() -> Response[str]:
    """Returns what there is below /api/."""
    return Response(200, content_types.APPLICATION_JSON, document.of(app))


@app.get("/<name>", include_in_schema=False, enable_validation=False)
def asset(name: str) -> Response[bytes]:
    """Returns a file of the console."""
    return pages.answer(name, app.current_event.headers, app.current_event.query_string_parameters.get("v"))
