"""Debian's package manager, one at a time: two workers of a test run may want it in the same second, and it does not
wait for itself."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone() -> Iterator[None]:
    """Waits until no other test uses it."""
    with (Path(tempfile.gettempdir()) / "mayfly-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, and when the process dies
        yield
