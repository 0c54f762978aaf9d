"""Where developers see what came of their commits: GitHub or GitLab."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from mayfly.contract.fields import ConnectionArn
from mayfly.contract.messages import Message


class Forge(Message):
    """The repository of an application. Mayfly sets the status of each commit, and comments on its pull request."""

    type: Literal["github", "gitlab"]
    repository: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=255)]
    """`owner/name`; of GitLab also a project's number."""
    connection: ConnectionArn
    """Of EventBridge, with a token that may do both. Its name begins with `mayfly-`."""
    api: Annotated[str, StringConstraints(pattern=r"^https://[^\s?#]+[^\s?#/]$", max_length=255)] | None = None
    """Of GitHub Enterprise or your own GitLab, such as `https://git.example.com/api/v4`."""
    comments: bool = True
    """Whether pull requests are commented on."""
    context: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ._/-]{1,100}$")] = Field(default="mayfly")
    """The name of the status."""
