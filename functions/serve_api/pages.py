"""The console's files. A browser asks for the page alone each time: whatever the page names has the digest of its
content in its address, and is kept for good. All modules come as one: each request is an invocation."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from msgspec import Struct

FOLDER = Path(__file__).parent / "console"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    # Of a file that is JSON already: what is called application/json, Powertools writes as JSON once more.
    ".json": "application/schema+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
FOR_GOOD = "public, max-age=31536000, immutable"

_NAMED = re.compile(r'(?P<before>(?:href|src)=")(?P<name>[\w-]+\.\w+)(?=")')
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const|class) (\w+))", re.MULTILINE)


class Page(Struct, frozen=True):
    """A file as it is sent."""

    body: bytes
    packed: bytes
    digest: str
    type: str


@cache
def page(name: str) -> Page:
    """Returns a file of the console.

    Raises:
        NotFoundError: there is none of this name.
    """
    # Looked for among those that there are: no name leads out of the folder.
    file = next((file for file in FOLDER.iterdir() if file.name == name and file.suffix in TYPES), None)
    if file is None:
        raise NotFoundError(f"there is no page '{name}'")
    body = file.read_bytes()
    if file.suffix == ".html":
        body = _NAMED.sub(_kept, body.decode()).encode()
    elif file.suffix == ".js":
        body = joined(file.stem).encode()
    return Page(body, gzip.compress(body, mtime=0), hashlib.sha256(body).hexdigest()[:32], TYPES[file.suffix])


def joined(entry: str) -> str:
    """Returns a module and all that it imports as one, each in a scope of its own and after those that it needs.

    It knows what the console's modules are made of: imports by name, and declarations that are exported. Any other form
    becomes a syntax error.
    """
    scopes: dict[str, str] = {}

    def add(module: str) -> None:
        source = (FOLDER / f"{module}.js").read_text()
        for found in _IMPORT.finditer(source):
            if found[2] not in scopes:
                add(found[2])
        exported = ", ".join(_EXPORT.findall(source))
        body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = $\2;", source))
        # The entry exports nothing, and may await.
        scopes[module] = f"const ${module} = (() => {{\n{body}return {{ {exported} }};\n}})();\n" if exported else body

    add(entry)
    return "".join(scopes.values())


def answer(name: str, headers: Mapping[str, str], digest: str | None = None) -> Response[bytes]:
    """Returns the file, or that it has not changed since the browser asked last.

    Args:
        headers: the request's, their names in lower case.
        digest: of the file that is wanted, where its address says that.
    """
    found = page(name)
    tag, kept = f'"{found.digest}"', FOR_GOOD if digest == found.digest else "no-cache"
    own = {"ETag": tag, "Cache-Control": kept, "Vary": "Accept-Encoding"}
    if tag in [each.strip().removeprefix("W/") for each in headers.get("if-none-match", "").split(",")]:
        return Response(304, body=b"", headers=own)
    if "gzip" in headers.get("accept-encoding", ""):
        return Response(200, found.type, found.packed, own | {"Content-Encoding": "gzip"}, compress=False)
    return Response(200, found.type, found.body, own)


def _kept(found: re.Match[str]) -> str:
    return f"{found['before']}{found['name']}?v={page(found['name']).digest}"
