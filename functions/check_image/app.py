"""Takes `Environment Ready` of a proof and has the family's checks run on its instance."""

from typing import Any

from mayfly.aws import clients, commands, stacks
from mayfly.aws.letters import door
from mayfly.aws.records import Entry, Records
from mayfly.domain.bake import PROOF, pointer_until
from mayfly.domain.checks import Expected, script
from mayfly.domain.moment import text
from mayfly.messages import EnvironmentReady, receive
from mayfly.observability import logger, metrics
from mayfly.settings import settings


class NoInstance(Exception):
    """The environment has no instance to run checks on."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run Command's event brings the answers. Where the agent on the instance is not there yet, the call fails, and
    Lambda repeats it after a minute."""
    here = settings()
    received = receive(EnvironmentReady, event)
    ready = received.message
    logger.append_keys(environment=ready.environment, bake=ready.release)
    bakes = Records(here.table, "bake")
    record = bakes.get(ready.release) or {}
    if ready.environment != f"{ready.release}-{PROOF}" or "checks" not in record:
        return {"environment": ready.environment, "checking": False, "reason": "it proves no image"}
    if "command" in record:
        return {"environment": ready.environment, "checking": False, "reason": f"{record['command']} checks it already"}
    workload = clients.workload(ready.account, ready.region, here.workload_role, ready.environment)
    running = [
        one.id for one in stacks.instances(workload, ready.environment, here.controller) if one.state == "running"
    ]
    if not running:
        raise NoInstance(ready.environment)
    checks = [Expected(**check) for check in record["checks"]]
    command = commands.send(workload, running[0], script(checks), f"proof of {record['image']}")
    until = pointer_until(text(received.at), here.record_days)
    pointer = {"bake": ready.release, "environment": ready.environment, "instance": running[0], "forget_after": until}
    Records(here.table, "command").change(command, pointer | {"account": ready.account, "region": ready.region})
    entry = Entry(text(received.at), context.function_name, "checking", f"{len(checks)} checks on {running[0]}")
    bakes.change(ready.release, {"command": command}, entry)
    return {"environment": ready.environment, "checking": True, "command": command}
