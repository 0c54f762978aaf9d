"""What people, tests and stories ask of the accounts that Mayfly runs in, whether these are AWS's or local."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class Accounts(Protocol):
    """The controller account and the workload account, as their administrators reach them."""

    workload_account: str
    patience_seconds: float
    """Real seconds until what has not happened is given up."""
    look_seconds: float
    """Real seconds between two looks at what is waited for."""

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point `sam` and boto3 at the controller account."""

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the controller account."""

    def workload_client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the workload account."""

    def now(self) -> datetime:
        """The time in these accounts, in UTC."""

    def advance(self, seconds: float) -> None:
        """Lets so much of their time pass."""
