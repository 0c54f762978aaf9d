"""Reads what instances of an environment print on their consoles, for who may look at the environment."""

from botocore.exceptions import ClientError

from mayfly.aws import clients, instances
from mayfly.domain.records import Environment
from mayfly.settings import Settings

NOT_ITS_OWN = ("UnauthorizedOperation", "InvalidInstanceID.NotFound")
"""What EC2 answers about an instance of somebody else, and about none."""


class NotReadable(Exception):
    """There is no such console that may be read; says why."""


def read(settings: Settings, environment: Environment, instance: str) -> str:
    """Reads what EC2 has of an instance's console, in a session that reads those of this environment and no other; ""
    while it has nothing.

    Raises:
        NotReadable: the account lets nobody read them, or the instance is none of the environment's.
    """
    account, region, role = environment.account, environment.region, settings.consoles_role
    try:
        workload = clients.workload(account, region, role, environment.id)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        lacking = f"expected a role {role} that may be assumed: deploy blueprints/workload-account.yaml there again"
        raise NotReadable(f"account {account}: {lacking}") from None
    try:
        return instances.console(workload.ec2, instance)
    except ClientError as error:
        if error.response["Error"]["Code"] not in NOT_ITS_OWN:
            raise
        raise NotReadable(f"instance: expected one of {environment.id}, but it is '{instance}'") from None
