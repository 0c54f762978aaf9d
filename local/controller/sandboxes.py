"""Sandboxes of functions that begin as copies of a process in which the libraries are imported already.

MiniStack starts a new Python for each sandbox, which imports boto3, Powertools and pydantic and reads AWS's service
models anew: more than half a second of computing each, a thousand times in a run of all tests. What reads a function's
environment is imported by each sandbox all the same. Elsewhere than on Linux, and where cold starts are measured,
MiniStack's way remains.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import runpy
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from local.forks import Copy, Origin, serve

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
        self._origins: dict[str, Origin] = {}  # by the layers whose libraries they have imported

    def Popen(self, command: list[str], cwd: str, env: dict[str, str], **_: Any) -> Sandbox:  # noqa: N802
        """Starts a sandbox, with pipes."""
        layers = os.pathsep.join(map(os.path.realpath, filter(None, env.get("_LAMBDA_LAYERS_DIRS", "").split(":"))))
        (read, stdin), (stdout, write), (stderr, complain) = os.pipe(), os.pipe(), os.pipe()
        with self._lock:
            if layers not in self._origins:
                self._origins[layers] = Origin("local.controller.sandboxes", layers)
        pid = self._origins[layers].copy({"script": command[1], "cwd": cwd, "env": env}, read, write, complain)
        for end in (read, write, complain):
            os.close(end)
        return Sandbox(pid, stdin, stdout, stderr)


class Sandbox(Copy):
    """A sandbox's process, with its pipes."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.stdin, self.stdout, self.stderr = os.fdopen(stdin, "w", 1), os.fdopen(stdout), os.fdopen(stderr)
        super().__init__(pid)


def main() -> None:
    """Imports the libraries, and serves."""
    sys.path[:0] = [os.path.join(layer, "python") for layer in sys.argv[3].split(os.pathsep) if layer]
    _import()
    serve(lambda request: runpy.run_path(request["script"], run_name="__main__"))


def _import() -> None:
    for library in (*LIBRARIES, *PURE):
        with suppress(ImportError):
            module = importlib.import_module(library)
            for part in pkgutil.iter_modules(module.__path__, f"{library}.") if library in PURE else ():
                importlib.import_module(part.name)
    with suppress(ImportError):
        importlib.import_module("local.shared_models").install()
        boto3: Any = importlib.import_module("boto3")
        boto3.setup_default_session()
        # Botocore puts its own name together anew at each call, which takes a tenth of it.
        named = importlib.import_module("botocore.config").Config(user_agent="mayfly")
        boto3.DEFAULT_SESSION._session.set_default_client_config(named)
        for service in SERVICES:  # boto3 keeps the models; who asks and where it asks is known to each client only
            boto3.client(service, "us-east-1", aws_access_key_id="nobody", aws_secret_access_key="nothing")


if __name__ == "__main__":
    main()
