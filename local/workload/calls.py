"""Calls of AWS's API as the workload account reads them, and the answers that are its own."""

from __future__ import annotations

import json
import re
import urllib.parse
import uuid
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from local.faults import Fault

Environ = dict[str, Any]

DENIED = {"ec2": "UnauthorizedOperation", "ssm": "AccessDeniedException", "logs": "AccessDeniedException"}
"""How services say that IAM refuses; the others say AccessDenied."""


@dataclass(frozen=True)
class Session:
    """Who calls: a session of a role, with its tags."""

    account: str
    role: str
    name: str
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def arn(self) -> str:
        """As STS names it."""
        return f"arn:aws:sts::{self.account}:assumed-role/{self.role}/{self.name}"


@dataclass
class Call:
    service: str
    action: str
    access_key: str
    region: str
    parameters: dict[str, Any]  # lists of strings in the query protocols
    query: bool  # one of the query protocols, which answer in XML

    def said(self, name: str) -> str:
        """A parameter's first value, "" where it has none."""
        value = self.parameters.get(name, "")
        return str(value[0]) if isinstance(value, list) else str(value)

    def tags(self, prefix: str) -> dict[str, str]:
        """The tags below a prefix of the query protocols, such as `Tags.member`."""
        keys = (re.fullmatch(rf"{re.escape(prefix)}\.(\d+)\.Key", name) for name in self.parameters)
        return {self.said(each[0]): self.said(f"{prefix}.{each[1]}.Value") for each in keys if each}

    @property
    def page(self) -> bool:
        """Whether the call asks for a further page."""
        names = ("NextToken", "ExclusiveStartKey", "nextToken", "PaginationToken")
        return any(self.parameters.get(name) for name in names)


@dataclass
class Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.status.split()[0])

    @property
    def error(self) -> str | None:
        """AWS's error code, if this is an error."""
        if self.code < 400:
            return None
        found = re.search(rb'<Code>([^<]+)|"(?:__type|code)"\s*:\s*"(?:[^"]*#)?([^"]+)"', self.body)
        return (found.group(1) or found.group(2)).decode() if found else str(self.code)


def read_call(environ: Environ, body: bytes) -> Call:
    """Service and key come from the signature, the action from the protocol's own place for it."""
    signature = re.search(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    access_key, region, service = signature.groups() if signature else ("", "", "unknown")
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        parameters = json.loads(body) if body.startswith(b"{") else {}
        return Call(service, target.rpartition(".")[2], access_key, region, parameters, query=False)
    parameters = urllib.parse.parse_qs(body.decode(errors="replace") or environ.get("QUERY_STRING", ""))
    action = parameters.get("Action")
    name = action[0] if action else f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
    return Call(service, name, access_key, region, parameters, query=bool(action))


def fault_answer(call: Call, fault: Fault) -> Answer:
    """The error in the form in which the called service writes errors."""
    code, message = fault["error"], fault.get("message", f"injected: {fault['error']}")
    status = int(fault.get("status", 400))
    if call.query:
        kind, text = "text/xml", xml_error(call.service, escape(code), escape(message), status)
    else:
        kind, text = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    body = text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-ErrorType", code)]
    return Answer(f"{status} Error", headers, body)


def no_recipes(call: Call) -> Answer:
    """moto has no Image Builder: nobody has recipes here, which whoever looks for the use of images has to ask."""
    lists = {
        "POST /ListImageRecipes": "imageRecipeSummaryList",
        "POST /ListContainerRecipes": "containerRecipeSummaryList",
    }
    if call.action not in lists:
        return fault_answer(call, {"error": "NotImplemented", "status": 501})
    body = json.dumps({lists[call.action]: []}).encode()
    return Answer("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body)


def xml_error(service: str, code: str, message: str, status: int) -> str:
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    request = uuid.uuid4()
    if service == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request}</RequestID></Response>"
    side = "Sender" if status < 500 else "Receiver"
    return f"<ErrorResponse><Error><Type>{side}</Type>{error}</Error><RequestId>{request}</RequestId></ErrorResponse>"
