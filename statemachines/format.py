"""Formats the state machines: an object or a list stands on one line where it fits. `make format` runs it."""

import json
from pathlib import Path

WIDTH = 140


def formatted(text: str) -> str:
    """Formats JSON: the same values in the same order, on as few lines as `WIDTH` allows."""
    return _lines(json.loads(text), "", 0) + "\n"


def _lines(value: object, indent: str, taken: int) -> str:
    """Writes a value on one line where it fits beside the `taken` characters; else each of its parts on its own."""
    one_line = json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        parts = [(f"{json.dumps(key, ensure_ascii=False)}: ", part) for key, part in value.items()]
    elif isinstance(value, list):
        parts = [("", part) for part in value]
    else:
        return one_line
    if len(indent) + taken + len(one_line) + len(",") <= WIDTH:
        return one_line
    inner = indent + "  "
    lines = [f"{inner}{key}{_lines(part, inner, len(key))}" for key, part in parts]
    return f"{one_line[0]}\n{',\n'.join(lines)}\n{indent}{one_line[-1]}"


if __name__ == "__main__":
    for file in Path(__file__).parent.glob("*.asl.json"):
        file.write_text(formatted(file.read_text()))
