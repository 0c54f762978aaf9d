"""Signing in as a browser does: by code and PKCE, through the page of the user pool."""

from __future__ import annotations

import base64
import hashlib
import secrets
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

type Json = dict[str, Any]

SECONDS = 30


class _Form(HTMLParser):
    """The first form with a password, and what is filled in already."""

    def __init__(self) -> None:
        super().__init__()
        self.action, self.fields = "", dict[str, str]()
        self._complete = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes a form and its hidden fields."""
        said = dict(attrs)
        if tag == "form" and not self._complete:
            self.action, self.fields = said.get("action") or "", {}
        if tag == "input" and said.get("type") == "hidden" and not self._complete:
            self.fields[said.get("name") or ""] = said.get("value") or ""
        if tag == "input" and said.get("type") == "password":
            self._complete = True


def verifier() -> str:
    """What a client keeps until it exchanges its code."""
    return secrets.token_urlsafe(48)


def code(config: Json, back: str, kept: str, person: tuple[str, str]) -> str:
    """Signs a person in, by name and password, on the user pool's page; returns the code that it sends back.

    Raises:
        ValueError: the page sends back something else.
    """
    challenge = base64.urlsafe_b64encode(hashlib.sha256(kept.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": config["client_id"],
        "redirect_uri": back,
        "scope": config["scopes"],
        "state": "s1",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    with requests.Session() as browser:
        page = browser.get(f"{config['sign_in']}/oauth2/authorize", params=query, timeout=SECONDS)
        form = _Form()
        form.feed(page.text)
        filled = form.fields | {"username": person[0], "password": person[1]}
        where = urljoin(page.url, form.action)
        answer = browser.post(where, filled, allow_redirects=False, timeout=SECONDS)
    sent = answer.headers.get("Location", "")
    said = parse_qs(urlsplit(sent).query)
    if not sent.startswith(back) or said.get("state") != ["s1"] or "code" not in said:
        raise ValueError(f"expected {back} with a code and the state s1, but the page sends to {sent or page.url}")
    return said["code"][0]


def exchange(config: Json, back: str, kept: str, given: str) -> requests.Response:
    """Exchanges a code for tokens."""
    asked = {
        "grant_type": "authorization_code",
        "client_id": config["client_id"],
        "redirect_uri": back,
        "code": given,
        "code_verifier": kept,
    }
    return requests.post(f"{config['sign_in']}/oauth2/token", data=asked, timeout=SECONDS)
