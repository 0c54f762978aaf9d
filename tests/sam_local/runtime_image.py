"""A stand-in for AWS's Lambda image of Python 3.13, made of what is on this machine.

For machines that reach PyPI and Debian but no image registry. The layout is that of AWS's image (/var/lang,
/var/runtime, /var/task, /opt), the runtime client is AWS's own `awslambdaric`, and the interpreter, its standard
library and the shared libraries are those that run the tests. It is not Amazon Linux: that a compiled dependency
loads here says little about whether it loads there.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

# AWS's runtimes ship boto3 beside the runtime client; the stand-in ships the version that the project tests with.
_RUNTIME_PACKAGES = ("awslambdaric==4.2.2", f"boto3=={version('boto3')}")
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# Parts of the standard library that no function imports and that make two thirds of its size.
_LEFT_OUT = (
    "_test*", "_tkinter*", "config-*", "ensurepip", "idlelib", "site-packages", "test", "tkinter", "turtledemo",
)  # fmt: skip
# Libraries of glibc that compiled wheels may count on (PEP 600), whether or not the interpreter needs them.
_GLIBC = ("libdl.so.2", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libutil.so.1")
# What the runtime emulator's image build and the bootstrap call.
_SHELL_COMMANDS = ("cat", "chmod", "env", "ls", "mkdir", "mv", "sh")
_BOOTSTRAP = f"""#!/bin/sh
export LD_LIBRARY_PATH=/var/lang/lib PATH="/var/lang/bin:$PATH"
export PYTHONPATH=/var/task:/opt/python:/var/runtime
exec {_PYTHON} -m awslambdaric "$_HANDLER"
"""


def runtime_image(cache: Path, busybox: Path) -> Path:
    """The image's root file system as a tar file for `docker import`, made once and kept in `cache`.

    `busybox` becomes its shell. Takes a few seconds the first time. Raises subprocess.CalledProcessError if the
    runtime packages cannot be installed.
    """
    cached = cache / f"runtime-image-{_fingerprint()}.tar"
    if not cached.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="runtime-image-") as scratch:
            root = Path(scratch, "root")
            _lay_out(root, busybox)
            unfinished = Path(scratch, "image.tar")
            with tarfile.open(unfinished, "w") as tar:
                tar.add(root, arcname=".", filter=_owned_by_root)
            unfinished.rename(cached)
    return cached


def _fingerprint() -> str:
    recipe = Path(__file__).read_text()
    ingredients = (recipe, *_RUNTIME_PACKAGES, sys.version, platform.libc_ver()[1])
    return hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:16]


def _lay_out(root: Path, busybox: Path) -> None:
    language, runtime, commands = root / "var/lang", root / "var/runtime", root / "bin"
    for folder in (language / "bin", commands, root / "opt", root / "tmp", root / "var/task", root / "var/rapid"):
        folder.mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copytree(sysconfig.get_path("stdlib"), language / "lib" / _PYTHON, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    shutil.copy2(Path(sys.executable).resolve(), language / "bin" / _PYTHON)
    _install_runtime_packages(runtime)
    bootstrap = runtime / "bootstrap"
    bootstrap.write_text(_BOOTSTRAP)
    bootstrap.chmod(0o755)
    shutil.copy2(busybox, commands / "busybox")
    for command in _SHELL_COMMANDS:
        (commands / command).symlink_to("busybox")
    _add_shared_libraries(root, language / "lib")


def _install_runtime_packages(target: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", sys.executable, "--compile-bytecode", "--link-mode=copy",
         "--only-binary=:all:", "--target", target, *_RUNTIME_PACKAGES],
        check=True, capture_output=True, text=True,
    )  # fmt: skip


def _add_shared_libraries(root: Path, target: Path) -> None:
    """Copy what the tree's programs and extension modules are linked to, as the dynamic loader resolves it here."""
    binaries = [p for p in root.rglob("*") if not p.is_symlink() and (p.suffix == ".so" or p.parent.name == "bin")]
    # The exit status is of no use: it says failure as soon as one of the files is linked statically.
    listing = subprocess.run(["ldd", *binaries], check=False, capture_output=True, text=True).stdout
    # Lines read "libm.so.6 => /lib/.../libm.so.6 (0x...)", and the loader's own "/lib64/ld-linux... (0x...)".
    for line in set(listing.splitlines()):
        name, _, location = line.strip().partition(" => ")
        path = (location or name).rpartition(" (0x")[0]
        if not os.path.isabs(path):
            continue
        copy = target / name if location else root / path.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path(path).resolve(), copy)
        if name == "libc.so.6":
            for sibling in _GLIBC:
                shutil.copy2(Path(path).with_name(sibling).resolve(), target / sibling)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
