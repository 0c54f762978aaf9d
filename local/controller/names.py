"""What Route 53 refuses of changed records, and MiniStack takes."""

from __future__ import annotations

import importlib
from ipaddress import IPv4Address, IPv6Address
from typing import Any

Json = dict[str, Any]

_VALUES: dict[str, Any] = {"A": IPv4Address, "AAAA": IPv6Address}


def install() -> None:
    """Changes of records are looked at as Route 53 does, before they are made."""
    route53: Any = importlib.import_module("ministack.services.route53")
    change = route53._change_resource_record_sets

    def change_resource_record_sets(zone_id: str, body: bytes) -> Any:
        zone = route53._zones.get(zone_id)
        root = route53._parse_body(body)
        if zone and root is not None and (faults := _faults(route53, zone, zone_id, root)):
            return route53._error_response("InvalidChangeBatch", f"[{', '.join(faults)}]")
        return change(zone_id, body)

    route53._change_resource_record_sets = change_resource_record_sets


def _faults(route53: Any, zone: Json, zone_id: str, root: Any) -> list[str]:
    """What is wrong with a batch of changes, which is made as a whole or not at all."""
    asked = [
        (route53._text(change, "Action"), route53._parse_record_set(route53._find(change, "ResourceRecordSet")))
        for change in root.iter()
        if change.tag.rpartition("}")[2] == "Change"
    ]
    there = {(one["Name"], one["Type"]) for one in route53._records[zone_id]}
    there -= {(one["Name"], one["Type"]) for action, one in asked if action == "DELETE"}
    made = [one for action, one in asked if action != "DELETE"]
    there |= {(one["Name"], one["Type"]) for one in made}
    return [fault for one in made for fault in _of_record(one, zone["name"], there)]


def _of_record(record: Json, zone: str, there: set[tuple[str, str]]) -> list[str]:
    name, kind, values = record["Name"], record["Type"], record.get("ResourceRecords", [])
    shown = f"RRSet with DNS name {name}"
    faults = []
    if name != zone and not name.endswith(f".{zone}"):
        faults.append(f"{shown} is not permitted in zone {zone}")
    if kind == "CNAME" and name == zone:
        faults.append(f"RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {zone}")
    if len([other for other, _ in there if other == name]) > 1 and (name, "CNAME") in there:
        faults.append(
            f"RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type CNAME "
            f"with the same DNS name already exists in zone {zone}"
        )
    if kind == "CNAME" and len(values) > 1:
        faults.append(f"{shown}, type CNAME cannot have more than one value")
    if ("AliasTarget" in record) == bool(values) or bool(values) != ("TTL" in record):
        faults.append("Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]]")
    return faults + [f"Invalid Resource Record: '{value}'" for value in values if not _is(kind, value)]


def _is(kind: str, value: str) -> bool:
    try:
        _VALUES.get(kind, str)(value)
    except ValueError:
        return False
    return True
