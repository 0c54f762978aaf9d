"""Why a request was not followed, for people: the same shape for whatever went wrong."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import ServiceError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)

from mayfly.contract.fields import short
from mayfly.observability import logger

NO_ROUTE = "Not found"
"""What Powertools says where no route fits."""


def plain(status: int, error: str) -> dict[str, Any]:
    """Turns a refusal into what the gateway takes."""
    headers = {"Content-Type": content_types.APPLICATION_JSON}
    return {"statusCode": status, "headers": headers, "body": json.dumps({"error": error})}


def register(app: APIGatewayHttpResolver) -> None:
    """Has a resolver answer its errors like this."""

    @app.exception_handler(ServiceError)
    def refused(refusal: ServiceError) -> Response[str]:
        asked = app.current_event
        nothing = f"there is no {asked.http_method} {asked.path}; /api/openapi.json says what there is"
        return said(refusal.status_code, {"error": nothing if refusal.msg == NO_ROUTE else refusal.msg})

    @app.exception_handler(RequestValidationError)
    def wrong(error: RequestValidationError) -> Response[str]:
        faults = error.errors()
        if faults[0]["type"] == "json_invalid":
            return said(HTTPStatus.BAD_REQUEST, {"error": f"body: expected JSON, but: {faults[0]['ctx']['error']}"})
        fields = [field_of(fault) for fault in faults]
        told = "; ".join(f"{one['field']}: {one['expected']}, but it is {one['value']}" for one in fields)
        return said(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": told, "fields": fields})

    @app.exception_handler([RequestUnsupportedContentType, UnicodeDecodeError])
    def not_json(error: Exception) -> Response[str]:
        return said(
            HTTPStatus.BAD_REQUEST, {"error": "body: expected JSON in UTF-8, with content-type application/json"}
        )

    @app.exception_handler(Exception)
    def broken(error: Exception) -> Response[str]:
        logger.exception("this request could not be answered")
        request = app.current_event.request_context.request_id
        return said(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"this did not work; the log says why, at {request}"})


def field_of(fault: Mapping[str, Any]) -> dict[str, str]:
    """Returns a fault that pydantic found."""
    path = [str(part) for part in fault["loc"]]
    # The first part says where: body, query, path.
    return {
        "field": ".".join(path[1:]) or path[0],
        "value": "nothing" if fault["type"] == "missing" else short(repr(fault["input"])),
        "expected": fault["msg"].removeprefix("Value error, "),
    }


def said(status: int, body: Mapping[str, Any]) -> Response[str]:
    """Turns a refusal into what the resolver takes."""
    return Response(status, content_types.APPLICATION_JSON, json.dumps(body))
