"""EventBridge Scheduler's expressions. MiniStack takes any text for one; AWS refuses what it cannot read."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

_RATE = re.compile(r"rate\([1-9]\d* (minute|hour|day)s?\)")
_AT = re.compile(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)")
_CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[int, int, tuple[str, ...], str], ...] = (
    (0, 59, (), r"\*"),  # minutes
    (0, 23, (), r"\*"),  # hours
    (1, 31, (), r"\*|\?|L|LW|\d+W"),  # day of the month
    (1, 12, _MONTHS, r"\*"),
    (1, 7, _DAYS, r"\*|\?|L|[1-7]L|[1-7]#[1-5]"),  # day of the week
    (1970, 2199, (), r"\*"),  # year
)


def install() -> None:
    """Makes MiniStack's API and its CloudFormation refuse a schedule whose expression AWS cannot read."""
    scheduler: Any = importlib.import_module("ministack.services.scheduler")
    provisioners: Any = importlib.import_module("ministack.services.cloudformation.provisioners")

    def refusing(change: Callable[[str, dict[str, Any]], Any]) -> Callable[[str, dict[str, Any]], Any]:
        def change_schedule(name: str, body: dict[str, Any]) -> Any:
            if refusal := _refusal(body):
                return scheduler._error(400, "ValidationException", refusal)
            return change(name, body)

        return change_schedule

    def failing(change: Callable[..., Any], at: int) -> Callable[..., Any]:
        def change_resource(*arguments: Any) -> Any:
            if refusal := _refusal(arguments[at]):
                raise ValueError(refusal)
            return change(*arguments)

        return change_resource

    scheduler._create_schedule = refusing(scheduler._create_schedule)
    scheduler._update_schedule = refusing(scheduler._update_schedule)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]
    handlers["create"], handlers["update"] = failing(handlers["create"], 1), failing(handlers["update"], 2)


def _refusal(schedule: dict[str, Any]) -> str:
    expression = str(schedule.get("ScheduleExpression"))
    return "" if is_expression(expression) else f"Invalid Schedule Expression {expression}."


def is_expression(text: str) -> bool:
    """Whether EventBridge Scheduler can read the expression."""
    if cron := _CRON.fullmatch(text):
        fields = cron.groups()
        one_day_is_open = (fields[2] == "?") != (fields[4] == "?")
        return one_day_is_open and all(_is_field(field, *kind) for field, kind in zip(fields, _FIELDS, strict=True))
    return bool(_RATE.fullmatch(text) or _AT.fullmatch(text))


def _is_field(text: str, lowest: int, highest: int, names: tuple[str, ...], wildcards: str) -> bool:
    """Whether a field is a list of wildcards, values and ranges, each with a step if need be."""

    def is_value(value: str) -> bool:
        return value in names or (value.isdigit() and lowest <= int(value) <= highest)

    for part in text.split(","):
        span, _, step = part.partition("/")
        if step and not step.isdigit():
            return False
        if not re.fullmatch(wildcards, span) and not all(is_value(value) for value in span.split("-", 1)):
            return False
    return True
