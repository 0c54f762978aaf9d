"""The tests of an environment, as a runner runs them: what they have to know and leave, and how they end the life."""

from typing import Any

from msgspec.structs import replace

from mayfly.aws import clients, commands, reports
from mayfly.aws.records import Records
from mayfly.contract.orders import Order
from mayfly.contract.vocabulary import EndingCause, Outcome
from mayfly.domain import report, testing
from mayfly.domain.records import Command, Ending, Entry, Environment, cut
from mayfly.domain.testing import Judgement, Uploads
from mayfly.domain.text import clean
from mayfly.settings import Settings
from mayfly.workflows import environments

_GRACE = 15
"""Minutes that what tests leave may come after their time."""
_REASON = 2_000
"""Bytes of a reason, as of every ending's."""


def uploads(settings: Settings, environment: str, minutes: int) -> Uploads:
    """Tells where the tests of an environment put their log and their report."""
    prefix, seconds = testing.prefix(environment), (minutes + _GRACE) * 60
    log, left = (reports.address(settings.reports, prefix + name, seconds) for name in (testing.LOG, testing.REPORT))
    return Uploads(log, left)


def document(order: Order, deadline: str, outputs: dict[str, str], **more: str | None) -> dict[str, Any]:
    """Returns what tests have to know. GitHub takes ten fields at most: these are eight, and `more` has two."""
    known = order.only("environment", "release", "application", "version", "commit", "suite")
    return known | {"deadline": deadline, "outputs": outputs} | more


def left_report(settings: Settings, environment: str) -> tuple[str | None, report.Report | None]:
    """Returns the location of the report that the tests have left, and what it says. None where there is none.

    Raises:
        Unreadable: there is one, and it is no report.
    """
    key = testing.prefix(environment) + testing.REPORT
    raw = reports.read_raw(settings.reports, key, report.LONGEST + 1)
    if raw is None:
        return None, None
    if len(raw) > report.LONGEST:
        raise report.Unreadable(f"it has more than {report.LONGEST} bytes")
    return f"s3://{settings.reports}/{key}", report.read(raw)


def read_report(settings: Settings, environment: str) -> tuple[str | None, report.Report | None, Judgement | None]:
    """Reads the report that the tests have left; where nobody can read it, judges the suite broken."""
    try:
        return *left_report(settings, environment), None
    except report.Unreadable as error:
        return None, None, Judgement(Outcome.BROKEN, f"the tests' report cannot be read: {error}")


def with_report(settings: Settings, environment: str, ending: Ending) -> Ending:
    """Returns the ending of a life whose tests have reported by themselves, with the report that they have left."""
    where, left, unreadable = read_report(settings, environment)
    judged = unreadable or testing.judge_word(ending.outcome, ending.reason, left)
    return replace(ending, outcome=judged.outcome, reason=judged.reason, report=where or ending.report, tests=left)


def log_of(settings: Settings, environment: str) -> str:
    """Tells where a script's log is, if it could be brought away."""
    return f"s3://{settings.reports}/{testing.prefix(environment)}{testing.LOG}"


def conclude(settings: Settings, environment: str, entry: Entry, judged: Judgement, **left: Any) -> dict[str, Any]:
    """Ends a life with what its tests have shown.

    Args:
        left: where their `report` and `log` are, and what the report says of `tests`.
    """
    ending = Ending(EndingCause.TESTS, judged.outcome, cut(clean(judged.reason), _REASON), entry.at, **left)
    return environments.end(Records(settings.table, Environment), environment, ending, entry)


def conclude_command(settings: Settings, command: str, entry: Entry) -> dict[str, Any]:
    """Ends the life of the environment that a command tests, if it is such a command and is over."""
    pointer = Records(settings.table, Command).get(command)
    if pointer is None or pointer.bake:
        return {"command": command, "judged": False, "reason": "it tests no environment"}
    environment = pointer.environment
    workload = clients.workload(pointer.account, pointer.region, settings.workload_role, environment)
    ended = commands.invocations(workload, command)
    if ended is None:
        return {"command": command, "environment": environment, "judged": False, "reason": "it goes on"}
    where, left, unreadable = read_report(settings, environment)
    judged = unreadable or testing.judge_command(ended, pointer.expected, pointer.report, left)
    log = log_of(settings, environment) if pointer.instance else None
    said = replace(entry, why=judged.reason)
    done = conclude(settings, environment, said, judged, report=where, log=log, tests=left)
    return {"command": command, "environment": environment, "judged": True, "outcome": judged.outcome, **done}
