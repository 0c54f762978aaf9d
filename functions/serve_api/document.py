"""The OpenAPI document: made of the routes and their models when somebody asks for it."""

import json
from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import TypeAdapter
from shapes import Problem

from mayfly import __version__

_REFUSED = {
    "description": "Why not",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_VALIDATION = ("HTTPValidationError", "ValidationError", "ResponseValidationError")
"""Powertools' own shapes of errors; ours have another."""


@cache
def of(app: APIGatewayHttpResolver) -> str:
    """Returns the document of a resolver, as JSON."""
    # Imported here: making it is rare, and needs more than answering does.
    from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer

    made: dict[str, Any] = json.loads(
        app.get_openapi_json_schema(
            title="Mayfly",
            version=__version__,
            description="Disposable environments: see them, deploy, extend and end them. Every request needs a token.",
            security_schemes={"token": HTTPBearer(bearerFormat="JWT")},
            security=[{"token": []}],
        )
    )
    problem = TypeAdapter(Problem).json_schema(ref_template="#/components/schemas/{model}")
    schemas = made["components"]["schemas"]
    schemas |= problem.pop("$defs") | {"Problem": problem}
    for name in _VALIDATION:
        schemas.pop(name, None)
    for operation in (operation for path in made["paths"].values() for operation in path.values()):
        answers = {status: said for status, said in operation["responses"].items() if status < "400"}
        operation["responses"] = answers | {"default": _REFUSED}
    return json.dumps(made, indent=1)
