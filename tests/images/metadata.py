"""What a machine finds in its network: instance metadata (IMDSv2 only), a box with artifacts, and what is forwarded.

Run by machine.py inside a machine's own network: `python metadata.py FOLDER READY`, with the metadata as JSON in the
environment. Serves the files of FOLDER at 127.0.0.1:8000, and creates the file READY once all listen.

A port of another machine's network is reached through a socket in the file system, which all of them see: the one
machine is started with `{"offer": {"8140": PATH}}`, and the others with `{"reach": {"8140": PATH}}`.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

INSTANCE = "i-0123456789abcdef0"
REGION = "us-east-1"

_TOKEN = "a-token"


class Metadata(BaseHTTPRequestHandler):
    """The instance metadata service, as it is where tokens are required."""

    answers: ClassVar[dict[str, str]] = {}

    def do_PUT(self) -> None:
        lifetime = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", 0))
        self._answer(_TOKEN if self.path == "/latest/api/token" and 0 < lifetime <= 21600 else None, 400)

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") == _TOKEN:
            self._answer(self.answers.get(self.path.removeprefix("/latest/")), 404)
        else:
            self._answer(None, 401)

    def _answer(self, text: str | None, otherwise: int) -> None:
        self.send_response(otherwise if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())


class Box(SimpleHTTPRequestHandler):
    """The box with artifacts. How well it is, stands in its file `box.json`:

    `token`: who does not send it is refused. `busy`: so many requests are answered with 503 first. `cut`: the
    connection is lost in the middle of each file. `stalls`: so many seconds pass before each answer.
    """

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        mood = self._mood()
        time.sleep(mood.get("stalls", 0))
        if len(self.asked) <= mood.get("busy", 0):
            self.send_error(503)
        elif "token" in mood and self.headers.get("Authorization") != f"Bearer {mood['token']}":
            self.send_error(401)
        elif mood.get("cut"):
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
        else:
            super().do_GET()

    def _mood(self) -> dict[str, Any]:
        file = Path(self.directory, "box.json")
        return json.loads(file.read_text()) if file.exists() else {}


def forward(listening: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """Hands each connection on to another one."""
    while True:
        near, _ = listening.accept()
        try:
            far = connect()
        except OSError:
            near.close()
            continue
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        one.close()
        other.close()


def _tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def _unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def _forwarders(network: dict[str, dict[str, str]]) -> None:
    for port, path in network.get("offer", {}).items():
        Path(path).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        threading.Thread(target=forward, args=(listening, partial(_tcp, int(port))), daemon=True).start()
    for port, path in network.get("reach", {}).items():
        listening = socket.create_server(("127.0.0.1", int(port)))
        threading.Thread(target=forward, args=(listening, partial(_unix, path)), daemon=True).start()


def main(folder: str, ready: str) -> None:
    Metadata.answers = json.loads(os.environ["METADATA"])
    _forwarders(json.loads(os.environ["NETWORK"]))
    artifacts = ThreadingHTTPServer(("127.0.0.1", 8000), partial(Box, directory=folder))
    metadata = ThreadingHTTPServer(("169.254.169.254", 80), Metadata)
    threading.Thread(target=artifacts.serve_forever, daemon=True).start()
    Path(ready).touch()
    metadata.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
