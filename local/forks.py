"""Processes that begin as copies of one in which the libraries are imported already: its origin.

A new Python imports moto, or boto3 and pydantic, for one to two seconds of computing; a copy begins at once. Only Linux
copies processes safely.
"""

from __future__ import annotations

import atexit
import errno
import gc
import hashlib
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"


RUN = "MAYFLY_LOCAL_RUN"
"""The variable with the directory of a run, whose processes share their origins: what is in it, and the origins, go
when the process does that began the run."""


def begin_run() -> Path:
    """The run of this process: that of whoever started it, or its own."""
    if RUN not in os.environ:
        os.environ[RUN] = tempfile.mkdtemp(prefix=f"mayfly-{os.getpid()}-")
        atexit.register(_end_run, os.getpid(), os.environ[RUN])
    return Path(os.environ[RUN])


def _end_run(pid: int, run: str) -> None:
    if pid == os.getpid():  # not in copies
        shutil.rmtree(run, ignore_errors=True)


class Origin:
    """Makes copies of a process, which end with whoever asked for them.

    The first of a run who asks starts the process; for each who asks it makes a copy that makes copies in turn.

    Args:
        module: run with the numbers of a socket and of the run's process, and these arguments; it calls `serve`.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._asking = threading.Lock()
        self._asked = socket.socket(socket.AF_UNIX)
        run = begin_run()
        # In Linux's abstract namespace a name is free again as soon as nobody hears it, however that one ended.
        name = "\0" + hashlib.sha256("\n".join((str(run), module, *arguments)).encode()).hexdigest()
        while True:
            self._process = _started(name, int(run.name.split("-")[1]), module, *arguments)
            with suppress(ConnectionRefusedError):  # who has taken the name is about to hear it
                self._asked.connect(name)
                return

    def copy(self, request: dict[str, Any], *files: int) -> int:
        """Asks for a copy, which is handed the request and takes over three open files; returns its process id.

        Raises:
            ChildProcessError: there is nothing to copy any more.
        """
        packed = json.dumps(request).encode()
        with self._asking:
            socket.send_fds(self._asked, [len(packed).to_bytes(4)], files)
            self._asked.sendall(packed)
            if not (pid := self._asked.recv(4)):
                raise ChildProcessError("the process that makes copies has ended")
            return int.from_bytes(pid)


def plain_environ() -> dict[str, str]:
    """The shell's environment, without variables that point boto3 at a real AWS account, or at one local cloud."""
    own = ("AWS_", "MAYFLY_", "MINISTACK_", "MOTO_", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if not key.startswith(own)} | plain_aws_environ()


def plain_aws_environ() -> dict[str, str]:
    """Settings under which AWS tools use nothing of the developer's own configuration."""
    return {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _started(name: str, run: int, module: str, *arguments: str) -> subprocess.Popen[bytes] | None:
    """Starts an origin that is heard under a name, unless there is one."""
    with socket.socket(socket.AF_UNIX) as heard:
        try:
            heard.bind(name)
        except OSError as taken:
            if taken.errno != errno.EADDRINUSE:
                raise
            return None
        heard.listen()
        ended = os.pidfd_open(run)
        try:
            return subprocess.Popen(
                [sys.executable, "-m", module, str(heard.fileno()), str(ended), *arguments],
                cwd=ROOT,
                env=plain_environ() | {RUN: os.environ[RUN]},
                pass_fds=[heard.fileno(), ended],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches whoever began the run alone, and it ends with them
            )
        finally:
            os.close(ended)


def serve(become: Callable[[dict[str, Any]], object]) -> NoReturn:
    """Makes copies for everybody of this user's who asks, until the run ends; what a copy becomes has the files that
    were sent as its standard input, output and error."""
    heard, ended = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    gc.freeze()  # so that copies share what is there
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that nobody has to ask for those that ended
    while ended not in select.select([heard.fileno(), ended], [], [])[0]:
        asked, _ = heard.accept()
        _, user, _ = struct.unpack("3i", asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user == os.getuid() and not os.fork():
            heard.close()
            os.close(ended)
            _copy(asked, become)
            os._exit(0)
        asked.close()
    shutil.rmtree(os.environ[RUN], ignore_errors=True)  # who was killed could not
    os._exit(0)  # libraries complain of what they have not tidied up, which nobody needs


def _copy(asked: socket.socket, become: Callable[[dict[str, Any]], object]) -> None:
    """Makes a copy for each request until nobody can ask any more."""
    while True:
        head, files, _, _ = socket.recv_fds(asked, 4, 3)
        size = int.from_bytes(head)
        request = asked.recv(size, socket.MSG_WAITALL)
        if not head or len(request) < size:  # who asked has ended, in the middle of its request maybe
            return
        if not (pid := os.fork()):
            asked.close()
            _begin(become, json.loads(request), files)
        for file in files:
            os.close(file)
        asked.sendall(pid.to_bytes(4))


def _begin(become: Callable[[dict[str, Any]], object], request: dict[str, Any], files: Sequence[int]) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    random.seed()
    try:
        become(request)
        sys.stderr.flush()
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


class Copy:
    """A copy's process, as `subprocess` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        try:
            self._handle = os.pidfd_open(pid)
            # Closed with the object, not by whoever sees the end: several threads ask at once, and a number that is
            # closed twice may be somebody else's by then.
            weakref.finalize(self, os.close, self._handle)
        except ProcessLookupError:
            self.returncode = -1

    def poll(self) -> int | None:
        """How it ended, None while it runs; that it ended is all that anybody asks."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end."""
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired("copy", timeout or 0)
        return -1

    def terminate(self) -> None:
        """Asks the process to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the process."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                self.returncode = -1
        return self.returncode
