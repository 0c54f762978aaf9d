"""The origin of controller accounts' servers: their libraries imported, but for MiniStack, whose modules read at their
import which cloud they are."""

from __future__ import annotations

import importlib
import os
from typing import Any

from local.forks import serve

LIBRARIES = ("docker", "duckdb", "defusedxml.ElementTree", "hypercorn.asyncio", "jsonata", "local.cloud", "yaml")


def main() -> None:
    """Imports the libraries, and serves."""
    for library in LIBRARIES:
        importlib.import_module(library)
    serve(_become)


def _become(_: dict[str, Any]) -> None:
    os.setsid()
    os.environ["MAYFLY_LOCAL_PARENT"] = str(os.getppid())  # which ends when whoever started it does
    server: Any = importlib.import_module("local.controller.server")
    server.main()


if __name__ == "__main__":
    main()
