"""What the controller account knows, on disk: on request; or all the time, so that who ends its server by SIGKILL finds
another one that goes on.

AWS's services lose nothing that they have taken. Here a picture of all is taken every second, and what is on its way to
a function is written down at once, until a later picture shows what came of it: it is brought once more otherwise, as
AWS may do it too.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

type Json = dict[str, Any]

EVERY = 1.0
"""Seconds between two pictures; twenty times as long as one takes, where that is more."""
OF_A_DEPLOYMENT = ("lambda", "cloudformation", "iam", "apigateway", "elasticache")
"""What nothing but a deployment changes, 12 MB with the functions' code: it is written when that is over."""
PATIENCE = 10.0
"""Seconds that a picture is waited for at most."""
_BRINGS_AFTER = 1.0
"""Seconds after which what was on its way is brought: what waits for it goes on first."""


class Kept:
    """The directory in which a server finds what an earlier one knew."""

    def __init__(self, place: Path, always: bool) -> None:
        self._always = always
        logging.getLogger("persistence").setLevel(logging.WARNING)
        self._picture, self._before, self._part = (place / f"picture{suffix}" for suffix in ("", ".before", ".part"))
        if self._before.exists() and not self._picture.exists():  # it was ended between two steps of a picture
            self._before.rename(self._picture)
        self._picture.mkdir(parents=True, exist_ok=True)
        for known in self._picture.iterdir():  # MiniStack looks there when it starts
            (place / known.name).unlink(missing_ok=True)
            os.link(known, place / known.name)
        self._offset, self._journal = place / "clock.json", place / "deliveries.jsonl"
        self._lock = threading.Lock()
        self._taken, self._began, self._ended, self._asked = threading.Condition(), 0, 0, threading.Event()
        self._on_its_way: dict[str, Json] = {}
        self._arrived = set[str]()
        self._deployed, self._pictured = time.monotonic(), 0.0

    # ---- the clock

    @property
    def offset(self) -> float:
        """The seconds by which the clock was ahead of real time."""
        return float(json.loads(self._offset.read_text())) if self._offset.exists() else 0.0

    @offset.setter
    def offset(self, seconds: float) -> None:
        _replace(self._offset, json.dumps(seconds))

    # ---- what is on its way to a function

    @contextmanager
    def on_its_way(self, function: str, event: Json) -> Iterator[None]:
        """Remembers an event until what came of it is in a picture."""
        name = uuid.uuid4().hex
        with self._lock:
            self._on_its_way[name] = sent = {"function": function, "event": event}
            if self._always:
                with self._journal.open("a") as journal:
                    journal.write(json.dumps(sent) + "\n")
        try:
            yield
        finally:
            with self._lock:
                self._arrived.add(name)

    def _bring(self, send: Callable[[str, Json], None]) -> None:
        """Sends what an earlier server had on its way."""
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        left = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may be half
        if left:
            time.sleep(_BRINGS_AFTER)
        for each in left:
            send(each["function"], each["event"])

    # ---- pictures

    def holds_back(self, path: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request is answered only once a picture shows all that the answer tells: so it is for who asks from
        outside. A function is invoked once more instead. Notes besides what may be part of a deployment."""
        signed = headers.get(b"authorization", b"").decode().split("/")
        if len(signed) > 4 and signed[3] in OF_A_DEPLOYMENT and not path.endswith("/invocations"):
            self._deployed = time.monotonic()
        return self._always and len(signed) > 4 and b"x-amz-security-token" not in headers

    def go_on(self, send: Callable[[str, Json], None]) -> None:
        """Goes on where an earlier server was ended, and takes pictures all the time where it is to."""
        threading.Thread(target=self._go_on, args=(send,), name="pictures", daemon=True).start()

    def _go_on(self, send: Callable[[str, Json], None]) -> None:
        self._bring(send)
        while self._always:
            began = time.monotonic()
            with self._taken:
                self._began += 1
            try:
                self.save()
            except Exception as error:
                print(f"no picture was taken: {error!r}", flush=True)  # noqa: T201 - the server's log
            with self._taken:
                self._ended = self._began
                self._taken.notify_all()
            self._asked.wait(max(EVERY, 20 * (time.monotonic() - began)))
            self._asked.clear()

    def wait(self) -> None:
        """Waits for a picture of what there is now."""
        with self._taken:
            wanted = self._began + 1
            self._asked.set()
            self._taken.wait_for(lambda: self._ended >= wanted, PATIENCE)

    def save(self) -> None:
        """Writes down all that is known, whole or not at all.

        Executions come first: what they do meanwhile they do again, and nothing that they have done is missing.
        """
        app: Any = importlib.import_module("ministack.app")
        persistence: Any = importlib.import_module("ministack.core.persistence")
        with self._lock:
            arrived = set(self._arrived)
        states = app._build_persistence_save_dict()
        now = time.monotonic()
        unchanged = self._always and (now - self._deployed < EVERY or self._pictured > self._deployed)
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir()
        persistence.STATE_DIR = str(self._part)
        for service in sorted(states, key=lambda service: service != "stepfunctions"):
            known = self._picture / f"{service}.json"
            if unchanged and service in OF_A_DEPLOYMENT and known.exists():
                os.link(known, self._part / known.name)
            else:
                persistence.save_state(service, _copied(states[service]))
        shutil.rmtree(self._before, ignore_errors=True)
        self._picture.rename(self._before)
        self._part.rename(self._picture)
        if not unchanged:
            self._pictured = now
        with self._lock:
            for name in arrived:
                del self._on_its_way[name]
            self._arrived -= arrived
            _replace(self._journal, "".join(json.dumps(one) + "\n" for one in self._on_its_way.values()))


def _replace(file: Path, text: str) -> None:
    """Writes a file whole, or not at all."""
    (part := file.with_suffix(".part")).write_text(text)
    part.replace(file)


def _copied(get_state: Callable[[], Json]) -> Json:
    """A service's state, which threads go on to change while it is copied."""
    while True:
        try:
            return get_state()
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise
