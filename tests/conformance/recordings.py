"""What AWS really answered, where it stands beside the project: `shared/aws-recordings`, here or further up."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

type Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [parent / "shared" / "aws-recordings" for parent in ROOT.parents]
FOLDER = next((folder for folder in FOLDERS if folder.is_dir()), None)

needed = pytest.mark.skipif(FOLDER is None, reason="shared/aws-recordings does not stand beside the project")


def rows(name: str) -> list[Json]:
    """Reads a file of the folder; nothing where there is none, so that the tests are skipped."""
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()] if FOLDER else []


def values(node: Any, key: str) -> Iterator[Any]:
    """Finds all values under a key, however deep."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == key:
                yield inner
            yield from values(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from values(inner, key)


_VOLATILE = re.compile(r"<[^<>]*>")
_TIMES = {"timestamp", "datetime", "time", "start-time", "entered-time", "execution_starttime", "state_enteredtime"}


def same(recorded: Any, seen: Any) -> bool:
    """Whether an answer is the recorded one; a placeholder stands for any text."""
    if isinstance(recorded, dict):
        return (
            isinstance(seen, dict) and recorded.keys() == seen.keys() and all(same(recorded[k], seen[k]) for k in seen)
        )
    if isinstance(recorded, list):
        return isinstance(seen, list) and len(recorded) == len(seen) and all(map(same, recorded, seen))
    if isinstance(recorded, str) and isinstance(seen, str):
        if recorded in _TIMES:
            return True
        if recorded.startswith("{") and seen.startswith("{"):
            with suppress(ValueError):
                return same(json.loads(recorded), json.loads(seen))
        pattern = ".*".join(re.escape(part) for part in _VOLATILE.split(recorded))
        return re.fullmatch(pattern, seen, re.DOTALL) is not None
    return type(recorded) is type(seen) and bool(recorded == seen)


def readme_figures(title: str) -> list[int]:
    """The figures of a line of the README's table: recorded, run, the same, deviating."""
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {title} |"))
    return [int(cell) for cell in line.split("|")[2:6]]
