"""The load balancer: what it sends where, what it answers itself, and what it thinks of its targets."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from local_toys import eventually

from local.client import Client
from local.clock import VirtualClock
from local.cloud import PATIENCE_SECONDS
from local.workload.traffic import Balancer, HealthCheck, Server, Wire

CHECK = {"path": "/health", "interval": 10, "timeout": 5, "healthy_threshold": 3, "unhealthy_threshold": 2}


class Bench:
    """A load balancer with servers, on a clock that only moves when it is told to, apart from real time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.wire = Wire(self.clock)
        self.balancer: Balancer = self.wire.balancer("group", HealthCheck(**CHECK))  # type: ignore[arg-type]
        self.balancer.zones = {"a", "b"}

    def server(self, name: str, zone: str = "a", register: bool = True, **fault: Any) -> Server:
        server = Server(name, "ami-1", "1.0", zone, fault=fault)
        self.wire.boot(server)
        if register:
            self.wire.call(self.balancer.register, server)
            eventually(lambda: name in self.balancer.targets)
        return server

    def healthy(self, *names: str, zone: str = "a") -> list[Server]:
        servers = [self.server(name, zone) for name in names]
        eventually(lambda: all(self.state(name) == "healthy" for name in names))
        return servers

    def state(self, name: str) -> str | None:
        target = self.balancer.targets.get(name)
        return target and target.state

    def reason(self, name: str) -> str | None:
        return self.balancer.targets[name].reason

    def get(self, path: str = "/") -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.balancer.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    def in_background(self, call: Callable[[], Any]) -> Any:
        pool = ThreadPoolExecutor(1)
        future = pool.submit(call)
        pool.shutdown(wait=False)
        return future

    def check_happens(self, name: str, times: int = 1) -> None:
        """Let time pass until the next check of a target that changes something."""
        target = self.balancer.targets[name]
        for _ in range(times):
            before = (target.streak, target.state)
            self.passes_until(lambda before=before: (target.streak, target.state) != before)  # type: ignore[misc]

    def passes_until(self, holds: Callable[[], bool]) -> None:
        """Let time pass, second by second."""

        def look() -> bool:
            self.clock.advance(1)
            return holds()

        eventually(look)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_requests_go_to_the_healthy_targets_in_turn(bench: Bench) -> None:
    bench.healthy("one", "two")
    bench.server("sick", serving="unhealthy")
    bench.passes_until(lambda: bench.state("sick") == "unhealthy")
    assert {bench.get()[1]["instance"] for _ in range(6)} == {"one", "two"}
    assert bench.balancer.counts["HTTPCode_Target_2XX_Count"] == 6


def test_a_new_target_needs_one_check_and_a_sick_one_as_many_as_the_threshold(bench: Bench) -> None:
    [server] = bench.healthy("one")
    server.fault = {"serving": "unhealthy"}
    bench.check_happens("one")
    assert bench.state("one") == "healthy"
    bench.check_happens("one")
    assert (bench.state("one"), bench.reason("one")) == ("unhealthy", "Target.ResponseCodeMismatch")
    server.fault = {}
    bench.check_happens("one", times=2)
    assert bench.state("one") == "unhealthy"
    bench.check_happens("one")
    assert bench.state("one") == "healthy"


def test_a_server_that_never_started_fails_its_checks(bench: Bench) -> None:
    bench.server("one", serving="refuses")
    bench.passes_until(lambda: bench.state("one") == "unhealthy")
    assert bench.reason("one") == "Target.FailedHealthChecks"


def test_a_server_slower_than_the_timeout_fails_its_checks(bench: Bench) -> None:
    bench.server("one", serving="slow", seconds=6)
    bench.passes_until(lambda: bench.state("one") == "unhealthy")
    assert bench.reason("one") == "Target.Timeout"


def test_with_no_healthy_target_it_sends_to_all(bench: Bench) -> None:
    bench.server("one", serving="unhealthy")
    bench.passes_until(lambda: bench.state("one") == "unhealthy")
    assert bench.get() == (200, {"instance": "one", "image": "ami-1", "version": "1.0", "zone": "a"})


def test_without_a_target_it_answers_503(bench: Bench) -> None:
    assert bench.get()[0] == 503
    assert bench.balancer.counts == {"RequestCount": 1, "HTTPCode_ELB_5XX_Count": 1}


def test_targets_in_zones_that_it_is_not_in_get_nothing(bench: Bench) -> None:
    bench.healthy("one")
    bench.healthy("far", zone="c")
    assert {bench.get()[1]["instance"] for _ in range(4)} == {"one"}


def test_a_refused_connection_is_a_502_and_is_not_tried_elsewhere(bench: Bench) -> None:
    one, _ = bench.healthy("one", "two")
    bench.wire.end("one")
    eventually(lambda: one.port is None)
    assert sorted(bench.get()[0] for _ in range(4)) == [200, 200, 502, 502]
    assert bench.balancer.counts["TargetConnectionErrorCount"] == 2


def test_a_connection_that_breaks_in_the_middle_is_a_502(bench: Bench) -> None:
    [server] = bench.healthy("one")
    server.fault = {"serving": "slow", "seconds": 1000}
    waiting = bench.in_background(bench.get)
    eventually(lambda: bench.balancer.busy)
    bench.wire.end("one")
    assert waiting.result(PATIENCE_SECONDS)[0] == 502


def test_a_server_out_of_reach_is_a_504_after_the_connect_timeout(bench: Bench) -> None:
    [server] = bench.healthy("one")
    server.dark = True
    waiting = bench.in_background(bench.get)
    eventually(lambda: bench.balancer.targets["one"].in_flight == 1)
    bench.clock.advance(4)
    assert not waiting.done()
    bench.clock.advance(7)
    assert waiting.result(PATIENCE_SECONDS)[0] == 504


def test_a_request_in_flight_when_its_server_gets_out_of_reach_is_a_504_after_the_idle_timeout(bench: Bench) -> None:
    [server] = bench.healthy("one")
    server.fault = {"serving": "slow", "seconds": 4}
    waiting = bench.in_background(bench.get)
    eventually(lambda: bench.balancer.busy)
    server.dark = True
    bench.clock.advance(30)
    assert not waiting.done()
    bench.clock.advance(32)
    assert waiting.result(PATIENCE_SECONDS)[0] == 504


def test_a_target_that_leaves_gets_nothing_new_and_may_finish(bench: Bench) -> None:
    one, _ = bench.healthy("one", "two")
    one.fault = {"serving": "slow", "seconds": 20}
    waiting = [bench.in_background(bench.get) for _ in range(2)]  # one of them at each
    eventually(lambda: bench.balancer.targets["one"].in_flight == 1)
    bench.wire.call(bench.balancer.deregister, "one")
    eventually(lambda: bench.state("one") == "draining")
    assert {bench.get()[1]["instance"] for _ in range(3)} == {"two"}
    bench.clock.advance(21)
    assert [one.result(PATIENCE_SECONDS)[0] for one in waiting] == [200, 200]
    eventually(lambda: bench.balancer.drained("one"))


def test_a_target_that_does_not_finish_goes_after_the_delay(bench: Bench) -> None:
    [server] = bench.healthy("one")
    bench.balancer.check.deregistration_delay = 30
    server.fault = {"serving": "slow", "seconds": 1000}
    waiting = bench.in_background(bench.get)
    eventually(lambda: bench.balancer.busy)
    bench.wire.call(bench.balancer.deregister, "one")
    eventually(lambda: bench.state("one") == "draining")
    bench.clock.advance(31)
    eventually(lambda: bench.balancer.drained("one"))
    bench.clock.advance(60)
    assert waiting.result(PATIENCE_SECONDS)[0] in (502, 504)


def test_metrics_are_kept_by_the_minute_also_for_those_that_a_jump_skips(bench: Bench) -> None:
    [server] = bench.healthy("one")
    server.fault = {"serving": "errors"}
    first = int(bench.clock.time() // 60)
    assert [bench.get()[0] for _ in range(3)] == [500] * 3
    eventually(
        lambda: sum(one["HTTPCode_Target_5XX_Count"].total for one in list(bench.balancer.periods.values())) == 3
    )
    bench.clock.advance(300)
    eventually(lambda: first + 5 in bench.balancer.periods)
    hosts = bench.balancer.periods[first + 3]["HealthyHostCount"]
    assert (hosts.value("Maximum"), hosts.value("Minimum")) == (1, 0)  # as on AWS, of each zone
    assert "HTTPCode_Target_5XX_Count" not in bench.balancer.periods[first + 3]


def test_the_client_counts_every_error_and_fails_only_when_no_retry_helps(bench: Bench) -> None:
    one, _ = bench.healthy("one", "two")
    with Client(f"http://127.0.0.1:{bench.balancer.port}", connections=2) as client:
        eventually(lambda: client.counts.sent > 50)
        bench.wire.end("one")
        eventually(lambda: one.port is None)
        eventually(lambda: client.counts.errors > 2)
        bench.check_happens("one", times=2)
        sent = client.counts.sent
        eventually(lambda: client.counts.sent > sent + 50)
    counts = client.counts
    assert counts.failed == 0
    assert counts.errors == counts.retried > 0
    assert counts.statuses[200] == counts.sent
    assert set(counts.statuses) <= {200, 502}
    assert counts.versions == {"1.0": counts.sent}


def test_the_client_does_not_retry_a_500(bench: Bench) -> None:
    [server] = bench.healthy("one")
    server.fault = {"serving": "errors"}
    with Client(f"http://127.0.0.1:{bench.balancer.port}", rate=100) as client:
        eventually(lambda: client.counts.sent > 5)
    assert client.counts.failed == client.counts.errors == client.counts.sent
    assert client.counts.retried == 0


def test_the_client_keeps_to_its_rate(bench: Bench) -> None:
    bench.healthy("one")
    began = time.monotonic()
    with Client(f"http://127.0.0.1:{bench.balancer.port}", rate=100) as client:
        eventually(lambda: client.counts.sent >= 250)
    # Who is late catches up a second at most, on each of its connections.
    assert client.counts.sent <= 100 * (time.monotonic() - began + 1) + 8


def test_many_requests_at_once_are_all_answered(bench: Bench) -> None:
    bench.healthy("one", "two", "three")

    async def ask(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.balancer.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 3)  # pipelined
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 3 or not answer.endswith(b"}"):
            answer += await reader.read(4096)
        writer.close()
        return answer

    async def ask_all() -> list[bytes]:
        return await asyncio.gather(*(ask(number) for number in range(50)))

    assert len(asyncio.run(ask_all())) == 50
    assert bench.balancer.counts["HTTPCode_Target_2XX_Count"] == 150
