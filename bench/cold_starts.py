"""Each function's cold start, import plus init, against that of a bare handler that only makes one boto3 client.

Fresh interpreters, in turn with the bare one, with the built artifacts on the path as Lambda has them, which can keep
no bytecode but what they come with. What is compared is the ratio: both see the same machine at the same time.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUILD = Path(__file__).resolve().parent.parent / ".aws-sam" / "build"
ROUNDS = 7
BARE = "import boto3\nclient = boto3.client('dynamodb')\ndef handler(event, context): return {}\n"
TIMED = "import time; began = time.perf_counter(); import app; print(time.perf_counter() - began)"


def measure() -> Iterator[dict[str, Any]]:
    """One row a function: its median import time over the bare one's, and what it weighs unzipped."""
    layer = BUILD / "MayflyLayer"
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder)
        (bare / "app.py").write_text(BARE)
        for function in sorted(path.parent for path in BUILD.glob("*/app.py")):
            pairs = [(_seconds(function, layer / "python"), _seconds(bare, None)) for _ in range(ROUNDS)]
            own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
            yield {
                "function": function.name,
                "ratio_to_bare_boto3": round(own / other, 2),
                "unzipped_mb": round((_bytes(function) + _bytes(layer)) / 1e6, 1),
            }


def _seconds(function: Path, layer: Path | None) -> float:
    path = os.pathsep.join(str(part) for part in (function, layer) if part)
    environ = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": path}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    run = subprocess.run([sys.executable, "-c", TIMED], env=environ, capture_output=True, text=True, check=True)
    return float(run.stdout)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
