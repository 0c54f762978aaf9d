"""Commands of Run Command that test an environment: read and judged when they are over."""

from dataclasses import replace
from typing import Any

from mayfly.aws import clients, commands
from mayfly.aws.records import Records
from mayfly.domain.records import Command, Entry
from mayfly.domain.testing import judge_command
from mayfly.settings import Settings
from mayfly.workflows import testruns


def judge(settings: Settings, command: str, entry: Entry) -> dict[str, Any]:
    """Ends the life of the environment that a command tests, if it is such a command and is over."""
    pointer = Records(settings.table, Command).get(command)
    if pointer is None or pointer.bake:
        return {"command": command, "judged": False, "reason": "it tests no environment"}
    environment = pointer.environment
    workload = clients.workload(pointer.account, pointer.region, settings.workload_role, environment)
    ended = commands.invocations(workload, command)
    if ended is None:
        return {"command": command, "environment": environment, "judged": False, "reason": "it goes on"}
    where, left, unreadable = testruns.read_report(settings, environment)
    judged = unreadable or judge_command(ended, pointer.expected, pointer.report, left)
    log = testruns.log_of(settings, environment) if pointer.instance else None
    said = replace(entry, why=judged.reason)
    done = testruns.conclude(settings, environment, said, judged, report=where, log=log, tests=left)
    return {"command": command, "environment": environment, "judged": True, "outcome": judged.outcome, **done}
