"""The `/_local/` routes by which the two accounts of the local cloud are measured, broken and moved in time."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from typing import Any

from local.clock import VirtualClock
from local.faults import Faults

PREFIX = "/_local/"

Answer = Callable[[Any], Any]  # from the decoded body of the request to what is answered as JSON


class Desk:
    """Clock, faults, ledger and crashes of one account, and the routes to them; an account can `offer` more."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.faults = Faults()
        self.ledger: list[dict[str, Any]] = []
        self.crashes: list[str] = []
        """What went wrong in this account itself, where nothing of AWS's would: a 500 that no fault asked for."""
        threading.excepthook = lambda crash: self.crashed(crash.exc_value, str(crash.thread and crash.thread.name))
        self._routes: dict[tuple[str, str], Answer] = {
            ("GET", "health"): lambda _: "ok",
            ("GET", "clock"): lambda _: {"time": self.clock.time()},
            ("POST", "clock"): lambda body: self.clock.advance(body["advance"]),
            ("GET", "ledger"): lambda _: list(self.ledger),
            ("DELETE", "ledger"): lambda _: self.ledger.clear(),
            ("GET", "crashes"): lambda _: list(self.crashes),
            ("DELETE", "crashes"): lambda _: self.crashes.clear(),
            ("GET", "faults"): lambda _: self.faults.all(),
            ("POST", "faults"): self.faults.add,
            ("DELETE", "faults"): lambda _: self.faults.clear(),
        }

    def offer(self, method: str, route: str, answer: Answer) -> None:
        """Add a route."""
        self._routes[method, route] = answer

    def crashed(self, error: BaseException | None, where: str) -> None:
        """Note what nobody expected."""
        self.crashes.append(f"{where}:\n{''.join(traceback.format_exception(error))}" if error else where)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; a request that makes no sense is a 400 that says why."""
        try:
            answer = self._routes[method, path.removeprefix(PREFIX)]
            return 200, json.dumps(answer(json.loads(body or b"null"))).encode()
        except (LookupError, TypeError, ValueError) as error:
            return 400, json.dumps(f"{type(error).__name__}: {error}").encode()
