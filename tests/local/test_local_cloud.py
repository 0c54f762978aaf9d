"""The local cloud's life: it starts once a directory, is found by others, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from local_toys import SOMEBODY, Toys, eventually

from local.clock import VirtualClock
from local.cloud import PATIENCE_SECONDS, ROOT, CloudError, LocalCloud, _alive
from local.faults import Faults

RUN = """
import os, signal, sys, time
from local.cloud import LocalCloud
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what runs in the background
with LocalCloud(sys.argv[1], forks=sys.argv[2] == 'forks'):
    print(os.environ.get("MAYFLY_LOCAL_RUN", ""), flush=True)
    time.sleep(900)
"""


def test_both_accounts_answer_and_share_their_time(cloud: LocalCloud) -> None:
    assert cloud.client("sts").get_caller_identity()["Account"] == "111111111111"
    assert cloud.workload_client("sts").get_caller_identity()["Account"] == "222222222222"
    before = cloud.now()
    cloud.advance(86_400)
    assert timedelta(days=1) <= cloud.now() - before < timedelta(days=1, minutes=1)


def test_a_running_cloud_is_found_by_its_directory_and_not_started_twice(cloud: LocalCloud, tmp_path: Path) -> None:
    with LocalCloud.attach(cloud.state_dir) as other:
        assert other.controller_url == cloud.controller_url
    assert cloud.client("sts").get_caller_identity()["Account"] == "111111111111"
    with pytest.raises(CloudError, match=r"running in .* already"):
        LocalCloud(cloud.state_dir).start()
    with pytest.raises(CloudError, match="no local cloud is running"):
        LocalCloud.attach(tmp_path)


def test_nonsense_is_refused_with_a_reason(cloud: LocalCloud) -> None:
    with pytest.raises(CloudError, match="cannot go back"):
        cloud.advance(-1)
    with pytest.raises(CloudError, match="unexpected keyword argument 'bootseconds'"):
        cloud.settings(bootseconds=3)


def state_of(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "cloud.json").read_text()))


def processes_of(run: str) -> list[int]:
    """Finds the processes of a run: its origins, and the copies that they have made."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"MAYFLY_LOCAL_RUN={run}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("sandboxes", ["forks", "processes"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_process_that_started_it(tmp_path: Path, end: signal.Signals, sandboxes: str) -> None:
    own_run = {key: value for key, value in os.environ.items() if key != "MAYFLY_LOCAL_RUN"}
    command = [sys.executable, "-c", RUN, str(tmp_path), sandboxes]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=own_run)
    assert parent.stdout is not None
    run = parent.stdout.readline().decode().strip()
    assert bool(run) == (sandboxes == "forks")
    toys, said = Toys(LocalCloud.attach(tmp_path)), tmp_path / "worker"
    busy = toys.function(f"open({str(said)!r}, 'w').write(f'{{os.getpid()}} ')\ntime.sleep(30)", timeout=60)
    toys.cloud.client("lambda").invoke(FunctionName=busy, InvocationType="Event", Payload="{}")
    worker = eventually(lambda: said.exists() and said.read_text().strip())
    servers = state_of(tmp_path)["servers"]
    assert all(_alive(server) for server in servers)

    parent.send_signal(end)
    parent.wait()
    eventually(lambda: not any(_alive(server) for server in servers))
    eventually(lambda: not Path(f"/proc/{worker}/cmdline").exists())
    if run:
        eventually(lambda: not processes_of(run) and not Path(run).exists())
    parent.stdout.close()
    with pytest.raises(CloudError):
        LocalCloud.attach(tmp_path)


def test_a_server_that_an_earlier_run_left_is_ended_but_no_stranger_with_its_number(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
    from local.cloud import _identity

    stranger = {"pid": os.getpid(), "started": "another time"}
    gone = {"pid": 2**22 + 1, "started": "once"}
    state = {"urls": {}, "environ": {}, "parent": gone, "servers": [_identity(left.pid), stranger]}
    (tmp_path / "cloud.json").write_text(json.dumps(state))
    LocalCloud(tmp_path)._refuse_or_end_earlier_cloud()
    assert left.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_a_cloud_can_begin_as_another_one_was_saved(cloud: LocalCloud, toys: Toys, tmp_path: Path) -> None:
    function, (url, _) = toys.function("return 'known'"), toys.queue()
    machine = toys.machine({"Say": {"Type": "Pass", "Output": "said", "End": True}})
    s3, ssm = cloud.client("s3"), cloud.client("ssm")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="one", Body=b"object")
    ssm.put_parameter(Name="/kept", Value="parameter", Type="String")
    with LocalCloud(tmp_path, saved=cloud.save()) as another:
        ssm.put_parameter(Name="/kept", Value="changed", Type="String", Overwrite=True)
        assert json.loads(another.client("lambda").invoke(FunctionName=function)["Payload"].read()) == "known"
        assert another.client("s3").get_object(Bucket="kept", Key="one")["Body"].read() == b"object"
        assert another.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "parameter"
        execution = another.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
        assert json.loads(Toys(another).ended(execution)["output"]) == "said"
        another.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
        assert not toys.messages(url)


def test_accounts_that_begin_as_copies_make_ids_of_their_own(tmp_path: Path) -> None:
    with LocalCloud(tmp_path / "one") as one, LocalCloud(tmp_path / "other") as other:
        made = [each.workload_client("ec2").create_vpc(CidrBlock="10.0.0.0/16") for each in (one, other)]
    assert made[0]["Vpc"]["VpcId"] != made[1]["Vpc"]["VpcId"]


def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCloud, "_workload_environ", lambda _self, _port: {})
    with pytest.raises(CloudError, match=r"(?s)workload account did not start.*KeyError"):
        LocalCloud(tmp_path).start()


def test_the_clock_wakes_those_who_wait_when_it_jumps_or_when_told() -> None:
    clock, done, woken = VirtualClock(), threading.Event(), list[bool]()
    for until in (clock.time() + 3600, clock.time() + 10**9):
        threading.Thread(target=lambda until=until: woken.append(clock.wait(until, done.is_set))).start()
    eventually(lambda: len(clock._changed._waiters) == 2)  # type: ignore[attr-defined]
    clock.advance(3600)
    eventually(lambda: woken == [False])
    done.set()
    clock.notify()
    eventually(lambda: woken == [False, True])


def test_a_fault_strikes_what_it_names_as_often_as_it_says() -> None:
    faults = Faults()
    faults.add({"action": "Describe*", "environment": "shop-*", "times": 2})
    assert faults.take("action", action=("CreateStack", "cloudformation:CreateStack"), environment="shop-1") is None
    assert faults.take("action", action="DescribeStacks", environment=None) is None
    assert faults.take("stack", stack="create", environment="shop-1") is None
    hits = [faults.take("action", action="DescribeStacks", environment="shop-1") for _ in range(3)]
    assert [bool(hit) for hit in hits] == [True, True, False]


def test_a_rate_strikes_at_the_same_calls_in_every_run() -> None:
    faults = Faults(seed=7)
    runs = []
    for _ in range(2):
        faults.clear()
        faults.add({"action": "*", "rate": 0.2})
        runs.append([bool(faults.take("action", action="Any")) for _ in range(100)])
    assert runs[0] == runs[1]
    assert 10 <= sum(runs[0]) <= 30


def test_what_crashes_in_the_local_cloud_itself_is_told_once(cloud: LocalCloud, toys: Toys) -> None:
    table = {"TableName": "no-such-table", "Key": {"id": {"S": "1"}}}
    with pytest.raises(ClientError, match="ResourceNotFound"):
        cloud.client("dynamodb").get_item(**table)
    assert cloud.crashes() == []  # AWS would say the same
    with pytest.raises(ResponseParserError):
        cloud.workload_client("ec2", **SOMEBODY).run_instances(
            MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateId": "lt-0123456789abcdef0"}
        )
    assert "IndexError: list index out of range" in cloud.crashes()[0]
    assert cloud.crashes() == []


def test_time_can_hurry_but_not_while_a_function_runs(cloud: LocalCloud, toys: Toys, tmp_path: Path) -> None:
    begun, goes_on = tmp_path / "begun", tmp_path / "goes-on"
    wait = f"open({str(begun)!r}, 'w')\nwhile not os.path.exists({str(goes_on)!r}):\n    time.sleep(0.05)"
    function = toys.function(wait, timeout=60)

    def factor(enough: Callable[[float, float], bool]) -> float:
        """How many times as fast as real time the cloud's time runs, as soon as enough of both has passed."""
        began, real = cloud.now(), time.monotonic()

        def look() -> tuple[float, float] | None:
            passed = (cloud.now() - began).total_seconds(), time.monotonic() - real
            return passed if enough(*passed) else None

        virtual, seconds = eventually(look) or (0, 1)
        return virtual / seconds

    with cloud.hurry(100):
        assert factor(lambda virtual, _: virtual > 200) > 10
        cloud.client("lambda").invoke(FunctionName=function, InvocationType="Event")
        eventually(begun.exists)
        assert factor(lambda _, real: real > 1) < 2
        goes_on.touch()
    assert factor(lambda _, real: real > 1) < 2
