"""Typed environment variables. All that are missing or malformed are named at once."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from msgspec import NODEFAULT, Meta, Struct, ValidationError, convert, field
from msgspec.structs import fields

from mayfly.contract.fields import END


def _like(pattern: str) -> Meta:
    """Returns the pattern of an environment variable, whose `$` lets no line end follow."""
    return Meta(pattern=f"{pattern}{END}" if pattern.endswith("$") else pattern)


type _Text = Annotated[str, Meta(min_length=1)]
type _Arn = Annotated[str, _like("^arn:")]
type _Count = Annotated[int, Meta(ge=0)]


class Settings(Struct, frozen=True, kw_only=True):
    """The template sets these variables on every function."""

    table: _Text = field(name="MAYFLY_TABLE")
    controller: Annotated[str, _like(r"^\d{12}/[a-z0-9-]+/.+$")] = field(name="MAYFLY_CONTROLLER")
    """Value of the tag mayfly:controller: account/Region/stack of this installation."""
    release_machine: _Arn = field(name="MAYFLY_RELEASE_MACHINE_ARN")
    dead_letters: Annotated[str, _like(r"^https?://")] = field(name="MAYFLY_DEAD_LETTERS_URL")
    environment_machine: _Arn = field(name="MAYFLY_ENVIRONMENT_MACHINE_ARN")
    bake_machine: _Arn = field(name="MAYFLY_BAKE_MACHINE_ARN")
    promotion_machine: _Arn = field(name="MAYFLY_PROMOTION_MACHINE_ARN")
    tests_machine: _Arn = field(name="MAYFLY_TESTS_MACHINE_ARN")
    show_machine: _Arn = field(name="MAYFLY_SHOW_MACHINE_ARN")
    rollout_machine: _Arn = field(name="MAYFLY_ROLLOUT_MACHINE_ARN")
    bus: _Text = field(name="MAYFLY_BUS")
    """Where requests are put."""
    facts: _Text = field(name="MAYFLY_FACTS")
    """The bus on which Mayfly says what is, and nobody else."""
    reports: _Text = field(name="MAYFLY_REPORTS_BUCKET")
    accounts: Annotated[str, _like(r"^(\d{12}(,\d{12})*)?$")] = field(default="", name="MAYFLY_ACCOUNTS")
    regions: Annotated[str, _like(r"^([a-z0-9-]+(,[a-z0-9-]+)*)?$")] = field(default="", name="MAYFLY_REGIONS")
    most_ends: _Count = field(name="MAYFLY_SWEEP_MOST")
    share_ended: Annotated[int, Meta(ge=0, le=100)] = field(name="MAYFLY_SWEEP_PERCENT")
    most_retired: _Count = field(name="MAYFLY_RETIRE_MOST")
    """Steps of retirement that one run takes at most."""
    blueprints: _Text = field(name="MAYFLY_BLUEPRINTS_BUCKET")
    parameters: Annotated[str, _like(r"^(/[A-Za-z0-9_.-]+)+$")] = field(name="MAYFLY_PARAMETERS")
    """Path below which Parameter Store holds applications/<name>, families/<family> and images/<family>/<channel>."""
    workload_role: _Text = field(name="MAYFLY_WORKLOAD_ROLE")
    stack_role: _Text = field(name="MAYFLY_STACK_ROLE")
    record_days: Annotated[int, Meta(gt=0)] = field(name="MAYFLY_RECORD_DAYS")
    """How long a finished record is kept."""
    notifications: Annotated[str, _like(r"^(arn:.+)?$")] = field(default="", name="MAYFLY_NOTIFICATIONS_TOPIC")
    """Where people are told: set on the function that does so."""
    console: Annotated[str, _like(r"^(https?://.+)?$")] = field(default="", name="MAYFLY_CONSOLE_URL")
    """Where the console is, for links in what people are told."""

    preview_zone: Annotated[str, _like(r"^[A-Z0-9]{0,32}$")] = field(default="", name="MAYFLY_PREVIEW_ZONE")
    """The hosted zone of Route 53 with the addresses of previews, set where they are written; "" for none."""
    preview_domain: Annotated[str, _like(r"^[a-z0-9.-]*$")] = field(default="", name="MAYFLY_PREVIEW_DOMAIN")
    """What their names end with."""

    @property
    def permanent_role(self) -> str:
        """The role that CloudFormation builds permanent environments with: no blueprint of others reaches them."""
        return f"{self.stack_role}-services"

    @property
    def consoles_role(self) -> str:
        """The role in a workload account that reads what instances print, and does nothing else."""
        return f"{self.workload_role.removesuffix('workload')}consoles"

    @property
    def targets(self) -> tuple[tuple[str, str], ...]:
        """Every account and Region where environments may live: only there anything is built, looked for or ended."""
        account, region, _ = self.controller.split("/", 2)
        accounts = self.accounts.split(",") if self.accounts else [account]
        regions = self.regions.split(",") if self.regions else [region]
        return tuple((account, region) for account in accounts for region in regions)


class SignIn(Struct, frozen=True, kw_only=True):
    """How people sign in, and whose tokens the HTTP API takes: set on the function that serves it."""

    issuer: Annotated[str, _like(r"^https?://")] = field(name="MAYFLY_ISSUER")
    client_id: _Text = field(name="MAYFLY_CLIENT_ID")
    sign_in: Annotated[str, _like(r"^(https?://[^/]+)?$")] = field(name="MAYFLY_SIGN_IN")
    """Base of Cognito's hosted UI; empty where the issuer is another, whose discovery document says where."""
    groups_claim: _Text = field(name="MAYFLY_GROUPS_CLAIM")


class Incomplete(ValueError):
    """A Lambda function lacks environment variables, or has wrong ones; the text names each."""


@cache
def load_settings() -> Settings:
    """Returns the settings of this process.

    Raises:
        RuntimeError: names each variable that is missing or wrong.
    """
    return _read(Settings)


@cache
def load_sign_in() -> SignIn:
    """Tells how people sign in here.

    Raises:
        RuntimeError: names each variable that is missing or wrong.
    """
    return _read(SignIn)


def _read[M: Settings | SignIn](kind: type[M]) -> M:
    try:
        return read(kind, os.environ)
    except Incomplete as wrong:
        raise RuntimeError(f"this function's environment is incomplete: {wrong}") from None


def read[M: Settings | SignIn](kind: type[M], said: Mapping[str, str]) -> M:
    """Reads settings from variables.

    Raises:
        Incomplete: names each variable that is missing or wrong.
    """
    found, wrong = dict[str, Any](), list[str]()
    for each in fields(kind):
        name = each.encode_name
        try:
            if name in said:
                found[each.name] = convert(said[name].strip(" "), each.type, strict=False)
            elif each.default is NODEFAULT:
                wrong.append(f"{name}: Field required")
        except ValidationError as error:
            wrong.append(f"{name}: {error}, but it is {said[name]!r}")
    if wrong:
        raise Incomplete("; ".join(wrong))
    return kind(**found)
