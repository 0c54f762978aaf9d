"""Takes the pictures of the console in `docs/images`: `python -m docs.screenshots [name ...]`.

The console is the real one; what it shows is the made-up installation of its tests, which looks the same every time
but for the clock.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from mayfly.contract.vocabulary import EnvironmentStage
from tests.console.browser import ARGUMENTS, chromium
from tests.console.fake_api import Fake, serving
from tests.console.made_up import World

IMAGES = Path(__file__).parent / "images"
BEGIN = datetime(2026, 11, 25, 14, 5, tzinfo=UTC)
LARGEST = 150_000
"""Bytes of a picture, so that a page of the documentation stays light."""


@dataclass(frozen=True)
class Picture:
    """One picture: what it shows, how wide, in which theme, and what is clicked before."""

    name: str
    route: str = ""
    size: tuple[int, int] = (1440, 900)
    dark: bool = False
    role: str = "operator"
    clicks: tuple[str, ...] = ()
    kill_switch: bool = False


PICTURES = (
    Picture("board"),
    Picture("board-dark", size=(1920, 1080), dark=True),
    Picture("board-narrow", size=(360, 780), dark=True, role="viewer"),
    Picture("kill-switch", size=(1440, 500), kill_switch=True),
    Picture("deploy", "deploy"),
    Picture("environment", "environments/ENVIRONMENT", dark=True),
    Picture("environment-narrow", "environments/ENVIRONMENT", size=(360, 780)),
    Picture("ending", "environments/ENVIRONMENT", clicks=("#drawer .actions .danger",)),
    Picture("images", "images"),
    Picture("rollouts", "rollouts", dark=True),
    Picture("sweep", "sweep/SWEEP", dark=True),
    Picture("costs", "costs", size=(1440, 640), clicks=(".costs summary",)),
    Picture("sign-in", size=(1440, 700), dark=True),
)


def main(names: list[str]) -> None:
    """Takes these pictures, or all.

    Raises:
        RuntimeError: there is no browser, or a picture has become too large.
    """
    program, obstacle = chromium()
    if not program:
        raise RuntimeError(obstacle)
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for picture in PICTURES:
            if not names or picture.name in names:
                with shown(browser, picture) as page:
                    size = keep(page.screenshot(), IMAGES / f"{picture.name}.png")
                sys.stdout.write(f"{picture.name}: {size // 1000} KB\n")
        browser.close()


@contextmanager
def shown(browser: Browser, picture: Picture) -> Iterator[Page]:
    """The page as it is to be seen."""
    world = World(BEGIN, environments=40)
    if picture.kill_switch:
        world.kill_switch = {"on": True, "why": "olga@example.com at 2026-11-25T13:40:00Z: the sweep ends too much"}
    tested = (one["id"] for one in world.environments.values() if one["stage"] == EnvironmentStage.AWAITING_TESTS)
    manual = next(name for name in tested if name.endswith("explore"))
    route = picture.route.replace("ENVIRONMENT", manual).replace("SWEEP", world.sweeps[7]["key"][7:-5])
    with serving(Fake(world, picture.role)) as fake:
        page = browser.new_page(
            viewport={"width": picture.size[0], "height": picture.size[1]},
            color_scheme="dark" if picture.dark else "light",
            reduced_motion="reduce",
        )
        page.goto(f"{fake.url}/#/{route}")
        page.get_by_role("button", name="Sign in").wait_for()
        if picture.name != "sign-in":
            page.get_by_role("button", name="Sign in").click()
            page.locator(".view:not(:has(.skeleton))").wait_for()
            page.locator("#drawer .skeleton").wait_for(state="detached")
            page.locator("footer", has_text="just now").wait_for()
        for click in picture.clicks:
            page.locator(click).first.click()
        yield page
        page.close()


def keep(png: bytes, file: Path) -> int:
    """Writes a picture with a palette, which a flat page loses little by; returns its size in bytes."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # By colours and hardly by area: else a page's flat parts leave the palette nothing for a gradient.
    counted = picture.getcolors(picture.width * picture.height) or []
    colours = [colour for count, colour in counted for _ in range(min(count, 8))]
    sample = Image.new("RGB", (len(colours), 1))
    sample.putdata(colours)
    palette = sample.quantize(256, Image.Quantize.MEDIANCUT)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    if size > LARGEST:
        raise RuntimeError(f"{file.name}: expected {LARGEST} bytes at most, but it has {size}")
    return size


if __name__ == "__main__":
    main(sys.argv[1:])
