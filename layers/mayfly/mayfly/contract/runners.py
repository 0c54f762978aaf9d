"""Who runs a suite's tests: what a platform team configures of it. `external` and `manual` need nothing."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from mayfly.contract.fields import ConnectionArn
from mayfly.contract.messages import Message

DOCUMENT: Final = "$document"
VARIABLES: Final = "$variables"
"""Values of a body that Mayfly replaces: by what the tests have to know as an object, or as texts by name."""


class _Runner(Message):
    minutes: int = Field(default=60, ge=1, le=24 * 60)
    """How long the tests may take. Where no result has come then, the suite is `broken`."""


class CommandRunner(_Runner):
    """Run Command of Systems Manager: a script, as root, on one instance of the environment or on each."""

    type: Literal["command"]
    script: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    """Run by `/bin/sh`. Exit code 0 is passed; anything else is failed."""
    instances: Literal["one", "all"] = "one"
    report: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,255}$")] | None = None
    """The JUnit XML file that the script leaves, from its working directory. Only where it runs on one instance."""

    @model_validator(mode="after")
    def _one_leaves_the_report(self) -> Self:
        if self.report and self.instances == "all":
            raise ValueError("expected a report only where the script runs on one instance")
        return self


class BuildRunner(_Runner):
    """A project of CodeBuild in the account and Region of the installation."""

    type: Literal["codebuild"]
    project: Annotated[str, StringConstraints(pattern=r"^mayfly-tests-[A-Za-z0-9_-]{1,242}$")]
    """Mayfly starts only CodeBuild projects whose names begin like this."""


class FunctionRunner(_Runner):
    """A function of Lambda in the account and Region of the installation. Its answer is the result."""

    type: Literal["lambda"]
    function: Annotated[str, StringConstraints(pattern=r"^mayfly-tests-[A-Za-z0-9_-]{1,51}$")]
    """Only functions of this prefix may be invoked."""
    minutes: int = Field(default=15, ge=1, le=15)


class MachineRunner(_Runner):
    """A Standard state machine in the account and Region of the installation. How its execution ends is the result."""

    type: Literal["statemachine"]
    machine: Annotated[str, StringConstraints(pattern=r"^mayfly-tests-[A-Za-z0-9_-]{1,67}$")]
    """Only machines of this prefix may be started."""


class HttpRunner(_Runner):
    """An HTTPS API that starts the tests, with the secret of a connection of EventBridge. They report by `Test
    Finished`."""

    type: Literal["http"]
    url: Annotated[str, StringConstraints(pattern=r"^https://[^\s/?#]+(/[^\s?#]*)?$", max_length=1024)]
    connection: ConnectionArn
    """ARN of the connection. Its name begins with `mayfly-`."""
    method: Literal["POST", "PUT"] = "POST"
    body: dict[str, Any] | Literal["$document", "$variables"] = DOCUMENT
    """Where a value in it is `$document` or `$variables`, what the tests have to know takes its place."""
    encoding: Literal["json", "form"] = "json"


type Runner = Annotated[
    CommandRunner | BuildRunner | FunctionRunner | MachineRunner | HttpRunner, Field(discriminator="type")
]
