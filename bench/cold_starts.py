"""Each function's cold start against that of a bare handler: import plus init against one that only makes one boto3
client, and with all clients that the function's code can use against one that makes the same.

Fresh interpreters, in turn with the bare one, with the built artifacts on the path as Lambda has them, which can keep
no bytecode but what they come with. What is compared is the ratio: both see the same machine at the same time.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.unit.calls import called_by

BUILD = Path(__file__).resolve().parent.parent / ".aws-sam" / "build"
ROUNDS = 7
BARE = "import boto3\nclient = boto3.client('dynamodb')\ndef handler(event, context): return {}\n"
TIMED = """import time; began = time.perf_counter(); import app; print(time.perf_counter() - began)
import boto3
for service in {services}: boto3.client(service)
print(time.perf_counter() - began)"""


def measure() -> Iterator[dict[str, Any]]:
    """One row a function: its median times over the bare one's, and what it weighs unzipped."""
    layer = BUILD / "MayflyLayer"
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder)
        (bare / "app.py").write_text(BARE)
        for function in sorted(path.parent for path in BUILD.glob("*/app.py")):
            services = clients_of(function.name)
            rounds = [
                (*_seconds(function, layer / "python", services), *_seconds(bare, None, services))
                for _ in range(ROUNDS)
            ]
            own, ready, bare_own, bare_ready = (statistics.median(column) for column in zip(*rounds, strict=True))
            yield {
                "function": function.name,
                "ratio_to_bare_boto3": round(own / bare_own, 2),
                "with_clients": round(ready / bare_ready, 2),
                "clients": len(services),
                "goal": "with clients <= 1.25",
                "unzipped_mb": round((_bytes(function) + _bytes(layer)) / 1e6, 1),
            }


def clients_of(name: str) -> list[str]:
    """The services that a function's code can call, by the function's name in the template."""
    own, in_workload_accounts = called_by(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
    return sorted({service for service, _ in own | in_workload_accounts})


def _seconds(function: Path, layer: Path | None, services: list[str]) -> tuple[float, float]:
    """Times a Lambda function's import in a new process: the seconds until it is imported, and until its boto3 clients
    are made."""
    path = os.pathsep.join(str(part) for part in (function, layer) if part)
    environ = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": path}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    timed = [sys.executable, "-c", TIMED.format(services=services)]
    run = subprocess.run(timed, env=environ, capture_output=True, text=True, check=True)
    imported, ready = map(float, run.stdout.split())
    return imported, ready


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
