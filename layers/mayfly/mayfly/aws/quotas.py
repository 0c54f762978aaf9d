"""Reads what Service Quotas allows an account and Region."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec.structs import replace

from mayfly.domain.needs import Quota

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def allowed(quotas: Any, quota: Quota) -> float | None:
    """The value of a quota, in its own unit, by a client of Service Quotas; None where nobody ever changed it."""
    try:
        found = quotas.get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)["Quota"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchResourceException":
            raise
        return None
    return float(found)


def value(workload: "Workload", quota: Quota) -> int:
    """What an account may have, in what Mayfly counts. Quotas of IAM are kept in one Region."""
    there = replace(workload, region="us-east-1") if quota.service == "iam" else workload
    found = allowed(there.servicequotas, quota)
    return int((quota.default if found is None else found) * quota.per)
