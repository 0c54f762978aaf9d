"""What developers see beside their commits: a status with a link, and a comment on the pull request."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from msgspec import Struct

from mayfly.contract.vocabulary import Outcome

type State = Literal["pending", "success", "failure", "error"]

API = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}
_STATES: dict[str, dict[str, str]] = {
    "github": {"pending": "pending", "success": "success", "failure": "failure", "error": "error"},
    "gitlab": {"pending": "running", "success": "success", "failure": "failed", "error": "failed"},
}
_DESCRIPTION = 140
"""Characters of a description that GitHub takes."""
_LOOKED_AT = {"github": {"per_page": "20"}, "gitlab": {"per_page": "20", "order_by": "created_at", "sort": "desc"}}
"""Of the comments on a pull request: few, as Step Functions takes 256 KB of an answer."""
_HEADER = ("suite", "outcome", "environment", "until (UTC)")


class Repository(Struct, frozen=True):
    """Whose API is called, and of which repository."""

    kind: str
    name: str
    api: str
    context: str
    """The name of the status."""

    @property
    def url(self) -> str:
        """The repository's own part of the API."""
        if self.kind == "github":
            return f"{self.api}/repos/{self.name}"
        return f"{self.api}/projects/{quote(self.name, safe='')}"


class Call(Struct, frozen=True):
    """A request of a forge's API."""

    method: str
    url: str
    body: Mapping[str, Any]


class Suite(Struct, frozen=True):
    """A suite as a comment shows it.

    Attributes:
        outcome: None while it runs. addresses: web addresses among the outputs of its environment, by name.
        deadline: of an environment that lives.
    """

    name: str
    outcome: Outcome | None
    reason: str
    addresses: Mapping[str, str]
    deadline: str | None


def state_of(outcomes: Sequence[Outcome] | None, passed: bool) -> State:
    """The state of a commit. Where no suite has failed by its tests, and yet one did not pass, that is an error."""
    if outcomes is None:
        return "pending"
    if passed:
        return "success"
    return "failure" if Outcome.FAILED in outcomes else "error"


def status(repository: Repository, commit: str, state: State, said: str, link: str) -> Call:
    """Sets the status of a commit."""
    short = said if len(said) <= _DESCRIPTION else said[: _DESCRIPTION - 1] + "…"
    body = {"state": _STATES[repository.kind][state], "description": short}
    body |= {"target_url": link} if link else {}
    body["context" if repository.kind == "github" else "name"] = repository.context
    return Call("POST", f"{repository.url}/statuses/{commit}", body)


def comment(repository: Repository, number: int, text: str, since: str) -> Mapping[str, Any]:
    """How the one comment on a pull request is looked for, posted and changed (at its id). It begins with a marker that
    nobody sees, and that the machine makes unguessable where it posts one.

    Args:
        since: from when on it may have been written. Of GitLab the newest are looked at.
    """
    marker = f"<!-- {repository.context} shows {repository.name} {number} here -->"
    if repository.kind == "github":
        there, one, change = f"{repository.url}/issues/{number}/comments", f"{repository.url}/issues/comments", "PATCH"
    else:
        there = one = f"{repository.url}/merge_requests/{number}/notes"
        change = "PUT"
    return {
        "marker": marker,
        "body": {"body": f"{marker}\n{text}"},
        "look": {"method": "GET", "url": there, "query": _LOOKED_AT[repository.kind] | _since(repository, since)},
        "post": {"method": "POST", "url": there},
        "change": {"method": change, "url": one},
    }


def _since(repository: Repository, since: str) -> dict[str, str]:
    return {"since": since} if repository.kind == "github" else {}


def failed_suites(suites: Sequence[tuple[str, Outcome]]) -> str:
    """The suites that did not pass, for a line."""
    return ", ".join(f"{name} {outcome}" for name, outcome in suites if outcome != Outcome.PASSED)


def text(title: str, link: str, suites: Sequence[Suite]) -> str:
    """A comment, in Markdown."""
    head = f"**{_plain(title)}**" + (f" ([details]({link}))" if link else "")
    rows = [_HEADER, ("---",) * len(_HEADER), *map(_row, suites)]
    return "\n".join([head, "", *(f"| {' | '.join(row)} |" for row in rows)])


def _row(suite: Suite) -> tuple[str, ...]:
    outcome = f"{suite.outcome}: {suite.reason}" if suite.outcome else "runs"
    addresses = ", ".join(f"[{_plain(name)}]({address})" for name, address in suite.addresses.items())
    return suite.name, _plain(outcome), addresses, suite.deadline or ""


def _plain(said: str) -> str:
    """Text that stays within its cell, and is no markup and names nobody."""
    shown = " ".join(said.split())[:300]
    for mark in "\\|`*_[]<>":
        shown = shown.replace(mark, f"\\{mark}")
    return shown.replace("@", "@\u200b").replace("#", "#\u200b")


def addresses(outputs: Mapping[str, str]) -> dict[str, str]:
    """The outputs of a stack that a browser can open."""
    safe = (
        (name, value) for name, value in outputs.items() if value.startswith(("http://", "https://")) and _is_url(value)
    )
    return dict(safe)


def _is_url(value: str) -> bool:
    return not any(mark in value for mark in " ()<>\"'|\\\n\r\t")
