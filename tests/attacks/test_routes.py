"""Every route of the HTTP API by every role and every application: what the decision says of each, before anything is
read. What the functions then do of it is in tests/integration/test_serving_api.py (TestWhoMay)."""

import json
from itertools import product
from typing import Any

import pytest

from mayfly.domain.access import ApiAction, action_of, caller, may
from tests.unit.policies import ROOT

PATHS = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
ROUTES = sorted((method.upper(), path) for path, methods in PATHS.items() for method in methods)
OF_DEVELOPERS = {
    ("POST", "/api/blueprints/check"),
    ("POST", "/api/releases"),
    ("POST", "/api/environments/{id}/extension"),
    ("POST", "/api/environments/{id}/termination"),
    ("POST", "/api/environments/{id}/result"),
    ("POST", "/api/pull-requests/{application}/{number}/closing"),
    ("POST", "/api/environments/{id}/sleep"),
    ("POST", "/api/environments/{id}/waking"),
}
"""What the developers of an application may change or ask of their own."""
OF_OWNERS = {
    ("POST", "/api/rollouts/{id}/approval"),
    ("POST", "/api/rollouts/{id}/pause"),
    ("POST", "/api/rollouts/{id}/resumption"),
    ("POST", "/api/rollouts/{id}/abort"),
    ("POST", "/api/services/{id}/rollout"),
    ("POST", "/api/services/{id}/sleep"),
    ("POST", "/api/services/{id}/waking"),
}
"""What its owners may besides. All other changes are an operator's."""
CLAIM = "cognito:groups"
GROUPS: dict[str, Any] = {
    "nobody": [],
    "nobody, in a group that means nothing": ["staff", "Operator", "operator ", "developer", "developer:"],
    "nobody, by a text": "operator",
    "a viewer": ["viewer"],
    "a developer of webshop": ["developer:webshop"],
    "a developer of billing": ["developer:billing", "viewer"],
    "an owner of webshop": ["owner:webshop"],
    "an owner of billing": ["owner:billing", "developer:webshop"],
    "an operator": ["operator"],
}
THEIRS = {
    "a developer of webshop": (("webshop",), ()),
    "a developer of billing": (("billing",), ()),
    "an owner of webshop": (("webshop",), ("webshop",)),
    "an owner of billing": (("billing", "webshop"), ("billing",)),
}
"""The applications that somebody develops, and those of them that they own."""
APPLICATIONS = ("webshop", "billing", "unknown", "WEBSHOP", "", None)
"""Whose release or environment it is, None while that is not known yet."""


def expected(route: tuple[str, str], who: str, application: str | None) -> bool:
    if who == "an operator":
        return True
    if who.startswith("nobody"):
        return False
    if route[0] == "GET":
        return True
    developed, owned = THEIRS.get(who, ((), ()))
    theirs = owned if route in OF_OWNERS else developed if route in OF_DEVELOPERS else ()
    return application in theirs if application else bool(theirs)


@pytest.mark.parametrize("who", GROUPS)
@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_route_is_for_whom_it_is_meant(route: tuple[str, str], who: str) -> None:
    speaking = caller({"username": "ada", CLAIM: GROUPS[who]}, CLAIM)
    for application in APPLICATIONS:
        granted = may(speaking, action_of(*route), application).granted
        assert granted == expected(route, who, application), application


@pytest.mark.parametrize(
    ("method", "path"), product(("POST", "PUT", "PATCH", "DELETE"), ("/api/x", "/api/", "/api/me"))
)
def test_what_nobody_has_thought_of_is_an_operator_s(method: str, path: str) -> None:
    assert action_of(method, path) is ApiAction.OPERATE


def test_a_token_that_names_nobody_is_nobody_s() -> None:
    for route, application in product(ROUTES, APPLICATIONS):
        assert not may(caller({CLAIM: ["operator"]}, CLAIM), action_of(*route), application).granted
