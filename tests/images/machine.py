"""Throw-away machines: copies of a minimal Debian that cost nothing, with processes and a network of their own.

A machine's root is an overlay over that Debian (or over another machine), in memory. All mounts are in the mount
namespace of one holding process: when it is killed, or the test run that started it, the kernel removes them all.
What a machine calls outside of itself (AWS CLI, shutdown, systemctl) are recording stand-ins, found first in PATH.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .debian import DebianMissingError
from .metadata import INSTANCE, REGION

HERE = Path(__file__).parent
STAND_INS = HERE / "stand_ins"
HOST_NAME = "webshop-1-4-2-smoke-89abcdef"
PATIENCE_SECONDS = 600.0
"""On a busy machine everything takes its time."""

_PATH = "/stand-ins:/usr/sbin:/usr/bin:/sbin:/bin"

# What a machine does when it starts, before the command: its file systems and network, then the command as an
# ordinary process. It is not the first one, which the kernel keeps from signals.
_START = """
set -e
root=$1 artifacts=$2 python=$3 server=$4
shift 4
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || true
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
hostname "$HOST_NAME" 2>/dev/null || echo "$HOST_NAME" >/proc/sys/kernel/hostname
chroot "$root" ip link set lo up
if [ -n "$artifacts" ]; then
  chroot "$root" ip address add 169.254.169.254/32 dev lo
  "$python" "$server" "$artifacts" "$root/run/metadata-ready" 2>/dev/null &
  until [ -e "$root/run/metadata-ready" ]; do sleep 0.05; done
fi
set +e
chroot "$root" "$@" &
wait $!
"""


@dataclass(frozen=True)
class Result:
    """How a command on a machine ended."""

    code: int
    output: str
    """Standard output and error, as they came."""


def _metadata() -> dict[str, str]:
    return {"meta-data/instance-id": INSTANCE, "meta-data/placement/region": REGION}


@dataclass
class Machine:
    """One throw-away machine. Its files stay from command to command; its processes do not."""

    root: Path
    """Its files, as this process sees them."""
    artifacts: Path
    """What its network offers at http://127.0.0.1:8000/, as this process sees it."""
    _holder: int
    _folder: Path
    _lower: str
    """The read-only layers under its own files, topmost first."""
    metadata: dict[str, str] = field(default_factory=_metadata)
    """What EC2 tells it about itself, by path."""
    network: dict[str, dict[str, str]] = field(default_factory=dict)
    """What of its network it offers to others, and what of theirs it reaches; see metadata.py."""

    def run(self, *command: str, metadata: bool = False, timeout: float = PATIENCE_SECONDS) -> Result:
        """Runs a command as root, in a network in which nobody else is, or with metadata and artifacts."""
        done = self.start(*command, metadata=metadata)
        try:
            output, _ = done.communicate(timeout=timeout)
        finally:
            done.kill()
        return Result(done.returncode, output)

    def start(self, *command: str, metadata: bool = False) -> "subprocess.Popen[str]":
        """Starts a command as `run` does, without waiting. Killing what is returned ends all that it started."""
        machine = [
            "setpriv", "--pdeathsig", "KILL", "nsenter", "--target", str(self._holder), "--mount",
            "unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
            "sh", "-c", _START, "sh", f"{self._folder}/root", f"{self._folder}/artifacts" if metadata else "",
            sys.executable, str(HERE / "metadata.py"), *command,
        ]  # fmt: skip
        environ = {
            "PATH": _PATH,
            "HOST_NAME": HOST_NAME,
            "METADATA": json.dumps(self.metadata),
            "NETWORK": json.dumps(self.network),
        }
        return subprocess.Popen(
            machine, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip

    def beside(self, running: "subprocess.Popen[str]", script: str) -> Result:
        """Runs a shell script in the network of what `start` has started."""
        [first] = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        enter = ["nsenter", "--target", first, "--mount", "--net", "--uts", "--ipc", "--pid"]
        done = subprocess.run(
            [*enter, "chroot", f"{self._folder}/root", "sh", "-c", script],
            env={"PATH": _PATH}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        return Result(done.returncode, done.stdout)

    def shell(self, script: str, metadata: bool = False) -> Result:
        """Runs a shell script the way Systems Manager does: by sh."""
        return self.run("sh", "-c", script, metadata=metadata)

    def must(self, script: str, metadata: bool = False) -> str:
        """The output of a shell script that has to succeed."""
        done = self.shell(script, metadata)
        assert done.code == 0, done.output
        return done.output

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Writes a file of the machine."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def path(self, path: str) -> Path:
        """Where this process sees a path of the machine. Absolute links in it would lead out of the machine."""
        return self.root / path.lstrip("/")

    @property
    def calls(self) -> list[list[str]]:
        """The calls of the stand-ins, each as command and arguments, in their order."""
        recorded = self.path("/stand-ins/calls")
        return [line.split("\t") for line in recorded.read_text().splitlines()] if recorded.exists() else []


@dataclass
class Machines:
    """Where machines come from."""

    _debian: Path
    _holder: int
    _folder: Path
    _made: int = 0

    @contextmanager
    def new(self, like: Machine | None = None) -> Iterator[Machine]:
        """A fresh machine, or a copy of one. The original must not be used as long as there is a copy."""
        self._made += 1
        inside = self._folder / str(self._made)
        visible = self._visible(inside)
        for name in ("upper", "work", "root", "artifacts"):
            (visible / name).mkdir(parents=True)
        lower = f"{like._folder}/upper:{like._lower}" if like else str(self._debian)
        layers = f"lowerdir={lower},upperdir={inside}/upper,workdir={inside}/work"
        self._mount("-t", "overlay", "overlay", "-o", layers, f"{inside}/root")
        machine = Machine(visible / "root", visible / "artifacts", self._holder, inside, lower)
        if like is None:
            shutil.copytree(STAND_INS, machine.path("/stand-ins"))
        try:
            yield machine
        finally:
            self._run("umount", f"{inside}/root")
            shutil.rmtree(visible)

    def _visible(self, path: Path) -> Path:
        return Path(f"/proc/{self._holder}/root{path}")

    def _mount(self, *words: str) -> None:
        done = self._run("mount", *words)
        if done.returncode:
            raise DebianMissingError(f"throw-away machines need overlay mounts: {done.stderr.strip()}")

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        enter = ["nsenter", "--target", str(self._holder), "--mount", *words]
        return subprocess.run(enter, capture_output=True, text=True)


@contextmanager
def machines(debian: Path, folder: Path) -> Iterator[Machines]:
    """Machines over that Debian, in memory that is mounted on `folder`.

    Raises:
        DebianMissingError: the kernel permits none here.
    """
    hold = 'mount -t tmpfs -o mode=0755 tmpfs "$1" && echo ready && exec sleep infinity'
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", hold, "sh", str(folder)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stderr
    try:
        if not holder.stdout.readline():
            raise DebianMissingError(f"throw-away machines need mounts of their own: {holder.stderr.read().strip()}")
        found = Machines(debian, holder.pid, folder)
        with found.new() as probe:
            probe.must("true")
        yield found
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
