"""A pull request on the whole installation: what shows it lives beside its releases, under one address that stays."""

from typing import Any

import pytest

from local.cloud import LocalCloud
from local.facts import Facts
from local.install import ROOT, deploy_with, installed
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver
from tests.e2e.test_runners import command

DOMAIN = "preview.example.com"
BALANCER = "shop-1.elb.us-east-1.amazonaws.com"
SUITES = [command("true"), {"name": "show", "kind": "preview"}]


@pytest.fixture(scope="module")
def zone(cloud: LocalCloud, heard: Facts) -> str:
    """An installation with a hosted zone, and a blueprint whose stacks have an address."""
    made = cloud.client("route53").create_hosted_zone(Name="example.com", CallerReference="one")
    zone = str(made["HostedZone"]["Id"].rpartition("/")[2])
    deploy_with(cloud, PreviewZone=zone, PreviewDomain=DOMAIN)
    text = (ROOT / "tests" / "blueprints" / "single.yaml").read_text().rstrip()
    shown = f"{text}\n  Url:\n    Value: !Sub 'http://{BALANCER}:8080/${{EnvironmentId}}'\n"
    bucket = installed(cloud).outputs["BlueprintsBucket"]
    cloud.client("s3").put_object(Bucket=bucket, Key="shown.yaml", Body=shown.encode())
    return zone


def addresses(mayfly: Driver, zone: str) -> dict[str, tuple[str, str]]:
    """Where the names of previews lead."""
    listed: Any = mayfly.cloud.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return {
        one["Name"]: (one["Type"], one["ResourceRecords"][0]["Value"])
        for one in listed
        if one["Name"].endswith(f".{DOMAIN}.")
    }


def ended(mayfly: Driver, environment: str) -> str:
    """Waits for a preview's end; says why."""
    assert mayfly.end(environment)["status"] == "SUCCEEDED"
    assert mayfly.nothing_is_left(environment)
    return str(mayfly.record(environment)["ending"]["reason"])


def test_a_pull_request_is_shown_under_one_address_until_it_is_closed(mayfly: Driver, zone: str) -> None:
    application = mayfly.application(suites=SUITES, blueprint="shown.yaml")
    name = f"{application}-7.{DOMAIN}"
    first = mayfly.push(application, pull_request=7)
    assert mayfly.verdict(first)["detail-type"] == "Release Passed", "no verdict waits for it"
    older = environment_id(first, "show")
    outputs = mayfly.life(older, "awaiting tests").outputs
    assert outputs["PreviewAddress"] == f"http://{name}:8080/{older}"
    there = {f"{name}.": ("CNAME", BALANCER)}
    mayfly.until(lambda: addresses(mayfly, zone) == there, "the address", lambda: addresses(mayfly, zone))

    newer = environment_id(mayfly.push(application, version="1.0.1", pull_request=7), "show")
    assert ended(mayfly, older) == "superseded by 1.0.1"
    mayfly.life(newer, "awaiting tests")
    assert addresses(mayfly, zone) == there, "it stays"

    mayfly.say("Pull Request Closed", [{"application": application, "pull_request": 7}])
    assert ended(mayfly, newer) == "its pull request was closed"
    mayfly.until(lambda: not addresses(mayfly, zone), "it is gone", lambda: addresses(mayfly, zone))
