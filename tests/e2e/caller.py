"""Somebody who uses the HTTP API with a token, or without."""

import json
from dataclasses import dataclass
from typing import Any

import requests

from local import users
from local.cloud import PATIENCE_SECONDS
from tests.e2e.driver import Driver


@dataclass(frozen=True)
class Caller:
    """One who asks, and what is answered."""

    url: str
    token: str | None

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        """One request."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        data = None if body is None else json.dumps(body)
        return requests.request(method, self.url + path, headers=headers, data=data, timeout=PATIENCE_SECONDS)

    def read(self, path: str) -> Any:
        """What is there, which must be."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def want(self, method: str, path: str, body: object) -> Any:
        """Has something accepted."""
        answer = self.ask(method, path, body)
        assert answer.status_code == 202, answer.text
        return answer.json()


def member(mayfly: Driver, name: str, *groups: str) -> Caller:
    """A user in these groups, who is signed in."""
    users.make(mayfly.cloud, mayfly.outputs, name, groups)
    return with_token(mayfly, users.token(mayfly.cloud, mayfly.outputs, name))


def with_token(mayfly: Driver, token: str | None) -> Caller:
    """Whoever has this token."""
    return Caller(mayfly.cloud.console_url, token)
