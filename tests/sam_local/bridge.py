"""TCP forwarding between the machine's network and a private network namespace.

The local cloud listens on the machine's loopback only, and the containers live in a network namespace that has
no route out of it. A socket belongs for its whole life to the namespace in which it was opened, so one process
can hold ends in both: no helper process, no veth pair, nothing that listens on an outside address.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Place:
    """A host and port, in the network namespace of the process `network` (None: in ours)."""

    host: str
    port: int = 0
    network: int | None = None


def open_socket(network: int | None) -> socket.socket:
    """A TCP socket in the network namespace of the process `network` (None: in ours).

    Entering another namespace needs root and moves only the calling thread, so a thread is spent on it. Raises
    OSError where the process is gone or the kernel refuses.
    """
    if network is None:
        return socket.socket()
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_open_socket_inside, network).result()


def _open_socket_inside(network: int) -> socket.socket:
    with open(f"/proc/{network}/ns/net") as namespace:
        os.setns(namespace.fileno(), os.CLONE_NEWNET)
    return socket.socket()


def free_port(network: int | None) -> int:
    """A loopback port of that namespace on which nobody listens at this moment."""
    with open_socket(network) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Bridge:
    """Forwards TCP connections for as long as its event loop runs (see `bridge`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def forward(self, source: Place, target: Place) -> Place:
        """Listen at `source` and pass every connection on to `target`.

        Returns the place where it listens, with the port filled in where `source` left it open (0). Raises
        OSError if it cannot listen there.
        """
        listener = open_socket(source.network)
        try:
            listener.bind((source.host, source.port))
        except OSError:
            listener.close()
            raise

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _connect_through(reader, writer, target)

        asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, sock=listener), self._loop).result()
        return Place(source.host, listener.getsockname()[1], source.network)

    def reach(self, url: str, host: str, network: int | None) -> str:
        """The URL under which a server of this machine, `url`, is reached at the address `host` of a namespace."""
        server = urlsplit(url)
        target = Place(str(server.hostname), server.port or 80)
        place = self.forward(Place(host, 0, network), target)
        return f"{server.scheme}://{place.host}:{place.port}"


@contextmanager
def bridge() -> Iterator[Bridge]:
    """A Bridge whose connections and listeners end with the block."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    thread = Thread(target=asyncio.run, args=(run(),), name="bridge", daemon=True)
    thread.start()
    loop, stop = started.result()
    try:
        yield Bridge(loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _connect_through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Place) -> None:
    with contextlib.closing(writer), contextlib.suppress(OSError):
        connected = open_socket(target.network)
        connected.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connected, (target.host, target.port))
        except OSError:
            connected.close()
            raise
        far_reader, far_writer = await asyncio.open_connection(sock=connected)
        with contextlib.closing(far_writer):
            directions = [_copy(reader, far_writer), _copy(far_reader, writer)]
            # HTTP needs no half-open connections: when one side is done, so is the other.
            await asyncio.wait(map(asyncio.ensure_future, directions), return_when=asyncio.FIRST_COMPLETED)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
