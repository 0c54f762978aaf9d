"""Reads Mayfly's table on the local cloud, as its administrator; so no role of Mayfly is tried by it."""

import json
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from local.accounts import Accounts
from mayfly.aws.records import of_item
from mayfly.contract.vocabulary import ReleaseStage
from mayfly.domain.records import Record
from mayfly.domain.timestamp import utc_text

type Json = dict[str, Any]


def read_record(cloud: Accounts, table: str, key: str) -> Json:
    """Reads a record as plain values; {} if there is none."""
    reply = cloud.client("dynamodb").get_item(TableName=table, Key={"pk": {"S": key}}, ConsistentRead=True)
    return _plain(reply.get("Item", {}))


def read_typed[R: Record](cloud: Accounts, table: str, kind: type[R], identity: str) -> R:
    """Reads a record as its type; one of which nothing is known if there is none."""
    key = {"pk": {"S": f"{kind.kind}#{identity}"}}
    reply = cloud.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
    return of_item(kind, {"id": {"S": identity}, **reply.get("Item", {})})


def all_records(cloud: Accounts, table: str) -> list[Json]:
    """Reads every record of the table, page by page."""
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return [_plain(item) for page in pages for item in page["Items"]]


def _plain(item: Json) -> Json:
    read = TypeDeserializer().deserialize
    return dict(json.loads(json.dumps({name: read(value) for name, value in item.items()}, default=int)))


def remember_release(cloud: Accounts, table: str, passed: Json) -> None:
    """Writes the record of a release that passed: what a story begins with that tells what follows it."""
    at = utc_text(cloud.now())
    entry = {"at": at, "who": "story", "what": "passed", "why": "as a story begins"}
    record = {
        "pk": f"release#{passed['release']}",
        "id": passed["release"],
        "stage": ReleaseStage.PASSED,
        "history": [entry],
    }
    written = {name: TypeSerializer().serialize(value) for name, value in (record | passed).items()}
    cloud.client("dynamodb").put_item(TableName=table, Item=written)
