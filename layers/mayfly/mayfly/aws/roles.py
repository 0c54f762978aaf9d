"""Roles and instance profiles of IAM, seen through one workload account."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mayfly.domain.needs import Use

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def used_of_account(workload: "Workload") -> Iterator[Use]:
    """Counts roles and instance profiles; IAM does not say whose they are."""
    found = workload.iam.get_account_summary()["SummaryMap"]
    yield "roles", found.get("Roles", 0), {}
    yield "instance-profiles", found.get("InstanceProfiles", 0), {}
