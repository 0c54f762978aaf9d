"""A client that sends requests to a service all the time, and counts what comes back.

It does what HTTP clients are commonly set up to do (such as urllib3's `Retry(total=5, status_forcelist=[502, 503,
504], backoff_factor=0.1)`): a GET that could not be sent, or was answered with 502, 503 or 504, is sent again up to
five times, after 0.1, 0.2, 0.4, 0.8 and 1.6 seconds. `errors` counts every bad answer, `failed` those that remain bad.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

RETRIES = 5
BACKOFF = 0.1  # real seconds before the second retry; it doubles
RETRIED = frozenset({502, 503, 504})
NO_ANSWER = 0  # the status of a request whose connection broke
REQUEST = b"GET / HTTP/1.1\r\nhost: service\r\n\r\n"


@dataclass
class Counts:
    """What the client has seen so far."""

    sent: int = 0
    """Requests, without their retries."""
    errors: int = 0
    """Answers of 500 or more, and broken connections, retries included."""
    retried: int = 0
    failed: int = 0
    """Requests that no retry helped."""
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    zones: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


class Client:
    """Sends from `connections` connections that stay open, together at most `rate` requests a second, from `with`
    to its end.

    Args:
        url: of the load balancer.
        connections: how many requests are on their way at most.
        rate: requests a second; as many as possible by default.
    """

    def __init__(self, url: str, connections: int = 8, rate: float | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._connections = connections
        self._pause = connections / rate if rate else 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="client", daemon=True)
        self.counts = Counts()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)

    async def _run(self) -> None:
        await asyncio.gather(*(self._send_all() for _ in range(self._connections)))

    async def _send_all(self) -> None:
        connection, due = _Connection(self._host, self._port), time.monotonic()
        while not self._stop.is_set():
            await self._send(connection)
            due = max(due + self._pause, time.monotonic() - 1)
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
        connection.close()

    async def _send(self, connection: _Connection) -> None:
        counts = self.counts
        counts.sent += 1
        for attempt in range(RETRIES + 1):
            status, headers = await connection.ask()
            counts.statuses[status] += 1
            if status == 200:
                counts.versions[headers["x-version"]] += 1
                counts.images[headers["x-image"]] += 1
                counts.zones[headers["x-zone"]] += 1
                return
            counts.errors += 1
            if (status not in RETRIED and status != NO_ANSWER) or attempt == RETRIES:
                break
            counts.retried += 1
            await asyncio.sleep(BACKOFF * 2**attempt)
        counts.failed += 1


class _Connection:
    """One connection that is kept open, and opened again when it breaks."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self) -> tuple[int, dict[str, str]]:
        """Status and headers of one answer."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            self._writer.write(REQUEST)
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            await self._reader.readexactly(int(headers["content-length"]))
            return int(first.split()[1]), headers
        except (OSError, EOFError):
            self.close()
            return NO_ANSWER, {}

    def close(self) -> None:
        """Let go of it."""
        if self._writer:
            self._writer.close()
        self._writer = None
