"""A minimal Debian with Puppet in a folder: made once with debootstrap, then kept and never written to again.

Nothing is installed on the machine: debootstrap is unpacked into a temporary folder if the machine lacks it.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.apt import alone

_SUITE = "bookworm"
_PACKAGES = "puppet,systemd,iproute2,curl,ca-certificates"
_NEEDED = ("apt-get", "dpkg-deb", "wget", "unshare", "nsenter", "setpriv", "mount", "chroot")


def _mirror() -> str:
    """The mirror that this machine's own package manager uses."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]


class DebianMissingError(Exception):
    """No throw-away Debian can be had on this machine; the message says what was missing."""


def obstacle() -> str | None:
    """What keeps this machine from having one, or None where one is expected to come up."""
    if platform.system() != "Linux":
        return "Linux"
    if os.geteuid() != 0:
        return "root"
    if not Path("/etc/debian_version").exists():
        return "Debian"
    missing = [tool for tool in _NEEDED if not shutil.which(tool)]
    return f"the commands {', '.join(missing)}" if missing else None


def debian(cache: Path) -> Path:
    """The root folder of that Debian, below `cache`. Takes a minute and 400 MB the first time.

    Raises:
        DebianMissingError: it cannot be made here.
    """
    recipe = "\n".join((_SUITE, _PACKAGES, platform.machine()))
    root = cache / f"images-root-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if needed := obstacle():
        raise DebianMissingError(f"a throw-away Debian needs {needed}")
    if root.exists():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    # A run that is killed leaves an unfinished folder, never a half one under the final name.
    with tempfile.TemporaryDirectory(dir=cache, prefix="images-root-unfinished-") as scratch:
        made = Path(scratch, "root")
        _debootstrap(made, Path(scratch))
        try:
            made.rename(root)
        except OSError:
            if not root.exists():  # else another run was faster
                raise
    return root


def _debootstrap(root: Path, scratch: Path) -> None:
    command = [
        # In namespaces of its own: what it mounts and starts ends with it, even if it is killed.
        "setpriv", "--pdeathsig", "KILL",
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root), _mirror(),
    ]  # fmt: skip
    done = subprocess.run(command, env=_with_debootstrap(scratch), capture_output=True, text=True, errors="replace")
    if done.returncode:
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise DebianMissingError(f"debootstrap makes no throw-away Debian here: {last}")


def _with_debootstrap(scratch: Path) -> Mapping[str, str]:
    """The environment in which `debootstrap` is found."""
    environ = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    if shutil.which("debootstrap", path=environ["PATH"]):
        return environ
    # apt downloads as a user of its own, who may not write below a private folder.
    download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "debootstrap"]
    # Package lists may be absent or stale, which shows as a failure: refresh them once.
    with alone():
        if not _succeeds(download, scratch) and not (
            _succeeds(["apt-get", "update"], scratch) and _succeeds(download, scratch)
        ):
            raise DebianMissingError("a throw-away Debian needs debootstrap, and apt-get cannot download it")
    unpacked = scratch / "debootstrap"
    for archive in scratch.glob("debootstrap_*.deb"):
        subprocess.run(["dpkg-deb", "--extract", archive, unpacked], check=True)
    return {
        **environ,
        "PATH": f"{unpacked / 'usr/sbin'}:{environ['PATH']}",
        "DEBOOTSTRAP_DIR": str(unpacked / "usr/share/debootstrap"),
    }


def _succeeds(command: list[str], folder: Path) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
