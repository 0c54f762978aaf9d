"""Reads Mayfly's table on the local cloud, as its administrator; so no role of Mayfly is tried by it."""

from collections.abc import Iterator
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from local.accounts import Accounts
from mayfly.aws.records import of_item
from mayfly.contract.vocabulary import ReleaseStage
from mayfly.domain.records import Entry, Record
from mayfly.domain.timestamp import utc_text

type Json = dict[str, Any]


def read_record[R: Record](cloud: Accounts, table: str, kind: type[R], identity: str) -> R:
    """Reads a record; one of which nothing is known if there is none."""
    key = {"pk": {"S": f"{kind.kind}#{identity}"}}
    reply = cloud.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
    return of_item(kind, {"id": {"S": identity}, **reply.get("Item", {})})


def all_records[R: Record](cloud: Accounts, table: str, kind: type[R]) -> list[R]:
    """Reads every record of a kind, page by page."""
    return [of_item(kind, item) for key, item in _items(cloud, table) if key.startswith(f"{kind.kind}#")]


def all_histories(cloud: Accounts, table: str) -> dict[str, tuple[Entry, ...]]:
    """Reads the history of every record, by its key."""
    return {key: of_item(Record, item).history for key, item in _items(cloud, table)}


def _items(cloud: Accounts, table: str) -> Iterator[tuple[str, Json]]:
    for page in cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            yield item["pk"]["S"], item


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
