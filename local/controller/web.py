"""The web outside of AWS, as state machines reach it: HTTP tasks of Step Functions, which MiniStack has not, with the
connections of EventBridge that it has.

There is no internet here. A test says which server stands for a host (`cloud.stand_in("api.github.com", url)`);
any other host cannot be found.
"""

from __future__ import annotations

import importlib
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

LONGEST = 256 * 1024  # bytes of an answer that a state machine takes
SECONDS = 60  # that an HTTP task may take
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
FIELDS = {"ApiEndpoint", "Method", "Authentication", "Headers", "QueryParameters", "RequestBody", "Transform"}


class Web:
    """The hosts that are there."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}

    def stand_in(self, body: Mapping[str, str]) -> None:
        """From now on, a server stands for a host."""
        self._hosts[body["host"]] = body["url"]

    def install(self) -> None:
        """State machines can call it."""
        sfn: Any = importlib.import_module("ministack.services.stepfunctions")
        events: Any = importlib.import_module("ministack.services.eventbridge")
        sfn._SERVICE_DISPATCH["arn:aws:states:::http:invoke"] = lambda _, arguments: self._invoke(
            arguments, sfn._ExecutionError, events
        )
        create = events._create_connection

        def create_connection(data: Json) -> Any:
            """MiniStack's ARN of a connection ends with its name; on AWS, an id follows."""
            answer = create(data)
            if answer[0] != 200:
                return answer
            kept = events._connections[data["Name"]]
            kept["ConnectionArn"] = f"{kept['ConnectionArn']}/{uuid.uuid4()}"
            return events.json_response(json.loads(answer[2]) | {"ConnectionArn": kept["ConnectionArn"]})

        events._create_connection = create_connection

    def _invoke(self, arguments: Json, failed: Any, events: Any) -> Json:
        unknown = arguments.keys() - FIELDS
        url = urllib.parse.urlsplit(arguments["ApiEndpoint"])
        if unknown or url.scheme != "https" or arguments["Method"] not in METHODS:
            raise failed("States.Runtime", f"no HTTP task: {sorted(unknown)} {url.scheme} {arguments['Method']}")
        connection = _connection(arguments["Authentication"]["ConnectionArn"], events)
        if connection is None:
            raise failed("Events.ConnectionResource.NotFound", arguments["Authentication"]["ConnectionArn"])
        request = self._request(arguments, connection, events)
        try:
            if request is None:
                raise urllib.error.URLError(f"unknown host {url.hostname}")
            with events._http_open(request, SECONDS) as answer:
                return _answer(answer, answer.status, answer.reason)
        except urllib.error.HTTPError as error:
            said = _answer(error, error.code, error.reason)
            raise failed(f"States.Http.StatusCode.{error.code}", json.dumps(said["ResponseBody"])) from None
        except OSError as error:
            raise failed("States.Http.Socket", str(error)) from None

    def _request(self, arguments: Json, connection: Json, events: Any) -> urllib.request.Request | None:
        """Adds what the connection says to a request; the connection wins. None where no stand-in serves the host."""
        url = urllib.parse.urlsplit(arguments["ApiEndpoint"])
        base = self._hosts.get(str(url.hostname))
        if base is None:
            return None
        added = (connection.get("AuthParameters") or {}).get("InvocationHttpParameters") or {}
        parameters = {name: events._connection_params_map(added.get(name)) for name in added}
        query = arguments.get("QueryParameters", {}) | parameters.get("QueryStringParameters", {})
        headers = arguments.get("Headers", {}) | parameters.get("HeaderParameters", {})
        body = arguments.get("RequestBody")
        if isinstance(body, dict):
            body = body | parameters.get("BodyParameters", {})
        form = arguments.get("Transform", {}).get("RequestBodyEncoding") == "URL_ENCODED"
        if body is not None:
            kind = "application/x-www-form-urlencoded" if form else "application/json"
            headers = {"Content-Type": kind} | headers
            body = (urllib.parse.urlencode(body) if form else json.dumps(body)).encode()
        headers |= events._connection_auth_headers(connection, None)
        headers["User-Agent"] = "Amazon|StepFunctions|HttpInvoke|us-east-1"
        target = f"{base}{url.path}{'?' + urllib.parse.urlencode(query) if query else ''}"
        return urllib.request.Request(target, body, headers, method=arguments["Method"])


def _connection(arn: str, events: Any) -> Json | None:
    for one in events._connections.values():
        if one["ConnectionArn"] == arn and one["ConnectionState"] == "AUTHORIZED":
            return dict(one)
    return None


def _answer(answer: Any, status: int, text: str) -> Json:
    raw = answer.read(LONGEST + 1)
    said: Any = raw.decode(errors="replace")
    if "json" in answer.headers.get("Content-Type", ""):
        said = json.loads(raw or b"null")
    headers = {name: [value] for name, value in answer.headers.items()}
    return {"StatusCode": status, "StatusText": text, "Headers": headers, "ResponseBody": said}
