"""Each function's cold start against that of a bare handler: the import of its code with all clients that it can use,
against an import of boto3 with the same clients.

Fresh interpreters, in turn with the bare one, with the built artifacts on the path as Lambda has them, which can keep
no bytecode but what they come with. Compared is the processor time of each pair, of which others take none.
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
ROUNDS = 3
BARE = "import boto3\ndef handler(event, context): return {}\n"
TIMED = """import time; began = time.process_time(); import app; print(time.process_time() - began)
import boto3
for service in {services}: boto3.client(service)
print(time.process_time() - began)"""


def measure() -> Iterator[dict[str, Any]]:
    """One row a function: the median of its times over the bare one's, and what it weighs unzipped.

    Raises:
        FileNotFoundError: nothing is built yet.
    """
    layer = BUILD / "MayflyLayer"
    if not layer.exists():
        raise FileNotFoundError(f"{layer} is not built yet: run `sam build`")
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder)
        (bare / "app.py").write_text(BARE)
        for function in sorted(path.parent for path in BUILD.glob("*/app.py")):
            services = clients_of(function.name)
            pairs = [
                (_seconds(function, layer / "python", services), _seconds(bare, None, services)) for _ in range(ROUNDS)
            ]
            yield {
                "function": function.name,
                "import_ms": round(statistics.median(own for (own, _), _ in pairs) * 1000),
                "with_clients_to_bare_boto3": round(
                    statistics.median(ready / bare_ready for (_, ready), (_, bare_ready) in pairs), 2
                ),
                "clients": len(services),
                "goal": "<= 1.25",
                "unzipped_mb": round((_bytes(function) + _bytes(layer)) / 1e6, 1),
            }


def clients_of(name: str) -> list[str]:
    """The services that a function's code can call, by the function's name in the template."""
    own, in_workload_accounts = called_by(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
    return sorted({service for service, _ in own | in_workload_accounts})


def _seconds(function: Path, layer: Path | None, services: list[str]) -> tuple[float, float]:
    """Times a Lambda function's import in a new process: the processor's seconds until it is imported, and until its
    boto3 clients are made."""
    path = os.pathsep.join(str(part) for part in (function, layer) if part)
    environ = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": path}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}  # the latter as in template.yaml
    timed = [sys.executable, "-c", TIMED.format(services=services)]
    run = subprocess.run(timed, env=environ, capture_output=True, text=True, check=True)
    imported, ready = map(float, run.stdout.split())
    return imported, ready


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
