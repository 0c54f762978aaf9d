"""Who asks for what: the token that the gateway has verified, and the answer to one who may not."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.exceptions import BadRequestError, ForbiddenError, UnauthorizedError

from mayfly.contract.configuration import Application
from mayfly.domain import access
from mayfly.domain.access import ApiAction, Caller, Team
from mayfly.observability import logger
from mayfly.settings import load_settings, load_sign_in
from mayfly.workflows import catalogue

_BEARER = re.compile(r"Bearer +[A-Za-z0-9_-]+\.(?P<payload>[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+", re.IGNORECASE)
"""Exactly one token: which of several the gateway has looked at, nobody says."""
_MATTER = (
    *("iss", "sub", "aud", "client_id", "exp", "iat", "nbf", "token_use"),
    *("email", "email_verified", "username", "cognito:username"),
)
"""Claims by which anything is decided or written down."""
_TEXTS, _BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"'), re.compile(r"[\[\]{}]")
_DEEPEST = 20
_LIST = re.compile(r"[\[\]\"',]")


def admit(event: Mapping[str, Any]) -> Caller:
    """Returns who asks, if they may ask for anything of this kind. The route knows which application it is about.

    Raises:
        UnauthorizedError: no token that the gateway has verified. ForbiddenError: says which group is missing.
    """
    claims, claim = claims_of(event), load_sign_in().groups_claim
    # Most groups are Mayfly's own, and say by themselves what they mean.
    foreign = not all(map(access.is_ours, access.groups_of(claims, claim)))
    minute = event["requestContext"]["timeEpoch"] // 60_000
    caller = access.caller(claims, claim, teams(minute) if foreign else {})
    http = event["requestContext"]["http"]
    logger.append_keys(who=caller.who)
    permit(caller, access.action_of(http["method"], event["rawPath"]))
    return caller


@lru_cache(maxsize=1)
def teams(minute: int) -> dict[str, Team]:
    """Of each application, the groups whose members own or develop it; looked up once a minute."""
    found = catalogue.applications(load_settings().parameters)
    return {name: Team(one.owners, one.developers) for name, one in found if isinstance(one, Application)}


def permit(caller: Caller, action: ApiAction, application: str | None = None) -> None:
    """Lets a caller pass who may do this.

    Raises:
        ForbiddenError: says why not.
    """
    permission = access.may(caller, action, application)
    if not permission.granted:
        logger.warning("refused", extra={"action": action, "application": application, "reason": permission.reason})
        raise ForbiddenError(permission.reason)


def claims_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the claims of the token that the gateway has verified.

    They are read from the token itself: the gateway hands lists over as text ("[a b]"), where the group "Site operator"
    would look like two.

    Raises:
        UnauthorizedError: there is no verified token. Whatever route of the gateway led here, nobody gets in without.
    """
    verified = event["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims", {})
    token = _BEARER.fullmatch(event.get("headers", {}).get("authorization", ""))
    try:
        payload = token["payload"] if token else ""
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        names = {*_MATTER, load_sign_in().groups_claim} & claims.keys()
        same = all(name in verified and _is(claims[name], verified[name]) for name in names)
    except (AttributeError, ValueError, TypeError, RecursionError, binascii.Error):
        same = False
    if not same or not {"iss", "sub"} <= claims.keys():
        raise UnauthorizedError("no valid token: sign in, and send it as `Authorization: Bearer <token>`")
    return claims


def _is(said: object, shown: object) -> bool:
    """Tells whether a claim is what the gateway shows of it: text as it is, lists in brackets, all else as JSON writes
    it."""
    if isinstance(said, str):
        return said == shown
    if isinstance(said, list):
        return _LIST.sub(" ", str(shown)).split() == " ".join(_LIST.sub(" ", str(one)) for one in said).split()
    return str(shown).lower() == str(said).lower()


def check_depth(event: Mapping[str, Any]) -> None:
    """Refuses a body that is nested too deeply: a parser goes as deep as what it reads.

    Raises:
        BadRequestError: the body is nested deeper than anything that can be asked for.
    """
    depth = deepest = 0
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode(errors="replace")
    for bracket in _BRACKETS.findall(_TEXTS.sub("", body)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        raise BadRequestError(f"body: expected JSON that is nested {_DEEPEST} deep at most, but it is {deepest}")


def asked_at(event: Mapping[str, Any]) -> datetime:
    """Tells when the gateway took the request."""
    return datetime.fromtimestamp(event["requestContext"]["timeEpoch"] / 1000, UTC)


def now_of(router: Router) -> datetime:
    """Tells when the request came that a route answers."""
    now: datetime = router.context["now"]
    return now


def caller_of(router: Router) -> Caller:
    """Tells who asks for what a route answers."""
    caller: Caller = router.context["caller"]
    return caller
