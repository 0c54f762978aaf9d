"""Route 53 of the local cloud refuses what AWS refuses of changed records, and makes a batch whole or not at all."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import LocalCloud

ZONE = "preview.example.com"
NAME = f"shop-7.{ZONE}."

type Change = tuple[str, dict[str, Any]]


class Zone:
    """A hosted zone of one's own."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.route53 = cloud.client("route53")
        made = self.route53.create_hosted_zone(Name=ZONE, CallerReference=str(uuid.uuid4()))
        self.id = made["HostedZone"]["Id"]

    def change(self, *changes: Change) -> None:
        batch: Any = {"Changes": [{"Action": action, "ResourceRecordSet": record} for action, record in changes]}
        self.route53.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch=batch)

    @property
    def records(self) -> set[tuple[str, str]]:
        listed = self.route53.list_resource_record_sets(HostedZoneId=self.id)["ResourceRecordSets"]
        return {(one["Name"], one["Type"]) for one in listed if one["Type"] not in ("NS", "SOA")}


def record(kind: str, *values: str, name: str = NAME) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value} for value in values]}


@pytest.fixture
def zone(cloud: LocalCloud) -> Zone:
    return Zone(cloud)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (record("A", "192.0.2.1", name="shop-7.example.org."), "is not permitted in zone"),
        (record("CNAME", "a.example.org", name=f"{ZONE}."), "is not permitted at apex"),
        (record("CNAME", "a.example.org", "b.example.org"), "cannot have more than one value"),
        (record("A", "a.example.org"), "Invalid Resource Record: 'a.example.org'"),
        (record("AAAA", "192.0.2.1"), "Invalid Resource Record: '192.0.2.1'"),
        ({"Name": NAME, "Type": "A", "ResourceRecords": [{"Value": "192.0.2.1"}]}, "Expected exactly one of"),
    ],
)
def test_what_aws_refuses_is_refused_with_all_that_comes_with_it(zone: Zone, wrong: dict[str, Any], why: str) -> None:
    good = record("A", "192.0.2.1", name=f"other.{ZONE}.")
    with pytest.raises(ClientError, match="InvalidChangeBatch") as refused:
        zone.change(("UPSERT", good), ("UPSERT", wrong))
    assert why in str(refused.value)
    assert zone.records == set()


def test_a_cname_stands_beside_no_other_record_of_its_name(zone: Zone) -> None:
    address = record("A", "192.0.2.1")
    zone.change(("UPSERT", address))
    with pytest.raises(ClientError, match="conflicting RRSet of type CNAME"):
        zone.change(("UPSERT", record("CNAME", "a.example.org")))
    assert zone.records == {(NAME, "A")}
    zone.change(("DELETE", address), ("UPSERT", record("CNAME", "a.example.org")))
    assert zone.records == {(NAME, "CNAME")}
