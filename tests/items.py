"""Reads items of Mayfly's table on the local cloud as they are: what tests assert of, and of what any version wrote."""

import json
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from local.accounts import Accounts

type Json = dict[str, Any]


def read_item(cloud: Accounts, table: str, key: str) -> Json:
    """Reads one item of the DynamoDB table as plain values; returns {} if there is none."""
    reply = cloud.client("dynamodb").get_item(TableName=table, Key={"pk": {"S": key}}, ConsistentRead=True)
    return _plain(reply.get("Item", {}))


def all_items(cloud: Accounts, table: str) -> list[Json]:
    """Reads every item of the DynamoDB table, page by page."""
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return [_plain(item) for page in pages for item in page["Items"]]


def _plain(item: Json) -> Json:
    read = TypeDeserializer().deserialize
    return dict(json.loads(json.dumps({name: read(value) for name, value in item.items()}, default=int)))
