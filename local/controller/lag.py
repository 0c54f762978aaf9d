"""What the controller account's lists do not show at first, as on AWS: executions that have just begun, and in an index
of DynamoDB items that were just written. The administrator, who watches what becomes of it, sees everything."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from local.clock import VirtualClock
from local.recent import Recent

type Json = dict[str, Any]
type Response = tuple[int, dict[str, str], bytes]
type Handler = Callable[[Json], Response]

INDEX_SECONDS = 0.2
"""An index of DynamoDB follows its table within a fraction of a second."""

sfn: Any = importlib.import_module("ministack.services.stepfunctions")
dynamodb: Any = importlib.import_module("ministack.services.dynamodb")
evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")


def install(clock: VirtualClock) -> None:
    """Puts the delay into MiniStack's lists and indexes, which are consistent at once."""
    recent, written = Recent(clock), Recent(clock, INDEX_SECONDS)
    sfn._list_executions = _hiding(
        sfn._list_executions, lambda _: "executions", lambda one: recent.hides(one["executionArn"], _moment(one))
    )
    for write in ("_put_item", "_update_item", "_transact_write_items"):
        setattr(dynamodb, write, _noting(getattr(dynamodb, write), written))
    dynamodb._query = _hiding(
        dynamodb._query, lambda asked: "Items" if asked.get("IndexName") else "", lambda item: written.hides(_key(item))
    )


def _noting(handler: Handler, recent: Recent) -> Handler:
    def handle(asked: Json) -> Response:
        response = handler(asked)
        if response[0] == 200:
            for name in _written(asked):
                recent.made(name)
        return response

    return handle


def _hiding(handler: Handler, listed: Callable[[Json], str], hides: Callable[[Json], bool]) -> Handler:
    def handle(asked: Json) -> Response:
        status, headers, body = handler(asked)
        part = listed(asked)
        if status != 200 or not part or "assumed-role" not in evaluator.caller_arn():
            return status, headers, body
        said = json.loads(body)
        said[part] = [one for one in said[part] if not hides(one)]
        if "Count" in said:
            said["Count"] = len(said[part])
        return status, headers, json.dumps(said).encode()

    return handle


def _moment(execution: Json) -> float:
    began = execution["startDate"]
    return float(began) if isinstance(began, int | float) else float(sfn._parse_ts(began).timestamp())


def _key(item: Json) -> str:
    return json.dumps(item.get("pk", {}))


def _written(asked: Json) -> Iterator[str]:
    """The keys that a write names."""
    for write in asked.get("TransactItems", [asked]):
        for one in (write, *write.values()):
            if isinstance(one, dict) and (item := one.get("Item") or one.get("Key")):
                yield _key(item)
