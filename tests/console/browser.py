"""Debian's Chromium, installed where it is absent and may be."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Playwright

from tests.apt import alone

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_INSTALL = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium")


def launch(playwright: Playwright) -> Browser:
    """Starts it. Skips the test where there is none, except in CI, where it is expected to be had."""
    program, obstacle = chromium()
    if program is None and os.environ.get("CI") == "true" and _installable():
        pytest.fail(obstacle)
    if program is None:
        pytest.skip(obstacle)
    return playwright.chromium.launch(executable_path=program, args=ARGUMENTS)


@contextmanager
def window(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A browser context of one's own. Its pages are left before it is closed: Chromium says that it closes a page in
    which a navigation is committed at that moment, and does not (crbug.com/536385539)."""
    still: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"}
    context = browser.new_context(**still | options)
    try:
        yield context
    finally:
        for page in context.pages:
            for _ in range(3):
                with suppress(Error):  # another navigation came between
                    page.goto("about:blank")
                    break
        context.close()


def chromium() -> tuple[str | None, str]:
    """Where it is, or what keeps this machine from having it."""
    with alone():
        # Package lists may be absent or stale, which shows as a failure: refresh them once.
        if not _found() and _installable() and not _succeeds(*_INSTALL) and _succeeds("apt-get", "update", "--quiet"):
            _succeeds(*_INSTALL)
    if program := _found():
        return program, ""
    needed = "apt-get could not install it" if _installable() else "it takes root on Debian to install it"
    return None, f"the console's tests need the program chromium, and {needed}"


def _found() -> str | None:
    return shutil.which("chromium")


def _installable() -> bool:
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def _succeeds(*command: str) -> bool:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environ, capture_output=True).returncode == 0
