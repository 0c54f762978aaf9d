"""Sandboxes of functions that begin as copies of a process in which the libraries are imported already.

MiniStack starts a new Python for each sandbox, which imports boto3, Powertools and pydantic and reads AWS's service
models anew: more than half a second of computing each, a thousand times in a run of all tests. What reads a function's
environment is imported by each sandbox all the same. Only Linux copies processes safely; elsewhere, and where cold
starts are measured, MiniStack's way remains.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from typing import Any

LIBRARIES = (
    "boto3",
    "boto3.dynamodb.types",
    "pydantic",
    "aws_lambda_powertools",
    "aws_lambda_powertools.event_handler",
    "mayfly.settings",
)
PURE = ("mayfly.contract", "mayfly.domain")
"""The packages of the layer that know no environment variable."""
SERVICES = ("dynamodb", "stepfunctions", "ssm", "events", "sts", "cloudformation", "ec2", "autoscaling", "s3")
"""Those whose models most functions read."""


class Forks:
    """The `subprocess` module for MiniStack's workers."""

    PIPE, DEVNULL, STDOUT, TimeoutExpired = (
        subprocess.PIPE,
        subprocess.DEVNULL,
        subprocess.STDOUT,
        subprocess.TimeoutExpired,
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._origins: dict[str, socket.socket] = {}  # by the layers whose libraries they have imported

    def Popen(self, command: list[str], cwd: str, env: dict[str, str], **_: Any) -> Sandbox:  # noqa: N802
        """Starts a sandbox, with pipes."""
        layers = os.pathsep.join(map(os.path.realpath, filter(None, env.get("_LAMBDA_LAYERS_DIRS", "").split(":"))))
        (read, stdin), (stdout, write), (stderr, complain) = os.pipe(), os.pipe(), os.pipe()
        with self._lock:
            if layers not in self._origins:
                self._origins[layers] = _begin(layers)
            origin = self._origins[layers]
            request = json.dumps({"script": command[1], "cwd": cwd, "env": env}).encode()
            socket.send_fds(origin, [len(request).to_bytes(4)], [read, write, complain])
            origin.sendall(request)
            pid = int.from_bytes(origin.recv(4))
        for end in (read, write, complain):
            os.close(end)
        return Sandbox(pid, stdin, stdout, stderr)


class Sandbox:
    """A sandbox's process, as `subprocess` would show it."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = os.fdopen(stdin, "w", 1), os.fdopen(stdout), os.fdopen(stderr)
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
            raise subprocess.TimeoutExpired("sandbox", timeout or 0)
        return -1

    def terminate(self) -> None:
        """Asks the sandbox's process to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the sandbox's process."""
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


def _begin(layers: str) -> socket.socket:
    ours, theirs = socket.socketpair()
    subprocess.Popen(
        [sys.executable, "-m", "local.controller.sandboxes", str(theirs.fileno()), layers],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    return ours


def main() -> None:
    """Imports the libraries, and makes a copy of itself for each request until nobody can ask any more."""
    asked = socket.socket(fileno=int(sys.argv[1]))
    sys.path[:0] = [os.path.join(layer, "python") for layer in sys.argv[2].split(os.pathsep) if layer]
    _import()
    gc.freeze()  # so that copies share what is there
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that nobody has to ask for those that ended
    while True:
        head, pipes, _, _ = socket.recv_fds(asked, 4, 3)
        size = int.from_bytes(head)
        request = asked.recv(size, socket.MSG_WAITALL)
        if not head or len(request) < size:  # who asked has ended, in the middle of its request maybe
            return
        if not (pid := os.fork()):
            asked.close()
            _become(json.loads(request), pipes)
        for pipe in pipes:
            os.close(pipe)
        asked.sendall(pid.to_bytes(4))


def _import() -> None:
    for library in (*LIBRARIES, *PURE):
        with suppress(ImportError):
            module = importlib.import_module(library)
            for part in pkgutil.iter_modules(module.__path__, f"{library}.") if library in PURE else ():
                importlib.import_module(part.name)
    with suppress(ImportError):
        client: Any = importlib.import_module("boto3").client
        for service in SERVICES:  # boto3 keeps the models; who asks and where it asks is known to each client only
            client(service, "us-east-1", aws_access_key_id="nobody", aws_secret_access_key="nothing")


def _become(request: dict[str, Any], pipes: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, pipe in enumerate(pipes):
        os.dup2(pipe, number)
        os.close(pipe)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    random.seed()
    try:
        runpy.run_path(request["script"], run_name="__main__")
        sys.stderr.flush()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
