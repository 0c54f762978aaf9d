"""Who may do what through the HTTP API: a role from the groups that a token names, and a decision about an action."""

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mayfly.domain.guard import Permission
from mayfly.domain.text import clean

VIEWER, OPERATOR, DEVELOPER_OF, OWNER_OF = "viewer", "operator", "developer:", "owner:"
"""The groups. ``developer:webshop`` is one of an application's developers, ``owner:webshop`` one of its owners; there
may be several."""

_WHO_SHOWN = 256
"""Characters of a name that records keep."""

_DEVELOPERS = ("/api/releases", "/api/environments/", "/api/pull-requests/", "/api/blueprints/")
"""What the developers of an application may change, or have examined."""
_OWNERS = ("/api/rollouts/", "/api/services/")
"""What its owners may change besides. All other changes are an operator's."""


class Role(StrEnum):
    """What somebody is, by the most that a group gives."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    OWNER = "owner"
    OPERATOR = "operator"


class ApiAction(StrEnum):
    """What is wanted."""

    READ = "read"
    CHANGE = "change releases and environments"
    ROLL_OUT = "roll out permanent environments"
    OPERATE = "change what concerns all applications"


class Caller(Struct, frozen=True):
    """Who asks.

    Attributes:
        who: the name that records keep.
        role: None where no group of theirs means anything here.
        applications: those that they are a developer or an owner of. owned: the latter.
    """

    who: str
    role: Role | None
    applications: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()


class Team(Struct, frozen=True):
    """Groups of the identity provider whose members own an application, and those who develop it."""

    owners: Collection[str] = ()
    developers: Collection[str] = ()


def groups_of(claims: Mapping[str, Any], groups_claim: str) -> list[str]:
    """Returns the groups that a token names.

    Args:
        claims: the token's, as the issuer wrote them.
        groups_claim: which of them holds the groups, a list. Words in a text are none: a name may have blanks.
    """
    said = claims.get(groups_claim)
    return [group for group in said if isinstance(group, str)] if isinstance(said, list) else []


def is_ours(group: str) -> bool:
    """Tells whether a group means something by its own name."""
    return group in (VIEWER, OPERATOR) or group.startswith((DEVELOPER_OF, OWNER_OF))


def caller(claims: Mapping[str, Any], groups_claim: str, teams: Mapping[str, Team] = MappingProxyType({})) -> Caller:
    """Tells who a verified token speaks for.

    Args:
        claims, groups_claim: see `groups_of`.
        teams: of each application, the groups whose members own or develop it by its configuration.
    """
    groups = groups_of(claims, groups_claim)
    owned = _named_by(groups, OWNER_OF, {name: team.owners for name, team in teams.items()})
    developed = _named_by(groups, DEVELOPER_OF, {name: team.developers for name, team in teams.items()})
    mine = Caller(_who(claims), None, tuple(sorted(owned | developed)), tuple(sorted(owned)))
    return replace(mine, role=_role(groups, mine))


def _named_by(groups: Collection[str], prefix: str, teams: Mapping[str, Collection[str]]) -> set[str]:
    """Returns the applications that groups name by their own names, or that name them."""
    own = {group.removeprefix(prefix) for group in groups if group.startswith(prefix)} - {""}
    return own | {name for name, team in teams.items() if not set(team).isdisjoint(groups)}


def _who(claims: Mapping[str, Any]) -> str:
    # An address that nobody verified may be anybody's.
    verified = claims.get("email_verified") is True
    names = ("email", "username", "cognito:username", "sub")[0 if verified else 1 :]
    return next((clean(str(claims[name]))[:_WHO_SHOWN] for name in names if claims.get(name)), "")


def _role(groups: Iterable[str], mine: Caller) -> Role | None:
    if OPERATOR in groups:
        return Role.OPERATOR
    if mine.owned:
        return Role.OWNER
    if mine.applications:
        return Role.DEVELOPER
    return Role.VIEWER if VIEWER in groups else None


def action_of(method: str, path: str) -> ApiAction:
    """Returns what a request wants. What is not known to be a developer's or an owner's is an operator's."""
    if method in ("GET", "HEAD"):
        return ApiAction.READ
    if path.startswith(_OWNERS):
        return ApiAction.ROLL_OUT
    return ApiAction.CHANGE if path.startswith(_DEVELOPERS) else ApiAction.OPERATE


def may(caller: Caller, action: ApiAction, application: str | None = None) -> Permission:
    """Decides whether the caller may do this, and says why (not).

    Args:
        application: whose releases or environments are to change; None where that is not known yet: then it is
            enough to be a developer or an owner of any.
    """
    who = caller.who or "nobody"
    if not caller.who or caller.role is None:
        return Permission(False, f"{who} is in no group that may see Mayfly: ask to be added to '{VIEWER}'")
    if action is ApiAction.READ or caller.role is Role.OPERATOR:
        return Permission(True, f"{who} is {caller.role}")
    theirs, prefix = _OF_APPLICATIONS[action](caller) if action in _OF_APPLICATIONS else ((), "")
    if application in theirs if application else theirs:
        return Permission(True, f"{who} is {_named(caller)}")
    wanted = f"'{prefix}{application or '<application>'}' and '{OPERATOR}'" if prefix else f"'{OPERATOR}'"
    return Permission(False, f"only members of {wanted} may {action}, but {who} is {_named(caller)}")


_OF_APPLICATIONS: Mapping[ApiAction, Callable[[Caller], tuple[tuple[str, ...], str]]] = {
    ApiAction.CHANGE: lambda caller: (caller.applications, DEVELOPER_OF),
    ApiAction.ROLL_OUT: lambda caller: (caller.owned, OWNER_OF),
}
"""Of what concerns one application: those that somebody may do it to, and how the group is called that may."""


def _named(caller: Caller) -> str:
    return f"{caller.role} of {', '.join(caller.applications)}" if caller.applications else str(caller.role)
