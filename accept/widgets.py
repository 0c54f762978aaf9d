"""What a dashboard shows, read from its body."""

import re
from collections.abc import Iterator
from typing import Any

type Line = tuple[str, str, dict[str, str | None]]


def lines(body: dict[str, Any]) -> Iterator[Line]:
    """Every metric on a dashboard: namespace, name and dimensions, None for a value that is searched for. "." and "..."
    repeat what the line before says. What reckons with other metrics names none itself."""
    for widget in body["widgets"]:
        before: list[str] = []
        for line in widget["properties"]["metrics"]:
            if isinstance(line[0], dict):
                yield from _searched(line[0]["expression"])
                continue
            said = [part for part in line if isinstance(part, str)]
            if said[0] == "...":
                said = [*before[: len(before) - len(said) + 1], *said[1:]]
            before = [earlier if part == "." else part for part, earlier in zip(said, before or said, strict=True)]
            yield before[0], before[1], dict(zip(before[2::2], before[3::2], strict=True))


def _searched(expression: str) -> Iterator[Line]:
    found = re.search(r"{([^}]*)}", expression)
    namespace, *keys = found[1].split(",") if found else ("",)  # no search
    for name in re.findall(r'MetricName="(\w+)"', expression):
        yield namespace, name, dict.fromkeys(keys)
