"""The names of a hosted zone of Route 53."""

from typing import Any

from mayfly.aws.clients import controller
from mayfly.domain.preview import SECONDS, DnsRecord


def is_taken(zone: str, name: str) -> bool:
    """Tells whether a name leads somewhere."""
    return bool(_known(controller("route53"), zone, name))


def point(zone: str, record: DnsRecord) -> None:
    """Points a DNS name at an address, wherever it led before. A name has records of one of these types only."""
    route53 = controller("route53")
    others = [found for found in _known(route53, zone, record.name) if found["Type"] != record.type]
    wanted = {
        "Name": record.name,
        "Type": record.type,
        "TTL": SECONDS,
        "ResourceRecords": [{"Value": record.value}],
    }
    _change(route53, zone, [*(("DELETE", found) for found in others), ("UPSERT", wanted)])


def forget(zone: str, name: str) -> bool:
    """Removes a name; tells whether there was one."""
    route53 = controller("route53")
    if found := _known(route53, zone, name):
        _change(route53, zone, [("DELETE", each) for each in found])
    return bool(found)


def _known(route53: Any, zone: str, name: str) -> list[Any]:
    """Returns the records of a name, as Route 53 has them: a deletion has to say exactly that."""
    listed = route53.list_resource_record_sets(HostedZoneId=zone, StartRecordName=name, MaxItems="3")
    return [found for found in listed["ResourceRecordSets"] if found["Name"] == name]


def _change(route53: Any, zone: str, changes: list[tuple[str, Any]]) -> None:
    batch: Any = {"Changes": [{"Action": action, "ResourceRecordSet": record} for action, record in changes]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
