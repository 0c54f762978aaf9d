"""The instances of services as HTTP servers, and the load balancers in front of them, on the loopback interface.

One thread runs them all in an event loop; the rest of the local cloud calls it from its own threads. Everything
that AWS counts in seconds (intervals, timeouts, delays) is counted on the virtual clock.

What a load balancer does is what an Application Load Balancer is documented to do, failures included: it sends a
request to one target, once. A target that refuses or breaks the connection is a 502 to the client, one that is out
of reach a 504 after 10 seconds (connecting) or 60 (answering), no target a 503. With no healthy target it sends to
all. Only requests without a body are understood.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.clock import VirtualClock
from local.faults import Fault

TICK = 0.02  # real seconds between two looks at the virtual clock
IDLE_TICK = 0.2  # the same, while nobody waits for it
CONNECT_TIMEOUT, IDLE_TIMEOUT = 10, 60  # seconds, the defaults of Application Load Balancers
PROBE_PATIENCE = 5.0  # real seconds: a busy machine is no unhealthy target
PERIOD = 60  # seconds of a datapoint of a metric
KEPT_PERIODS = 24 * 60
END = b"\r\n\r\n"
HEALTH_CHECKER = b"ELB-HealthChecker/2.0"  # the user agent of a load balancer's checks


@dataclass
class Stat:
    """What CloudWatch keeps of the values of a metric in one period."""

    total: float = 0.0
    count: int = 0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, value: float) -> None:
        """One more value."""
        self.total, self.count = self.total + value, self.count + 1
        self.least, self.most = min(self.least, value), max(self.most, value)

    def value(self, statistic: str) -> float:
        """By the name of a statistic of CloudWatch's; raises KeyError for one that is not computed here."""
        return {
            "Sum": self.total,
            "Average": self.total / self.count,
            "Minimum": self.least,
            "Maximum": self.most,
            "SampleCount": self.count,
        }[statistic]


def periods_until(before: int, now: float) -> range:
    """The periods to note something in. A jump of the clock skips some, in which everything was as it is now."""
    current = int(now // PERIOD)
    return range(max(before, current - KEPT_PERIODS), current + 1)


type Periods = dict[int, dict[str, Stat]]
"""By the period's number and the metric."""


@dataclass(eq=False)
class Server:
    """One instance that runs; without a port it has not started its service, and refuses connections."""

    instance: str
    image: str
    version: str
    zone: str
    port: int | None = None
    dark: bool = False  # nothing reaches it, and it reaches nobody
    fault: Fault = field(default_factory=dict)
    listener: asyncio.Server | None = None
    connections: set[asyncio.Transport] = field(default_factory=set)

    @property
    def delay(self) -> float:
        """Virtual seconds that an answer takes."""
        return float(self.fault.get("seconds", 30)) if self.fault.get("serving") == "slow" else 0.0

    def status(self, request: bytes) -> int:
        """The status code of an answer. Who checks its health says so, whatever the path."""
        checks = HEALTH_CHECKER in request
        match self.fault.get("serving"):
            case "unhealthy" if checks:
                return 503
            case "errors" if not checks and random.random() < self.fault.get("share", 1.0):
                return 500
        return 200

    def end(self) -> None:
        """Close the port and break what is open, as the end of a machine does."""
        if self.listener:
            self.listener.close()
        for connection in list(self.connections):
            connection.abort()
        self.port = self.listener = None


@dataclass(eq=False)
class Target:
    """A server that is registered with a target group."""

    server: Server
    state: str = "initial"
    reason: str | None = "Elb.RegistrationInProgress"
    streak: int = 0  # checks in a row that speak for another state
    in_flight: int = 0
    idle: list[_Upstream] = field(default_factory=list)
    watch: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Check it no more, and drop the connections to it."""
        if self.watch:
            self.watch.cancel()
        for upstream in self.idle:
            upstream.transport.abort()
        self.idle.clear()


@dataclass
class HealthCheck:
    """The settings of a target group that count here; seconds are virtual."""

    path: str = "/"
    interval: float = 30
    timeout: float = 5
    healthy_threshold: int = 5
    unhealthy_threshold: int = 2
    codes: str = "200"
    deregistration_delay: float = 300

    def passes(self, status: int) -> bool:
        """Whether the matcher (`200`, `200,202`, `200-299`) accepts this status."""
        ranges = [part.partition("-") for part in self.codes.split(",")]
        return any(int(first) <= status <= int(last or first) for first, _, last in ranges)


class Wire:
    """The event loop, its thread, the servers and the load balancers."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.servers: dict[str, Server] = {}
        self.balancers: dict[str, Balancer] = {}
        self.groups: dict[str, Periods] = defaultdict(lambda: defaultdict(lambda: defaultdict(Stat)))
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="traffic", daemon=True).start()

    # ---- from other threads ----------------------------------------------------------------------------

    def boot(self, server: Server) -> None:
        """Start the HTTP server of an instance; one whose fault is `refuses` never opens its port."""
        self.servers[server.instance] = server
        if server.fault.get("serving") != "refuses":
            self._do(self._listen(server))

    def end(self, instance: str) -> None:
        """The instance is gone."""
        server = self.servers.pop(instance, None)
        if server:
            self._loop.call_soon_threadsafe(server.end)

    def balancer(self, group: str, check: HealthCheck) -> Balancer:
        """The load balancer in front of a target group (its ARN), started when it is first asked for."""
        if group not in self.balancers:
            self.balancers[group] = balancer = Balancer(self, check)
            self._do(balancer.open())
        return self.balancers[group]

    def close(self, group: str) -> None:
        """The target group is gone."""
        balancer = self.balancers.pop(group, None)
        if balancer:
            self._loop.call_soon_threadsafe(balancer.close)

    def call(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do something in the loop's thread, soon."""
        self._loop.call_soon_threadsafe(action, *arguments)

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    # ---- in the loop -----------------------------------------------------------------------------------

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something when so much virtual time has passed."""
        heapq.heappush(self._due, (self.clock.time() + seconds, next(self._numbers), action))

    async def sleep(self, seconds: float) -> None:
        """Wait until so much virtual time has passed."""
        over = self._loop.create_future()
        self.later(seconds, lambda: None if over.done() else over.set_result(None))
        await over

    async def _listen(self, server: Server) -> None:
        server.listener = await self._loop.create_server(lambda: _Serving(self, server), "127.0.0.1", 0)
        server.port = server.listener.sockets[0].getsockname()[1]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._ticking = self._loop.create_task(self._tick())
        self._loop.run_forever()

    async def _tick(self) -> None:
        while True:
            now = self.clock.time()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            for balancer in list(self.balancers.values()):
                balancer.tick(now)
            await asyncio.sleep(TICK if self._due or self.balancers else IDLE_TICK)


class _Serving(asyncio.Protocol):
    """One connection to an instance."""

    transport: asyncio.Transport

    def __init__(self, wire: Wire, server: Server) -> None:
        self._wire, self._server, self._heard = wire, server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._server.connections.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while END in self._heard:
            request, _, self._heard = self._heard.partition(END)
            if self._server.delay:
                self._wire.later(self._server.delay, lambda request=request: self._answer(request))  # type: ignore[misc]
            else:
                self._answer(request)

    def _answer(self, request: bytes) -> None:
        server = self._server
        if server.dark or self.transport.is_closing():
            return
        headers = f"x-image: {server.image}\r\nx-version: {server.version}\r\nx-zone: {server.zone}"
        body = {"instance": server.instance, "image": server.image, "version": server.version, "zone": server.zone}
        self.transport.write(_response(server.status(request), json.dumps(body), headers))


class Balancer:
    """The load balancer in front of one target group."""

    def __init__(self, wire: Wire, check: HealthCheck) -> None:
        self.wire = wire
        self.check = check
        self.name = ""  # of the load balancer, as metrics know it
        self.zones: set[str] = set()  # those in which the load balancer has a subnet; empty: it has no listener
        self.targets: dict[str, Target] = {}
        self.counts: Counter[str] = Counter()
        self.periods: Periods = defaultdict(lambda: defaultdict(Stat))
        self.fewest_healthy: int | None = None
        self.busy: set[_Upstream] = set()
        self.port = 0
        self._seen: Counter[str] = Counter()
        self._turn = itertools.count()
        self._period = int(wire.clock.time() // PERIOD)
        self._clients: set[_Client] = set()

    # ---- registration ----------------------------------------------------------------------------------

    def register(self, server: Server) -> None:
        """A target more: it gets requests once it has passed one check."""
        if self.targets.get(server.instance) and self.targets[server.instance].state != "draining":
            return
        target = self.targets[server.instance] = Target(server)
        target.watch = asyncio.get_running_loop().create_task(self._watch(target))

    def deregister(self, instance: str) -> None:
        """No new requests for this target; it goes when those in flight are answered, or after the delay."""
        target = self.targets.get(instance)
        if target is None or target.state == "draining":
            return
        if target.watch:
            target.watch.cancel()
        target.state, target.reason = "draining", "Target.DeregistrationInProgress"
        self.wire.later(self.check.deregistration_delay, lambda: self._drop(target))

    def drained(self, instance: str) -> bool:
        """Whether the target is gone."""
        return instance not in self.targets

    def _drop(self, target: Target) -> None:
        target.close()
        if self.targets.get(target.server.instance) is target:
            del self.targets[target.server.instance]

    # ---- health ----------------------------------------------------------------------------------------

    async def _watch(self, target: Target) -> None:
        target.reason = "Elb.InitialHealthChecking"
        while True:
            self._judge(target, await self._probe(target.server))
            await self.wire.sleep(self.check.interval)

    def _judge(self, target: Target, failure: str | None) -> None:
        """What one check (None: passed) makes of the state; a new target needs to pass one only."""
        if target.state == ("healthy" if failure is None else "unhealthy"):
            target.streak = 0
            target.reason = failure
            return
        target.streak += 1
        if failure is None:
            if target.state == "initial" or target.streak >= self.check.healthy_threshold:
                target.state, target.reason, target.streak = "healthy", None, 0
        elif target.streak >= self.check.unhealthy_threshold:
            target.state, target.reason, target.streak = "unhealthy", failure, 0

    async def _probe(self, server: Server) -> str | None:
        """Why a check fails; None if it passes."""
        if server.dark or server.delay > self.check.timeout:
            await self.wire.sleep(self.check.timeout)
            return "Target.Timeout"
        if server.port is None:
            return "Target.FailedHealthChecks"
        try:
            async with asyncio.timeout(PROBE_PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET %b HTTP/1.1\r\nuser-agent: %b\r\n\r\n" % (self.check.path.encode(), HEALTH_CHECKER))
                status = int((await reader.readline()).split()[1])
                writer.close()
        except (OSError, IndexError, ValueError):
            return "Target.Timeout" if server.dark else "Target.FailedHealthChecks"
        return None if self.check.passes(status) else "Target.ResponseCodeMismatch"

    # ---- requests --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Listen on a free port."""
        self._listener = await asyncio.get_running_loop().create_server(lambda: _Client(self), "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more, and let go of all connections."""
        self._listener.close()
        for target in self.targets.values():
            target.close()
        for client in list(self._clients):
            client.transport.abort()

    def pick(self) -> Target | None:
        """The next target: of the healthy ones in turn, else of all that are registered."""
        open_to = [one for one in self.targets.values() if one.state != "draining" and one.server.zone in self.zones]
        choice = [one for one in open_to if one.state == "healthy"] or open_to
        return choice[next(self._turn) % len(choice)] if choice else None

    def forward(self, client: _Client, request: bytes) -> None:
        """Send a request to a target, once."""
        self.counts["RequestCount"] += 1
        target = self.pick()
        if target is None:
            self.refuse(client, 503)
            return
        target.in_flight += 1
        if target.idle:
            target.idle.pop().send(client, request)
        elif target.server.dark:
            self.wire.later(CONNECT_TIMEOUT, lambda: self.failed(target, client, 504))
        elif target.server.port is None:
            self.counts["TargetConnectionErrorCount"] += 1
            self.failed(target, client, 502)
        else:
            client.work = asyncio.get_running_loop().create_task(self._connect(target, client, request))

    async def _connect(self, target: Target, client: _Client, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, upstream = await loop.create_connection(
                lambda: _Upstream(self, target), "127.0.0.1", target.server.port or 0
            )
        except OSError:
            self.counts["TargetConnectionErrorCount"] += 1
            self.failed(target, client, 502)
        else:
            upstream.send(client, request)

    def failed(self, target: Target, client: _Client, status: int) -> None:
        """The target has not answered."""
        target.in_flight -= 1
        self.refuse(client, status)

    def refuse(self, client: _Client, status: int) -> None:
        """The load balancer answers itself."""
        self.counts["HTTPCode_ELB_5XX_Count"] += 1
        client.answer(_response(status, json.dumps({"status": status})))

    def joined(self, client: _Client) -> None:
        """A client has connected."""
        self._clients.add(client)

    def left(self, client: _Client) -> None:
        """A client has gone."""
        self._clients.discard(client)

    # ---- measurements ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Give up on late answers, let drained targets go, and note the metrics."""
        for upstream in [one for one in self.busy if one.stuck and now - one.since > IDLE_TIMEOUT]:
            upstream.give_up()
        for target in [one for one in self.targets.values() if one.state == "draining" and not one.in_flight]:
            self._drop(target)
        healthy = sum(one.state == "healthy" for one in self.targets.values())
        if self.fewest_healthy is not None:
            self.fewest_healthy = min(self.fewest_healthy, healthy)
        current = int(now // PERIOD)
        for period in periods_until(self._period, now):
            # As on AWS, of each zone: the Minimum is that of the zone with the fewest.
            for zone in self.zones:
                here = Counter(one.state for one in self.targets.values() if one.server.zone == zone)
                self.periods[period]["HealthyHostCount"].add(here["healthy"])
                self.periods[period]["UnHealthyHostCount"].add(here["unhealthy"])
        for metric, count in self.counts.items():
            if count != self._seen[metric]:
                self.periods[self._period][metric].add(count - self._seen[metric])
        self._seen, self._period = Counter(self.counts), current
        self.periods.pop(current - KEPT_PERIODS, None)


class _Client(asyncio.Protocol):
    """One connection of a client to a load balancer."""

    transport: asyncio.Transport
    work: asyncio.Task[None] | None = None

    def __init__(self, balancer: Balancer) -> None:
        self._balancer, self._heard, self._waiting = balancer, b"", deque[bytes]()
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._balancer.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._balancer.left(self)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while END in self._heard:
            request, _, self._heard = self._heard.partition(END)
            self._waiting.append(request + END)
        self._next()

    def answer(self, response: bytes) -> None:
        """The answer to the request at work."""
        self._busy = False
        if not self.transport.is_closing():
            self.transport.write(response)
        self._next()

    def _next(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            self._balancer.forward(self, self._waiting.popleft())


class _Upstream(asyncio.Protocol):
    """One connection of a load balancer to a target, used again as long as it is open."""

    transport: asyncio.Transport
    since = 0.0

    def __init__(self, balancer: Balancer, target: Target) -> None:
        self._balancer, self._target, self._client, self._heard = balancer, target, None, b""  # type: tuple[Balancer, Target, _Client | None, bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, client: _Client, request: bytes) -> None:
        """Ask the target."""
        self._client, self._heard, self.since = client, b"", self._balancer.wire.clock.time()
        self._balancer.busy.add(self)
        self.transport.write(request)

    @property
    def stuck(self) -> bool:
        """Whether the answer takes time of its own; any other is on its way, however far the clock jumps meanwhile."""
        return self._target.server.dark or bool(self._target.server.delay)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(END)
        if not end or len(body) < int(head[head.index(b"content-length: ") + 16 :].split(b"\r", 1)[0]):
            return
        self._balancer.counts[f"HTTPCode_Target_{head[9:10].decode()}XX_Count"] += 1
        client = self._release()
        if self._target.state != "draining" and not self.transport.is_closing():
            self._target.idle.append(self)
        else:
            self.transport.abort()
        if client:
            client.answer(self._heard)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._target.idle:
            self._target.idle.remove(self)
        client = self._release()
        if client:
            self._balancer.refuse(client, 502)

    def give_up(self) -> None:
        """No answer came in time."""
        client = self._release()
        if client:
            self._balancer.refuse(client, 504)
        self.transport.abort()

    def _release(self) -> _Client | None:
        client, self._client = self._client, None
        if client:
            self._balancer.busy.discard(self)
            self._target.in_flight -= 1
        return client


def _response(status: int, body: str, headers: str = "server: awselb/2.0") -> bytes:
    return (
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\n{headers}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
