"""A container engine for `sam local`: the machine's own, or one that lives and dies with the tests.

Where a container engine answers and can get AWS's runtime image, that pair is used. Otherwise, as root on Debian,
`dockerd` from Debian's packages runs in namespaces of its own (network, mounts, processes) with a stand-in image
(runtime_image.py). Nothing is installed on the machine: the packages are unpacked into a cache folder.

The private engine touches no firewall rule and no route of the machine, and its one way out is the bridge
(bridge.py). When the process that owns its namespaces is killed, the kernel ends every process in them and
drops their mounts and interfaces, so there is nothing to clean up but a folder and empty control groups.
"""

import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import docker  # type: ignore[import-untyped]
from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]

from .runtime_image import runtime_image

_REPOSITORY, _TAG = "public.ecr.aws/lambda/python", "3.13-x86_64"
_PREFIX = "mayfly-engine-"  # and the process id of the test run
_START_SECONDS = 30.0


class EngineMissingError(Exception):
    """No container engine can be had on this machine; the message says what was missing."""


@dataclass(frozen=True)
class Engine:
    """A container engine that has the Lambda runtime's image."""

    docker_host: str | None  # the address of its API; None leaves the choice to the client's own defaults
    network: int | None  # a process in the network namespace where containers' ports appear; None: ours
    gateway: str  # the address, in that namespace, at which containers reach servers outside of them
    description: str  # one line for the test report: which engine, and how real its image is

    @property
    def environ(self) -> Mapping[str, str]:
        """Environment variables that point a Docker client, and so SAM, to this engine."""
        return {"DOCKER_HOST": self.docker_host} if self.docker_host else {}

    def command(self, *words: str | Path) -> list[str]:
        """A command line that runs `words` where the containers' published ports can be reached.

        The kernel ends the command with the thread that starts it: a killed test run leaves no SAM behind.
        """
        entering = ["nsenter", "--target", str(self.network), "--net"] if self.network else []
        dying = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        return [*dying, *entering, *map(str, words)]


@contextmanager
def container_engine(cache: Path) -> Iterator[Engine]:
    """The machine's engine with AWS's image, else a private one with a stand-in; the latter ends with the block.

    Packages and image are kept in `cache`. Raises EngineMissingError if neither can be had.
    """
    try:
        engine = _machine_engine()
    except EngineMissingError as missing:
        without = str(missing)
    else:
        yield engine
        return
    if obstacle := _obstacle():
        raise EngineMissingError(f"{without}, and one of our own needs {obstacle}")
    with _private_engine(cache) as engine:
        yield engine


def _machine_engine() -> Engine:
    try:
        client = docker.from_env(timeout=120)
    except DockerException:
        raise EngineMissingError("no container engine answers") from None
    try:
        client.images.get(f"{_REPOSITORY}:{_TAG}")
    except ImageNotFound:
        try:
            client.images.pull(_REPOSITORY, _TAG, platform="linux/amd64")
        except DockerException as error:
            raise EngineMissingError(f"the engine that answers cannot pull {_REPOSITORY}:{_TAG}") from error
    gateway = _gateway(client)
    try:
        with socket.socket() as probe:
            probe.bind((gateway, 0))
    except OSError:
        raise EngineMissingError("the engine that answers runs on another machine, perhaps a virtual one") from None
    return Engine(None, None, gateway, f"this machine's engine {_version(client)} with AWS's own runtime image")


@contextmanager
def _private_engine(cache: Path) -> Iterator[Engine]:
    environ = _with_tools(cache)
    with _folder() as folder, _daemon(folder, environ) as daemon:
        client = _wait_until_it_answers(daemon, folder)
        busybox = shutil.which("busybox", path=environ["PATH"])
        assert busybox, "its package was unpacked"
        try:
            image = runtime_image(cache, Path(busybox))
        except subprocess.CalledProcessError as error:
            reason = " ".join(str(error.stderr).split())
            raise EngineMissingError(f"the runtime client cannot be installed from PyPI: {reason}") from None
        client.api.import_image(src=str(image), repository=_REPOSITORY, tag=_TAG)
        description = f"an engine of our own {_version(client)} with a stand-in runtime image (not Amazon Linux)"
        yield Engine(_socket(folder), daemon.pid, _gateway(client), description)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for a private engine, named after this process, which also names the engine's control group.

    What a killed run left behind is removed as well. Its processes and mounts went with it.
    """
    # Not below the tests' own folders: the API's Unix socket lies in it, and its path may have 108 characters.
    folder = Path(tempfile.gettempdir(), f"{_PREFIX}{os.getpid()}")
    for found in folder.parent.glob(f"{_PREFIX}*"):
        if found == folder or not Path("/proc", found.name.removeprefix(_PREFIX)).exists():
            _remove(found)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for control_group in Path("/sys/fs/cgroup").glob(f"**/{folder.name}"):
        for group, _, _ in control_group.walk(top_down=False):
            group.rmdir()
    shutil.rmtree(folder)


def can_have_private_engine() -> bool:
    """Whether this machine is of the kind on which a private engine is expected to come up."""
    return _obstacle() is None


def _obstacle() -> str | None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "Linux on x86_64"
    if os.geteuid() != 0:
        return "root"
    if not (Path("/etc/debian_version").exists() and shutil.which("apt-get") and shutil.which("unshare")):
        return "Debian's apt-get and unshare"
    return None


def _with_tools(cache: Path) -> dict[str, str]:
    """The environment in which `dockerd` and `busybox` are found, unpacked into `cache` if the machine lacks them."""
    wanted = {"dockerd": "docker.io", "busybox": "busybox-static"}
    packages = [package for tool, package in wanted.items() if not shutil.which(tool)]
    if not packages:
        return dict(os.environ)
    root = cache / f"debian-{platform.freedesktop_os_release().get('VERSION_ID', 'sid')}-{'-'.join(packages)}"
    if not root.exists():
        _unpack_debian_packages(packages, root)
    folders = [str(root / folder) for folder in ("usr/sbin", "usr/bin", "sbin", "bin")]
    return {
        **os.environ,
        "PATH": os.pathsep.join([*folders, os.environ["PATH"]]),
        "LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu"),
    }


def _unpack_debian_packages(packages: list[str], root: Path) -> None:
    """Unpack packages, and those of their dependencies that the machine lacks, into `root`."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix="debian-") as scratch:
        archives, unfinished = Path(scratch, "archives"), Path(scratch, "root")
        (archives / "partial").mkdir(parents=True)
        download = ["apt-get", "install", "--yes", "--no-install-recommends", "--download-only",
                    "-o", f"Dir::Cache::archives={archives}", *packages]  # fmt: skip
        # Package lists may be absent or stale, which shows as a failure: refresh them once.
        if not _succeeds(download) and not (_succeeds(["apt-get", "update"]) and _succeeds(download)):
            raise EngineMissingError(f"no container engine answers, and apt-get cannot download {packages}")
        for archive in archives.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", archive, unfinished], check=True)
        unfinished.rename(root)


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


@contextmanager
def _daemon(folder: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`dockerd` as the first process of namespaces of its own; the Popen is the process that holds them."""
    command = [
        "setpriv", "--pdeathsig", "KILL",
        "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "sh", "-c", 'busybox ip link set lo up && exec "$@"', "sh",
        "dockerd", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
        "--userland-proxy=true", f"--cgroup-parent=/{folder.name}", f"--host={_socket(folder)}",
        f"--data-root={folder}/data", f"--exec-root={folder}/run", f"--pidfile={folder}/pid",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environ, start_new_session=True)
    try:
        yield daemon
    finally:
        # unshare ignores SIGTERM and waits for dockerd, which on SIGTERM stops its containers and containerd.
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGTERM)
        try:
            daemon.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def _wait_until_it_answers(daemon: subprocess.Popen[bytes], folder: Path) -> "docker.DockerClient":
    deadline = time.monotonic() + _START_SECONDS
    while daemon.poll() is None and time.monotonic() < deadline:
        try:
            return docker.DockerClient(base_url=_socket(folder), timeout=120)
        except DockerException:
            time.sleep(0.1)
    last_words = (folder / "log").read_text(errors="replace").strip().rpartition("\n")[2]
    raise EngineMissingError(f"a container engine of our own does not come up here: {last_words}")


def _gateway(client: "docker.DockerClient") -> str:
    """The address of the engine's bridge, which is the machine as its containers see it."""
    network = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    # Docker 20 names it only once a container has run; it is the network's first address.
    return str(network.get("Gateway") or next(ip_network(network["Subnet"]).hosts()))


def _socket(folder: Path) -> str:
    return f"unix://{folder}/api.sock"


def _version(client: "docker.DockerClient") -> str:
    return f"(Docker {client.version()['Version']})"
