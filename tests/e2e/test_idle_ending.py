"""An environment behind a load balancer ends on the local cloud when nobody uses it: by what the load balancer has
really counted, and by sessions."""

from urllib.request import urlopen

from local.install import ROOT, network, upload_blueprint
from tests.e2e.driver import Driver

FOREIGN = ROOT / "tests" / "blueprints" / "foreign" / "balanced_group_with_database.yaml"
MINUTES = 60
A_LOOK = 6 * MINUTES


def begin(mayfly: Driver) -> str:
    """An environment of a manual suite that ends when nobody uses it for an hour."""
    upload_blueprint(mayfly.cloud, mayfly.outputs, FOREIGN)
    known = network(mayfly.cloud)
    own = {"VpcId": known["VpcId"], "Subnets": known["SubnetIds"]}
    return mayfly.begin(
        mayfly.application(blueprint=FOREIGN.name, parameters=own, instances=3, kind="manual", end_when_idle_minutes=60)
    )


def request(mayfly: Driver, environment: str) -> None:
    """Somebody opens it."""
    elb = mayfly.cloud.workload_client("elbv2")
    tagged = {
        one["ResourceArn"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        for one in elb.describe_tags(
            ResourceArns=[each["LoadBalancerArn"] for each in elb.describe_load_balancers()["LoadBalancers"]]
        )["TagDescriptions"]
    }
    (mine,) = (arn for arn, tags in tagged.items() if tags.get("mayfly:environment") == environment)
    (url,) = (one["url"] for one in mayfly.cloud.balancers().values() if mine.endswith(f"/{one['load_balancer']}"))
    with urlopen(url) as answer:
        assert answer.status == 200


def later(mayfly: Driver, seconds: float) -> None:
    """Time passes, and Mayfly has looked by then: its schedule makes up for no look that it has missed."""
    mayfly.passes(seconds, "keep-office-hours")


def test_an_environment_that_nobody_uses_is_warned_of_and_ends_and_one_that_is_used_stays(mayfly: Driver) -> None:
    used, idle = begin(mayfly), begin(mayfly)
    instance = mayfly.cloud.workload_client("ec2").describe_instances(
        Filters=[{"Name": "tag:mayfly:environment", "Values": [used]}]
    )["Reservations"][0]["Instances"][0]["InstanceId"]
    later(mayfly, 35 * MINUTES)
    said = mayfly.announcement("Environment Expiring", idle)
    assert said["why"].startswith("no request and no session since ")
    request(mayfly, used)
    later(mayfly, A_LOOK)
    later(mayfly, 30 * MINUTES)
    ended = mayfly.announcement("Environment Terminated", idle)
    assert (ended["ending"]["by"], ended["instances_left"]) == ("idle", 0)
    assert mayfly.record(used)["stage"] == "awaiting tests", "it was used"

    ssm = mayfly.cloud.workload_client("ssm")
    opened = ssm.start_session(Target=instance)["SessionId"]
    later(mayfly, 70 * MINUTES)
    later(mayfly, A_LOOK)
    assert mayfly.record(used)["stage"] == "awaiting tests", "somebody has a shell on it"
    ssm.terminate_session(SessionId=opened)
    later(mayfly, 45 * MINUTES)
    later(mayfly, A_LOOK)
    later(mayfly, 40 * MINUTES)
    assert mayfly.announcement("Environment Terminated", used)["ending"]["by"] == "idle"
    assert mayfly.nothing_is_left(used)
