"""An application with targets in two workload accounts: each environment is built in the first that has room, lives and
ends there, and neither account can be reached from the other."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import REGION, WORKLOAD_ACCOUNT, LocalCloud
from local.facts import Facts
from local.install import deploy_with, installed, let_in
from mayfly.domain import tags
from mayfly.domain.identity import environment_id, stack_name
from tests.e2e.driver import Driver
from tests.e2e.test_reaping import DAY, abort, decided, sweep

pytestmark = pytest.mark.usefixtures("no_images")

SECOND_ACCOUNT = "444444444444"
FIRST, SECOND = f"{WORKLOAD_ACCOUNT}/{REGION}", f"{SECOND_ACCOUNT}/{REGION}"
GROUPS = "auto-scaling-groups"
NAME = "the quota Auto Scaling groups per region (autoscaling, L-CDE20ADC)"


@pytest.fixture(scope="module")
def second(cloud: LocalCloud, heard: Facts) -> LocalCloud:
    """Another account, added as `docs/tasks/add-an-account.md` says."""
    there = cloud.beside(SECOND_ACCOUNT)
    let_in(there, installed(cloud).outputs["Controller"])
    deploy_with(cloud, WorkloadAccounts=f"{WORKLOAD_ACCOUNT},{SECOND_ACCOUNT}")
    return there


@pytest.fixture
def there(mayfly: Driver, second: LocalCloud, heard: Facts) -> Driver:
    """What stands in the second account."""
    return Driver(second, mayfly.outputs, heard, iter(()))


def fleets(mayfly: Driver) -> str:
    """An application of two instances an environment, with a target in either account."""
    places = [{"account": account, "region": REGION} for account in (WORKLOAD_ACCOUNT, SECOND_ACCOUNT)]
    return mayfly.application(blueprint="fleet.yaml", instances=2, account=None, targets=places)


def lives_in(view: Driver, other: Driver, environment: str) -> bool:
    """Whether all of it stands in the account that is looked at, and nothing of it ever did in the other."""
    assert view.record(environment)["account"] == view.cloud.workload_account
    return (view.stacks(environment), view.instances_left(environment)) == (["CREATE_COMPLETE"], 2) and (
        other.stacks(environment),
        other.instances_left(environment),
    ) == ([], 0)


def is_gone(mayfly: Driver, there: Driver, environment: str) -> None:
    """Waits until nothing of it is left in either account, and its record says so."""
    mayfly.until(
        lambda: mayfly.record(environment).get("stage") == "terminated",
        f"{environment} is terminated",
        lambda: mayfly.record(environment),
    )
    assert mayfly.nothing_is_left(environment)
    assert there.nothing_is_left(environment)
    assert not mayfly.record(environment).get("reserved")


def knows(mayfly: Driver, target: str, groups: int) -> None:
    """A sweep reads the quota of Auto Scaling groups there."""
    assert not sweep(mayfly)["unseen"]
    known = lambda: mayfly.record(target, "quotas").get("limits", {}).get(GROUPS)  # noqa: E731
    mayfly.until(lambda: known() == groups, f"the quota of {target} is known", known)


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


def test_what_has_no_room_in_the_first_lives_in_the_second(mayfly: Driver, there: Driver) -> None:
    application = fleets(mayfly)
    first = mayfly.begin(application, version="1.0.0")
    assert lives_in(mayfly, there, first)
    most = mayfly.cloud.quotas()["groups"]
    mayfly.cloud.quotas(groups=1)
    knows(mayfly, FIRST, 1)

    second = mayfly.begin(application, version="2.0.0")
    assert lives_in(there, mayfly, second)
    assert mayfly.record(second)["history"][0]["why"].endswith(f"; in {SECOND}")
    assert mayfly.announcement("Environment Ready", second)["account"] == SECOND_ACCOUNT
    knows(mayfly, SECOND, 1)

    third = environment_id(mayfly.push(application, "3.0.0"), "smoke")
    mayfly.life(third, "queued")
    lacks = mayfly.announcement("Environment Queued", third)["lacks"]
    assert lacks == " / ".join(f"{NAME} in {target}: 1 needed, 0 free" for target in (FIRST, SECOND))
    report = sweep(mayfly)
    assert {decided(report, each)[0] for each in (first, second, third)} == {"keep"}

    mayfly.finish(second)
    assert mayfly.end(second)["status"] == "SUCCEEDED"
    is_gone(mayfly, there, second)
    mayfly.life(third, "awaiting tests")
    assert lives_in(there, mayfly, third)

    # Nobody waits for either any more: a sweep ends both.
    for each in (first, third):
        abort(mayfly, each)
    mayfly.cloud.advance(DAY + 60)
    sweep(mayfly)
    for each in (first, third):
        is_gone(mayfly, there, each)
        assert mayfly.record(each)["ending"]["outcome"] == "expired"
    counts = mayfly.record("room", "ledger")["counts"]
    assert {counts[f"{target}|{GROUPS}"] for target in (FIRST, SECOND)} == {0}
    mayfly.cloud.quotas(groups=most)
    for target in (FIRST, SECOND):
        knows(mayfly, target, most)


def test_what_ec2_has_no_capacity_for_in_the_first_lives_in_the_second(mayfly: Driver, there: Driver) -> None:
    mayfly.cloud.fault("workload", no_capacity="*", account=WORKLOAD_ACCOUNT)
    environment = mayfly.begin(fleets(mayfly))
    record = mayfly.record(environment)
    assert (record["account"], [*record["no_capacity"]]) == (SECOND_ACCOUNT, [FIRST])
    assert (mayfly.stacks(environment), there.stacks(environment)) == (["DELETE_COMPLETE"], ["CREATE_COMPLETE"])
    assert (mayfly.instances_left(environment), there.instances_left(environment)) == (0, 2)
    assert decided(sweep(mayfly), environment)[0] == "keep"
    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    is_gone(mayfly, there, environment)


def test_the_role_in_one_account_reaches_nothing_in_the_other(mayfly: Driver, there: Driver) -> None:
    """Not even a session that bears the environment's name."""
    mayfly.cloud.fault("workload", no_capacity="*", account=WORKLOAD_ACCOUNT)
    environment = mayfly.begin(fleets(mayfly))
    cloudformation = there.cloud.workload_client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=stack_name(environment))["Stacks"]
    found = there.cloud.workload_client("ec2").describe_instances(
        Filters=[{"Name": f"tag:{tags.ENVIRONMENT}", "Values": [environment]}]
    )
    instances = [one["InstanceId"] for each in found["Reservations"] for one in each["Instances"]]
    assert len(instances) == 2

    given = mayfly.cloud.workload_client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/mayfly-workload",
        RoleSessionName=environment,
        Tags=[{"Key": tags.ENVIRONMENT, "Value": environment}],
    )["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    client = lambda service: mayfly.cloud.workload_client(service, **keys)  # noqa: E731
    assert refused(client("cloudformation").delete_stack, StackName=stack["StackId"]) == "AccessDenied"
    assert refused(client("ec2").terminate_instances, InstanceIds=instances) == "UnauthorizedOperation"
    other = f"arn:aws:iam::{SECOND_ACCOUNT}:role/mayfly-workload"
    assert refused(client("sts").assume_role, RoleArn=other, RoleSessionName=environment) == "AccessDenied"

    assert there.instances_left(environment) == 2
    mayfly.finish(environment)
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    is_gone(mayfly, there, environment)
