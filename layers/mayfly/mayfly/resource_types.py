"""CloudFormation's resource types, as far as Mayfly has to know something of each."""

import json
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("resource_types.json")


@cache
def resource_types() -> dict[str, list[str]]:
    """Of each resource type: the property that names it, and the call that makes it where the service role may not."""
    found: dict[str, list[str]] = json.loads(_FILE.read_text())
    return found
