"""Has the script of a suite run on one or all instances of its environment, by Run Command of Systems Manager."""

from datetime import datetime, timedelta
from typing import Any

from mayfly.aws import clients, commands, instances
from mayfly.aws.records import Records
from mayfly.contract.orders import Order, Runner
from mayfly.domain import tags
from mayfly.domain.bake import pointer_until
from mayfly.domain.records import Command, Entry, Environment
from mayfly.domain.testing import script, variables
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import testruns

LATE_MINUTES = 15
"""After the script's time: Systems Manager brings it to the instances, and its end to Mayfly."""


class NoInstance(Exception):
    """No instance runs that could run the script."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run Command's event brings the result. A repetition finds the command in the record, and sends no other."""
    settings, order = load_settings(), Order.read(event["order"])
    logger.append_keys(environment=order.environment)
    if (runner := order.tested_by) is None or runner.type != "command":
        raise ValueError(f"runner: expected a command, but it is {runner}")
    limit = utc_text(datetime.fromisoformat(event["now"]) + timedelta(minutes=runner.minutes + LATE_MINUTES))
    records = Records(settings.table, Environment)
    record = records.get(order.environment)
    if record and record.command:
        return {"environment": order.environment, "command": record.command, "limit": limit}
    workload = clients.workload(order.account, order.region, settings.workload_role, order.environment)
    lines = lines_of(settings, order, runner, event)
    comment = f"tests of {order.environment}"
    running = running_in(settings, order, workload)
    if runner.instances == "all":
        ours = {tags.ENVIRONMENT: order.environment, tags.CONTROLLER: settings.controller}
        command = commands.send_to_all(workload, ours, lines, comment, runner.minutes)
    else:
        running = running[:1]  # always the same, as long as it runs
        command = commands.send(workload, running[0], lines, comment, runner.minutes)
    where = running[0] if len(running) == 1 else f"{len(running)} instances"
    entry = Entry(event["now"], context.function_name, "testing", f"command {command} on {where}")
    remember(settings, order, (command, running), entry)
    # Its end may have come before anybody could know whose it is.
    testruns.conclude_command(settings, command, Entry(event["now"], context.function_name, "tests judged", ""))
    return {"environment": order.environment, "command": command, "limit": limit}


def lines_of(settings: Settings, order: Order, runner: Runner, event: dict[str, Any]) -> list[str]:
    """Returns what Run Command runs."""
    known = variables(testruns.document(order, event["deadline"], event["outputs"], artifact=order.artifact))
    # Where each of many would put a file to the same address, nobody does.
    kept = testruns.uploads(settings, order.environment, runner.minutes) if runner.instances == "one" else None
    return script(runner.script, known, runner.report, kept)


def running_in(settings: Settings, order: Order, workload: clients.Workload) -> list[str]:
    """Returns the instances of an environment that run."""
    seen = instances.of_environment(workload, order.environment, settings.controller)
    running = sorted(one.id for one in seen if one.state == "running")
    if not running:
        raise NoInstance(f"no instance of {order.environment} runs")
    return running


def remember(settings: Settings, order: Order, sent: tuple[str, list[str]], entry: Entry) -> None:
    """Writes down whose command it is and where it runs: Run Command's event names nothing else."""
    (command, running), runner = sent, order.tested_by
    one = runner is not None and runner.instances == "one"
    Records(settings.table, Command).change(
        command,
        environment=order.environment,
        account=order.account,
        region=order.region,
        instance=running[0] if one else "",
        expected=len(running),
        report=runner is not None and runner.report is not None,
        forget_after=pointer_until(entry.at, settings.record_days),
    )
    Records(settings.table, Environment).change(order.environment, entry, command=command)
