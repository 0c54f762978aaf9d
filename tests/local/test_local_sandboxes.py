"""Sandboxes that begin as copies: each a process of its own, with the libraries and with nothing of another."""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from local_toys import eventually

from local.controller.sandboxes import Forks, Sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each sandbox is a new Python")

SCRIPT = """
import os, sys
open("parent", "w").write(str(os.getppid()))
print("boto3" in sys.modules, os.environ["NAME"], os.getcwd(), hasattr(sys, "mine"), flush=True)
sys.mine = True
for line in sys.stdin:
    print(line.strip()[::-1], flush=True)
"""


@pytest.fixture
def forks() -> Forks:
    return Forks()


def begun(forks: Forks, place: Path, name: str) -> tuple[Sandbox, str]:
    """A sandbox, and what it says first."""
    script = place / "script.py"
    script.write_text(SCRIPT)
    sandbox = forks.Popen([sys.executable, str(script)], cwd=str(place), env={"NAME": name})
    return sandbox, sandbox.stdout.readline().strip()


def test_each_has_the_libraries_its_own_environment_and_nothing_of_another(forks: Forks, tmp_path: Path) -> None:
    (first, said), (second, same) = begun(forks, tmp_path, "one"), begun(forks, tmp_path, "two")
    assert (said, same) == (f"True one {tmp_path} False", f"True two {tmp_path} False")
    assert first.pid != second.pid
    for sandbox in (first, second):
        sandbox.stdin.write("abc\n")
        assert sandbox.stdout.readline() == "cba\n"
        assert sandbox.poll() is None


def test_one_ends_when_it_is_ended_or_nobody_asks_it_any_more(forks: Forks, tmp_path: Path) -> None:
    (killed, _), (left, _) = begun(forks, tmp_path, "one"), begun(forks, tmp_path, "two")
    killed.kill()
    left.stdin.close()
    assert killed.wait(60) == left.wait(60) == -1
    assert killed.stdout.read() == left.stdout.read() == ""
    assert killed.poll() == -1
    eventually(lambda: not Path(f"/proc/{killed.pid}").exists())


def test_everybody_who_waits_for_its_end_sees_it(forks: Forks, tmp_path: Path) -> None:
    """MiniStack looks from several threads: the one that serves a call, the one that ends what is not needed."""
    with ThreadPoolExecutor(8) as threads:
        for _ in range(10):
            killed, _ = begun(forks, tmp_path, "one")
            waiting = [threads.submit(killed.wait, 60) for _ in range(8)]
            killed.kill()
            assert {each.result() for each in waiting} == {-1}


def test_who_ends_in_the_middle_of_a_request_leaves_nothing_running(forks: Forks, tmp_path: Path) -> None:
    begun(forks, tmp_path, "one")
    (origin,) = forks._origins.values()
    copies = int((tmp_path / "parent").read_text())
    assert Path(f"/proc/{copies}").exists()
    with Path(os.devnull).open() as nothing:
        socket.send_fds(origin._asked, [(1_000).to_bytes(4)], [nothing.fileno()] * 3)
    origin._asked.send(b"{")
    origin._asked.close()
    eventually(lambda: not Path(f"/proc/{copies}").exists())


def test_all_of_a_run_have_one_origin_for_the_same_layers(tmp_path: Path) -> None:
    origins = set()
    for layer in ("", "", str(tmp_path)):
        forks = Forks()
        script = tmp_path / "script.py"
        script.write_text("import os; print(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1])")
        command, env = [sys.executable, str(script)], {"NAME": "one", "_LAMBDA_LAYERS_DIRS": layer}
        origins.add(forks.Popen(command, cwd=str(tmp_path), env=env).stdout.readline())
    assert len(origins) == 2
