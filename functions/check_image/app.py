"""Takes `Environment Ready` of a proof and runs the family's checks on its instance."""

from typing import Any

from mayfly.aws import clients, commands, instances
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.announcements import EnvironmentReady
from mayfly.contract.reader import receive
from mayfly.domain.bake import PROOF, pointer_until
from mayfly.domain.checks import Expected, script
from mayfly.domain.records import Bake, Command, Entry
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import load_settings


class NoInstance(Exception):
    """The environment has no instance to run checks on."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run Command's event brings the answers. Where the agent on the instance is not there yet, the call fails, and
    Lambda repeats it after a minute."""
    settings = load_settings()
    received = receive(EnvironmentReady, event)
    ready = received.message
    logger.append_keys(environment=ready.environment, bake=ready.release)
    bakes = Records(settings.table, Bake)
    record = bakes.get(ready.release)
    if ready.environment != f"{ready.release}-{PROOF}" or record is None or not record.plan:
        return {"environment": ready.environment, "checking": False, "reason": "it proves no image"}
    if record.command:
        return {"environment": ready.environment, "checking": False, "reason": f"{record.command} checks it already"}
    workload = clients.workload(ready.account, ready.region, settings.workload_role, ready.environment)
    running = [
        one.id
        for one in instances.of_environment(workload, ready.environment, settings.controller)
        if one.state == "running"
    ]
    if not running:
        raise NoInstance(ready.environment)
    checks = [Expected(**check) for check in record.checks]
    command = commands.send(workload, running[0], script(checks), f"proof of {record.image}")
    until = pointer_until(utc_text(received.at), settings.record_days)
    Records(settings.table, Command).change(
        command,
        bake=ready.release,
        environment=ready.environment,
        instance=running[0],
        account=ready.account,
        region=ready.region,
        forget_after=until,
    )
    entry = Entry(utc_text(received.at), context.function_name, "checking", f"{len(checks)} checks on {running[0]}")
    bakes.change(ready.release, entry, command=command)
    return {"environment": ready.environment, "checking": True, "command": command}
