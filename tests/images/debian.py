"""A minimal Debian with Puppet in a folder: made once with debootstrap, then kept and never written to again.

Nothing is installed on the machine: debootstrap is unpacked into a temporary folder if the machine lacks it.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.apt import alone

_SUITE = "bookworm"
_PACKAGES = "puppet,systemd,iproute2,curl,ca-certificates"
PUPPET_SERVER = ("puppetserver", "ruby-net-ssh")
"""What a machine is besides that runs the Puppet server, and the library that every packaged agent brings."""
_NEEDED = ("apt-get", "dpkg-deb", "wget", "unshare", "nsenter", "setpriv", "mount", "chroot")


# In namespaces of its own: what it mounts and starts ends with it, even if it is killed.
_ALONE = [
    "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
]  # fmt: skip


def _plain() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


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


def debian(cache: Path, more: Sequence[str] = ()) -> Path:
    """The root folder of that Debian, below `cache`, with more packages. Takes a minute and 400 MB the first time.

    Raises:
        DebianMissingError: it cannot be made here.
    """
    recipe = "\n".join((_SUITE, _PACKAGES, platform.machine(), *more))
    root = cache / f"images-root-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if needed := obstacle():
        raise DebianMissingError(f"a throw-away Debian needs {needed}")
    lower = debian(cache) if more else None
    cache.mkdir(parents=True, exist_ok=True)
    # One worker of a test run makes it, and the others wait.
    with (cache / "images-root.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.exists():
            return root
        # A run that is killed leaves an unfinished folder, never a half one under the final name.
        with tempfile.TemporaryDirectory(dir=cache, prefix="images-root-unfinished-") as scratch:
            made = Path(scratch, "root")
            if lower:
                _install(lower, made, more)
            else:
                _debootstrap(made, Path(scratch))
            made.rename(root)
    return root


def _install(lower: Path, root: Path, packages: Sequence[str]) -> None:
    """Installs packages in a copy of a Debian, and starts none of their services."""
    subprocess.run(["cp", "--archive", "--reflink=auto", str(lower), str(root)], check=True)
    services = root / "usr/sbin/policy-rc.d"
    services.write_text("#!/bin/sh\nexit 101\n")
    services.chmod(0o755)
    apt = "apt-get --quiet --quiet --option APT::Sandbox::User=root"
    install = f"{apt} update && {apt} install --yes --no-install-recommends {' '.join(packages)} && {apt} clean"
    command = [*_ALONE, "sh", "-c", 'mount -t proc proc "$1/proc" && chroot "$1" sh -c "$2"', "sh", str(root), install]
    done = subprocess.run(
        command, env={**_plain(), "DEBIAN_FRONTEND": "noninteractive"}, capture_output=True, text=True, errors="replace"
    )
    services.unlink()
    if done.returncode:
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise DebianMissingError(f"apt-get installs no {' '.join(packages)} in a throw-away Debian: {last}")


def _debootstrap(root: Path, scratch: Path) -> None:
    command = [
        *_ALONE, "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root), _mirror(),
    ]  # fmt: skip
    done = subprocess.run(command, env=_with_debootstrap(scratch), capture_output=True, text=True, errors="replace")
    if done.returncode:
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise DebianMissingError(f"debootstrap makes no throw-away Debian here: {last}")


def _with_debootstrap(scratch: Path) -> Mapping[str, str]:
    """The environment in which `debootstrap` is found."""
    environ = _plain()
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
