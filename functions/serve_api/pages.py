"""The console's files: read and packed once a process, and answered with 304 while the browser's copy is the same."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

FOLDER = Path(__file__).parent / "console"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is sent."""

    body: bytes
    packed: bytes
    tag: str
    type: str


@cache
def page(name: str) -> Page:
    """A file of the console.

    Raises:
        NotFoundError: there is none of this name.
    """
    # Looked for among those that there are: no name leads out of the folder.
    file = next((file for file in FOLDER.iterdir() if file.name == name and file.suffix in TYPES), None)
    if file is None:
        raise NotFoundError(f"there is no page '{name}'")
    body = file.read_bytes()
    return Page(body, gzip.compress(body, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"', TYPES[file.suffix])


def answer(name: str, headers: Mapping[str, str]) -> Response[bytes]:
    """The file, or that it has not changed since the browser asked last.

    Args:
        headers: the request's, their names in lower case.
    """
    found = page(name)
    own = {"ETag": found.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if found.tag in [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]:
        return Response(304, body=b"", headers=own)
    if "gzip" in headers.get("accept-encoding", ""):
        return Response(200, found.type, found.packed, own | {"Content-Encoding": "gzip"}, compress=False)
    return Response(200, found.type, found.body, own)
