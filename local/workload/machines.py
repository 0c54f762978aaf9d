"""Machines that do something: builders that run a bake script, on top of moto, whose instances run at once.

A builder is an instance that RunInstances started with the tag `mayfly:bake`. It boots, runs its script and shuts
itself down with the script's result in a tag. Its state changes are events, as those of every instance on AWS;
instances of stacks change theirs in silence here, because nothing listens to them.

Faults (`cloud.fault("workload", ...)`), all with `times`:

    {"bake": glob on the bake id, "effect": ...}
        fail        the script fails with `reason`, which the tag says
        no_result   it stops without having said anything: no tag
        silent      it never ends
        slow        it takes `seconds`
"""

from __future__ import annotations

import base64
import copy
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, UnvailableAMIIdError
from moto.ec2.models.instances import Instance, InstanceState, StateReason
from moto.ec2.responses.instances import InstanceResponse
from moto.s3.models import s3_backends

from local.faults import Fault, Faults, sit_out
from local.workload.delivery import Say, ServiceEvent
from local.workload.stacks import (
    Timing,
    own_interfaces,
    replace,
)
from local.workload.states import PENDING, RUNNING, SHUTTING_DOWN, STOPPING, arn_of, set_state, tags_of
from mayfly.contract.vocabulary import AwsEvent

BAKE_TAG = "mayfly:bake"
RESULT_TAG = "mayfly:bake-result"
IMAGE_SIZE = 15  # GiB of every image of moto's

Action = Callable[[Any], ActionResult]  # a method of one of moto's response classes


class Machines:
    """The builders of the workload account and the threads in which they run."""

    def __init__(self, faults: Faults, timing: Timing, lock: threading.RLock, say: Say) -> None:
        self._faults = faults
        self._timing = timing
        self._lock = lock
        self._say = say
        self._bakes: dict[str, str] = {}  # instance id -> bake id
        self._stop, self._terminate = Instance.stop, Instance.terminate

    def install(self) -> None:
        """Put this in the place of moto's own timing."""
        self._install_launches()
        self._install_ends()

    # ---- builders --------------------------------------------------------------------------------------

    def _install_launches(self) -> None:
        """moto launches from any image; AWS from none that is pending, disabled or deregistered. And moto wants the
        size of each volume; on AWS, the image has one."""
        run, machines = InstanceResponse.run_instances, self

        def run_instances(response: Any) -> ActionResult:
            refuse_unavailable(response.ec2_backend, response._get_param("ImageId"))
            for device in response._get_param("BlockDeviceMappings", []):
                if "Ebs" in device and "SnapshotId" not in device["Ebs"]:
                    device["Ebs"].setdefault("VolumeSize", IMAGE_SIZE)
            result: Any = run(response)
            for instance in result.result.instances:
                bake = tags_of(instance).get(BAKE_TAG)
                if bake is not None:
                    machines.launch(instance, bake)
            return result  # type: ignore[no-any-return]

        replace(InstanceResponse, run_instances=once(run_instances))

    def launch(self, instance: Instance, bake: str) -> None:
        """Let a builder boot and run its script."""
        self._bakes[instance.id] = bake
        own_interfaces(instance)
        self._becomes(instance, PENDING)
        fault = self._faults.take("bake", bake=bake, environment=bake)
        threading.Thread(target=self._run_builder, args=(instance, fault or {}), daemon=True).start()

    def _run_builder(self, instance: Instance, fault: Fault) -> None:
        time.sleep(self._timing.boot_seconds / 3)
        with self._lock:
            if instance.state != "pending":
                return
            self._becomes(instance, RUNNING)
        sit_out(fault, self._timing.bake_seconds)
        with self._lock:
            if instance.state == "running" and fault.get("effect") != "silent":
                self._script_ends(instance, fault)

    def _script_ends(self, instance: Instance, fault: Fault) -> None:
        """The script leaves its log, tags its machine with its result and shuts it down; AWS then does what the launch
        said."""
        self._leave_log(instance, fault)
        match fault.get("effect"):
            case "fail":
                instance.add_tags({RESULT_TAG: f"failed: {fault.get('reason', 'puppet: exit code 4')}"})
            case "no_result":
                pass
            case _:
                instance.add_tags({RESULT_TAG: "ok"})
        terminates = instance.instance_initiated_shutdown_behavior == "terminate"
        self._becomes(instance, SHUTTING_DOWN if terminates else STOPPING)
        self._end(instance, self._terminate if terminates else self._stop)
        instance._reason = ""
        initiated = "Client.InstanceInitiatedShutdown"
        instance.state_reason = StateReason(f"{initiated}: Instance initiated shutdown", initiated)

    def _leave_log(self, instance: Instance, fault: Fault) -> None:
        """Put a log where the script is told to, if there is such a bucket."""
        raw = str(instance.user_data or "")
        script = raw if raw.startswith("#!") else base64.b64decode(raw).decode(errors="replace")
        told = re.search(r"^MAYFLY_LOG='?s3://([^/\s']+)/([^\s']+)'?$", script, re.MULTILINE)
        buckets = s3_backends[instance.owner_id]["aws"].buckets
        if told is None or told[1] not in buckets:
            return
        key = told[2].replace("{instance}", instance.id)
        went = f"failed: {fault.get('reason', 'puppet: exit code 4')}" if fault.get("effect") == "fail" else "ok"
        lines = [f"bake {self._bakes[instance.id]} on {instance.id} of {instance.image_id}", "puppet: a stand-in", went]
        s3_backends[instance.owner_id]["aws"].put_object(told[1], key, "\n".join([*lines, ""]).encode())

    def _install_ends(self) -> None:
        """moto stops and terminates within the call; on AWS a builder takes its time and says when it is done."""
        machines = self

        def stop(instance: Instance) -> InstanceState:
            return machines.end(instance, STOPPING, machines._stop)

        def terminate(instance: Instance) -> InstanceState:
            return machines.end(instance, SHUTTING_DOWN, machines._terminate)

        replace(Instance, stop=stop, terminate=terminate)

    def end(self, instance: Instance, through: tuple[str, int], end: Callable[[Instance], Any]) -> InstanceState:
        """Begin to end a builder, by way of a state; other instances end at once, and say so. Returns the state
        before."""
        if instance.id not in self._bakes:
            state_before: InstanceState = end(instance)
            self._announce_state(instance)
            return state_before
        before = copy.copy(instance._state)
        if before.name not in ("shutting-down", "terminated", through[0]):
            self._becomes(instance, through)
            threading.Thread(target=self._end_later, args=(instance, through, end), daemon=True).start()
        return before

    def _end_later(self, instance: Instance, through: tuple[str, int], end: Callable[[Instance], Any]) -> None:
        time.sleep(self._timing.delete_seconds)
        with self._lock:
            if instance.state == through[0]:  # who terminates what is stopping wins
                self._end(instance, end)

    def _end(self, instance: Instance, end: Callable[[Instance], Any]) -> None:
        end(instance)
        self._announce_state(instance)

    def _becomes(self, instance: Instance, state: tuple[str, int]) -> None:
        set_state(instance, state)
        self._announce_state(instance)

    def _announce_state(self, instance: Instance) -> None:
        self._say(
            ServiceEvent(
                source="aws.ec2",
                detail_type=AwsEvent.INSTANCE_STATE,
                account=instance.owner_id,
                region=instance.region_name,
                resource=arn_of(instance),
                detail={"instance-id": instance.id, "state": instance.state},
                status=instance.state,
                environment=self._bakes.get(instance.id) or tag_of(instance, "mayfly:environment"),
            )
        )


def tag_of(instance: Instance, key: str) -> str | None:
    """The value of an instance's tag."""
    return next((tag["value"] for tag in instance.get_tags() if tag["key"] == key), None)


# ---- moto's objects ------------------------------------------------------------------------------------


def once(method: Action) -> Action:
    """moto takes every call for a new one. AWS answers a repeated ClientToken with what it made the first time,
    and refuses one that comes with other parameters."""
    made: dict[tuple[str, str], tuple[dict[str, Any], ActionResult]] = {}

    def handle(response: Any) -> ActionResult:
        token, asked = response._get_param("ClientToken"), dict(response.querystring)
        if not token:
            return method(response)
        earlier = made.get((response.region, token))
        if earlier is None:
            made[response.region, token] = earlier = asked, method(response)
        if earlier[0] != asked:
            why = f"The client token {token} was used with other parameters."
            raise EC2ClientError("IdempotentParameterMismatch", why)
        return earlier[1]

    return handle


def refuse_unavailable(ec2: Any, image_id: str | None) -> None:
    """Raises what AWS answers to the use of an image that is pending, failed, disabled or deregistered."""
    image = ec2.amis.get(image_id)
    if image_id in ec2.deleted_amis or (image is not None and image.state != "available"):
        raise UnvailableAMIIdError(str(image_id))
