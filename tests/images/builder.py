"""A bake as a builder lives it: user data with its header, started on a machine, and what it left behind."""

import io
import json
import shlex
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from .machine import Machine

IMAGES = Path(__file__).parents[2] / "images"
CHECKS: list[dict[str, Any]] = json.loads((IMAGES / "checks.json").read_text())

_DEFAULTS = {
    "BAKE": "base-0a1b2c3d",
    "LOG": "s3://logs/bakes/{instance}/base-0a1b2c3d.log",
    "CLEANUP": (IMAGES / "cleanup.sh").read_text(),
    "PUPPET_CODE": "http://127.0.0.1:8000/puppet.tar.gz",
    "TIME_LIMIT": "300",
}


def user_data(**variables: str) -> str:
    """The script as it is, behind the variables (by their names without MAYFLY_, in any case)."""
    given = _DEFAULTS | {name.upper(): value for name, value in variables.items()}
    header = "".join(f"MAYFLY_{name}={shlex.quote(value)}\n" for name, value in given.items())
    return "#!/bin/bash\n" + header + (IMAGES / "bake.sh").read_text()


def sample_code() -> bytes:
    """The sample Puppet environment as it is published."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(IMAGES / "puppet", arcname=".")
    return buffer.getvalue()


def packed(**files: str) -> bytes:
    """A tar.gz of executable files, `__` in a name standing for a slash and `_pp` at its end for `.pp`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_pp", ".pp"))
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass(frozen=True)
class Bake:
    """What is seen of a bake from outside."""

    result: str | None
    """Value of the tag that the builder wrote on itself."""
    log: str
    calls: list[list[str]]
    code: int
    """Exit code of the user data; 143 where the shutdown it asked for ended it."""

    @property
    def shut_down(self) -> bool:
        """Whether it ended its machine, and did nothing afterwards."""
        return bool(self.calls) and self.calls[-1] == ["shutdown", "-P", "now"]


def bake(machine: Machine, **variables: str) -> Bake:
    """Runs the user data on a machine that has just booted, with the checksum of the code that is published to it."""
    machine.write("/stand-ins/calls", "")
    published = machine.artifacts / "puppet.tar.gz"
    if published.exists():
        variables = {"puppet_code_sha256": sha256(published.read_bytes()).hexdigest()} | variables
    script = "/var/lib/cloud/instance/scripts/part-001"
    machine.write(script, user_data(**variables), 0o700)
    done = machine.run("bash", script, metadata=True)
    logs = [*machine.path("/stand-ins/s3/logs/bakes").rglob("base-0a1b2c3d.log")]
    prefix = "Key=mayfly:bake-result,Value="
    tags = [call[-1].removeprefix(prefix) for call in machine.calls if call[:3] == ["aws", "ec2", "create-tags"]]
    assert len(tags) <= 1
    assert len(logs) <= 1
    return Bake(
        tags[0] if tags else None,
        (logs[0].read_text() if logs else "no log was uploaded") + done.output,
        machine.calls,
        done.code,
    )
