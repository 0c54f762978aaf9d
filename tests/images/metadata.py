"""What a builder finds in its network: instance metadata (IMDSv2 only), and a web server with artifacts.

Run by machine.py inside a machine's own network: `python metadata.py FOLDER READY`. Serves the files of FOLDER at
127.0.0.1:8000, and creates the file READY once both servers listen.
"""

import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INSTANCE = "i-0123456789abcdef0"
REGION = "us-east-1"

_TOKEN = "a-token"
_ANSWERS = {"/latest/meta-data/instance-id": INSTANCE, "/latest/meta-data/placement/region": REGION}


class Metadata(BaseHTTPRequestHandler):
    """The instance metadata service, as it is where tokens are required."""

    def do_PUT(self) -> None:
        lifetime = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", 0))
        self._answer(_TOKEN if self.path == "/latest/api/token" and 0 < lifetime <= 21600 else None, 400)

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") == _TOKEN:
            self._answer(_ANSWERS.get(self.path), 404)
        else:
            self._answer(None, 401)

    def _answer(self, text: str | None, otherwise: int) -> None:
        self.send_response(otherwise if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())


def main(folder: str, ready: str) -> None:
    artifacts = ThreadingHTTPServer(("127.0.0.1", 8000), partial(SimpleHTTPRequestHandler, directory=folder))
    metadata = ThreadingHTTPServer(("169.254.169.254", 80), Metadata)
    threading.Thread(target=artifacts.serve_forever, daemon=True).start()
    Path(ready).touch()
    metadata.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
