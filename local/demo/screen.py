"""What the demo's chapters share: a story on the screen, looked at until something has happened."""

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Group
from rich.live import Live

PATIENCE_SECONDS = 120


class Story(Protocol):
    """A chapter as it goes."""

    def look(self) -> None:
        """Sees what is new."""

    def screen(self) -> Group:
        """The picture of the moment."""


def wait(
    live: Live, story: Story, over: Callable[[], object], what: str, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Looks, and shows what is seen, until `over` holds.

    Raises:
        TimeoutError: it does not within `patience_seconds`.
    """
    until = time.monotonic() + patience_seconds
    while True:
        story.look()
        live.update(story.screen(), refresh=True)
        if over():
            return
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not happen within {patience_seconds:.0f} s; see .local/*.log")
        time.sleep(0.25)
