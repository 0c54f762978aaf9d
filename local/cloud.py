"""The local cloud as one object: start it, speak to it, move its time, break it, and be sure that it ends.

    with LocalCloud(state_dir=Path(".local")) as cloud:
        cloud.client("stepfunctions")            # the controller account
        cloud.workload_client("cloudformation")  # the workload account
        cloud.beside("444444444444").workload_client("cloudformation")  # another one
        cloud.advance(24 * 3600)                 # a day later

Logs, urls and process ids are in `state_dir` (`cloud.json` for programs). A second process reaches a running
cloud through `LocalCloud.attach(state_dir)`.
"""

from __future__ import annotations

import copy
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import boto3
from botocore.config import Config

from local import shared_models
from local.forks import REGION as REGION
from local.forks import RUN, Copy, Origin, begin_run, plain_aws_environ, plain_environ

Account = Literal["controller", "workload"]

CONTROLLER_ACCOUNT = "111111111111"
WORKLOAD_ACCOUNT = "222222222222"
ADMIN_KEYS: dict[Account, str] = {"controller": "mayfly-controller-admin", "workload": "mayfly-workload-admin"}
SECRET = "local-cloud"  # it opens nothing but two servers on the loopback interface
ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 600.0  # on a busy machine everything takes its time
HURRY_STEP = 0.05  # real seconds
IDLE_STEP = 0.05
_MAKING = threading.Lock()
"""A session makes clients for one thread at a time."""


class CloudError(RuntimeError):
    """The local cloud cannot be started or reached; the message says what to do."""


class LocalCloud:
    """Two servers on free loopback ports; a context manager.

    Args:
        state_dir: where logs and `cloud.json` go; one running cloud a directory.
        port: of the controller account (the workload account and the console take the next ones); default: any free
            ones.
        saved: what an earlier cloud's controller account was told to `save`: it begins as that one was.
        boot_seconds, delete_seconds: real seconds that a stack's instances take to boot and to go.
        bake_seconds, image_seconds: real seconds that a builder's script takes, and that an image takes to be
            created, copied or reported on.
        strict: whether it refuses and delays what AWS does: the workload account enforces its roles' policies, events
            stay in their Region, what was just made is not seen at first, calls have rates, and kinds have quotas.
        retry_scale: real seconds that a retry of a state machine waits per second of its interval.
        schedules: whether EventBridge Scheduler looks at the passing "time", or at "jumps" of it only: then none comes
            into the middle of a test by itself. What is due after a jump begins at once either way.
        durable: whether the controller account's server may be ended by SIGKILL at any moment: what it knows is on disk
            all the time then, which costs a little.
        forks: sandboxes of functions, and both accounts' servers, begin with the libraries imported (see
            `local/forks.py`); not where cold starts are measured.
    """

    workload_account = WORKLOAD_ACCOUNT
    patience_seconds = PATIENCE_SECONDS
    look_seconds = 0.25

    def __init__(
        self,
        state_dir: Path | str,
        port: int | None = None,
        saved: Path | None = None,
        boot_seconds: float = 3.0,
        delete_seconds: float = 1.0,
        retry_scale: float = 0.05,
        bake_seconds: float = 1.0,
        image_seconds: float = 0.5,
        schedules: Literal["time", "jumps"] = "time",
        forks: bool = True,
        strict: bool = False,
        durable: bool = False,
    ) -> None:
        self.state_dir = Path(state_dir).resolve()
        self._port, self._saved = port, saved
        self._timing = {
            "boot_seconds": boot_seconds,
            "delete_seconds": delete_seconds,
            "bake_seconds": bake_seconds,
            "image_seconds": image_seconds,
        }
        self._retry_scale, self._schedules, self._forks, self._strict = retry_scale, schedules, forks, strict
        self._durable = durable
        self._processes: dict[Account, subprocess.Popen[bytes] | Copy] = {}
        self._urls: dict[Account, str] = {}
        self._clients: dict[tuple[Account, str, str], Any] = {}  # making one takes longer than most calls
        self.console_url = ""
        """Where a browser finds the console and the HTTP API, as soon as Mayfly is installed: without a slash at the
        end."""

    # ---- life ------------------------------------------------------------------------------------------

    @classmethod
    def attach(cls, state_dir: Path | str) -> Self:
        """A client of a cloud that runs already; raises CloudError when none does. It does not end it."""
        cloud = cls(state_dir)
        state = _read_state(cloud.state_dir)
        if state is None or not all(_alive(server) for server in state["servers"]):
            raise CloudError(f"no local cloud is running in {cloud.state_dir}: start one with `make local`")
        cloud._urls, cloud.console_url = state["urls"], state["console_url"]
        return cloud

    def __enter__(self) -> Self:
        if not self._urls:  # an attached cloud runs already
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start both servers and wait until they answer; raises CloudError with the log's end if one dies."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._refuse_or_end_earlier_cloud()
        shutil.rmtree(self._kept, ignore_errors=True)
        if self._saved:
            shutil.copytree(self._saved, self._kept)
        ports: dict[Account, int] = {"controller": self._port or _free_port()}
        ports["workload"] = self._port + 1 if self._port else _free_port()
        self._urls = {account: f"http://127.0.0.1:{port}" for account, port in ports.items()}
        console = self._port + 2 if self._port else _free_port()
        self.console_url = f"http://127.0.0.1:{console}"
        self._clients.clear()
        try:
            self._processes["workload"] = self._spawn("workload", self._workload_environ(ports["workload"]))
            self._processes["controller"] = self._spawn(
                "controller", self._controller_environ(ports["controller"], console)
            )
            self._write_state()
            self._wait_until_healthy()
            clocks = [self._call(account, "GET", "clock")["time"] for account in ("controller", "workload")]
            self._call("workload", "POST", "clock", {"advance": max(0.0, clocks[0] - clocks[1])})
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends both servers; what they started ends with them."""
        for process in self._processes.values():
            process.kill()  # asked to end, they would wait for their connections and threads
        for process in self._processes.values():
            process.wait()
        if self._processes:
            (self.state_dir / "cloud.json").unlink(missing_ok=True)
            shutil.rmtree(self.state_dir / "tmp", ignore_errors=True)
        self._processes.clear()

    def save(self) -> Path:
        """Has the controller account write down all it knows; returns the directory, for another cloud's `saved`."""
        self._call("controller", "POST", "save")
        return self._kept

    def kill_controller(self) -> None:
        """Ends the server of the controller account by SIGKILL: all that it holds in memory is gone. One that is not
        durable writes all down before, as soon as no function runs."""
        process = self._processes["controller"]
        if self._durable:
            process.kill()
        else:
            self._when_idle("it was not ended", self._kill_controller)
        process.wait()

    def _kill_controller(self) -> bool:
        try:
            return bool(self._call("controller", "POST", "kill"))
        except (OSError, http.client.HTTPException):
            return True

    def start_controller(self) -> None:
        """Starts the server of the controller account again, with what it knew when it was ended."""
        port, console = (int(url.rpartition(":")[2]) for url in (self.controller_url, self.console_url))
        self._processes["controller"] = self._spawn("controller", self._controller_environ(port, console))
        self._write_state()
        self._wait_until_healthy()

    def _when_idle(self, otherwise: str, act: Callable[[], bool]) -> None:
        """Tries to act until it can, which is when no function runs."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not act():
            if time.monotonic() > give_up:
                raise CloudError(f"{otherwise}: functions have run for {PATIENCE_SECONDS:.0f} seconds")
            time.sleep(IDLE_STEP)

    @property
    def _kept(self) -> Path:
        return self.state_dir / "controller"

    # ---- accounts --------------------------------------------------------------------------------------

    @property
    def controller_url(self) -> str:
        """Endpoint of the controller account."""
        return self._urls["controller"]

    @property
    def workload_url(self) -> str:
        """Endpoint of the workload account."""
        return self._urls["workload"]

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point `sam`, `aws` and boto3 at the controller account as its administrator."""
        return {
            "AWS_ENDPOINT_URL": self.controller_url,
            "AWS_ACCESS_KEY_ID": ADMIN_KEYS["controller"],
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "MAYFLY_WORKLOAD_ENDPOINT_URL": self.workload_url,
            "SAM_CLI_TELEMETRY": "0",
            **plain_aws_environ(),
        }

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the controller account, as administrator."""
        return self._client("controller", service, options)

    def workload_client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the workload account, as administrator (its calls belong to no environment)."""
        return self._client("workload", service, options)

    def beside(self, account: str) -> Self:
        """This cloud as the administrator of another workload account sees it: any 12 digits are one, empty at first.
        Time, faults, measurements and the settings of quotas are those of all workload accounts."""
        view = copy.copy(self)
        view.workload_account, view._clients = account, {}
        return view

    def _client(self, account: Account, service: str, options: dict[str, Any]) -> Any:
        if options.keys() - {"region_name"}:
            return self._make_client(account, service, options)
        named = account, service, options.get("region_name", REGION)
        if named not in self._clients:
            self._clients[named] = self._make_client(account, service, options)
        return self._clients[named]

    def _make_client(self, account: Account, service: str, options: dict[str, Any]) -> Any:
        key = ADMIN_KEYS["controller"] if account == "controller" else workload_admin_key(self.workload_account)
        known = {
            "region_name": REGION,
            "aws_access_key_id": key,
            "aws_secret_access_key": SECRET,
            "config": Config(retries={"mode": "standard"}, max_pool_connections=50, user_agent="mayfly"),
        }
        make: Any = _session().client  # its overloads name every service, and ours is a variable
        with _MAKING:
            return make(service, endpoint_url=self._urls[account], **known | options)

    # ---- time ------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The local cloud's virtual time, in UTC."""
        return datetime.fromtimestamp(self._call("controller", "GET", "clock")["time"], UTC)

    def advance(self, seconds: float) -> None:
        """Move the time of both accounts forward, as soon as no function runs and no event is on its way: what is due
        by then happens right away.

        A function takes as long as it takes: what waits for it would give it up as if it had hung. One that a fault
        hangs is not waited for.
        """
        self._when_idle("the clock was not moved", lambda: self._jump(seconds))

    def _jump(self, seconds: float) -> bool:
        """Move the time of both accounts, unless a function runs or an event is on its way; returns whether it was."""
        return bool(self._call("controller", "POST", "clock", {"advance": seconds}))

    @contextmanager
    def hurry(self, times: float) -> Iterator[None]:
        """Let the time of both accounts run so many times as fast as real time, except while functions run."""
        over = threading.Event()

        def run() -> None:
            last = time.monotonic()
            while not over.wait(HURRY_STEP):
                last, passed = time.monotonic(), time.monotonic() - last
                self._jump(passed * (times - 1))

        runner = threading.Thread(target=run, name="hurry", daemon=True)
        runner.start()
        try:
            yield
        finally:
            over.set()
            runner.join(PATIENCE_SECONDS)

    # ---- sign-in ---------------------------------------------------------------------------------------

    def signed_token(self, pool: str, claims: dict[str, Any]) -> str:
        """A token with these claims, signed as a user pool signs its access tokens."""
        return str(self._call("controller", "POST", "token", {"pool": pool, "claims": claims}))

    # ---- the web outside of AWS --------------------------------------------------------------------------

    def stand_in(self, host: str, url: str) -> None:
        """State machines reach a server of this machine where they call this host: there is no internet here."""
        self._call("controller", "POST", "hosts", {"host": host, "url": url})

    # ---- faults, measurements --------------------------------------------------------------------------

    def announce(self, bus: str, what: str, detail: dict[str, Any]) -> None:
        """Put a fact on the bus of facts, as Mayfly does; no administrator may."""
        event = {"id": str(uuid.uuid4()), "source": "mayfly", "detail-type": what, "account": CONTROLLER_ACCOUNT}
        at = self.now().timestamp()
        self._call("controller", "POST", "service-event", event | {"event-bus": bus, "time": at, "detail": detail})

    def fault(self, where: Account, **spec: Any) -> None:
        """Set a fault; the kinds are described in `controller/server.py` and, of the workload
        account, in `server.py`, `machines.py`, `commands.py`, `images.py` and `groups.py` of `workload/`."""
        self._call(where, "POST", "faults", spec)

    def faults(self, where: Account) -> list[dict[str, Any]]:
        """The faults that are set, with the `times` that are left of each."""
        return list(self._call(where, "GET", "faults"))

    def clear_faults(self) -> None:
        """Remove the faults of both accounts."""
        self._call("workload", "DELETE", "faults")
        self._call("controller", "DELETE", "faults")

    def ledger(self) -> dict[str, list[dict[str, Any]]]:
        """What was done so far: `invocations` of Lambda functions, `calls` to the workload account."""
        return {
            "invocations": self._call("controller", "GET", "ledger"),
            "calls": self._call("workload", "GET", "ledger"),
        }

    def reset_ledger(self) -> None:
        """Start both ledgers anew."""
        self._call("workload", "DELETE", "ledger")
        self._call("controller", "DELETE", "ledger")

    def crashes(self) -> list[str]:
        """What went wrong in the local cloud itself since this was last asked: each is a fault of its own."""
        found = []
        for account in ADMIN_KEYS:
            found += [f"{account}: {crash}" for crash in self._call(account, "GET", "crashes")]
            self._call(account, "DELETE", "crashes")
        return found

    def settings(self, **values: float) -> dict[str, float]:
        """Change `boot_seconds`, `delete_seconds`, `bake_seconds` or `image_seconds`; returns what holds now."""
        return dict(self._call("workload", "POST", "settings", values))

    def quotas(self, **most: int) -> dict[str, int]:
        """Raise or lower quotas of a strict workload account (`local/workload/quotas.py`); returns what holds now."""
        return dict(self._call("workload", "POST", "quotas", most))

    def fleet(self) -> dict[str, dict[str, int]]:
        """Instances per environment and state, read in process: no AWS call, and not in the ledger."""
        return dict(self._call("workload", "GET", "fleet"))

    def balancers(self) -> dict[str, dict[str, Any]]:
        """The load balancers by the name of their target group: `url` on the loopback interface, `target_group`,
        `load_balancer`, `targets` (a count per state), `counts` (of requests and answers, as CloudWatch names them),
        and `fewest_healthy`, the fewest healthy targets since `watch_fewest`."""
        return dict(self._call("workload", "GET", "balancers"))

    def is_calm(self, stack: str) -> bool:
        """Whether a stack of the workload account has alarms, and all of them are OK."""
        alarms = self.workload_client("cloudwatch").describe_alarms()["MetricAlarms"]
        mine = [alarm["StateValue"] for alarm in alarms if alarm["AlarmName"].startswith(f"{stack}-")]
        return bool(mine) and set(mine) == {"OK"}

    def watch_fewest(self) -> None:
        """Count the fewest healthy targets anew."""
        self._call("workload", "DELETE", "fewest-healthy")

    def _call(self, account: Account, method: str, route: str, body: object = None) -> Any:
        return ask(method, f"{self._urls[account]}/_local/{route}", body)

    # ---- processes -------------------------------------------------------------------------------------

    def _refuse_or_end_earlier_cloud(self) -> None:
        state = _read_state(self.state_dir)
        if state is None:
            return
        if _alive(state["parent"]):
            pid = state["parent"]["pid"]
            raise CloudError(f"a local cloud is running in {self.state_dir} already (process {pid})")
        # Its parent was killed. The servers notice that by themselves; this is for those that hang.
        for server in state["servers"]:
            if _alive(server):
                os.kill(server["pid"], 9)

    def _spawn(self, account: Account, settings: dict[str, str]) -> subprocess.Popen[bytes] | Copy:
        environ = {**plain_environ(), **settings, "MAYFLY_LOCAL_PARENT": str(os.getpid())}
        with (self.state_dir / f"{account}.log").open("wb") as log, Path(os.devnull).open("rb") as nothing:
            if self._forks and sys.platform == "linux":
                files = nothing.fileno(), log.fileno(), log.fileno()
                environ |= {RUN: str(begin_run())}
                return Copy(_origin(account).copy({"cwd": str(ROOT), "env": environ}, *files))
            return subprocess.Popen(
                [sys.executable, "-m", f"local.{account}.server"],
                cwd=ROOT,
                env=environ,
                stdin=nothing,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends them in order
            )

    def _controller_environ(self, port: int, console: int) -> dict[str, str]:
        scratch = self.state_dir / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": CONTROLLER_ACCOUNT,
            "MINISTACK_REGION": REGION,
            "AUTH": "true",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2",
            "LAMBDA_WARM_TTL_SECONDS": "60",
            "AWS_ENDPOINT_URL": self.controller_url,
            "AWS_ACCESS_KEY_ID": ADMIN_KEYS["controller"],
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "MAYFLY_WORKLOAD_ENDPOINT_URL": self.workload_url,
            "MAYFLY_LOCAL_RETRY_SCALE": str(self._retry_scale),
            "MAYFLY_LOCAL_SCHEDULES": self._schedules,
            "MAYFLY_LOCAL_FORKS": str(int(self._forks)),
            "MAYFLY_LOCAL_STRICT": "1" if self._strict else "",
            "MAYFLY_LOCAL_CONSOLE_PORT": str(console),
            "TMPDIR": str(scratch),
            "PERSIST_STATE": "1",
            "MAYFLY_LOCAL_DURABLE": "1" if self._durable else "",
            "STATE_DIR": str(self._kept),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self._kept / "s3"),
        }

    def _workload_environ(self, port: int) -> dict[str, str]:
        return {
            "MAYFLY_LOCAL_PORT": str(port),
            "MAYFLY_LOCAL_CONTROLLER_URL": self.controller_url,
            "MAYFLY_LOCAL_TIMING": json.dumps(self._timing),
            "MAYFLY_LOCAL_STRICT": "1" if self._strict else "",
        }

    def _write_state(self) -> None:
        state = {
            "urls": self._urls,
            "console_url": self.console_url,
            "environ": self.environ,
            "parent": _identity(os.getpid()),
            "servers": [_identity(process.pid) for process in self._processes.values()],
        }
        (self.state_dir / "cloud.json").write_text(json.dumps(state, indent=2))

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        for account, process in self._processes.items():
            while not self._healthy(account):
                if process.poll() is not None:
                    raise CloudError(f"the {account} account did not start:\n{self._log_end(account)}")
                if time.monotonic() > deadline:
                    raise CloudError(f"the {account} account does not answer:\n{self._log_end(account)}")
                time.sleep(0.05)

    def _healthy(self, account: Account) -> bool:
        try:
            self._call(account, "GET", "health")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def _log_end(self, account: Account) -> str:
        return "\n".join((self.state_dir / f"{account}.log").read_text().splitlines()[-20:])


@cache
def _session() -> boto3.session.Session:
    """Of all clients of this process: each session reads AWS's models anew, for longer than most calls take."""
    shared_models.install()
    return boto3.session.Session()


@cache
def _origin(account: Account) -> Origin:
    """Of all servers that this process starts: they import moto and MiniStack for longer than most tests take."""
    return Origin(f"local.{account}.origin")


def workload_admin_key(account: str) -> str:
    """The access key of a workload account's administrator."""
    return ADMIN_KEYS["workload"] if account == WORKLOAD_ACCOUNT else f"{ADMIN_KEYS['workload']}-{account}"


def ask(method: str, url: str, body: object) -> Any:
    """What one of the local cloud's own routes answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        raise CloudError(f"{method} {url}: {error.code} {error.read().decode(errors='replace')}") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read_state(state_dir: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((state_dir / "cloud.json").read_text()))
    except (OSError, ValueError):
        return None


def _identity(pid: int) -> dict[str, Any]:
    """A process id with its start time: ids are used again, so that one alone proves nothing."""
    return {"pid": pid, "started": _start_time(pid)}


def _alive(identity: dict[str, Any]) -> bool:
    return identity["started"] is not None and _start_time(identity["pid"]) == identity["started"]


def _start_time(pid: int) -> str | None:
    """When the process started, in a form that only needs comparing; None if it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        state, started = fields[0], fields[19]
    else:  # macOS
        command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        state, _, started = shown.strip().partition(" ")
    return started if started and not state.startswith("Z") else None
