"""Grants on the keys of KMS that encrypt images."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_KEY_USES = ("Decrypt", "DescribeKey", "CreateGrant", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKeyWithoutPlaintext")
"""What an account needs of a key to launch instances from what it encrypts."""


_AUTO_SCALING = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"


def grant_auto_scaling(workload: "Workload", key: str, account: str) -> None:
    """Lets Auto Scaling launch from what a key encrypts, in the account whose session this is: its service-linked role
    has no permission on keys of one's own, and only its own account can grant it one that is another account's.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
    """
    role = f"arn:aws:iam::{account}:{_AUTO_SCALING}"
    pages = workload.kms.get_paginator("list_grants").paginate(KeyId=key)
    grants = (each for page in pages for each in page["Grants"])
    if not any(each["GranteePrincipal"] == role and set(_KEY_USES) <= set(each["Operations"]) for each in grants):
        workload.kms.create_grant(
            KeyId=key, GranteePrincipal=role, Operations=list(_KEY_USES), Name=f"mayfly-auto-scaling-{account}"
        )


def grant(workload: "Workload", key: str, accounts: Iterable[str]) -> None:
    """Lets accounts use the key of KMS that encrypts images, besides those that may already."""
    able = granted(workload, key)
    for account in sorted(set(accounts) - able):
        workload.kms.create_grant(
            KeyId=key,
            GranteePrincipal=f"arn:aws:iam::{account}:root",
            Operations=list(_KEY_USES),
            Name=f"mayfly-{account}",
        )


def granted(workload: "Workload", key: str) -> set[str]:
    """Returns the accounts that have a grant on a key with all that launching needs."""
    pages = workload.kms.get_paginator("list_grants").paginate(KeyId=key)
    return {
        each["GranteePrincipal"].split(":")[4]
        for page in pages
        for each in page["Grants"]
        if set(_KEY_USES) <= set(each["Operations"]) and each["GranteePrincipal"].endswith(":root")
    }
