"""Who asks for what: the token that the gateway has verified, and the answer to one who may not."""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.exceptions import ForbiddenError, UnauthorizedError

from mayfly.domain import access
from mayfly.domain.access import Action, Caller
from mayfly.observability import logger
from mayfly.settings import sign_in


def admit(event: Mapping[str, Any]) -> Caller:
    """Who asks, if they may ask for anything like this at all. Whose application it is about, the route knows.

    Raises:
        UnauthorizedError: no token that the gateway has verified. ForbiddenError: says which group is missing.
    """
    caller = access.caller(claims_of(event), sign_in().groups_claim)
    http = event["requestContext"]["http"]
    logger.append_keys(who=caller.who)
    permit(caller, access.action_of(http["method"], event["rawPath"]))
    return caller


def permit(caller: Caller, action: Action, application: str | None = None) -> None:
    """Lets pass who may.

    Raises:
        ForbiddenError: says why not.
    """
    permission = access.may(caller, action, application)
    if not permission.granted:
        logger.warning("refused", extra={"action": action, "application": application, "reason": permission.reason})
        raise ForbiddenError(permission.reason)


def claims_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The claims of the token that the gateway has verified.

    They are read from the token itself: the gateway hands lists over as text ("[a b]"), where the group "Site operator"
    would look like two.

    Raises:
        UnauthorizedError: there is no verified token. Whatever route of the gateway led here, nobody gets in without.
    """
    verified = event["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims", {})
    words = event.get("headers", {}).get("authorization", "").split()
    try:
        payload = words[-1].split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        same = all(str(claims[name]) == verified[name] for name in ("iss", "sub"))
    except (IndexError, KeyError, ValueError, TypeError, binascii.Error):
        same = False
    if not same:
        raise UnauthorizedError("no valid token: sign in, and send it as `Authorization: Bearer <token>`")
    return claims


def asked_at(event: Mapping[str, Any]) -> datetime:
    """When the gateway took the request."""
    return datetime.fromtimestamp(event["requestContext"]["timeEpoch"] / 1000, UTC)


def now_of(router: Router) -> datetime:
    """When the request came that a route answers."""
    now: datetime = router.context["now"]
    return now


def caller_of(router: Router) -> Caller:
    """Who asks for what a route answers."""
    caller: Caller = router.context["caller"]
    return caller
