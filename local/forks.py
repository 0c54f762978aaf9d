"""Processes that begin as copies of one in which the libraries are imported already: its origin.

A new Python imports moto, or boto3 and pydantic, for one to two seconds of computing; a copy begins at once. Only Linux
copies processes safely.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent


class Origin:
    """A process that makes copies of itself, for as long as the one that started it lives.

    Args:
        module: run with a socket's number, on which it is asked for copies, and these arguments; it calls `serve`.
    """

    def __init__(self, module: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._asking = threading.Lock()
        self._asked, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
            cwd=ROOT,
            env=env,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches whoever started it alone, and it ends with them
        )
        theirs.close()

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


def serve(asked: socket.socket, become: Callable[[dict[str, Any]], object]) -> None:
    """Makes a copy for each request until nobody can ask any more; what a copy becomes has the files that were sent as
    its standard input, output and error."""
    gc.freeze()  # so that copies share what is there
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that nobody has to ask for those that ended
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
