"""First boots of instances, step by step. Nothing runs: an instance whose user data reports its steps, as that of the
shipped blueprints does, has its tags say what they would say, with the steps that it was given.

Faults:

    {"boot": glob on a step's name, "environment": glob, "times", "effect": ...}
        hang    the instance stays in the step, whose log ends with `log`, until the faults are cleared
        fail    the step fails with `reason`, and its log ends with `log`: the instance signals a failure or, where its
                user data may have it replaced, stops; its group then terminates it and launches another one
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Literal

from moto.ec2.models.instances import Instance

from local.clock import VirtualClock
from local.faults import Fault, Faults, lasts
from local.workload.delivery import Say, ServiceEvent
from local.workload.states import ENVIRONMENT_TAG, PENDING, RUNNING, STOPPED, arn_of, set_state, tags_of, user_data_of
from mayfly.contract.vocabulary import AwsEvent

STEPS = {
    "set the host name": "",
    "certificate": "puppet_server",
    "catalogue": "puppet_server",
    "converge": "",
    "deploy": "",
    "health": "health_path",
    "version": "version_script",
    "signal": "",
}
"""What an instance reports of its boot, and the variable without which there is no such step."""


@dataclass(frozen=True)
class Script:
    """What is read in a user data; one that reports no steps has none."""

    steps: tuple[str, ...] = ()
    tells: bool = False  # at its end, with steps or without
    replaceable: bool = False
    version: str = ""


@dataclass(eq=False)
class Boot:
    """The boot of one instance, between two ages of its stack's, in real seconds."""

    instance: Instance
    window: tuple[float, float]
    began: datetime
    script: Script
    outcome: Literal["boots", "ready", "failed", "stopped"] = "boots"
    entered: int = 0  # steps
    since: datetime | None = None  # of the step in which it is
    done: list[str] = field(default_factory=list)
    hang: Fault = field(default_factory=dict)

    def reached(self, age: float) -> float:
        """The share of it that lies behind."""
        begin, end = self.window
        return 1.0 if age >= end else max(0.0, (age - begin) / (end - begin))


class Boots:
    """Begins boots and moves them on."""

    def __init__(self, clock: VirtualClock, faults: Faults, say: Say) -> None:
        self._clock, self._faults, self._say = clock, faults, say

    def begin(self, instance: Instance, window: tuple[float, float] = (0.0, 0.0)) -> Boot:
        """An instance is launched that will boot within this window."""
        return Boot(instance, window, self._clock.now(), _read(user_data_of(instance)))

    def go_on(self, boot: Boot, age: float) -> None:
        """Lets an instance come as far as it has come at this age of its stack's."""
        if boot.instance.state == PENDING[0] and boot.reached(age) > 0:
            set_state(boot.instance, RUNNING)
        entered, steps = boot.entered, boot.script.steps
        while boot.outcome == "boots" and not lasts(boot.hang):
            if boot.entered < len(steps) and boot.reached(age) * len(steps) > boot.entered:
                self._enter(boot, self._faults.take("boot", boot=steps[boot.entered], environment=_environment(boot)))
            elif boot.reached(age) == 1.0:
                self.is_ready(boot)
            else:
                break
        if boot.entered > entered and boot.outcome == "boots" and boot.since:
            here = f"{steps[boot.entered - 1]} since {boot.since:%H:%M:%SZ}"
            _tell(boot, "boot", "; ".join([*boot.done, here]))

    def _enter(self, boot: Boot, fault: Fault | None) -> None:
        now = self._clock.now()
        if boot.since:
            boot.done.append(f"{boot.script.steps[boot.entered - 1]} {(now - boot.since).seconds} s")
        boot.since, boot.entered = now, boot.entered + 1
        if fault is None:
            return
        _tell(boot, "boot-log", fault.get("log", ""))
        if fault["effect"] == "hang":
            boot.hang = fault
        else:
            reason = fault.get("reason", "exit code 1")
            self._fail(boot, f"{boot.script.steps[boot.entered - 1]}: {reason}")

    def is_ready(self, boot: Boot) -> None:
        """An instance has come to the end of its boot."""
        boot.outcome = "ready"
        if not boot.script.steps:
            if boot.script.tells:
                _tell(boot, "boot", "ready")
            return
        if "version" in boot.script.steps:
            _tell(boot, "version", boot.script.version)
        done = boot.done or [f"{step} 0 s" for step in boot.script.steps[:-1]]
        _tell(boot, "boot", f"ready after {self._seconds(boot)} s: {'; '.join(done)};")

    def _fail(self, boot: Boot, why: str) -> None:
        _tell(boot, "boot", f"failed after {self._seconds(boot)} s: {why}")
        boot.outcome = "stopped" if boot.script.replaceable else "failed"
        if boot.outcome == "stopped":
            set_state(boot.instance, STOPPED)
            self._say(
                ServiceEvent(
                    source="aws.ec2",
                    detail_type=AwsEvent.INSTANCE_STATE,
                    account=boot.instance.owner_id,
                    region=boot.instance.region_name,
                    resource=arn_of(boot.instance),
                    detail={"instance-id": boot.instance.id, "state": STOPPED[0]},
                    status=STOPPED[0],
                    environment=_environment(boot),
                )
            )

    def _seconds(self, boot: Boot) -> int:
        return int((self._clock.now() - boot.began).total_seconds())


@cache
def _read(text: str) -> Script:
    if "report boot " not in text:
        return Script(tells="mayfly:boot" in text)

    def given(variable: str) -> str:
        found = re.search(rf"^{variable}='([^']*)'$", text, re.MULTILINE)
        return found[1] if found else ""

    steps = tuple(step for step, variable in STEPS.items() if not variable or given(variable))
    version = re.search(r"running == '([^']*)'", text)
    return Script(steps, True, given("replace_failed") not in ("", "0"), version[1] if version else "")


def _environment(boot: Boot) -> str:
    return tags_of(boot.instance).get(ENVIRONMENT_TAG, "")


def _tell(boot: Boot, key: str, text: str) -> None:
    boot.instance.add_tags({f"mayfly:{key}": text[:255]})
