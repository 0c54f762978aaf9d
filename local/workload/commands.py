"""Run Command on top of moto, whose commands have succeeded before they are sent.

Instances are no machines here, so a script really runs, but in a process of this one's user, in an empty folder, with
nothing of an image. It ends with its instance. A script whose first line is `# checks: ["name", ...]` asks an image
what only a machine can answer: it is not run, and each check exits well, one line of JSON for each:
`{"name": ..., "exit": 0, "stdout": ""}`, and what its image consists of, which is made up: two packages, one of the
version that its base image is, one of the image's own.

Faults (`cloud.fault("workload", ...)`), all with `times`:

    {"check": glob on a check's name, "image": glob on the instance's image, "environment": glob, "effect": ...}
        fail        the check exits with `exit` (1) and says `stdout`
        crash       the script ends there: the command has failed, and answers no more
        silent      the machine never answers
    {"command": glob on the command's comment, "environment": glob, "effect": ...}
        undeliverable   the machine's agent is not there
        silent          the machine never answers
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.ssm.exceptions import SSMException
from moto.ssm.models import Command, SimpleSystemManagerBackend
from moto.ssm.responses import SimpleSystemManagerResponse

from local.clock import VirtualClock
from local.faults import Faults
from local.workload.delivery import Say, ServiceEvent
from local.workload.stacks import replace
from local.workload.states import ENVIRONMENT_TAG, arn_of, tags_of
from mayfly.contract.vocabulary import AwsEvent

COMMAND_SECONDS = 0.3  # real seconds until an agent has taken a command
LOOK_SECONDS = 0.1  # real seconds between two looks at whether its machine is still there
LONGEST_OUTPUT = 24_000  # characters of a command's output that Systems Manager keeps
LONGEST_IN_LIST = 2_500  # and shows in a list
LONGEST_SCRIPT = 3_600  # seconds, where the command does not say
CHECKS = "# checks:"

Invocation = dict[str, Any]


class Commands:
    """The commands of the workload account and the threads in which they run."""

    def __init__(self, clock: VirtualClock, faults: Faults, lock: threading.RLock, say: Say) -> None:
        self._clock, self._faults, self._lock, self._say = clock, faults, lock, say

    def install(self) -> None:
        """moto's commands also go to instances that do not exist, and to all where no targets are given."""
        send, targets, commands = SimpleSystemManagerBackend.send_command, Command._get_instance_ids_from_targets, self

        def targeted(command: Command) -> list[str]:
            names = targets(command) if command.targets else []
            return [name for name in names if _is_running(command.account_id, command.backend_region, name)]

        def send_command(backend: SimpleSystemManagerBackend, **request: Any) -> Command:
            for name in request["instance_ids"]:
                if not _is_running(backend.account_id, backend.region_name, name):
                    why = f"Instances [[{name}]] not in a valid state for account {backend.account_id}"
                    raise SSMException("InvalidInstanceId", why)
            command = send(backend, **request)
            commands.begin(command)
            return command

        replace(SimpleSystemManagerBackend, send_command=send_command)
        replace(Command, _get_instance_ids_from_targets=targeted)
        install_lists()

    def begin(self, command: Command) -> None:
        """Run a command on each of its machines."""
        command.status = command.status_details = "InProgress"
        command.completed_count, command.target_count = 0, len(command.invocations)
        self._say_of_all(command)
        for invocation in command.invocations:
            invocation["ExecutionEndDateTime"] = ""
            self._is(command, invocation, ("InProgress", "InProgress"), -1)
            threading.Thread(target=self._run, args=(command, invocation), daemon=True).start()

    def _run(self, command: Command, invocation: Invocation) -> None:
        time.sleep(COMMAND_SECONDS)
        instance = _instance(command, invocation)
        if instance.state != "running":
            return
        checks = _checks(command)
        answer = self._checked(command, instance) if checks else self._ran(command, instance)
        if answer is None:
            return
        status, code, output = answer
        with self._lock:
            if instance.state != "running":
                return
            invocation["StandardOutputContent"] = output[:LONGEST_OUTPUT]
            command.completed_count += 1
            self._is(command, invocation, status, code)
            if command.completed_count == len(command.invocations):
                self._ends(command)

    def _ends(self, command: Command) -> None:
        """A command is as its worst invocation is."""
        seen = {one["Status"]: one["StatusDetails"] for one in command.invocations}
        command.status = next(each for each in ("Failed", "TimedOut", "Success") if each in seen)
        command.status_details = seen[command.status]
        command.error_count = sum(one["Status"] != "Success" for one in command.invocations)
        self._say_of_all(command)

    # ---- what a script does --------------------------------------------------------------------------------

    def _checked(self, command: Command, instance: Instance) -> tuple[tuple[str, str], int, str] | None:
        """Status, exit code and output of checks on this machine; None if there never will be any."""
        lines: list[str] = []
        for name in _checks(command):
            environment = _environment_of(instance)
            fault = self._faults.take("check", check=name, image=instance.image_id, environment=environment) or {}
            match fault.get("effect"):
                case "silent":
                    return None
                case "crash":
                    return ("Failed", "Failed"), 1, "\n".join(lines)
            exit_code = fault.get("exit", 1 if fault else 0)
            lines.append(json.dumps({"name": name, "exit": exit_code, "stdout": fault.get("stdout", "")}))
        if "contents" in str(command.parameters):
            lines.append(json.dumps({"contents": _made_up_contents(instance)}))
        return ("Success", "Success"), 0, "\n".join(lines)

    def _ran(self, command: Command, instance: Instance) -> tuple[tuple[str, str], int, str] | None:
        """The same of a script that runs; None where its machine ended meanwhile."""
        fault = self._faults.take("command", command=command.comment, environment=_environment_of(instance)) or {}
        match fault.get("effect"):
            case "silent":
                return None
            case "undeliverable":
                return ("Failed", "Undeliverable"), -1, ""
        seconds = int(command.parameters.get("executionTimeout", [str(LONGEST_SCRIPT)])[0])
        until = self._clock.time() + seconds
        with tempfile.TemporaryDirectory(prefix="instance-") as place, tempfile.TemporaryFile() as output:
            script = subprocess.Popen(
                ["/bin/sh", "-c", "\n".join(command.parameters.get("commands", []))],
                cwd=place,
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": place, "TMPDIR": place},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while script.poll() is None and instance.state == "running" and self._clock.time() < until:
                    time.sleep(LOOK_SECONDS)
                ended = script.returncode
            finally:
                if script.poll() is None:
                    os.killpg(script.pid, signal.SIGKILL)
                script.wait()
            output.seek(0)
            printed = output.read(LONGEST_OUTPUT).decode(errors="replace")
        if ended is None:
            return (("TimedOut", "ExecutionTimedOut"), -1, printed) if instance.state == "running" else None
        return (("Success", "Success") if ended == 0 else ("Failed", "Failed")), ended, printed

    # ---- what is said --------------------------------------------------------------------------------------

    def _is(self, command: Command, invocation: Invocation, status: tuple[str, str], code: int) -> None:
        invocation.update(Status=status[0], StatusDetails=status[1], ResponseCode=code)
        instance = _instance(command, invocation)
        self._announce(
            command,
            "EC2 Command Invocation Status-change Notification",
            instance,
            status[0],
            {
                "instance-id": instance.id,
            },
        )

    def _say_of_all(self, command: Command) -> None:
        if command.invocations:
            instance = _instance(command, command.invocations[0])
            self._announce(
                command,
                AwsEvent.COMMAND_STATUS,
                instance,
                command.status,
                {
                    "expire-after": _moment(command.expires_after),
                    "parameters": command.parameters,
                },
            )

    def _announce(
        self, command: Command, detail_type: str, instance: Instance, status: str, more: dict[str, Any]
    ) -> None:
        known = {"command-id": command.command_id, "document-name": command.document_name}
        known |= {"requested-date-time": _moment(command.requested_date_time), "status": status}
        self._say(
            ServiceEvent(
                source="aws.ssm",
                detail_type=detail_type,
                account=command.account_id,
                region=command.backend_region,
                resource=arn_of(instance),
                detail=known | more,
                status=status,
                environment=_environment_of(instance),
            )
        )


def install_lists() -> None:
    """moto has no ListCommandInvocations."""

    def list_command_invocations(response: Any) -> ActionResult:
        wanted = response._get_param("CommandId")
        commands = [one for one in response.ssm_backend._commands if one.command_id == wanted]
        return ActionResult({"CommandInvocations": [_listed(each) for one in commands for each in one.invocations]})

    replace(SimpleSystemManagerResponse, list_command_invocations=list_command_invocations)


def _listed(invocation: Invocation) -> dict[str, Any]:
    """An invocation as a list with details shows it."""
    kept = ("CommandId", "InstanceId", "Comment", "DocumentName", "Status", "StatusDetails")
    plugin = {
        "Name": invocation["PluginName"],
        "Status": invocation["Status"],
        "StatusDetails": invocation["StatusDetails"],
        "ResponseCode": invocation["ResponseCode"],
        "Output": invocation["StandardOutputContent"][:LONGEST_IN_LIST],
    }
    return {name: invocation[name] for name in kept} | {"CommandPlugins": [plugin]}


def _moment(at: Any) -> str:
    return str(at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z")


def _is_running(account: str, region: str, name: str) -> bool:
    instance = ec2_backends[account][region].get_instance_by_id(name)
    return instance is not None and instance.state == "running"


def _environment_of(instance: Instance) -> str | None:
    return tags_of(instance).get(ENVIRONMENT_TAG)


def _instance(command: Command, invocation: Invocation) -> Instance:
    ec2 = ec2_backends[command.account_id][command.backend_region]
    return ec2.get_instance(invocation["InstanceId"])


def _made_up_contents(instance: Instance) -> str:
    image = ec2_backends[instance.owner_id][instance.region_name].amis[instance.image_id]
    base = tags_of(image).get("mayfly:base-image", "none")
    parts = (("package", "base-system", base), ("package", "runtime", instance.image_id), ("service", "web", "enabled"))
    said = "\n".join("\t".join(part) for part in parts)
    return base64.b64encode(gzip.compress(said.encode())).decode()


def _checks(command: Command) -> list[str]:
    """The names in the first line of the script; none if it is another kind of script."""
    first = "\n".join(command.parameters.get("commands", [])).partition("\n")[0]
    return list(json.loads(first.removeprefix(CHECKS))) if first.startswith(CHECKS) else []
