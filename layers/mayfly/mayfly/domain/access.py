"""Who may do what through the HTTP API: a role from the groups that a token names, and a decision about an action."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mayfly.domain.guard import Permission

VIEWER, OPERATOR, DEVELOPER_OF = "viewer", "operator", "developer:"
"""The groups. ``developer:webshop`` is one of an application's developers; there may be several."""

_WHO_SHOWN = 256
"""Characters of a name that records keep."""

_DEVELOPERS = ("/api/releases", "/api/environments/")
"""What the developers of an application may change. All other changes are an operator's."""


class Role(StrEnum):
    """What somebody is, by the most that a group gives."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    OPERATOR = "operator"


class Action(StrEnum):
    """What is wanted."""

    READ = "read"
    CHANGE = "change releases and environments"
    OPERATE = "change what concerns all applications"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        who: the name that records keep.
        role: None where no group of theirs means anything here.
        applications: those that they are a developer of.
    """

    who: str
    role: Role | None
    applications: tuple[str, ...] = ()


def caller(claims: Mapping[str, Any], groups_claim: str) -> Caller:
    """Who a verified token speaks for.

    Args:
        claims: the token's, as the issuer wrote them.
        groups_claim: which of them holds the groups: a list, or words with blanks between, as `scope` has them.
    """
    said = claims.get(groups_claim) or []
    groups = said.split() if isinstance(said, str) else [str(group) for group in said]
    names = {group.removeprefix(DEVELOPER_OF) for group in groups if group.startswith(DEVELOPER_OF)}
    applications = tuple(sorted(names - {""}))
    return Caller(_who(claims), _role(groups, applications), applications)


def _who(claims: Mapping[str, Any]) -> str:
    # An address that nobody verified may be anybody's.
    verified = str(claims.get("email_verified", True)).lower() == "true"
    names = ("email", "username", "cognito:username", "sub")[0 if verified else 1 :]
    return next((str(claims[name])[:_WHO_SHOWN] for name in names if claims.get(name)), "")


def _role(groups: Iterable[str], applications: tuple[str, ...]) -> Role | None:
    if OPERATOR in groups:
        return Role.OPERATOR
    if applications:
        return Role.DEVELOPER
    return Role.VIEWER if VIEWER in groups else None


def action_of(method: str, path: str) -> Action:
    """What a request wants. What is not known to be a developer's is an operator's."""
    if method in ("GET", "HEAD"):
        return Action.READ
    return Action.CHANGE if path.startswith(_DEVELOPERS) else Action.OPERATE


def may(caller: Caller, action: Action, application: str | None = None) -> Permission:
    """Whether they may, and why (not).

    Args:
        application: whose releases or environments are to change; None where that is not known yet: then it is
            enough to be a developer of any.
    """
    who = caller.who or "nobody"
    if not caller.who or caller.role is None:
        return Permission(False, f"{who} is in no group that may see Mayfly: ask to be added to '{VIEWER}'")
    if action is Action.READ or caller.role is Role.OPERATOR:
        return Permission(True, f"{who} is {caller.role}")
    if action is Action.CHANGE and (application in caller.applications if application else caller.applications):
        return Permission(True, f"{who} is {_named(caller)}")
    wanted = f"'{OPERATOR}'"
    if action is Action.CHANGE:
        wanted = f"'{DEVELOPER_OF}{application or '<application>'}' and {wanted}"
    return Permission(False, f"only members of {wanted} may {action}, but {who} is {_named(caller)}")


def _named(caller: Caller) -> str:
    return f"{caller.role} of {', '.join(caller.applications)}" if caller.applications else str(caller.role)
