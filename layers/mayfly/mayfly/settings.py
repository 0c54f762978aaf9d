"""Typed environment variables. All that are missing or malformed are named at once."""

import os
from functools import cache

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Settings(BaseModel):
    """The template sets these variables on every function."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    table: str = Field(alias="MAYFLY_TABLE", min_length=1)
    controller: str = Field(alias="MAYFLY_CONTROLLER", pattern=r"^\d{12}/[a-z0-9-]+/.+$")
    """Value of the tag mayfly:controller: account/Region/stack of this installation."""
    release_machine: str = Field(alias="MAYFLY_RELEASE_MACHINE_ARN", pattern=r"^arn:")
    dead_letters: str = Field(alias="MAYFLY_DEAD_LETTERS_URL", pattern=r"^https?://")
    environment_machine: str = Field(alias="MAYFLY_ENVIRONMENT_MACHINE_ARN", pattern=r"^arn:")
    bake_machine: str = Field(alias="MAYFLY_BAKE_MACHINE_ARN", pattern=r"^arn:")
    promotion_machine: str = Field(alias="MAYFLY_PROMOTION_MACHINE_ARN", pattern=r"^arn:")
    tests_machine: str = Field(alias="MAYFLY_TESTS_MACHINE_ARN", pattern=r"^arn:")
    show_machine: str = Field(alias="MAYFLY_SHOW_MACHINE_ARN", pattern=r"^arn:")
    rollout_machine: str = Field(alias="MAYFLY_ROLLOUT_MACHINE_ARN", pattern=r"^arn:")
    bus: str = Field(alias="MAYFLY_BUS", min_length=1)
    """Where requests are put."""
    facts: str = Field(alias="MAYFLY_FACTS", min_length=1)
    """The bus on which Mayfly says what is, and nobody else."""
    reports: str = Field(alias="MAYFLY_REPORTS_BUCKET", min_length=1)
    accounts: str = Field(alias="MAYFLY_ACCOUNTS", default="", pattern=r"^(\d{12}(,\d{12})*)?$")
    regions: str = Field(alias="MAYFLY_REGIONS", default="", pattern=r"^([a-z0-9-]+(,[a-z0-9-]+)*)?$")
    most_ends: int = Field(alias="MAYFLY_SWEEP_MOST", ge=0)
    share_ended: int = Field(alias="MAYFLY_SWEEP_PERCENT", ge=0, le=100)
    most_retired: int = Field(alias="MAYFLY_RETIRE_MOST", ge=0)
    """Steps of retirement that one run takes at most."""
    blueprints: str = Field(alias="MAYFLY_BLUEPRINTS_BUCKET", min_length=1)
    parameters: str = Field(alias="MAYFLY_PARAMETERS", pattern=r"^(/[A-Za-z0-9_.-]+)+$")
    """Path below which Parameter Store holds applications/<name>, families/<family> and images/<family>/<channel>."""
    workload_role: str = Field(alias="MAYFLY_WORKLOAD_ROLE", min_length=1)
    stack_role: str = Field(alias="MAYFLY_STACK_ROLE", min_length=1)
    record_days: int = Field(alias="MAYFLY_RECORD_DAYS", gt=0)
    """How long a finished record is kept."""
    notifications: str = Field(alias="MAYFLY_NOTIFICATIONS_TOPIC", default="", pattern=r"^(arn:.+)?$")
    """Where people are told: set on the function that does so."""
    console: str = Field(alias="MAYFLY_CONSOLE_URL", default="", pattern=r"^(https?://.+)?$")
    """Where the console is, for links in what people are told."""

    preview_zone: str = Field(alias="MAYFLY_PREVIEW_ZONE", default="", pattern=r"^[A-Z0-9]{0,32}$")
    """The hosted zone of Route 53 with the addresses of previews, set where they are written; "" for none."""
    preview_domain: str = Field(alias="MAYFLY_PREVIEW_DOMAIN", default="", pattern=r"^[a-z0-9.-]*$")
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


class SignIn(BaseModel):
    """How people sign in, and whose tokens the HTTP API takes: set on the function that serves it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str = Field(alias="MAYFLY_ISSUER", pattern=r"^https?://")
    client_id: str = Field(alias="MAYFLY_CLIENT_ID", min_length=1)
    sign_in: str = Field(alias="MAYFLY_SIGN_IN", pattern=r"^(https?://[^/]+)?$")
    """Base of Cognito's hosted UI; empty where the issuer is another, whose discovery document says where."""
    groups_claim: str = Field(alias="MAYFLY_GROUPS_CLAIM", min_length=1)


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


def _read[M: BaseModel](model: type[M]) -> M:
    try:
        return model.model_validate(dict(os.environ))
    except ValidationError as error:
        wrong = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise RuntimeError(f"this function's environment is incomplete: {wrong}") from None
